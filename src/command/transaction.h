// MULTI … EXEC, and WATCH. Between MULTI and EXEC commands are kept, not run. EXEC locks the
// stripes of all their keys, and of the watched ones, at once; runs them; and logs what they change
// as one group. So nobody sees a part of it, neither another thread, nor a snapshot, nor who loads
// the log.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/keyspace.h"

namespace ignix {

struct Call;
struct Command;
struct Session;

struct Transaction {
  struct Queued {
    const Command* command;
    uint32_t word_count, hash_count;
  };
  struct Watched {
    uint64_t hash;
    int db;
    std::string key;
  };

  bool open = false;    // between MULTI and EXEC
  bool failed = false;  // a command was refused, so EXEC will be
  uint32_t flags = 0;   // of all commands, together
  std::vector<Queued> queue;
  // Of all commands, one behind the other.
  std::string bytes;                 // the words'
  std::vector<uint32_t> word_bytes;  // their lengths
  std::vector<uint64_t> hashes;      // of their keys
  std::vector<Watched> watched;
  std::atomic<bool> touched{false};  // one of them has changed: whoever changes it writes

  // Once it is of no use any more, memory that it took is given back.
  void close();
};

// Whether the command is kept for EXEC instead of being run now; and keeps it. The caller has
// checked all but that.
void queue_command(Call& call, size_t hash_count);
// A command was refused. For EXEC itself, its reply from `mark` on becomes EXECABORT.
void note_refused(Call& call, size_t mark);
// What EXEC takes in the log, at most; 0 if it changes nothing.
size_t log_bytes_of(const Transaction& transaction);

// Whatever the client has begun or watches is forgotten. Holds no lock.
void forget_transaction(Keyspace& keyspace, Session& session);

}  // namespace ignix
