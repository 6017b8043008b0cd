// Numbers read eight bytes at a time, within one register (SWAR).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace ignix {

static_assert(std::endian::native == std::endian::little, "the eight-byte loads assume it");

// Reads the decimal number that ends at the first '\r' in [p, p + 8). Returns the number of digits
// (1 to 7), or 0 if there is no '\r' within, or something else than digits before it. Needs 8
// readable bytes.
inline unsigned swar_parse_digits(const char* p, uint64_t& value) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  uint64_t word;
  memcpy(&word, p, 8);
  // One or two digits, as most lengths have: nothing is left but them, and the '\r' behind.
  const uint64_t two = word ^ 0x0d3030, one = word ^ 0x0d30;
  if ((one & 0xfff0) == 0 && (one & 0xf) < 10) return value = one & 0xf, 1;
  if ((two & 0xfff0f0) == 0 && (two & 0xf) < 10 && (two & 0xf00) < 0xa00) {
    return value = (two & 0xf) * 10 + (two >> 8 & 0xf), 2;
  }
  // The lowest byte that equals '\r' gets its high bit set (higher ones may be wrong: unused).
  const uint64_t diff = word ^ (kOnes * '\r');
  const uint64_t found = (diff - kOnes) & ~diff & (kOnes << 7);
  if (!found) return 0;
  const unsigned digits = unsigned(std::countr_zero(found)) / 8;
  if (digits == 0) return 0;
  // Shift the digits to the top, so that they are right-aligned as a number of eight digits with
  // zeros in front.
  uint64_t number = (word ^ (kOnes * '0')) << (8 * (8 - digits));
  // Each byte must now be 0 to 9: neither its high half nor that of itself plus 6 may be set.
  if ((number | (number + kOnes * 6)) & (kOnes * 0xf0)) return 0;
  number = (number * 10 + (number >> 8)) & 0x00ff00ff00ff00ff;     // pairs
  number = (number * 100 + (number >> 16)) & 0x0000ffff0000ffff;   // fours
  value = (number * 10000 + (number >> 32)) & 0x00000000ffffffff;  // all eight
  return digits;
}

// The eight bytes that nearly every command starts with: "*2\r\n$3\r\n", two numbers of one digit
// that are not 0. Needs 8 readable bytes; false for anything else.
inline bool swar_parse_start(const char* p, unsigned& count, uint64_t& word_bytes) {
  constexpr uint64_t kPattern = 0x0a0d'30'24'0a0d'30'2a;  // "*0\r\n$0\r\n"
  uint64_t word;
  memcpy(&word, p, 8);
  word ^= kPattern;
  // What remains are the two digits, 0 to 15 each if the high half was that of a digit.
  if (word & ~uint64_t(0x00'0f'00'00'00'0f'00)) return false;
  count = unsigned(word >> 8) & 0xff;
  word_bytes = word >> 40;
  return count - 1 < 9 && word_bytes - 1 < 9;
}

}  // namespace ignix
