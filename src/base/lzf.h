// LZF, the compression of strings in RDB files: short runs of literals, and references to what was
// written up to 8 KB before.
#pragma once

#include <cstddef>
#include <string_view>

namespace ignix {

// Fills `out` with exactly `out_bytes`. False if `in` is not LZF of as many.
bool lzf_decompress(std::string_view in, char* out, size_t out_bytes);

}  // namespace ignix
