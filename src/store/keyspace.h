// The keyspace: all databases, cut into stripes. A key belongs to one stripe by its hash, the same
// in every database. All that belongs to a stripe (its tables, its heap, its counters) is guarded
// by the stripe's one lock; whoever needs several takes them in ascending order.
//
// The keyspace knows nothing of the log, and has no clock: it is told what time it is, for
// expire_some(). Elsewhere expired entries are entries; what an access to one of them means is
// decided by the commands (command/access.h).
#pragma once

#include <pthread.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/lock.h"
#include "store/block.h"
#include "store/expiry.h"
#include "store/heap.h"
#include "store/snapshot.h"
#include "store/table.h"
#include "store/watch.h"

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

// A database that was flushed: its entries are freed by and by, stripe by stripe (maintain()).
struct FlushedAreas;
struct FlushedTable {
  TableState state;
  FlushedAreas* flushed;
  FlushedTable* next;  // of its stripe
};
struct FlushedAreas {
  TableAreas* areas;
  std::atomic<uint32_t> stripes_left;
  std::unique_ptr<FlushedTable[]> tables;  // one of each stripe
};

struct alignas(64) Stripe {
  SpinLock lock;  // guards all the rest
  uint64_t hits = 0, misses = 0;
  TableState first;                     // of database 0, in the lock's cache line
  std::unique_ptr<WatchTable> watches;  // there too; nullptr: nobody watches a key of the stripe
  std::vector<TableState> others;
  EntryHeap heap;
  uint64_t expired = 0;             // entries deleted because their time had come
  uint64_t evicted = 0;             // because memory was short
  FlushedTable* flushed = nullptr;  // those that have entries left
};

class Keyspace {
 public:
  ~Keyspace();

  // Reserves address space; makes nothing resident but the stripes. False, with a log line, if the
  // kernel refuses. Call once.
  bool open(int databases, int threads);

  int databases() const { return databases_; }
  uint32_t stripe_count() const { return stripe_count_; }
  BlockHeap& blocks() { return blocks_; }

  Key key(std::string_view text) const { return {hash_bytes(secret_, text), text}; }
  uint32_t stripe_index(uint64_t hash) const { return uint32_t(hash) & (stripe_count_ - 1); }
  Stripe& stripe(uint32_t index) const { return stripes_[index]; }
  Stripe& stripe_of(uint64_t hash) const { return stripes_[stripe_index(hash)]; }

  // One stripe. With a single thread there is nobody to keep out, and the lock, which costs as much
  // as the look-up, is left alone.
  void lock(Stripe& stripe) const {
    if (shared_ && !all_held_) stripe.lock.lock();
  }
  void unlock(Stripe& stripe) const {
    if (shared_ && !all_held_) stripe.lock.unlock();
  }
  // All stripes. Until unlock_all() the thread may lock and unlock again, one or all, and nothing
  // happens: so a transaction can hold all and run commands that lock by themselves.
  void lock_all();
  void unlock_all();
  // Whether others than the one loop take locks: a snapshot does. That loop says so, while it holds
  // none; with several loops it is always so.
  void set_shared(bool shared) {
    if (shared != shared_) shared_ = shared;
  }

  // Without the lock, ahead of the commands: asks for the cache lines that look-ups of these keys
  // will need, so that their waits overlap. A hint, whatever happens meanwhile.
  void prefetch(int db, const uint64_t* hashes, size_t count) const;

  // From here on: the key's stripe is locked. An Entry stays valid until the next call that changes
  // anything in its stripe.

  Entry* find(int db, const Key& key) const;

  // For walks and samples (store/scan.h, store/sample.h): the stripe's part of a database, and an
  // entry of it.
  Table table_of(int db, uint32_t stripe) const { return table(db, stripe); }
  Entry* entry_at(Ref ref) const { return entry(ref); }
  uint64_t key_count(int db, uint32_t stripe) const { return state(db, stripe).keys; }
  // No stripe has as many buckets in that database. Needs no lock.
  uint32_t buckets_touched(int db) const {
    const TableAreas* areas = areas_[db].load(std::memory_order_acquire);
    return areas ? areas->touched.load(std::memory_order_relaxed) : 0;
  }

