#include "store/heap.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

namespace ignix {
namespace {

// The first part of the heap stays on small pages: see Area::reserve().
constexpr size_t kHugeFromBytes = 32ULL << 20;
constexpr size_t kAddressableBytes = size_t(8) << 40;

unsigned places_in(size_t place_bytes) { return unsigned(kSlabBytes / place_bytes); }

}  // namespace

unsigned heap_class(size_t bytes) {
  assert(bytes > 0 && bytes <= kEntryBytesMax);
  if (bytes <= 128) return unsigned((bytes - 1) / 8);
  // Eight steps to a doubling: the three bits behind the leading one of bytes - 1.
  const unsigned log = unsigned(std::bit_width(bytes - 1)) - 1;  // 7 for 129 to 256
  return kSmallClasses + (log - 7) * 8 + unsigned((bytes - 1) >> (log - 3)) - 8;
}

bool SlabPool::open(size_t memory_bytes) {
  // Four times the machine's memory leaves room for what fragmentation could ever ask for.
  const size_t wanted = std::clamp(4 * memory_bytes, size_t(64) << 30, kAddressableBytes);
  if (!places_.reserve(wanted, size_t(64) << 20, kHugeFromBytes)) return false;
  const size_t slabs_bytes = places_.reserved() / kSlabBytes * sizeof(Slab);
  return slabs_.reserve(slabs_bytes, slabs_bytes, SIZE_MAX / 2);
}

uint32_t SlabPool::take() {
  pthread_mutex_lock(&lock_);
  uint32_t index = free_head_;
  if (index != kNoSlab) {
    free_head_ = slab(index).next;
    free_count_--;
  } else if (places_.ensure((size_t(next_unused_) + 1) * kSlabBytes) &&
             slabs_.ensure((size_t(next_unused_) + 1) * sizeof(Slab))) {
    index = next_unused_++;
  }
  pthread_mutex_unlock(&lock_);
  return index;
}

void SlabPool::give_back(uint32_t index) {
  pthread_mutex_lock(&lock_);
  slab(index).next = free_head_;
  free_head_ = index;
  free_count_++;
  pthread_mutex_unlock(&lock_);
}

void SlabPool::reset() {
  pthread_mutex_lock(&lock_);
  places_.discard(0, size_t(next_unused_) * kSlabBytes);
  next_unused_ = 1;
  free_head_ = kNoSlab;
  free_count_ = 0;
  pthread_mutex_unlock(&lock_);
}

size_t SlabPool::bytes_taken() const {
  pthread_mutex_lock(&lock_);
  const size_t slabs = next_unused_ - 1 - free_count_;
  pthread_mutex_unlock(&lock_);
  return slabs * kSlabBytes;
}

Heap::Heap() { reset(); }

void Heap::reset() {
  used_bytes_ = 0;
  std::fill(with_room_, with_room_ + kHeapClasses, kNoSlab);
}

Ref Heap::place(uint32_t slab, uint32_t index, size_t place_bytes) const {
  return (size_t(slab) << (kSlabBits - 3)) + index * (place_bytes / 8);
}

void Heap::list(uint32_t index) {
  Slab& slab = pool_->slab(index);
  uint32_t& head = with_room_[slab.size_class];
  slab.prev = kNoSlab;
  slab.next = head;
  if (head != kNoSlab) pool_->slab(head).prev = index;
  head = index;
  slab.listed = 1;
}

void Heap::unlist(uint32_t index) {
  Slab& slab = pool_->slab(index);
  if (slab.prev != kNoSlab) {
    pool_->slab(slab.prev).next = slab.next;
  } else {
    with_room_[slab.size_class] = slab.next;
  }
  if (slab.next != kNoSlab) pool_->slab(slab.next).prev = slab.prev;
  slab.listed = 0;
}

Ref Heap::allocate(size_t bytes) {
  const unsigned size_class = heap_class(bytes);
  const size_t place_bytes = heap_class_bytes(size_class);
  uint32_t index = with_room_[size_class];
  if (index == kNoSlab) {
    index = pool_->take();
    if (index == kNoSlab) return 0;
    Slab& fresh = pool_->slab(index);
    fresh.free_head = fresh.touched = fresh.used = 0;
    fresh.size_class.store(uint8_t(size_class), std::memory_order_relaxed);
    list(index);
  }
  Slab& slab = pool_->slab(index);
  Ref ref;
  if (slab.free_head) {
    ref = place(index, slab.free_head - 1u, place_bytes);
    memcpy(&slab.free_head, at(ref), sizeof slab.free_head);
  } else {
    ref = place(index, slab.touched++, place_bytes);
  }
  slab.used++;
  if (!slab.free_head && slab.touched == places_in(place_bytes)) unlist(index);
  used_bytes_ += place_bytes;
  return ref;
}

void Heap::free(Ref ref, size_t bytes) {
  const size_t place_bytes = heap_class_bytes(heap_class(bytes));
  const uint32_t index = uint32_t(ref >> (kSlabBits - 3));
  Slab& slab = pool_->slab(index);
  assert(slab.used > 0 && heap_class_bytes(slab.size_class) == place_bytes);
  const size_t offset = (ref * 8) & (kSlabBytes - 1);
  memcpy(at(ref), &slab.free_head, sizeof slab.free_head);
  slab.free_head = uint16_t(offset / place_bytes + 1);
  slab.used--;
  used_bytes_ -= place_bytes;
  if (!slab.listed) list(index);
  // An empty slab goes back, unless it is the only one of its class with room: that would be
  // fetched again at the next turn.
  if (slab.used == 0 && (slab.next != kNoSlab || slab.prev != kNoSlab)) {
    unlist(index);
    pool_->give_back(index);
  }
}

}  // namespace ignix
