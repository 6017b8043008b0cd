// The representation of HyperLogLogs against plain arrays of ranks, and damaged ones.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "random.h"
#include "runner.h"
#include "store/hyperloglog.h"

namespace test {
namespace {

using ignix::hll::Draft;
using ignix::hll::kRegisters;
using ignix::hll::Mark;
using ignix::hll::mark_of;
using State = Draft::State;
using Ranks = std::vector<uint8_t>;

constexpr uint64_t kAlwaysSparse = UINT64_MAX, kRedisDefault = 3000;

Ranks ranks_of(std::string_view bytes) {
  Ranks ranks(kRegisters, 0);
  CHECK(ignix::hll::unite(bytes, ranks.data()));
  return ranks;
}

uint64_t estimate_of(std::string_view bytes) {
  uint64_t cardinality = 0;
  CHECK(ignix::hll::estimate(bytes, cardinality));
  return cardinality;
}

void raise(Ranks& ranks, Mark mark) {
  if (mark.rank > ranks[mark.index]) ranks[mark.index] = mark.rank;
}

// Ranks that are rare in elements, too.
Mark any_mark(Random& random) {
  const uint64_t rank = 1 + random.below(random.one_in(4) ? 51 : 3);
  return {uint32_t(random.below(random.one_in(2) ? 200 : kRegisters)), uint8_t(rank)};
}

// As a Redis 7.0.15 has made them.
TEST(hyperloglog, known_bytes) {
  Draft draft(kRedisDefault);
  CHECK(draft.make_empty() == State::kGood);
  CHECK_EQ(draft.bytes(), std::string_view("HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x7f\xff", 18));
  uint64_t cardinality = 1;
  CHECK(ignix::hll::stored_estimate(draft.bytes(), cardinality));
  CHECK_EQ(cardinality, 0);
  for (const char* element : {"x", "y", "z"}) {
    CHECK(draft.raise(mark_of(element)) == State::kGood);
  }
  CHECK(!ignix::hll::stored_estimate(draft.bytes(), cardinality));
  CHECK_EQ(draft.bytes(), std::string_view("HYLL\1\0\0\0\0\0\0\0\0\0\0\x80"
                                           "\x61\x84\x80\x58\xcd\x88\x45\xa0\x84\x08",
                                           26));
  CHECK_EQ(estimate_of(draft.bytes()), 3);
}

TEST(hyperloglog, sparse_and_dense_agree) {
  Random random(seed());
  for (int round = 0; round < 60; round++) {
    Draft sparse(kAlwaysSparse), dense(kAlwaysSparse), as_redis(kRedisDefault);
    for (Draft* draft : {&sparse, &dense, &as_redis}) CHECK(draft->make_empty() == State::kGood);
    CHECK(dense.make_dense() == State::kGood);
    Ranks expected(kRegisters, 0);
    const size_t marks = random.below(random.one_in(4) ? 4000 : 300);
    for (size_t i = 0; i < marks; i++) {
      Mark mark = any_mark(random);
      if (random.one_in(2)) mark = mark_of(std::to_string(random.below(5000)));
      if (mark.rank > 32 && !random.one_in(50)) mark.rank = 32;
      const bool known = expected[mark.index] >= mark.rank;
      raise(expected, mark);
      for (Draft* draft : {&sparse, &dense, &as_redis}) {
        CHECK_EQ(ignix::hll::contains(draft->bytes(), mark), known);
        CHECK(draft->raise(mark) == State::kGood);
        CHECK(ignix::hll::contains(draft->bytes(), mark));
      }
      CHECK(ignix::hll::is_dense(as_redis.bytes()) || as_redis.bytes().size() <= kRedisDefault);
    }
    for (Draft* draft : {&sparse, &dense, &as_redis}) {
      CHECK(ignix::hll::has_form(draft->bytes()));
      CHECK(ranks_of(draft->bytes()) == expected);
      CHECK_EQ(estimate_of(draft->bytes()), ignix::hll::estimate(expected.data()));
    }
    CHECK(sparse.make_dense() == State::kGood);
    CHECK_EQ(sparse.bytes().substr(ignix::hll::kHeaderBytes),
             dense.bytes().substr(ignix::hll::kHeaderBytes));
  }
}

// A draft remembers where it was; what it makes of the bytes does not depend on that.
TEST(hyperloglog, ascending_marks_make_the_same_bytes) {
  Random random(seed());
  for (int round = 0; round < 100; round++) {
    Draft draft(kAlwaysSparse);
    CHECK(draft.make_empty() == State::kGood);
    for (int pass = 0; pass < 4; pass++) {
      uint32_t index = 0;
      while ((index += uint32_t(random.below(random.one_in(3) ? 400 : 4))) < kRegisters) {
        const Mark mark = {index, uint8_t(1 + random.below(3))};
        Draft other(kAlwaysSparse);
        CHECK(other.copy(draft.bytes()) == State::kGood);
        CHECK(other.raise(mark) == State::kGood);
        CHECK(draft.raise(mark) == State::kGood);
        CHECK_EQ(draft.bytes(), other.bytes());
      }
    }
  }
}

// The standard error is 1.04 / sqrt(16384), 0.8 %; of few elements two may share a register.
TEST(hyperloglog, error_of_the_estimate) {
  for (uint64_t count : {0, 1, 2, 10, 100, 1000, 10'000, 30'000, 50'000, 100'000, 1'000'000}) {
    Random random(seed() + count);
    Draft draft(kRedisDefault);
    CHECK(draft.make_empty() == State::kGood);
    for (uint64_t i = 0; i < count; i++) {
      CHECK(draft.raise(mark_of(std::to_string(random.next()))) == State::kGood);
    }
    const double error = std::abs(double(estimate_of(draft.bytes())) - double(count));
    CHECK(error <= 0.045 * double(count) + 2);
  }
}

TEST(hyperloglog, merge_is_union) {
  Random random(seed());
  for (int round = 0; round < 20; round++) {
    Draft parts[3] = {Draft(kRedisDefault), Draft(kRedisDefault), Draft(kRedisDefault)};
    Draft whole(kRedisDefault);
    CHECK(whole.make_empty() == State::kGood);
    Ranks merged(kRegisters, 0);
    for (Draft& part : parts) {
      CHECK(part.make_empty() == State::kGood);
      const uint64_t elements = random.below(random.one_in(2) ? 100 : 10'000);
      for (uint64_t i = 0; i < elements; i++) {
        const Mark mark = mark_of("element " + std::to_string(random.below(20'000)));
        CHECK(part.raise(mark) == State::kGood);
        CHECK(whole.raise(mark) == State::kGood);
      }
      CHECK(ignix::hll::unite(part.bytes(), merged.data()));
    }
    CHECK(merged == ranks_of(whole.bytes()));
    CHECK_EQ(ignix::hll::estimate(merged.data()), estimate_of(whole.bytes()));
  }
}

// In memory of exactly that length, so that a sanitizer sees what goes beyond.
class Exact {
 public:
  explicit Exact(std::string_view bytes)
      : size_(bytes.size()), data_(static_cast<char*>(malloc(size_ + !size_))) {
    if (size_) memcpy(data_, bytes.data(), size_);
  }
  ~Exact() { free(data_); }
  Exact(const Exact&) = delete;
  char* data() { return data_; }
  std::string_view view() const { return {data_, size_}; }

 private:
  const size_t size_;
  char* const data_;
};

std::string damaged(Random& random, std::string bytes) {
  switch (random.below(6)) {
    case 0:
      bytes.resize(random.below(bytes.size() + 1));
      break;
    case 1:
      bytes += random.bytes(1 + random.below(5));
      break;
    case 2:
      bytes = bytes.substr(0, ignix::hll::kHeaderBytes) + random.bytes(random.below(300));
      break;
    case 3:
      bytes.resize(ignix::hll::kDenseBytes, random.one_in(2) ? '\xff' : '\0');
      bytes[4] = 0;
      break;
    default:
      break;
  }
  for (uint64_t i = random.below(4); i > 0 && !bytes.empty(); i--) {
    bytes[random.below(random.one_in(3) ? std::min<size_t>(bytes.size(), 20) : bytes.size())] =
        char(random.next());
  }
  return bytes;
}

// Whether the last run, of two bytes, has lost the second: what replaces it loses a byte as well.
bool is_cut_off(std::string_view bytes) {
  size_t at = ignix::hll::kHeaderBytes;
  while (at < bytes.size()) at += (uint8_t(bytes[at]) & 0xc0) == 0x40 ? 2 : 1;
  return at > bytes.size() && !ignix::hll::is_dense(bytes);
}

void use(Random& random, const Exact& bytes) {
  uint64_t cardinality;
  Ranks ranks(kRegisters, 0);
  ignix::hll::stored_estimate(bytes.view(), cardinality);
  const bool good = ignix::hll::estimate(bytes.view(), cardinality);
  CHECK_EQ(ignix::hll::unite(bytes.view(), ranks.data()), good);
  const bool whole = good && !is_cut_off(bytes.view());
  ignix::hll::estimate(ranks.data());
  Draft draft(random.one_in(2) ? kRedisDefault : bytes.view().size() + 2);
  CHECK(draft.copy(bytes.view()) == State::kGood);
  for (int i = 0; i < 30; i++) {
    const Mark mark = any_mark(random);
    const bool known = ignix::hll::contains(draft.bytes(), mark);
    const std::string before(draft.bytes());
    const State state = draft.raise(mark);
    if (known || state == State::kDamaged) CHECK_EQ(draft.bytes(), before);
    if (known || whole) CHECK(state == State::kGood);
    if (whole) raise(ranks, mark);
  }
  if (whole) CHECK(ranks_of(draft.bytes()) == ranks);
  CHECK_EQ(draft.make_dense() == State::kGood,
           ignix::hll::is_dense(draft.bytes()) || ignix::hll::estimate(draft.bytes(), cardinality));
}

TEST(hyperloglog, damaged_bytes) {
  Random random(seed());
  const int rounds = 20'000 / slowness();
  int used = 0;
  for (int round = 0; round < rounds; round++) {
    Draft draft(kRedisDefault);
    CHECK(draft.make_empty() == State::kGood);
    const uint64_t marks = random.below(random.one_in(20) ? 3000 : 40);
    for (uint64_t i = 0; i < marks; i++) CHECK(draft.raise(any_mark(random)) == State::kGood);
    Exact bytes(damaged(random, std::string(draft.bytes())));
    if (!ignix::hll::has_form(bytes.view())) continue;
    use(random, bytes);
    used++;
    if (!ignix::hll::is_dense(bytes.view())) continue;
    for (int i = 0; i < 30; i++) ignix::hll::raise_dense(bytes.data(), any_mark(random));
    ignix::hll::raise_dense(bytes.data(), {kRegisters - 1, 51});
  }
  CHECK(used > rounds / 3);
}

}  // namespace
}  // namespace test
