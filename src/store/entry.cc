#include "store/entry.h"

#include <cassert>

namespace ignix {

int64_t Entry::integer() const {
  const char* p = chars() + value_offset();
  switch (stored_bytes()) {
    case 1:
      return int8_t(*p);
    case 2: {
      int16_t value;
      memcpy(&value, p, 2);
      return value;
    }
    case 4: {
      int32_t value;
      memcpy(&value, p, 4);
      return value;
    }
    default: {
      int64_t value;
      memcpy(&value, p, 8);
      return value;
    }
  }
}

size_t pack_integer(int64_t value, char out[8]) {
  memcpy(out, &value, 8);
  if (value == int8_t(value)) return 1;
  if (value == int16_t(value)) return 2;
  if (value == int32_t(value)) return 4;
  return 8;
}

void Entry::write(const EntryShape& shape, std::string_view stored_key, std::string_view stored,
                  int64_t expiry_ms, uint32_t clock, bool epoch) {
  assert(shape.value_bytes == stored.size() && shape.key_bytes == stored_key.size());
  bytes_[0] = uint8_t(uint8_t(shape.type) | uint8_t(shape.encoding) << 3 |
                      (shape.has_expiry ? kExpiryBit : 0) | (shape.long_key ? kLongKeyBit : 0) |
                      (shape.long_value() ? kLongValueBit : 0));
  // The key may stand in this very entry at another offset, so it goes first.
  if (!stored_key.empty()) memmove(chars() + key_offset(), stored_key.data(), stored_key.size());
  set_stamp(clock | (epoch ? kClockMask + 1 : 0));
  bytes_[4] = uint8_t(stored_key.size());
  bytes_[5] = uint8_t(stored.size());
  if (shape.long_value()) bytes_[6] = uint8_t(stored.size() >> 8);
  if (shape.has_expiry) memcpy(chars() + expiry_offset(), &expiry_ms, sizeof expiry_ms);
  if (!stored.empty()) memcpy(chars() + value_offset(), stored.data(), stored.size());
}

void Entry::set_expiry(int64_t expiry_ms) {
  const size_t from = key_offset(), rest_bytes = key_bytes() + stored_bytes();
  bytes_[0] = uint8_t((bytes_[0] & ~kExpiryBit) | (expiry_ms != kNoExpiry ? kExpiryBit : 0));
  if (key_offset() != from) memmove(chars() + key_offset(), chars() + from, rest_bytes);
  if (has_expiry()) memcpy(chars() + expiry_offset(), &expiry_ms, sizeof expiry_ms);
}

}  // namespace ignix
