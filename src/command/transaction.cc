#include "command/transaction.h"

#include <algorithm>
#include <new>

#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"

namespace ignix {
namespace {

// The session's, which is made when it is first needed.
Transaction& transaction_of(Call& call) {
  if (!call.session.transaction) call.session.transaction = std::make_unique<Transaction>();
  return *call.session.transaction;
}

void drop_watches(Keyspace& keyspace, Transaction& transaction) {
  for (const Transaction::Watched& each : transaction.watched) {
    StripeGuard guard(keyspace, keyspace.stripe_of(each.hash));
    keyspace.unwatch(each.hash, &transaction.touched);
  }
  transaction.watched.clear();
  transaction.touched = false;
}

void end(Session& session) {
  session.transaction->close();
  session.in_multi = false;
  session.queued.store(-1, std::memory_order_relaxed);
}

// The locks of one EXEC: of all its commands, and of what is watched.
class TransactionLocks {
 public:
  TransactionLocks(Env& env, const Transaction& transaction) : env_(env) {
    all_ = transaction.flags & (kAllKeys | kWalksKeys | kLocksStripes);
    if (all_) {
      env.keyspace->lock_all();
      env.all_locked = true;
      return;
    }
    std::vector<uint64_t> hashes = transaction.hashes;
    for (const Transaction::Watched& each : transaction.watched) hashes.push_back(each.hash);
    locks_.lock(*env.keyspace, hashes.data(), hashes.size());
  }
  ~TransactionLocks() {
    if (all_) {
      env_.all_locked = false;
      env_.keyspace->unlock_all();
    } else {
      locks_.unlock(*env_.keyspace);
    }
  }
  TransactionLocks(const TransactionLocks&) = delete;

