// The checker of histories itself: what it accepts and what it does not.
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "linearizable.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

Operation single(int client, uint64_t called, uint64_t returned, Argv argv, std::string reply) {
  return {client, {std::move(argv)}, {std::move(reply)}, called, returned};
}

TEST(linearizable, one_behind_the_other) {
  std::vector<Operation> history = {
      single(0, 1, 2, {"SET", "a", "1"}, kOk),
      single(1, 3, 4, {"GET", "a"}, bulk("1")),
      single(0, 5, 6, {"INCR", "a"}, integer(2)),
      single(1, 7, 8, {"MGET", "a", "b"}, array({bulk("2"), kNil})),
      single(1, 9, 10, {"RENAME", "a", "b"}, kOk),
      single(1, 11, 12, {"RENAME", "a", "b"}, "-ERR no such key\r\n"),
      single(1, 13, 14, {"DEL", "a", "b"}, integer(1)),
  };
  CHECK(is_linearizable(history));
  CHECK(is_linearizable({}));
  // A read that is too old, though the write had returned.
  history[1].replies[0] = kNil;
  CHECK(!is_linearizable(history));
  CHECK(explain_history(history).find("client 1, 3 to 4: GET a = \"$-1\\r\\n\"") !=
        std::string::npos);
}

TEST(linearizable, overlapping_in_any_order) {
  // While a write is on its way a read may see it or not; but once seen it stays.
  const Operation write = single(0, 1, 10, {"SET", "a", "1"}, kOk);
  const auto read = [](uint64_t called, bool sees) {
    return single(1, called, called + 1, {"GET", "a"}, sees ? bulk("1") : kNil);
  };
  CHECK(is_linearizable({write, read(2, false), read(4, false), read(6, true)}));
  CHECK(is_linearizable({write, read(2, true), read(4, true), read(11, true)}));
  CHECK(!is_linearizable({write, read(2, true), read(4, false)}));
  CHECK(!is_linearizable({write, read(2, false), read(11, false)}));
}

TEST(linearizable, lost_update) {
  CHECK(is_linearizable(
      {single(0, 1, 5, {"INCR", "n"}, integer(2)), single(1, 2, 6, {"INCR", "n"}, integer(1))}));
  CHECK(!is_linearizable(
      {single(0, 1, 5, {"INCR", "n"}, integer(1)), single(1, 2, 6, {"INCR", "n"}, integer(1))}));
}

TEST(linearizable, half_an_mset) {
  const Operation write = single(0, 1, 9, {"MSET", "a", "1", "b", "1"}, kOk);
  const auto seen = [](uint64_t called, const std::string& a, const std::string& b) {
    return single(1, called, called + 1, {"MGET", "a", "b"}, array({a, b}));
  };
  CHECK(is_linearizable({write, seen(2, kNil, kNil), seen(4, bulk("1"), bulk("1"))}));
  CHECK(!is_linearizable({write, seen(2, bulk("1"), kNil)}));
  // Each read alone would be good.
  CHECK(!is_linearizable(
      {write, single(1, 2, 3, {"GET", "b"}, bulk("1")), single(1, 4, 5, {"GET", "a"}, kNil)}));
}

TEST(linearizable, half_a_transaction) {
  const Operation transfer = {0, {{"INCR", "a"}, {"INCR", "b"}}, {integer(1), integer(1)}, 1, 9};
  CHECK(is_linearizable({transfer, single(1, 2, 3, {"MGET", "a", "b"}, array({kNil, kNil}))}));
  CHECK(
      !is_linearizable({transfer, single(1, 2, 3, {"MGET", "a", "b"}, array({bulk("1"), kNil}))}));
  // Something came in between its commands.
  CHECK(!is_linearizable({{0, {{"GET", "a"}, {"GET", "a"}}, {kNil, bulk("x")}, 1, 9},
                          single(1, 2, 3, {"SET", "a", "x"}, kOk)}));
}

TEST(linearizable, two_names_at_once) {
  const Operation rename = single(0, 1, 9, {"RENAME", "a", "b"}, kOk);
  const ModelState initial = {{"a", "1"}};
  CHECK(is_linearizable({rename}, initial));
  CHECK(!is_linearizable({rename}));
  CHECK(!is_linearizable(
      {rename, single(1, 2, 3, {"MGET", "a", "b"}, array({bulk("1"), bulk("1")}))}, initial));
  CHECK(!is_linearizable({rename, single(1, 2, 3, {"MGET", "a", "b"}, array({kNil, kNil}))},
                         initial));
}

