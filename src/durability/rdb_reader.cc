#include "durability/rdb_reader.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>

#include "base/crc64.h"
#include "base/limits.h"
#include "base/lzf.h"
#include "base/number.h"
#include "base/quote.h"
#include "durability/rdb.h"

namespace ignix {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

// "" for what is not a type.
std::string_view type_name(uint8_t type) {
  static constexpr std::string_view kNames[] = {
      "string", "list",       "set",  "sorted set", "hash",       "sorted set", "module", "module",
      "",       "hash",       "list", "set",        "sorted set", "hash",       "list",   "stream",
      "hash",   "sorted set", "list", "stream",     "set",        "stream"};
  return type < std::size(kNames) ? kNames[type] : "";
}

}  // namespace

bool RdbReader::damaged(std::string what) {
  result_ = Result::kDamaged;
  error_ = std::move(what);
  return false;
}

bool RdbReader::foreign(std::string what) {
  damaged(std::move(what) + ", which Ignix does not have");
  result_ = Result::kForeign;
  return false;
}

// Makes sure that so many bytes are in the buffer. A length may be damaged and name any size: the
// room follows what is really there.
bool RdbReader::need(size_t bytes) {
  if (buffer_.size() - at_ < bytes) checksum();
  while (buffer_.size() - at_ < bytes) {
    const size_t missing = bytes - buffer_.size();
    if (!buffer_.reserve(std::max(kChunkBytes, std::min(missing, buffer_.size())))) {
      result_ = Result::kFailed;
      error_ = "out of memory";
      return false;
    }
    const ssize_t got = read(fd_, buffer_.room(), buffer_.room_bytes());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      result_ = Result::kFailed;
      error_ = std::string("read failed: ") + strerror(errno);
      return false;
    }
    if (got == 0) {
      result_ = Result::kTruncated;
      error_ = "the file ends too early";
      return false;
    }
    buffer_.commit(size_t(got));
  }
  return true;
}

bool RdbReader::take(void* into, size_t bytes) {
  if (!need(bytes)) return false;
  memcpy(into, here(), bytes);
  pass(bytes);
  return true;
}

// Of many bytes at once: eight at a time is several times as fast as one.
void RdbReader::checksum() {
  crc_ = crc64(crc_, {buffer_.data(), at_});
  buffer_.consume(at_);
  at_ = 0;
}

// With `encoded`, the length may be a kind of encoding instead.
bool RdbReader::take_length(uint64_t& length, bool* encoded) {
  uint8_t first, second;
  if (!take_number(first)) return false;
  if (encoded) *encoded = false;
  switch (first >> 6) {
    case 0:
      length = first & 0x3f;
      return true;
    case 1:
      if (!take_number(second)) return false;
      length = uint64_t(first & 0x3f) << 8 | second;
      return true;
    case 3:
      if (!encoded) return damaged("an encoding where a length must be");
      *encoded = true;
      length = first & 0x3f;
      return true;
  }
  if (first == 0x80) {
    uint32_t value;
    if (!take_number(value)) return false;
    length = __builtin_bswap32(value);
    return true;
  }
  if (first != 0x81) return damaged("a length of an unknown form");
  if (!take_number(length)) return false;
  length = __builtin_bswap64(length);
  return true;
}

bool RdbReader::take_compressed(Buffer& into) {
  uint64_t packed, whole;
  if (!take_length(packed) || !take_length(whole)) return false;
  if (packed > kStringBytesMax || whole > kStringBytesMax) return damaged("a string is too long");
  if (!need(packed)) return false;
  if (!into.reserve(whole)) {
    result_ = Result::kFailed;
    error_ = "out of memory";
    return false;
  }
  const std::string_view bytes = {here(), packed};
  if (!lzf_decompress(bytes, into.room(), whole)) return damaged("a string cannot be decompressed");
  into.commit(whole);
  pass(packed);
  return true;
}

