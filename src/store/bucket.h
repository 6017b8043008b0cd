// A bucket of the hash table: one cache line, ten slots of a fingerprint and a reference.
//
//     bytes  0-9    fingerprints, 0: the slot is empty
//     bytes 10-19   references, bits 32-39
//     bytes 20-59   references, bits 0-31
//     bytes 60-63   index of an overflow bucket, 0: none
//
// Slots are filled from the first to the last without gaps.
//
// Buckets are changed under their stripe's lock only. The prefetch of a batch reads them without
// it: what it finds is a hint, and may be stale or torn between two slots. So that this is no data
// race, every access is an atomic one of relaxed order, which costs nothing.
#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <bit>
#include <cstdint>

#include "store/heap.h"

namespace ignix {

constexpr unsigned kSlotsPerBucket = 10;

// Never 0. From bits of the hash that the choice of the bucket does not use.
inline uint8_t fingerprint_of(uint64_t hash) {
  const uint8_t byte = uint8_t(hash >> 56);
  return byte ? byte : 1;
}

// A set of slots of one bucket, as bits. Walk it with first_slot() and `mask &= mask - 1`.
using SlotMask = uint32_t;
inline unsigned first_slot(SlotMask mask) { return unsigned(std::countr_zero(mask)); }

class alignas(64) Bucket {
 public:
  uint8_t fingerprint(unsigned slot) const { return load(fingerprints_[slot]); }
  Ref ref(unsigned slot) const { return load(low_[slot]) | uint64_t(load(high_[slot])) << 32; }
  uint32_t overflow() const { return load(overflow_); }

  void set(unsigned slot, uint8_t fingerprint, Ref ref) {
    set_ref(slot, ref);
    store(fingerprints_[slot], fingerprint);
  }
  void set_ref(unsigned slot, Ref ref) {
    store(low_[slot], uint32_t(ref));
    store(high_[slot], uint8_t(ref >> 32));
  }
  void clear(unsigned slot) { set(slot, 0, 0); }
  void set_overflow(uint32_t index) { store(overflow_, index); }

  // The slots whose fingerprint is `fingerprint`; with 0, those that are empty. Eight bytes at a
  // time; a slot above a true match may be named wrongly (a borrow runs upwards), so check.
  SlotMask match(uint8_t fingerprint) const {
#ifdef __SSE2__
    const __m128i both = _mm_set_epi64x(int64_t(word(1)), int64_t(word(0)));
    const __m128i equal = _mm_cmpeq_epi8(both, _mm_set1_epi8(char(fingerprint)));
    return SlotMask(_mm_movemask_epi8(equal)) & ((1u << kSlotsPerBucket) - 1);
#endif
    const uint64_t low = matches(word(0), fingerprint);
    const uint64_t high = matches(word(1), fingerprint) & 0x8080;
    return gather(low) | gather(high) << 8;
  }

  // How many slots are in use.
  unsigned count() const {
    unsigned used = 0;
    while (used < kSlotsPerBucket && fingerprint(used)) used++;
    return used;
  }

 private:
  static constexpr uint64_t kOnes = 0x0101010101010101;

  template <typename T>
  static T load(const T& field) {
    return __atomic_load_n(&field, __ATOMIC_RELAXED);
  }
  template <typename T>
  static void store(T& field, T value) {
    __atomic_store_n(&field, value, __ATOMIC_RELAXED);
  }

  uint64_t word(unsigned index) const {
    return __atomic_load_n(reinterpret_cast<const Word*>(this) + index, __ATOMIC_RELAXED);
  }
  // The high bit of each byte that equals `value`.
  static uint64_t matches(uint64_t word, uint8_t value) {
    const uint64_t diff = word ^ (kOnes * value);
    return (diff - kOnes) & ~diff & (kOnes << 7);
  }
  // The high bits of eight bytes as eight bits.
  static SlotMask gather(uint64_t high_bits) {
    return SlotMask(((high_bits >> 7) * 0x0102040810204080) >> 56);
  }

  using Word = uint64_t __attribute__((may_alias));

  uint8_t fingerprints_[kSlotsPerBucket];
  uint8_t high_[kSlotsPerBucket];
  uint32_t low_[kSlotsPerBucket];
  uint32_t overflow_;
};

static_assert(sizeof(Bucket) == 64);

}  // namespace ignix
