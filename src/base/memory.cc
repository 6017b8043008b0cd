#include "base/memory.h"

#include <stdlib.h>

#include "base/log.h"

namespace ignix {

// A core dump shows who has asked.
void end_without_memory() {
  log_warning("out of memory: the server cannot go on");
  abort();
}

}  // namespace ignix
