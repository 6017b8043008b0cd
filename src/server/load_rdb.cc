#include "server/load_rdb.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "durability/rdb_reader.h"
#include "server/load.h"
#include "server/load_pool.h"
#include "store/string.h"

namespace ignix {
namespace {

// Entries on their way into the keyspace: a chunk is filled while the pool puts those before into
// the stripes, batch by batch, so that its cache misses overlap.
class Inserter {
 public:
  Inserter(Keyspace& keyspace, const Usage& usage)
      : keyspace_(keyspace), usage_(usage), now_ms_(wall_ms()), pool_(insert_chunk, this) {
    for (Chunk& chunk : chunks_) chunk.of_worker.resize(size_t(pool_.workers()));
    open_ = &chunks_[pool_.chunk_to_fill()];
  }

  // False if there is no memory.
  bool add(const RdbReader& reader) {
    if (reader.db() != open_->db && !dispatch()) return false;
    Chunk& chunk = *open_;
    chunk.db = reader.db();
    const size_t at = chunk.bytes.size();
    if (!chunk.bytes.append(reader.key()) || !chunk.bytes.append(reader.value())) return false;
    const uint64_t hash = keyspace_.key(reader.key()).hash;
    const int worker = pool_.worker_of(keyspace_.stripe_index(hash));
    chunk.of_worker[size_t(worker)].push_back({hash, at, reader.key().size(), reader.value().size(),
                                               reader.expiry_ms(), clock_of(reader)});
    return chunk.bytes.size() < kChunkBytes || dispatch();
  }

  // All that was added is there afterwards. False if there was no memory for it.
  bool finish() {
    if (!dispatch()) return false;
    pool_.wait();
    return !out_of_memory_;
  }

 private:
  static constexpr size_t kChunkBytes = 256 << 10;
  struct Item {
    uint64_t hash;
    size_t at, key_bytes, value_bytes;  // in the chunk's bytes
    int64_t expiry_ms;
    uint32_t clock;
  };
  struct Chunk {
    int db = 0;
    Buffer bytes;
    std::vector<std::vector<Item>> of_worker;
  };

  // What the policy does not ask for is not remembered.
  uint32_t clock_of(const RdbReader& reader) const {
    if (usage_.counts() && reader.frequency() >= 0) {
      return frequency_clock(now_ms_, uint32_t(reader.frequency()));
    }
    if (!usage_.counts() && reader.idle_seconds() >= 0) {
      return clock_before(now_ms_, reader.idle_seconds());
    }
    return usage_.fresh_clock(now_ms_) & kClockMask;
  }

  bool dispatch() {
    Chunk& full = *open_;
    pool_.run();
    if (out_of_memory_) return false;
    open_ = &chunks_[pool_.chunk_to_fill()];
    open_->db = full.db;
    open_->bytes.clear();
    // Of long values no more than this one is on its way.
    if (full.bytes.capacity() > 4 * kChunkBytes) {
      pool_.wait();
      full.bytes.release();
    }
    for (auto& items : open_->of_worker) items.clear();
    return true;
  }

  static void insert_chunk(void* self, size_t chunk, int worker) {
    Inserter& inserter = *static_cast<Inserter*>(self);
    inserter.insert(inserter.chunks_[chunk], worker);
  }

  void insert(const Chunk& chunk, int worker) {
    const std::vector<Item>& items = chunk.of_worker[size_t(worker)];
    uint64_t hashes[kBatchCommands];
    for (size_t i = 0; i < items.size(); i++) {
      if (i % kBatchCommands == 0) {
        const size_t count = std::min(kBatchCommands, items.size() - i);
        for (size_t j = 0; j < count; j++) hashes[j] = items[i + j].hash;
        keyspace_.prefetch(chunk.db, hashes, count);
      }
      if (!insert(chunk, items[i])) {
        out_of_memory_ = true;
        return;
      }
    }
  }

