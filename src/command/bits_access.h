// What the commands on bits of strings share: bitmap.cc and bitfield.cc.
#pragma once

#include "command/access.h"
#include "store/string.h"

namespace ignix {

// A bit's position, or, where `width` is not 0 and a '#' stands before it, a multiple of that.
// False, and the error is replied, if it is none that a string can have.
bool bit_offset_argument(Call& call, std::string_view text, unsigned width, uint64_t& offset);

inline std::string_view bytes_of(const Entry* entry, StringScratch& scratch) {
  return entry ? string_value(*entry, scratch) : std::string_view();
}

}  // namespace ignix