  // Makes `value` the value of `key`, in the place of what was there. Its bytes must not be an
  // entry's of the stripe, which may be overwritten before they are read. Takes over a block's
  // reference, also when it fails. False if there is no memory: then nothing has changed. `clock`:
  // with kOldKeepsClock (store/usage.h) what was there keeps its own.
  bool put(int db, const Key& key, const StoredValue& value, int64_t expiry_ms, uint32_t clock);

  // The same for a key whose entry, `old`, find() has just found: spares the second look-up.
  bool replace(int db, const Key& key, Entry* old, const StoredValue& value, int64_t expiry_ms,
               uint32_t clock);

  // Gives the key's entry, which find() has found, another expiry, or none (kNoExpiry). The value
  // is left as it is; the entry moves only if it falls into another size class. False if there is
  // no memory for that: then nothing has changed.
  bool set_expiry(int db, const Key& key, Entry* entry, int64_t expiry_ms);

  // Before a record is logged that takes what it needs from an entry it does not change, as COPY's
  // does: a snapshot has the entry then, even if a flush takes it away before the walk has come.
  void save_as_source(int db, Entry* entry) {
    if (!snapshot_ || entry->epoch() == epoch_) return;
    save_for_snapshot(db, entry);
    entry->set_epoch(epoch_);
  }

  // Before the value of the key's entry, which find() has found, is changed in place.
  void prepare_change(int db, const Key& key, Entry* entry) {
    about_to_change(db, key, entry);
    entry->set_epoch(epoch_);
  }

  // False if it is not there.
  bool erase(int db, const Key& key);

  // A key is watched from now on: what changes it touches its watcher. The watch is the caller's,
  // who takes it out again by unwatch(). False if there is no memory.
  bool watch(Watch& watch);
  void unwatch(Watch& watch);
  // Whether the client watches the key already.
  bool is_watched(const Watcher& watcher, int db, const Key& key) const {
    const Stripe& stripe = stripe_of(key.hash);
    return stripe.watches && stripe.watches->find(watcher, db, key.hash, key.text);
  }

  // What an entry takes, rounding, blocks and its share of a bucket included.
  size_t memory_bytes(const Entry& entry) const;

  // From here on: all stripes are locked.

  // The database is empty at once; the memory of a large one comes back by and by.
  void flush(int db);
  // Each of the two databases has what the other had. To those who watch a key, one whose time is
  // over at `now_ms` is none.
  void swap(int one, int other, int64_t now_ms);
  // Entries of a database, those that have expired but were not touched since included.
  uint64_t key_count(int db) const;
  uint64_t expiry_count(int db) const;

  // From here on: no stripe is locked by the caller.

  // While a database is loaded: it will have about so many keys. First memory is made ready, then
  // the table of each stripe takes its buckets. Only a hint.
  void expect(int db, uint64_t keys);
  void expect(int db, uint64_t keys, uint32_t stripe);
  // When all is loaded: gives back what was expected too much.
  void settle();

  // Bytes of entries, blocks and buckets, without what is free in between. Takes the stripes'
  // locks, one by one.
  uint64_t used_bytes();

  // Bytes that the store holds of the machine: what maxmemory is about. No lock; the buckets' part
  // is nearly right, and exact as of the last update_table_bytes().
  uint64_t held_bytes() const {
    return pool_.taken_bytes() + pool_.ahead_bytes() + pool_.index_bytes() + blocks_.used_bytes() +
           table_bytes_.load(std::memory_order_relaxed);
  }
  void update_table_bytes();

