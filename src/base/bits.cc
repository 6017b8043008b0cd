#include "base/bits.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/load.h"

namespace ignix {

uint64_t count_bits(std::string_view bytes) {
  uint64_t count = 0;
  const char* p = bytes.data();
  const char* const end = p + bytes.size();
  for (; end - p >= 8; p += 8) count += uint64_t(std::popcount(load_8(p)));
  for (; p < end; p++) count += uint64_t(std::popcount(uint8_t(*p)));
  return count;
}

int64_t find_bit(std::string_view bytes, bool bit) {
  const uint64_t none = bit ? 0 : UINT64_MAX;
  size_t i = 0;
  while (bytes.size() - i >= 8 && load_8(bytes.data() + i) == none) i += 8;
  for (; i < bytes.size(); i++) {
    const uint8_t byte = bit ? uint8_t(bytes[i]) : uint8_t(~bytes[i]);
    if (byte) return int64_t(8 * i + size_t(std::countl_zero(byte)));
  }
  return -1;
}

uint64_t get_bits(std::string_view bytes, uint64_t offset, unsigned width) {
  uint64_t value = 0;
  uint64_t byte = offset / 8;
  unsigned skip = unsigned(offset % 8);  // of the bits of the next byte
  while (width > 0) {
    const unsigned take = std::min(width, 8 - skip);
    const uint8_t from = byte < bytes.size() ? uint8_t(bytes[byte]) : 0;
    value = value << take | (uint64_t(from >> (8 - skip - take)) & ((1u << take) - 1));
    width -= take;
    skip = 0;
    byte++;
  }
  return value;
}

void set_bits(char* bytes, uint64_t offset, unsigned width, uint64_t value) {
  char* p = bytes + offset / 8;
  unsigned skip = unsigned(offset % 8);
  while (width > 0) {
    const unsigned take = std::min(width, 8 - skip), shift = 8 - skip - take;
    const unsigned mask = ((1u << take) - 1) << shift;
    const unsigned part = unsigned(value >> (width - take)) << shift & mask;
    *p = char((uint8_t(*p) & ~mask) | part);
    width -= take;
    skip = 0;
    p++;
  }
}

}  // namespace ignix
