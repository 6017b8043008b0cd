#include "store/keyspace.h"

#include <sys/resource.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <new>

#include "base/log.h"
#include "store/usage.h"

namespace ignix {
namespace {

// The machine's memory; less where RLIMIT_AS leaves no room for reserving several times as much.
size_t memory_to_reserve_for(bool& limited) {
  struct sysinfo info;
  size_t bytes = size_t(16) << 30;
  if (sysinfo(&info) == 0) bytes = size_t(info.totalram) * info.mem_unit;
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    bytes = std::min<size_t>(bytes, limit.rlim_cur / 12);
    limited = true;
    log_warning("the address space is limited to %llu MB (ulimit -v): at most %llu MB of entries",
                (unsigned long long)(limit.rlim_cur >> 20), (unsigned long long)(bytes >> 18));
  }
  return bytes;
}

}  // namespace

bool Keyspace::open(int databases, int threads) {
  databases_ = databases;
  shared_ = threads > 1;
  stripe_count_ =
      std::clamp(std::bit_ceil(uint32_t(threads) * kStripesPerThread), kStripesMin, kStripesMax);
  stripe_bits_ = unsigned(std::countr_zero(stripe_count_));
  secret_ = random_hash_secret();
  stripes_.reset(new (std::nothrow) Stripe[stripe_count_]);
  areas_.reset(new (std::nothrow) std::atomic<TableAreas*>[size_t(databases)]());
  reserve_bytes_ = memory_to_reserve_for(limited_);
  // Four times the memory leaves room for what fragmentation could ever ask for.
  if (!stripes_ || !areas_ || !pool_.open(4 * reserve_bytes_, &bell_) ||
      !blocks_.open(2 * reserve_bytes_) || !prepare_areas(0)) {
    log_warning("cannot reserve address space for the keyspace: see ulimit -v");
    return false;
  }
  for (uint32_t i = 0; i < stripe_count_; i++) {
    stripes_[i].heap.open(&pool_);
    stripes_[i].others = std::vector<TableState>(size_t(databases) - 1);
  }
  return true;
}

Keyspace::~Keyspace() {
  for (uint32_t i = 0; stripes_ && i < stripe_count_; i++) {
    while (FlushedTable* const old = stripes_[i].flushed) {
      stripes_[i].flushed = old->next;
      if (old->flushed->stripes_left.fetch_sub(1) > 1) continue;
      delete old->flushed->areas;
      delete old->flushed;
    }
  }
  for (int db = 0; areas_ && db < databases_; db++) delete areas_[db].load();
  while (TableAreas* const areas = spare_areas_) {
    spare_areas_ = areas->next_spare;
    delete areas;
  }
}

// The smallest that has so much address space, or nullptr. areas_lock_ is held.
TableAreas* Keyspace::take_spare_areas(size_t least_bytes) {
  TableAreas** found = nullptr;
  for (TableAreas** at = &spare_areas_; *at; at = &(*at)->next_spare) {
    const size_t bytes = (*at)->buckets.reserved();
    if (bytes >= least_bytes && (!found || bytes < (*found)->buckets.reserved())) found = at;
  }
  if (!found) return nullptr;
  TableAreas* const areas = *found;
  *found = areas->next_spare;
  return areas;
}

// No less than the database has now. Under a limit on address space, the databases beyond the first
// make do with little. nullptr if that is not to be had. areas_lock_ is held.
TableAreas* Keyspace::make_areas(int db) {
  const TableAreas* const now = areas_[db].load(std::memory_order_relaxed);
  const size_t least = now ? now->buckets.reserved() : 0;
  if (TableAreas* const areas = take_spare_areas(least)) return areas;
  const size_t bytes = db && limited_ ? std::max(least, reserve_bytes_ / 16) : reserve_bytes_;
  TableAreas* areas = new (std::nothrow) TableAreas;
  if (areas && (!areas->reserve(bytes) || areas->buckets.reserved() < least)) {
    delete areas;
    return nullptr;
  }
  if (areas) areas->bell = &bell_;
  if (areas) areas->counted_bytes = &table_bytes_;
  if (areas) areas->deadlines.set_clock(&expiry_clock_);
  return areas;
}

// False if there is no address space for the database's tables.
bool Keyspace::prepare_areas(int db) {
  if (areas_[db].load(std::memory_order_acquire)) return true;
  pthread_mutex_lock(&areas_lock_);
  if (!areas_[db].load(std::memory_order_relaxed)) {
    areas_[db].store(make_areas(db), std::memory_order_release);
  }
  pthread_mutex_unlock(&areas_lock_);
  return areas_[db].load(std::memory_order_relaxed) != nullptr;
}

