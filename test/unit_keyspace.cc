// The keyspace, against a plain map and under threads.
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "random.h"
#include "runner.h"
#include "store/keyspace.h"
#include "store/string.h"

namespace test {
namespace {

using ignix::Encoding;
using ignix::Entry;
using ignix::Key;
using ignix::Keyspace;
using ignix::kNoExpiry;
using ignix::StoredValue;
using ignix::StringScratch;
using ignix::Stripe;

constexpr int kDatabases = 4;

// The calls of a client of the keyspace, each under the lock of its stripe.
struct Locked {
  explicit Locked(Stripe& stripe) : stripe(stripe) { stripe.lock.lock(); }
  ~Locked() { stripe.lock.unlock(); }
  Locked(const Locked&) = delete;
  Stripe& stripe;
};

bool put_locked(Keyspace& keyspace, int db, const Key& key, const std::string& value,
                int64_t expiry_ms) {
  StringScratch scratch;
  StoredValue stored;
  return ignix::encode_string(value, keyspace.blocks(), scratch, stored) &&
         keyspace.put(db, key, stored, expiry_ms, 0);
}

bool put(Keyspace& keyspace, int db, const std::string& text, const std::string& value,
         int64_t expiry_ms = kNoExpiry) {
  const Key key = keyspace.key(text);
  Locked locked(keyspace.stripe_of(key.hash));
  return put_locked(keyspace, db, key, value, expiry_ms);
}

bool erase(Keyspace& keyspace, int db, const std::string& text) {
  const Key key = keyspace.key(text);
  Locked locked(keyspace.stripe_of(key.hash));
  return keyspace.erase(db, key);
}

// False if the key is not there.
bool set_expiry(Keyspace& keyspace, int db, const std::string& text, int64_t expiry_ms) {
  const Key key = keyspace.key(text);
  Locked locked(keyspace.stripe_of(key.hash));
  Entry* entry = keyspace.find(db, key);
  if (!entry) return false;
  CHECK(keyspace.set_expiry(db, key, entry, expiry_ms));
  return true;
}

struct Expected {
  std::string value;
  int64_t expiry_ms;
};

void check_entry(Keyspace& keyspace, int db, const std::string& text, const Expected* want) {
  const Key key = keyspace.key(text);
  Locked locked(keyspace.stripe_of(key.hash));
  const Entry* entry = keyspace.find(db, key);
  CHECK_EQ(entry != nullptr, want != nullptr);
  if (!want) return;
  StringScratch scratch;
  CHECK(entry->key() == text);
  CHECK(ignix::string_value(*entry, scratch) == want->value);
  CHECK_EQ(entry->expiry_ms(), want->expiry_ms);
  CHECK_EQ(entry->type(), ignix::Type::kString);
}

using Model = std::unordered_map<std::string, Expected>;

size_t pages_of_block(size_t bytes) {
  return (sizeof(ignix::Block) + bytes + ignix::kBlockTailBytes + 4095) / 4096 * 4096;
}

// Bytes outside of the heap, by what the entries hold.
size_t block_bytes_of(const Model& model) {
  size_t bytes = 0;
  for (const auto& [key, expected] : model) {
    if (key.size() > ignix::kShortKeyBytes) bytes += pages_of_block(key.size());
    // The border between embedded values and blocks is not of interest: no value is near it.
    if (expected.value.size() > 3800) bytes += pages_of_block(expected.value.size());
  }
  return bytes;
}

// All the work that the loops would do by and by.
void tidy(Keyspace& keyspace) {
  for (uint32_t i = 0; i < keyspace.stripe_count(); i++) {
    while (keyspace.maintain(i)) continue;
  }
  while (keyspace.purge_shared()) continue;
}

// Counts and, for every key of the model, its entry.
void check_all(Keyspace& keyspace, const Model (&models)[kDatabases]) {
  tidy(keyspace);
  uint64_t blocks_wanted = 0;
  for (int db = 0; db < kDatabases; db++) {
    uint64_t expiries = 0;
    for (const auto& [key, expected] : models[db]) {
      check_entry(keyspace, db, key, &expected);
      expiries += expected.expiry_ms != kNoExpiry;
    }
    CHECK_EQ(keyspace.key_count(db), models[db].size());
    CHECK_EQ(keyspace.expiry_count(db), expiries);
    blocks_wanted += block_bytes_of(models[db]);
  }
  CHECK_EQ(keyspace.blocks().used_bytes(), blocks_wanted);
}

void check_empty(Keyspace& keyspace) {
  tidy(keyspace);
  for (int db = 0; db < keyspace.databases(); db++) {
    CHECK_EQ(keyspace.key_count(db), 0);
    CHECK_EQ(keyspace.expiry_count(db), 0);
  }
  for (uint32_t i = 0; i < keyspace.stripe_count(); i++) {
    CHECK_EQ(keyspace.stripe(i).heap.used_bytes(), 0);
  }
  CHECK_EQ(keyspace.blocks().used_bytes(), 0);
}

std::string random_value(Random& random) {
  switch (random.below(8)) {
    case 0:
      return std::to_string(int8_t(random.next()));
    case 1:
      return std::to_string(int16_t(random.next()));
    case 2:
      return std::to_string(int32_t(random.next()));
    case 3:
      return std::to_string(int64_t(random.next()));
    case 4:
      return random.one_in(60) ? random.bytes(3801 + 100 + random.below(9'000)) : "007";
    case 5:
      return random.one_in(10) ? random.bytes(random.below(3'000)) : "";
    default:
      return random.bytes(random.below(120));
  }
}

int64_t random_expiry(Random& random) {
  return random.one_in(3) ? int64_t(1 + random.below(1u << 30)) : kNoExpiry;
}

std::string key_text(uint64_t number) {
  std::string text = "key:" + std::to_string(number);
  if (number % 50 == 0) text += std::string(200 + number % 400, 'k');  // around 255, and beyond
  return text;
}

TEST(keyspace, stripes) {
  Keyspace small, large;
  CHECK(small.open(1, 1));
  CHECK(large.open(16, 8));
  CHECK_EQ(small.databases(), 1);
  CHECK_EQ(small.stripe_count(), 64u);
  CHECK_EQ(large.databases(), 16);
  CHECK_EQ(large.stripe_count(), 128u);
  for (int i = 0; i < 1'000; i++) {
    const Key key = large.key(std::to_string(i));
    CHECK(large.stripe_index(key.hash) < 128);
    CHECK(&large.stripe_of(key.hash) == &large.stripe(large.stripe_index(key.hash)));
    CHECK_EQ(key.hash, large.key(std::to_string(i)).hash);
  }
  check_empty(small);
}

TEST(keyspace, odd_keys) {
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, 1));
  Model models[kDatabases];
  for (size_t length : {0, 1, 7, 8, 9, 254, 255, 256, 257, 4096, 70'000}) {
    std::string key(length, '\0');
    if (length) key.back() = 'x';
    CHECK(put(keyspace, 1, key, "value", 5));
    models[1][key] = {"value", 5};
  }
  check_all(keyspace, models);
  check_entry(keyspace, 1, std::string(9, '\0'), nullptr);
  check_entry(keyspace, 0, "", nullptr);
  for (const auto& [key, expected] : models[1]) CHECK(erase(keyspace, 1, key));
  check_empty(keyspace);
}

// From each form of a value to each other, with and without expiry, with a short and a long key.
TEST(keyspace, replace_between_all_forms) {
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, 1));
  Model models[kDatabases];
  const std::string values[] = {"1",
                                "-1000",
                                "100000",
                                "-9223372036854775808",
                                "",
                                "007",
                                "seven bytes and more",
                                std::string(255, 'a'),
                                std::string(256, 'b'),
                                std::string(1'000, 'c'),
                                std::string(3'700, 'd'),
                                std::string(3'900, 'e'),
                                std::string(50'000, 'f')};
  for (const std::string& key : {std::string("k"), std::string(255, 'k'), std::string(300, 'l')}) {
    for (const std::string& before : values) {
      for (const std::string& after : values) {
        for (int expiries = 0; expiries < 4; expiries++) {
          const int64_t first = expiries & 1 ? 1000 : kNoExpiry;
          const int64_t second = expiries & 2 ? 2000 : kNoExpiry;
          CHECK(put(keyspace, 2, key, before, first));
          models[2][key] = {before, first};
          check_all(keyspace, models);
          CHECK(put(keyspace, 2, key, after, second));
          models[2][key] = {after, second};
          check_all(keyspace, models);
        }
      }
    }
  }
  for (const auto& [key, expected] : models[2]) CHECK(erase(keyspace, 2, key));
  check_empty(keyspace);
}

// A reply may still be sent from a block whose key is gone.
// The value, and a block, stays what it is; the entry moves when its size class changes.
TEST(keyspace, set_expiry_of_all_forms) {
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, 2));
  size_t moved = 0, stayed = 0;
  for (const std::string& text : {std::string("k"), std::string(255, 'k'), std::string(256, 'k')}) {
    for (size_t bytes = 0; bytes < 5'000; bytes += bytes < 300 ? 1 : 97) {
      const std::string value = bytes == 3 ? "123" : std::string(bytes, 'v');
      CHECK(put(keyspace, 1, text, value));
      const Key key = keyspace.key(text);
      const Entry* const before = keyspace.find(1, key);
      const std::string stored(before->stored());
      for (int64_t expiry_ms : {int64_t(5), INT64_MAX, kNoExpiry, int64_t(7), int64_t(0)}) {
        CHECK(set_expiry(keyspace, 1, text, expiry_ms));
        const Expected expected = {value, expiry_ms};
        check_entry(keyspace, 1, text, &expected);
        CHECK(keyspace.find(1, key)->stored() == stored);
        CHECK_EQ(keyspace.expiry_count(1), expiry_ms != kNoExpiry);
        (keyspace.find(1, key) == before ? stayed : moved)++;
      }
    }
    CHECK(erase(keyspace, 1, text));
  }
  CHECK(moved > 0 && stayed > 0);
  check_empty(keyspace);
}

TEST(keyspace, blocks_outlive_their_keys) {
  Keyspace keyspace;
  CHECK(keyspace.open(1, 1));
  for (int i = 0; i < 2; i++) {
    CHECK(put(keyspace, 0, "k", std::string(10'000, 'x')));
    ignix::Block* block = keyspace.find(0, keyspace.key("k"))->block();
    CHECK_EQ(block->references.load(), 1u);
    block->references.fetch_add(1);
    if (i == 0) {
      CHECK(put(keyspace, 0, "k", "short"));
      CHECK(erase(keyspace, 0, "k"));
    } else {
      keyspace.lock_all();
      keyspace.flush(0);
      keyspace.unlock_all();
    }
    CHECK_EQ(block->references.load(), 1u);
    CHECK(block->view() == std::string(10'000, 'x'));
    ignix::drop_block(block);
    check_empty(keyspace);
  }
}

// A count that has got near its end says nothing any more.
TEST(keyspace, blocks_with_too_many_references_stay) {
  Keyspace keyspace;
  CHECK(keyspace.open(1, 1));
  CHECK(put(keyspace, 0, "k", std::string(10'000, 'x')));
  ignix::Block* block = keyspace.find(0, keyspace.key("k"))->block();
  block->references = ignix::kReferencesMax - 2;
  for (int i = 0; i < 5; i++) ignix::hold_block(block);
  CHECK(erase(keyspace, 0, "k"));
  for (int i = 0; i < 10; i++) ignix::drop_block(block);
  CHECK(block->references > ignix::kReferencesMax);
  CHECK(block->view() == std::string(10'000, 'x'));
  block->references = 1;
  ignix::drop_block(block);
  check_empty(keyspace);
}

// Each has the other's keys, counts and memory, also where one was never used.
// Strings changed in place: what a reply, a copy or the kernel still looks at does not change.
struct Patched {
  Patched() { CHECK(keyspace.open(1, 2)); }
  bool patch(size_t offset, const std::string& bytes) {
    const Key key = keyspace.key("key");
    Locked locked(keyspace.stripe_of(key.hash));
    return ignix::patch_string(keyspace, 0, key, keyspace.find(0, key), offset, bytes, 0);
  }
  std::string value() {
    const Key key = keyspace.key("key");
    Locked locked(keyspace.stripe_of(key.hash));
    StringScratch scratch;
    return std::string(ignix::string_value(*keyspace.find(0, key), scratch));
  }
  ignix::Block* block() {
    const Key key = keyspace.key("key");
    Locked locked(keyspace.stripe_of(key.hash));
    return keyspace.find(0, key)->block();
  }
  Keyspace keyspace;
};

TEST(keyspace, patch_against_a_string) {
  Patched it;
  Random random(seed());
  std::string expected;
  for (int i = 0; i < 4000; i++) {
    if (i % 100 == 0) {
      expected = i % 200 ? "-12" : random.letters(random.below(3000));
      CHECK(put(it.keyspace, 0, "key", expected, i % 300 ? kNoExpiry : 1234));
    }
    const size_t most = i % 7 ? expected.size() : expected.size() + 700;
    const size_t offset = random.one_in(3) ? expected.size() : random.below(most + 1);
    const std::string bytes = random.letters(random.below(random.one_in(9) ? 2000 : 30));
    CHECK(it.patch(offset, bytes));
    if (expected.size() < offset + bytes.size()) expected.resize(offset + bytes.size());
    expected.replace(offset, bytes.size(), bytes);
    CHECK_EQ(it.value(), expected);
  }
}

TEST(keyspace, patch_of_a_block_in_use) {
  Patched it;
  const std::string old(100 << 10, 'o');
  CHECK(put(it.keyspace, 0, "key", old));
  ignix::Block* const first = it.block();
  CHECK(it.patch(3, "new"));
  CHECK(it.block() == first);  // nobody else looks: in place
  CHECK(it.patch(3, "ooo"));

  ignix::hold_block(first);  // a reply is under way
  CHECK(it.patch(3, "new"));
  CHECK(it.block() != first);
  CHECK(first->view() == old);
  ignix::drop_block(first);

  ignix::Block* const second = it.block();
  second->lent.store(true);  // the kernel may still send from it
  CHECK(it.patch(4, "E"));
  CHECK(it.block() != second);
  CHECK_EQ(it.value().substr(0, 8), "ooonEwoo");
}

// Appending byte by byte makes a new block only now and then; a string that is only set has no
// room to spare.
TEST(keyspace, patch_appends_in_place) {
  Patched it;
  const std::string start(5000, 's');
  CHECK(put(it.keyspace, 0, "key", start));
  CHECK_EQ(it.block()->room_bytes, start.size());
  const ignix::Block* last = it.block();
  int moves = 0;
  for (int i = 0; i < 200000; i++) {
    CHECK(it.patch(start.size() + size_t(i), "x"));
    moves += it.block() != last;
    last = it.block();
  }
  CHECK(moves < 25);
  CHECK(last->room_bytes <= last->length_bytes * 5 / 4);
  CHECK_EQ(it.value(), start + std::string(200000, 'x'));
}

TEST(keyspace, swap) {
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, 2));
  Model models[kDatabases];
  const auto swap = [&](int one, int other) {
    keyspace.lock_all();
    keyspace.swap(one, other, 0);
    keyspace.unlock_all();
    if (one != other) std::swap(models[one], models[other]);
    check_all(keyspace, models);
  };
  const auto fill = [&](int db, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
      const Expected expected = {std::to_string(i), i % 3 ? kNoExpiry : int64_t(i + 1)};
      CHECK(put(keyspace, db, key_text(i), expected.value, expected.expiry_ms));
      models[db][key_text(i)] = expected;
    }
  };
  fill(0, 20'000);
  swap(0, 2);
  fill(0, 100);
  swap(1, 2);
  swap(2, 1);
  swap(3, 3);
  fill(3, 10'000);
  keyspace.lock_all();
  keyspace.flush(3);
  keyspace.unlock_all();
  models[3].clear();
  swap(3, 2);
  swap(0, 3);
  for (int db = 0; db < kDatabases; db++) {
    for (const auto& [key, expected] : models[db]) CHECK(erase(keyspace, db, key));
  }
  check_empty(keyspace);
}

TEST(keyspace, integers_of_strings) {
  Keyspace keyspace;
  CHECK(keyspace.open(1, 1));
  const struct {
    std::string value;
    bool is_integer;
    int64_t integer;
  } cases[] = {{"12", true, 12},
               {"-9223372036854775808", true, INT64_MIN},
               {"007", false, 0},
               {" 1", false, 0},
               {"", false, 0},
               {"x", false, 0},
               {"9223372036854775808", false, 0},
               {std::string(9'000, '1'), false, 0}};
  for (const auto& c : cases) {
    CHECK(put(keyspace, 0, "k", c.value));
    const Entry* entry = keyspace.find(0, keyspace.key("k"));
    int64_t integer = 0;
    CHECK_EQ(ignix::string_integer(*entry, integer), c.is_integer);
    if (c.is_integer) CHECK_EQ(integer, c.integer);
    CHECK_EQ(entry->encoding() == Encoding::kInteger, c.is_integer);
  }
}

// 300,000 keys and more in four databases come, change and go.
TEST_LONG(keyspace, random_against_a_map) {
  Random random(seed());
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, 2));
  Model models[kDatabases];
  const int scale = slowness() > 1 ? 5 : 1;
  const uint64_t numbers = 400'000 / uint64_t(scale);
  const auto db_of = [](uint64_t number) { return number % 4 ? 0 : 1 + int(number / 4 % 3); };
  // Each phase in parts of a hundred: put, erase; the rest looks up.
  constexpr struct {
    unsigned put, erase;
    int steps;
  } kPhases[] = {{80, 5, 800'000}, {30, 30, 100'000}, {5, 85, 250'000}, {60, 10, 50'000}};
  size_t most = 0;
  for (const auto& phase : kPhases) {
    for (int step = 0; step < phase.steps / scale; step++) {
      const uint64_t number = random.below(numbers);
      const int db = db_of(number);
      Model& model = models[db];
      const std::string key = key_text(number);
      const unsigned dice = unsigned(random.below(100));
      if (dice < phase.put) {
        Expected expected = {random_value(random), random_expiry(random)};
        CHECK(put(keyspace, db, key, expected.value, expected.expiry_ms));
        model[key] = std::move(expected);
      } else if (dice < phase.put + phase.erase) {
        CHECK_EQ(erase(keyspace, db, key), model.erase(key) == 1);
      } else if (dice % 2) {
        const auto found = model.find(key);
        const int64_t expiry_ms = random_expiry(random);
        CHECK_EQ(set_expiry(keyspace, db, key, expiry_ms), found != model.end());
        if (found != model.end()) found->second.expiry_ms = expiry_ms;
      } else {
        const auto found = model.find(key);
        check_entry(keyspace, db, key, found == model.end() ? nullptr : &found->second);
        check_entry(keyspace, 3 - db, key, nullptr);
      }
      if (step % 64 == 0) keyspace.maintain(uint32_t(random.below(keyspace.stripe_count())));
    }
    check_all(keyspace, models);
    size_t keys = 0;
    for (const Model& model : models) keys += model.size();
    most = std::max(most, keys);
    progress("%zu keys", keys);
  }
  CHECK(most > 300'000u / unsigned(scale));
  // Flushing one database leaves the others alone.
  keyspace.lock_all();
  keyspace.flush(0);
  keyspace.unlock_all();
  models[0].clear();
  check_all(keyspace, models);
  CHECK(put(keyspace, 0, "again", "x"));
  models[0]["again"] = {"x", kNoExpiry};
  check_all(keyspace, models);
  for (int db = 0; db < kDatabases; db++) {
    for (const auto& [key, expected] : models[db]) CHECK(erase(keyspace, db, key));
  }
  check_empty(keyspace);
  for (uint32_t i = 0; i < keyspace.stripe_count(); i++) {
    CHECK(keyspace.stripe(i).first.buckets.load() <= 2);
  }
}

// What deletions scatter is gathered: the memory held falls to little more than what is used.
TEST(keyspace, compaction) {
  Random random(seed());
  Keyspace keyspace;
  CHECK(keyspace.open(2, 2));
  Model models[kDatabases];
  const int keys = slowness() > 1 ? 40'000 : 200'000;
  const auto text = [](int i) { return "key:" + std::to_string(1'000'000 + i); };
  for (int i = 0; i < keys; i++) {
    Expected expected = {std::string(20 + size_t(i) % 60, 'v'), kNoExpiry};
    CHECK(put(keyspace, i % 2, text(i), expected.value));
    models[i % 2][text(i)] = std::move(expected);
  }
  keyspace.update_table_bytes();
  const uint64_t full = keyspace.held_bytes();
  for (int i = 0; i < keys; i++) {
    if (random.below(10) == 0) continue;
    CHECK(erase(keyspace, i % 2, text(i)));
    models[i % 2].erase(text(i));
  }
  tidy(keyspace);
  for (int db = 0; db < 2; db++) {
    CHECK_EQ(keyspace.key_count(db), models[db].size());
    for (const auto& [key, expected] : models[db]) check_entry(keyspace, db, key, &expected);
  }
  // A slab or two for each of the few classes and each stripe stay, on top of the tenth.
  const uint64_t slack = uint64_t(keyspace.stripe_count()) * 12 * ignix::EntryPool::kSlabBytes;
  CHECK(keyspace.held_bytes() < full / 5 + slack);
}

// A large database is empty at once, is filled again at once, and its memory comes back in steps.
TEST(keyspace, flush_by_and_by) {
  Keyspace keyspace;
  CHECK(keyspace.open(2, 2));
  const auto text = [](int i) { return "key:" + std::to_string(i); };
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < 20'000; i++)
      CHECK(put(keyspace, round % 2, text(i), "value", i % 3 ? kNoExpiry : 5));
    CHECK(put(keyspace, round % 2, "large", std::string(100'000, 'x')));
    const uint64_t before = keyspace.used_bytes();
    keyspace.lock_all();
    keyspace.flush(round % 2);
    CHECK_EQ(keyspace.key_count(round % 2), 0);
    CHECK_EQ(keyspace.expiry_count(round % 2), 0);
    keyspace.unlock_all();
    check_entry(keyspace, round % 2, text(1), nullptr);
    CHECK(keyspace.used_bytes() > before / 2);
    // Half of it is freed while the keys come again.
    for (uint32_t i = 0; i < keyspace.stripe_count(); i += 2) keyspace.maintain(i);
  }
  for (int db = 0; db < 2; db++) {
    keyspace.lock_all();
    keyspace.flush(db);
    keyspace.unlock_all();
  }
  check_empty(keyspace);
  CHECK_EQ(keyspace.used_bytes(), 0);
}

// Under a limit on address space database 0 has more of it than the others, and keeps it when these
// and itself are flushed.
TEST(keyspace, flushed_under_a_limit) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const rlimit limit = {size_t(1) << 30, size_t(1) << 30};
  CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  Keyspace keyspace;
  CHECK(keyspace.open(2, 2));
  const auto fill = [&](int db, int keys) {
    for (int i = 0; i < keys; i++) CHECK(put(keyspace, db, std::to_string(i), "1"));
  };
  for (int db : {1, 0, 1, 0}) {
    fill(db, 20'000);
    keyspace.lock_all();
    keyspace.flush(db);
    keyspace.unlock_all();
    tidy(keyspace);
  }
  fill(0, 2'000'000);
#endif
}

// Of every kind: a place in a slab, a mapping, a large mapping that is given back in steps.
TEST(keyspace, blocks) {
  ignix::BlockHeap blocks;
  CHECK(blocks.open(size_t(1) << 30));
  std::vector<std::pair<ignix::Block*, std::string>> held;
  Random random(seed());
  size_t wanted = 0;
  for (int step = 0; step < 2'000; step++) {
    if (held.size() < 40 && random.one_in(2)) {
      const size_t bytes = random.one_in(50)  ? 1 + random.below(20u << 20)
                           : random.one_in(5) ? 1 + random.below(2u << 20)
                                              : 1 + random.below(60'000);
      std::string text = random.bytes(64);
      text.resize(bytes, char('a' + step % 26));
      ignix::Block* block = blocks.make(text);
      CHECK(block != nullptr);
      wanted += pages_of_block(bytes);
      held.emplace_back(block, std::move(text));
    } else if (!held.empty()) {
      const size_t at = random.below(held.size());
      CHECK(held[at].first->view() == held[at].second);
      wanted -= pages_of_block(held[at].second.size());
      ignix::drop_block(held[at].first);
      held.erase(held.begin() + ptrdiff_t(at));
    }
    CHECK_EQ(blocks.used_bytes(), wanted);
    if (random.one_in(20)) blocks.release_some(random.below(8u << 20));
    if (random.one_in(5)) blocks.release_unneeded(random.below(8u << 20), step * 100);
  }
  for (auto& [block, text] : held) {
    CHECK(block->view() == text);
    ignix::drop_block(block);
  }
  while (blocks.release_some(0)) continue;
  CHECK_EQ(blocks.used_bytes(), 0);
  CHECK_EQ(blocks.spare_bytes(), 0);
}

// Large values that come all the time do not lose, in between, the memory the next one needs; when
// no more come, it goes.
TEST(keyspace, blocks_keep_what_is_needed_again) {
  constexpr size_t kBlockBytes = 2u << 20, kAtOnce = 16;
  ignix::BlockHeap blocks;
  CHECK(blocks.open(size_t(1) << 30));
  int64_t now_ms = 1'000'000;
  size_t least = SIZE_MAX;
  const auto use_some = [&](size_t count) {
    ignix::Block* used[kAtOnce];
    for (size_t i = 0; i < count; i++) CHECK(used[i] = blocks.make_empty(kBlockBytes));
    for (size_t i = 0; i < count; i++) ignix::drop_block(used[i]);
  };
  for (int i = 0; i < 5'000; i++) {
    use_some(i % 100 == 0 ? kAtOnce : 1);  // all of them twice a second
    CHECK(blocks.release_unneeded(0, now_ms += 5));
    if (i > 1'000) least = std::min(least, blocks.spare_bytes());
  }
  CHECK(least >= kAtOnce * kBlockBytes);
  size_t calls = 0;
  while (blocks.release_unneeded(0, now_ms += 5)) CHECK(++calls < 1'000);
  CHECK_EQ(blocks.spare_bytes(), 0);
}

// DESIGN's aim: 20 to 24 bytes a key beyond key and value.
TEST(keyspace, memory_per_key) {
  Keyspace keyspace;
  CHECK(keyspace.open(16, 2));
  const uint64_t before = keyspace.used_bytes();
  constexpr int kKeys = 200'000;
  const std::string value(64, 'v');
  for (int i = 0; i < kKeys; i++) {
    std::string key = "0000000000" + std::to_string(100'000 + i);
    CHECK(put(keyspace, 0, key, value));
  }
  const double per_key = double(keyspace.used_bytes() - before) / kKeys - 16 - 64;
  if (per_key > 24) FAIL(std::to_string(per_key) + " bytes");
}

void expect(Keyspace& keyspace, int db, uint64_t keys) {
  keyspace.expect(db, keys);
  for (uint32_t i = 0; i < keyspace.stripe_count(); i++) keyspace.expect(db, keys, i);
}

// Buckets for keys that never came are given back, and the keys are there.
TEST(keyspace, settles_after_loading) {
  constexpr int kKeys = 20'000;
  uint64_t used[2];
  for (const bool expects : {false, true}) {
    Keyspace keyspace;
    CHECK(keyspace.open(16, 2));
    keyspace.set_hurry(true);
    for (int i = 0; i < kKeys; i++) {
      if (expects && i == 1'000) expect(keyspace, 0, 10'000);
      if (expects && i == 5'000) expect(keyspace, 0, 3'000'000);
      CHECK(put(keyspace, 0, key_text(uint64_t(i)), std::to_string(i)));
    }
    const uint64_t before = keyspace.held_bytes();
    keyspace.settle();
    if (expects) CHECK(keyspace.held_bytes() + (20 << 20) < before);
    used[expects] = keyspace.used_bytes();
    StringScratch scratch;
    for (int i = 0; i < kKeys; i++) {
      const std::string text = key_text(uint64_t(i));
      const Key key = keyspace.key(text);
      Locked locked(keyspace.stripe_of(key.hash));
      const Entry* entry = keyspace.find(0, key);
      CHECK(entry && string_value(*entry, scratch) == std::to_string(i));
    }
  }
  CHECK(used[true] < used[false] * 11 / 10);
}

// ---- with threads ----

constexpr int kThreads = 4;

// Prefetches, and tidies, as other loops would.
struct Prefetcher {
  Keyspace& keyspace;
  std::atomic<bool> stopping{false};
  pthread_t thread = {};

  static void* run(void* self) {
    Prefetcher& p = *static_cast<Prefetcher*>(self);
    for (uint64_t i = 0; !p.stopping.load(std::memory_order_relaxed); i++) {
      const Key key = p.keyspace.key(key_text(i % 3'000));
      const int db = int(i % kDatabases);
      p.keyspace.prefetch(db, &key.hash, 1);
      if (i % 100 == 0) p.keyspace.maintain(uint32_t(i / 100 % p.keyspace.stripe_count()));
      if (i % 10'000 == 0) p.keyspace.maintain_shared(int64_t(i));
      if (i % 10'000 == 5'000) p.keyspace.purge_shared();
      if (i % 1'000 == 0) sched_yield();
    }
    return nullptr;
  }
  void start() { CHECK_EQ(pthread_create(&thread, nullptr, run, this), 0); }
  void stop() {
    stopping.store(true);
    pthread_join(thread, nullptr);
  }
};

struct Worker {
  Keyspace* keyspace = nullptr;
  int index = 0;
  uint64_t seed = 0;
  pthread_t thread = {};
  Model models[kDatabases];
};

void run_workers(Keyspace& keyspace, void* (*body)(void*), std::vector<Worker>& workers) {
  Prefetcher prefetcher{keyspace};
  prefetcher.start();
  for (Worker& w : workers) CHECK_EQ(pthread_create(&w.thread, nullptr, body, &w), 0);
  for (Worker& w : workers) pthread_join(w.thread, nullptr);
  prefetcher.stop();
}

std::vector<Worker> four_workers(Keyspace& keyspace) {
  std::vector<Worker> workers(kThreads);
  for (int i = 0; i < kThreads; i++) {
    workers[size_t(i)].keyspace = &keyspace;
    workers[size_t(i)].index = i;
    workers[size_t(i)].seed = seed() + uint64_t(i);
  }
  return workers;
}

// Each thread has keys of its own, in the same stripes as the others'.
void* use_own_keys(void* self) {
  Worker& w = *static_cast<Worker*>(self);
  Random random(w.seed);
  const int steps = slowness() > 1 ? 15'000 : 60'000;
  for (int step = 0; step < steps; step++) {
    // Grows to some thousand keys, then shrinks again.
    const uint64_t number = random.below(3'000) * kThreads + uint64_t(w.index);
    const int db = int(number / 7 % kDatabases);
    const std::string key = key_text(number);
    if (random.below(100) < (step < steps / 2 ? 60u : 25u)) {
      Expected expected = {random_value(random), random_expiry(random)};
      CHECK(put(*w.keyspace, db, key, expected.value, expected.expiry_ms));
      w.models[db][key] = std::move(expected);
    } else if (random.one_in(2)) {
      CHECK_EQ(erase(*w.keyspace, db, key), w.models[db].erase(key) == 1);
    } else {
      const auto found = w.models[db].find(key);
      check_entry(*w.keyspace, db, key, found == w.models[db].end() ? nullptr : &found->second);
    }
  }
  return nullptr;
}

TEST(keyspace, threads_with_their_own_keys) {
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, kThreads));
  std::vector<Worker> workers = four_workers(keyspace);
  run_workers(keyspace, use_own_keys, workers);
  Model all[kDatabases];
  for (Worker& w : workers) {
    for (int db = 0; db < kDatabases; db++) all[db].merge(w.models[db]);
  }
  check_all(keyspace, all);
  keyspace.lock_all();
  for (int db = 0; db < kDatabases; db++) keyspace.flush(db);
  keyspace.unlock_all();
  check_empty(keyspace);
}

// Money moves between accounts under the locks of both; none is made and none is lost.
constexpr int kAccounts = 300;
constexpr int64_t kStart = 1'000'000;

std::string account(uint64_t number) { return "account:" + std::to_string(number); }

int64_t balance(Keyspace& keyspace, const Key& key) {
  const Entry* entry = keyspace.find(0, key);
  int64_t value = 0;
  CHECK(entry != nullptr && ignix::string_integer(*entry, value));
  return value;
}

void* move_money(void* self) {
  Worker& w = *static_cast<Worker*>(self);
  Keyspace& keyspace = *w.keyspace;
  Random random(w.seed);
  ignix::StripeLocks locks;
  const int steps = slowness() > 1 ? 10'000 : 60'000;
  for (int step = 0; step < steps; step++) {
    const std::string from_text = account(random.below(kAccounts));
    const std::string to_text = account(random.below(kAccounts));
    const Key from = keyspace.key(from_text), to = keyspace.key(to_text);
    const uint64_t hashes[] = {from.hash, to.hash, from.hash};
    locks.lock(keyspace, hashes, 3);
    const int64_t amount = random.one_in(3) ? int64_t(random.below(1u << 20)) : 1;
    const bool expires = random.one_in(4);
    CHECK(put_locked(keyspace, 0, from, std::to_string(balance(keyspace, from) - amount),
                     expires ? 1 : kNoExpiry));
    CHECK(put_locked(keyspace, 0, to, std::to_string(balance(keyspace, to) + amount), kNoExpiry));
    locks.unlock(keyspace);
    if (random.one_in(500)) {
      int64_t sum = 0;
      keyspace.lock_all();
      for (int i = 0; i < kAccounts; i++) {
        const std::string text = account(uint64_t(i));
        sum += balance(keyspace, keyspace.key(text));
      }
      keyspace.unlock_all();
      CHECK_EQ(sum, kAccounts * kStart);
    }
    if (random.one_in(200)) CHECK(keyspace.used_bytes() > 0);
  }
  return nullptr;
}

TEST(keyspace, threads_with_shared_keys) {
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, kThreads));
  for (int i = 0; i < kAccounts; i++) {
    CHECK(put(keyspace, 0, account(uint64_t(i)), std::to_string(kStart)));
  }
  std::vector<Worker> workers = four_workers(keyspace);
  run_workers(keyspace, move_money, workers);
  int64_t sum = 0;
  uint64_t expiries = 0;
  for (int i = 0; i < kAccounts; i++) {
    const std::string text = account(uint64_t(i));
    const Key key = keyspace.key(text);
    sum += balance(keyspace, key);
    expiries += keyspace.find(0, key)->has_expiry();
  }
  CHECK_EQ(sum, kAccounts * kStart);
  CHECK_EQ(keyspace.expiry_count(0), expiries);
  CHECK_EQ(keyspace.key_count(0), kAccounts);
}

// Few keys that all threads put and erase, so that buckets are split and joined all the time, among
// flushes and prefetches. A value tells its key, and is whole.
void* fight_for_keys(void* self) {
  Worker& w = *static_cast<Worker*>(self);
  Keyspace& keyspace = *w.keyspace;
  Random random(w.seed);
  const int steps = slowness() > 1 ? 15'000 : 60'000;
  for (int step = 0; step < steps; step++) {
    const std::string text = key_text(random.below(3'000));
    const int db = int(random.below(kDatabases));
    const Key key = keyspace.key(text);
    const uint64_t dice = random.below(10);
    if (random.one_in(3'000)) {
      keyspace.lock_all();
      keyspace.flush(db);
      CHECK_EQ(keyspace.key_count(db), 0);
      keyspace.unlock_all();
      continue;
    }
    Locked locked(keyspace.stripe_of(key.hash));
    const Entry* entry = keyspace.find(db, key);
    if (entry) {
      StringScratch scratch;
      const std::string_view value = ignix::string_value(*entry, scratch);
      CHECK(value.substr(0, text.size()) == text);
      CHECK_EQ(value.find_first_not_of(value.back(), text.size()), value.npos);
    }
    if (dice < 5) {
      const size_t length = 1 + (random.one_in(50) ? random.below(6'000) : random.below(100));
      CHECK(put_locked(keyspace, db, key, text + std::string(length, char('a' + w.index)),
                       random_expiry(random)));
    } else if (dice < 8) {
      CHECK_EQ(keyspace.erase(db, key), entry != nullptr);
    }
  }
  return nullptr;
}

TEST(keyspace, threads_that_fight_for_keys) {
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, kThreads));
  std::vector<Worker> workers = four_workers(keyspace);
  run_workers(keyspace, fight_for_keys, workers);
  for (int db = 0; db < kDatabases; db++) {
    for (uint64_t number = 0; number < 3'000; number++) erase(keyspace, db, key_text(number));
  }
  check_empty(keyspace);
}

TEST(keyspace, stripe_locks_take_each_stripe_once) {
  Keyspace keyspace;
  CHECK(keyspace.open(1, 1));
  Random random(seed());
  ignix::StripeLocks locks;
  for (int i = 0; i < 200; i++) {
    std::vector<uint64_t> hashes;
    for (uint64_t n = random.below(200); n-- > 0;) hashes.push_back(random.next());
    locks.lock(keyspace, hashes.data(), hashes.size());
    locks.unlock(keyspace);
  }
  keyspace.lock_all();  // hangs if one was left behind
  keyspace.unlock_all();
}

// Grows, shrinks and grows again, beside the thread that makes memory ready ahead: large enough for
// regions to be made ready, collapsed, broken and filled once more.
TEST(keyspace, memory_ahead_of_growth) {
  const uint64_t keys = 700'000 / uint64_t(slowness());
  Keyspace keyspace;
  CHECK(keyspace.open(1, 2));
  pthread_t ahead;
  const auto run = [](void* self) -> void* {
    static_cast<Keyspace*>(self)->run_ahead();
    return nullptr;
  };
  CHECK_EQ(pthread_create(&ahead, nullptr, run, &keyspace), 0);
  const auto value = [](uint64_t i, int round) {
    return std::to_string(round) + std::string(50, 'v') + std::to_string(i);
  };
  for (int round = 0; round < 2; round++) {
    for (uint64_t i = 0; i < keys; i++) CHECK(put(keyspace, 0, key_text(i), value(i, round)));
    for (uint64_t i = 0; i < keys; i++) {
      if (i % 10 > 0) CHECK(erase(keyspace, 0, key_text(i)));
    }
    bool more = true;
    while (more) {
      more = false;
      for (uint32_t i = 0; i < keyspace.stripe_count(); i++) more = keyspace.maintain(i) || more;
      more = keyspace.purge_shared() || more;
    }
    StringScratch scratch;
    for (uint64_t i = 0; i < keys; i += 10) {
      const std::string text = key_text(i);
      const Key key = keyspace.key(text);
      Locked locked(keyspace.stripe_of(key.hash));
      const Entry* entry = keyspace.find(0, key);
      CHECK(entry && string_value(*entry, scratch) == value(i, round));
    }
  }
  keyspace.stop_ahead();
  pthread_join(ahead, nullptr);
}

}  // namespace
}  // namespace test
