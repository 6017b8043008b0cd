#include "store/keyspace.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <new>

#include "base/log.h"

namespace ignix {
namespace {

size_t machine_memory_bytes() {
  struct sysinfo info;
  if (sysinfo(&info) != 0) return size_t(16) << 30;
  return size_t(info.totalram) * info.mem_unit;
}

}  // namespace

bool Keyspace::open(int databases, int threads) {
  databases_ = databases;
  stripe_count_ = std::clamp(std::bit_ceil(uint32_t(threads) * kStripesPerThread), kStripesMin,
                             kStripesMax);
  stripe_bits_ = unsigned(std::countr_zero(stripe_count_));
  secret_ = random_hash_secret();
  stripes_.reset(new (std::nothrow) Stripe[stripe_count_]);
  areas_.reset(new (std::nothrow) TableAreas[size_t(databases)]);
  const size_t memory = machine_memory_bytes();
  bool opened = stripes_ && areas_ && pool_.open(memory);
  for (int db = 0; opened && db < databases; db++) opened = areas_[db].reserve(memory);
  if (!opened) {
    log_warning("cannot reserve address space for the keyspace: see ulimit -v");
    return false;
  }
  for (uint32_t i = 0; i < stripe_count_; i++) {
    stripes_[i].heap.open(&pool_);
    stripes_[i].others = std::vector<TableState>(size_t(databases) - 1);
  }
  return true;
}

void Keyspace::lock_all() {
  for (uint32_t i = 0; i < stripe_count_; i++) stripes_[i].lock.lock();
}

void Keyspace::unlock_all() {
  for (uint32_t i = stripe_count_; i-- > 0;) stripes_[i].lock.unlock();
}

Entry* Keyspace::find(int db, const Key& key) const {
  const SlotPlace place = table(db, stripe_index(key.hash)).find(key.hash, key.text);
  return place ? entry(place.ref()) : nullptr;
}

void Keyspace::drop_value(Stripe& stripe, Entry* entry) {
  if (entry->encoding() != Encoding::kBlock) return;
  stripe.block_bytes -= entry->block()->length_bytes;
  drop_block(entry->block());
}

void Keyspace::drop_blocks(Stripe& stripe, Entry* entry) {
  drop_value(stripe, entry);
  if (Block* key = entry->key_block()) {
    stripe.block_bytes -= key->length_bytes;
    drop_block(key);
  }
}

bool Keyspace::put(int db, const Key& key, const StoredValue& value, int64_t expiry_ms) {
  const uint32_t index = stripe_index(key.hash);
  Stripe& stripe = stripes_[index];
  const SlotPlace place = table(db, index).find(key.hash, key.text);
  const bool done = place ? replace(stripe, state(db, index), place, value, expiry_ms)
                          : add(db, stripe, key, value, expiry_ms);
  if (value.encoding == Encoding::kBlock) {
    Block* block;
    memcpy(&block, value.bytes.data(), sizeof block);
    if (done) {
      stripe.block_bytes += block->length_bytes;
    } else {
      drop_block(block);
    }
  }
  return done;
}

// The key stays as it is stored. An entry whose size class does not change is written in place.
bool Keyspace::replace(Stripe& stripe, TableState& state, SlotPlace place,
                       const StoredValue& value, int64_t expiry_ms) {
  const Ref old_ref = place.ref();
  Entry* old = entry(old_ref);
  const EntryShape before = old->shape();
  EntryShape after = before;
  after.type = value.type;
  after.encoding = value.encoding;
  after.value_bytes = value.bytes.size();
  after.has_expiry = expiry_ms != kNoExpiry;
  const size_t before_bytes = before.total_bytes(), after_bytes = after.total_bytes();
  if (heap_class(before_bytes) == heap_class(after_bytes)) {
    drop_value(stripe, old);
    old->write(after, old->stored_key(), value.bytes, expiry_ms);
  } else {
    const Ref ref = stripe.heap.allocate(after_bytes);
    if (!ref) return false;
    drop_value(stripe, old);
    entry(ref)->write(after, old->stored_key(), value.bytes, expiry_ms);
    place.bucket->set_ref(place.slot, ref);
    stripe.heap.free(old_ref, before_bytes);
  }
  state.expiries += uint64_t(after.has_expiry) - uint64_t(before.has_expiry);
  return true;
}

bool Keyspace::add(int db, Stripe& stripe, const Key& key, const StoredValue& value,
                   int64_t expiry_ms) {
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
    key_block = make_block(key.text);
    if (!key_block) return false;
    stored_key = {reinterpret_cast<const char*>(&key_block), sizeof key_block};
    shape.key_bytes = stored_key.size();
  }
  const Ref ref = stripe.heap.allocate(shape.total_bytes());
  if (ref) {
    entry(ref)->write(shape, stored_key, value.bytes, expiry_ms);
    if (table(db, index).insert(key.hash, ref)) {
      if (key_block) stripe.block_bytes += key.text.size();
      state(db, index).expiries += shape.has_expiry;
      return true;
    }
    stripe.heap.free(ref, shape.total_bytes());
  }
  if (key_block) drop_block(key_block);
  return false;
}

