// Memory in slabs: a pool hands out slabs of one size, heaps cut them into places of one size class
// each. Two kinds are built from it: the heaps of the stripes, for entries (store/entry.h), and the
// heap of blocks, for large values (store/block.h).
//
// What is known of a slab stands in an array beside the slabs, not in them: headers at equal
// offsets of every slab would fall into the same few sets of the cache.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/area.h"
#include "base/bell.h"
#include "base/limits.h"

namespace ignix {

// Where something stands in a pool, in units of 8 bytes from its base: 40 bits, so 8 TiB.
// 0 is nothing.
using Ref = uint64_t;

constexpr uint32_t kNoSlab = UINT32_MAX;

// Entries: slabs of 16 KB. Classes are 8 bytes apart up to 128 bytes, then eight to a doubling, so
// that rounding costs 4 bytes on average at the small end and 6 % beyond.
struct EntryClasses {
  static constexpr unsigned kSlabBits = 14;
  static constexpr unsigned kSmall = 16;
  static constexpr unsigned kCount = kSmall + 5 * 8;

  // The class for `bytes` (1 to kEntryBytesMax), and what it holds.
  static unsigned of(size_t bytes) {
    assert(bytes > 0 && bytes <= kEntryBytesMax);
    if (bytes <= 128) return unsigned((bytes - 1) / 8);
    // Eight steps to a doubling: the three bits behind the leading one of bytes - 1.
    const unsigned log = unsigned(std::bit_width(bytes - 1)) - 1;  // 7 for 129 to 256
    return kSmall + (log - 7) * 8 + unsigned((bytes - 1) >> (log - 3)) - 8;
  }
  static size_t bytes(unsigned size_class) {
    if (size_class < kSmall) return (size_class + 1) * 8;
    const unsigned step = size_class - kSmall;
    return size_t(9 + step % 8) << (4 + step / 8);
  }
};

// Blocks: slabs of 2 MB, four classes to a doubling from 5 KB to 1 MB. Rounding costs address space
// only: the pages behind a block's end are not touched.
struct BlockClasses {
  static constexpr unsigned kSlabBits = 21;
  static constexpr unsigned kCount = 8 * 4;

  static unsigned of(size_t bytes) {
    assert(bytes <= kSlabBlockBytesMax);
    if (bytes <= 4096) return 0;
    const unsigned log = unsigned(std::bit_width(bytes - 1)) - 1;  // 12 for 4,097 to 8,192
    return (log - 12) * 4 + unsigned((bytes - 1) >> (log - 2)) - 4;
  }
  static size_t bytes(unsigned size_class) {
    return size_t(5 + size_class % 4) << (10 + size_class / 4);
  }
};

struct Slab {
  uint16_t free_head;   // first free place + 1, 0: none. A free place starts with the next such
  uint16_t touched;     // places handed out at least once; those behind have never been written
  uint16_t used;        // places in use
  uint16_t listed;      // in its heap's list of slabs with room
  uint32_t next, prev;  // in that list, or (next) in one of the pool's lists
};

// Hands out slabs, from any thread, region by region: a region is as large as a huge page.
template <typename Classes>
class SlabPool {
 public:
  static constexpr size_t kSlabBytes = size_t(1) << Classes::kSlabBits;

  // Reserves address space, at best `bytes`. Rings `bell`, if there is one, when it is time for
  // prepare_some(). False if the kernel refuses.
  bool open(size_t bytes, Bell* bell);

  // kNoSlab if there is no memory.
  uint32_t take();
  void give_back(uint32_t slab);

  // Gives the memory of free slabs back to the kernel until at most `keep_bytes` of it are
  // resident, at most `slabs_max` of them. Returns whether there are more.
  bool release(size_t keep_bytes, size_t slabs_max);

  // The pages of a place behind its first go back to the kernel; the place stays the heap's.
  void discard_tail(Ref ref, size_t bytes) {
    const size_t start = ref * 8 / kPage * kPage + kPage;
    if (ref * 8 + bytes > start + kPage) places_.discard(start, ref * 8 + bytes);
  }

  // All pages of a place that shares none.
  void discard_place(Ref ref, size_t bytes) {
    places_.discard(ref * 8, ref * 8 + Classes::bytes(Classes::of(bytes)));
  }

  Slab& slab(uint32_t index) const { return reinterpret_cast<Slab*>(slabs_.base())[index]; }
  char* base() const { return places_.base(); }

