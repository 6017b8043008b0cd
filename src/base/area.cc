#include "base/area.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1
#endif

namespace ignix {
namespace {

// One mprotect(2) for this much at least, and for an eighth of what there is already, so that
// growth costs a call now and then at any size.
constexpr size_t kStepBytes = 4ULL << 20;

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

Area::~Area() {
  if (base_) munmap(base_, reserved_);
}

bool Area::reserve(size_t bytes, size_t least) {
  for (bytes = round_up(bytes, kHugePage); bytes >= least; bytes = round_up(bytes / 2, kHugePage)) {
    // A huge page more, so that the base can be aligned to one.
    void* p = mmap(nullptr, bytes + kHugePage, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) {
      char* start = static_cast<char*>(p);
      base_ = reinterpret_cast<char*>(round_up(reinterpret_cast<size_t>(start), kHugePage));
      if (base_ > start) munmap(start, size_t(base_ - start));
      const size_t behind = size_t(start + bytes + kHugePage - (base_ + bytes));
      if (behind) munmap(base_ + bytes, behind);
      reserved_ = bytes;
      return true;
    }
    if (bytes <= kHugePage) break;
  }
  return false;
}

bool Area::extend(size_t bytes) {
  pthread_mutex_lock(&lock_);
  const size_t usable = usable_.load(std::memory_order_relaxed);
  bool done = bytes <= usable;
  if (!done && bytes <= reserved_) {
    const size_t step = std::max(kStepBytes, round_up(usable / 8, kHugePage));
    const size_t wanted = std::min(round_up(std::max(bytes, usable + step), kHugePage), reserved_);
    done = mprotect(base_ + usable, wanted - usable, PROT_READ | PROT_WRITE) == 0;
    if (done) usable_.store(wanted, std::memory_order_release);
  }
  pthread_mutex_unlock(&lock_);
  return done;
}

// Without huge pages (none configured, an old kernel) the area works all the same, so failures of
// these are not looked at.
void Area::make_huge(size_t offset) {
  madvise(base_ + offset, kHugePage, MADV_HUGEPAGE);
  __atomic_fetch_or(reinterpret_cast<uint32_t*>(base_ + offset), 0u, __ATOMIC_RELAXED);
}

void Area::collapse(size_t offset) {
  madvise(base_ + offset, kHugePage, MADV_HUGEPAGE);
  madvise(base_ + offset, kHugePage, MADV_COLLAPSE);
}

void Area::keep_small(size_t offset) { madvise(base_ + offset, kHugePage, MADV_NOHUGEPAGE); }

void Area::discard(size_t from, size_t to) {
  from = round_up(from, kPage);
  to = std::min(to, usable_.load(std::memory_order_acquire)) / kPage * kPage;
  if (from >= to) return;
  // Refused for locked memory only.
  if (madvise(base_ + from, to - from, MADV_DONTNEED) != 0) memset(base_ + from, 0, to - from);
}

}  // namespace ignix
