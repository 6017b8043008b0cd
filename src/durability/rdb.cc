#include "durability/rdb.h"

#include <cstdio>
#include <cstring>
#include <string>

#include "base/clock.h"
#include "base/crc64.h"
#include "base/limits.h"
#include "base/lzf.h"
#include "base/number.h"
#include "base/version.h"

namespace ignix::rdb {
namespace {

constexpr size_t kLengthBytesMax = 9;
constexpr size_t kStartBytesMax = 1 + 8 + 1 + kLengthBytesMax + 1;  // see put_start()
static_assert(kTextRoomBytes == 1 + 2 * kLengthBytesMax);

template <typename T>
char* put_number(char* p, T value) {
  memcpy(p, &value, sizeof value);
  return p + sizeof value;
}

char* put_length(char* p, uint64_t length) {
  if (length < 1 << 6) {
    *p++ = char(length);
  } else if (length < 1 << 14) {
    *p++ = char(0x40 | length >> 8);
    *p++ = char(length);
  } else if (length <= UINT32_MAX) {
    *p++ = char(0x80);
    p = put_number(p, __builtin_bswap32(uint32_t(length)));
  } else {
    *p++ = char(0x81);
    p = put_number(p, __builtin_bswap64(length));
  }
  return p;
}

char* put_raw(char* p, std::string_view text) {
  p = put_length(p, text.size());
  if (!text.empty()) memcpy(p, text.data(), text.size());
  return p + text.size();
}

// As few bytes as hold it; beyond 32 bits, its digits.
char* put_integer(char* p, int64_t value) {
  if (value == int8_t(value)) return *p++ = char(0xc0), put_number(p, int8_t(value));
  if (value == int16_t(value)) return *p++ = char(0xc1), put_number(p, int16_t(value));
  if (value == int32_t(value)) return *p++ = char(0xc2), put_number(p, int32_t(value));
  char digits[kIntegerBytesMax];
  return put_raw(p, {digits, format_integer(value, digits)});
}

// nullptr if that does not make it shorter. Both limits are Redis's.
char* put_compressed(char* p, std::string_view text) {
  constexpr size_t kBytesMin = 21, kSavedBytesMin = 4;
  if (text.size() < kBytesMin || text.size() > kCompressBytesMax) return nullptr;
  // How many bytes the lengths take is known afterwards.
  char* const packed = p + kTextRoomBytes;
  const size_t packed_bytes = lzf_compress(text, packed, text.size() - kSavedBytesMin);
  if (packed_bytes == 0) return nullptr;
  *p++ = char(0xc3);
  p = put_length(put_length(p, packed_bytes), text.size());
  memmove(p, packed, packed_bytes);
  return p + packed_bytes;
}

// With room for `bytes`: what `write` writes there, from the pointer that it gets to the one that
// it returns.
template <typename Write>
bool append(Output& out, size_t bytes, Write write) {
  if (!out.reserve(bytes)) return false;
  out.commit(size_t(write(out.room()) - out.room()));
  return true;
}

bool put_aux(Output& out, std::string_view name, std::string_view value) {
  return append(out, 1 + name.size() + value.size() + 2 * kTextRoomBytes, [&](char* p) {
    *p++ = char(kAux);
    return put_text(put_text(p, name, false), value, false);
  });
}

char* put_start(char* p, const EntryStart& start) {
  if (start.expiry_ms != kNoExpiry) *p++ = char(kExpireMs), p = put_number(p, start.expiry_ms);
  if (start.idle_seconds >= 0) *p++ = char(kIdle), p = put_length(p, uint64_t(start.idle_seconds));
  if (start.frequency >= 0) *p++ = char(kFreq), *p++ = char(start.frequency);
  *p++ = char(kTypeString);
  return p;
}

bool put_block(Output& out, Block* block) {
  if (!append(out, kLengthBytesMax, [&](char* p) { return put_length(p, block->length_bytes); })) {
    return false;
  }
  return out.append_shared(share_block(block, block->view(), false));
}

}  // namespace

char* put_text(char* p, std::string_view text, bool compress) {
  constexpr size_t kIntegerTextMax = 11;  // of 32 bits
  int64_t value;
  if (text.size() <= kIntegerTextMax && parse_integer(text, value)) return put_integer(p, value);
  char* const end = compress ? put_compressed(p, text) : nullptr;
  return end ? end : put_raw(p, text);
}

bool put_header(Output& out, bool aof_base, uint64_t used_bytes) {
  char magic[16];
  snprintf(magic, sizeof magic, "REDIS%04d", kFormatVersion);
  return out.append(magic) && put_aux(out, "redis-ver", kRedisVersion) &&
         put_aux(out, "redis-bits", "64") &&
         put_aux(out, "ctime", std::to_string(wall_ms() / 1000)) &&
         put_aux(out, "used-mem", std::to_string(used_bytes)) &&
         put_aux(out, "aof-base", aof_base ? "1" : "0") && put_aux(out, "ignix-ver", kVersion);
}

bool put_database(Output& out, int db) {
  return append(out, 1 + kLengthBytesMax, [&](char* p) {
    *p++ = char(kSelectDb);
    return put_length(p, uint64_t(db));
  });
}

bool put_sizes(Output& out, uint64_t keys, uint64_t expiries) {
  return append(out, 1 + 2 * kLengthBytesMax, [&](char* p) {
    *p++ = char(kResizeDb);
    return put_length(put_length(p, keys), expiries);
  });
}

bool put_entry(Output& out, const EntryStart& start, const Entry& entry, bool compress) {
  const bool in_block = entry.encoding() == Encoding::kBlock;
  const std::string_view key = entry.stored_key(), value = entry.stored();
  const size_t most = kStartBytesMax + key.size() + value.size() + 2 * kTextRoomBytes;
  const auto write_start = [&](char* p) { return put_start(p, start); };
  const auto write_key = [&](char* p) { return put_text(p, key, compress); };
  const auto write_value = [&](char* p) {
    return entry.encoding() == Encoding::kInteger ? put_integer(p, entry.integer())
                                                  : put_text(p, value, compress);
  };
  if (!in_block && !entry.key_block()) {
    return append(out, most, [&](char* p) { return write_value(write_key(write_start(p))); });
  }
  if (!append(out, most, write_start)) return false;
  const bool has_key =
      entry.key_block() ? put_block(out, entry.key_block()) : append(out, most, write_key);
  return has_key && (in_block ? put_block(out, entry.block()) : append(out, most, write_value));
}

bool put_compressed_entry(Output& out, const EntryStart& start, std::string_view key,
                          Block* value) {
  if (!append(out, kStartBytesMax + key.size() + kTextRoomBytes,
              [&](char* p) { return put_text(put_start(p, start), key, true); }) ||
      !out.reserve(value->length_bytes + kTextRoomBytes)) {
    return false;
  }
  const char* const end = put_compressed(out.room(), value->view());
  if (!end) return put_block(out, value);
  out.commit(size_t(end - out.room()));
  return true;
}

bool put_end(Output& out, const uint64_t* crc) {
  const char end = char(kEof);
  const uint64_t stored = crc ? crc64(*crc, {&end, 1}) : 0;
  return append(out, 9, [&](char* p) {
    *p++ = end;
    return put_number(p, stored);
  });
}

}  // namespace ignix::rdb
