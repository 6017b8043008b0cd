// The access clock, as seconds and as a frequency.
#include <string>

#include "runner.h"
#include "store/usage.h"

namespace test {
namespace {

using ignix::RandomNumbers;
using ignix::Usage;

constexpr int64_t kNowMs = 1'700'000'000'000, kMinuteMs = 60'000;

// Redis's table: with a factor of 10, the counter after so many uses.
TEST(usage, counter_grows_with_the_logarithm) {
  RandomNumbers random(seed());
  const Usage usage = {Usage::Kind::kFrequency, 10, 1};
  const auto after = [&](int uses) {
    double sum = 0;
    constexpr int kRuns = 20;
    for (int run = 0; run < kRuns; run++) {
      uint32_t clock = usage.fresh_clock(kNowMs) & ignix::kClockMask;
      for (int i = 0; i < uses; i++) clock = usage.count_use(clock, kNowMs, random);
      sum += usage.frequency(clock, kNowMs);
    }
    return sum / kRuns;
  };
  CHECK(after(100) > 7 && after(100) < 13);
  CHECK(after(1'000) > 15 && after(1'000) < 22);
  CHECK(after(100'000) > 125 && after(100'000) < 165);
  CHECK_EQ(after(2'000'000), 255);
}

TEST(usage, counter_falls_with_time) {
  RandomNumbers random(seed());
  Usage usage = {Usage::Kind::kFrequency, 10, 1};
  const uint32_t clock = ignix::frequency_clock(kNowMs, 100);
  CHECK_EQ(usage.frequency(clock, kNowMs), 100);
  CHECK_EQ(usage.frequency(clock, kNowMs + 7 * kMinuteMs), 93);
  CHECK_EQ(usage.frequency(clock, kNowMs + 500 * kMinuteMs), 0);
  usage.decay_minutes = 10;
  CHECK_EQ(usage.frequency(clock, kNowMs + 75 * kMinuteMs), 93);
  usage.decay_minutes = 0;
  CHECK_EQ(usage.frequency(clock, kNowMs + 75 * kMinuteMs), 100);
  // The minutes go around.
  usage.decay_minutes = 1;
  const int64_t edge_ms = kNowMs / kMinuteMs / 0x8000 * 0x8000 * kMinuteMs;
  CHECK_EQ(usage.frequency(ignix::frequency_clock(edge_ms - 2 * kMinuteMs, 100), edge_ms), 98);
  // A use of what has fallen counts from there.
  usage.log_factor = 0;
  CHECK_EQ(usage.frequency(usage.count_use(clock, kNowMs + 50 * kMinuteMs, random),
                           kNowMs + 50 * kMinuteMs),
           51);
}

TEST(usage, idle_time) {
  CHECK_EQ(ignix::idle_seconds(ignix::access_clock(kNowMs), kNowMs + 5'000), 5);
  CHECK_EQ(ignix::idle_seconds(ignix::clock_before(kNowMs, 1'000'000), kNowMs), 1'000'000);
  CHECK_EQ(ignix::idle_seconds(ignix::clock_before(kNowMs, INT64_MAX), kNowMs),
           ignix::kIdleSecondsMax);
}

// The turn of another loop began later, or the machine's clock was set back.
TEST(usage, what_is_ahead_is_now) {
  Usage usage = {Usage::Kind::kFrequency, 10, 1};
  for (const int64_t ahead_ms : {int64_t(1), int64_t(1'000), kMinuteMs, 50 * kMinuteMs}) {
    const int64_t used_ms = kNowMs + ahead_ms;
    CHECK_EQ(ignix::idle_seconds(ignix::access_clock(used_ms), kNowMs), 0);
    CHECK_EQ(usage.frequency(ignix::frequency_clock(used_ms, 100), kNowMs), 100);
  }
}

}  // namespace
}  // namespace test