  // A slab's size class: fixed while a place in it is in use. Read without any lock as a hint, and
  // kept apart, so that the classes of a gigabyte of slabs stay in the cache.
  uint8_t class_of(uint32_t index) const {
    return std::atomic_ref<uint8_t>(class_byte(index)).load(std::memory_order_relaxed);
  }
  void set_class(uint32_t index, unsigned size_class) {
    std::atomic_ref<uint8_t>(class_byte(index))
        .store(uint8_t(size_class), std::memory_order_relaxed);
  }

  // Without any lock: the bytes at `ref`, as many as its slab's size class has. They can be read,
  // whatever they are; false if `ref`, which may be any number, is not in memory that was ever
  // used.
  bool extent(Ref ref, const char*& first, const char*& last) const {
    const uint64_t index = ref >> (Classes::kSlabBits - 3);
    if (index >= classes_.usable()) return false;
    const size_t end = ref * 8 + Classes::bytes(class_of(uint32_t(index)));
    first = base() + ref * 8;
    last = base() + end - 1;
    return end <= places_.usable();
  }

  // Regions that were made ready, and not yet taken, go back to the kernel.
  void release_ahead();
  // Bytes of regions made ready that no heap has taken.
  size_t ahead_bytes() const { return ahead_.load(std::memory_order_relaxed) * kSlabBytes; }

  // What is known of the slabs that are taken.
  size_t index_bytes() const {
    return taken_.load(std::memory_order_relaxed) * (sizeof(Slab) + sizeof(uint8_t));
  }

  // A few milliseconds of work that no command shall wait for: makes a region ready before it is
  // needed, as a huge page, or one that is in use on small pages into a huge page. Returns whether
  // there may be more to do. One thread at a time; for slabs smaller than a huge page only.
  bool prepare_some();
  // Its two parts: a fresh region is made ready; one that has filled up on small pages gets a huge
  // one.
  bool ready_region();
  bool collapse_region();

  // Slabs in the hands of heaps, and those that are free but still resident.
  size_t taken_bytes() const { return taken_.load(std::memory_order_relaxed) * kSlabBytes; }
  size_t spare_bytes() const { return warm_.load(std::memory_order_relaxed) * kSlabBytes; }

 private:
  static constexpr size_t kSlabsPerRegion = std::max<size_t>(1, kHugePage / kSlabBytes);
  static constexpr size_t kRegionBytes = kSlabsPerRegion * kSlabBytes;
  static constexpr unsigned kReadyMax = 4;

  struct Region {
    uint16_t cold;  // slabs that have been given back to the kernel
    bool small;     // on small pages, and worth a huge one
    bool busy;      // prepare_some() is at it: nothing in it may be discarded
  };

  uint32_t pop(uint32_t& head) {
    const uint32_t index = head;
    if (index != kNoSlab) head = slab(index).next;
    return index;
  }
  void push(uint32_t& head, uint32_t index) {
    slab(index).next = head;
    head = index;
  }
  uint8_t& class_byte(uint32_t index) const {
    return reinterpret_cast<uint8_t*>(classes_.base())[index];
  }
  Region& region(uint32_t number) const {
    return reinterpret_cast<Region*>(regions_.base())[number];
  }
  size_t slabs_ahead() const;
  bool ensure_region(uint32_t number);
  uint32_t take_next();
  void set_small(uint32_t number, bool small);
  void discard_ready();
  bool discard_slab(uint32_t slab);

  Area places_, slabs_, classes_, regions_;
  mutable pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  Bell* bell_ = nullptr;
  // Under lock_ (the counters are written under it):
  uint32_t next_ = 1, end_ = 0;  // the rest of the region that slabs are taken from. Slab 0 is
                                 // not used: Ref 0 is nothing
  uint32_t next_region_ = 1 / kSlabsPerRegion;  // none has been used from here on
  uint32_t ready_[kReadyMax];  // regions that are huge pages already, to be used next
  unsigned ready_count_ = 0;
  uint32_t small_count_ = 0;                            // regions that are `small`
  uint32_t scanned_ = 0;                                // where collapse_region() looks next
  uint32_t warm_head_ = kNoSlab, cold_head_ = kNoSlab;  // free slabs, resident and not
  bool next_is_huge_ = false;                           // the region that slabs are taken from
  std::atomic<size_t> taken_{0}, warm_{0}, ahead_{0};
};

// Cuts slabs into places. Not locked: the owner's affair.
template <typename Classes>
class Heap {
 public:
  using Pool = SlabPool<Classes>;

