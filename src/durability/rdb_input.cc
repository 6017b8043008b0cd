#include "durability/rdb_input.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>

#include "base/crc64.h"
#include "base/limits.h"
#include "base/lzf.h"
#include "base/number.h"

namespace ignix {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

}  // namespace

bool RdbInput::fault(Fault fault, std::string what) {
  fault_ = fault;
  error_ = std::move(what);
  return false;
}

// Of many bytes at once: eight at a time is several times as fast as one.
uint64_t RdbInput::crc() {
  const size_t taken = size_t(at_ - start_);
  if (with_crc_) crc_ = crc64(crc_, {start_, taken});
  passed_ += taken;
  start_ = at_;
  return crc_;
}

// A length may be damaged and name any size: the room follows what is really there.
bool RdbInput::fill(size_t bytes) {
  if (fd_ < 0) return fault(Fault::kTruncated, "it ends too early");
  crc();
  buffer_.consume(buffer_.size() - size_t(end_ - at_));
  ssize_t got = 1;
  bool room = true;
  while (room && got > 0 && buffer_.size() < bytes) {
    const size_t missing = bytes - buffer_.size();
    room = buffer_.reserve(std::max(kChunkBytes, std::min(missing, buffer_.size())));
    if (!room) break;
    do {
      got = read(fd_, buffer_.room(), buffer_.room_bytes());
    } while (got < 0 && errno == EINTR);
    if (got > 0) buffer_.commit(size_t(got));
  }
  start_ = at_ = buffer_.data();
  end_ = at_ + buffer_.size();
  if (!room) return fault(Fault::kFailed, "out of memory");
  if (got < 0) return fault(Fault::kFailed, std::string("read failed: ") + strerror(errno));
  return got > 0 || fault(Fault::kTruncated, "the file ends too early");
}

bool RdbInput::take_length(uint64_t& length, bool* encoded) {
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

bool RdbInput::take_plain(Buffer& into, uint64_t length) {
  if (length > kStoredStringBytesMax) return damaged("a string is too long");
  if (!need(length)) return false;
  if (!into.append({at_, length})) return fault(Fault::kFailed, "out of memory");
  at_ += length;
  return true;
}

bool RdbInput::take_compressed(Buffer& into) {
  uint64_t packed, whole;
  if (!take_length(packed) || !take_length(whole)) return false;
  if (packed > kStoredStringBytesMax || whole > kStoredStringBytesMax) {
    return damaged("a string is too long");
  }
  if (!need(packed)) return false;
  if (!into.reserve(whole)) return fault(Fault::kFailed, "out of memory");
  if (!lzf_decompress({at_, packed}, into.room(), whole)) {
    return damaged("a string cannot be decompressed");
  }
  into.commit(whole);
  at_ += packed;
  return true;
}

bool RdbInput::take_encoded(Buffer& into, uint64_t encoding) {
  int64_t value = 0;
  int8_t byte;
  int16_t two;
  int32_t four;
  switch (encoding) {
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
  return into.append({digits, format_integer(value, digits)}) ||
         fault(Fault::kFailed, "out of memory");
}

bool RdbInput::take_string(Buffer& into) {
  into.clear();
  uint64_t length;
  bool encoded;
  if (!take_length(length, &encoded)) return false;
  return encoded ? take_encoded(into, length) : take_plain(into, length);
}

}  // namespace ignix
