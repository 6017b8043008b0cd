// The keyspace's work that no command waits for, but past maxmemory: what flushing leaves to be
// freed, buckets to be joined, slabs that deletions have made sparse, memory to be given back to
// the kernel. All in small steps, but for settle().
#include <algorithm>
#include <cassert>
#include <memory>
#include <new>

#include "store/keyspace.h"

namespace ignix {
namespace {

constexpr uint32_t kBucketsPerStep = 32;
constexpr size_t kMovesPerStep = 128;
constexpr unsigned kJoinsPerStep = 32;
constexpr size_t kSlabsPerStep = 16;
// Free slabs that stay resident for the next allocations, at least.
constexpr size_t kSpareBytesMin = 256 << 10;
constexpr size_t kSpareBlockBytes = 4ULL << 20;
// Unused buckets are given back in pieces: all stripes are locked meanwhile.
constexpr size_t kTrimBytes = 2ULL << 20;

}  // namespace

void Keyspace::flush(int db) {
  const uint64_t keys = key_count(db);
  if (keys == 0) return;
  about_to_flush(db);
  if (keys <= kFlushAtOnceKeys) return flush_at_once(db);
  auto flushed = std::unique_ptr<FlushedAreas>(new (std::nothrow) FlushedAreas);
  if (flushed) flushed->tables.reset(new (std::nothrow) FlushedTable[stripe_count_]);
  pthread_mutex_lock(&areas_lock_);
  TableAreas* fresh = flushed && flushed->tables ? make_areas(db) : nullptr;
  pthread_mutex_unlock(&areas_lock_);
  if (!fresh) return flush_at_once(db);
  flushed->areas = areas_[db].load(std::memory_order_relaxed);
  flushed->stripes_left = stripe_count_;
  areas_[db].store(fresh, std::memory_order_release);
  for (uint32_t i = 0; i < stripe_count_; i++) {
    TableState& keys_here = state(db, i);
    FlushedTable& old = flushed->tables[i];
    old.flushed = flushed.get();
    old.state = keys_here;
    old.next = stripes_[i].flushed;
    keys_here.clear();
    stripes_[i].flushed = &old;
  }
  flushes_.fetch_add(1, std::memory_order_relaxed);
  flushed.release();  // recycle() deletes it, when the last stripe is done
}

void Keyspace::flush_at_once(int db) {
  for (uint32_t i = 0; i < stripe_count_; i++) {
    TableState& keys = state(db, i);
    const Table entries = table(db, i);
    const uint32_t buckets = keys.buckets.load(std::memory_order_relaxed);
    for (uint32_t bucket = 0; bucket < buckets; bucket++) {
      entries.for_each_in(bucket, [&](Ref ref) { free_entry(stripes_[i], ref); });
    }
    keys.clear();
  }
  areas_[db].load(std::memory_order_relaxed)->clear();
}

// Some buckets of a flushed database. Returns whether the stripe has more.
bool Keyspace::free_flushed(uint32_t index) {
  FlushedAreas* finished = nullptr;
  bool more;
  {
    Stripe& stripe = stripes_[index];
    StripeGuard guard(*this, stripe);
    if (!stripe.flushed) return false;
    FlushedTable& old = *stripe.flushed;
    const Table entries(old.state, old.flushed->areas, secret_, pool_, index, stripe_bits_);
    uint32_t buckets = old.state.buckets.load(std::memory_order_relaxed);
    for (uint32_t i = 0; i < kBucketsPerStep && buckets > 0; i++) {
      entries.for_each_in(--buckets, [&](Ref ref) { __builtin_prefetch(entry(ref)); });
      entries.for_each_in(buckets, [&](Ref ref) { free_entry(stripe, ref); });
    }
    old.state.buckets.store(buckets, std::memory_order_relaxed);
    if (buckets == 0) {
      stripe.flushed = old.next;
      if (old.flushed->stripes_left.fetch_sub(1) == 1) finished = old.flushed;
    }
    more = stripe.flushed;
  }
  if (finished) recycle(finished);
  return more;
}

void Keyspace::recycle(FlushedAreas* flushed) {
  flushes_.fetch_sub(1, std::memory_order_relaxed);
  flushed->areas->clear();
  pthread_mutex_lock(&areas_lock_);
  flushed->areas->next_spare = spare_areas_;
  spare_areas_ = flushed->areas;
  pthread_mutex_unlock(&areas_lock_);
  delete flushed;
}

// While a snapshot is walked erasing joins nothing; this makes up for it. Returns whether it did.
bool Keyspace::join_some(uint32_t index) {
  bool joined = false;
  for (int db = 0; db < databases_ && !snapshot_; db++) {
    if (!areas_[db].load(std::memory_order_relaxed)) continue;
    const auto& buckets = state(db, index).buckets;
    const uint32_t before = buckets.load(std::memory_order_relaxed);
    table(db, index).join_after(kJoinsPerStep);
    joined = joined || buckets.load(std::memory_order_relaxed) < before;
  }
  return joined;
}

void Keyspace::settle() {
  // From the last stripe on: who takes all locks meanwhile, from the first one, waits for one step.
  for (uint32_t i = stripe_count_; i-- > 0;) {
    bool more = true;
    while (more) {
      StripeGuard guard(*this, stripes_[i]);
      more = join_some(i);
    }
  }
  while (trim_all_buckets()) continue;
  update_table_bytes();
}

bool Keyspace::maintain(uint32_t index, bool thorough) {
  if (free_flushed(index)) return true;
  Stripe& stripe = stripes_[index];
  StripeGuard guard(*this, stripe);
  // The entries of a flushed table cannot be found by their keys, so they cannot be moved.
  if (stripe.flushed) return true;
  const bool joined = join_some(index);
  const auto moved = [&](Ref from, Ref to) { fix_slot(index, from, to); };
  if (stripe.heap.compact(kMovesPerStep, thorough, moved)) return true;
  if (thorough || over_limit()) stripe.heap.drop_empty();
  return joined;
}

// The one slot that points at the entry, in whichever database, gets its new Ref.
void Keyspace::fix_slot(uint32_t index, Ref from, Ref to) {
  const uint64_t hash = hash_bytes(secret_, entry(to)->key());
  for (int db = 0; db < databases_; db++) {
    if (const FoundSlot found = table(db, index).find_ref(hash, from)) {
      found.bucket->set_ref(found.slot, to);
      return;
    }
  }
  assert(!"an entry without a slot");
}

bool Keyspace::maintain_shared(int64_t now_ms) {
  update_table_bytes();
  const size_t keep = spare_bytes_max(std::max(kSpareBytesMin, pool_.taken_bytes() / 64));
  bool more = pool_.release(keep, kSlabsPerStep);
  more = blocks_.release_unneeded(spare_bytes_max(kSpareBlockBytes), now_ms) || more;
  return trim_all_buckets() || more;
}

bool Keyspace::purge_shared() {
  update_table_bytes();
  bool more = pool_.release(0, kSlabsPerStep);
  more = blocks_.release_some(0) || more;
  return trim_all_buckets() || more;
}

void Keyspace::release_spare() {
  const size_t keep = spare_bytes_max(SIZE_MAX);
  pool_.release_ahead();
  if (pool_.spare_bytes() > keep) pool_.release(keep, kSlabsPerStep);
  if (blocks_.spare_bytes() > keep) blocks_.release_some(keep);
}

void Keyspace::update_table_bytes() {
  uint64_t overflows = 0, bytes = 0;
  for (uint32_t i = 0; i < stripe_count_; i++) {
    StripeGuard guard(*this, stripes_[i]);
    for (int db = 0; db < databases_; db++) overflows += state(db, i).overflow_touched;
  }
  // Of home buckets all that have been made ready, be they used or not yet.
  for (int db = 0; db < databases_; db++) {
    const TableAreas* areas = areas_[db].load(std::memory_order_acquire);
    if (!areas) continue;
    bytes += std::max(area_buckets(db) * sizeof(Bucket),
                      areas->huge_end.load(std::memory_order_relaxed));
    bytes += areas->deadlines.bytes_for(area_buckets(db));
  }
  table_bytes_.store(bytes + overflows * sizeof(Bucket), std::memory_order_relaxed);
}

bool Keyspace::trim_all_buckets() {
  bool more = false;
  for (int db = 0; db < databases_; db++) more = trim_buckets(db) || more;
  return more;
}

// The memory of buckets that joining has left unused, from the end. Returns whether there is more.
bool Keyspace::trim_buckets(int db) {
  TableAreas* areas = areas_[db].load(std::memory_order_acquire);
  if (!areas) return false;
  const size_t row_bytes = size_t(stripe_count_) * sizeof(Bucket);  // one bucket of each stripe
  const uint32_t piece = uint32_t(std::max<size_t>(1, kTrimBytes / row_bytes));
  const auto used = [&] {
    uint32_t most = 0;
    for (uint32_t i = 0; i < stripe_count_; i++) {
      most = std::max(most, state(db, i).buckets.load(std::memory_order_relaxed));
    }
    // The next growth should find its buckets still there.
    return most + most / 16 + uint32_t(kTrimBytes / 8 / row_bytes);
  };
  if (areas->touched.load(std::memory_order_relaxed) <= used()) return false;
  lock_all();
  areas = areas_[db].load(std::memory_order_relaxed);  // another one, or none, after a swap
  const uint32_t touched = buckets_touched(db);
  const uint32_t least = used();
  uint32_t keep = touched;
  if (touched > least) {
    keep = std::max(least, touched > piece ? touched - piece : 0);
    // To the end of the piece that the kernel may have made resident as a whole.
    areas->discard_buckets(keep * row_bytes);
    areas->touched.store(keep, std::memory_order_relaxed);
  }
  unlock_all();
  return keep > least;
}

}  // namespace ignix
