// The memory of entries. Each stripe has a heap of its own, guarded by the stripe's lock; heaps get
// their slabs from one pool that all stripes share.
//
// A slab is 16 KB of one size class. Classes are 8 bytes apart up to 128 bytes, then eight to a
// doubling, so that rounding costs 4 bytes on average at the small end and 6 % beyond. What is known
// of a slab stands in an array beside the slabs, not in them: headers at equal offsets of every
// slab would fall into the same few sets of the cache.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/area.h"
#include "base/limits.h"

namespace ignix {

// Where something stands in the heap, in units of 8 bytes from its base: 40 bits, so 8 TiB.
// 0 is nothing.
using Ref = uint64_t;

constexpr unsigned kSlabBits = 14;
constexpr size_t kSlabBytes = size_t(1) << kSlabBits;
constexpr unsigned kSmallClasses = 16;  // 8, 16, ... 128 bytes
constexpr unsigned kHeapClasses = kSmallClasses + 5 * 8;
constexpr uint32_t kNoSlab = UINT32_MAX;

// The size class that holds `bytes` (1 to kEntryBytesMax), and the bytes that it holds.
unsigned heap_class(size_t bytes);
inline size_t heap_class_bytes(unsigned size_class) {
  if (size_class < kSmallClasses) return (size_class + 1) * 8;
  const unsigned step = size_class - kSmallClasses;
  return size_t(9 + step % 8) << (4 + step / 8);
}

struct Slab {
  uint16_t free_head;   // first free place + 1, 0: none. A free place starts with the next such
  uint16_t touched;     // places handed out at least once; those behind have never been written
  uint16_t used;        // places in use
  std::atomic<uint8_t> size_class;  // fixed while any place is in use; read without the lock as a hint
  uint8_t listed;       // in its heap's list of slabs with room
  uint32_t next, prev;  // in that list, or (next) in the pool's list of free slabs
};

// Hands out slabs, from any thread.
class SlabPool {
 public:
  // False if the address space cannot be reserved.
  bool open(size_t memory_bytes);

  // kNoSlab if there is no memory.
  uint32_t take();
  void give_back(uint32_t slab);
  // All slabs at once. Only when nothing in any of them is in use.
  void reset();

  // Without any lock: asks for the cache lines of what stands at `ref`, as many as its size class
  // may cover, but not more than a few. `ref` may be any number.
  void prefetch(Ref ref) const {
    constexpr size_t kLines = 4;
    const uint64_t index = ref >> (kSlabBits - 3);
    if ((index + 1) * sizeof(Slab) > slabs_.usable()) return;
    const uint8_t size_class = slab(uint32_t(index)).size_class.load(std::memory_order_relaxed);
    const char* p = base() + ref * 8;
    const char* last = p + heap_class_bytes(size_class) - 1;
    for (size_t i = 0; i < kLines && p < last; i++, p += 64) __builtin_prefetch(p);
    __builtin_prefetch(last);
  }

  Slab& slab(uint32_t index) const { return reinterpret_cast<Slab*>(slabs_.base())[index]; }
  char* base() const { return places_.base(); }
  size_t bytes_taken() const;

 private:
  Area places_, slabs_;
  mutable pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  uint32_t next_unused_ = 1;      // under lock_; slab 0 is not used: Ref 0 is nothing
  uint32_t free_head_ = kNoSlab;  // under lock_
  uint32_t free_count_ = 0;       // under lock_
};

class Heap {
 public:
  Heap();
  void open(SlabPool* pool) { pool_ = pool; }

  // 0 if there is no memory. The bytes are not cleared.
  Ref allocate(size_t bytes);
  // `bytes` as in allocate(), or any number of the same size class.
  void free(Ref ref, size_t bytes);
  // Forgets everything (see SlabPool::reset).
  void reset();

  char* at(Ref ref) const { return pool_->base() + ref * 8; }
  size_t used_bytes() const { return used_bytes_; }

 private:
  Ref place(uint32_t slab, uint32_t index, size_t place_bytes) const;
  void list(uint32_t slab);
  void unlist(uint32_t slab);

  SlabPool* pool_ = nullptr;
  size_t used_bytes_ = 0;            // of places in use, rounding included
  uint32_t with_room_[kHeapClasses];  // lists of slabs with room; the first is allocated from
};

}  // namespace ignix
