#include "store/heap.h"

namespace ignix {
namespace {

// The first regions stay on small pages, so that a small data set pays only for what it touches.
// When there are four times as many, they are worth huge pages as well.
constexpr uint32_t kSmallRegions = 4;
constexpr uint32_t kWorthRegions = 4 * kSmallRegions;
constexpr uint32_t kRegionsScanned = 1024;  // at a time, under the lock

}  // namespace

template <typename Classes>
bool SlabPool<Classes>::open(size_t bytes, Bell* bell) {
  constexpr size_t kAddressableBytes = size_t(8) << 40;
  bell_ = bell;
  if (!places_.reserve(std::min(bytes, kAddressableBytes), size_t(64) << 20)) return false;
  const size_t slabs = places_.reserved() / kSlabBytes;
  const size_t slabs_bytes = slabs * sizeof(Slab);
  const size_t regions_bytes = (slabs / kSlabsPerRegion + 1) * sizeof(Region);
  return slabs_.reserve(slabs_bytes, slabs_bytes) && classes_.reserve(slabs, slabs) &&
         regions_.reserve(regions_bytes, regions_bytes);
}

// Before a region's first slab is used.
template <typename Classes>
bool SlabPool<Classes>::ensure_region(uint32_t number) {
  const size_t regions = size_t(number) + 1, slabs = regions * kSlabsPerRegion;
  return places_.ensure(slabs * kSlabBytes) && slabs_.ensure(slabs * sizeof(Slab)) &&
         classes_.ensure(slabs) && regions_.ensure(regions * sizeof(Region));
}

template <typename Classes>
void SlabPool<Classes>::set_small(uint32_t number, bool small) {
  small_count_ += uint32_t(small) - uint32_t(region(number).small);
  region(number).small = small;
}

// A slab that was never used.
template <typename Classes>
uint32_t SlabPool<Classes>::take_next() {
  if (next_ >= end_) {
    uint32_t number = next_region_;
    if (ready_count_) {
      number = ready_[--ready_count_];
      next_is_huge_ = true;
    } else if (ensure_region(number)) {
      next_region_++;
      next_is_huge_ = false;
      set_small(number, true);
    } else {
      return kNoSlab;
    }
    next_ = std::max<uint32_t>(1, number * uint32_t(kSlabsPerRegion));
    end_ = (number + 1) * uint32_t(kSlabsPerRegion);
  }
  if (bell_ && end_ - next_ == kSlabsPerRegion / 4) bell_->ring();
  if (next_is_huge_) ahead_--;
  return next_++;
}

template <typename Classes>
uint32_t SlabPool<Classes>::take() {
  pthread_mutex_lock(&lock_);
  uint32_t index = pop(warm_head_);
  if (index != kNoSlab) {
    warm_--;
  } else if ((index = pop(cold_head_)) != kNoSlab) {
    if (--region(index / kSlabsPerRegion).cold == 0 && bell_) bell_->ring();
  } else {
    index = take_next();
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

// ---- memory back to the kernel

template <typename Classes>
bool SlabPool<Classes>::release(size_t keep_bytes, size_t slabs_max) {
  bool done = true;
  for (; done && slabs_max > 0 && spare_bytes() > keep_bytes; slabs_max--) {
    pthread_mutex_lock(&lock_);
    discard_ready();
    const uint32_t index = pop(warm_head_);
    if (index != kNoSlab) {
      done = discard_slab(index);
      if (done) warm_--;
      push(done ? cold_head_ : warm_head_, index);
    }
    pthread_mutex_unlock(&lock_);
  }
  return spare_bytes() > keep_bytes;
}

// False if that must wait.
template <typename Classes>
bool SlabPool<Classes>::discard_slab(uint32_t index) {
  const uint32_t number = index / uint32_t(kSlabsPerRegion);
  if (region(number).busy) return false;
  if (region(number).cold++ == 0 && kSlabsPerRegion > 1) {
    // Before the memory goes: else the kernel could fill the hole to make a huge page again.
    places_.keep_small(size_t(number) * kRegionBytes);
    set_small(number, true);
    // A huge page that no slab has reached the end of is resident all the same.
    if ((end_ - 1) / kSlabsPerRegion == number) {
      places_.discard(size_t(next_) * kSlabBytes, size_t(end_) * kSlabBytes);
      if (next_is_huge_) ahead_ -= end_ - next_;
      next_is_huge_ = false;
    }
  }
  places_.discard(size_t(index) * kSlabBytes, size_t(index + 1) * kSlabBytes);
  return true;
}

// Nobody needs fresh regions while slabs are being given back.
template <typename Classes>
void SlabPool<Classes>::discard_ready() {
  while (ready_count_ > 0) {
    const uint32_t number = ready_[--ready_count_];
    ahead_ -= kSlabsPerRegion;
    places_.keep_small(size_t(number) * kRegionBytes);
    places_.discard(size_t(number) * kRegionBytes, size_t(number + 1) * kRegionBytes);
    set_small(number, true);
    region(number).cold = uint16_t(kSlabsPerRegion);
    for (uint32_t i = 0; i < kSlabsPerRegion; i++) {
      push(cold_head_, number * uint32_t(kSlabsPerRegion) + i);
    }
  }
}

template <typename Classes>
void SlabPool<Classes>::release_ahead() {
  if (ahead_bytes() < kRegionBytes) return;
  pthread_mutex_lock(&lock_);
  discard_ready();
  pthread_mutex_unlock(&lock_);
}

// ---- huge pages

// How many fresh slabs shall be ready: more for a large data set, which may grow fast.
template <typename Classes>
size_t SlabPool<Classes>::slabs_ahead() const {
  if (next_region_ < kSmallRegions || cold_head_ != kNoSlab) return 0;
  return kSlabsPerRegion / 4 + std::min<size_t>(size_t(next_region_) * kSlabsPerRegion / 256,
                                                (kReadyMax - 1) * kSlabsPerRegion);
}

template <typename Classes>
bool SlabPool<Classes>::ready_region() {
  pthread_mutex_lock(&lock_);
  const size_t fresh = end_ - std::min(next_, end_) + ready_count_ * kSlabsPerRegion;
  const uint32_t number = next_region_;
  const bool wanted = ready_count_ < kReadyMax && fresh <= slabs_ahead() && slabs_ahead() > 0 &&
                      ensure_region(number);
  if (wanted) next_region_++;  // nobody else gets it
  pthread_mutex_unlock(&lock_);
  if (!wanted) return false;
  places_.make_huge(size_t(number) * kRegionBytes);
  pthread_mutex_lock(&lock_);
  ready_[ready_count_++] = number;
  ahead_ += kSlabsPerRegion;
  pthread_mutex_unlock(&lock_);
  return true;
}

// Only a region that is resident as a whole, so that no memory is taken for it.
template <typename Classes>
bool SlabPool<Classes>::collapse_region() {
  uint32_t found = kNoSlab;
  pthread_mutex_lock(&lock_);
  bool more = small_count_ > 0 && next_region_ >= kWorthRegions;
  for (uint32_t i = 0; more && found == kNoSlab && i < kRegionsScanned; i++) {
    if (scanned_ >= next_region_) {
      scanned_ = 0;
      more = false;
      break;
    }
    const uint32_t number = scanned_++;
    const bool in_use = end_ > 0 && (end_ - 1) / kSlabsPerRegion == number && next_ < end_;
    if (region(number).small && region(number).cold == 0 && !in_use) found = number;
  }
  if (found != kNoSlab) {
    region(found).busy = true;
    set_small(found, false);
  }
  pthread_mutex_unlock(&lock_);
  if (found == kNoSlab) return more;
  places_.collapse(size_t(found) * kRegionBytes);
  pthread_mutex_lock(&lock_);
  region(found).busy = false;
  pthread_mutex_unlock(&lock_);
  return true;
}

template <typename Classes>
bool SlabPool<Classes>::prepare_some() {
  return ready_region() || collapse_region();
}

template class SlabPool<EntryClasses>;
template class SlabPool<BlockClasses>;

}  // namespace ignix
