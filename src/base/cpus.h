// The CPUs that this process may use.
#pragma once

namespace ignix {

// At least one.
int usable_cpus();

}  // namespace ignix
