#include "command/make_room.h"

#include "base/clock.h"

namespace ignix {
namespace {

constexpr unsigned kVictimsPerLook = 8;  // at the clock
constexpr uint64_t kOvershootShare = 128;

}  // namespace

// The log must take what is deleted, and a snapshot must have it before.
bool RoomMaker::may_delete() const {
  if (env_.keyspace->changes_must_wait()) return false;
  return !env_.log || (!env_.log->failure() && env_.log->room() >= kLogSlackBytes / 2);
}

// Redis's: half a millisecond at 10, more by powers beyond, no end at 100. But a writer that has
// brought the store far above its limit pays for what it added.
int64_t RoomMaker::budget_us() const {
  const int tenacity = env_.evict_tenacity;
  if (tenacity >= 100) return INT64_MAX;
  int64_t budget_us = 50 * std::min(tenacity, 10);
  for (int i = 10; i < tenacity; i++) budget_us += budget_us * 15 / 100;
  const uint64_t limit = env_.keyspace->limit_bytes();
  if (env_.keyspace->held_bytes() > limit + limit / kOvershootShare) budget_us *= 16;
  return budget_us;
}

// What was flushed goes now, at least a step of it. Returns whether there is more.
bool RoomMaker::free_flushed() {
  Keyspace& keyspace = *env_.keyspace;
  const int64_t start_us = clock_us(CLOCK_MONOTONIC);
  while (keyspace.has_flushed() && keyspace.over_limit()) {
    if (!keyspace.free_flushed(stripe_)) stripe_ = (stripe_ + 1) % keyspace.stripe_count();
    if (clock_us(CLOCK_MONOTONIC) - start_us >= budget_us()) return keyspace.has_flushed();
  }
  return false;
}

bool RoomMaker::make_room() {
  Keyspace& keyspace = *env_.keyspace;
  if (!keyspace.over_limit()) return true;
  // Room that is on its way is no reason to refuse or to evict.
  if (free_flushed()) return true;
  keyspace.release_spare();
  if (env_.evict.policy == EvictPolicy::kNone) return !keyspace.over_limit();
  const int64_t start_us = clock_us(CLOCK_MONOTONIC);
  bool found = true;
  for (unsigned i = 1; found && keyspace.over_limit() && may_delete(); i++) {
    found = evictor_.evict_one(env_.evict, logger_);
    if (i % kVictimsPerLook) continue;
    // Slabs that have become free are of use only to who asks for one.
    keyspace.release_spare();
    if (clock_us(CLOCK_MONOTONIC) - start_us >= budget_us()) break;
  }
  return found || !keyspace.over_limit();
}

}  // namespace ignix
