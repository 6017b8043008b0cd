// When the buckets of a database are to be looked at, because an entry in them expires: for each
// home bucket of the table a lower bound of the earliest expiry in its chain. So what has expired
// is found by one scan over two bytes for each bucket, a third of a byte for each key, and where
// nothing expires there is neither memory nor work.
//
// Bounds are laid out as the buckets are (store/table.h): that of bucket i of stripe s is at
// (i * stripes + s). A bound is a tick of 256 ms since 1970, modulo 2^16; 0: nothing there expires.
// The modulus is 4.7 hours, so a tick counts as past or to come by what is nearer, and an expiry
// farther away than kFarthestTicks stands as that: the bucket is looked at then, in vain, and its
// bound made anew.
//
// Bounds are written under the lock of their stripe and read without it, by atomics: a bucket that
// is due is locked and looked at, and that decides. A bound may be too low, but never too high.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/area.h"

namespace ignix {

constexpr int kTickBits = 8;  // of milliseconds
constexpr int64_t kFarthestTicks = 0x7f00;
constexpr int64_t kNeverTick = INT64_MAX;
constexpr int64_t kUnseenTicksMax = 0x7000;  // a bound that has been due for longer is in doubt

inline int64_t tick_at(int64_t now_ms) { return now_ms >> kTickBits; }
// The first tick at which that expiry is past.
inline int64_t tick_behind(int64_t expiry_ms) { return ((expiry_ms - 1) >> kTickBits) + 1; }

// What the databases share: the time, as the loops tell it, and when the next bucket is due.
class ExpiryClock {
 public:
  // Any thread, all the time.
  void set(int64_t now_ms) {
    const int64_t tick = tick_at(now_ms);
    if (tick != tick_.load(std::memory_order_relaxed)) {
      tick_.store(tick, std::memory_order_relaxed);
    }
  }
  int64_t tick() const { return tick_.load(std::memory_order_relaxed); }

  // No bound in any database lies before this tick.
  int64_t next() const { return next_.load(std::memory_order_seq_cst); }
  void lower_next(int64_t tick) {
    int64_t next = next_.load(std::memory_order_seq_cst);
    while (tick < next && !next_.compare_exchange_weak(next, tick)) continue;
  }
  // Before all bounds are read: those that are lowered from now on lower the answer of next().
  int64_t take_next() { return next_.exchange(kNeverTick); }

  // Nobody has looked for hours (the machine slept, or nothing could be deleted), so a bound may
  // seem to lie ahead that is past. It is so until all buckets have been looked at.
  bool in_doubt() const {
    return in_doubt_.load(std::memory_order_relaxed) || tick() - next() > kUnseenTicksMax;
  }
  void set_in_doubt(bool doubt) { in_doubt_.store(doubt, std::memory_order_relaxed); }

 private:
  std::atomic<bool> in_doubt_{false};
  std::atomic<int64_t> tick_{0}, next_{kNeverTick};
};

class Deadlines {
 public:
  // Address space for so many bounds; less where the kernel refuses.
  bool reserve(size_t bounds);
  void set_clock(ExpiryClock* clock) { clock_ = clock; }

  // How many bounds there may be; those behind have never been set.
  size_t bounds() const { return area_.usable() / sizeof(uint16_t); }

  // What the bounds of so many buckets take, if there are any.
  size_t bytes_for(size_t buckets) const { return std::min(buckets, bounds()) * sizeof(uint16_t); }

  // From here to join(): the lock of the bucket's stripe is held.

  // An entry that expires then has come into the bucket. Without memory nothing is noted: then the
  // entry is deleted when it is next asked for.
  void note(size_t index, int64_t expiry_ms);
  // All that is in the bucket expires at that time or later; kNeverMs: nothing expires.
  static constexpr int64_t kNeverMs = INT64_MAX;
  void renew(size_t index, int64_t earliest_ms);
  // `to`, which holds nothing, gets some of what `from` holds.
  void split(size_t from, size_t to);
  // `into` gets what `from` holds, which is no longer used then.
  void join(size_t from, size_t into);

  // From here on without any lock.

  // Looks through [from, to), multiples of kGroup, for bounds that are due at `tick`, and writes
  // their indices to `due`, at most `due_max` (kGroup at least). Returns where it has ended: at
  // `to`, or where there was no room for the due ones of another group. `nearest_ticks` is lowered
  // to how far away the nearest of the other bounds is. With `all` every bound is due: for when so
  // much time has passed unseen that past and to come cannot be told.
  static constexpr size_t kGroup = 32;
  size_t find_due(size_t from, size_t to, int64_t tick, bool all, int64_t& nearest_ticks,
                  size_t* due, size_t due_max, size_t& due_count) const;

  // The first index within [from, to) whose bucket may hold something that expires, or `to`.
  size_t find_any(size_t from, size_t to) const;

  // Bounds from `index` on are no longer used: all their stripes are locked.
  void discard(size_t index) { area_.discard(index * sizeof(uint16_t), SIZE_MAX); }

 private:
  uint16_t* at(size_t index) const { return reinterpret_cast<uint16_t*>(area_.base()) + index; }
  uint16_t get(size_t index) const {
    return index < bounds() ? __atomic_load_n(at(index), __ATOMIC_RELAXED) : uint16_t(0);
  }
  void put(size_t index, uint16_t bound);

  Area area_;
  ExpiryClock* clock_ = nullptr;
};

}  // namespace ignix
