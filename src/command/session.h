// What a command may see and change of the client that sent it. Who the client is on the network,
// and when its replies are sent, is the affair of server/ and net/.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/lock.h"
#include "base/output.h"

namespace ignix {

struct Command;
struct Block;
class Reply;

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
  enum class Replies : uint8_t { kOn, kOff, kSkipNext, kSkip };

  // The owning loop writes these; CLIENT LIST on another loop reads them.
  std::atomic<int> db{0};
  std::atomic<int> protocol{2};
  std::atomic<const Command*> last_command{nullptr};
  std::atomic<int64_t> active_ms{0};  // CLOCK_MONOTONIC
  std::atomic<bool> shown_waiting{false};

  SpinLock names_lock;  // guards the three names
  std::string name, library_name, library_version;

  bool is_waiting() const { return wait.reply != nullptr; }

  // The owning loop's alone.
  uint64_t id = 0;
  Replies replies = Replies::kOn;
  bool close_after_reply = false;  // nothing more of this client is run
  bool blocked = false;            // its next command waits: for the log, or for the client to read
  uint64_t log_position = 0;       // the reply waits until the log is acknowledged up to here
  Wait wait;
  Block* received = nullptr;  // a word of the command being run that came straight into a block
  Output output;              // replies not sent yet
  size_t sending_bytes = 0;   // and those that the kernel is still sending, if they are many
};

}  // namespace ignix
