#include "durability/probe.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "durability/reader.h"

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

// Where the zeros begin with which the bytes from `from` to `to` end; `to`: nowhere.
static uint64_t find_last_zeros(int fd, uint64_t from, uint64_t to) {
  char chunk[4096];
  while (from < to) {
    const size_t size = size_t(std::min<uint64_t>(sizeof chunk, to - from));
    const ssize_t got = read_at(fd, chunk, size, to - size);
    if (got >= 0) errno = 0;
    if (got != ssize_t(size)) return to;
    for (size_t i = size; i > 0; i--) {
      if (chunk[i - 1] != 0) return to - size + i;
    }
    to -= size;
  }
  return from;
}

bool ends_in_zeros(int fd, uint64_t offset, uint64_t file_bytes) {
  const uint64_t zeros = find_last_zeros(fd, offset, file_bytes);
  if (zeros == offset || zeros == file_bytes) return zeros == offset;
  if (lseek(fd, off_t(offset), SEEK_SET) < 0) return false;
  AofReader reader(fd, offset);
  reader.limit(zeros);
  Words words;
  return reader.next(words) == AofReader::Result::kTruncated;
}

}  // namespace ignix
