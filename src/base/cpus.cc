#include "base/cpus.h"

#include <sched.h>

#include <algorithm>

namespace ignix {

int usable_cpus() {
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) return 1;
  return std::max(1, CPU_COUNT(&cpus));
}

}  // namespace ignix
