// The keyspace: all databases, cut into stripes. A key belongs to one stripe by its hash, the same
// in every database. All that belongs to a stripe (its tables, its heap, its counters) is guarded by
// the stripe's one lock; whoever needs several takes them in ascending order.
//
// The keyspace knows nothing of time and of the log: expired entries are entries. What an access
// to one of them means is decided by the commands (command/access.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/lock.h"
#include "store/heap.h"
#include "store/table.h"

namespace ignix {

struct Key {
  uint64_t hash;
  std::string_view text;
};

// A value as an entry stores it (see store/entry.h). `bytes` is not owned, except that a block's
// reference goes with it.
struct StoredValue {
  Type type;
  Encoding encoding;
  std::string_view bytes;
};

struct alignas(64) Stripe {
  SpinLock lock;  // guards all the rest
  uint64_t hits = 0, misses = 0;
  TableState first;  // of database 0, in the lock's cache line
  std::vector<TableState> others;
  uint64_t expired = 0;  // entries deleted because their time had come
  Heap heap;
  uint64_t block_bytes = 0;  // of values and keys outside of the heap
};

class Keyspace {
 public:
  // Reserves address space; makes nothing resident but the stripes. False, with a log line, if the
  // kernel refuses. Call once.
  bool open(int databases, int threads);

  int databases() const { return databases_; }
  uint32_t stripe_count() const { return stripe_count_; }

  Key key(std::string_view text) const { return {hash_bytes(secret_, text), text}; }
  uint32_t stripe_index(uint64_t hash) const { return uint32_t(hash) & (stripe_count_ - 1); }
  Stripe& stripe(uint32_t index) const { return stripes_[index]; }
  Stripe& stripe_of(uint64_t hash) const { return stripes_[stripe_index(hash)]; }

  void lock_all();
  void unlock_all();

  // Without the lock, ahead of the command: hints for the cache.
  void prefetch_bucket(int db, uint64_t hash) const {
    __builtin_prefetch(&stripe_of(hash));
    table(db, stripe_index(hash)).prefetch_bucket(hash);
  }
  void prefetch_entries(int db, uint64_t hash) const {
    table(db, stripe_index(hash)).prefetch_entries(hash);
  }

  // From here on: the key's stripe is locked. An Entry stays valid until the next call that changes
  // anything in its stripe.

  Entry* find(int db, const Key& key) const;

  // Makes `value` the value of `key`, in the place of what was there. Takes over a block's
  // reference, also when it fails. False if there is no memory: then nothing has changed.
  bool put(int db, const Key& key, const StoredValue& value, int64_t expiry_ms);

  // False if it is not there.
  bool erase(int db, const Key& key);

  // From here on: all stripes are locked.

  void flush(int db);
  // Entries of a database, those that have expired but were not touched since included.
  uint64_t key_count(int db) const;
  uint64_t expiry_count(int db) const;

  // Bytes of entries, blocks and buckets. Takes the stripes' locks, one by one.
  uint64_t used_bytes();

 private:
  TableState& state(int db, uint32_t stripe) const {
    Stripe& s = stripes_[stripe];
    return db == 0 ? s.first : s.others[size_t(db) - 1];
  }
  Table table(int db, uint32_t stripe) const {
    return Table(state(db, stripe), areas_[db], secret_, pool_, stripe, stripe_bits_);
  }
  Entry* entry(Ref ref) const { return reinterpret_cast<Entry*>(pool_.base() + ref * 8); }
  void drop_blocks(Stripe& stripe, Entry* entry);
  void drop_value(Stripe& stripe, Entry* entry);
  bool replace(Stripe& stripe, TableState& state, SlotPlace place, const StoredValue& value,
               int64_t expiry_ms);
  bool add(int db, Stripe& stripe, const Key& key, const StoredValue& value, int64_t expiry_ms);

  int databases_ = 0;
  uint32_t stripe_count_ = 0;
  unsigned stripe_bits_ = 0;
  HashSecret secret_ = {};
  SlabPool pool_;
  std::unique_ptr<Stripe[]> stripes_;
  std::unique_ptr<TableAreas[]> areas_;  // one for each database
};

// Locks the stripes of one command in ascending order, each once. Keeps its memory between uses.
class StripeLocks {
 public:
  // `hashes` in any order, with repeats.
  void lock(Keyspace& keyspace, const uint64_t* hashes, size_t count);
  void unlock(Keyspace& keyspace);

 private:
  std::vector<uint32_t> indexes_;
};

}  // namespace ignix
