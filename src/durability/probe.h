// First and last looks at a file of data: what it begins as, and what its end may be. Reads at
// places of its own; where the descriptor stands does not change.
#pragma once

#include <cstdint>

namespace ignix {

// Whether the file begins as an RDB file does.
bool is_rdb(int fd);

// Whether bytes `from` to `to` are all zero: a power failure may leave such an end, of a file that
// was made longer but not written. False as well if they cannot be read; errno is then not 0.
bool only_zeros(int fd, uint64_t from, uint64_t to);

}  // namespace ignix
