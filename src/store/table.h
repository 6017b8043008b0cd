// The hash table of one stripe and one database. It grows and shrinks by linear hashing (Litwin,
// "Linear hashing: a new tool for file and table addressing", 1980): one bucket is split or joined
// at a time, so the tenth key costs what the billionth costs, and there is never a second table.
// Only while data is loaded several are split at once.
//
// The buckets of all stripes of a database share one area and lie interleaved: bucket i of stripe s
// is at (i * stripes + s). Since all stripes grow alike, the area fills evenly from its start and a
// small data set touches few pages. Overflow buckets are laid out the same way in a second area.
//
// All calls need the stripe's lock, but for the prefetches.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "base/bell.h"
#include "base/hash.h"
#include "store/bucket.h"
#include "store/deadlines.h"
#include "store/entry.h"

namespace ignix {

// What a table knows of itself; it stands in its stripe, next to the lock.
struct TableState {
  std::atomic<uint32_t> buckets{
      0};                         // 0: nothing was ever stored. Read without the lock by prefetch
  uint32_t overflow_touched = 0;  // overflow buckets used at least once (index 1 and up)
  uint32_t overflow_free = 0;     // list of unused ones, linked by overflow(); 0: none
  uint32_t overflow_spare = 0;    // how many are in that list
  uint64_t keys = 0;
  uint64_t expiries = 0;  // keys with an expiry

  TableState() = default;
  TableState& operator=(const TableState& other) {
    buckets.store(other.buckets.load(std::memory_order_relaxed), std::memory_order_relaxed);
    overflow_touched = other.overflow_touched;
    overflow_free = other.overflow_free;
    overflow_spare = other.overflow_spare;
    keys = other.keys;
    expiries = other.expiries;
    return *this;
  }
  void clear() { *this = TableState(); }
};

// The areas of a database.
struct TableAreas {
  Area buckets, overflow;
  Deadlines deadlines;
  Bell* bell = nullptr;  // rung when it is time for prepare_some()
  // The keyspace's count of the buckets' bytes: what they grow by is added at once, for maxmemory,
  // until they are counted anew. nullptr: nobody counts.
  std::atomic<uint64_t>* counted_bytes = nullptr;
  TableAreas* next_spare = nullptr;  // the keyspace's
  // No bucket at this index or above has been used in any stripe.
  std::atomic<uint32_t> touched{0};
  // Up to here `buckets` is on huge pages, but for its start. Written by prepare_some() and
  // expect(), and, with all stripes locked, by discard_buckets().
  std::atomic<size_t> huge_end{0};
  bool start_is_huge = false;  // for prepare_some() alone

  bool reserve(size_t memory_bytes);
  void count(size_t bytes) {
    if (counted_bytes) counted_bytes->fetch_add(bytes, std::memory_order_relaxed);
  }
  // As SlabPool::prepare_some(). `row_bytes`: one bucket of each stripe.
  bool prepare_some(size_t row_bytes);
  // Buckets for so many keys will be used soon, and nobody minds to wait for huge pages then.
  void expect(uint64_t keys, size_t row_bytes);
  // Unused buckets, from this offset on, go back to the kernel.
  void discard_buckets(size_t from);
  // Empty again, and the memory with the kernel. Nobody may use a bucket.
  void clear();
};

struct FoundSlot {
  Bucket* bucket = nullptr;  // nullptr: not found
  unsigned slot = 0;

  explicit operator bool() const { return bucket != nullptr; }
  Ref ref() const { return bucket->ref(slot); }
};

class Table {
 public:
  // `areas` may be missing as long as nothing has been stored.
  Table(TableState& state, TableAreas* areas, const HashSecret& secret, const EntryPool& pool,
        uint32_t stripe, unsigned stripe_bits)
      : state_(state),
        areas_(areas),
        secret_(secret),
        pool_(pool),
        stripe_(stripe),
        stripe_bits_(stripe_bits) {}

  FoundSlot find(uint64_t hash, std::string_view key) const;
  // The key must not be there. False if there is no memory: then nothing has changed.
  bool insert(uint64_t hash, Ref ref);
  // There will be about so many keys: the table takes buckets for all of them at once, which costs
  // less than to split one now and then, and nothing if it is empty. Only a hint.
  void expect(uint64_t keys);
  // Joins buckets if it `may_join`.
  void erase(uint64_t hash, FoundSlot found, bool may_join = true);
  // Takes those entries out of home bucket `index` for which gone(Ref) returns true; it is asked
  // once for each. Returns how many. Nothing is joined.
  template <typename Gone>
  unsigned erase_in(uint32_t index, Gone gone);
  // As many buckets as so many erasures would have joined.
  void join_after(unsigned erased);

  // The entry of that hash, which has been inserted, expires then.
  void note_expiry(uint64_t hash, int64_t expiry_ms) {
    areas_->deadlines.note(area_index(home(hash, state_.buckets.load(std::memory_order_relaxed))),
                           expiry_ms);
  }
  // The earliest expiry in home bucket `index`; Deadlines::kNeverMs: nothing expires there.
  void renew_expiry(uint32_t index, int64_t earliest_ms) {
    areas_->deadlines.renew(area_index(index), earliest_ms);
  }

