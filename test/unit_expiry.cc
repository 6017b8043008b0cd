// Active expiry: what has expired goes without being asked for, and nothing else does. The time is
// the case's own.
#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "random.h"
#include "runner.h"
#include "store/keyspace.h"
#include "store/string.h"

namespace test {
namespace {

using ignix::Deadlines;
using ignix::ExpiryClock;
using ignix::ExpiryWalk;
using ignix::Key;
using ignix::Keyspace;
using ignix::kNoExpiry;

constexpr int64_t kTickMs = 1 << ignix::kTickBits;
constexpr int64_t kWrapMs = kTickMs << 16;
constexpr int kDatabases = 3;

struct Model : ignix::GoneSink {
  Keyspace keyspace;
  std::unordered_map<std::string, int64_t> keys[kDatabases];    // and their expiries
  std::unordered_map<std::string, int64_t> set_ms[kDatabases];  // when they were last given one
  int64_t now_ms = 1'700'000'000'000;
  ExpiryWalk walk;
  uint64_t gone_count = 0;

  Model() {
    CHECK(keyspace.open(kDatabases, 1));
    keyspace.set_time(now_ms);
  }
  void put(int db, const std::string& text, int64_t expiry_ms) {
    ignix::StringScratch scratch;
    ignix::StoredValue stored;
    CHECK(ignix::encode_string("value", keyspace.blocks(), scratch, stored));
    CHECK(keyspace.put(db, keyspace.key(text), stored, expiry_ms, 0));
    keys[db][text] = expiry_ms;
    set_ms[db][text] = now_ms;
  }
  void set_expiry(int db, const std::string& text, int64_t expiry_ms) {
    const Key key = keyspace.key(text);
    ignix::Entry* entry = keyspace.find(db, key);
    CHECK_EQ(entry != nullptr, keys[db].count(text) > 0);
    if (!entry) return;
    CHECK(keyspace.set_expiry(db, key, entry, expiry_ms));
    keys[db][text] = expiry_ms;
    set_ms[db][text] = now_ms;
  }
  void erase(int db, const std::string& text) {
    CHECK_EQ(keyspace.erase(db, keyspace.key(text)), keys[db].erase(text) > 0);
  }
  void gone(int db, std::string_view text) override {
    const auto at = keys[db].find(std::string(text));
    CHECK(at != keys[db].end());
    CHECK_NE(at->second, kNoExpiry);
    CHECK(at->second <= now_ms);
    keys[db].erase(at);
    gone_count++;
  }
  void advance(int64_t ms) {
    now_ms += ms;
    keyspace.set_time(now_ms);
  }
  // As a loop does it.
  void expire() {
    if (!walk.running && !keyspace.expiry_due()) return;
    while (keyspace.expire_some(walk, now_ms, *this)) continue;
  }
  // Nothing is left that has been over for so long. A bucket that is joined to one that the walk
  // has passed is a tick late, and may be so again.
  static constexpr int kLateTicks = 6;
  void check() {
    for (int db = 0; db < kDatabases; db++) {
      uint64_t expiries = 0;
      for (const auto& [text, expiry_ms] : keys[db]) {
        if (expiry_ms == kNoExpiry) continue;
        expiries++;
        CHECK(std::max(expiry_ms, set_ms[db][text]) + kLateTicks * kTickMs > now_ms);
      }
      CHECK_EQ(keyspace.key_count(db), keys[db].size());
      CHECK_EQ(keyspace.expiry_count(db), expiries);
    }
  }
};

int64_t random_expiry(Random& random, int64_t now_ms) {
  switch (random.below(6)) {
    case 0:
      return kNoExpiry;
    case 1:
      return now_ms + int64_t(random.below(2'000)) - 500;
    case 2:
      return now_ms + int64_t(random.below(uint64_t(10 * kWrapMs)));
    default:
      return now_ms + int64_t(random.below(100'000));
  }
}

int64_t random_step(Random& random) {
  switch (random.below(200)) {
    case 0:
      return int64_t(random.below(uint64_t(3 * kWrapMs)));
    case 1:
      return kWrapMs / 2 + int64_t(random.below(2'000)) - 1'000;
    default:
      return int64_t(random.below(2'000));
  }
}

TEST(expiry, against_a_model) {
  Random random(seed());
  Model model;
  for (int round = 0; round < 1'500; round++) {
    // Keys come by the hundred and go, so that buckets are split and joined.
    const bool grow = round / 100 % 2 == 0;
    for (uint64_t i = random.below(200); i > 0; i--) {
      const int db = int(random.below(kDatabases));
      const std::string text = "key:" + std::to_string(random.below(20'000));
      if (random.below(4) < (grow ? 3u : 1u)) {
        model.put(db, text, random_expiry(random, model.now_ms));
      } else if (random.one_in(2)) {
        model.set_expiry(db, text, random_expiry(random, model.now_ms));
      } else {
        model.erase(db, text);
      }
    }
    if (random.one_in(100)) {
      const int db = int(random.below(kDatabases));
      model.keyspace.flush(db);
      model.keys[db].clear();
    }
    if (random.one_in(100)) {
      const int db = int(random.below(kDatabases));
      const uint64_t keys = random.below(100'000);
      model.keyspace.expect(db, keys);
      for (uint32_t i = 0; i < model.keyspace.stripe_count(); i++) {
        model.keyspace.expect(db, keys, i);
      }
    }
    // In the middle of a walk, too.
    if (random.one_in(20) && model.keyspace.expiry_due()) {
      model.keyspace.expire_some(model.walk, model.now_ms, model);
    }
    if (random.one_in(50)) {
      const int one = int(random.below(kDatabases)), other = int(random.below(kDatabases));
      model.keyspace.swap(one, other, model.now_ms);
      if (one != other) {
        std::swap(model.keys[one], model.keys[other]);
        std::swap(model.set_ms[one], model.set_ms[other]);
      }
    }
    for (int i = 0; i < 20; i++) {
      model.keyspace.maintain(uint32_t(random.below(model.keyspace.stripe_count())));
    }
    if (random.one_in(10)) model.keyspace.purge_shared();
    model.advance(random_step(random));
    for (int i = 0; i < Model::kLateTicks; i++) {
      model.expire();
      model.advance(kTickMs);
    }
    model.check();
  }
  CHECK(model.gone_count > 10'000);
}

// Nothing wakes anybody where nothing expires; and what is far away is looked at seldom.
TEST(expiry, no_work_without_expiries) {
  Model model;
  for (int i = 0; i < 10'000; i++) model.put(0, "key:" + std::to_string(i), kNoExpiry);
  CHECK_EQ(model.keyspace.next_expiry_tick(), ignix::kNeverTick);
  CHECK(!model.keyspace.expiry_due());
  constexpr int64_t kDayMs = 86'400'000;
  model.put(0, "far", model.now_ms + 30 * kDayMs);
  int walks = 0;
  const int64_t end_ms = model.now_ms + 29 * kDayMs;
  while (model.now_ms < end_ms) {
    model.advance(std::max<int64_t>(
        kTickMs, (model.keyspace.next_expiry_tick() << ignix::kTickBits) - model.now_ms));
    walks += model.keyspace.expiry_due();
    model.expire();
  }
  CHECK_EQ(model.gone_count, 0);
  CHECK(walks < 29 * 24);
  model.advance(2 * kDayMs);
  model.expire();
  CHECK_EQ(model.gone_count, 1);
  CHECK_EQ(model.keyspace.next_expiry_tick(), ignix::kNeverTick);
}

// Every bound, at every distance around where 16 bits wrap.
TEST(expiry, deadlines_wrap) {
  ExpiryClock clock;
  Deadlines deadlines;
  CHECK(deadlines.reserve(1 << 20));
  deadlines.set_clock(&clock);
  for (int64_t start : {int64_t(0x10000), int64_t(0xffff), int64_t(0x1fff0), int64_t(0x17fff)}) {
    clock.set(start << ignix::kTickBits);
    for (int64_t away = 1; away < 0x7f00; away += 37) {
      for (size_t index = 0; index < 64; index++) deadlines.renew(index, Deadlines::kNeverMs);
      const size_t index = size_t(away) % 64;
      deadlines.note(index, (start + away) << ignix::kTickBits);
      const auto is_due = [&](int64_t tick) {
        size_t due[64], count = 0;
        int64_t nearest = ignix::kNeverTick;
        deadlines.find_due(0, 32, tick, false, nearest, due, 64, count);
        bool found = count == 1 && due[0] == index;
        deadlines.find_due(32, 64, tick, false, nearest, due, 64, count);
        return found || (count == 1 && due[0] == index);
      };
      CHECK(!is_due(start));
      CHECK(!is_due(start + away - 1));
      CHECK(is_due(start + away + 1));
      CHECK_EQ(deadlines.find_any(0, 64), index);
    }
  }
}

}  // namespace
}  // namespace test
