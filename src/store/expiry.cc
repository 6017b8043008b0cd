// On paper: 10 M keys have 1.4 M buckets, so 3 MB of deadlines, which one core reads in 0.2 ms. A
// bucket that is due costs the misses of its line and of its seven entries; those of a batch are
// taken all at once.
#include "store/expiry.h"

#include <algorithm>

#include "store/keyspace.h"

namespace ignix {
namespace {

constexpr size_t kDueMax = 64;                // buckets looked into at a time
constexpr size_t kBoundsPerStep = 64 * 1024;  // and deadlines looked at, some ten microseconds

}  // namespace

bool Keyspace::expiry_due() const { return expiry_clock_.next() <= expiry_clock_.tick(); }

bool Keyspace::expire_some(ExpiryWalk& walk, int64_t now_ms, GoneSink& sink) {
  const int64_t tick = tick_at(now_ms);
  const auto start = [&](int64_t unseen_since) {
    walk = {.running = true,
            .started_tick = tick,
            .nearest_ticks = kNeverTick,
            .all = tick - unseen_since > kUnseenTicksMax,
            .deleted = walk.running ? walk.deleted : 0};
    expiry_clock_.set_in_doubt(walk.all);
  };
  if (!walk.running) {
    if (expiry_clock_.in_doubt()) expiry_clock_.set_in_doubt(true);  // before next() is raised
    start(expiry_clock_.take_next());
  } else if (tick - walk.started_tick > kUnseenTicksMax) {
    start(INT64_MIN / 2);  // it was held up for hours
  }
  TableAreas* areas =
      walk.db < databases_ ? areas_[walk.db].load(std::memory_order_acquire) : nullptr;
  const size_t end =
      areas ? std::min(size_t(areas->touched.load(std::memory_order_relaxed)) << stripe_bits_,
                       areas->deadlines.bounds())
            : 0;
  if (walk.index < end) {
    size_t due[kDueMax], count;
    const size_t from = walk.index;
    int64_t nearest = kNeverTick;
    walk.index =
        areas->deadlines.find_due(walk.index, std::min(end, walk.index + kBoundsPerStep),
                                  walk.started_tick, walk.all, nearest, due, kDueMax, count);
    walk.looked_at += walk.index - from;
    walk.nearest_ticks = std::min(walk.nearest_ticks, nearest);
    prefetch_buckets(walk.db, due, count);
    for (size_t i = 0; i < count; i++) {
      walk.deleted += expire_bucket(walk.db, due[i], now_ms, sink);
    }
    return true;
  }
  walk.index = 0;
  if (++walk.db < databases_) return true;
  walk.running = false;
  expiry_clock_.set_in_doubt(false);
  if (walk.nearest_ticks != kNeverTick) {
    expiry_clock_.lower_next(walk.started_tick + walk.nearest_ticks);
  }
  return false;
}

// Without any lock: their lines, then those of the entries they name.
void Keyspace::prefetch_buckets(int db, const size_t* area_indices, size_t count) const {
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < count; i++) {
      const uint32_t stripe = uint32_t(area_indices[i]) & (stripe_count_ - 1);
      const Bucket* bucket =
          table(db, stripe).bucket_hint(uint32_t(area_indices[i] >> stripe_bits_));
      if (!bucket) continue;
      if (round == 0) {
        __builtin_prefetch(bucket);
        continue;
      }
      for (unsigned slot = 0; slot < kSlotsPerBucket && bucket->fingerprint(slot); slot++) {
        __builtin_prefetch(pool_.base() + bucket->ref(slot) * 8);
      }
    }
  }
}

// Returns how many entries it has deleted.
unsigned Keyspace::expire_bucket(int db, size_t area_index, int64_t now_ms, GoneSink& sink) {
  const uint32_t number = uint32_t(area_index) & (stripe_count_ - 1);
  const uint32_t index = uint32_t(area_index >> stripe_bits_);
  Stripe& stripe = stripes_[number];
  StripeGuard guard(*this, stripe);
  Table keys = table(db, number);
  if (index >= keys.state().buckets.load(std::memory_order_relaxed)) return 0;
  int64_t earliest_ms = Deadlines::kNeverMs;
  const unsigned deleted = keys.erase_in(index, [&](Ref ref) {
    Entry* const each = entry(ref);
    if (!each->has_expiry()) return false;
    if (!each->expired(now_ms)) {
      earliest_ms = std::min(earliest_ms, each->expiry_ms());
      return false;
    }
    sink.gone(db, each->key());
    save_for_snapshot(db, each);
    if (stripe.watches) touch_watches(db, stripe, this->key(each->key()), true);
    state(db, number).expiries--;
    stripe.expired++;
    free_entry(stripe, ref);
    return true;
  });
  keys.renew_expiry(index, earliest_ms);
  if (!snapshot_) keys.join_after(deleted);
  return deleted;
}

}  // namespace ignix
