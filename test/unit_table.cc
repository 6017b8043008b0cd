// Buckets, entries and the hash table of one stripe.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "random.h"
#include "runner.h"
#include "store/table.h"

namespace test {
namespace {

using ignix::Bucket;
using ignix::Encoding;
using ignix::Entry;
using ignix::EntryShape;
using ignix::fingerprint_of;
using ignix::HashSecret;
using ignix::kNoExpiry;
using ignix::kSlotsPerBucket;
using ignix::Ref;
using ignix::SlotMask;
using ignix::Type;

// ---- a bucket ----

TEST(bucket, slots_hold_what_is_set) {
  Random random(seed());
  Bucket bucket{};
  uint8_t fingerprints[kSlotsPerBucket] = {};
  Ref refs[kSlotsPerBucket] = {};
  uint32_t overflow = 0;
  for (int i = 0; i < 20'000; i++) {
    const unsigned slot = unsigned(random.below(kSlotsPerBucket));
    switch (random.below(4)) {
      case 0:
        bucket.set(slot, fingerprints[slot] = uint8_t(1 + random.below(255)),
                   refs[slot] = random.next() >> 24);
        break;
      case 1:
        bucket.set_ref(slot, refs[slot] = random.next() >> 24);
        break;
      case 2:
        bucket.clear(slot);
        fingerprints[slot] = 0;
        refs[slot] = 0;
        break;
      default:
        bucket.set_overflow(overflow = uint32_t(random.next()));
    }
    for (unsigned s = 0; s < kSlotsPerBucket; s++) {
      CHECK_EQ(bucket.fingerprint(s), fingerprints[s]);
      CHECK_EQ(bucket.ref(s), refs[s]);
    }
    CHECK_EQ(bucket.overflow(), overflow);
  }
}

// match() may name a wrong slot above a right one, but misses none.
TEST(bucket, match_finds_all) {
  Random random(seed());
  for (int i = 0; i < 50'000; i++) {
    Bucket bucket{};
    const unsigned used = unsigned(random.below(kSlotsPerBucket + 1));
    const uint64_t kinds = random.one_in(2) ? 3 : 255;
    const uint8_t lowest = uint8_t(1 + random.below(256 - kinds));
    for (unsigned slot = 0; slot < used; slot++) {
      bucket.set(slot, uint8_t(lowest + random.below(kinds)), random.next() >> 24);
    }
    bucket.set_overflow(uint32_t(random.next()));
    CHECK_EQ(bucket.count(), used);
    const uint8_t wanted = random.one_in(5) ? uint8_t(0) : uint8_t(lowest + random.below(kinds));
    SlotMask right = 0;
    for (unsigned slot = 0; slot < kSlotsPerBucket; slot++) {
      if (bucket.fingerprint(slot) == wanted) right |= 1u << slot;
    }
    const SlotMask found = bucket.match(wanted);
    CHECK_EQ(found & right, right);
    CHECK_EQ(found >> kSlotsPerBucket, 0u);
    if (found) CHECK(bucket.fingerprint(ignix::first_slot(found)) == wanted);
  }
}

TEST(bucket, fingerprints_are_never_zero) {
  for (uint64_t byte = 0; byte < 256; byte++) {
    const uint8_t fingerprint = fingerprint_of(byte << 56 | 0xffff);
    CHECK_EQ(fingerprint, byte ? byte : 1);
  }
}

// ---- an entry ----

TEST(entry, keeps_every_shape) {
  Random random(seed());
  std::vector<char> memory(ignix::kEntryBytesMax + 8);
  for (int i = 0; i < 50'000; i++) {
    // Entries stand at multiples of eight, and nothing in them is aligned.
    Entry* entry = reinterpret_cast<Entry*>(memory.data() + (8 - uintptr_t(memory.data()) % 8) % 8);
    const std::string key = random.bytes(random.one_in(4) ? random.below(256) : random.below(20));
    const std::string value =
        random.bytes(random.one_in(4) ? random.below(3800) : random.below(300));
    const bool expires = random.one_in(2);
    const EntryShape shape = {.type = Type(random.below(6)),
                              .encoding = Encoding::kEmbedded,
                              .has_expiry = expires,
                              .key_bytes = key.size(),
                              .value_bytes = value.size()};
    const int64_t expiry = expires ? int64_t(random.next() >> 1) : kNoExpiry;
    const uint32_t clock = uint32_t(random.below(1u << 23));
    entry->write(shape, key, value, expiry, clock, clock & 1);
    CHECK_EQ(entry->clock(), clock);
    CHECK_EQ(entry->epoch(), bool(clock & 1));
    entry->touch(0x7edcba);
    CHECK_EQ(entry->clock(), 0x7edcbau);
    CHECK_EQ(entry->epoch(), bool(clock & 1));
    entry->set_epoch(!(clock & 1));
    CHECK_EQ(entry->clock(), 0x7edcbau);
    CHECK_EQ(entry->epoch(), !(clock & 1));
    CHECK_EQ(entry->type(), shape.type);
    CHECK_EQ(entry->encoding(), Encoding::kEmbedded);
    CHECK_EQ(entry->key(), key);
    CHECK_EQ(entry->stored(), value);
    CHECK_EQ(entry->has_expiry(), expires);
    CHECK_EQ(entry->expiry_ms(), expiry);
    CHECK_EQ(entry->total_bytes(), shape.total_bytes());
    CHECK_EQ(entry->key_block() == nullptr, true);
    // The same key, in the place where it stands, with another value and expiry.
    EntryShape after = shape;
    after.has_expiry = random.one_in(2);
    const std::string other = random.bytes(random.below(500));
    after.value_bytes = other.size();
    entry->write(after, entry->stored_key(), other, 77, clock, false);
    CHECK_EQ(entry->clock(), clock);
    CHECK_EQ(entry->key(), key);
    CHECK_EQ(entry->stored(), other);
    CHECK_EQ(entry->expiry_ms(), after.has_expiry ? 77 : kNoExpiry);
    CHECK_EQ(entry->expired(77), after.has_expiry);
    CHECK(!entry->expired(76));
  }
}

TEST(entry, integers_take_the_fewest_bytes) {
  Random random(seed());
  alignas(8) char memory[64];
  Entry* entry = reinterpret_cast<Entry*>(memory);
  std::vector<int64_t> values = {0, -1, INT64_MAX, INT64_MIN};
  for (int64_t border : {int64_t(INT8_MAX), int64_t(INT16_MAX), int64_t(INT32_MAX)}) {
    for (int64_t step : {-1, 0, 1}) {
      values.push_back(border + step);
      values.push_back(-border - 1 + step);
    }
  }
  for (int i = 0; i < 10'000; i++) values.push_back(int64_t(random.next()) >> random.below(64));
  for (int64_t value : values) {
    char packed[8];
    const size_t bytes = ignix::pack_integer(value, packed);
    const size_t want = value >= INT8_MIN && value <= INT8_MAX     ? 1
                        : value >= INT16_MIN && value <= INT16_MAX ? 2
                        : value >= INT32_MIN && value <= INT32_MAX ? 4
                                                                   : 8;
    CHECK_EQ(bytes, want);
    entry->write({.encoding = Encoding::kInteger, .key_bytes = 3, .value_bytes = bytes}, "key",
                 {packed, bytes}, kNoExpiry, 0, false);
    CHECK_EQ(entry->integer(), value);
  }
}

TEST(entry, blocks_are_counted) {
  ignix::BlockHeap blocks;
  CHECK(blocks.open(size_t(1) << 30));
  ignix::Block* block = blocks.make("the value");
  CHECK_EQ(block->view(), "the value");
  CHECK_EQ(block->references.load(), 1u);
  block->references.fetch_add(1);
  ignix::drop_block(block);
  CHECK_EQ(block->view(), "the value");
  ignix::drop_block(block);
  ignix::Block* empty = blocks.make("");
  CHECK_EQ(empty->view(), "");
  ignix::drop_block(empty);
}

// ---- a table ----

constexpr HashSecret kSecret = {0x1234567890abcdef, 0xfedcba0987654321};
constexpr unsigned kStripeBits = 6;

struct Fixture {
  explicit Fixture(uint32_t stripe, size_t memory_bytes = size_t(1) << 30)
      : stripe(stripe), memory(memory_bytes) {
    CHECK(pool.open(size_t(1) << 30, nullptr));
    heap.open(&pool);
    CHECK(areas.reserve(memory));
  }

  ignix::Table table() { return {state, &areas, kSecret, pool, stripe, kStripeBits}; }
  static uint64_t hash(const std::string& key) { return hash_bytes(kSecret, key); }

  bool insert(const std::string& key) {
    const EntryShape shape = {.key_bytes = key.size(), .value_bytes = 1};
    const Ref ref = heap.allocate(shape.total_bytes());
    CHECK(ref != 0);
    reinterpret_cast<Entry*>(heap.at(ref))->write(shape, key, "v", kNoExpiry, 0, false);
    if (!table().insert(hash(key), ref)) {
      heap.free(ref, shape.total_bytes());
      return false;
    }
    refs[key] = ref;
    return true;
  }
  void erase(const std::string& key) {
    const ignix::FoundSlot found = table().find(hash(key), key);
    CHECK(bool(found));
    CHECK_EQ(found.ref(), refs[key]);
    table().erase(hash(key), found);
    Entry* entry = reinterpret_cast<Entry*>(heap.at(refs[key]));
    heap.free(refs[key], entry->total_bytes());
    refs.erase(key);
  }

  // Every key is found, and a walk over the buckets meets each entry once.
  void check() {
    CHECK_EQ(state.keys, refs.size());
    for (const auto& [key, ref] : refs) {
      const ignix::FoundSlot found = table().find(hash(key), key);
      CHECK(found && found.ref() == ref);
    }
    std::vector<Ref> walked, want;
    const uint32_t buckets = state.buckets.load();
    for (uint32_t i = 0; i < buckets; i++) {
      table().for_each_in(i, [&](Ref ref) { walked.push_back(ref); });
    }
    for (const auto& [key, ref] : refs) want.push_back(ref);
    std::sort(walked.begin(), walked.end());
    std::sort(want.begin(), want.end());
    CHECK(walked == want);
  }

  uint32_t stripe;
  size_t memory;
  ignix::EntryPool pool;
  ignix::EntryHeap heap;
  ignix::TableAreas areas;
  ignix::TableState state;
  std::map<std::string, Ref> refs;
};

std::string any_key(const Fixture& fixture, Random& random) {
  auto at = fixture.refs.lower_bound("k" + std::to_string(random.below(1'000'000)));
  return at == fixture.refs.end() ? fixture.refs.begin()->first : at->first;
}

// With any number of buckets at the start the table works; it grows, and shrinks to nothing.
TEST(table, expects_keys) {
  for (const uint64_t expected : {0, 6, 7, 100, 3000, 5000, 100'000}) {
    Fixture f(5);
    f.table().expect(expected);
    CHECK_EQ(f.state.buckets.load(), expected / 7);
    for (int round = 0; round < 2; round++) {
      for (int i = 0; i < 5000; i++) CHECK(f.insert("k" + std::to_string(i)));
      f.check();
      for (int i = 0; i < 5000; i++) f.erase("k" + std::to_string(i));
      f.check();
      f.table().expect(2 * expected);
    }
  }
}

// From any number of buckets to any other, past several doublings too.
TEST(table, expects_more_keys) {
  Random random(seed());
  for (int round = 0; round < 40; round++) {
    Fixture f(uint32_t(random.below(64)));
    uint64_t keys = 0;
    for (int step = 0; step < 6; step++) {
      for (uint64_t i = random.below(400); i > 0; i--) {
        CHECK(f.insert("k" + std::to_string(keys++)));
      }
      const uint32_t before = f.state.buckets.load();
      const uint64_t expected = random.below(keys * (random.one_in(2) ? 2 : 40) + 20);
      f.table().expect(expected);
      CHECK_EQ(f.state.buckets.load(), std::max(before, uint32_t(expected / 7)));
      f.check();
    }
    const uint32_t most = f.state.buckets.load();
    while (!f.refs.empty()) f.erase(any_key(f, random));
    f.table().join_after(most);
    f.check();
    CHECK_EQ(f.state.buckets.load(), 1u);
  }
}

TEST(table, empty) {
  Fixture f(0);
  CHECK(!f.table().find(Fixture::hash("k"), "k"));
  CHECK(!f.table().home_hint(Fixture::hash("k")));
  CHECK(f.insert("k"));
  CHECK(!f.table().find(Fixture::hash("k2"), "k2"));
  f.erase("k");
  f.check();
  CHECK_EQ(f.state.buckets.load(), 1u);
}

// At every size on the way up and down the table is whole.
TEST(table, every_size_from_0_to_300) {
  for (uint32_t stripe : {0u, 37u, 63u}) {
    Fixture f(stripe);
    for (int i = 0; i < 300; i++) {
      CHECK(f.insert("key:" + std::to_string(i)));
      f.check();
    }
    for (int i = 0; i < 300; i++) {
      f.erase("key:" + std::to_string(i * 7 % 300));
      f.check();
    }
    CHECK_EQ(f.state.keys, 0);
  }
}

TEST(table, grows_and_shrinks) {
  Random random(seed());
  Fixture f(5);
  uint32_t most_buckets = 0;
  for (const size_t target : {20'000, 50, 5'000, 4'000, 30'000, 0}) {
    while (f.refs.size() != target) {
      // Mostly towards the target, with some steps back.
      const bool towards = !random.one_in(4);
      if ((f.refs.size() < target) == towards) {
        const std::string key = "k" + std::to_string(random.below(1'000'000));
        if (!f.refs.count(key)) CHECK(f.insert(key));
      } else if (!f.refs.empty()) {
        f.erase(any_key(f, random));
      }
    }
    f.check();
    most_buckets = std::max(most_buckets, f.state.buckets.load());
    // Neither crowded nor empty.
    if (target > 1000) {
      const uint32_t buckets = f.state.buckets.load();
      CHECK(target <= 8ull * buckets && target >= 2ull * buckets);
    }
  }
  CHECK(most_buckets > 3'000);
  CHECK(f.state.buckets.load() <= 2);
  // All overflow buckets are back in the list of free ones.
  CHECK_EQ(f.state.overflow_spare, f.state.overflow_touched);
}

// Keys that stay together in one bucket, however often it is split.
std::vector<std::string> colliding_keys(Random& random, size_t count, uint64_t mask) {
  const uint64_t wanted = random.next() & mask;
  std::vector<std::string> keys;
  for (uint64_t i = 0; keys.size() < count; i++) {
    std::string key = "c" + std::to_string(i);
    if ((Fixture::hash(key) & mask) == wanted) keys.push_back(std::move(key));
  }
  return keys;
}

void churn(Fixture& f, Random& random, const std::vector<std::string>& keys, int steps) {
  for (int i = 0; i < steps; i++) {
    const std::string& key = random.pick_from(keys);
    const bool there = f.refs.count(key) != 0;
    CHECK_EQ(bool(f.table().find(Fixture::hash(key), key)), there);
    // In turns mostly inserted and mostly erased.
    if (random.one_in(8) == (i / 1'000 % 2 == 0)) {
      if (there) f.erase(key);
    } else if (!there) {
      CHECK(f.insert(key));
    }
    if (i % 500 == 0) f.check();
  }
}

TEST(table, long_chains) {
  Random random(seed());
  Fixture f(9);
  const std::vector<std::string> keys = colliding_keys(random, 300, uint64_t(0xff) << kStripeBits);
  churn(f, random, keys, 20'000);
  // Among others, which make the table grow and shrink around the chain.
  for (int i = 0; i < 3'000; i++) CHECK(f.insert("k" + std::to_string(i)));
  churn(f, random, keys, 10'000);
  for (int i = 0; i < 3'000; i++) f.erase("k" + std::to_string(i));
  churn(f, random, keys, 10'000);
  while (!f.refs.empty()) f.erase(f.refs.begin()->first);
  CHECK_EQ(f.state.overflow_spare, f.state.overflow_touched);
}

// A chain's entries may stay together, go to one other bucket, or spread over several.
TEST(table, expects_keys_in_long_chains) {
  Random random(seed());
  for (const uint64_t bits : {0xff, 0x0f, 0x01}) {
    Fixture f(9);
    for (const std::string& key : colliding_keys(random, 300, bits << kStripeBits)) {
      CHECK(f.insert(key));
    }
    for (const uint64_t buckets : {44, 100, 128, 500, 512, 4'000}) {
      f.table().expect(buckets * 7);
      CHECK_EQ(f.state.buckets.load(), buckets);
      f.check();
    }
    while (!f.refs.empty()) f.erase(f.refs.begin()->first);
    CHECK_EQ(f.state.overflow_spare, f.state.overflow_touched);
  }
}

TEST(table, expects_more_than_there_is_space) {
  Fixture f(63, 8 << 20);
  for (int round = 0; round < 2; round++) {
    f.table().expect(uint64_t(1) << 40);
    CHECK_EQ(f.state.buckets.load() > 0, round > 0);
    for (int i = 0; i < 2'000; i++) CHECK(f.insert(std::to_string(round) + std::to_string(i)));
    f.check();
  }
}

// The fingerprints are equal too: only the keys themselves tell the entries apart.
TEST(table, equal_fingerprints) {
  Random random(seed());
  Fixture f(3);
  const std::vector<std::string> keys =
      colliding_keys(random, 40, uint64_t(0xff) << 56 | uint64_t(0x1f) << kStripeBits);
  churn(f, random, keys, 10'000);
}

// Without memory for more, an insert fails and changes nothing.
TEST(table, out_of_space) {
  Fixture f(63, 8 << 20);
  int count = 0;
  while (f.insert("key:" + std::to_string(count))) {
    CHECK(++count < 100'000);
  }
  CHECK(count > 5'000);
  CHECK_EQ(f.state.keys, count);
  f.check();
  CHECK(!f.table().find(Fixture::hash("key:" + std::to_string(count)), "key:x"));
  for (int i = 0; i < count; i++) {
    f.erase("key:" + std::to_string(i));
    if (i % 5'000 == 0) f.check();
  }
  CHECK_EQ(f.state.keys, 0);
  CHECK_EQ(f.state.overflow_spare, f.state.overflow_touched);
  for (int i = 0; i < 5'000; i++) CHECK(f.insert("again:" + std::to_string(i)));
  f.check();
}

}  // namespace
}  // namespace test
