// Numbers and text. Strict where Redis is strict: an integer is written in one way only, so that a
// value such as "007" or "+1" is text and comes back as it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ignix {

// Room for any integer that format_integer() writes.
constexpr size_t kIntegerBytesMax = 20;

// True, and the value in `out`, if `text` is what format_integer() writes for it: no spaces, no
// plus sign, no leading zeros, not "-0", within 64 bits.
bool parse_integer(std::string_view text, int64_t& out);

// Writes the decimal text of `value` to `out` (kIntegerBytesMax bytes of room); returns its length.
size_t format_integer(int64_t value, char* out);

// How many digits format_integer() writes for a value that is not negative.
inline unsigned digit_count(uint64_t value) {
  unsigned digits = 1;
  for (; value >= 10000; value /= 10000) digits += 4;
  return digits + (value >= 10) + (value >= 100) + (value >= 1000);
}

// Room for what format_long_double() writes: any finite value has fewer digits.
constexpr size_t kLongDoubleBytesMax = 5 * 1024;

// A decimal or hexadecimal float, or an infinity: what strtold(3) takes, without spaces around it
// and neither too large nor too small for a long double. "nan" is none.
bool parse_long_double(std::string_view text, long double& out);

// With up to 17 digits behind the point, as few as are not zero; returns the length of the text.
size_t format_long_double(long double value, char out[kLongDoubleBytesMax]);

// "64mb", "1g", "100": bytes, with the units of redis.conf (k, kb, m, mb, g, gb; kb is 1024, k is
// 1000). False for anything else or past 63 bits.
bool parse_memory(std::string_view text, int64_t& bytes);

// True if both are equal when the letters A to Z count as a to z.
bool equal_ignoring_case(std::string_view a, std::string_view b);

inline char lower_case(char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; }

}  // namespace ignix
