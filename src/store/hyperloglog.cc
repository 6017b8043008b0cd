#include "store/hyperloglog.h"

#include <bit>
#include <cmath>

namespace ignix::hll {
namespace {

constexpr std::string_view kMagic = "HYLL";
constexpr size_t kEncodingOffset = 4;
constexpr char kDense = 0, kSparse = 1;
constexpr uint8_t kOutdatedBit = 0x80;  // of the stored estimate's last byte

constexpr unsigned kIndexBits = 14, kRankBits = 6;
constexpr unsigned kRankMax = 64 - kIndexBits + 1;  // that an element has
constexpr size_t kRankValues = 1 << kRankBits;      // that a damaged dense register may have
constexpr uint8_t kRankMask = kRankValues - 1;

constexpr uint32_t kZerosMax = 64, kLongZerosMax = 1 << 14, kValuesMax = 4;
constexpr uint8_t kSparseRankMax = 32;
constexpr uint8_t kValueBit = 0x80, kLongZerosBit = 0x40;
constexpr size_t kRunsBytesMax = 5;  // that take one run's place: long zeros, a value, long zeros
constexpr int kJoinSteps = 5;        // runs that are looked at, to be joined, after a change

const uint8_t* unsigned_bytes(std::string_view bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

// ---- the hash: MurmurHash64A (Austin Appleby, 2008, public domain) ----

constexpr uint64_t kHashSeed = 0xadc83b19, kHashFactor = 0xc6a4a7935bd1e995;
constexpr int kHashShift = 47;

uint64_t mix(uint64_t x) {
  x *= kHashFactor;
  return (x ^ x >> kHashShift) * kHashFactor;
}

uint64_t murmur_hash(std::string_view text) {
  uint64_t hash = kHashSeed ^ text.size() * kHashFactor;
  size_t at = 0;
  for (; text.size() - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
    uint64_t part;
    memcpy(&part, text.data() + at, sizeof part);
    hash = (hash ^ mix(part)) * kHashFactor;
  }
  if (at < text.size()) {
    uint64_t rest = 0;
    memcpy(&rest, text.data() + at, text.size() - at);
    hash = (hash ^ rest) * kHashFactor;
  }
  hash = (hash ^ hash >> kHashShift) * kHashFactor;
  return hash ^ hash >> kHashShift;
}

// ---- dense registers: four of them are three bytes ----

uint32_t load_four(const uint8_t* group) {
  return group[0] | uint32_t(group[1]) << 8 | uint32_t(group[2]) << 16;
}

unsigned shift_of(uint32_t index) { return kRankBits * (index % 4); }

uint8_t dense_rank(const uint8_t* registers, uint32_t index) {
  return load_four(registers + index / 4 * 3) >> shift_of(index) & kRankMask;
}

void set_dense_rank(uint8_t* registers, uint32_t index, uint8_t rank) {
  uint8_t* group = registers + index / 4 * 3;
  const uint32_t mask = uint32_t(kRankMask) << shift_of(index);
  const uint32_t four = (load_four(group) & ~mask) | uint32_t(rank) << shift_of(index);
  group[0] = uint8_t(four);
  group[1] = uint8_t(four >> 8);
  group[2] = uint8_t(four >> 16);
}

// fn(index, rank) for each register, in order.
template <typename Fn>
void for_each_dense(const uint8_t* registers, Fn fn) {
  for (uint32_t i = 0; i < kRegisters; i += 4, registers += 3) {
    const uint32_t four = load_four(registers);
    for (uint32_t k = 0; k < 4; k++) fn(i + k, uint8_t(four >> shift_of(k) & kRankMask));
  }
}

// ---- sparse registers ----

struct Run {
  uint32_t count;
  uint8_t rank;
  uint8_t bytes;
};

// If the second byte of long zeros is cut off at the end, it counts as 0: in Redis a zero byte
// stands behind a string. They are two bytes nevertheless.
Run run_at(std::string_view bytes, size_t at) {
  const uint8_t first = uint8_t(bytes[at]);
  const uint32_t rest = first & (kLongZerosBit - 1);
  if (first & kValueBit) return {(first & 3u) + 1, uint8_t((first >> 2 & 31) + 1), 1};
  if (!(first & kLongZerosBit)) return {rest + 1, 0, 1};
  const uint8_t second = at + 1 < bytes.size() ? uint8_t(bytes[at + 1]) : 0;
  return {(rest << 8 | second) + 1, 0, 2};
}

// Appends a run, or nothing if it has no registers, to `out`; returns its end.
uint8_t* put_run(uint8_t* out, uint32_t count, uint8_t rank) {
  if (count == 0) return out;
  const uint32_t n = count - 1;
  if (rank > 0) {
    *out++ = uint8_t(kValueBit | (rank - 1) << 2 | n);
  } else if (count <= kZerosMax) {
    *out++ = uint8_t(n);
  } else {
    *out++ = uint8_t(kLongZerosBit | n >> 8);
    *out++ = uint8_t(n);
  }
  return out;
}

// fn(index, run) for each run, in order, all of it within the registers. False if the runs do not
// make up all registers and no more; then the last ones were not told.
template <typename Fn>
bool for_each_run(std::string_view bytes, Fn fn) {
  uint32_t index = 0;
  for (size_t at = kHeaderBytes; at < bytes.size();) {
    const Run run = run_at(bytes, at);
    if (run.count > kRegisters - index) return false;
    fn(index, run);
    index += run.count;
    at += run.bytes;
  }
  return index == kRegisters;
}

// ---- the estimate ----
//
// From how many registers have which rank. Otmar Ertl, "New cardinality estimation algorithms for
// HyperLogLog sketches", 2017, algorithm 6; sigma and tau are those of its equations 14 and 20. No
// thresholds, no tables of corrections. The operations stand in an order that gives the same
// rounding, and so the same integer, as Redis's.

constexpr double kAlphaInfinity = 0.721347520444481703680;  // 1 / (2 ln 2)

// x + x^2 + 2 x^4 + 4 x^8 + ...
double sigma(double x) {
  if (x == 1) return INFINITY;
  double sum = x, factor = 1, before;
  do {
    x *= x;
    before = sum;
    sum += x * factor;
    factor += factor;
  } while (sum != before);
  return sum;
}

// (1 - x - (1 - x^(1/2))^2 / 2 - (1 - x^(1/4))^2 / 4 - ...) / 3
double tau(double x) {
  if (x == 0 || x == 1) return 0;
  double sum = 1 - x, factor = 1, before;
  do {
    x = std::sqrt(x);
    before = sum;
    factor *= 0.5;
    sum -= (1 - x) * (1 - x) * factor;
  } while (sum != before);
  return sum / 3;
}

// Ranks beyond the highest that an element has are left out: they come from damage only.
uint64_t estimate_of(const uint32_t histogram[kRankValues]) {
  const double m = kRegisters;
  double z = m * tau((m - histogram[kRankMax]) / m);
  for (unsigned rank = kRankMax - 1; rank >= 1; rank--) {
    z += histogram[rank];
    z *= 0.5;
  }
  z += m * sigma(histogram[0] / m);
  return uint64_t(llroundl(kAlphaInfinity * m * m / z));
}

}  // namespace

Mark mark_of(std::string_view element) {
  const uint64_t hash = murmur_hash(element);
  const uint64_t rest = hash >> kIndexBits | 1ULL << (64 - kIndexBits);  // so that one bit is set
  return {uint32_t(hash & (kRegisters - 1)), uint8_t(std::countr_zero(rest) + 1)};
}

bool has_form(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kMagic)) return false;
  const char encoding = bytes[kEncodingOffset];
  return encoding == kSparse || (encoding == kDense && bytes.size() == kDenseBytes);
}

