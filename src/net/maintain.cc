// What a loop does of its own accord, in slices at the end of its turns: what has expired is
// deleted, memory is tidied, room is made.
#include <algorithm>

#include "base/clock.h"
#include "net/loop.h"

namespace ignix {

// Whether the deletion of what has expired may be logged, and a snapshot can bear it.
bool Loop::may_expire() const {
  if (server_.loading.active.load(std::memory_order_acquire)) return false;
  if (!server_.config.active_expire.load(std::memory_order_relaxed)) return false;
  if (server_.keyspace.changes_must_wait()) return false;
  return !env_.log || (!env_.log->failure() && env_.log->room() >= kLogSlackBytes);
}

// What has expired is deleted a slice at a time: one after the other while no commands come, with a
// pause between them while they do. Loop 0 does it for all: with a single loop nobody else may.
void Loop::expire() {
  Keyspace& keyspace = server_.keyspace;
  if (index_ != 0) return loops_[0]->wake_before(keyspace.next_expiry_tick());
  if (!expiry_walk_.running && !keyspace.expiry_due()) return;
  int64_t now_us = clock_us(CLOCK_MONOTONIC);
  if (now_us < expire_again_us_ && !(expiry_walk_.running && turn_.ready.empty())) return;
  if (!expiry_walk_.running) expire_started_us_ = now_us;
  const int64_t until_us = now_us + kExpireSliceUs, started_us = now_us;
  const uint64_t log_tail = server_.ring.tail();
  bool more = true, may = true;
  while (more && now_us < until_us && (may = may_expire())) {
    more = keyspace.expire_some(expiry_walk_, env_.now_ms, gone_logger_);
    now_us = clock_us(CLOCK_MONOTONIC);
  }
  status_.expire_us.add(uint64_t(now_us - started_us));
  if (env_.log && server_.ring.tail() != log_tail) server_.aof.notify();
  if (!more) {
    server_.expired_by_last_walk.store(expiry_walk_.deleted, std::memory_order_relaxed);
    expire_again_us_ = now_us + int64_t(expiry_walk_.looked_at / kExpireBoundsPerUs);
  } else if (may) {
    const bool late = now_us - expire_started_us_ > kExpireHurryMs * 1000;
    status_.expire_slices.add(1);
    expire_again_us_ = now_us + (late ? kExpireSliceUs : kExpirePauseUs);
  } else {
    expire_again_us_ = now_us + kExpireRetryMs * 1000;
  }
}

// Until expire() has something to do, for ever: -1. From then on others wake this loop for what
// expires sooner.
int Loop::expire_timeout_ms() {
  Keyspace& keyspace = server_.keyspace;
  const int64_t now_us = clock_us(CLOCK_MONOTONIC);
  if (!expiry_walk_.running && !keyspace.expiry_due()) {
    int64_t next;
    do {
      next = keyspace.next_expiry_tick();
      sleeps_until_tick_.store(next, std::memory_order_seq_cst);
    } while (keyspace.next_expiry_tick() != next);
    if (next == kNeverTick) return -1;
    const int64_t ms = (next << kTickBits) - wall_ms();
    return int(std::clamp<int64_t>(ms, 0, kWaitMsMax));
  }
  if (expiry_walk_.running && turn_.ready.empty() && may_expire()) return 0;
  return int(std::max<int64_t>(0, (expire_again_us_ - now_us + 999) / 1000));
}

// Memory is tidied a little at a time, most of it when there is nothing else to do. Any loop that
// runs commands looks after all stripes: the others may be asleep.
void Loop::maintain() {
  if (server_.loading.active.load(std::memory_order_acquire)) return;
  const bool idle = turn_.ready.empty();
  const int pause_ms = !maintain_more_ ? kMaintainCheckMs
                       : idle          ? kMaintainIdleMs
                                       : kMaintainBusyMs;
  if (now_mono_ms_ - maintained_ms_ < pause_ms) return;
  if (!maintain_more_ && activity() == activity_maintained_) return;
  activity_maintained_ = activity();
  Keyspace& keyspace = server_.keyspace;
  const int64_t until_us = clock_us(CLOCK_MONOTONIC) + kMaintainBudgetUs;
  // Where nothing is evicted, only what has been deleted makes room.
  const bool thorough = env_.evict.policy == EvictPolicy::kNone && keyspace.over_limit();
  // Once around all stripes without finding anything is the end.
  uint32_t idle_stripes = 0;
  while (idle_stripes < keyspace.stripe_count() && clock_us(CLOCK_MONOTONIC) < until_us) {
    if (++maintain_stripe_ >= keyspace.stripe_count()) maintain_stripe_ = 0;
    idle_stripes = keyspace.maintain(maintain_stripe_, thorough) ? 0 : idle_stripes + 1;
  }
  maintain_more_ = idle_stripes < keyspace.stripe_count();
  if (make_room()) maintain_more_ = true;
  if (keyspace.maintain_shared(now_mono_ms_)) maintain_more_ = true;
  if (pool_.trim()) maintain_more_ = true;
  maintained_ms_ = now_mono_ms_;
}

// Though no command asks for it: maxmemory may have been lowered. Returns whether there is more.
bool Loop::make_room() {
  if (!server_.keyspace.over_limit() || server_.loading.active.load(std::memory_order_acquire)) {
    return false;
  }
  const uint64_t log_tail = server_.ring.tail();
  const bool possible = batch_.room_maker().make_room();
  if (env_.log && server_.ring.tail() != log_tail) server_.aof.notify();
  return possible && server_.keyspace.over_limit();
}

}  // namespace ignix
