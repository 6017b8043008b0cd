#include "command/transaction.h"

#include <algorithm>
#include <new>
#include <string>

#include "command/access.h"
#include "command/handlers.h"

namespace ignix {

// ---- the queue

namespace {

// Whether the client has more to read than it may. It is closed then, as behind any other command;
// but of a transaction the rest is run, and not replied.
bool is_too_much(Call& exec) {
  Session& session = exec.session;
  const int64_t most = exec.env.output_bytes_max;
  if (most == 0 || int64_t(session.output.size() + session.sending_bytes) <= most) return false;
  return session.output_cut = session.close_after_reply = true;
}

}  // namespace

Transaction::~Transaction() { clear(); }

void Transaction::clear() {
  for (const Item& item : items_) {
    if (item.block) drop_block(item.block);
  }
  if (bytes_ + hashes_.size() * sizeof(uint64_t) > kSpareTransactionBytes) {
    items_.release();
    word_bytes_.release();
    hashes_.release();
    argv_.release();
    words_.release();
  }
  items_.clear();
  word_bytes_.clear();
  hashes_.clear();
  words_.clear();
  bytes_ = 0;
  flags_ = 0;
  failed_ = needs_all_stripes_ = false;
}

bool Transaction::add(const Call& call, size_t hash_count) {
  Item item = {&call.command, call.word_count, hash_count, nullptr, 0};
  Block* const received = call.session.received;
  size_t bytes = 0;
  for (size_t i = 0; i < call.word_count; i++) {
    if (received && call.words[i].data() == received->data) {
      item.block = received;
      item.block_word = i;
    } else {
      bytes += call.words[i].size();
    }
  }
  if (!words_.reserve(bytes) || !items_.reserve(items_.size() + 1) ||
      !word_bytes_.reserve(word_bytes_.size() + call.word_count) ||
      !argv_.reserve(call.word_count) || !hashes_.append(call.hashes, hash_count)) {
    return false;
  }
  if (item.block) {
    hold_block(item.block);
    bytes_ += item.block->total_bytes();
  }
  for (size_t i = 0; i < call.word_count; i++) {
    word_bytes_.put(uint32_t(call.words[i].size()));
    if (!item.block || i != item.block_word) words_.append(call.words[i]);
  }
  items_.put(item);
  bytes_ +=
      sizeof(Item) + bytes + call.word_count * sizeof(uint32_t) + hash_count * sizeof(uint64_t);
  flags_ |= call.command.flags;
  // One that names no keys may look at any: but not those about the connection.
  const bool has_locks = hash_count > 0 || call.command.group == Group::kConnection ||
                         call.command.group == Group::kTransactions;
  if (!has_locks || (call.command.flags & kAllKeys)) needs_all_stripes_ = true;
  return true;
}

void Transaction::lock(Keyspace& keyspace, const Watch* watches) {
  if (needs_all_stripes_) return keyspace.lock_all();
  for (; watches; watches = watches->of_client) locks_.add(keyspace, watches->hash);
  locks_.lock(keyspace, hashes_.data(), hashes_.size());
}

void Transaction::unlock(Keyspace& keyspace) {
  if (needs_all_stripes_) return keyspace.unlock_all();
  locks_.unlock(keyspace);
}

void Transaction::run(Call& exec) {
  Session& session = exec.session;
  Reply& reply = exec.reply;
  const char* bytes = words_.data();
  const uint64_t* hashes = hashes_.data();
  const uint32_t* lengths = word_bytes_.data();
  if (session.hears()) reply.array(int64_t(items_.size()));
  for (Item& item : items_) {
    argv_.clear();
    for (size_t i = 0; i < item.word_count; i++, lengths++) {
      const bool in_block = item.block && i == item.block_word;
      argv_.put({in_block ? item.block->data : bytes, *lengths});
      if (!in_block) bytes += *lengths;
    }
    session.received = item.block;
    Call call = {exec.env, *item.command, session, reply, argv_.data(), item.word_count, hashes};
    const size_t mark = reply.mark();
    item.command->run(call);
    if (!session.hears() || is_too_much(exec)) reply.rollback(mark);
    if (item.block) drop_block(item.block);
    session.received = item.block = nullptr;
    hashes += item.hash_count;
  }
  session.replies |= Session::kRepliesHeard;
}

// ---- watches

namespace {

// The stripes of the watched keys are locked by the caller.
void unwatch_locked(Keyspace& keyspace, Session& session) {
  while (Watch* const watch = session.watches) {
    session.watches = watch->of_client;
    keyspace.unwatch(*watch);
    Watch::destroy(watch);
  }
  session.watch_count = session.watch_bytes = 0;
  session.watcher.touched.store(false, std::memory_order_relaxed);
}

void unwatch_all(Keyspace& keyspace, Session& session) {
  while (Watch* const watch = session.watches) {
    session.watches = watch->of_client;
    {
      StripeGuard guard(keyspace, keyspace.stripe_of(watch->hash));
      keyspace.unwatch(*watch);
    }
    Watch::destroy(watch);
  }
  unwatch_locked(keyspace, session);
}

// The client is as it was before MULTI. The transaction is kept for the next one.
void leave_multi(Env& env, Session& session) {
  if (!session.transaction) return;
  session.transaction->clear();
  env.spare_transaction = std::move(session.transaction);
  session.queued_bytes = 0;
  session.shown_queued_bytes.store(0, std::memory_order_relaxed);
  session.shown_queued.store(-1, std::memory_order_relaxed);
}

bool is_touched(const Session& session) {
  return session.watcher.touched.load(std::memory_order_relaxed);
}

// Whether the time of a watched key has come since it was watched. Their stripes are locked.
bool any_expired(Call& call) {
  for (const Watch* watch = call.session.watches; watch; watch = watch->of_client) {
    if (watch->was_expired) continue;
    const Entry* entry = call.keyspace().find(watch->db, {watch->hash, watch->key()});
    if (entry && entry->expired(call.env.now_ms)) return true;
  }
  return false;
}

void prefetch(Call& call, const Array<uint64_t>& hashes) {
  for (size_t i = 0; i < hashes.size(); i += kPrefetchKeys) {
    const size_t count = std::min<size_t>(kPrefetchKeys, hashes.size() - i);
    call.keyspace().prefetch(call.db(), hashes.data() + i, count);
  }
}

// The stripes are locked, and no watched key was touched.
void run_transaction(Call& call, Transaction& transaction) {
  Env& env = call.env;
  const uint64_t changes = env.changes;
  env.in_transaction = true;
  if (env.log) env.log->begin_group(*env.writer);
  transaction.run(call);
  if (env.log) {
    const uint64_t position = env.log->end_group(*env.writer);
    // For a DEL of what had expired nobody waits.
    if (env.changes != changes) call.session.log_position = position;
  }
  env.in_transaction = false;
}

}  // namespace

void DeleteTransaction::operator()(Transaction* transaction) const { delete transaction; }

void drop_transaction(Env& env, Session& session) {
  leave_multi(env, session);
  unwatch_all(*env.keyspace, session);
}

bool queue_command(const Call& call, size_t hash_count) {
  Session& session = call.session;
  Transaction& transaction = *session.transaction;
  if (transaction.failed() || is_touched(session)) return true;
  if (!transaction.add(call, hash_count)) return false;
  session.queued_bytes = transaction.bytes();
  session.shown_queued.store(int64_t(transaction.size()), std::memory_order_relaxed);
  session.shown_queued_bytes.store(transaction.bytes(), std::memory_order_relaxed);
  return true;
}

void abort_exec(Call& call, size_t mark) {
  Buffer& output = call.session.output.own();
  const size_t bytes = call.reply.mark() - mark;
  std::string_view reason = {output.data() + output.size() - bytes, bytes};
  reason.remove_prefix(std::min<size_t>(1, reason.size()));
  if (reason.starts_with("ERR ")) reason.remove_prefix(4);
  if (reason.ends_with("\r\n")) reason.remove_suffix(2);
  const std::string text = "EXECABORT Transaction discarded because of: " + std::string(reason);
  call.reply.rollback(mark);
  call.reply.error(text);
  drop_transaction(call.env, call.session);
}

// ---- commands

void run_multi(Call& call) {
  Session& session = call.session;
  if (session.transaction) return call.reply.error("ERR MULTI calls can not be nested");
  session.transaction = std::move(call.env.spare_transaction);
  if (!session.transaction) session.transaction.reset(new (std::nothrow) Transaction);
  if (!session.transaction) return reply_out_of_memory(call);
  session.shown_queued.store(0, std::memory_order_relaxed);
  call.reply.ok();
}

void run_exec(Call& call) {
  Session& session = call.session;
  Transaction* const transaction = session.transaction.get();
  if (!transaction) return call.reply.error("ERR EXEC without MULTI");
  if (transaction->failed()) {
    call.reply.error("EXECABORT Transaction discarded because of previous errors.");
    return drop_transaction(call.env, session);
  }
  prefetch(call, transaction->hashes());
  transaction->lock(call.keyspace(), session.watches);
  const bool may_run = !is_touched(session) && !any_expired(call);
  unwatch_locked(call.keyspace(), session);
  if (may_run) run_transaction(call, *transaction);
  transaction->unlock(call.keyspace());
  if (!may_run) call.reply.null_array();
  leave_multi(call.env, session);
}

void run_discard(Call& call) {
  if (!call.session.transaction) return call.reply.error("ERR DISCARD without MULTI");
  drop_transaction(call.env, call.session);
  call.reply.ok();
}

// The stripes of the keys are locked.
void run_watch(Call& call) {
  Session& session = call.session;
  if (session.transaction) return call.reply.error("ERR WATCH inside MULTI is not allowed");
  // Once touched, EXEC will not run anything: there is nothing to watch any more.
  for (size_t i = 0; i + 1 < call.word_count && !is_touched(session); i++) {
    const Key key = call.key(i);
    if (call.keyspace().is_watched(session.watcher, call.db(), key)) continue;
    if (session.watch_count >= kWatchesMax) {
      return call.reply.error("ERR too many watched keys");
    }
    Watch* const watch = Watch::make(session.watcher, call.db(), key.hash, key.text);
    if (!watch || !call.keyspace().watch(*watch)) {
      if (watch) Watch::destroy(watch);
      return reply_out_of_memory(call);
    }
    const Entry* entry = call.keyspace().find(call.db(), key);
    watch->was_expired = entry && entry->expired(call.env.now_ms);
    watch->of_client = session.watches;
    session.watches = watch;
    session.watch_count++;
    session.watch_bytes += watch->total_bytes();
  }
  call.reply.ok();
}

void run_unwatch(Call& call) {
  unwatch_all(call.keyspace(), call.session);
  call.reply.ok();
}

}  // namespace ignix
