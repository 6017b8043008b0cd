// The guess of how many keys a log makes.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "random.h"
#include "runner.h"
#include "server/key_forecast.h"

namespace test {
namespace {

using ignix::KeyForecast;

constexpr uint64_t kRecordBytes = 107;

// Goes through so many records; next(records) tells how many keys there are after them. Returns the
// guesses.
template <typename Next>
std::vector<uint64_t> go(uint64_t records, Next next) {
  std::vector<uint64_t> guesses;
  KeyForecast forecast(0, records * kRecordBytes, 0);
  for (uint64_t i = 1; i <= records; i++) {
    const uint64_t keys = next(i);
    if (!forecast.is_due(i)) continue;
    guesses.push_back(forecast.look(i, i * kRecordBytes, keys));
    CHECK(guesses.back() >= keys);
    CHECK(guesses.back() <= std::max(keys * KeyForecast::kFactor, KeyForecast::kFew));
  }
  return guesses;
}

}  // namespace

TEST(forecast, every_record_a_key) {
  const auto few = go(3'000'000, [](uint64_t i) { return i; });
  CHECK(few.size() <= 2);
  CHECK(few[0] > 2'990'000 && few[0] <= 3'000'001);
  const auto many = go(50'000'000, [](uint64_t i) { return i; });
  CHECK(many.size() <= 4);
  CHECK_EQ(many[0], KeyForecast::kFew);
  CHECK(many.back() > 49'900'000 && many.back() <= 50'000'001);
}

TEST(forecast, keys_from_a_number_of_them) {
  Random random(seed());
  constexpr uint64_t kKeys = 300'000;
  std::vector<bool> there(kKeys);
  uint64_t keys = 0;
  const auto guesses = go(3'000'000, [&](uint64_t) {
    const uint64_t key = random.below(kKeys);
    keys += !there[key];
    there[key] = true;
    return keys;
  });
  // From a tenth of the keys the first look can only be right within a factor.
  CHECK(guesses[0] > kKeys / 2 && guesses[0] < 4 * kKeys);
  CHECK(guesses.back() > kKeys * 9 / 10 && guesses.back() < kKeys * 11 / 10);
  CHECK(guesses.size() < 12);
}

TEST(forecast, changes_of_what_is_there) {
  const auto next = [](uint64_t i) { return std::min<uint64_t>(i, 1'000); };
  const auto guesses = go(10'000'000, next);
  CHECK(guesses[0] < 1'100);
  CHECK_EQ(guesses.back(), 1'000);
  CHECK(guesses.size() < 40);
}

TEST(forecast, fewer_and_fewer) {
  const auto next = [](uint64_t i) { return i < 30'000 ? i : 30'000 - (i - 30'000) / 1'000; };
  for (const uint64_t guess : go(10'000'000, next)) CHECK(guess <= 400'000);
  const auto none = go(100'000, [](uint64_t) { return uint64_t(0); });
  CHECK_EQ(none[0], 0);
}

// The file may grow or be shorter than it seemed: offsets behind its end say nothing.
TEST(forecast, behind_the_end) {
  KeyForecast forecast(100, 1'000, 5);
  CHECK_EQ(forecast.look(50'000, 1'000, 17), 17);
  CHECK_EQ(forecast.look(50'000, 2'000, 18), 18);
  CHECK_EQ(forecast.look(60'000, 3'000, 10), 10);
}

}  // namespace test