bool is_dense(std::string_view bytes) { return bytes[kEncodingOffset] == kDense; }

bool stored_estimate(std::string_view bytes, uint64_t& cardinality) {
  if (uint8_t(bytes[kHeaderBytes - 1]) & kOutdatedBit) return false;
  memcpy(&cardinality, bytes.data() + kCardinalityOffset, sizeof cardinality);
  return true;
}

void format_estimate(uint64_t cardinality, char out[kCardinalityBytes]) {
  memcpy(out, &cardinality, sizeof cardinality);
}

void outdate_estimate(char* bytes) {
  bytes[kHeaderBytes - 1] = char(uint8_t(bytes[kHeaderBytes - 1]) | kOutdatedBit);
}

bool estimate(std::string_view bytes, uint64_t& cardinality) {
  uint32_t histogram[kRankValues] = {};
  if (is_dense(bytes)) {
    for_each_dense(unsigned_bytes(bytes) + kHeaderBytes,
                   [&](uint32_t, uint8_t rank) { histogram[rank]++; });
  } else if (!for_each_run(bytes, [&](uint32_t, Run run) { histogram[run.rank] += run.count; })) {
    return false;
  }
  cardinality = estimate_of(histogram);
  return true;
}

uint64_t estimate(const uint8_t ranks[kRegisters]) {
  uint32_t histogram[kRankValues] = {};
  for (uint32_t i = 0; i < kRegisters; i++) histogram[ranks[i]]++;
  return estimate_of(histogram);
}

