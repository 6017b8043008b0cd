// Watched keys, without a server: what touches them and what does not, and that all of them can be
// taken out again.
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "random.h"
#include "runner.h"
#include "store/evict.h"
#include "store/expiry.h"
#include "store/keyspace.h"
#include "store/string.h"

namespace test {
namespace {

using ignix::Key;
using ignix::Keyspace;
using ignix::kNoExpiry;
using ignix::StoredValue;
using ignix::StringScratch;
using ignix::Watch;
using ignix::Watcher;

constexpr int kDatabases = 3;

struct Fixture {
  Keyspace keyspace;
  Watcher watcher;
  std::vector<Watch*> watches;

  Fixture() { CHECK(keyspace.open(kDatabases, 1)); }
  ~Fixture() { unwatch_all(); }

  Watch& watch(int db, const std::string& text, bool expired = false) {
    const Key key = keyspace.key(text);
    CHECK(!keyspace.is_watched(watcher, db, key));
    Watch* const watch = Watch::make(watcher, db, key.hash, key.text);
    CHECK(watch && keyspace.watch(*watch));
    watch->was_expired = expired;
    watches.push_back(watch);
    CHECK(keyspace.is_watched(watcher, db, key));
    return *watch;
  }
  void unwatch_all() {
    for (Watch* watch : watches) {
      keyspace.unwatch(*watch);
      Watch::destroy(watch);
    }
    watches.clear();
  }
  void put(int db, const std::string& text, int64_t expiry_ms = kNoExpiry) {
    StringScratch scratch;
    StoredValue value;
    CHECK(encode_string("value", keyspace.blocks(), scratch, value));
    CHECK(keyspace.put(db, keyspace.key(text), value, expiry_ms, 0));
  }
  bool erase(int db, const std::string& text) { return keyspace.erase(db, keyspace.key(text)); }
  void swap(int one, int other, int64_t now_ms) {
    keyspace.lock_all();
    keyspace.swap(one, other, now_ms);
    keyspace.unlock_all();
  }
  void flush(int db) {
    keyspace.lock_all();
    keyspace.flush(db);
    keyspace.unlock_all();
  }
  // Since it was last asked.
  bool touched() { return watcher.touched.exchange(false); }
};

TEST(watch, what_touches) {
  Fixture f;
  f.watch(0, "k");
  f.watch(1, "k");
  f.put(2, "k");
  f.put(0, "other");
  CHECK(!f.erase(0, "k"));
  CHECK(!f.touched());
  f.put(0, "k");
  CHECK(f.touched());
  f.put(0, "k");
  CHECK(f.touched());
  CHECK(f.keyspace.set_expiry(0, f.keyspace.key("k"), f.keyspace.find(0, f.keyspace.key("k")), 5));
  CHECK(f.touched());
  f.keyspace.prepare_change(0, f.keyspace.key("k"), f.keyspace.find(0, f.keyspace.key("k")));
  CHECK(f.touched());
  CHECK(f.erase(0, "k"));
  CHECK(f.touched());
  f.put(1, "k");
  CHECK(f.touched());
  f.flush(0);
  f.flush(2);
  CHECK(!f.touched());
  f.flush(1);
  CHECK(f.touched());
  f.unwatch_all();
  f.put(0, "k");
  CHECK(!f.touched());
  CHECK(!f.keyspace.is_watched(f.watcher, 0, f.keyspace.key("k")));
}

// Deleting a key that had expired when it was watched is no change; making it anew is one.
TEST(watch, expired_before) {
  Fixture f;
  f.put(0, "k", 5);
  const Watch& watch = f.watch(0, "k", true);
  CHECK(f.erase(0, "k"));
  CHECK(!f.touched() && !watch.was_expired);
  f.put(0, "k", 5);
  CHECK(f.touched());
  f.unwatch_all();
  const Watch& flushed = f.watch(0, "k", true);
  f.flush(0);
  CHECK(!f.touched() && !flushed.was_expired);
  f.unwatch_all();
  f.put(0, "k", 5);
  f.watch(0, "k", true);
  f.put(0, "k");
  CHECK(f.touched());
}

// What the store deletes by itself.
struct Gone : ignix::GoneSink {
  std::vector<std::string> keys;
  void gone(int, std::string_view key) override { keys.emplace_back(key); }
};

// A key that expires while it is watched has changed, also if nobody but the store has noticed;
// one that had expired before has not.
TEST(watch, deleted_by_active_expiry) {
  constexpr int64_t kStartMs = 1'700'000'000'000, kEndMs = kStartMs + 10'000;
  for (const bool expired_before : {false, true}) {
    Fixture f;
    f.keyspace.set_time(kStartMs);
    f.put(1, "k", kStartMs + 100);
    f.put(1, "other", kStartMs + 100);
    const Watch& watch = f.watch(1, "k", expired_before);
    f.watch(0, "other");
    f.keyspace.set_time(kEndMs);
    Gone gone;
    ignix::ExpiryWalk walk;
    while (f.keyspace.expire_some(walk, kEndMs, gone)) continue;
    CHECK_EQ(gone.keys.size(), 2);
    CHECK_EQ(f.touched(), !expired_before);
    CHECK(!watch.was_expired);
    f.put(1, "k");
    CHECK(f.touched());
  }
}

TEST(watch, deleted_by_eviction) {
  Fixture f;
  f.put(0, "k");
  f.watch(0, "k");
  f.watch(1, "k");
  Gone gone;
  ignix::Evictor evictor(f.keyspace, seed());
  ignix::EvictRules rules;
  rules.policy = ignix::EvictPolicy::kVolatileRandom;
  CHECK(!evictor.evict_one(rules, gone));
  CHECK(!f.touched());
  rules.policy = ignix::EvictPolicy::kAllKeysRandom;
  CHECK(evictor.evict_one(rules, gone));
  CHECK(gone.keys == std::vector<std::string>{"k"});
  CHECK(f.touched());
}

// A key that was to be evicted is gone, and another one of its chain has got its place in memory:
// that one is not taken for it.
TEST(watch, another_in_the_place_of_the_evicted) {
  Fixture f;
  f.put(0, "old");
  const uint64_t old_hash = f.keyspace.key("old").hash;
  const auto chain = [&](std::string_view text) {
    return f.keyspace.stripe_index(f.keyspace.key(text).hash);
  };
  std::string young;
  for (int i = 100; young.empty() || chain(young) != chain("old"); i++) young = std::to_string(i);
  const auto ref_of = [&](const std::string& text) {
    const ignix::Entry* const entry = f.keyspace.find(0, f.keyspace.key(text));
    return ignix::Ref(reinterpret_cast<const char*>(entry) -
                      reinterpret_cast<const char*>(f.keyspace.entry_at(0))) /
           8;
  };
  const ignix::Ref ref = ref_of("old");
  f.erase(0, "old");
  f.put(0, young);
  CHECK_EQ(ref_of(young), ref);
  Gone gone;
  const auto may = [](const ignix::Entry&) { return true; };
  CHECK(!f.keyspace.evict(0, old_hash, ref, may, gone));
  CHECK(f.keyspace.evict(0, f.keyspace.key(young).hash, ref, may, gone));
  CHECK(gone.keys == std::vector<std::string>{young});
}

TEST(watch, swapped_databases) {
  constexpr int64_t kNow = 10, kPast = 5;
  enum State { kMissing, kExpired, kLive };
  for (const State before : {kMissing, kExpired, kLive}) {
    for (const State after : {kMissing, kExpired, kLive}) {
      for (const int watched_db : {0, 1}) {
        Fixture f;
        const auto make = [&](int db, State state) {
          if (state != kMissing) f.put(db, "k", state == kExpired ? kPast : kNoExpiry);
        };
        make(watched_db, before);
        make(1 - watched_db, after);
        const Watch& watch = f.watch(watched_db, "k", before == kExpired);
        f.swap(0, 1, kNow);
        const bool was_there = before == kLive, is_there = after == kLive;
        CHECK_EQ(f.touched(), was_there || is_there);
        if (!was_there && !is_there) CHECK_EQ(watch.was_expired, after == kExpired);
        f.swap(1, 2, kNow);
        f.swap(2, 2, kNow);
      }
    }
  }
}

// Many clients and keys; keys of one hash chain do not touch one another.
TEST(watch, random_against_sets) {
  constexpr size_t kClients = 20, kKeys = 3000;
  Random random(seed());
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, 1));
  struct OfClient {
    Watcher watcher;
    std::vector<Watch*> watches;
    std::set<std::pair<int, std::string>> keys;
  };
  std::vector<std::unique_ptr<OfClient>> clients;
  for (size_t i = 0; i < kClients; i++) clients.push_back(std::make_unique<OfClient>());
  const auto any_key = [&] { return random.letters(1) + std::to_string(random.below(kKeys)); };
  for (int step = 0; step < 100'000 / slowness(); step++) {
    OfClient& client = *random.pick_from(clients);
    const int db = int(random.below(kDatabases));
    const std::string text = any_key();
    const Key key = keyspace.key(text);
    CHECK_EQ(keyspace.is_watched(client.watcher, db, key), client.keys.contains({db, text}));
    if (random.one_in(500)) {
      for (Watch* watch : client.watches) {
        keyspace.unwatch(*watch);
        Watch::destroy(watch);
      }
      client.watches.clear();
      client.keys.clear();
    } else if (random.one_in(2)) {
      if (!client.keys.insert({db, text}).second) continue;
      client.watches.push_back(Watch::make(client.watcher, db, key.hash, key.text));
      CHECK(keyspace.watch(*client.watches.back()));
    } else {
      StringScratch scratch;
      CHECK(keyspace.put(db, key, ignix::encode_integer(step, scratch), kNoExpiry, 0));
      for (const auto& each : clients) {
        CHECK_EQ(each->watcher.touched.exchange(false), each->keys.contains({db, text}));
      }
    }
  }
  for (const auto& client : clients) {
    for (Watch* watch : client->watches) {
      keyspace.unwatch(*watch);
      Watch::destroy(watch);
    }
  }
  for (uint32_t i = 0; i < keyspace.stripe_count(); i++) CHECK(!keyspace.stripe(i).watches);
}

// Who holds all stripes may lock them again.
TEST(keyspace, all_stripes_are_locked_again) {
  Keyspace keyspace;
  CHECK(keyspace.open(1, 2));
  const uint64_t used = keyspace.used_bytes();
  keyspace.lock_all();
  {
    ignix::StripeGuard guard(keyspace, keyspace.stripe(0));
    keyspace.lock_all();
    keyspace.unlock_all();
    CHECK_EQ(keyspace.used_bytes(), used);
    while (keyspace.purge_shared()) continue;
  }
  keyspace.unlock_all();
  for (uint32_t i = 0; i < keyspace.stripe_count(); i++) keyspace.lock(keyspace.stripe(i));
  for (uint32_t i = 0; i < keyspace.stripe_count(); i++) keyspace.unlock(keyspace.stripe(i));
}

}  // namespace
}  // namespace test