  // maxmemory; 0: no limit. Any thread.
  void set_limit_bytes(uint64_t bytes);
  uint64_t limit_bytes() const { return limit_bytes_.load(std::memory_order_relaxed); }
  bool over_limit() const {
    const uint64_t limit = limit_bytes_.load(std::memory_order_relaxed);
    return limit && held_bytes() > limit;
  }

  // For eviction (store/evict.h). Buckets of a database, of all stripes, by their index in the area
  // (store/table.h): how many there are; the first within [from, end) that seems to have an entry
  // (with_expiry: one that expires), or `end`. No lock.
  size_t area_buckets(int db) const { return size_t(buckets_touched(db)) << stripe_bits_; }
  size_t find_filled(int db, size_t from, size_t end, bool with_expiry) const;
  // Those entries: fn(const Entry&, Ref). Takes the stripe's lock.
  template <typename Fn>
  void for_each_at(int db, size_t area_index, Fn fn);
  // Deletes the entry of that hash at `ref`, if it is there and may_go(const Entry&). Empties a
  // sparse slab where that has made one. Takes the stripe's lock.
  template <typename MayGo>
  bool evict(int db, uint64_t hash, Ref ref, MayGo may_go, GoneSink& sink);
  // Whether any database has keys (with_expiry: such that expire). Takes each stripe's lock.
  bool has_keys(bool with_expiry);
  // While the limit is near, memory that is only kept for later is given up.
  void release_spare();

  // A little work (some tens of microseconds) on a stripe: frees entries of flushed databases,
  // joins buckets, empties sparse slabs (if `thorough`, also those that are hardly worth it).
  // Returns whether there is more.
  bool maintain(uint32_t stripe, bool thorough = false);
  // The first of these, alone, and whether any stripe has something of it.
  bool free_flushed(uint32_t stripe);
  bool has_flushed() const { return flushes_.load(std::memory_order_relaxed) > 0; }
  // A little work on what stripes share: gives free slabs, dropped blocks and unused buckets back
  // to the kernel; keeps what may be needed again. `now_ms`: monotonic.
  bool maintain_shared(int64_t now_ms);
  // The same, and keeps nothing.
  bool purge_shared();

  // The time of day, as entries' expiries are measured by. Any thread, often; before anything with
  // an expiry is stored.
  void set_time(int64_t now_ms) { expiry_clock_.set(now_ms); }
  // Whether there may be entries that have expired, and the earliest tick (store/deadlines.h) at
  // which there may be some; kNeverTick: nothing expires. Any thread.
  bool expiry_due() const;
  int64_t next_expiry_tick() const { return expiry_clock_.next(); }
  // A step, of some tens of microseconds, of deleting what has expired: starts a walk or goes on
  // with it. Returns whether the walk is still running. One thread at a time.
  bool expire_some(ExpiryWalk& walk, int64_t now_ms, GoneSink& sink);

  // A snapshot (store/snapshot.h); set_shared(true) holds meanwhile. All stripes are locked at its
  // beginning. What is to be changed goes to `before_change`; the walk's sink is another. Steps of
  // the walk, from any one thread, until it returns false; then the end.
  void begin_snapshot(SnapshotSink* before_change);
  bool walk_snapshot(SnapshotWalk& walk, SnapshotSink& sink);
  void end_snapshot();
  // While the snapshot's writer cannot keep up, nothing is to be changed. Any thread.
  bool changes_must_wait() const { return changes_wait_.load(std::memory_order_relaxed); }
  void make_changes_wait(bool wait) { changes_wait_.store(wait, std::memory_order_relaxed); }

  // Makes memory ready ahead of growth, and huge pages of small ones, all of which takes the kernel
  // milliseconds. Runs until stop_ahead(): for a thread of its own (store/ahead.cc).
  void run_ahead();
  void stop_ahead();
  // Whether memory is to be made ready whatever else the CPUs have to do.
  void set_hurry(bool hurry);
  // What run_ahead() does, once; returns whether there may be more to do. One thread at a time.
  bool prepare_some();

