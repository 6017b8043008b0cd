#include "base/number.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmath>
#include <cstring>

namespace ignix {
namespace {

constexpr char kPairs[] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546"
    "4748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293"
    "949596979899";

}  // namespace

bool parse_integer(std::string_view text, int64_t& out) {
  const bool negative = !text.empty() && text[0] == '-';
  if (negative) text.remove_prefix(1);
  if (text.empty() || text.size() > 19) return false;
  if (text[0] == '0') {
    out = 0;
    return text.size() == 1 && !negative;
  }
  uint64_t value = 0;  // 19 digits fit into 64 bits
  for (char c : text) {
    const unsigned digit = unsigned(c) - '0';
    if (digit > 9) return false;
    value = value * 10 + digit;
  }
  if (value > uint64_t(INT64_MAX) + negative) return false;
  out = negative ? int64_t(0 - value) : int64_t(value);
  return true;
}

size_t format_integer(int64_t value, char* out) {
  uint64_t left = uint64_t(value);
  size_t length = 0;
  if (value < 0) {
    left = 0 - left;
    out[length++] = '-';
  }
  length += digit_count(left);
  char* p = out + length;
  while (left >= 100) {
    p -= 2;
    memcpy(p, kPairs + 2 * (left % 100), 2);
    left /= 100;
  }
  if (left >= 10) {
    memcpy(p - 2, kPairs + 2 * left, 2);
  } else {
    p[-1] = char('0' + left);
  }
  return length;
}

bool parse_long_double(std::string_view text, long double& out) {
  char terminated[kLongDoubleBytesMax];
  if (text.empty() || text.size() >= sizeof terminated || isspace(uint8_t(text[0]))) return false;
  memcpy(terminated, text.data(), text.size());
  terminated[text.size()] = '\0';
  char* end;
  errno = 0;
  out = strtold(terminated, &end);
  if (size_t(end - terminated) != text.size() || std::isnan(out)) return false;
  return errno != ERANGE || (!std::isinf(out) && out != 0);
}

size_t format_long_double(long double value, char out[kLongDoubleBytesMax]) {
  const int written = snprintf(out, kLongDoubleBytesMax, "%.17Lf", value);
  size_t length = size_t(written);
  while (out[length - 1] == '0') length--;
  if (out[length - 1] == '.') length--;
  if (length == 2 && out[0] == '-' && out[1] == '0') out[0] = '0', length = 1;
  return length;
}

bool parse_memory(std::string_view text, int64_t& bytes) {
  static constexpr struct {
    std::string_view unit;
    int64_t factor;
  } kUnits[] = {{"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
                {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30}};
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') digits++;
  int64_t number;
  if (!parse_integer(text.substr(0, digits), number)) return false;
  for (const auto& [unit, factor] : kUnits) {
    if (equal_ignoring_case(text.substr(digits), unit)) {
      return !__builtin_mul_overflow(number, factor, &bytes);
    }
  }
  return false;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); i++) {
    if (lower_case(a[i]) != lower_case(b[i])) return false;
  }
  return true;
}

}  // namespace ignix
