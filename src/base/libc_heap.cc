#include "base/libc_heap.h"

#include <features.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace ignix {

#ifdef __GLIBC__

void keep_heap_small() {
  constexpr int kMappedBytes = 4 << 20, kFreeAtEndBytes = 8 << 20;
  mallopt(M_MMAP_THRESHOLD, kMappedBytes);
  mallopt(M_TRIM_THRESHOLD, kFreeAtEndBytes);
}

void give_heap_back() { malloc_trim(0); }

#else

void keep_heap_small() {}
void give_heap_back() {}

#endif

}  // namespace ignix