void Keyspace::expect(int db, uint64_t keys) {
  if (!prepare_areas(db)) return;
  const size_t row_bytes = size_t(stripe_count_) * sizeof(Bucket);
  areas_[db].load(std::memory_order_relaxed)->expect(keys, row_bytes);
}

void Keyspace::expect(int db, uint64_t keys, uint32_t index) {
  if (!areas_[db].load(std::memory_order_acquire)) return;
  StripeGuard guard(*this, stripes_[index]);
  table(db, index).expect(keys / stripe_count_);
}

void Keyspace::lock_all() {
  for (uint32_t i = 0; i < stripe_count_; i++) lock(stripes_[i]);
  all_held_++;
}

void Keyspace::unlock_all() {
  assert(all_held_ > 0);
  all_held_--;
  for (uint32_t i = stripe_count_; i-- > 0;) unlock(stripes_[i]);
}

Entry* Keyspace::find(int db, const Key& key) const {
  const FoundSlot found = table(db, stripe_index(key.hash)).find(key.hash, key.text);
  return found ? entry(found.ref()) : nullptr;
}

void Keyspace::drop_value(Entry* entry) {
  if (entry->encoding() == Encoding::kBlock) drop_block(entry->block());
}

void Keyspace::drop_blocks(Entry* entry) {
  drop_value(entry);
  if (Block* key = entry->key_block()) drop_block(key);
}

void Keyspace::free_entry(Stripe& stripe, Ref ref) {
  Entry* old = entry(ref);
  drop_blocks(old);
  stripe.heap.free(ref, old->total_bytes());
}

bool Keyspace::put(int db, const Key& key, const StoredValue& value, int64_t expiry_ms,
                   uint32_t clock) {
  const uint32_t index = stripe_index(key.hash);
  Stripe& stripe = stripes_[index];
  const FoundSlot found = table(db, index).find(key.hash, key.text);
  return finish_put(value,
                    found ? replace_at(db, key, entry(found.ref()), found, value, expiry_ms, clock)
                          : add(db, stripe, key, value, expiry_ms, clock & kClockMask));
}

bool Keyspace::replace(int db, const Key& key, Entry* old, const StoredValue& value,
                       int64_t expiry_ms, uint32_t clock) {
  return finish_put(value, replace_at(db, key, old, {}, value, expiry_ms, clock));
}

// Takes over a block's reference, whatever became of it.
bool Keyspace::finish_put(const StoredValue& value, bool done) {
  if (!done && value.encoding == Encoding::kBlock) {
    Block* block;
    memcpy(&block, value.bytes.data(), sizeof block);
    drop_block(block);
  }
  return done;
}

// The key stays as it is stored. An entry whose size class does not change is written in place.
// `found` is its slot, if that is known; else it is looked for when it is needed.
bool Keyspace::replace_at(int db, const Key& key, Entry* old, FoundSlot found,
                          const StoredValue& value, int64_t expiry_ms, uint32_t clock) {
  const uint32_t index = stripe_index(key.hash);
  Stripe& stripe = stripes_[index];
  clock = clock & kOldKeepsClock ? old->clock() : clock & kClockMask;
  const EntryShape before = old->shape();
  EntryShape after = before;
  after.type = value.type;
  after.encoding = value.encoding;
  after.value_bytes = value.bytes.size();
  after.has_expiry = expiry_ms != kNoExpiry;
  const size_t before_bytes = before.total_bytes(), after_bytes = after.total_bytes();
  if (EntryClasses::of(before_bytes) == EntryClasses::of(after_bytes)) {
    about_to_change(db, key, old);
    drop_value(old);
    old->write(after, old->stored_key(), value.bytes, expiry_ms, clock, epoch_);
  } else {
    const Ref ref = stripe.heap.allocate(after_bytes);
    if (!ref) return false;
    about_to_change(db, key, old);
    drop_value(old);
    entry(ref)->write(after, old->stored_key(), value.bytes, expiry_ms, clock, epoch_);
    const Ref old_ref = ref_of(old);
    if (!found) found = table(db, index).find_ref(key.hash, old_ref);
    found.bucket->set_ref(found.slot, ref);
    stripe.heap.free(old_ref, before_bytes);
  }
  state(db, index).expiries += uint64_t(after.has_expiry) - uint64_t(before.has_expiry);
  if (after.has_expiry) table(db, index).note_expiry(key.hash, expiry_ms);
  return true;
}

