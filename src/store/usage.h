// How an entry's use is remembered, in the 23 bits of its access clock (store/entry.h): when it was
// last used, or, with an LFU policy, how often. Which of the two it is follows from the policy
// alone, as in Redis: after a change of it what the entries say is wrong until they are used again.
//
// Frequency: the minute of its last change, modulo 2^15, and below that a counter of 8 bits, which
// grows with the logarithm of the uses and falls by one for each so many minutes without any. The
// rules and constants are Redis's (lfu-log-factor, lfu-decay-time).
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/random.h"
#include "store/entry.h"

namespace ignix {

// An access clock of this age, in seconds, is as good as a fresh one where no policy asks for more:
// so most reads leave the lines of entries clean.
constexpr uint32_t kClockSlack = 10;

// Beside a clock: an entry that is there already keeps its own (Keyspace::put()).
constexpr uint32_t kOldKeepsClock = 1u << 31;

constexpr uint32_t kFrequencyBits = 8, kFrequencyMax = 255, kFrequencyFirst = 5;
constexpr uint32_t kMinuteMask = kClockMask >> kFrequencyBits;
// Idle times beyond are cut: the clock goes around after 97 days.
constexpr int64_t kIdleSecondsMax = kClockMask / 4 * 3;

// What another thread has just used, or somebody before the machine's clock was set back, may be so
// much ahead of one's own time: that is now.
constexpr uint32_t kAheadMs = 3'600'000;
// Of times modulo `mask` + 1.
inline uint32_t passed_since(uint32_t then, uint32_t now, uint32_t mask, uint32_t ahead) {
  const uint32_t passed = (now - then) & mask;
  return passed <= mask - ahead ? passed : 0;
}

inline uint32_t minute_of(int64_t now_ms) { return uint32_t(now_ms / 60'000) & kMinuteMask; }
inline uint32_t frequency_clock(int64_t now_ms, uint32_t frequency) {
  return minute_of(now_ms) << kFrequencyBits | frequency;
}

struct Usage {
  enum class Kind { kLazy, kRecency, kFrequency };
  Kind kind = Kind::kLazy;
  uint32_t log_factor = 10, decay_minutes = 1;

  bool counts() const { return kind == Kind::kFrequency; }

  // What a new entry has. One that is overwritten keeps how often it was used.
  uint32_t fresh_clock(int64_t now_ms) const {
    return counts() ? frequency_clock(now_ms, kFrequencyFirst) | kOldKeepsClock
                    : access_clock(now_ms);
  }

  // The counter as of now.
  uint32_t frequency(uint32_t clock, int64_t now_ms) const {
    const uint32_t count = clock & kFrequencyMax;
    const uint32_t passed =
        passed_since(clock >> kFrequencyBits, minute_of(now_ms), kMinuteMask, kAheadMs / 60'000);
    const uint32_t decay = decay_minutes ? passed / decay_minutes : 0;
    return count > decay ? count - decay : 0;
  }

  // The clock after one more use.
  uint32_t count_use(uint32_t clock, int64_t now_ms, RandomNumbers& random) const {
    uint32_t count = frequency(clock, now_ms);
    if (count < kFrequencyMax) {
      const uint64_t above = count > kFrequencyFirst ? count - kFrequencyFirst : 0;
      if (random.below(above * log_factor + 1) == 0) count++;
    }
    return frequency_clock(now_ms, count);
  }

  void touch(Entry& entry, int64_t now_ms, uint32_t clock, RandomNumbers& random) const {
    if (kind == Kind::kFrequency) {
      entry.touch(count_use(entry.clock(), now_ms, random));
    } else if (kind == Kind::kRecency || ((clock - entry.clock()) & kClockMask) >= kClockSlack) {
      entry.touch(clock & kClockMask);
    }
  }
};

// Seconds since it was used.
inline uint32_t idle_seconds(uint32_t clock, int64_t now_ms) {
  return passed_since(clock, access_clock(now_ms), kClockMask, kAheadMs / 1000);
}
inline uint32_t clock_before(int64_t now_ms, int64_t idle_seconds) {
  return (access_clock(now_ms) - uint32_t(std::min(idle_seconds, kIdleSecondsMax))) & kClockMask;
}

}  // namespace ignix
