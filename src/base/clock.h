// Time. Knows nothing of Redis.
#pragma once

#include <time.h>

#include <cstdint>

namespace ignix {

inline int64_t clock_ns(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}
inline int64_t clock_us(clockid_t clock) { return clock_ns(clock) / 1000; }

// Time of day, since 1970. May jump.
inline int64_t wall_us() { return clock_us(CLOCK_REALTIME); }
inline int64_t wall_ms() { return wall_us() / 1000; }

// Never jumps back. For intervals.
inline int64_t monotonic_ms() { return clock_us(CLOCK_MONOTONIC) / 1000; }

}  // namespace ignix