  Heap() { std::fill(with_room_, with_room_ + Classes::kCount, kNoSlab); }
  void open(Pool* pool) { pool_ = pool; }

  // 0 if there is no memory. The bytes are not cleared.
  Ref allocate(size_t bytes);
  // `bytes` as in allocate(), or any number of the same size class.
  void free(Ref ref, size_t bytes);

  char* at(Ref ref) const { return pool_->base() + ref * 8; }
  size_t used_bytes() const { return used_bytes_; }  // of places in use, rounding included
  size_t slab_bytes() const { return slab_count_ * Pool::kSlabBytes; }

  // Whether compact() has something to do in the class for `bytes`.
  bool is_sparse(size_t bytes) const { return is_sparse_class(Classes::of(bytes), false); }

  // Empties a sparse slab by moving what is in it, at most `places_max` places: `moved(from, to)`
  // for each, when the bytes have been copied. Prefers the sparsest slab of the class with the most
  // room to gain. Returns false when there is nothing worth moving: free places make up less than
  // a sixteenth of each class (not asked if `thorough`), or hardly more than a slab.
  template <typename Moved>
  bool compact(size_t places_max, bool thorough, Moved moved);
  // The empty slabs that free() has kept go back.
  void drop_empty();

 private:
  struct ClassState {
    uint32_t slabs = 0, used = 0;
  };

  static unsigned places_in(unsigned size_class) {
    return unsigned(Pool::kSlabBytes / Classes::bytes(size_class));
  }
  Ref place(uint32_t slab, uint32_t index, size_t place_bytes) const {
    return (size_t(slab) << (Classes::kSlabBits - 3)) + index * (place_bytes / 8);
  }
  void list(uint32_t slab);
  void unlist(uint32_t slab);
  void drop_slab(uint32_t slab);
  size_t free_places(unsigned c) const {
    return size_t(classes_[c].slabs) * places_in(c) - classes_[c].used;
  }
  bool is_sparse_class(unsigned c, bool thorough) const {
    const size_t places = size_t(classes_[c].slabs) * places_in(c);
    return 4 * free_places(c) >= 5 * places_in(c) && (thorough || free_places(c) * 16 >= places);
  }
  unsigned class_to_compact(bool thorough) const;
  uint32_t choose_source(unsigned size_class);

