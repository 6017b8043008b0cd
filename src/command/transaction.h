// Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//
// Between MULTI and EXEC a client's commands are not run but queued (Batch::run_in_multi in
// execute.cc). EXEC locks the stripes of all their keys and of all watched keys, in ascending
// order, looks whether a watched key was touched, runs the commands one after the other, and
// appends what they have changed to the log as one group, before it unlocks. So nobody sees a half
// of it, nor does who reads the log.
//
// The watched keys' stripes must be among them: two clients that each watch what the other one
// writes could else both find their keys untouched, and both write.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/array.h"
#include "base/buffer.h"
#include "command/call.h"

namespace ignix {

class Transaction {
 public:
  Transaction() = default;
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // Queues the command with a copy of its words; a word that was received into a block is not
  // copied. False if there is no memory.
  bool add(const Call& call, size_t hash_count);

  size_t size() const { return items_.size(); }
  size_t bytes() const { return bytes_; }
  // The flags of its commands, all together.
  uint32_t flags() const { return flags_; }
  // What it may append to the log.
  size_t log_bytes() const { return 2 * bytes_; }
  // Whether a command could not be queued: EXEC will not run the others.
  bool failed() const { return failed_; }
  void set_failed() { failed_ = true; }

  // Locks the stripes of all its commands' keys and of the watched keys.
  void lock(Keyspace& keyspace, const Watch* watches);
  void unlock(Keyspace& keyspace);
  // Runs all, under the locks. Writes EXEC's reply, as far as the client hears it: CLIENT REPLY may
  // be among them.
  void run(Call& exec);

  // Empty again, and without much memory.
  void clear();

  const Array<uint64_t>& hashes() const { return hashes_; }

 private:
  struct Item {
    const Command* command;
    size_t word_count, hash_count;
    Block* block;       // of one of its words; a reference
    size_t block_word;  // its number
  };

  Array<Item> items_;
  Array<uint32_t> word_bytes_;    // of all words, in order
  Buffer words_;                  // but for those in blocks
  Array<uint64_t> hashes_;        // of all keys, in order
  Array<std::string_view> argv_;  // of one of its commands, while it runs; has room for each
  StripeLocks locks_;
  size_t bytes_ = 0;
  uint32_t flags_ = 0;
  bool failed_ = false;
  bool needs_all_stripes_ = false;  // not only those of the hashes
};

// Queues a command of a client that has sent MULTI, unless EXEC will run nothing anyway. False if
// there is no memory.
bool queue_command(const Call& call, size_t hash_count);

// EXEC was refused: the error written since `mark` becomes the reason in its reply, and the
// transaction is over.
void abort_exec(Call& call, size_t mark);

// Forgets what the client has queued and watches. No stripe is locked by the caller.
void drop_transaction(Env& env, Session& session);

}  // namespace ignix