  bool insert(const Chunk& chunk, const Item& item) {
    const char* key = chunk.bytes.data() + item.at;
    StringScratch scratch;
    StoredValue stored;
    if (!encode_string({key + item.key_bytes, item.value_bytes}, keyspace_.blocks(), scratch,
                       stored)) {
      return false;
    }
    StripeGuard guard(keyspace_, keyspace_.stripe_of(item.hash));
    return keyspace_.put(chunk.db, {item.hash, {key, item.key_bytes}}, stored, item.expiry_ms,
                         item.clock);
  }

  Keyspace& keyspace_;
  const Usage usage_;
  const int64_t now_ms_;
  Chunk chunks_[LoadPool::kChunks];
  Chunk* open_;  // that is being filled; the pool is at the others
  std::atomic<bool> out_of_memory_{false};
  LoadPool pool_;  // the last: its threads end before the rest goes
};

constexpr uint64_t kSampledEntries = 10'000;  // after these it is known how long they are

// The file says how many keys there are, but that may be damaged: `most` is what is possible.
void expect_keys(Keyspace& keyspace, const RdbReader& reader, uint64_t most) {
  const uint64_t keys = std::min(reader.expected_keys(), most);
  keyspace.expect(reader.db(), keys);
  for (uint32_t i = keyspace.stripe_count(); i-- > 0;) keyspace.expect(reader.db(), keys, i);
}

// What can be done about a file that cannot be loaded.
const char* hint(const RdbReader& reader, RdbReader::Result result) {
  using Result = RdbReader::Result;
  if (result == Result::kForeign || result == Result::kFailed) return "";
  if (reader.has_wrong_checksum()) return "; --rdbchecksum no loads it all the same";
  return "; ignix-check --dump prints the keys before that";
}

}  // namespace

bool load_rdb(Server& server, int fd, uint64_t file_bytes, const std::string& what,
              bool drop_expired, uint64_t& end, std::string& error) {
  const int64_t start_ms = monotonic_ms(), now_ms = wall_ms();
  LoadProgress progress(server, what, file_bytes);
  RdbReader reader(fd, server.config.rdbchecksum);
  Inserter inserter(server.keyspace, server.config.evict_rules(now_ms).usage);
  uint64_t keys = 0, expired = 0, entries_here = 0;
  int db = -1;
  RdbReader::Result result;
  while ((result = reader.next()) == RdbReader::Result::kEntry) {
    if (reader.db() >= server.config.databases) {
      error = what + " has keys in database " + std::to_string(reader.db()) + "; see --databases";
      return false;
    }
    if (reader.db() != db) {
      db = reader.db();
      entries_here = 0;
    }
    if (++entries_here == kSampledEntries) {
      if (!inserter.finish()) break;
      const uint64_t entry_bytes = reader.offset() / (keys + expired);
      expect_keys(server.keyspace, reader, 2 * file_bytes / entry_bytes);
    }
    if (drop_expired && reader.expiry_ms() != kNoExpiry && reader.expiry_ms() <= now_ms) {
      expired++;
      continue;
    }
    if (!inserter.add(reader)) break;
    progress.show(++keys, reader.offset());
  }
  if (result == RdbReader::Result::kEntry || !inserter.finish()) {
    error = "out of memory while loading " + what;
    return false;
  }
  if (result != RdbReader::Result::kEnd) {
    error = what + " cannot be loaded: at byte " + std::to_string(reader.offset()) + ": " +
            reader.error() + hint(reader, result) + "; it was left as it is";
    return false;
  }
  end = reader.offset();
  log_notice("loaded %llu key%s, %llu bytes, from %s in %lld ms", (unsigned long long)keys,
             keys == 1 ? "" : "s", (unsigned long long)end, what.c_str(),
             (long long)(monotonic_ms() - start_ms));
  if (expired) log_notice("%llu keys had expired", (unsigned long long)expired);
  return true;
}

}  // namespace ignix