bool RdbReader::take_string(Buffer& into) {
  into.clear();
  uint64_t length;
  bool encoded;
  if (!take_length(length, &encoded)) return false;
  if (!encoded) {
    if (length > kStringBytesMax) return damaged("a string is too long");
    if (!need(length)) return false;
    if (!into.reserve(length)) {
      result_ = Result::kFailed;
      error_ = "out of memory";
      return false;
    }
    if (!take(into.room(), length)) return false;
    into.commit(length);
    return true;
  }
  int64_t value = 0;
  int8_t byte;
  int16_t two;
  int32_t four;
  switch (length) {
    case 0:
      if (!take_number(byte)) return false;
      value = byte;
      break;
    case 1:
      if (!take_number(two)) return false;
      value = two;
      break;
    case 2:
      if (!take_number(four)) return false;
      value = four;
      break;
    case 3:
      return take_compressed(into);
    default:
      return damaged("a string of an unknown encoding");
  }
  char digits[kIntegerBytesMax];
  return into.append({digits, format_integer(value, digits)});
}

// Of all that is told about the file, whether it is the base of an append-only file; older ones say
// "aof-preamble".
bool RdbReader::take_aux() {
  if (!take_string(key_) || !take_string(value_)) return false;
  if (key() == "aof-base" || key() == "aof-preamble") aof_base_ = value() == "1";
  return true;
}

bool RdbReader::take_header() {
  char magic[9];
  if (!take(magic, sizeof magic)) return false;
  int64_t version;
  if (memcmp(magic, "REDIS", 5) != 0 ||
      !std::all_of(magic + 5, magic + 9, [](char c) { return c >= '0' && c <= '9'; })) {
    return damaged("it does not begin as an RDB file does");
  }
  version =
      (magic[5] - '0') * 1000 + (magic[6] - '0') * 100 + (magic[7] - '0') * 10 + magic[8] - '0';
  if (version < 1 || version > rdb::kFormatVersionMax) {
    return foreign("version " + std::to_string(version) + " of the format");
  }
  version_ = int(version);
  started_ = true;
  return true;
}

// 0 for a checksum: the file was written without.
bool RdbReader::take_end() {
  checksum();
  const uint64_t crc = crc_;
  uint64_t stored = 0;
  if (version_ >= 5 && !take_number(stored)) return false;
  if (stored != 0 && stored != crc) return damaged("the checksum is wrong");
  at_end_ = true;
  result_ = Result::kEnd;
  return false;
}

// All but entries. False when next() is to return result_.
bool RdbReader::take_opcode(uint8_t opcode) {
  uint64_t number, other;
  uint32_t seconds;
  uint8_t byte;
  switch (opcode) {
    case rdb::kExpireMs:
      return take_number(expiry_ms_);
    case rdb::kExpireSeconds:
      if (!take_number(seconds)) return false;
      expiry_ms_ = int64_t(seconds) * 1000;
      return true;
    case rdb::kFreq:
      return take_number(byte);
    case rdb::kIdle:
      return take_length(number);
    case rdb::kSelectDb:
      if (!take_length(number)) return false;
      if (number >= uint64_t(kDatabasesMax)) return damaged("database " + std::to_string(number));
      db_ = int(number);
      return true;
    case rdb::kResizeDb:
      return take_length(number) && take_length(other);
    case rdb::kSlotInfo:
      return take_length(number) && take_length(other) && take_length(other);
    case rdb::kAux:
      return take_aux();
    case rdb::kFunction2:
    case rdb::kFunctionPreGa:
      return foreign("a library of functions");
    case rdb::kModuleAux:
      return foreign("data of a module");
    case rdb::kEof:
      return take_end();
  }
  return false;  // there is no other from kSlotInfo on
}

// Says which key it is, if that can be read.
bool RdbReader::refuse_type(uint8_t type) {
  std::string what = "type " + std::to_string(type);
  if (type_name(type).empty()) return damaged(what + ", which is none");
  if (!take_string(key_)) return false;
  std::string name;
  append_quoted(name, key().substr(0, 64), 64);
  name.front() = name.back() = '\'';
  return foreign(what + " (" + std::string(type_name(type)) + ") of key " + name);
}

RdbReader::Result RdbReader::next() {
  if (at_end_) return Result::kEnd;
  if (!started_ && !take_header()) return result_;
  expiry_ms_ = kNoExpiry;
  for (;;) {
    uint8_t opcode;
    entry_offset_ = offset_;
    if (!take_number(opcode)) return result_;
    if (opcode == rdb::kTypeString) break;
    if (opcode < rdb::kSlotInfo) {
      refuse_type(opcode);
      return result_;
    }
    if (!take_opcode(opcode)) return result_;
  }
  if (!take_string(key_) || !take_string(value_)) return result_;
  return Result::kEntry;
}

}  // namespace ignix