 private:
  bool prepare_growth();
  TableState& state(int db, uint32_t stripe) const {
    Stripe& s = stripes_[stripe];
    return db == 0 ? s.first : s.others[size_t(db) - 1];
  }
  Table table(int db, uint32_t stripe) const {
    return Table(state(db, stripe), areas_[db].load(std::memory_order_acquire), secret_, pool_,
                 stripe, stripe_bits_);
  }
  Entry* entry(Ref ref) const { return reinterpret_cast<Entry*>(pool_.base() + ref * 8); }
  Ref ref_of(const Entry* entry) const {
    return Ref(reinterpret_cast<const char*>(entry) - pool_.base()) / 8;
  }
  TableAreas* make_areas(int db);
  TableAreas* take_spare_areas(size_t least_bytes);
  bool prepare_areas(int db);
  void drop_blocks(Entry* entry);
  void drop_value(Entry* entry);
  void free_entry(Stripe& stripe, Ref ref);
  bool replace_at(int db, const Key& key, Entry* old, FoundSlot found, const StoredValue& value,
                  int64_t expiry_ms, uint32_t clock);
  bool finish_put(const StoredValue& value, bool done);
  void save_for_snapshot(int db, const Entry* entry) {
    if (snapshot_ && entry->epoch() != epoch_) snapshot_->save(db_at_instant_[size_t(db)], *entry);
  }
  void touch_watches(int db, Stripe& stripe, const Key& key, bool gone) {
    if (stripe.watches) [[unlikely]]
      stripe.watches->touch(db, key.hash, key.text, gone);
  }
  // Whatever changes a key says so by one of these, when nothing can go wrong any more: there may
  // be a snapshot that does not have its entry yet, and somebody who watches it.
  void about_to_add(int db, const Key& key) { touch_watches(db, stripe_of(key.hash), key, false); }
  void about_to_change(int db, const Key& key, const Entry* entry) {
    save_for_snapshot(db, entry);
    touch_watches(db, stripe_of(key.hash), key, false);
  }
  void about_to_erase(int db, const Key& key, const Entry* entry) {
    save_for_snapshot(db, entry);
    touch_watches(db, stripe_of(key.hash), key, true);
  }
  // The same for whole databases.
  void about_to_flush(int db);
  void about_to_swap(int one, int other, int64_t now_ms);
  bool add(int db, Stripe& stripe, const Key& key, const StoredValue& value, int64_t expiry_ms,
           uint32_t clock);
  void flush_at_once(int db);
  bool join_some(uint32_t stripe);
  void recycle(FlushedAreas* flushed);
  void fix_slot(uint32_t stripe, Ref from, Ref to);
  bool trim_buckets(int db);
  bool trim_all_buckets();
  void remove(int db, uint32_t stripe, uint64_t hash, FoundSlot found);
  size_t spare_bytes_max(size_t otherwise) const;
  void prefetch_buckets(int db, const size_t* area_indices, size_t count) const;
  unsigned expire_bucket(int db, size_t area_index, int64_t now_ms, GoneSink& sink);

  int databases_ = 0;
  uint32_t stripe_count_ = 0;
  unsigned stripe_bits_ = 0;
  size_t reserve_bytes_ = 0;
  static inline constinit thread_local unsigned all_held_ = 0;  // calls of lock_all() not undone
  bool shared_ = true;    // by more than one thread; set by who is alone
  bool limited_ = false;  // by RLIMIT_AS; set by open()
  std::atomic<bool> changes_wait_{false};
  bool epoch_ = false;                // both are written with all stripes locked
  SnapshotSink* snapshot_ = nullptr;  // of the snapshot that is being walked
  std::vector<int> db_at_instant_;    // under which number it has what is in each database now
  HashSecret secret_ = {};
  ExpiryClock expiry_clock_;
  Bell bell_;  // it is time for prepare_some()
  std::atomic<bool> stop_ahead_{false}, hurry_{false};
  EntryPool pool_;
  BlockHeap blocks_;
  std::unique_ptr<Stripe[]> stripes_;
  std::atomic<uint64_t> table_bytes_{0}, limit_bytes_{0};
  std::atomic<int> flushes_{0};  // FlushedAreas that there are

