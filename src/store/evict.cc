#include "store/evict.h"

#include <algorithm>

#include "store/keyspace.h"

namespace ignix {

// What has expired goes first, by any policy.
uint64_t Evictor::score_of(const Entry& entry, const EvictRules& rules) const {
  if (entry.expired(rules.now_ms)) return UINT64_MAX;
  if (is_lru(rules.policy)) return idle_seconds(entry.clock(), rules.now_ms);
  if (is_lfu(rules.policy)) {
    return kFrequencyMax - rules.usage.frequency(entry.clock(), rules.now_ms);
  }
  return uint64_t(INT64_MAX - entry.expiry_ms());
}

void Evictor::add(const Candidate& candidate) {
  for (unsigned i = 0; i < count_; i++) {
    if (pool_[i].ref == candidate.ref && pool_[i].hash == candidate.hash) return;
  }
  if (count_ == kPoolSize) std::copy(pool_ + 1, pool_ + count_--, pool_);
  unsigned at = count_++;
  for (; at > 0 && pool_[at - 1].score > candidate.score; at--) pool_[at] = pool_[at - 1];
  pool_[at] = candidate;
}

// A random bucket that seems to have what may go, or the next one behind it that has. A database
// is chosen by how many buckets it has. False if no bucket has.
bool Evictor::choose_bucket(const EvictRules& rules, int& db, size_t& area_index) {
  uint64_t total = 0;
  for (int i = 0; i < keyspace_.databases(); i++) total += keyspace_.area_buckets(i);
  if (total == 0) return false;
  uint64_t drawn = random_.below(total);
  for (db = 0; drawn >= keyspace_.area_buckets(db); db++) {
    drawn -= keyspace_.area_buckets(db);
    if (db + 1 < keyspace_.databases()) continue;
    drawn = 0;  // they have just become fewer
    break;
  }
  const size_t start = size_t(drawn);
  for (int i = 0; i <= keyspace_.databases(); i++) {
    const size_t from = i == 0 ? start : 0;
    const size_t end = i == keyspace_.databases() ? start : keyspace_.area_buckets(db);
    area_index = keyspace_.find_filled(db, from, end, is_volatile(rules.policy));
    if (area_index < end) return true;
    if (++db == keyspace_.databases()) db = 0;
  }
  return false;
}

// Returns how many entries there have been that may go.
unsigned Evictor::sample(const EvictRules& rules, int db, size_t area_index) {
  unsigned seen = 0;
  keyspace_.for_each_at(db, area_index, [&](const Entry& entry, Ref ref) {
    if (is_volatile(rules.policy) && !entry.has_expiry()) return;
    seen++;
    const uint64_t score = score_of(entry, rules);
    if (!worth_adding(score)) return;
    add({score, keyspace_.key(entry.key()).hash, ref, db, entry.clock()});
  });
  return seen;
}

bool Evictor::evict_best(const EvictRules& rules, GoneSink& sink) {
  while (count_ > 0) {
    const Candidate best = pool_[--count_];
    const bool gone = keyspace_.evict(
        best.db, best.hash, best.ref,
        [&](const Entry& entry) {
          if (is_volatile(rules.policy) && !entry.has_expiry()) return false;
          if (is_lru(rules.policy) || is_lfu(rules.policy)) return entry.clock() == best.clock;
          return score_of(entry, rules) == best.score;
        },
        sink);
    if (gone) return true;
  }
  return false;
}

bool Evictor::evict_random(const EvictRules& rules, GoneSink& sink) {
  int db;
  size_t area_index;
  if (!choose_bucket(rules, db, area_index)) return false;
  Candidate chosen = {};
  unsigned seen = 0;
  keyspace_.for_each_at(db, area_index, [&](const Entry& entry, Ref ref) {
    if (is_volatile(rules.policy) && !entry.has_expiry()) return;
    if (random_.below(++seen) == 0) {
      chosen = {0, keyspace_.key(entry.key()).hash, ref, db, entry.clock()};
    }
  });
  return seen &&
         keyspace_.evict(
             db, chosen.hash, chosen.ref,
             [&](const Entry& entry) { return !is_volatile(rules.policy) || entry.has_expiry(); },
             sink);
}

bool Evictor::evict_one(const EvictRules& rules, GoneSink& sink) {
  if (rules.policy != policy_) count_ = 0;
  policy_ = rules.policy;
  for (unsigned tries = 0; tries < kTries; tries++) {
    // A try that finds nothing looks at all buckets.
    if (tries == 1 && !keyspace_.has_keys(is_volatile(rules.policy))) return false;
    if (is_random(rules.policy)) {
      if (evict_random(rules, sink)) return true;
      continue;
    }
    for (unsigned seen = 0, looks = 0; seen < rules.samples && looks < rules.samples; looks++) {
      int db;
      size_t area_index;
      if (!choose_bucket(rules, db, area_index)) break;
      seen += sample(rules, db, area_index);
    }
    if (evict_best(rules, sink)) return true;
  }
  return false;
}

}  // namespace ignix