  // All entries of home bucket `index` (of state().buckets): fn(Ref).
  template <typename Fn>
  void for_each_in(uint32_t index, Fn fn) const {
    for (Bucket* bucket = at(index);; bucket = overflow_at(bucket->overflow())) {
      for (unsigned slot = 0; slot < kSlotsPerBucket && bucket->fingerprint(slot); slot++) {
        fn(bucket->ref(slot));
      }
      if (!bucket->overflow()) return;
    }
  }

  const TableState& state() const { return state_; }
  // 0 if nothing was ever stored.
  uint32_t buckets() const { return state_.buckets.load(std::memory_order_relaxed); }

  // For walks: a key's point, and the bucket that has the points from `first` to `last`, among them
  // `point` (see store/scan.h). There are buckets.
  struct Run {
    uint32_t bucket, first, last;
  };
  uint32_t point_of(uint64_t hash) const { return reverse_bits(uint32_t(hash >> stripe_bits_)); }
  Run run_of(uint32_t point) const;

  // The slot that points at `ref`, if there is one in this table.
  FoundSlot find_ref(uint64_t hash, Ref ref) const;

  // Without the lock, for the prefetch of a batch: the bucket in which a key would be looked for
  // first, and the one behind that. nullptr: none.
  const Bucket* home_hint(uint64_t hash) const {
    const uint32_t buckets = state_.buckets.load(std::memory_order_relaxed);
    if (!buckets || !areas_) return nullptr;
    const uint32_t index = home(hash, buckets);
    // The areas may be fresh ones already, and the number of buckets still that of the old.
    return is_usable(areas_->buckets, index) ? at(index) : nullptr;
  }
  const Bucket* bucket_hint(uint32_t index) const {
    return areas_ && is_usable(areas_->buckets, index) ? at(index) : nullptr;
  }
  const Bucket* next_hint(const Bucket& bucket) const {
    const uint32_t next = bucket.overflow();
    return next && is_usable(areas_->overflow, next) ? overflow_at(next) : nullptr;
  }

 private:
  uint32_t home(uint64_t hash, uint32_t buckets) const {
    const uint64_t bits = hash >> stripe_bits_;
    const uint32_t half = std::bit_floor(buckets);
    const uint32_t index = uint32_t(bits & (2 * uint64_t(half) - 1));
    return index < buckets ? index : index & (half - 1);
  }
  static uint32_t reverse_bits(uint32_t bits) {
    bits = (bits >> 1 & 0x55555555) | (bits & 0x55555555) << 1;
    bits = (bits >> 2 & 0x33333333) | (bits & 0x33333333) << 2;
    bits = (bits >> 4 & 0x0f0f0f0f) | (bits & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(bits);
  }
  Bucket* at(uint32_t index) const {
    return reinterpret_cast<Bucket*>(areas_->buckets.base()) +
           ((uint64_t(index) << stripe_bits_) | stripe_);
  }
  Bucket* overflow_at(uint32_t index) const {
    return reinterpret_cast<Bucket*>(areas_->overflow.base()) +
           ((uint64_t(index) << stripe_bits_) | stripe_);
  }
  // Where a bucket stands among those of all stripes, in the area.
  size_t area_index(uint32_t index) const { return (size_t(index) << stripe_bits_) | stripe_; }
  const Entry* entry(Ref ref) const {
    return reinterpret_cast<const Entry*>(pool_.base() + ref * 8);
  }
  bool is_usable(const Area& area, uint32_t index) const {
    return ((uint64_t(index) + 1) << stripe_bits_) * sizeof(Bucket) <= area.usable();
  }
  bool ensure(const Area& area, uint32_t index) const;
  bool add_to_chain(Bucket* bucket, uint8_t fingerprint, Ref ref);
  void touch_bucket(uint32_t index);
  bool ensure_spare(uint32_t count);
  void remove_from_chain(Bucket* home, FoundSlot found);
  void split_until(uint32_t wanted);
  void split(uint32_t from);
  void prefetch_entries(uint32_t index) const;
  void prefetch_split(uint32_t buckets, uint64_t keys_left) const;
  void join();
  void move_slot(Bucket* source, FoundSlot found, Bucket* target);

  TableState& state_;
  TableAreas* areas_;
  const HashSecret& secret_;
  const EntryPool& pool_;
  uint32_t stripe_;
  unsigned stripe_bits_;
};

template <typename Gone>
unsigned Table::erase_in(uint32_t index, Gone gone) {
  unsigned erased = 0;
  Bucket* const home = at(index);
  for (Bucket* bucket = home;;) {
    for (unsigned slot = 0; slot < kSlotsPerBucket && bucket->fingerprint(slot);) {
      if (!gone(bucket->ref(slot))) {
        slot++;
        continue;
      }
      // The chain's last slot comes here and is looked at next. If this was the last one of an
      // overflow bucket, the bucket has left the chain.
      remove_from_chain(home, {bucket, slot});
      state_.keys--;
      erased++;
      if (bucket != home && bucket->count() == 0) return erased;
    }
    const uint32_t next = bucket->overflow();
    if (!next) return erased;
    bucket = overflow_at(next);
  }
}

}  // namespace ignix
