// A disk that fails, as a shared object that is loaded before libc (LD_PRELOAD). It does what
// IGNIX_TEST_DISK, a mapped DiskControl, says, and writes down in the file IGNIX_TEST_JOURNAL what
// has become of the files, so that a test can tell what a power failure would leave.
//
// Calls go to the kernel directly: a sanitizer's library may stand between this one and libc.
#include "faulty_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

namespace {

using test::DiskControl;
using test::DiskRecord;

DiskControl no_faults;
DiskControl* control = &no_faults;
int journal_fd = -1;
std::atomic<uint64_t> next_sync{1};

__attribute__((constructor)) void open_control() {
  const char* name = getenv("IGNIX_TEST_DISK");
  const int fd = name ? int(syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC)) : -1;
  if (fd < 0) return;
  const long at =
      syscall(SYS_mmap, nullptr, sizeof(DiskControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at != -1) control = reinterpret_cast<DiskControl*>(at);
  syscall(SYS_close, fd);
  const char* journal = getenv("IGNIX_TEST_JOURNAL");
  if (!journal) return;
  journal_fd = int(syscall(SYS_openat, AT_FDCWD, journal, O_WRONLY | O_APPEND | O_CLOEXEC));
}

struct File {
  bool regular = false, directory = false;
  uint64_t inode = 0;
};

File file_of(int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0) return {};
  if (S_ISDIR(info.st_mode)) return {false, true, 0};
  return {S_ISREG(info.st_mode), false, info.st_ino};
}

// Of one piece, whichever thread writes beside this one: the file is open for appending.
void note(DiskRecord::Kind kind, uint64_t inode, uint64_t offset, const iovec* pieces = nullptr,
          int count = 0, size_t bytes = 0) {
  if (journal_fd < 0) return;
  const int error = errno;
  DiskRecord record = {kind, uint32_t(bytes), inode, offset};
  iovec all[1024] = {{&record, sizeof record}};
  int used = 1;
  for (int i = 0; i < count && bytes > 0; i++) {
    const size_t here = pieces[i].iov_len < bytes ? pieces[i].iov_len : bytes;
    all[used++] = {pieces[i].iov_base, here};
    bytes -= here;
  }
  if (syscall(SYS_writev, journal_fd, all, used) < 0) abort();
  errno = error;
}

void note_text(DiskRecord::Kind kind, uint64_t inode, const char* text, size_t bytes) {
  const iovec piece = {const_cast<char*>(text), bytes};
  note(kind, inode, 0, &piece, 1, bytes);
}

void wait_while_held(std::atomic<uint32_t>& hold, std::atomic<uint32_t>& held) {
  if (!hold) return;
  held++;
  while (hold) syscall(SYS_futex, &hold, FUTEX_WAIT, 1, nullptr, nullptr, 0);
  held--;
}

// How many of `bytes` bytes are to be written; -1: the write fails, with errno.
ssize_t bytes_to_write(size_t bytes) {
  if (const int error = control->write_error) {
    control->failed_writes++;
    errno = error;
    return -1;
  }
  if (!control->torn || bytes < 2) return ssize_t(bytes);
  uint64_t random = control->random.fetch_add(0x9e3779b97f4a7c15u);
  random = (random ^ (random >> 30)) * 0xbf58476d1ce4e5b9u;
  control->torn_writes++;
  return ssize_t(1 + (random >> 20) % (bytes - 1));
}

ssize_t put(int fd, const void* bytes, size_t size, off_t offset, bool at_offset) {
  const File file = file_of(fd);
  if (!file.regular) {
    return at_offset ? syscall(SYS_pwrite64, fd, bytes, size, offset)
                     : syscall(SYS_write, fd, bytes, size);
  }
  if (at_offset) wait_while_held(control->hold_pwrites, control->pwrites_held);
  const ssize_t wanted = bytes_to_write(size);
  if (wanted < 0) return -1;
  if (!at_offset) offset = lseek(fd, 0, SEEK_CUR);
  const ssize_t written = at_offset ? syscall(SYS_pwrite64, fd, bytes, wanted, offset)
                                    : syscall(SYS_write, fd, bytes, wanted);
  const iovec piece = {const_cast<void*>(bytes), size};
  if (written > 0)
    note(DiskRecord::kWrite, file.inode, uint64_t(offset), &piece, 1, size_t(written));
  return written;
}

