// CRC-64 with Jones's polynomial, bits reflected, as RDB files have it at their end.
#pragma once

#include <cstdint>
#include <string_view>

namespace ignix {

// Of `bytes` behind those whose CRC is `crc`; 0 for none.
uint64_t crc64(uint64_t crc, std::string_view bytes);

}  // namespace ignix
