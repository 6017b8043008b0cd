// Walks over a database that changes meanwhile, and samples of its keys.
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "random.h"
#include "runner.h"
#include "store/sample.h"
#include "store/scan.h"
#include "store/string.h"

namespace test {
namespace {

using ignix::Entry;
using ignix::Key;
using ignix::Keyspace;
using ignix::kNoExpiry;
using ignix::ScanCursor;

void put(Keyspace& keyspace, int db, const std::string& text) {
  ignix::StringScratch scratch;
  ignix::StoredValue stored;
  CHECK(ignix::encode_string("v", keyspace.blocks(), scratch, stored));
  CHECK(keyspace.put(db, keyspace.key(text), stored, kNoExpiry, 0));
}

std::string key_text(uint64_t number) { return "key:" + std::to_string(number); }

// Keys of one database that come and go; those below `kept` stay.
struct Model {
  Keyspace keyspace;
  std::set<uint64_t> there;
  std::set<uint64_t> always;  // since the walk began
  uint64_t kept = 0;

  Model() { CHECK(keyspace.open(2, 1)); }
  void add(uint64_t number) {
    put(keyspace, 0, key_text(number));
    there.insert(number);
  }
  void remove(uint64_t number) {
    if (number < kept) return;
    always.erase(number);
    CHECK_EQ(keyspace.erase(0, keyspace.key(key_text(number))), there.erase(number) > 0);
  }
  void shrink_to(size_t count) {
    while (there.size() > count && *there.rbegin() >= kept) remove(*there.rbegin());
  }
  void flush() {
    keyspace.flush(0);
    there.clear();
    always.clear();
  }
  size_t buckets() {
    size_t sum = 0;
    for (uint32_t i = 0; i < keyspace.stripe_count(); i++) sum += keyspace.table_of(0, i).buckets();
    return sum;
  }
};

// Something happens between two steps: keys come one by one or by the thousand, go one by one or
// nearly all, and memory is tidied.
void happen(Model& model, Random& random) {
  if (random.one_in(2)) return;
  if (random.one_in(60)) {
    for (uint64_t i = random.below(20'000); i > 0; i--) model.add(random.below(60'000));
  } else if (random.one_in(60)) {
    model.shrink_to(random.below(model.there.size() + 1));
  } else if (random.one_in(2'000)) {
    model.flush();
  } else if (random.one_in(10)) {
    model.keyspace.maintain(uint32_t(random.below(model.keyspace.stripe_count())));
  } else {
    for (uint64_t i = random.below(20); i > 0; i--) {
      random.one_in(2) ? model.add(random.below(60'000)) : model.remove(random.below(60'000));
    }
  }
}

// One walk, in the midst of which, whatever else happens, the table grows to many keys or shrinks
// to few. What was there from its beginning to its end has been visited once. Returns the number of
// buckets after that change.
size_t walk(Model& model, Random& random, bool grows) {
  model.kept = random.one_in(3) ? 0 : random.below(500);
  for (uint64_t i = 0; i < model.kept; i++) model.add(i);
  std::map<std::string, int> visits;
  model.always = model.there;
  uint64_t number = 0, steps = 0;
  size_t buckets = 0;
  do {
    ScanCursor cursor = ScanCursor::from_number(number);
    ignix::scan_step(model.keyspace, 0, cursor,
                     [&](Entry& entry) { visits[std::string(entry.key())]++; });
    const uint64_t before = number;
    number = cursor.number(model.keyspace);
    CHECK(number == 0 || number > before);
    if (steps == 0 && grows) {
      for (uint64_t i = 0; i < 20'000; i++) model.add(random.below(60'000));
    } else if (steps == 0) {
      model.shrink_to(random.below(300));
    } else {
      happen(model, random);
    }
    if (steps == 0) buckets = model.buckets();
    CHECK(++steps < 10'000'000);
  } while (number != 0);
  for (uint64_t key : model.always) CHECK_EQ(visits[key_text(key)], 1);
  return buckets;
}

TEST_LONG(scan, meets_every_key_that_stays_once) {
  Random random(seed());
  Model model;
  size_t most = 0, least = SIZE_MAX;
  const int rounds = slowness() > 1 ? 8 : 30;
  for (int i = 0; i < rounds; i++) {
    const bool grows = i % 2 == 0;
    if (grows) model.shrink_to(random.below(300));
    least = std::min(least, model.buckets());
    most = std::max(most, walk(model, random, grows));
    progress("%d of %d", i, rounds);
  }
  CHECK(most > 4 * least);
}

// Flushed, swapped, or both amid a walk: the keys that are in the database all the time are
// visited.
TEST(scan, goes_on_after_flushes_and_swaps) {
  Keyspace keyspace;
  CHECK(keyspace.open(2, 1));
  std::set<std::string> in_both;
  for (uint64_t i = 0; i < 5'000; i++) {
    put(keyspace, 0, key_text(i));
    if (i % 7 == 0) {
      put(keyspace, 1, key_text(i));
      in_both.insert(key_text(i));
    }
  }
  std::set<std::string> visited;
  ScanCursor cursor;
  for (int step = 0; !cursor.at_end(keyspace); step++) {
    ignix::scan_step(keyspace, 0, cursor,
                     [&](Entry& entry) { visited.insert(std::string(entry.key())); });
    if (step % 5 == 0) keyspace.swap(0, 1, 0);
  }
  for (const std::string& key : in_both) CHECK(visited.contains(key));
  cursor = {};
  for (int step = 0; !cursor.at_end(keyspace); step++) {
    ignix::scan_step(keyspace, 0, cursor, [&](Entry&) { CHECK(step <= 10); });
    if (step == 10) keyspace.flush(0);
  }
}

// A walk that starts with any number ends, and does no harm.
TEST(scan, any_number_is_a_cursor) {
  Random random(seed());
  Model model;
  for (uint64_t i = 0; i < 20'000; i++) model.add(i);
  for (int i = 0; i < 2'000; i++) {
    ScanCursor cursor = ScanCursor::from_number(random.next() >> random.below(64));
    for (int step = 0; step < 50 && !cursor.at_end(model.keyspace); step++) {
      ignix::scan_step(model.keyspace, 0, cursor, [&](Entry& entry) {
        CHECK(model.keyspace.find(0, model.keyspace.key(entry.key())) == &entry);
      });
    }
  }
  CHECK(ScanCursor::from_number(UINT64_MAX).at_end(model.keyspace));
  CHECK_EQ(ScanCursor::from_number(UINT64_MAX).number(model.keyspace), 0);
}

// ---- samples ----

// Pearson's statistic of `draws` draws with equal chances, as a distance from its mean in standard
// deviations.
double chi_square_distance(const std::map<std::string, int>& counts, size_t keys, int draws) {
  const double expected = double(draws) / double(keys);
  double sum = double(keys - counts.size()) * expected;
  for (const auto& [key, count] : counts) {
    sum += (count - expected) * (count - expected) / expected;
  }
  const double freedom = double(keys - 1);
  return (sum - freedom) / std::sqrt(2 * freedom);
}

// Tables of many sizes, most of them between two doublings.
TEST(sample, draws_are_even) {
  ignix::RandomNumbers numbers(seed());
  for (size_t keys : {30u, 200u, 1'000u, 7'000u, 20'000u}) {
    Keyspace keyspace;
    CHECK(keyspace.open(1, 1));
    for (uint64_t i = 0; i < keys; i++) put(keyspace, 0, key_text(i));
    std::map<std::string, int> counts;
    const int wanted = int(keys) * 12;
    int draws = 0, found = 0;
    for (; found < wanted; draws++) {
      const ignix::Draw draw = ignix::draw_bucket(keyspace, 0, numbers);
      const Entry* entry = ignix::draw_entry(keyspace, 0, draw, numbers);
      if (!entry) continue;
      found++;
      counts[std::string(entry->key())]++;
    }
    // Eight deviations: a chance of less than 1 in 10 million.
    CHECK(std::fabs(chi_square_distance(counts, keys, wanted)) < 8);
    CHECK(draws < 400 * found);
    if (keys >= 1'000) CHECK(draws < 20 * found);
  }
}

TEST(sample, every_rank_is_another_key) {
  Model model;
  for (size_t keys : {1u, 50u, 3'000u}) {
    for (uint64_t i = model.there.size(); i < keys; i++) model.add(i);
    std::set<std::string> found;
    for (uint32_t stripe = 0; stripe < model.keyspace.stripe_count(); stripe++) {
      const uint64_t count = model.keyspace.key_count(0, stripe);
      for (uint64_t wanted = 0; wanted <= count; wanted++) {
        uint64_t rank = wanted;
        const Entry* entry = nullptr;
        for (uint32_t bucket = 0, before = UINT32_MAX; !entry && before != bucket;) {
          before = bucket;
          entry = ignix::find_ranked(model.keyspace, 0, stripe, bucket, rank);
        }
        CHECK_EQ(entry != nullptr, wanted < count);
        if (entry) CHECK(found.insert(std::string(entry->key())).second);
      }
    }
    CHECK_EQ(found.size(), keys);
  }
}

}  // namespace
}  // namespace test
