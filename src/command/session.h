// What a command may see and change of the client that sent it. Who the client is on the network,
// and when its replies are sent, is the affair of server/ and net/.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/lock.h"
#include "base/output.h"
#include "command/change_replies.h"
#include "store/watch.h"

namespace ignix {

struct Command;
struct Block;
class Reply;
class Transaction;

struct DeleteTransaction {
  void operator()(Transaction* transaction) const;
};
using TransactionPtr = std::unique_ptr<Transaction, DeleteTransaction>;

// What a client waits for that has sent WAIT or WAITAOF. Its later commands are not run meanwhile.
struct Wait {
  static constexpr int64_t kForEver = INT64_MAX;

  int64_t until_ms = kForEver;  // CLOCK_MONOTONIC
  bool for_disk = false;        // only until the client's changes are on the disk
  bool heard = true;            // the reply is sent (CLIENT REPLY)
  // At the end; `on_disk`: the client's changes are. nullptr: it does not wait.
  void (*reply)(Reply& reply, bool on_disk) = nullptr;
};

struct Session {
  // CLIENT REPLY, as bits of `replies`.
  static constexpr uint8_t kRepliesOff = 1 << 0;       // until it is on again
  static constexpr uint8_t kRepliesSkip = 1 << 1;      // of this command
  static constexpr uint8_t kRepliesSkipNext = 1 << 2;  // of the next one
  static constexpr uint8_t kRepliesHeard = 1 << 3;     // EXEC has left what is to be heard

  // The owning loop writes these; CLIENT LIST on another loop reads them.
  std::atomic<int> db{0};
  std::atomic<int> protocol{2};
  std::atomic<const Command*> last_command{nullptr};
  std::atomic<int64_t> active_ms{0};  // CLOCK_MONOTONIC
  std::atomic<bool> shown_waiting{false};
  std::atomic<int64_t> shown_queued{-1};  // commands since MULTI; -1: there was none
  std::atomic<uint64_t> shown_queued_bytes{0};

  SpinLock names_lock;  // guards the three names
  std::string name, library_name, library_version;

  bool is_waiting() const { return wait.reply != nullptr; }
  // Bytes that its transaction and its watches take.
  size_t kept_bytes() const { return queued_bytes + watch_bytes; }
  // Whether what is replied now is sent.
  bool hears() const { return !(replies & (kRepliesOff | kRepliesSkip)); }

  // The owning loop's alone.
  uint64_t id = 0;
  uint8_t replies = 0;             // 0: all are sent
  bool close_after_reply = false;  // nothing more of this client is run
  bool output_cut = false;         // EXEC had more to reply than is kept: it is closed, unanswered
  bool blocked = false;            // its next command waits: see net/loop.cc
  uint64_t log_position = 0;       // the reply waits until the log is acknowledged up to here
  ChangeReplies change_replies;    // where those to changes are in the output: see there
  TransactionPtr transaction;      // from MULTI to its end (command/transaction.h)
  Wait wait;
  Block* received = nullptr;  // a word of the command being run that came straight into a block
  Output output;              // replies not sent yet
  size_t sending_bytes = 0;   // and those that the kernel is still sending, if they are many
  Watch* watches = nullptr;   // each is in its stripe as well
  size_t watch_count = 0, watch_bytes = 0, queued_bytes = 0;
  Watcher watcher;
};

}  // namespace ignix
