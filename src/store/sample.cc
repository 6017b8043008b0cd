#include "store/sample.h"

#include <algorithm>

namespace ignix {
namespace {

// Longer chains are rare: their keys then have a little less of a chance. Fewer ranks would make
// that worse, more would be empty more often.
constexpr uint32_t kRanks = 40;
constexpr uint32_t kBucketsPerStep = 64;

}  // namespace

Draw draw_bucket(const Keyspace& keyspace, int db, RandomNumbers& random) {
  const uint32_t stripe = uint32_t(random.below(keyspace.stripe_count()));
  return {stripe, uint32_t(random.below(std::max(1u, keyspace.buckets_touched(db))))};
}

Entry* draw_entry(const Keyspace& keyspace, int db, Draw draw, RandomNumbers& random) {
  const Table table = keyspace.table_of(db, draw.stripe);
  if (draw.bucket >= table.buckets()) return nullptr;
  uint32_t count = 0;
  table.for_each_in(draw.bucket, [&](Ref) { count++; });
  uint32_t rank = uint32_t(random.below(std::max(kRanks, count)));
  Entry* found = nullptr;
  table.for_each_in(draw.bucket, [&](Ref ref) {
    if (rank-- == 0) found = keyspace.entry_at(ref);
  });
  return found;
}

Entry* find_ranked(const Keyspace& keyspace, int db, uint32_t stripe, uint32_t& bucket,
                   uint64_t& rank) {
  const Table table = keyspace.table_of(db, stripe);
  const uint32_t end = std::min(bucket + kBucketsPerStep, table.buckets());
  Entry* found = nullptr;
  for (; bucket < end && !found; bucket++) {
    table.for_each_in(bucket, [&](Ref ref) {
      if (rank-- == 0) found = keyspace.entry_at(ref);
    });
  }
  return found;
}

}  // namespace ignix
