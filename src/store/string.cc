#include "store/string.h"

#include <algorithm>
#include <cstring>

namespace ignix {
namespace {

// An embedded value with the longest key stored in the entry and an expiry still fits.
constexpr size_t kEmbeddedBytesMax = kEntryBytesMax - kShortKeyBytes - 16;

// Of what is added to a string in a block, a quarter of all of it, for more to come.
constexpr size_t kRoomShare = 4;
// Fresh memory of the kernel is zero, and blocks longer than this are always fresh.
constexpr size_t kFreshBytes = 8ULL << 20;
static_assert(kFreshBytes > kKeptBlockBytesMax);

struct Patch {
  size_t offset;
  std::string_view bytes;
  size_t end() const { return offset + bytes.size(); }
};

// `to` holds `old_bytes` of the string, and has room for all of it.
void apply(const Patch& patch, char* to, size_t old_bytes, bool is_zero) {
  if (patch.offset > old_bytes && !is_zero) memset(to + old_bytes, 0, patch.offset - old_bytes);
  if (!patch.bytes.empty()) memcpy(to + patch.offset, patch.bytes.data(), patch.bytes.size());
}

// In the block, if it is the entry's alone and has the room.
bool patch_block(Keyspace& keyspace, int db, const Key& key, Entry* entry, const Patch& patch) {
  keyspace.prepare_change(db, key, entry);
  Block* const block = entry->block();
  if (!block->is_own() || patch.end() > block->room_bytes) return false;
  apply(patch, block->data, block->length_bytes, false);
  if (patch.end() > block->length_bytes) block->set_length(patch.end());
  return true;
}

bool put_string(Keyspace& keyspace, int db, const Key& key, Entry* old, const StoredValue& value,
                uint32_t clock) {
  return old ? keyspace.replace(db, key, old, value, old->expiry_ms(), clock)
             : keyspace.put(db, key, value, kNoExpiry, clock);
}

}  // namespace

bool patch_string(Keyspace& keyspace, int db, const Key& key, Entry* entry, size_t offset,
                  std::string_view bytes, uint32_t clock) {
  const Patch patch = {offset, bytes};
  const bool was_block = entry && entry->encoding() == Encoding::kBlock;
  if (was_block && patch_block(keyspace, db, key, entry, patch)) return true;
  StringScratch scratch;
  StoredValue stored;
  if (!entry && offset == 0) {
    return encode_string(bytes, keyspace.blocks(), scratch, stored) &&
           keyspace.put(db, key, stored, kNoExpiry, clock);
  }
  const std::string_view old = entry ? string_value(*entry, scratch) : std::string_view();
  const size_t length = std::max(old.size(), patch.end());
  if (length <= kEmbeddedBytesMax) {
    char whole[kEmbeddedBytesMax];
    if (!old.empty()) memcpy(whole, old.data(), old.size());
    apply(patch, whole, old.size(), false);
    const StoredValue value = {Type::kString, Encoding::kEmbedded, {whole, length}};
    return put_string(keyspace, db, key, entry, value, clock);
  }
  const bool grows_again = was_block && length > old.size();
  const size_t room = grows_again ? length + length / kRoomShare : length;
  Block* const block = keyspace.blocks().make_roomy(length, room);
  if (!block) return false;
  if (!old.empty()) memcpy(block->data, old.data(), old.size());
  apply(patch, block->data, old.size(), room > kFreshBytes);
  keyspace.blocks().adopt(block);
  StringScratch block_scratch;
  return put_string(keyspace, db, key, entry, block_value(block, block_scratch), clock);
}

char* change_block(Keyspace& keyspace, int db, const Key& key, Entry* entry, uint32_t clock) {
  keyspace.prepare_change(db, key, entry);
  Block* block = entry->block();
  if (block->is_own()) return block->data;
  block = keyspace.blocks().make(block->view());
  if (!block) return nullptr;
  StringScratch block_scratch;
  const StoredValue copy = block_value(block, block_scratch);
  return keyspace.replace(db, key, entry, copy, entry->expiry_ms(), clock) ? block->data : nullptr;
}

std::string_view string_value(const Entry& entry, StringScratch& scratch) {
  switch (entry.encoding()) {
    case Encoding::kInteger:
      return {scratch.bytes, format_integer(entry.integer(), scratch.bytes)};
    case Encoding::kBlock:
      return entry.block()->view();
    default:
      return entry.stored();
  }
}

StoredValue encode_integer(int64_t value, StringScratch& scratch) {
  const size_t length = pack_integer(value, scratch.bytes);
  return {Type::kString, Encoding::kInteger, {scratch.bytes, length}};
}

StoredValue block_value(Block* block, StringScratch& scratch) {
  memcpy(scratch.bytes, &block, sizeof block);
  return {Type::kString, Encoding::kBlock, {scratch.bytes, sizeof block}};
}

bool encode_string(std::string_view value, BlockHeap& blocks, StringScratch& scratch,
                   StoredValue& stored) {
  int64_t number;
  if (value.size() <= kIntegerBytesMax && parse_integer(value, number)) {
    stored = encode_integer(number, scratch);
    return true;
  }
  if (value.size() <= kEmbeddedBytesMax) {
    stored = {Type::kString, Encoding::kEmbedded, value};
    return true;
  }
  Block* block = blocks.make(value);
  if (!block) return false;
  stored = block_value(block, scratch);
  return true;
}

bool string_integer(const Entry& entry, int64_t& value) {
  if (entry.encoding() == Encoding::kInteger) {
    value = entry.integer();
    return true;
  }
  return entry.encoding() == Encoding::kEmbedded && parse_integer(entry.stored(), value);
}

}  // namespace ignix
