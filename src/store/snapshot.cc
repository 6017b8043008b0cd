#include "store/snapshot.h"

#include <algorithm>
#include <cassert>
#include <numeric>

#include "store/keyspace.h"

namespace ignix {
namespace {

constexpr uint32_t kBucketsPerStep = 16;  // some 100 entries: ten microseconds under the lock

}  // namespace

void Keyspace::begin_snapshot(SnapshotSink* before_change) {
  assert(shared_ && !snapshot_);
  epoch_ = !epoch_;
  snapshot_ = before_change;
  db_at_instant_.resize(size_t(databases_));
  std::iota(db_at_instant_.begin(), db_at_instant_.end(), 0);
}

bool Keyspace::walk_snapshot(SnapshotWalk& walk, SnapshotSink& sink) {
  if (walk.stripe == stripe_count_) {
    walk.stripe = 0;
    walk.db++;
  }
  if (walk.db == databases_) return false;
  SpinGuard guard(stripes_[walk.stripe].lock);
  const auto number = std::find(db_at_instant_.begin(), db_at_instant_.end(), walk.db);
  const Table entries = table(int(number - db_at_instant_.begin()), walk.stripe);
  const uint32_t buckets = entries.state().buckets.load(std::memory_order_relaxed);
  const uint32_t end = std::min(walk.bucket + kBucketsPerStep, buckets);
  for (uint32_t i = walk.bucket; i < end; i++) {
    entries.for_each_in(i, [&](Ref ref) { __builtin_prefetch(entry(ref)); });
  }
  for (; walk.bucket < end; walk.bucket++) {
    entries.for_each_in(walk.bucket, [&](Ref ref) {
      Entry* const each = entry(ref);
      if (each->epoch() == epoch_) return;
      sink.save(walk.db, *each);
      each->set_epoch(epoch_);
    });
  }
  if (walk.bucket >= buckets) {
    walk.bucket = 0;
    walk.stripe++;
  }
  return true;
}

void Keyspace::end_snapshot() {
  lock_all();
  snapshot_ = nullptr;
  unlock_all();
}

}  // namespace ignix