bool unite(std::string_view bytes, uint8_t ranks[kRegisters]) {
  const auto raise = [ranks](uint32_t index, uint8_t rank) {
    if (rank > ranks[index]) ranks[index] = rank;
  };
  if (is_dense(bytes)) {
    for_each_dense(unsigned_bytes(bytes) + kHeaderBytes, raise);
    return true;
  }
  return for_each_run(bytes, [raise](uint32_t index, Run run) {
    for (uint32_t i = 0; run.rank > 0 && i < run.count; i++) raise(index + i, run.rank);
  });
}

bool contains(std::string_view bytes, Mark mark) {
  if (is_dense(bytes)) {
    return dense_rank(unsigned_bytes(bytes) + kHeaderBytes, mark.index) >= mark.rank;
  }
  uint32_t index = 0;
  for (size_t at = kHeaderBytes; at < bytes.size();) {
    const Run run = run_at(bytes, at);
    index += run.count;
    if (mark.index < index) return run.rank >= mark.rank;
    at += run.bytes;
  }
  return false;
}

bool raise_dense(char* bytes, Mark mark) {
  uint8_t* const registers = reinterpret_cast<uint8_t*>(bytes) + kHeaderBytes;
  if (dense_rank(registers, mark.index) >= mark.rank) return false;
  set_dense_rank(registers, mark.index, mark.rank);
  outdate_estimate(bytes);
  return true;
}

// ---- drafts ----

Draft::State Draft::make_empty() {
  uint8_t bytes[kHeaderBytes + 2] = {};
  memcpy(bytes, kMagic.data(), kMagic.size());
  bytes[kEncodingOffset] = kSparse;
  put_run(bytes + kHeaderBytes, kLongZerosMax, 0);
  return copy({reinterpret_cast<const char*>(bytes), sizeof bytes});
}

Draft::State Draft::copy(std::string_view bytes) {
  buffer_.clear();
  hint_ = {};
  const bool done = buffer_.append(bytes) && buffer_.append({"", 1});
  return done ? State::kGood : State::kNoMemory;
}