// Two that each have read what the other one writes then: no order has both reads first.
TEST(linearizable, write_skew) {
  const Operation one = {0, {{"GET", "a"}, {"SET", "b", "1"}}, {kNil, kOk}, 1, 5};
  Operation other = {1, {{"GET", "b"}, {"SET", "a", "1"}}, {kNil, kOk}, 2, 6};
  CHECK(!is_linearizable({one, other}));
  other.replies[0] = bulk("1");
  CHECK(is_linearizable({one, other}));
}

// ---- against all orders

Argv any_command(Random& random) {
  const std::string a(1, char('a' + random.below(2))), b(1, char('a' + random.below(2)));
  switch (random.below(6)) {
    case 0:
      return {"GET", a};
    case 1:
      return {"SET", a, std::to_string(random.below(2))};
    case 2:
      return {"INCR", a};
    case 3:
      return {"DEL", a};
    case 4:
      return {"RENAME", a, b};
    default:
      return {"MGET", "a", "b"};
  }
}

// A history as a server might have made it: each operation happens at a moment within its time.
std::vector<Operation> make_history(Random& random, size_t count) {
  std::vector<Operation> history(count);
  std::vector<uint64_t> times(3 * count);
  std::iota(times.begin(), times.end(), 1);
  for (size_t i = times.size(); i > 1; i--) std::swap(times[i - 1], times[random.below(i)]);
  std::vector<std::pair<uint64_t, size_t>> order;
  for (size_t i = 0; i < count; i++) {
    std::sort(times.begin() + ptrdiff_t(3 * i), times.begin() + ptrdiff_t(3 * i + 3));
    history[i].client = int(i);
    history[i].called = times[3 * i];
    history[i].returned = times[3 * i + 2];
    for (size_t k = 1 + random.below(2); k > 0; k--) {
      history[i].commands.push_back(any_command(random));
    }
    order.emplace_back(times[3 * i + 1], i);
  }
  std::sort(order.begin(), order.end());
  ModelState state;
  for (const auto& [at, i] : order) {
    for (const Argv& argv : history[i].commands) {
      history[i].replies.push_back(apply_to_model(state, argv));
    }
  }
  return history;
}

bool explained_by_some_order(const std::vector<Operation>& history) {
  std::vector<size_t> order(history.size());
  std::iota(order.begin(), order.end(), 0);
  do {
    bool good = true;
    ModelState state;
    for (size_t i = 0; i < order.size() && good; i++) {
      const Operation& operation = history[order[i]];
      for (size_t j = 0; j < i; j++) good = good && operation.returned > history[order[j]].called;
      for (size_t k = 0; k < operation.commands.size() && good; k++) {
        good = apply_to_model(state, operation.commands[k]) == operation.replies[k];
      }
    }
    if (good) return true;
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

TEST(linearizable, random_against_all_orders) {
  Random random(seed());
  size_t bad = 0;
  for (int round = 0; round < 3000; round++) {
    std::vector<Operation> history = make_history(random, 1 + random.below(6));
    CHECK(is_linearizable(history));
    // A reply of another one's.
    Operation& operation = history[random.below(history.size())];
    operation.replies[random.below(operation.replies.size())] =
        history[random.below(history.size())].replies[0];
    const bool expected = explained_by_some_order(history);
    CHECK_EQ(is_linearizable(history), expected);
    bad += !expected;
  }
  CHECK(bad > 300);
}

TEST(linearizable, long_histories) {
  Random random(seed());
  for (int round = 0; round < 20; round++) {
    // Ten at a time, over and over.
    std::vector<Operation> history;
    uint64_t base = 0;
    for (int part = 0; part < 10; part++) {
      for (Operation& operation : make_history(random, 10)) {
        operation.called += base;
        operation.returned += base;
        history.push_back(operation);
      }
      base += 1000;
    }
    // The parts each begin with nothing.
    for (size_t part = 1; part < 10; part++) {
      history.push_back(
          {0, {{"DEL", "a"}, {"DEL", "b"}}, {"", ""}, part * 1000 - 2, part * 1000 - 1});
    }
    for (Operation& operation : history) {
      if (!operation.replies[0].empty()) continue;
      // What is deleted depends on what the part has left.
      operation.commands = {{"SET", "a", "x"}, {"SET", "b", "x"}, {"DEL", "a", "b"}};
      operation.replies = {kOk, kOk, integer(2)};
    }
    CHECK(is_linearizable(history));
  }
}

}  // namespace
}  // namespace test
