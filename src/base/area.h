// A run of address space that is reserved at once and made usable from its start as it is needed.
// It never moves and is never unmapped while the server runs, so a stale address into it can be
// read (or prefetched) without a fault.
//
// It grows on small pages, unless huge ones have been made ready ahead (store/ahead.cc): a command
// that touches fresh memory then waits for a page of 4 KB, never for one of 2 MB.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>

namespace ignix {

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = 2ULL << 20;

class Area {
 public:
  Area() = default;
  ~Area();
  Area(const Area&) = delete;
  Area& operator=(const Area&) = delete;

  // Reserves `bytes` (or less, halving down to `least` where the kernel refuses, for instance under
  // RLIMIT_AS). PROT_NONE, so strict overcommit does not count it. False if not even `least` is to
  // be had.
  bool reserve(size_t bytes, size_t least);

  char* base() const { return base_; }
  size_t reserved() const { return reserved_; }
  size_t usable() const { return usable_.load(std::memory_order_relaxed); }

  // Makes the first `bytes` usable: zero-filled when touched for the first time. Any thread. False
  // if they are not reserved or the kernel refuses.
  bool ensure(size_t bytes) {
    return bytes <= usable_.load(std::memory_order_acquire) || extend(bytes);
  }

  // The kHugePage bytes at `offset`, a multiple of it, all usable, become one huge page, if none of
  // them was ever touched. Takes some milliseconds at worst. What others write there meanwhile by
  // atomics stays; but the kernel lets each who comes early clear a page, and keeps one.
  void make_huge(size_t offset);
  // The small pages there become a huge one, holes included. Whoever touches them meanwhile waits,
  // some milliseconds at worst.
  void collapse(size_t offset);
  // Parts are to be discarded: what is left shall not become a huge page again.
  void keep_small(size_t offset);

  // Gives the memory of [from, to), whole pages only, back to the kernel; it reads as zero
  // afterwards. The caller makes sure that nobody uses it meanwhile.
  void discard(size_t from, size_t to);

 private:
  bool extend(size_t bytes);

  char* base_ = nullptr;
  size_t reserved_ = 0;
  std::atomic<size_t> usable_{0};  // written under lock_
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
};

}  // namespace ignix