Draft::State Draft::make_dense() {
  if (is_dense(bytes())) return State::kGood;
  Buffer dense;
  if (!dense.reserve(kDenseBytes + 1)) return State::kNoMemory;
  memcpy(dense.room(), buffer_.data(), kHeaderBytes);
  memset(dense.room() + kHeaderBytes, 0, kDenseBytes + 1 - kHeaderBytes);
  dense.commit(kDenseBytes + 1);
  dense.data()[kEncodingOffset] = kDense;
  uint8_t* const registers = reinterpret_cast<uint8_t*>(dense.data()) + kHeaderBytes;
  const bool whole = for_each_run(bytes(), [registers](uint32_t index, Run run) {
    for (uint32_t i = 0; run.rank > 0 && i < run.count; i++) {
      set_dense_rank(registers, index + i, run.rank);
    }
  });
  if (!whole) return State::kDamaged;
  buffer_.swap(dense);
  return State::kGood;
}

// The run with that register; false if there is none.
bool Draft::find(uint32_t index, Spot& spot) {
  const size_t size = bytes().size();
  spot = index >= hint_.first ? hint_ : Spot{};
  Spot previous;
  while (spot.at < size) {
    const Run run = run_at(with_zero(), spot.at);
    if (index < spot.first + run.count) {
      hint_ = previous;
      return true;
    }
    previous = spot;
    spot = {spot.at + run.bytes, spot.first + run.count, spot.at};
  }
  return false;
}

// The run of the register is cut into those before it, itself, those behind it.
Draft::State Draft::raise(Mark mark) {
  if (is_dense(bytes())) {
    raised_ += raise_dense(buffer_.data(), mark);
    return State::kGood;
  }
  Spot spot;
  if (!find(mark.index, spot)) return State::kDamaged;
  const Run run = run_at(with_zero(), spot.at);
  if (run.rank >= mark.rank) return State::kGood;
  uint8_t runs[kRunsBytesMax];
  size_t runs_bytes = 0;
  if (mark.rank <= kSparseRankMax) {
    uint8_t* end = put_run(runs, mark.index - spot.first, run.rank);
    end = put_run(end, 1, mark.rank);
    end = put_run(end, spot.first + run.count - 1 - mark.index, run.rank);
    runs_bytes = size_t(end - runs);
  }
  const size_t new_bytes = bytes().size() + runs_bytes - run.bytes;
  const bool grows = runs_bytes > run.bytes;
  if (runs_bytes == 0 || (grows && new_bytes > sparse_bytes_max_)) {
    const State state = make_dense();
    if (state == State::kGood) raised_ += raise_dense(buffer_.data(), mark);
    const bool stays = stays_damaged_ && runs_bytes > 0 && new_bytes <= kStringBytesMax;
    if (state != State::kDamaged || !stays) return state;
  }
  if (!buffer_.reserve(kRunsBytesMax)) return State::kNoMemory;
  replace(spot.at, run.bytes, runs, runs_bytes);
  join_values(spot.before ? spot.before : kHeaderBytes);
  outdate();
  raised_++;
  return State::kGood;
}

// There is room for it. What takes the place of long zeros that were cut off ends in the byte
// behind.
void Draft::replace(size_t at, size_t old_bytes, const uint8_t* runs, size_t runs_bytes) {
  char* const data = buffer_.data();
  const size_t size = bytes().size(), behind = at + old_bytes;
  if (behind < size) memmove(data + at + runs_bytes, data + behind, size - behind);
  const size_t new_size = size + runs_bytes - old_bytes;
  buffer_.truncate(new_size + 1);
  data[new_size] = '\0';
  memcpy(data + at, runs, runs_bytes);
}

// Values that follow one another and are the same become one, among the few runs from `at` on.
void Draft::join_values(size_t at) {
  for (int i = 0; i < kJoinSteps && at < bytes().size(); i++) {
    const Run run = run_at(bytes(), at);
    const bool joins = run.rank > 0 && at + 1 < bytes().size();
    const Run next = joins ? run_at(bytes(), at + 1) : Run{};
    if (joins && next.rank == run.rank && run.count + next.count <= kValuesMax) {
      uint8_t both[1];
      put_run(both, run.count + next.count, run.rank);
      replace(at, 2, both, 1);
    } else {
      at += run.bytes;
    }
  }
}

}  // namespace ignix::hll
