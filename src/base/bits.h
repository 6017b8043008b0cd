// Bits of byte strings as Redis counts them: bit 0 is the highest of byte 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ignix {

// How many bits are set.
uint64_t count_bits(std::string_view bytes);

// The position of the first bit that is `bit`; -1: there is none.
int64_t find_bit(std::string_view bytes, bool bit);

// The `width` bits (1 to 64) from bit `offset` on, the first as the highest. Where the string has
// ended they are 0.
uint64_t get_bits(std::string_view bytes, uint64_t offset, unsigned width);

// Writes the lower `width` bits of `value` there. All of them are within the string.
void set_bits(char* bytes, uint64_t offset, unsigned width, uint64_t value);

}  // namespace ignix