 private:
  Env& env_;
  bool all_;
  StripeLocks locks_;
};

// Whether a watched key has changed. One whose time has come since has changed as well, though
// nobody has deleted it yet.
bool watched_changed(Call& call, const Transaction& transaction) {
  if (transaction.touched) return true;
  return std::any_of(transaction.watched.begin(), transaction.watched.end(),
                     [&call](const Transaction::Watched& each) {
                       const Entry* entry = call.keyspace().find(each.db, {each.hash, each.key});
                       return entry && entry->expired(call.env.now_ms);
                     });
}

void run_queue(Call& exec, const Transaction& transaction) {
  exec.reply.array(int64_t(transaction.queue.size()));
  exec.keyspace().prefetch(exec.db(), transaction.hashes.data(), transaction.hashes.size());
  std::vector<std::string_view> words;
  const char* bytes = transaction.bytes.data();
  const uint32_t* word_bytes = transaction.word_bytes.data();
  const uint64_t* hashes = transaction.hashes.data();
  for (const Transaction::Queued& queued : transaction.queue) {
    words.clear();
    for (uint32_t i = 0; i < queued.word_count; i++) {
      words.emplace_back(bytes, *word_bytes);
      bytes += *word_bytes++;
    }
    exec.session.last_command.store(queued.command, std::memory_order_relaxed);
    Call call = {exec.env,     *queued.command, exec.session, exec.reply,
                 words.data(), words.size(),    hashes};
    queued.command->run(call);
    hashes += queued.hash_count;
  }
}

}  // namespace

void Call::log_group() const {
  static constexpr std::string_view kMulti = "*1\r\n$5\r\nMULTI\r\n",
                                    kExec = "*1\r\n$4\r\nEXEC\r\n";
  if (env.group_records > 1) {
    env.group.insert(0, kMulti);
    env.group.append(kExec);
  }
  if (env.group_records) session.log_position = env.log->append(*env.writer, env.group);
  env.group_records = 0;
  std::string().swap(env.group);
}

void Transaction::close() {
  open = failed = false;
  flags = 0;
  std::vector<Queued>().swap(queue);
  std::string().swap(bytes);
  std::vector<uint32_t>().swap(word_bytes);
  std::vector<uint64_t>().swap(hashes);
}

void queue_command(Call& call, size_t hash_count) {
  Transaction& transaction = *call.session.transaction;
  if (call.command.flags & kNoMulti) {
    transaction.failed = true;
    return call.reply.error("ERR Command not allowed inside a transaction");
  }
  size_t bytes = transaction.bytes.size();
  for (size_t i = 0; i < call.word_count; i++) bytes += call.words[i].size();
  if (bytes > kTransactionBytesMax || transaction.queue.size() >= kTransactionCommandsMax) {
    transaction.failed = true;
    return call.reply.error("ERR the transaction is too long");
  }
  transaction.queue.push_back({&call.command, uint32_t(call.word_count), uint32_t(hash_count)});
  for (size_t i = 0; i < call.word_count; i++) {
    transaction.bytes.append(call.words[i]);
    transaction.word_bytes.push_back(uint32_t(call.words[i].size()));
  }
  transaction.hashes.insert(transaction.hashes.end(), call.hashes, call.hashes + hash_count);
  transaction.flags |= call.command.flags;
  call.session.queued.store(int(transaction.queue.size()), std::memory_order_relaxed);
  call.reply.simple("QUEUED");
}

void note_refused(Call& call, size_t mark) {
  if (call.session.in_multi) call.session.transaction->failed = true;
  if (call.command.run != run_exec) return;
  // The error without its dash, "ERR" and line end.
  const Buffer& written = call.session.output.own();
  const size_t bytes = call.session.output.size() - mark;
  std::string why(written.data() + written.size() - bytes, bytes);
  why = why.substr(1, why.size() - 3);
  if (why.starts_with("ERR ")) why.erase(0, 4);
  call.reply.rollback(mark);
  forget_transaction(call.keyspace(), call.session);
  call.reply.errorf("EXECABORT Transaction discarded because of: %s", why.c_str());
}

size_t log_bytes_of(const Transaction& transaction) {
  if (!(transaction.flags & (kWrite | kWritesBack))) return 0;
  return 2 * (transaction.bytes.size() + 32 * transaction.word_bytes.size());
}

void forget_transaction(Keyspace& keyspace, Session& session) {
  if (!session.transaction) return;
  drop_watches(keyspace, *session.transaction);
  end(session);
}

void run_multi(Call& call) {
  if (call.session.in_multi) return call.reply.error("ERR MULTI calls can not be nested");
  transaction_of(call).open = true;
  call.session.in_multi = true;
  call.session.queued.store(0, std::memory_order_relaxed);
  call.reply.ok();
}

void run_exec(Call& call) {
  Session& session = call.session;
  if (!session.in_multi) return call.reply.error("ERR EXEC without MULTI");
  Transaction& transaction = *session.transaction;
  bool aborted = false;
  if (transaction.failed) {
    call.reply.error("EXECABORT Transaction discarded because of previous errors.");
  } else {
    TransactionLocks locks(call.env, transaction);
    aborted = watched_changed(call, transaction);
    if (!aborted) {
      call.env.in_transaction = true;
      run_queue(call, transaction);
      call.env.in_transaction = false;
      call.log_group();
    }
  }
  if (aborted) call.reply.null_array();
  forget_transaction(call.keyspace(), session);
}

void run_discard(Call& call) {
  if (!call.session.in_multi) return call.reply.error("ERR DISCARD without MULTI");
  forget_transaction(call.keyspace(), call.session);
  call.reply.ok();
}

// One that is watched already is not watched twice.
void run_watch(Call& call) {
  if (call.session.in_multi) return call.reply.error("ERR WATCH inside MULTI is not allowed");
  Transaction& transaction = transaction_of(call);
  for (size_t i = 0; i + 1 < call.word_count; i++) {
    const Key key = call.key(i);
    const auto is_it = [&](const Transaction::Watched& each) {
      return each.hash == key.hash && each.db == call.db() && each.key == key.text;
    };
    if (std::any_of(transaction.watched.begin(), transaction.watched.end(), is_it)) continue;
    if (transaction.watched.size() >= kWatchedKeysMax) {
      return call.reply.error("ERR too many watched keys");
    }
    find_live(call, key, Access::kLook);  // that it has expired is no change later
    call.keyspace().watch(call.db(), key, &transaction.touched);
    transaction.watched.push_back({key.hash, call.db(), std::string(key.text)});
  }
  call.reply.ok();
}

// Within EXEC there is nothing to do: it has been done, or will be.
void run_unwatch(Call& call) {
  if (call.session.transaction && !call.env.in_transaction) {
    drop_watches(call.keyspace(), *call.session.transaction);
  }
  call.reply.ok();
}

}  // namespace ignix
