// The prefetch of a batch: the buckets of all its keys, then the entries that they name.
//
// On paper: a random line costs 200 ns to wait for, but a core has a dozen on their way at once, so
// a line of many costs 15. What keeps a core from that is its window of some 300 instructions: a
// load whose page is not in the TLB is not done with until the page walk is, and holds up what
// stands behind the window's end. So addresses are worked out first, and then asked for in loops of
// a few instructions each.
#include <algorithm>

#include "store/keyspace.h"

namespace ignix {
namespace {

// A bucket that is looked into for a fingerprint.
struct Look {
  const Bucket* bucket;
  uint32_t stripe;
  uint8_t fingerprint;
};

struct Extent {
  const char *first, *last;
};

constexpr ptrdiff_t kLine = 64;
constexpr ptrdiff_t kLinesMax = 5;  // of an entry: the core itself sees where a long copy goes

// Asks for a line by loading from it into nowhere. A prefetch instruction is only a wish: with many
// on their way some processors (AMD's Zen 4) drop more than every tenth. What is loaded is nobody's
// value, so this is no data race, whatever others write there.
inline void touch(const void* p) {
#if defined(__x86_64__)
  asm volatile("movb (%0), %%al" : : "r"(p) : "rax");
#else
  __builtin_prefetch(p);
#endif
}

void touch_all(const Extent* extents, size_t count) {
  bool long_ones = false;
  for (size_t i = 0; i < count; i++) touch(extents[i].first);
  for (size_t i = 0; i < count; i++) {
    const auto [first, last] = extents[i];
    touch(std::min(first + kLine, last));
    touch(last);
    long_ones |= last - first > 2 * kLine;
  }
  for (size_t i = 0; long_ones && i < count; i++) {
    const auto [first, last] = extents[i];
    for (ptrdiff_t line = 2; line < kLinesMax && line * kLine < last - first; line++) {
      touch(first + line * kLine);
    }
  }
}

}  // namespace

void Keyspace::prefetch(int db, const uint64_t* hashes, size_t count) const {
  Look looks[kPrefetchKeys];
  size_t look_count = 0;
  for (size_t i = 0; i < std::min<size_t>(count, kPrefetchKeys); i++) {
    const uint32_t stripe = stripe_index(hashes[i]);
    const Bucket* bucket = table(db, stripe).home_hint(hashes[i]);
    if (bucket) looks[look_count++] = {bucket, stripe, fingerprint_of(hashes[i])};
  }
  // The second round is for the few in a hundred that are in an overflow bucket.
  for (int round = 0; round < 2 && look_count > 0; round++) {
    for (size_t i = 0; i < look_count; i++) touch(looks[i].bucket);
    Extent extents[kPrefetchKeys];
    size_t extent_count = 0, further = 0;
    for (size_t i = 0; i < look_count; i++) {
      const Look look = looks[i];
      const SlotMask found = look.bucket->match(look.fingerprint);
      for (SlotMask mask = found; mask && extent_count < kPrefetchKeys; mask &= mask - 1) {
        Extent& extent = extents[extent_count];
        const Ref ref = look.bucket->ref(first_slot(mask));
        extent_count += pool_.extent(ref, extent.first, extent.last);
      }
      if (found) continue;
      const Bucket* next = table(db, look.stripe).next_hint(*look.bucket);
      if (next) looks[further++] = {next, look.stripe, look.fingerprint};
    }
    touch_all(extents, extent_count);
    look_count = further;
  }
}

}  // namespace ignix
