#include "durability/probe.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace ignix {
namespace {

ssize_t read_at(int fd, char* into, size_t bytes, uint64_t from) {
  ssize_t got;
  do {
    got = pread(fd, into, bytes, off_t(from));
  } while (got < 0 && errno == EINTR);
  return got;
}

}  // namespace

bool is_rdb(int fd) {
  char magic[5];
  return read_at(fd, magic, sizeof magic, 0) == ssize_t(sizeof magic) &&
         memcmp(magic, "REDIS", sizeof magic) == 0;
}

bool only_zeros(int fd, uint64_t from, uint64_t to) {
  char chunk[4096];
  while (from < to) {
    const ssize_t got = read_at(fd, chunk, std::min<uint64_t>(sizeof chunk, to - from), from);
    if (got < 0) return false;
    errno = 0;
    if (got == 0 || std::any_of(chunk, chunk + got, [](char c) { return c != 0; })) return false;
    from += uint64_t(got);
  }
  return true;
}

}  // namespace ignix
