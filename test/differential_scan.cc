// Whole walks by SCAN, KEYS and RANDOMKEY, by ignix and redis-server: what they find is the same
// set.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "client.h"
#include "differential.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

using Keys = std::set<std::string>;

std::string some_pattern(Random& random, const std::vector<std::string>& keys) {
  static const char* const kPieces[] = {"*",  "?",    "[a-k]", "[^k]", "k",    "1",  "[",
                                        "**", "[9-0", "\\*",   "\\",   "[]a]", "-]", "[^\\]]"};
  if (random.one_in(6)) return random.pick_from(keys);
  std::string pattern = random.one_in(2) ? "k" : "";
  for (size_t i = random.below(5); i > 0; i--) pattern += random.pick(kPieces);
  return pattern;
}

Argv some_options(Random& random, const std::vector<std::string>& keys) {
  Argv options;
  if (random.one_in(2)) {
    options.insert(options.end(),
                   {"COUNT", std::to_string(1 + random.below(random.one_in(3) ? 5000 : 30))});
  }
  if (random.one_in(2)) options.insert(options.end(), {"MATCH", some_pattern(random, keys)});
  if (random.one_in(3)) {
    static const char* const kTypes[] = {"string", "String", "list", "nosuch"};
    options.insert(options.end(), {"TYPE", random.pick(kTypes)});
  }
  return options;
}

// All that a walk finds, repetitions included.
std::vector<std::string> walk(Client& client, const Argv& options) {
  std::vector<std::string> found;
  std::string cursor = "0";
  size_t steps = 0;
  do {
    Argv argv = {"SCAN", cursor};
    argv.insert(argv.end(), options.begin(), options.end());
    const std::vector<std::string> parts = elements_of(client.command(argv));
    CHECK_EQ(parts.size(), 2);
    cursor = text_of(parts[0]);
    for (const std::string& key : elements_of(parts[1])) found.push_back(text_of(key));
    CHECK(++steps < 100'000);
  } while (cursor != "0");
  return found;
}

Keys set_of(const std::vector<std::string>& keys) { return {keys.begin(), keys.end()}; }

// Some keys, of which some have an expiry, some of those in the past.
void fill(Client& ignix, Client& redis, Random& random, const std::vector<std::string>& keys) {
  std::string bytes = encode({"FLUSHALL"});
  size_t replies = 1;
  for (size_t left = random.below(random.one_in(3) ? 10 : keys.size()); left > 0; left--) {
    Argv argv = {"SET", random.pick_from(keys), "value"};
    if (random.one_in(6))
      argv.insert(argv.end(), {"PXAT", random.one_in(2) ? "1" : "9800000000000"});
    append_encoded(argv, &bytes);
    replies++;
  }
  CHECK(ignix.send(bytes));
  CHECK(redis.send(bytes));
  for (; replies > 0; replies--) CHECK_EQ(ignix.read_reply(), redis.read_reply());
}

TEST(differential, walks) {
  need_redis();
  Random random(seed());
  Server ignix({.program = Program::kIgnix});
  Server redis({.program = Program::kRedis});
  ignix.start();
  redis.start();
  Client ours(ignix), theirs(redis);
  std::vector<std::string> keys = make_keys(random);
  while (keys.size() < 3'000) keys.push_back("k" + random.letters(1 + random.below(8)));
  for (int round = 0; round < 60; round++) {
    fill(ours, theirs, random, keys);
    for (int i = 0; i < 8; i++) {
      const Argv options = some_options(random, keys);
      const std::vector<std::string> found = walk(ours, options);
      const Keys set = set_of(found);
      CHECK_EQ(found.size(), set.size());  // nothing changes: each comes once
      CHECK(set == set_of(walk(theirs, options)));
    }
    for (int i = 0; i < 8; i++) {
      const std::string pattern = random.one_in(4) ? "*" : some_pattern(random, keys);
      std::vector<std::string> a = elements_of(ours.command({"KEYS", pattern}));
      std::vector<std::string> b = elements_of(theirs.command({"KEYS", pattern}));
      std::sort(a.begin(), a.end());
      std::sort(b.begin(), b.end());
      if (a != b) FAIL("KEYS " + quote(pattern) + " differs, " + how_to_repeat());
    }
    for (int i = 0; i < 20; i++) {
      const std::string a = ours.command({"RANDOMKEY"}), b = theirs.command({"RANDOMKEY"});
      CHECK_EQ(a == kNil, b == kNil);
      if (a != kNil) CHECK_EQ(theirs.command({"EXISTS", text_of(a)}), integer(1));
    }
  }
}

}  // namespace
}  // namespace test