  // One for each database, made when it is first used. Areas are never unmapped, since a prefetch
  // may look into those of a database that has just been flushed: they are used again.
  std::unique_ptr<std::atomic<TableAreas*>[]>
      areas_;  // changed with all stripes locked, or from null
  pthread_mutex_t areas_lock_ = PTHREAD_MUTEX_INITIALIZER;
  TableAreas* spare_areas_ = nullptr;  // under areas_lock_; empty and zero
};

class StripeGuard {
 public:
  StripeGuard(const Keyspace& keyspace, Stripe& stripe) : keyspace_(keyspace), stripe_(stripe) {
    keyspace_.lock(stripe_);
  }
  ~StripeGuard() { keyspace_.unlock(stripe_); }
  StripeGuard(const StripeGuard&) = delete;

 private:
  const Keyspace& keyspace_;
  Stripe& stripe_;
};

template <typename Fn>
void Keyspace::for_each_at(int db, size_t area_index, Fn fn) {
  const uint32_t number = uint32_t(area_index) & (stripe_count_ - 1);
  const uint32_t index = uint32_t(area_index >> stripe_bits_);
  StripeGuard guard(*this, stripes_[number]);
  Table keys = table(db, number);
  if (index >= keys.buckets()) return;
  keys.for_each_in(index, [&](Ref ref) { __builtin_prefetch(entry(ref)); });
  int64_t earliest_ms = Deadlines::kNeverMs;
  keys.for_each_in(index, [&](Ref ref) {
    const Entry& each = *entry(ref);
    if (each.has_expiry()) earliest_ms = std::min(earliest_ms, each.expiry_ms());
    fn(each, ref);
  });
  // Else a search for what expires would come here again and again.
  if (earliest_ms == Deadlines::kNeverMs) keys.renew_expiry(index, earliest_ms);
}

template <typename MayGo>
bool Keyspace::evict(int db, uint64_t hash, Ref ref, MayGo may_go, GoneSink& sink) {
  const uint32_t number = stripe_index(hash);
  Stripe& stripe = stripes_[number];
  StripeGuard guard(*this, stripe);
  const FoundSlot found = table(db, number).find_ref(hash, ref);
  // Another key of that chain may have its place by now.
  if (!found || key(entry(ref)->key()).hash != hash || !may_go(*entry(ref))) return false;
  sink.gone(db, entry(ref)->key());
  const size_t bytes = entry(ref)->total_bytes();
  remove(db, number, hash, found);
  stripe.evicted++;
  constexpr size_t kMoves = 128;
  // The entries of a flushed table cannot be found by their keys, so they cannot be moved.
  if (!stripe.flushed && stripe.heap.is_sparse(bytes)) {
    stripe.heap.compact(kMoves, false, [&](Ref from, Ref to) { fix_slot(number, from, to); });
  }
  return true;
}

// Locks the stripes of one command in ascending order, each once.
class StripeLocks {
 public:
  // Before lock(): of these as well.
  void add(const Keyspace& keyspace, uint64_t hash) {
    const uint32_t index = keyspace.stripe_index(hash);
    wanted_[index / 64] |= uint64_t(1) << index % 64;
  }
  // `hashes` in any order, with repeats.
  void lock(Keyspace& keyspace, const uint64_t* hashes, size_t count);
  void unlock(Keyspace& keyspace);

 private:
  uint64_t wanted_[kStripesMax / 64] = {};  // a bit for each stripe
};

}  // namespace ignix
