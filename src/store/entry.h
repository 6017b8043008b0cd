// An entry: a key, its value and what is known of them, in one allocation of the heap.
//
//     byte 0      bits 0-2  type            bits 3-4  encoding of the value
//                 bit 5     has expiry      bit 6     long key       bit 7  long value
//     bytes 1-3   bits 0-22 access clock: when it was last used, or how often
//                 bit 23    epoch: which snapshots have it, see store/snapshot.h
//     byte 4      length of the key as stored here
//     then        length of the value as stored here; with "long value" two bytes
//     then        expiry, ms since 1970, eight bytes, if there is one
//     then        the key, the value
//
// So a 16-byte key and a 64-byte value take 6 + 80 bytes. Nothing is aligned: fields are read with
// memcpy, which costs nothing on the machines of interest. Lengths and integers are little-endian.
//
// A long key, one of more than 255 bytes, is stored as a pointer to a Block.
// Values: kEmbedded: the bytes themselves. kInteger: the value, in as few of 1, 2, 4 or 8 bytes as
// hold it. kBlock: a pointer to a Block, for what would make the entry longer than kEntryBytesMax.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/limits.h"
#include "store/block.h"

namespace ignix {

enum class Type : uint8_t { kString, kList, kSet, kZset, kHash, kStream };
enum class Encoding : uint8_t { kEmbedded, kInteger, kBlock };

// The access clock: 23 bits of seconds, which go around in 97 days. Whoever reads an entry need not
// write it each time: that would dirty its line, and double the traffic to memory. See
// store/usage.h, also for what else the bits may mean.
constexpr uint32_t kClockMask = 0x7fffff;
inline uint32_t access_clock(int64_t now_ms) { return uint32_t(now_ms / 1000) & kClockMask; }

constexpr size_t kShortKeyBytes = UINT8_MAX;
constexpr int64_t kNoExpiry = -1;

// What an entry is to be made of.
struct EntryShape {
  Type type = Type::kString;
  Encoding encoding = Encoding::kEmbedded;
  bool long_key = false;
  bool has_expiry = false;
  size_t key_bytes = 0;  // both as stored in the entry
  size_t value_bytes = 0;

  bool long_value() const { return value_bytes > UINT8_MAX; }
  size_t total_bytes() const { return 6 + long_value() + 8 * has_expiry + key_bytes + value_bytes; }
};

class Entry {
 public:
  Type type() const { return Type(bytes_[0] & 7); }
  Encoding encoding() const { return Encoding(bytes_[0] >> 3 & 3); }
  bool has_expiry() const { return bytes_[0] & kExpiryBit; }

  std::string_view key() const {
    return long_key() ? block_in(stored_key())->view() : stored_key();
  }
  // Key and value as stored, see above.
  std::string_view stored_key() const { return {chars() + key_offset(), key_bytes()}; }
  std::string_view stored() const { return {chars() + value_offset(), stored_bytes()}; }

  // kInteger and kBlock only.
  int64_t integer() const;
  Block* block() const { return block_in(stored()); }
  // The block of the key, or nullptr.
  Block* key_block() const { return long_key() ? block_in(stored_key()) : nullptr; }

  int64_t expiry_ms() const {
    if (!has_expiry()) return kNoExpiry;
    int64_t at;
    memcpy(&at, chars() + expiry_offset(), sizeof at);
    return at;
  }
  bool expired(int64_t now_ms) const { return has_expiry() && expiry_ms() <= now_ms; }

  uint32_t clock() const { return stamp() & kClockMask; }
  // Written only when it changes, so that reading does not dirty the cache line.
  void touch(uint32_t clock) {
    if (this->clock() == clock) return;
    set_stamp(clock | (stamp() & ~kClockMask));
  }

  bool epoch() const { return bytes_[3] & 0x80; }
  void set_epoch(bool epoch) { set_stamp(clock() | (epoch ? kClockMask + 1 : 0)); }

  EntryShape shape() const {
    return {type(), encoding(), long_key(), has_expiry(), key_bytes(), stored_bytes()};
  }
  size_t total_bytes() const { return value_offset() + stored_bytes(); }

  // Writes a whole entry of `shape` (shape.total_bytes() long). `stored_key` may be the entry's
  // own.
  void write(const EntryShape& shape, std::string_view stored_key, std::string_view stored,
             int64_t expiry_ms, uint32_t clock, bool epoch);
  // Another expiry, or none, in place; what is longer by it must have been allocated.
  void set_expiry(int64_t expiry_ms);

 private:
  static constexpr uint8_t kExpiryBit = 1 << 5, kLongKeyBit = 1 << 6, kLongValueBit = 1 << 7;

  char* chars() { return reinterpret_cast<char*>(bytes_); }
  const char* chars() const { return reinterpret_cast<const char*>(bytes_); }
  uint32_t stamp() const {
    return bytes_[1] | uint32_t(bytes_[2]) << 8 | uint32_t(bytes_[3]) << 16;
  }
  void set_stamp(uint32_t stamp) { memcpy(bytes_ + 1, &stamp, 3); }
  bool long_key() const { return bytes_[0] & kLongKeyBit; }
  bool long_value() const { return bytes_[0] & kLongValueBit; }
  size_t expiry_offset() const { return 6 + long_value(); }
  size_t key_offset() const { return expiry_offset() + 8 * size_t(has_expiry()); }
  size_t value_offset() const { return key_offset() + key_bytes(); }
  size_t key_bytes() const { return bytes_[4]; }
  size_t stored_bytes() const {
    return long_value() ? bytes_[5] | size_t(bytes_[6]) << 8 : bytes_[5];
  }
  static Block* block_in(std::string_view stored) {
    Block* block;
    memcpy(&block, stored.data(), sizeof block);
    return block;
  }

  uint8_t bytes_[kEntryBytesMax];  // total_bytes() of them exist
};

// An integer as kInteger stores it; returns the number of bytes written to `out`.
size_t pack_integer(int64_t value, char out[8]);

}  // namespace ignix
