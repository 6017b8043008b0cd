#include "store/string.h"

namespace ignix {
namespace {

// An embedded value with the longest key stored in the entry and an expiry still fits.
constexpr size_t kEmbeddedBytesMax = kEntryBytesMax - kShortKeyBytes - 16;

}  // namespace

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
