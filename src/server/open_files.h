// How many clients the limit on open files (RLIMIT_NOFILE) leaves room for.
#pragma once

#include <cstdint>

#include "server/config.h"

namespace ignix {

// What the server opens for itself.
int64_t own_descriptors(const Config& config);

// Raises the limit for `maxclients`, as far as that goes. So many clients, but for that limit, it
// has room for then; 0 or less: none.
int64_t descriptors_for_clients(const Config& config);

}  // namespace ignix
