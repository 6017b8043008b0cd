// A histogram of latencies in logarithmic buckets: 64 to each power of two, so a value read
// back is at most 1.6 % above the true one. Recording is a few instructions.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

struct Histogram {
  static constexpr int kSubBits = 6;
  static constexpr uint64_t kSub = 1 << kSubBits;
  static constexpr int kMaxExponent = 40;  // 2^41 ns is 36 minutes; longer ones count as that
  static constexpr size_t kBuckets = (kMaxExponent - kSubBits + 2) * kSub;

  uint64_t counts[kBuckets] = {};
  uint64_t total = 0;
  uint64_t sum_ns = 0;
  uint64_t max_ns = 0;

  static size_t bucket_of(uint64_t ns) {
    if (ns < kSub) return ns;
    int exponent = 63 - std::countl_zero(ns);
    if (exponent > kMaxExponent) return kBuckets - 1;
    uint64_t sub = (ns >> (exponent - kSubBits)) & (kSub - 1);
    return (exponent - kSubBits + 1) * kSub + sub;
  }

  // The largest value that falls into the bucket.
  static uint64_t upper_ns(size_t bucket) {
    if (bucket < kSub) return bucket;
    int shift = bucket / kSub - 1;
    return ((kSub + bucket % kSub + 1) << shift) - 1;
  }

  void add(uint64_t ns) {
    counts[bucket_of(ns)]++;
    total++;
    sum_ns += ns;
    if (ns > max_ns) max_ns = ns;
  }

  // The latency that the given share (0 to 1) of all requests did not exceed.
  uint64_t percentile_ns(double share) const {
    uint64_t rank = std::max<uint64_t>(1, static_cast<uint64_t>(share * total + 0.5));
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; i++) {
      seen += counts[i];
      if (seen >= rank) return std::min(upper_ns(i), max_ns);
    }
    return max_ns;
  }

  // Requests with a latency from 2^exponent up to the next power of two (ns); 0 takes 0 too.
  uint64_t count_in_octave(int exponent) const {
    uint64_t count = 0;
    uint64_t low = exponent == 0 ? 0 : uint64_t{1} << exponent;
    uint64_t high = (uint64_t{2} << exponent) - 1;
    for (size_t i = bucket_of(low); i <= bucket_of(high); i++) count += counts[i];
    return count;
  }
};
