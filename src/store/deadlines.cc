#include "store/deadlines.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cstring>

namespace ignix {
namespace {

// Sequentially consistent, as the exchange in Deadlines::put(), ExpiryClock::take_next() and
// next() are: a scan that misses a new bound began before the bound was there, and so the bound's
// writer sees what take_next() has left, and lowers it.
uint64_t load_word(const uint16_t* first) {
  using Word = uint64_t __attribute__((may_alias));
  return __atomic_load_n(reinterpret_cast<const Word*>(first), __ATOMIC_SEQ_CST);
}

constexpr size_t kLanes = 8;  // bounds looked at together

// Bounds against the time, eight at a time. due() returns a bit (or two, see kBits) for each that
// is due; of the others the nearest is remembered.
#ifdef __SSE2__
class Scan {
 public:
  static constexpr unsigned kBits = 2;
  explicit Scan(uint16_t tick) : tick_(_mm_set1_epi16(int16_t(tick))) {}

  unsigned due(const uint16_t* first) {
    const __m128i bounds = _mm_set_epi64x(int64_t(load_word(first + 4)), int64_t(load_word(first)));
    const __m128i none = _mm_cmpeq_epi16(bounds, _mm_setzero_si128());
    const __m128i away = _mm_sub_epi16(bounds, tick_);
    const __m128i to_come = _mm_andnot_si128(none, _mm_cmpgt_epi16(away, _mm_setzero_si128()));
    const __m128i farthest = _mm_set1_epi16(INT16_MAX);
    nearest_ = _mm_min_epi16(
        nearest_, _mm_or_si128(_mm_and_si128(to_come, away), _mm_andnot_si128(to_come, farthest)));
    return unsigned(_mm_movemask_epi8(_mm_or_si128(to_come, none))) ^ 0xffff;
  }
  int64_t nearest() const {
    alignas(16) int16_t lanes[kLanes];
    _mm_store_si128(reinterpret_cast<__m128i*>(lanes), nearest_);
    return *std::min_element(lanes, lanes + kLanes);
  }

 private:
  const __m128i tick_;
  __m128i nearest_ = _mm_set1_epi16(INT16_MAX);
};
#else
class Scan {
 public:
  static constexpr unsigned kBits = 1;
  explicit Scan(uint16_t tick) : tick_(tick) {}

  unsigned due(const uint16_t* first) {
    const uint64_t words[] = {load_word(first), load_word(first + 4)};
    if (!(words[0] | words[1])) return 0;
    uint16_t bounds[kLanes];
    memcpy(bounds, words, sizeof bounds);
    unsigned due = 0;
    for (unsigned i = 0; i < kLanes; i++) {
      const int16_t away = int16_t(bounds[i] - tick_);
      if (bounds[i] && away <= 0) due |= 1u << i;
      if (bounds[i] && away > 0) nearest_ = std::min<int64_t>(nearest_, away);
    }
    return due;
  }
  int64_t nearest() const { return nearest_; }

 private:
  const uint16_t tick_;
  int64_t nearest_ = INT16_MAX;
};
#endif

// How far away a bound is, in ticks; one that is past is negative.
int64_t ticks_until(uint16_t bound, int64_t tick) { return int16_t(uint16_t(bound - tick)); }

// 0 is no bound: who is due then is looked at a tick later.
uint16_t bound_of(int64_t tick) { return uint16_t(tick) ? uint16_t(tick) : uint16_t(1); }

}  // namespace

bool Deadlines::reserve(size_t bounds) {
  return area_.reserve(bounds * sizeof(uint16_t), size_t(256) << 10);
}

void Deadlines::put(size_t index, uint16_t bound) {
  if (!area_.ensure((index + 1) * sizeof(uint16_t))) return;
  __atomic_exchange_n(at(index), bound, __ATOMIC_SEQ_CST);
  const int64_t now = clock_->tick();
  clock_->lower_next(now + std::max<int64_t>(1, ticks_until(bound, now)));
}

void Deadlines::note(size_t index, int64_t expiry_ms) {
  const int64_t now = clock_->tick();
  const int64_t tick = std::clamp(tick_behind(expiry_ms), now + 1, now + kFarthestTicks);
  const uint16_t before = get(index);
  if (before && clock_->in_doubt()) return put(index, bound_of(now + 1));
  const uint16_t bound = bound_of(tick);
  if (before && ticks_until(before, now) <= ticks_until(bound, now)) {
    // If the time was put back, what stands there may be later than it seems.
    return clock_->lower_next(tick + 1);
  }
  put(index, bound);
}

void Deadlines::renew(size_t index, int64_t earliest_ms) {
  if (!get(index) && earliest_ms == kNeverMs) return;
  if (index >= bounds()) return;
  __atomic_store_n(at(index), uint16_t(0), __ATOMIC_RELAXED);
  if (earliest_ms != kNeverMs) note(index, earliest_ms);
}

void Deadlines::split(size_t from, size_t to) {
  const uint16_t bound = get(from);
  if (bound) {
    put(to, bound);
  } else if (get(to)) {
    __atomic_store_n(at(to), bound, __ATOMIC_RELAXED);
  }
}

void Deadlines::join(size_t from, size_t into) {
  const uint16_t bound = get(from), other = get(into);
  if (!bound) return;
  __atomic_store_n(at(from), uint16_t(0), __ATOMIC_RELAXED);
  const int64_t now = clock_->tick();
  if (clock_->in_doubt()) return put(into, bound_of(now + 1));
  if (!other || ticks_until(bound, now) < ticks_until(other, now)) put(into, bound);
}

size_t Deadlines::find_due(size_t from, size_t to, int64_t tick, bool all, int64_t& nearest_ticks,
                           size_t* due, size_t due_max, size_t& due_count) const {
  due_count = 0;
  if (all) {
    for (; from < to && due_count < due_max; from++) {
      from = find_any(from, to);
      if (from < to) due[due_count++] = from;
    }
    return std::min(from, to);
  }
  Scan scan{uint16_t(tick)};
  for (; from < to && due_count + kGroup <= due_max; from += kGroup) {
    uint64_t found = 0;
    constexpr unsigned kGroupBits = Scan::kBits * kLanes;
    for (unsigned i = 0; i < kGroup / kLanes; i++) {
      found |= uint64_t(scan.due(at(from + i * kLanes))) << (i * kGroupBits);
    }
    for (; found; found &= found - 1) {
      const unsigned bit = unsigned(std::countr_zero(found));
      if (bit % Scan::kBits == 0) due[due_count++] = from + bit / Scan::kBits;
    }
  }
  if (scan.nearest() < INT16_MAX) nearest_ticks = std::min(nearest_ticks, scan.nearest());
  return from;
}

// Memory behind what has been set cannot be read.
size_t Deadlines::find_any(size_t from, size_t to) const {
  const size_t end = std::min(to, bounds());
  for (; from < end && from % 4; from++) {
    if (get(from)) return from;
  }
  while (from < end && !load_word(at(from))) from += 4;
  for (; from < end; from++) {
    if (get(from)) return from;
  }
  return to;
}

}  // namespace ignix
