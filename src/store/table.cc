#include "store/table.h"

#include <algorithm>
#include <cassert>

namespace ignix {
namespace {

// Keys per bucket above which one is split, and below which one is joined. Between two doublings
// the buckets not yet split carry up to twice as much as the others; 7 of 10 slots leaves a tenth
// of the buckets with an overflow, and costs about 10 bytes a key in all.
constexpr uint64_t kSplitAbove = 7;
constexpr uint64_t kJoinBelow = 6;

constexpr uint32_t kBucketsMax = 1u << 30;
// Buckets beyond these are on huge pages; when there are four times as many, these as well.
// Overflow buckets stay on small pages: they are few and seldom looked at.
constexpr size_t kSmallBytes = kHugePage;
constexpr size_t kWorthBytes = 4 * kSmallBytes;
constexpr size_t kAheadBytes = kHugePage / 4;

}  // namespace

bool TableAreas::reserve(size_t memory_bytes) {
  // Address space only. A machine's memory full of the smallest entries needs a third of it for
  // buckets; the hash keeps the stripes equal to within a few percent.
  constexpr size_t kLeast = 4ULL << 20;
  return buckets.reserve(memory_bytes, kLeast) && overflow.reserve(memory_bytes / 2, kLeast) &&
         deadlines.reserve(memory_bytes / sizeof(Bucket));
}

void TableAreas::clear() {
  discard_buckets(0);
  overflow.discard(0, SIZE_MAX);
  deadlines.discard(0);
  touched.store(0, std::memory_order_relaxed);
}

bool TableAreas::prepare_some(size_t row_bytes) {
  const size_t used = touched.load(std::memory_order_relaxed) * row_bytes;
  size_t before = huge_end.load(std::memory_order_relaxed);
  size_t end = std::max(before, kSmallBytes);
  const bool start_was_huge = start_is_huge;
  start_is_huge = used >= kWorthBytes;
  if (start_is_huge && !start_was_huge) {
    buckets.collapse(0);
    return true;
  }
  if (used + kAheadBytes + used / 256 <= end || !buckets.ensure(end + kHugePage)) return false;
  if (end + kHugePage > used) count(end + kHugePage - std::max(used, end));
  if (used <= end) {
    buckets.make_huge(end);  // buckets are used by atomics (store/bucket.h)
  } else {
    buckets.collapse(end);
  }
  end += kHugePage;
  // Not if buckets have been discarded meanwhile, or more made huge by expect().
  huge_end.compare_exchange_strong(before, end);
  return true;
}

void TableAreas::expect(uint64_t keys, size_t row_bytes) {
  const size_t least = keys / kSplitAbove * sizeof(Bucket);
  const size_t bytes = (least + kHugePage - 1) / kHugePage * kHugePage;
  const size_t used = touched.load(std::memory_order_relaxed) * row_bytes;
  size_t end = std::max(huge_end.load(std::memory_order_relaxed), kSmallBytes);
  // Where there are small pages already, prepare_some() will come by.
  if (used > end || bytes <= end || !buckets.ensure(bytes)) return;
  for (size_t at = end; at < bytes; at += kHugePage) buckets.make_huge(at);
  count(bytes - end);
  while (end < bytes && !huge_end.compare_exchange_weak(end, bytes)) continue;
}

void TableAreas::discard_buckets(size_t from) {
  const size_t end = std::max(huge_end.load(std::memory_order_relaxed), kSmallBytes);
  buckets.discard(from, SIZE_MAX);
  deadlines.discard(from / sizeof(Bucket));
  // Regrown on small pages, whatever the kernel was told before.
  const size_t first = (from + kHugePage - 1) / kHugePage * kHugePage;
  for (size_t at = first; at < end; at += kHugePage) buckets.keep_small(at);
  huge_end.store(std::min(end, first), std::memory_order_relaxed);
}

FoundSlot Table::find(uint64_t hash, std::string_view key) const {
  const uint32_t buckets = state_.buckets.load(std::memory_order_relaxed);
  if (!buckets) return {};
  const uint8_t fingerprint = fingerprint_of(hash);
  for (Bucket* bucket = at(home(hash, buckets));;) {
    for (SlotMask mask = bucket->match(fingerprint); mask; mask &= mask - 1) {
      const unsigned slot = first_slot(mask);
      if (bucket->fingerprint(slot) != fingerprint) continue;
      const std::string_view found = entry(bucket->ref(slot))->key();
      if (found.size() == key.size() && equal_bytes(found.data(), key.data(), key.size())) {
        return {bucket, slot};
      }
    }
    const uint32_t next = bucket->overflow();
    if (!next) return {};
    bucket = overflow_at(next);
  }
}

FoundSlot Table::find_ref(uint64_t hash, Ref ref) const {
  const uint32_t buckets = state_.buckets.load(std::memory_order_relaxed);
  if (!buckets) return {};
  for (Bucket* bucket = at(home(hash, buckets));; bucket = overflow_at(bucket->overflow())) {
    for (unsigned slot = 0; slot < kSlotsPerBucket && bucket->fingerprint(slot); slot++) {
      if (bucket->ref(slot) == ref) return {bucket, slot};
    }
    if (!bucket->overflow()) return {};
  }
}

// Those that have been split since the last doubling look at one bit more than the others.
Table::Run Table::run_of(uint32_t point) const {
  const uint32_t buckets = state_.buckets.load(std::memory_order_relaxed);
  const uint32_t half = std::bit_floor(buckets);
  const uint32_t bucket = home(uint64_t(reverse_bits(point)) << stripe_bits_, buckets);
  const bool is_split = (bucket & (half - 1)) < buckets - half;
  const unsigned bits = unsigned(std::countr_zero(half)) + is_split;
  const uint32_t first = reverse_bits(bucket);
  return {bucket, first, first + uint32_t(UINT32_MAX >> bits)};
}

bool Table::ensure(const Area& area, uint32_t index) const {
  const uint64_t end = ((uint64_t(index) + 1) << stripe_bits_) * sizeof(Bucket);
  return const_cast<Area&>(area).ensure(end);
}

void Table::touch_bucket(uint32_t index) {
  uint32_t touched = areas_->touched.load(std::memory_order_relaxed);
  while (touched <= index && !areas_->touched.compare_exchange_weak(touched, index + 1)) continue;
  if (touched > index) return;
  const uint64_t end = ((uint64_t(index) + 1) << stripe_bits_) * sizeof(Bucket);
  if (end > areas_->huge_end.load(std::memory_order_relaxed)) {
    areas_->count(size_t(index + 1 - touched) * (sizeof(Bucket) << stripe_bits_));
  }
  if (end % kAheadBytes == 0 && areas_->bell) areas_->bell->ring();
}

// Makes sure that `count` overflow buckets can be had without failure.
bool Table::ensure_spare(uint32_t count) {
  while (state_.overflow_spare < count) {
    const uint32_t index = state_.overflow_touched + 1;
    if (!ensure(areas_->overflow, index)) return false;
    state_.overflow_touched = index;
    areas_->count(sizeof(Bucket));
    overflow_at(index)->set_overflow(state_.overflow_free);
    state_.overflow_free = index;
    state_.overflow_spare++;
  }
  return true;
}

bool Table::add_to_chain(Bucket* bucket, uint8_t fingerprint, Ref ref) {
  while (bucket->overflow()) bucket = overflow_at(bucket->overflow());
  unsigned slot = bucket->count();
  if (slot == kSlotsPerBucket) {
    if (!ensure_spare(1)) return false;
    const uint32_t index = state_.overflow_free;
    bucket->set_overflow(index);
    bucket = overflow_at(index);
    state_.overflow_free = bucket->overflow();
    state_.overflow_spare--;
    bucket->set_overflow(0);
    slot = 0;
  }
  bucket->set(slot, fingerprint, ref);
  return true;
}

// The last slot of the chain fills the hole, so that there are never gaps.
void Table::remove_from_chain(Bucket* home, FoundSlot found) {
  Bucket* before = nullptr;
  Bucket* last = home;
  while (last->overflow()) {
    before = last;
    last = overflow_at(last->overflow());
  }
  const unsigned slot = last->count() - 1;
  found.bucket->set(found.slot, last->fingerprint(slot), last->ref(slot));
  last->clear(slot);
  if (slot == 0 && before) {
    const uint32_t index = before->overflow();
    before->set_overflow(0);
    last->set_overflow(state_.overflow_free);
    state_.overflow_free = index;
    state_.overflow_spare++;
  }
}

bool Table::insert(uint64_t hash, Ref ref) {
  uint32_t buckets = state_.buckets.load(std::memory_order_relaxed);
  if (!buckets) {
    if (!ensure(areas_->buckets, 0)) return false;
    buckets = 1;
    touch_bucket(0);
    state_.buckets.store(buckets, std::memory_order_relaxed);
  }
  if (!add_to_chain(at(home(hash, buckets)), fingerprint_of(hash), ref)) return false;
  const uint64_t keys = ++state_.keys, keys_max = uint64_t(buckets) * kSplitAbove;
  if (keys > keys_max) {
    // A split that finds no memory is left out: the table works on, with longer chains.
    split_until(buckets + 1);
  } else {
    prefetch_split(buckets, keys_max - keys);
  }
  return true;
}

// A split touches a dozen lines that nothing else has touched lately. So they are asked for while
// the keys before it are inserted: the bucket first, then what it names.
void Table::prefetch_split(uint32_t buckets, uint64_t keys_left) const {
  if (keys_left != 4 && keys_left != 2) return;
  const Bucket* const bucket = at(buckets - std::bit_floor(buckets));
  if (keys_left == 4) {
    __builtin_prefetch(bucket, 1);
    __builtin_prefetch(at(buckets), 1);
    return;
  }
  for (unsigned slot = 0; slot < kSlotsPerBucket && bucket->fingerprint(slot); slot++) {
    __builtin_prefetch(entry(bucket->ref(slot)));
  }
  if (bucket->overflow()) __builtin_prefetch(overflow_at(bucket->overflow()), 1);
}

void Table::expect(uint64_t keys) {
  const uint32_t wanted = uint32_t(std::min<uint64_t>(keys / kSplitAbove, kBucketsMax));
  if (wanted <= state_.buckets.load(std::memory_order_relaxed)) return;
  if (state_.keys) return split_until(wanted);
  if (!ensure(areas_->buckets, wanted - 1)) return;
  touch_bucket(wanted - 1);
  state_.buckets.store(wanted, std::memory_order_relaxed);
}

void Table::erase(uint64_t hash, FoundSlot found, bool may_join) {
  const uint32_t buckets = state_.buckets.load(std::memory_order_relaxed);
  remove_from_chain(at(home(hash, buckets)), found);
  state_.keys--;
  if (may_join) join_after(1);
}

void Table::join_after(unsigned erased) {
  for (; erased > 0; erased--) {
    const uint32_t buckets = state_.buckets.load(std::memory_order_relaxed);
    // Fewer than what has just been split had, however few buckets there are.
    if (buckets <= 1 || state_.keys >= uint64_t(buckets - 1) * kJoinBelow) return;
    join();
  }
}

// Splits buckets, in turn, until there are so many: past a doubling that is all of them. Does
// nothing if memory is short.
void Table::split_until(uint32_t wanted) {
  const uint32_t buckets = state_.buckets.load(std::memory_order_relaxed);
  if (wanted > kBucketsMax || !ensure(areas_->buckets, wanted - 1)) return;
  const uint32_t half = std::bit_floor(buckets);
  const uint32_t first = wanted <= 2 * half ? buckets - half : 0;
  const uint32_t end = wanted <= 2 * half ? wanted - half : buckets;
  touch_bucket(wanted - 1);
  state_.buckets.store(wanted, std::memory_order_relaxed);
  for (uint32_t i = buckets; i < wanted; i++) {
    areas_->deadlines.split(area_index(i - std::bit_floor(i)), area_index(i));
  }
  prefetch_entries(first);
  for (uint32_t from = first; from < end; from++) {
    if (end - from > 4) __builtin_prefetch(at(from + 4), 1);
    if (end - from > 1) prefetch_entries(from + 1);
    split(from);
  }
}

void Table::prefetch_entries(uint32_t index) const {
  for_each_in(index, [&](Ref ref) { __builtin_prefetch(entry(ref)); });
}

// Each of the bucket's entries stays or goes to one behind all those that there were. Slots hold
// too few bits of the hash to tell which, so the keys are hashed again. No memory is needed: at any
// time the chains have, together, no more overflow buckets than the one had.
void Table::split(uint32_t from) {
  const uint32_t buckets = state_.buckets.load(std::memory_order_relaxed);
  Bucket* const source = at(from);
  for (Bucket* bucket = source;;) {
    for (unsigned slot = 0; slot < kSlotsPerBucket && bucket->fingerprint(slot);) {
      const uint64_t hash = hash_bytes(secret_, entry(bucket->ref(slot))->key());
      const uint32_t index = home(hash, buckets);
      if (index == from) {
        slot++;
        continue;
      }
      move_slot(source, {bucket, slot}, at(index));
      // The chain's last slot has come here and is looked at next. If there was none, an overflow
      // bucket has just left the chain.
      if (bucket != source && bucket->count() == 0) return;
    }
    const uint32_t next = bucket->overflow();
    if (!next) return;
    bucket = overflow_at(next);
  }
}

// The reverse: the last bucket's entries go back to the one they were split from.
void Table::join() {
  const uint32_t last = state_.buckets.load(std::memory_order_relaxed) - 1;
  // Each overflow bucket that is needed, but the first, has been freed by then.
  if (!ensure_spare(1)) return;
  Bucket* from = at(last);
  const uint32_t partner = last - std::bit_floor(last);
  Bucket* into = at(partner);
  state_.buckets.store(last, std::memory_order_relaxed);
  areas_->deadlines.join(area_index(last), area_index(partner));
  while (const unsigned used = from->count()) move_slot(from, {from, used - 1}, into);
}

// From the chain of `source` to that of `target`. The caller has made sure of an overflow bucket.
void Table::move_slot(Bucket* source, FoundSlot found, Bucket* target) {
  [[maybe_unused]] const bool added =
      add_to_chain(target, found.bucket->fingerprint(found.slot), found.ref());
  assert(added);
  remove_from_chain(source, found);
}

}  // namespace ignix