bool Keyspace::set_expiry(int db, const Key& key, Entry* old, int64_t expiry_ms) {
  const uint32_t index = stripe_index(key.hash);
  Stripe& stripe = stripes_[index];
  const EntryShape before = old->shape();
  EntryShape after = before;
  after.has_expiry = expiry_ms != kNoExpiry;
  const size_t before_bytes = before.total_bytes(), after_bytes = after.total_bytes();
  if (EntryClasses::of(before_bytes) == EntryClasses::of(after_bytes)) {
    about_to_change(db, key, old);
    old->set_expiry(expiry_ms);
    old->set_epoch(epoch_);
  } else {
    const Ref ref = stripe.heap.allocate(after_bytes);
    if (!ref) return false;
    about_to_change(db, key, old);
    entry(ref)->write(after, old->stored_key(), old->stored(), expiry_ms, old->clock(), epoch_);
    const Ref old_ref = ref_of(old);
    const FoundSlot found = table(db, index).find_ref(key.hash, old_ref);
    found.bucket->set_ref(found.slot, ref);
    stripe.heap.free(old_ref, before_bytes);
  }
  state(db, index).expiries += uint64_t(after.has_expiry) - uint64_t(before.has_expiry);
  if (after.has_expiry) table(db, index).note_expiry(key.hash, expiry_ms);
  return true;
}

bool Keyspace::add(int db, Stripe& stripe, const Key& key, const StoredValue& value,
                   int64_t expiry_ms, uint32_t clock) {
  if (!prepare_areas(db)) return false;
  const uint32_t index = stripe_index(key.hash);
  std::string_view stored_key = key.text;
  Block* key_block = nullptr;
  EntryShape shape = {.type = value.type,
                      .encoding = value.encoding,
                      .long_key = key.text.size() > kShortKeyBytes,
                      .has_expiry = expiry_ms != kNoExpiry,
                      .key_bytes = stored_key.size(),
                      .value_bytes = value.bytes.size()};
  if (shape.long_key) {
    key_block = blocks_.make(key.text);
    if (!key_block) return false;
    stored_key = {reinterpret_cast<const char*>(&key_block), sizeof key_block};
    shape.key_bytes = stored_key.size();
  }
  const Ref ref = stripe.heap.allocate(shape.total_bytes());
  if (ref) {
    entry(ref)->write(shape, stored_key, value.bytes, expiry_ms, clock, epoch_);
    if (table(db, index).insert(key.hash, ref)) {
      about_to_add(db, key);
      state(db, index).expiries += shape.has_expiry;
      if (shape.has_expiry) table(db, index).note_expiry(key.hash, expiry_ms);
      return true;
    }
    stripe.heap.free(ref, shape.total_bytes());
  }
  if (key_block) drop_block(key_block);
  return false;
}

bool Keyspace::erase(int db, const Key& key) {
  const uint32_t index = stripe_index(key.hash);
  const FoundSlot found = table(db, index).find(key.hash, key.text);
  if (!found) return false;
  remove(db, index, key.hash, found);
  return true;
}

void Keyspace::remove(int db, uint32_t index, uint64_t hash, FoundSlot found) {
  const Ref ref = found.ref();
  Entry* old = entry(ref);
  about_to_erase(db, {hash, old->key()}, old);
  state(db, index).expiries -= old->has_expiry();
  // While the entry's key can still be read: joining buckets hashes no keys, but splitting does.
  table(db, index).erase(hash, found, !snapshot_);
  free_entry(stripes_[index], ref);
}

size_t Keyspace::find_filled(int db, size_t from, size_t end, bool with_expiry) const {
  const TableAreas* areas = areas_[db].load(std::memory_order_acquire);
  if (!areas) return end;
  if (with_expiry) return std::min(end, areas->deadlines.find_any(from, end));
  for (; from < end; from++) {
    const uint32_t stripe = uint32_t(from) & (stripe_count_ - 1);
    const Bucket* bucket = table(db, stripe).bucket_hint(uint32_t(from >> stripe_bits_));
    if (bucket && bucket->fingerprint(0)) return from;
  }
  return end;
}

void Keyspace::set_limit_bytes(uint64_t bytes) {
  limit_bytes_.store(bytes, std::memory_order_relaxed);
  blocks_.set_spare_limit(spare_bytes_max(SIZE_MAX));
}

// What may be kept for reuse; little where memory is limited.
size_t Keyspace::spare_bytes_max(size_t otherwise) const {
  constexpr size_t kLimitShare = 512;
  const uint64_t limit = limit_bytes();
  return limit ? std::min<size_t>(otherwise, limit / kLimitShare) : otherwise;
}

bool Keyspace::watch(Watch& watch) {
  Stripe& stripe = stripe_of(watch.hash);
  if (!stripe.watches) stripe.watches.reset(new (std::nothrow) WatchTable);
  return stripe.watches && stripe.watches->add(watch);
}

void Keyspace::unwatch(Watch& watch) {
  Stripe& stripe = stripe_of(watch.hash);
  stripe.watches->remove(watch);
  if (stripe.watches->empty()) stripe.watches.reset();
}

