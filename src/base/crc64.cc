// Polynomials over bits, as in Gopal et al., "Fast CRC computation for generic polynomials using
// PCLMULQDQ instruction", 2009: a block of 128 bits that stands D bits before another is multiplied
// by x^D, modulo the polynomial, and added to that other one; of all that remains one block, whose
// CRC is looked up in tables. 16 bytes take two multiplications, where tables take 16 loads.
//
// The bits of a word are reflected: the lowest is the coefficient of the highest power.
#include "base/crc64.h"

#include <array>

#include "base/load.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace ignix {
namespace {

// Eight tables, so that eight bytes are looked up at once: table[k][b] is the CRC of byte b with k
// zero bytes behind it.
using Tables = std::array<std::array<uint64_t, 256>, 8>;

constexpr uint64_t kPolynomial = 0x95ac9329ac4bc9b5;  // 0xad93d23594c935a9, reflected

constexpr uint64_t times_x(uint64_t word) { return word & 1 ? word >> 1 ^ kPolynomial : word >> 1; }

constexpr Tables make_tables() {
  Tables tables = {};
  for (uint64_t byte = 0; byte < 256; byte++) {
    uint64_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = times_x(crc);
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; k++) {
    for (size_t byte = 0; byte < 256; byte++) {
      const uint64_t before = tables[k - 1][byte];
      tables[k][byte] = tables[0][before & 0xff] ^ before >> 8;
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

uint64_t crc64_by_tables(uint64_t crc, const char* p, size_t left) {
  for (; left >= 8; p += 8, left -= 8) {
    crc ^= load_8(p);
    uint64_t next = 0;
    for (size_t i = 0; i < 8; i++) next ^= kTables[7 - i][crc >> (8 * i) & 0xff];
    crc = next;
  }
  for (; left > 0; p++, left--) crc = kTables[0][(crc ^ uint8_t(*p)) & 0xff] ^ crc >> 8;
  return crc;
}

#ifdef __x86_64__
constexpr size_t kBlock = sizeof(__m128i), kLanes = 4;  // as many blocks are under way at once

constexpr uint64_t power_of_x(unsigned exponent) {
  uint64_t word = uint64_t(1) << 63;
  while (exponent-- > 0) word = times_x(word);
  return word;
}

// What the two halves of a block are multiplied by that stands so many bits before. The product of
// two reflected words is one place short, hence the powers lower by one.
struct Factors {
  uint64_t first, second;
};
constexpr Factors factors(unsigned bits) { return {power_of_x(bits + 63), power_of_x(bits - 1)}; }
constexpr Factors kOneBlock = factors(8 * kBlock), kAllLanes = factors(8 * kBlock * kLanes);

__attribute__((target("pclmul"))) inline __m128i add_far(__m128i block, Factors by, __m128i to) {
  const __m128i factors = _mm_set_epi64x(int64_t(by.second), int64_t(by.first));
  return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(block, factors, 0x00),
                                     _mm_clmulepi64_si128(block, factors, 0x11)),
                       to);
}

inline __m128i block_at(const char* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

// Of kLanes blocks at least.
__attribute__((target("pclmul"))) uint64_t crc64_by_products(uint64_t crc, const char* p,
                                                             size_t left) {
  __m128i lanes[kLanes];
  for (size_t i = 0; i < kLanes; i++) lanes[i] = block_at(p + i * kBlock);
  lanes[0] = _mm_xor_si128(lanes[0], _mm_set_epi64x(0, int64_t(crc)));
  p += kLanes * kBlock, left -= kLanes * kBlock;
  for (; left >= kLanes * kBlock; p += kLanes * kBlock, left -= kLanes * kBlock) {
    for (size_t i = 0; i < kLanes; i++) {
      lanes[i] = add_far(lanes[i], kAllLanes, block_at(p + i * kBlock));
    }
  }
  __m128i all = lanes[0];
  for (size_t i = 1; i < kLanes; i++) all = add_far(all, kOneBlock, lanes[i]);
  for (; left >= kBlock; p += kBlock, left -= kBlock) all = add_far(all, kOneBlock, block_at(p));
  char rest[kBlock];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rest), all);
  return crc64_by_tables(crc64_by_tables(0, rest, kBlock), p, left);
}
#endif

}  // namespace

uint64_t crc64(uint64_t crc, std::string_view bytes) {
#ifdef __x86_64__
  if (bytes.size() >= kLanes * kBlock && __builtin_cpu_supports("pclmul")) {
    return crc64_by_products(crc, bytes.data(), bytes.size());
  }
#endif
  return crc64_by_tables(crc, bytes.data(), bytes.size());
}

}  // namespace ignix