bool Keyspace::erase(int db, const Key& key) {
  const uint32_t index = stripe_index(key.hash);
  Stripe& stripe = stripes_[index];
  Table keys = table(db, index);
  const SlotPlace place = keys.find(key.hash, key.text);
  if (!place) return false;
  const Ref ref = place.ref();
  Entry* old = entry(ref);
  state(db, index).expiries -= old->has_expiry();
  // While the entry's key can still be read: joining buckets hashes no keys, but splitting does.
  keys.erase(key.hash, place);
  drop_blocks(stripe, old);
  stripe.heap.free(ref, old->total_bytes());
  return true;
}

void Keyspace::flush(int db) {
  for (uint32_t i = 0; i < stripe_count_; i++) {
    Stripe& stripe = stripes_[i];
    TableState& keys = state(db, i);
    const Table entries = table(db, i);
    const uint32_t buckets = keys.buckets.load(std::memory_order_relaxed);
    for (uint32_t bucket = 0; bucket < buckets; bucket++) {
      entries.for_each_in(bucket, [&](Ref ref) {
        Entry* old = entry(ref);
        drop_blocks(stripe, old);
        stripe.heap.free(ref, old->total_bytes());
      });
    }
    keys.buckets.store(0, std::memory_order_relaxed);
    keys.overflow_touched = keys.overflow_free = keys.overflow_spare = 0;
    keys.keys = keys.expiries = 0;
  }
  areas_[db].buckets.discard(0, SIZE_MAX);
  areas_[db].overflow.discard(0, SIZE_MAX);
}

uint64_t Keyspace::key_count(int db) const {
  uint64_t count = 0;
  for (uint32_t i = 0; i < stripe_count_; i++) count += state(db, i).keys;
  return count;
}

uint64_t Keyspace::expiry_count(int db) const {
  uint64_t count = 0;
  for (uint32_t i = 0; i < stripe_count_; i++) count += state(db, i).expiries;
  return count;
}

uint64_t Keyspace::used_bytes() {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < stripe_count_; i++) {
    SpinGuard guard(stripes_[i].lock);
    bytes += stripes_[i].heap.used_bytes() + stripes_[i].block_bytes;
    for (int db = 0; db < databases_; db++) {
      const TableState& keys = state(db, i);
      bytes += (keys.buckets.load(std::memory_order_relaxed) + uint64_t(keys.overflow_touched)) *
               sizeof(Bucket);
    }
  }
  return bytes;
}

void StripeLocks::lock(Keyspace& keyspace, const uint64_t* hashes, size_t count) {
  indexes_.clear();
  for (size_t i = 0; i < count; i++) indexes_.push_back(keyspace.stripe_index(hashes[i]));
  std::sort(indexes_.begin(), indexes_.end());
  indexes_.erase(std::unique(indexes_.begin(), indexes_.end()), indexes_.end());
  for (uint32_t index : indexes_) keyspace.stripe(index).lock.lock();
}

void StripeLocks::unlock(Keyspace& keyspace) {
  for (size_t i = indexes_.size(); i-- > 0;) keyspace.stripe(indexes_[i]).lock.unlock();
}

}  // namespace ignix
