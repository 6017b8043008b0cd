// A run of address space that is reserved at once and made usable from its start as it is needed.
// It never moves and is never unmapped while the server runs, so a stale address into it can be
// read (or prefetched) without a fault.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>

namespace ignix {

class Area {
 public:
  Area() = default;
  ~Area();
  Area(const Area&) = delete;
  Area& operator=(const Area&) = delete;

  // Reserves `bytes` (or less, halving down to `least` where the kernel refuses, for instance under
  // RLIMIT_AS). PROT_NONE, so strict overcommit does not count it. False if not even `least` is to
  // be had. Beyond `huge_from` bytes the area asks for huge pages: a small data set does not pay
  // for them, a big one has few page-table misses.
  bool reserve(size_t bytes, size_t least, size_t huge_from);

  char* base() const { return base_; }
  size_t reserved() const { return reserved_; }
  size_t usable() const { return usable_.load(std::memory_order_relaxed); }

  // Makes the first `bytes` usable: zero-filled when touched for the first time. Any thread. False
  // if they are not reserved or the kernel refuses.
  bool ensure(size_t bytes) {
    return bytes <= usable_.load(std::memory_order_acquire) || extend(bytes);
  }

  // Once much of the area is in use, its start is worth huge pages as well: makes one of them, in a
  // few hundred microseconds. All of the start must be in use: a huge page is resident as a whole.
  // Returns whether there is more to do. One thread at a time.
  bool collapse_some(size_t used_bytes);

  // Whether huge pages are asked for at this offset.
  bool huge_at(size_t offset) const { return offset >= huge_from_.load(std::memory_order_relaxed); }

  // Gives the memory of [from, to), whole pages only, back to the kernel; it reads as zero
  // afterwards. The caller makes sure that nobody uses it meanwhile.
  void discard(size_t from, size_t to);

 private:
  bool extend(size_t bytes);

  char* base_ = nullptr;
  size_t reserved_ = 0;
  std::atomic<size_t> huge_from_{0};  // collapse_some() lowers it
  std::atomic<size_t> usable_{0};     // written under lock_
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
};

}  // namespace ignix