void Keyspace::about_to_flush(int db) {
  if (snapshot_) snapshot_->flushed(db_at_instant_[size_t(db)]);
  for (uint32_t i = 0; i < stripe_count_; i++) {
    if (!stripes_[i].watches) continue;
    stripes_[i].watches->for_each([&](Watch& watch) {
      if (watch.db == db && find(db, {watch.hash, watch.key()})) touch_watch(watch, true);
    });
  }
}

// Redis's rules: a key that is in neither of the two has not changed, nor has one whose time was
// over, or that was not there, and that is now one whose time is over.
void Keyspace::about_to_swap(int one, int other, int64_t now_ms) {
  for (uint32_t i = 0; i < stripe_count_; i++) {
    if (!stripes_[i].watches) continue;
    stripes_[i].watches->for_each([&](Watch& watch) {
      if (watch.db != one && watch.db != other) return;
      const Key key = {watch.hash, watch.key()};
      const Entry* const before = find(watch.db, key);
      const Entry* const after = find(watch.db == one ? other : one, key);
      const bool ends_expired = after && after->expired(now_ms);
      if (!before && ends_expired) {
        watch.was_expired = true;
      } else if ((before || after) && !(watch.was_expired && ends_expired)) {
        touch_watch(watch, !after);
      }
    });
  }
}

void Keyspace::swap(int one, int other, int64_t now_ms) {
  if (one == other) return;
  about_to_swap(one, other, now_ms);
  pthread_mutex_lock(&areas_lock_);
  areas_[other].store(areas_[one].exchange(areas_[other].load()));
  pthread_mutex_unlock(&areas_lock_);
  for (uint32_t i = 0; i < stripe_count_; i++) {
    TableState& state_of_one = state(one, i);
    TableState& state_of_other = state(other, i);
    TableState kept;
    kept = state_of_one;
    state_of_one = state_of_other;
    state_of_other = kept;
  }
  if (snapshot_) std::swap(db_at_instant_[size_t(one)], db_at_instant_[size_t(other)]);
  // A walk may have passed the one and now never come to what was the other's.
  if (expiry_count(one) || expiry_count(other)) expiry_clock_.lower_next(expiry_clock_.tick());
}

size_t Keyspace::memory_bytes(const Entry& entry) const {
  constexpr size_t kBucketShare = 10;
  size_t bytes = EntryClasses::bytes(EntryClasses::of(entry.total_bytes())) + kBucketShare;
  if (entry.encoding() == Encoding::kBlock) bytes += entry.block()->total_bytes();
  if (const Block* key = entry.key_block()) bytes += key->total_bytes();
  return bytes;
}

uint64_t Keyspace::key_count(int db) const {
  uint64_t count = 0;
  for (uint32_t i = 0; i < stripe_count_; i++) count += state(db, i).keys;
  return count;
}

bool Keyspace::has_keys(bool with_expiry) {
  for (uint32_t i = 0; i < stripe_count_; i++) {
    StripeGuard guard(*this, stripes_[i]);
    for (int db = 0; db < databases_; db++) {
      if (with_expiry ? state(db, i).expiries : state(db, i).keys) return true;
    }
  }
  return false;
}

uint64_t Keyspace::expiry_count(int db) const {
  uint64_t count = 0;
  for (uint32_t i = 0; i < stripe_count_; i++) count += state(db, i).expiries;
  return count;
}

uint64_t Keyspace::used_bytes() {
  uint64_t bytes = blocks_.used_bytes();
  for (uint32_t i = 0; i < stripe_count_; i++) {
    StripeGuard guard(*this, stripes_[i]);
    bytes += stripes_[i].heap.used_bytes();
    for (int db = 0; db < databases_; db++) {
      const TableState& keys = state(db, i);
      bytes += (keys.buckets.load(std::memory_order_relaxed) + uint64_t(keys.overflow_touched)) *
               sizeof(Bucket);
    }
  }
  return bytes;
}

void StripeLocks::lock(Keyspace& keyspace, const uint64_t* hashes, size_t count) {
  for (size_t i = 0; i < count; i++) add(keyspace, hashes[i]);
  for (uint32_t first = 0; first < keyspace.stripe_count(); first += 64) {
    for (uint64_t bits = wanted_[first / 64]; bits; bits &= bits - 1) {
      keyspace.lock(keyspace.stripe(first + uint32_t(std::countr_zero(bits))));
    }
  }
}

void StripeLocks::unlock(Keyspace& keyspace) {
  for (uint32_t first = 0; first < keyspace.stripe_count(); first += 64) {
    for (uint64_t& bits = wanted_[first / 64]; bits; bits &= bits - 1) {
      keyspace.unlock(keyspace.stripe(first + uint32_t(std::countr_zero(bits))));
    }
  }
}

}  // namespace ignix
