#include "base/lzf.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "base/load.h"

namespace ignix {
namespace {

constexpr size_t kLiteralsMax = 32;   // of one control byte
constexpr size_t kLongMatch = 7 + 2;  // from here on a match takes a byte more
constexpr size_t kMatchMax = 255 + 7 + 2;
constexpr uint32_t kDistanceMax = 1 << 13;
constexpr unsigned kTableBitsMin = 7, kTableBitsMax = 12;
constexpr unsigned kPatienceBits = 3;  // so many misses, as a power of two, until steps grow
constexpr size_t kStepMax = 16;

// What has been compressed so far.
class Packed {
 public:
  Packed(char* out, size_t bytes) : start_(out), at_(out), end_(out + bytes) {}

  size_t size() const { return size_t(at_ - start_); }
  // How many literals still fit.
  size_t literals_left() const {
    const size_t left = size_t(end_ - at_);
    return left - (left + kLiteralsMax) / (kLiteralsMax + 1);
  }
  // False if there is no room, as below.
  bool literals(const char* from, size_t count) {
    if (count > literals_left()) return false;
    while (count > 0) {
      const size_t run = std::min(count, kLiteralsMax);
      *at_++ = char(run - 1);
      memcpy(at_, from, run);
      at_ += run;
      from += run;
      count -= run;
    }
    return true;
  }
  bool match(size_t distance, size_t length) {
    const bool is_long = length >= kLongMatch;
    if (size_t(end_ - at_) < 2u + is_long) return false;
    distance--;
    *at_++ = char((is_long ? 7 : length - 2) << 5 | distance >> 8);
    if (is_long) *at_++ = char(length - kLongMatch);
    *at_++ = char(distance);
    return true;
  }

 private:
  char* const start_;
  char* at_;
  char* const end_;
};

// How many bytes are equal, of at most `most`.
size_t equal_length(const char* a, const char* b, size_t most) {
  size_t length = 0;
  while (length + 8 <= most) {
    const uint64_t differs = load_8(a + length) ^ load_8(b + length);
    if (differs) return length + size_t(std::countr_zero(differs)) / 8;
    length += 8;
  }
  while (length < most && a[length] == b[length]) length++;
  return length;
}

// Where three bytes were last seen: the low bits of the position. Whatever a slot holds, it can
// only lead to a place that is then compared.
class Seen {
 public:
  // Small for a small input, since it must be cleared.
  explicit Seen(size_t input_bytes)
      : bits_(std::clamp(unsigned(std::bit_width(input_bytes)), kTableBitsMin, kTableBitsMax)) {
    memset(slots_, 0, sizeof slots_[0] << bits_);
  }
  // Notes the position; returns how far back the last one may be.
  uint32_t note(uint32_t three_bytes, size_t at) {
    uint16_t& slot = slots_[three_bytes * 0x9e3779b1u >> (32 - bits_)];
    const uint16_t back = uint16_t(at - slot);
    slot = uint16_t(at);
    return back;
  }

 private:
  const unsigned bits_;
  uint16_t slots_[1 << kTableBitsMax];
};

}  // namespace

// Greedy: the last place with the same three bytes is taken. Literals are written when a match ends
// them, so that what has none costs no writing; and the longer none comes, the fewer places are
// looked at.
size_t lzf_compress(std::string_view in, char* out, size_t out_bytes) {
  const char* const data = in.data();
  const size_t size = in.size();
  const auto three_bytes = [](const char* p) { return load_4(p) << 8; };
  Seen seen(size);
  Packed packed(out, out_bytes);
  const size_t end = size < 4 ? 0 : size - 3;  // of places where four bytes can be loaded
  size_t at = 0, literals = 0;                 // which begin at `literals`
  size_t stop = std::min(end, packed.literals_left());
  size_t misses = 0;
  while (at < stop) {
    const uint32_t here = three_bytes(data + at);
    const uint32_t back = seen.note(here, at);
    if (back - 1 >= kDistanceMax || back > at || three_bytes(data + at - back) != here) {
      at += std::min(1 + (misses++ >> kPatienceBits), kStepMax);
      continue;
    }
    const size_t length = equal_length(data + at, data + at - back, std::min(size - at, kMatchMax));
    if (!packed.literals(data + literals, at - literals) || !packed.match(back, length)) return 0;
    at += length;
    literals = at;
    misses = 0;
    stop = std::min(end, literals + packed.literals_left());
    // What follows a match is often found again together with its end.
    if (at <= end) seen.note(three_bytes(data + at - 1), at - 1);
  }
  if (literals < size && !packed.literals(data + literals, size - literals)) return 0;
  return packed.size();
}

// A control byte below 32: as many literals, and one. Else its upper three bits are the length of a
// match less two (7: a byte more follows), its lower five and the next byte the distance less one.
bool lzf_decompress(std::string_view in, char* out, size_t out_bytes) {
  const uint8_t* p = reinterpret_cast<const uint8_t*>(in.data());
  const uint8_t* const end = p + in.size();
  size_t at = 0;
  while (p < end) {
    const size_t control = *p++;
    if (control < 32) {
      const size_t count = control + 1;
      if (size_t(end - p) < count || out_bytes - at < count) return false;
      memcpy(out + at, p, count);
      p += count;
      at += count;
      continue;
    }
    size_t count = control >> 5;
    if (count == 7) {
      if (p == end) return false;
      count += *p++;
    }
    if (p == end) return false;
    const size_t distance = ((control & 31) << 8 | *p++) + 1;
    count += 2;
    if (distance > at || out_bytes - at < count) return false;
    // Byte by byte: a match may reach into what it is writing.
    for (; count > 0; count--, at++) out[at] = out[at - distance];
  }
  return at == out_bytes;
}

}  // namespace ignix