int sync(int fd, long call) {
  const File file = file_of(fd);
  if (!file.regular && !file.directory) return int(syscall(call, fd));
  const uint64_t number = next_sync++;
  note(DiskRecord::kSyncBegin, file.inode, number);
  wait_while_held(control->hold_syncs, control->syncs_held);
  const int failures = control->sync_failures;
  if (failures != 0) {
    if (failures > 0) control->sync_failures--;
    note(DiskRecord::kSyncFailed, file.inode, number);
    control->failed_syncs++;
    errno = control->sync_error;
    return -1;
  }
  const int result = int(syscall(call, fd));
  note(result == 0 ? DiskRecord::kSyncEnd : DiskRecord::kSyncFailed, file.inode, number);
  control->syncs++;
  return result;
}

const char* base_name(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

int open_file(const char* path, int flags, mode_t mode) {
  if (!(flags & O_CREAT)) return int(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
  int fd = int(syscall(SYS_openat, AT_FDCWD, path, flags | O_EXCL, mode));
  const bool created = fd >= 0 || (flags & O_TRUNC);
  if (fd < 0 && errno == EEXIST && !(flags & O_EXCL)) {
    fd = int(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
  }
  const File file = fd >= 0 ? file_of(fd) : File{};
  const char* name = base_name(path);
  if (file.regular) {
    note_text(created ? DiskRecord::kCreate : DiskRecord::kOpen, file.inode, name, strlen(name));
  }
  return fd;
}

mode_t mode_of(int flags, va_list& arguments) {
  return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_file(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_file(path, flags | O_LARGEFILE, mode);
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return put(fd, bytes, size, offset, true);
}

ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) {
  return put(fd, bytes, size, offset, true);
}

ssize_t write(int fd, const void* bytes, size_t size) { return put(fd, bytes, size, 0, false); }

ssize_t writev(int fd, const iovec* pieces, int count) {
  const File file = file_of(fd);
  if (!file.regular) return syscall(SYS_writev, fd, pieces, count);
  wait_while_held(control->hold_writevs, control->writevs_held);
  if (control->torn) return put(fd, pieces[0].iov_base, pieces[0].iov_len, 0, false);
  if (bytes_to_write(1) < 0) return -1;
  const off_t offset = lseek(fd, 0, SEEK_CUR);
  const ssize_t written = syscall(SYS_writev, fd, pieces, count);
  if (written > 0) {
    note(DiskRecord::kWrite, file.inode, uint64_t(offset), pieces, count, size_t(written));
  }
  return written;
}

int fsync(int fd) { return sync(fd, SYS_fsync); }
int fdatasync(int fd) { return sync(fd, SYS_fdatasync); }

int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned flags) {
  control->begun_bytes += uint64_t(bytes);
  const uint32_t delay_ms = control->begin_delay_ms;
  const timespec delay = {delay_ms / 1000, delay_ms % 1000 * 1'000'000L};
  nanosleep(&delay, nullptr);
  if (const int error = control->begin_error) {
    errno = error;
    return -1;
  }
  return int(syscall(SYS_sync_file_range, fd, offset, bytes, flags));
}

int posix_fadvise(int fd, off_t offset, off_t bytes, int advice) {
  if (advice == POSIX_FADV_DONTNEED) control->given_up_end = uint64_t(offset + bytes);
  return syscall(SYS_fadvise64, fd, offset, bytes, advice) == 0 ? 0 : errno;
}

int posix_fadvise64(int fd, off64_t offset, off64_t bytes, int advice) {
  return posix_fadvise(fd, offset, bytes, advice);
}

int ftruncate(int fd, off_t size) {
  const File file = file_of(fd);
  const int result = int(syscall(SYS_ftruncate, fd, size));
  if (result == 0) note(DiskRecord::kTruncate, file.inode, uint64_t(size));
  return result;
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int rename(const char* from, const char* to) {
  const int result = int(syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to));
  if (result != 0) return result;
  const char* old_name = base_name(from);
  const char* new_name = base_name(to);
  const iovec pieces[] = {{const_cast<char*>(old_name), strlen(old_name) + 1},
                          {const_cast<char*>(new_name), strlen(new_name)}};
  note(DiskRecord::kRename, 0, 0, pieces, 2, pieces[0].iov_len + pieces[1].iov_len);
  return 0;
}

}  // extern "C"
