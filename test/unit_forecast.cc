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

struct Guesses {
  std::vector<uint64_t> all;
  uint64_t keys = 0;
};

// Goes through so many records; next(records) tells how many keys there are after them.
template <typename Next>
Guesses go(uint64_t records, Next next) {
  Guesses guesses;
  KeyForecast forecast(0, records * kRecordBytes, 0);
  for (uint64_t i = 1; i <= records; i++) {
    guesses.keys = next(i);
    if (!forecast.is_due(i)) continue;
    guesses.all.push_back(forecast.look(i, i * kRecordBytes, guesses.keys));
    const uint64_t most = std::max(guesses.keys * KeyForecast::kFactor, KeyForecast::kFew);
    CHECK(guesses.all.back() >= guesses.keys);
    CHECK(guesses.all.back() <= most);
  }
  return guesses;
}

}  // namespace

TEST(forecast, every_record_a_key) {
  const Guesses few = go(3'000'000, [](uint64_t i) { return i; });
  CHECK(few.all.size() <= 2);
  CHECK(few.all[0] > 2'990'000 && few.all[0] <= 3'000'001);
  const Guesses many = go(50'000'000, [](uint64_t i) { return i; });
  CHECK(many.all.size() <= 4);
  CHECK_EQ(many.all[0], KeyForecast::kFew);
  CHECK(many.all.back() > 49'900'000 && many.all.back() <= 50'000'001);
}

TEST(forecast, keys_from_a_number_of_them) {
  Random random(seed());
  constexpr uint64_t kKeys = 300'000;
  std::vector<bool> there(kKeys);
  uint64_t keys = 0;
  const Guesses guesses = go(3'000'000, [&](uint64_t) {
    const uint64_t key = random.below(kKeys);
    keys += !there[key];
    there[key] = true;
    return keys;
  });
  // The first look sees the second half of its time only as a mean; still within a factor.
  CHECK(guesses.all[0] > kKeys / 2 && guesses.all[0] < 4 * kKeys);
  CHECK(guesses.all.back() > kKeys * 9 / 10 && guesses.all.back() < kKeys * 11 / 10);
  CHECK(guesses.all.size() < 12);
}

TEST(forecast, changes_of_what_is_there) {
  const auto next = [](uint64_t i) { return std::min<uint64_t>(i, 1'000); };
  const Guesses guesses = go(10'000'000, next);
  CHECK(guesses.all[0] < 1'100);
  CHECK_EQ(guesses.all.back(), 1'000);
  CHECK(guesses.all.size() < 40);
}

TEST(forecast, fewer_and_fewer) {
  const auto next = [](uint64_t i) { return i < 30'000 ? i : 30'000 - (i - 30'000) / 1'000; };
  for (const uint64_t guess : go(10'000'000, next).all) CHECK(guess <= 400'000);
  const Guesses none = go(100'000, [](uint64_t) { return uint64_t(0); });
  CHECK_EQ(none.all[0], 0);
}

// The file may grow or be shorter than it seemed: offsets behind its end say nothing.
TEST(forecast, behind_the_end) {
  KeyForecast forecast(100, 1'000, 5);
  CHECK_EQ(forecast.look(50'000, 1'000, 17), 17);
  CHECK_EQ(forecast.look(50'000, 2'000, 18), 18);
  CHECK_EQ(forecast.look(60'000, 3'000, 10), 10);
}

}  // namespace test
