// LZF, the compression of strings in RDB files: short runs of literals, and references to what was
// written up to 8 KB before.
#pragma once

#include <cstddef>
#include <string_view>

namespace ignix {

// Writes `in` compressed to `out`; returns how long it is, or 0 if that would be more than
// `out_bytes`. What does not compress is given up early, so ask for no more than is worth it.
size_t lzf_compress(std::string_view in, char* out, size_t out_bytes);

// Fills `out` with exactly `out_bytes`. False if `in` is not LZF of as many.
bool lzf_decompress(std::string_view in, char* out, size_t out_bytes);

}  // namespace ignix