  Pool* pool_ = nullptr;
  size_t used_bytes_ = 0;
  size_t slab_count_ = 0;
  uint32_t with_room_[Classes::kCount];  // lists of slabs with room; the first is allocated from
  ClassState classes_[Classes::kCount];
};

extern template class SlabPool<EntryClasses>;
extern template class SlabPool<BlockClasses>;
using EntryPool = SlabPool<EntryClasses>;
using EntryHeap = Heap<EntryClasses>;

// ---- the heap's way of a command

template <typename Classes>
Ref Heap<Classes>::allocate(size_t bytes) {
  const unsigned size_class = Classes::of(bytes);
  const size_t place_bytes = Classes::bytes(size_class);
  uint32_t index = with_room_[size_class];
  if (index == kNoSlab) {
    index = pool_->take();
    if (index == kNoSlab) return 0;
    Slab& fresh = pool_->slab(index);
    fresh.free_head = fresh.touched = fresh.used = 0;
    pool_->set_class(index, size_class);
    list(index);
    slab_count_++;
    classes_[size_class].slabs++;
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
  classes_[size_class].used++;
  if (!slab.free_head && slab.touched == places_in(size_class)) unlist(index);
  used_bytes_ += place_bytes;
  return ref;
}

template <typename Classes>
void Heap<Classes>::free(Ref ref, size_t bytes) {
  const unsigned size_class = Classes::of(bytes);
  const size_t place_bytes = Classes::bytes(size_class);
  const uint32_t index = uint32_t(ref >> (Classes::kSlabBits - 3));
  Slab& slab = pool_->slab(index);
  assert(slab.used > 0 && pool_->class_of(index) == size_class);
  const size_t offset = (ref * 8) & (Pool::kSlabBytes - 1);
  memcpy(at(ref), &slab.free_head, sizeof slab.free_head);
  slab.free_head = uint16_t(offset / place_bytes + 1);
  slab.used--;
  classes_[size_class].used--;
  used_bytes_ -= place_bytes;
  // An empty slab goes back, unless it is the only one of its class with room: that would be
  // fetched again at the next turn.
  if (!slab.listed) {
    list(index);
    if (slab.next != kNoSlab && pool_->slab(slab.next).used == 0) drop_slab(slab.next);
  }
  if (slab.used == 0 && (slab.next != kNoSlab || slab.prev != kNoSlab)) drop_slab(index);
}

template <typename Classes>
void Heap<Classes>::list(uint32_t index) {
  Slab& slab = pool_->slab(index);
  uint32_t& head = with_room_[pool_->class_of(index)];
  slab.prev = kNoSlab;
  slab.next = head;
  if (head != kNoSlab) pool_->slab(head).prev = index;
  head = index;
  slab.listed = 1;
}

template <typename Classes>
void Heap<Classes>::unlist(uint32_t index) {
  Slab& slab = pool_->slab(index);
  if (slab.prev != kNoSlab) {
    pool_->slab(slab.prev).next = slab.next;
  } else {
    with_room_[pool_->class_of(index)] = slab.next;
  }
  if (slab.next != kNoSlab) pool_->slab(slab.next).prev = slab.prev;
  slab.listed = 0;
}

template <typename Classes>
void Heap<Classes>::drop_slab(uint32_t index) {
  unlist(index);
  slab_count_--;
  classes_[pool_->class_of(index)].slabs--;
  pool_->give_back(index);
}

template <typename Classes>
void Heap<Classes>::drop_empty() {
  for (const uint32_t head : with_room_) {
    if (head != kNoSlab && pool_->slab(head).used == 0) drop_slab(head);
  }
}

// ---- compaction

// kCount if none is worth it.
template <typename Classes>
unsigned Heap<Classes>::class_to_compact(bool thorough) const {
  unsigned best = Classes::kCount;
  size_t best_bytes = 0;
  for (unsigned c = 0; c < Classes::kCount; c++) {
    if (!is_sparse_class(c, thorough) || free_places(c) * Classes::bytes(c) <= best_bytes) continue;
    best_bytes = free_places(c) * Classes::bytes(c);
    best = c;
  }
  return best;
}

// The slab with the fewest places in use; the one with the most goes to the head of the list, where
// the next allocations come from.
template <typename Classes>
uint32_t Heap<Classes>::choose_source(unsigned size_class) {
  uint32_t sparsest = with_room_[size_class], densest = sparsest;
  for (uint32_t i = sparsest; i != kNoSlab; i = pool_->slab(i).next) {
    if (pool_->slab(i).used < pool_->slab(sparsest).used) sparsest = i;
    if (pool_->slab(i).used > pool_->slab(densest).used) densest = i;
  }
  if (densest != sparsest) {
    unlist(densest);
    list(densest);
  }
  return sparsest;
}

template <typename Classes>
template <typename Moved>
bool Heap<Classes>::compact(size_t places_max, bool thorough, Moved moved) {
  const unsigned size_class = class_to_compact(thorough);
  if (size_class == Classes::kCount) return false;
  const size_t place_bytes = Classes::bytes(size_class);
  const uint32_t source = choose_source(size_class);
  Slab& slab = pool_->slab(source);
  unlist(source);  // so that nothing is moved into it
  bool is_free[Pool::kSlabBytes / 8] = {};
  for (uint16_t at_place = slab.free_head; at_place;) {
    is_free[at_place - 1] = true;
    memcpy(&at_place, at(place(source, at_place - 1u, place_bytes)), sizeof at_place);
  }
  const uint16_t touched = slab.touched;
  for (uint32_t i = 0; i < touched && places_max > 0 && slab.used > 0; i++) {
    if (is_free[i]) continue;
    const Ref from = place(source, i, place_bytes);
    const Ref to = allocate(place_bytes);
    if (!to) break;
    memcpy(at(to), at(from), place_bytes);
    moved(from, to);
    // As free() does it, but for the lists.
    memcpy(at(from), &slab.free_head, sizeof slab.free_head);
    slab.free_head = uint16_t(i + 1);
    slab.used--;
    classes_[size_class].used--;
    used_bytes_ -= place_bytes;
    places_max--;
  }
  list(source);
  if (slab.used == 0) drop_slab(source);
  return true;
}

}  // namespace ignix
