#include "base/crc64.h"

#include <array>

#include "base/load.h"

namespace ignix {
namespace {

// Eight tables, so that eight bytes are looked up at once: table[k][b] is the CRC of byte b with k
// zero bytes behind it.
using Tables = std::array<std::array<uint64_t, 256>, 8>;

constexpr Tables make_tables() {
  constexpr uint64_t kPolynomial = 0x95ac9329ac4bc9b5;  // 0xad93d23594c935a9, reflected
  Tables tables = {};
  for (uint64_t byte = 0; byte < 256; byte++) {
    uint64_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ kPolynomial : crc >> 1;
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

}  // namespace

uint64_t crc64(uint64_t crc, std::string_view bytes) {
  const char* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; p += 8, left -= 8) {
    crc ^= load_8(p);
    uint64_t next = 0;
    for (size_t i = 0; i < 8; i++) next ^= kTables[7 - i][crc >> (8 * i) & 0xff];
    crc = next;
  }
  for (; left > 0; p++, left--) crc = kTables[0][(crc ^ uint8_t(*p)) & 0xff] ^ crc >> 8;
  return crc;
}

}  // namespace ignix
