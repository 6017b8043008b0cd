// One command being run: its words, who sent it, what it works on.
#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/hash.h"
#include "base/random.h"
#include "command/command.h"
#include "command/session.h"
#include "durability/ring.h"
#include "resp/parser.h"
#include "resp/reply.h"
#include "store/evict.h"
#include "store/keyspace.h"

namespace ignix {

struct Server;  // server/server.h: for the commands that administer it, and for nobody else

// What all commands of a loop share. One for each loop, used by its thread alone.
struct Env {
  Keyspace* keyspace;
  LogRing* log;             // nullptr: changes are not logged (no AOF, or it is being loaded)
  LogRing::Writer* writer;  // this loop's
  Server* server;
  const std::atomic<bool>* loading = nullptr;  // while it is true, few commands are run
  int64_t now_ms = 0;                          // time of day, read once for each batch
  int64_t output_room_bytes = 0;         // what this loop's replies may still grow by in this turn
  int64_t output_bytes_max = 0;          // of a client, by client-output-buffer-limit; 0: any
  uint32_t clock = 0;                    // the entries' access clock at that time
  EvictRules evict = {};                 // maxmemory-policy and what belongs to it
  int evict_tenacity = 10;               // maxmemory-eviction-tenacity
  bool rdbcompression = true;            // for DUMP
  int64_t string_bytes_max = INT64_MAX;  // proto-max-bulk-len, for strings that are made here
  const std::atomic<int64_t>* hll_sparse_bytes = nullptr;  // hll-sparse-max-bytes
  uint64_t changes = 0;                                    // made by this loop so far
  bool replays = false;         // the log: what worked when it was written works again
  bool in_transaction = false;  // under the locks of an EXEC: nothing may wait for others
  RandomNumbers random = RandomNumbers(random_hash_secret().a);
  TransactionPtr spare_transaction = nullptr;  // for the next MULTI
};

struct Call {
  Env& env;
  const Command& command;
  Session& session;
  Reply& reply;
  const std::string_view* words;  // words[0] is the name
  size_t word_count;
  const uint64_t* hashes;     // of the keys, in their order
  bool is_canonical = false;  // the words stand in RESP (resp/parser.h)

  Keyspace& keyspace() const { return *env.keyspace; }
  int db() const { return session.db.load(std::memory_order_relaxed); }

  // The command's key number `index`, from 0. Where the row has a find_key, only the first is in
  // the range: the others are for the command to find.
  Key key(size_t index) const {
    const KeyRange& keys = command.keys;
    assert(index == 0 || !command.find_key);
    return {hashes[index], words[size_t(keys.first) + index * size_t(keys.step)]};
  }

  // Appends a change to the log, under the locks of its stripes. Without words: the command as it
  // came. It counts for the rules of `save` as so many changes.
  void log_change(const std::string_view* change, size_t count, uint64_t changes = 1) const {
    assert(changes > 0);  // else EXEC would not wait for its record
    env.changes += changes;
    if (!env.log) return;
    session.log_position = env.log->append(*env.writer, db(), change, count);
  }
  void log_change(uint64_t changes = 1) const {
    assert(changes > 0);
    env.changes += changes;
    if (!env.log) return;
    const std::string_view formatted =
        is_canonical ? Parser::canonical_bytes(words, word_count) : std::string_view();
    session.log_position = env.log->append(*env.writer, db(), words, word_count, formatted);
  }
};

}  // namespace ignix
