// First and last looks at a file of data: what it begins as, and what its end may be.
#pragma once

#include <cstdint>

namespace ignix {

// Whether the file begins as an RDB file does.
bool is_rdb(int fd);

// Whether the record at `offset` is none because the file is zeros from some byte on: a power
// failure leaves such an end of a file that was made longer but not written. False as well if it
// cannot be read; errno is then not 0.
bool ends_in_zeros(int fd, uint64_t offset, uint64_t file_bytes);

}  // namespace ignix
