#include "store/heap.h"

#include <sys/mman.h>

namespace ignix {

template <typename Classes>
bool SlabPool<Classes>::open(size_t bytes, size_t huge_from) {
  constexpr size_t kAddressableBytes = size_t(8) << 40;
  if (!places_.reserve(std::min(bytes, kAddressableBytes), size_t(64) << 20, huge_from)) {
    return false;
  }
  const size_t slabs = places_.reserved() / kSlabBytes;
  const size_t slabs_bytes = slabs * sizeof(Slab);
  const size_t regions_bytes = (slabs / kSlabsPerRegion + 1) * sizeof(uint16_t);
  return slabs_.reserve(slabs_bytes, slabs_bytes, SIZE_MAX / 2) &&
         classes_.reserve(slabs, slabs, SIZE_MAX / 2) &&
         regions_.reserve(regions_bytes, regions_bytes, SIZE_MAX / 2);
}

template <typename Classes>
uint32_t SlabPool<Classes>::take() {
  pthread_mutex_lock(&lock_);
  uint32_t index = pop(warm_head_);
  if (index != kNoSlab) {
    warm_--;
  } else if ((index = pop(cold_head_)) != kNoSlab) {
    // A region that is whole again may be a huge page again.
    if (--cold_in_region(index) == 0) advise_region(index, true);
  } else if (places_.ensure((size_t(next_unused_) + 1) * kSlabBytes) &&
             slabs_.ensure((size_t(next_unused_) + 1) * sizeof(Slab)) &&
             classes_.ensure(size_t(next_unused_) + 1) &&
             regions_.ensure((next_unused_ / kSlabsPerRegion + 1) * sizeof(uint16_t))) {
    index = next_unused_++;
  }
  if (index != kNoSlab) taken_++;
  pthread_mutex_unlock(&lock_);
  return index;
}

template <typename Classes>
void SlabPool<Classes>::give_back(uint32_t index) {
  pthread_mutex_lock(&lock_);
  push(warm_head_, index);
  warm_++;
  taken_--;
  pthread_mutex_unlock(&lock_);
}

template <typename Classes>
bool SlabPool<Classes>::release(size_t keep_bytes, size_t slabs_max) {
  for (; slabs_max > 0 && spare_bytes() > keep_bytes; slabs_max--) {
    pthread_mutex_lock(&lock_);
    const uint32_t index = pop(warm_head_);
    if (index != kNoSlab) {
      warm_--;
      // Before the memory goes: else the kernel could fill the hole to make a huge page again.
      if (cold_in_region(index)++ == 0) break_region(index);
      places_.discard(size_t(index) * kSlabBytes, size_t(index + 1) * kSlabBytes);
      push(cold_head_, index);
    }
    pthread_mutex_unlock(&lock_);
  }
  return spare_bytes() > keep_bytes;
}

template <typename Classes>
void SlabPool<Classes>::advise_region(uint32_t index, bool huge) {
  const size_t start = size_t(index) * kSlabBytes / kRegionBytes * kRegionBytes;
  if (!places_.huge_at(start) || kSlabBytes >= kRegionBytes) return;
  madvise(base() + start, kRegionBytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

// A huge page that no slab has reached the end of is resident all the same: that end goes as well.
template <typename Classes>
void SlabPool<Classes>::break_region(uint32_t index) {
  advise_region(index, false);
  const size_t unused = size_t(next_unused_) * kSlabBytes;
  const size_t region_end = (size_t(index) * kSlabBytes / kRegionBytes + 1) * kRegionBytes;
  if (unused < region_end) places_.discard(unused, region_end);
}

// Not while there are holes: a huge page would fill them.
template <typename Classes>
bool SlabPool<Classes>::collapse_some() {
  pthread_mutex_lock(&lock_);
  const bool more = cold_head_ == kNoSlab && places_.collapse_some(taken_bytes());
  pthread_mutex_unlock(&lock_);
  return more;
}

template class SlabPool<EntryClasses>;
template class SlabPool<BlockClasses>;

}  // namespace ignix
