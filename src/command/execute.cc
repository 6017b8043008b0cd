#include "command/execute.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"
#include "command/transaction.h"

namespace ignix {
namespace {

// Redis formats these as C strings.
std::string_view up_to_nul(std::string_view text) { return text.substr(0, text.find('\0')); }

void reply_unknown_command(Call& call) {
  constexpr size_t kShown = 128;
  std::string text = "ERR unknown command '";
  text += up_to_nul(call.words[0].substr(0, kShown));
  text += "', with args beginning with: ";
  std::string args;
  for (size_t i = 1; i < call.word_count && args.size() < kShown; i++) {
    const size_t room = kShown - args.size();
    args += '\'';
    args += up_to_nul(call.words[i].substr(0, room));
    args += "' ";
  }
  text += args;
  for (char& c : text) {
    if (c == '\r' || c == '\n') c = ' ';
  }
  call.reply.error(text);
}

// Whether the client hears the reply of the command that has just run, and what becomes of its
// choice (CLIENT REPLY) for the next one.
bool hears_reply(Session& session) {
  const uint8_t now = session.replies;
  if (now == 0) return true;
  session.replies = now & Session::kRepliesOff;
  if (now & Session::kRepliesSkipNext) session.replies |= Session::kRepliesSkip;
  return (now & Session::kRepliesHeard) || !(now & (Session::kRepliesOff | Session::kRepliesSkip));
}

// The first words of an HTTP request. A browser can be made to send one here, with commands in its
// body (cross-protocol scripting); Redis hangs up without a word.
bool is_http(std::string_view word) {
  return equal_ignoring_case(word, "post") || equal_ignoring_case(word, "host:");
}

}  // namespace

void Batch::add(Session& session, size_t first_word, void* tag, size_t input_offset,
                bool is_canonical) {
  const size_t word_count = words_.size() - first_word;
  const Command* command = word_count ? find_command(words_[first_word]) : nullptr;
  if (command && command->subcommands && word_count > 1) {
    const Command* sub = find_subcommand(*command, words_[first_word + 1]);
    if (sub) command = sub;
  }
  Request request = {&session,
                     tag,
                     command,
                     input_offset,
                     uint32_t(first_word),
                     uint32_t(word_count),
                     uint32_t(hashes_.size()),
                     0,
                     false,
                     is_canonical};
  if (command && command->keys.first && command->arity_fits(word_count)) {
    request.lacks_memory = !add_keys(*command, first_word);
    request.hash_count = uint32_t(hashes_.size()) - request.first_hash;
  }
  requests_.push_back(request);
}

// False if there is no memory for the hashes of all.
bool Batch::add_keys(const Command& command, size_t first_word) {
  const std::string_view* words = words_.data() + first_word;
  const size_t count = words_.size() - first_word;
  if (command.find_key) {
    for (size_t i = 0; const size_t word = command.find_key(words, count, i); i++) {
      if (!add_hash(words[word])) return false;
    }
    return true;
  }
  const size_t keys = command.keys.count(count);
  for (size_t i = 0; i < keys; i++) {
    if (!add_hash(words[size_t(command.keys.first) + i * size_t(command.keys.step)])) return false;
  }
  return true;
}

// Commands behind one another are mostly for the same database.
void Batch::prefetch() const {
  for (size_t i = 0; i < requests_.size();) {
    const int db = requests_[i].session->db.load(std::memory_order_relaxed);
    const uint32_t first = requests_[i].first_hash;
    uint32_t end = first;
    for (; i < requests_.size(); i++) {
      const Request& request = requests_[i];
      if (request.session->db.load(std::memory_order_relaxed) != db) break;
      end = request.first_hash + request.hash_count;
    }
    env_.keyspace->prefetch(db, hashes_.data() + first, end - first);
  }
}

void Batch::add_known(Session& session, const Command& command, size_t first_word, uint64_t hash,
                      size_t input_offset) {
  requests_.push_back({&session, nullptr, &command, input_offset, uint32_t(first_word),
                       uint32_t(words_.size() - first_word), uint32_t(hashes_.size()), 1, false,
                       false});
  if (!hashes_.push(hash)) end_without_memory();
}

// A command that may write waits for a snapshot that cannot keep up, and needs room in the log.
// What it takes there is its words again, a DEL for each key that has expired, and a little; longer
// records are kept aside. While the log cannot be written at all, the command is let through to be
// refused. For a transaction EXEC waits, and none of its commands.
bool Batch::admit(const Request& request) const {
  if (!request.command) return true;
  const Transaction* const transaction = request.session->transaction.get();
  uint32_t flags = request.command->flags;
  if (transaction) [[unlikely]] {
    if (request.command->run != run_exec) return true;
    flags = transaction->flags();
  }
  if (!(flags & (kWrite | kWritesBack))) return true;
  if (env_.keyspace->changes_must_wait()) return false;
  if (!env_.log) return true;
  if (env_.log->failure()) return true;
  size_t bytes = kLogSlackBytes + (transaction ? transaction->log_bytes() : 0);
  for (uint32_t i = 0; i < request.word_count; i++) {
    bytes += 2 * (words_[request.first_word + i].size() + 32);
  }
  // Half the ring is enough for the longest: a ring that is in use is never quite empty.
  return env_.log->room() >= std::min(bytes, kLogRingBytes / 2);
}

// Whether the command must not be run, and that has been replied. `flags`: what it would do.
bool Batch::refuse(Call& call, const Request& request, uint32_t flags) {
  const bool is_known = request.command;
  if (!is_known && is_http(call.words[0])) {
    call.session.close_after_reply = true;
  } else if (!is_known) {
    reply_unknown_command(call);
  } else if (!call.command.arity_fits(call.word_count)) {
    reply_wrong_arity(call);
  } else if (request.lacks_memory) {
    reply_out_of_memory(call);
  } else if ((flags & kDenyOom) && env_.keyspace->over_limit() && !find_room()) {
    reply_out_of_memory(call);
  } else if ((flags & kWrite) && env_.log && env_.log->failure()) {
    call.reply.errorf("MISCONF Errors writing to the AOF file: %s", strerror(env_.log->failure()));
  } else if (!(flags & kLoading) && env_.loading && env_.loading->load(std::memory_order_acquire)) {
    call.reply.error("LOADING Redis is loading the dataset in memory");
  } else {
    return false;
  }
  return true;
}

void Batch::execute(const Request& request) {
  static constexpr Command kUnknown = {};
  Session& session = *request.session;
  const Command& command = request.command ? *request.command : kUnknown;
  const size_t output_before = session.output.size();
  const uint64_t position_before = session.log_position;
  Reply reply(session.output, session.protocol.load(std::memory_order_relaxed));
  Call call = {env_,
               command,
               session,
               reply,
               words_.data() + request.first_word,
               request.word_count,
               hashes_.data() + request.first_hash,
               request.is_canonical};
  // An empty command does nothing but to use up CLIENT REPLY SKIP.
  if (request.word_count == 0) {
    hears_reply(session);
    return;
  }
  commands_run_++;
  if (session.transaction) [[unlikely]] {
    run_in_multi(call, request);
  } else if (!refuse(call, request, command.flags)) {
    session.last_command.store(&command, std::memory_order_relaxed);
    run_locked(call, request.hash_count);
  } else if (command.run == run_exec) {
    abort_exec(call, output_before);
  }
  error_replies_ += reply.errors();
  if (reply.failed()) session.close_after_reply = true;
  if (!hears_reply(session)) {
    session.output.truncate(output_before);
    session.wait.heard = false;
  }
  // What a read writes back may be lost.
  if (session.log_position != position_before && !(command.flags & kWritesBack)) {
    session.change_replies.add(output_before, session.output.size());
  }
  env_.output_room_bytes -= int64_t(session.output.size() - output_before);
}

// What can be known to be wrong is replied now, and EXEC will refuse all of it.
bool Batch::refuse_in_multi(Call& call, const Request& request) {
  const Command& command = call.command;
  uint32_t flags = command.flags;
  if (command.run == run_exec) {
    flags |= call.session.transaction->flags() & (kWrite | kDenyOom);
  } else if (command.run != run_discard && command.run != run_reset && command.run != run_quit) {
    flags |= kDenyOom;  // the queue takes memory
  }
  if (command.subcommands && call.word_count > 1) {
    reply_unknown_subcommand(call);
  } else if (request.command && (flags & kNoMulti) && command.arity_fits(call.word_count)) {
    call.reply.error("ERR Command not allowed inside a transaction");
  } else {
    return refuse(call, request, flags);
  }
  return true;
}

// A command between MULTI and EXEC, or one of those that end this.
void Batch::run_in_multi(Call& call, const Request& request) {
  Session& session = call.session;
  Transaction& transaction = *session.transaction;
  const size_t mark = call.reply.mark();
  if (request.command) session.last_command.store(&call.command, std::memory_order_relaxed);
  if (refuse_in_multi(call, request)) {
    transaction.set_failed();
    if (call.command.run == run_exec) abort_exec(call, mark);
  } else if (call.command.flags & kInMulti) {
    run_locked(call, request.hash_count);
  } else if (queue_command(call, request.hash_count)) {
    call.reply.simple("QUEUED");
  } else {
    reply_out_of_memory(call);
    transaction.set_failed();
  }
}

// No lock is held: a transaction has its room made before its locks are taken.
bool Batch::find_room() { return room_maker_.make_room(); }

// The locks follow from the table: all stripes, those of the keys in ascending order, or none.
void Batch::run_locked(Call& call, size_t hash_count) {
  Keyspace& keyspace = *env_.keyspace;
  if (hash_count == 1) {
    StripeGuard guard(keyspace, keyspace.stripe_of(call.hashes[0]));
    call.command.run(call);
  } else if (hash_count > 1) {
    locks_.lock(keyspace, call.hashes, hash_count);
    call.command.run(call);
    locks_.unlock(keyspace);
  } else if (call.command.flags & kAllKeys) {
    keyspace.lock_all();
    call.command.run(call);
    keyspace.unlock_all();
  } else {
    call.command.run(call);
  }
}

void Batch::clear() {
  requests_.clear();
  words_.reset();
  hashes_.capacity() > kSpareWords ? hashes_.release() : hashes_.clear();
}

// Only reached where no subcommand was found.
void run_container(Call& call) { reply_unknown_subcommand(call); }

}  // namespace ignix
