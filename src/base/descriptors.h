// What every program does first.
#pragma once

#include <fcntl.h>
#include <unistd.h>

namespace ignix {

// Opens those of the descriptors 0, 1 and 2 that are closed: else a file of data could get one of
// these numbers, and messages be written into it.
inline void fill_standard_descriptors() {
  int fd;
  do {
    fd = open("/dev/null", O_RDWR);  // these are to be inherited
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

}  // namespace ignix
