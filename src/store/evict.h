// Eviction: which entry goes when memory is short.
//
// On paper: a bucket is one cache line, and names seven entries on average, so a sample of
// neighbours costs little more than a sample of one. The best of what was seen is kept between
// evictions, as in Redis (which calls it the pool): so few looks find entries nearly as old as the
// oldest.
#pragma once

#include <cstdint>

#include "base/random.h"
#include "store/expiry.h"
#include "store/heap.h"
#include "store/usage.h"

namespace ignix {

class Keyspace;

enum class EvictPolicy : uint8_t {
  kNone,
  kAllKeysLru,
  kAllKeysLfu,
  kAllKeysRandom,
  kVolatileLru,
  kVolatileLfu,
  kVolatileRandom,
  kVolatileTtl,
};

// volatile-*: only keys with an expiry may go.
inline bool is_volatile(EvictPolicy policy) { return policy >= EvictPolicy::kVolatileLru; }
inline bool is_lru(EvictPolicy policy) {
  return policy == EvictPolicy::kAllKeysLru || policy == EvictPolicy::kVolatileLru;
}
inline bool is_lfu(EvictPolicy policy) {
  return policy == EvictPolicy::kAllKeysLfu || policy == EvictPolicy::kVolatileLfu;
}
inline bool is_random(EvictPolicy policy) {
  return policy == EvictPolicy::kAllKeysRandom || policy == EvictPolicy::kVolatileRandom;
}

struct EvictRules {
  EvictPolicy policy = EvictPolicy::kNone;
  unsigned samples = 5;
  Usage usage;
  int64_t now_ms = 0;
};

// One for each thread that evicts.
class Evictor {
 public:
  Evictor(Keyspace& keyspace, uint64_t seed) : keyspace_(keyspace), random_(seed) {}

  // Deletes one entry, of any database, and tells `sink` so. False if there is none that may go.
  // No stripe is locked; one at a time is.
  bool evict_one(const EvictRules& rules, GoneSink& sink);

 private:
  struct Candidate {
    uint64_t score, hash;  // the higher the score, the sooner it goes
    Ref ref;
    int db;
    uint32_t clock;  // as it was; whoever has been used since is none any more
  };
  static constexpr unsigned kPoolSize = 16;
  static constexpr unsigned kTries = 32;

  uint64_t score_of(const Entry& entry, const EvictRules& rules) const;
  bool choose_bucket(const EvictRules& rules, int& db, size_t& area_index);
  unsigned sample(const EvictRules& rules, int db, size_t area_index);
  bool evict_random(const EvictRules& rules, GoneSink& sink);
  bool evict_best(const EvictRules& rules, GoneSink& sink);
  bool worth_adding(uint64_t score) const { return count_ < kPoolSize || score > pool_[0].score; }
  void add(const Candidate& candidate);

  Keyspace& keyspace_;
  RandomNumbers random_;
  EvictPolicy policy_ = EvictPolicy::kNone;  // that the pool is about
  unsigned count_ = 0;
  Candidate pool_[kPoolSize];  // the best is the last
};

}  // namespace ignix
