#include "durability/aof.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/area.h"
#include "base/clock.h"
#include "base/log.h"

namespace ignix {
namespace {

constexpr int64_t kSyncEveryMs = 1000;

int open_directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  return open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

// Closes it. False with errno.
bool sync_directory(int fd) {
  const int error = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;  // EINVAL: no such need there
  close(fd);
  errno = error;
  return error == 0;
}

bool is_named(int fd, const std::string& path) {
  struct stat open_file, named;
  return fstat(fd, &open_file) == 0 && stat(path.c_str(), &named) == 0 &&
         open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

}  // namespace

// The directory is opened first: where that fails nothing has changed.
Renamed rename_durably(const std::string& from, const std::string& to) {
  const int directory = open_directory_of(to);
  if (directory < 0) return Renamed::kNo;
  if (rename(from.c_str(), to.c_str()) != 0) {
    const int error = errno;
    close(directory);
    errno = error;
    return Renamed::kNo;
  }
  return sync_directory(directory) ? Renamed::kYes : Renamed::kNotOnDisk;
}

// Where there is no such call, or a seccomp filter refuses it, the fsync does it all.
bool begin_writeback(int fd, uint64_t from, uint64_t until) {
  return sync_file_range(fd, off_t(from), off_t(until - from), SYNC_FILE_RANGE_WRITE) == 0 ||
         errno == ENOSYS || errno == EPERM || errno == EINVAL || errno == EINTR;
}

Aof::~Aof() {
  if (fd_ >= 0) close(fd_);
}

// Opens and locks it, or says what cannot be done.
std::string Aof::open_locked(const std::string& path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) return "cannot open the append-only file '" + path + "': " + strerror(errno);
  struct stat file;
  if (fstat(fd_, &file) != 0 || !S_ISREG(file.st_mode)) {
    return "cannot use the append-only file '" + path + "': not a regular file";
  }
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    return "cannot lock the append-only file '" + path +
           "': " + (errno == EWOULDBLOCK ? "another Ignix uses it" : strerror(errno));
  }
  return {};
}

bool Aof::open(const std::string& path, std::string& error) {
  error = open_locked(path);
  // Another server, which is about to end, may have put a new file in its place meanwhile.
  while (error.empty() && !is_named(fd_, path)) {
    close(fd_);
    error = open_locked(path);
  }
  // What a killed server had written, and its name, may not have come to the disk yet, but is
  // served from now on.
  const int directory = error.empty() ? open_directory_of(path) : -1;
  if (error.empty() && (directory < 0 || !sync_directory(directory))) {
    error = "cannot fsync the directory of the append-only file '" + path + "': " + strerror(errno);
  } else if (error.empty() && fdatasync(fd_) != 0) {
    const int failure = errno;
    path_ = path;
    mark_as_doubtful();  // the next fsync may succeed, and mean nothing
    errno = failure;
    error = "cannot fsync the append-only file '" + path + "': " + strerror(errno);
  }
  if (!error.empty()) {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
    return false;
  }
  path_ = path;
  return true;
}

void Aof::adopt(int fd) {
  close(fd_);
  fd_ = fd;
  unlink(mark_path().c_str());
}

std::string Aof::mark_path() const { return path_ + ".fsync-failed"; }

bool Aof::is_doubtful() const { return access(mark_path().c_str(), F_OK) == 0; }

// After a power failure the mark may be gone, and with it what was only in memory.
void Aof::mark_as_doubtful() {
  const int fd = ::open(mark_path().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) log_warning("cannot create '%s': %s", mark_path().c_str(), strerror(errno));
  if (fd >= 0) close(fd);
}

bool Aof::start(LogRing* ring, uint64_t size_bytes, FsyncPolicy policy, void (*on_progress)(void*),
                void* context) {
  ring_ = ring;
  ring_->on_wait([](void* self) { static_cast<Aof*>(self)->notify(); }, this);
  on_progress_ = on_progress;
  context_ = context;
  size_bytes_ = synced_bytes_ = writeback_bytes_ = base_bytes_ = size_bytes;
  policy_ = policy;
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&second_, &monotonic);
  pthread_cond_init(&switched_, &monotonic);
  if (pthread_create(&writer_, nullptr, run_writer, this) != 0) return false;
  if (pthread_create(&syncer_, nullptr, run_syncer, this) != 0) {
    stopping_ = true;
    notify();
    pthread_join(writer_, nullptr);
    return false;
  }
  pthread_setname_np(writer_, "aof-write");
  pthread_setname_np(syncer_, "aof-fsync");
  running_ = true;
  return true;
}

bool Aof::stop() {
  if (!running_) return true;
  running_ = false;
  stopping_ = true;
  notify();
  wake_syncer();
  pthread_join(writer_, nullptr);
  pthread_join(syncer_, nullptr);
  if (room_end_ && !drop_room()) {
    log_warning("cannot cut the room off '%s': %s", path_.c_str(), strerror(errno));
  }
  return ring_->failure() == 0 && sync();
}

void Aof::unlock() { flock(fd_, LOCK_UN); }

void Aof::notify() { bell_.ring(); }

void Aof::sync_soon(uint64_t position) {
  uint64_t wanted = sync_wanted_.load();
  while (wanted < position && !sync_wanted_.compare_exchange_weak(wanted, position)) continue;
  wake_syncer();
}

// Of what is wanted, something is in the file and not on the disk. After a failure nothing is due.
bool Aof::sync_is_due() const {
  const uint64_t done = synced();
  return done < sync_wanted_.load() && done < acknowledged() && !fsync_failure();
}

void Aof::wake_syncer() {
  pthread_mutex_lock(&lock_);
  pthread_cond_signal(&second_);
  pthread_mutex_unlock(&lock_);
}

// Once for each kind of trouble, and once when all is over.
void Aof::report(Trouble trouble, int error) {
  // Before anybody can know of it.
  if (trouble == kSyncing && error && !fsync_failure()) mark_as_doubtful();
  if (failures_[trouble].exchange(error) == error) return;
  // Both threads report. Under the lock the last one sees what both have said.
  pthread_mutex_lock(&lock_);
  const int other = failures_[trouble == kWriting ? kSyncing : kWriting].load();
  const int own = failures_[trouble].load();
  ring_->set_failure(own ? own : other);
  pthread_mutex_unlock(&lock_);
  if (error && trouble == kWriting) {
    log_warning("writing to the append-only file '%s' failed: %s; writes are refused, retrying",
                path_.c_str(), strerror(error));
  } else if (error) {
    log_warning(
        "fsync of the append-only file '%s' failed: %s; writes are refused until a new file has "
        "taken its place",
        path_.c_str(), strerror(error));
  } else if (!other) {
    log_notice("the append-only file '%s' can be written again", path_.c_str());
  }
  on_progress_(context_);
}

// False if nothing could be written.
bool Aof::write_some(std::string_view bytes) {
  const ssize_t written = prefers_room(bytes.size()) ? write_into_room(bytes) : append(bytes);
  if (written > 0) {
    size_bytes_.store(size_bytes() + uint64_t(written), std::memory_order_relaxed);
    ring_->take(size_t(written));
    report(kWriting, 0);
    if (writeback_is_due()) wake_syncer();
    return true;
  }
  if (written < 0 && errno == EINTR) return true;
  report(kWriting, written < 0 ? errno : ENOSPC);
  return false;
}

// As pwrite().
ssize_t Aof::append(std::string_view bytes) {
  if (room_end_ && !drop_room()) return -1;
  const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), off_t(size_bytes()));
  if (written < ssize_t(bytes.size())) keep_from_room();  // the file may end within a record
  return written;
}

// Whatever has become of it before. False if it fails, and has been reported.
bool Aof::sync_file() {
  pthread_mutex_lock(&sync_lock_);
  if (!fsync_failure() && fdatasync(fd_) != 0) report(kSyncing, errno);
  const bool good = !fsync_failure();
  pthread_mutex_unlock(&sync_lock_);
  return good;
}

// False if what is in the file is not on the disk, and for good after a failure.
bool Aof::sync() {
  pthread_mutex_lock(&sync_lock_);
  const uint64_t size = size_bytes();
  if (!fsync_failure() && synced_bytes_.load(std::memory_order_relaxed) < size) {
    if (fdatasync(fd_) == 0) {
      synced_bytes_.store(size, std::memory_order_relaxed);
      synced_.store(size - base_bytes_.load(std::memory_order_relaxed), std::memory_order_seq_cst);
      writeback_bytes_.store(size, std::memory_order_relaxed);
      if (forget_cached(size)) uncached_bytes_ = size - kLogCachedBytes;
    } else {
      report(kSyncing, errno);
    }
  }
  const bool good = !fsync_failure();
  pthread_mutex_unlock(&sync_lock_);
  return good;
}

bool Aof::writeback_is_due() const {
  const uint64_t begun = writeback_bytes_.load(std::memory_order_relaxed);
  return size_bytes() >= begun + kLogWritebackBytes && !fsync_failure();
}

// Has the disk begin with what it has not been told of, and does not wait for it: so the fsync at
// the end of the second finds little left to do, and the pages are clean soon and can be given up.
void Aof::start_writeback() {
  pthread_mutex_lock(&sync_lock_);
  const uint64_t begun = writeback_bytes_.load(std::memory_order_relaxed);
  const uint64_t until = size_bytes() / kPage * kPage;  // the last page is about to change
  if (until > begun && !fsync_failure()) {
    if (!begin_writeback(fd_, begun, until)) report(kSyncing, errno);
    writeback_bytes_.store(until, std::memory_order_relaxed);
    forget_cached(begun);
  }
  pthread_mutex_unlock(&sync_lock_);
}

// The log is written once and read never, or at the next start: what is on the disk takes no
// memory. Of what stands before byte `end` nearly all is. False: too little. Holds sync_lock_.
bool Aof::forget_cached(uint64_t end) {
  if (end < uncached_bytes_ + kLogCachedBytes + kLogWritebackBytes) return false;
  posix_fadvise(fd_, off_t(uncached_bytes_), off_t(end - kLogCachedBytes - uncached_bytes_),
                POSIX_FADV_DONTNEED);
  return true;
}

// ---- another file takes the place of this one

namespace {

// False with errno.
bool copy_bytes(int from, uint64_t at, uint64_t end, int to) {
  char chunk[64 * 1024];
  while (at < end) {
    const ssize_t got = pread(from, chunk, std::min<uint64_t>(sizeof chunk, end - at), off_t(at));
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = EIO;
    if (got <= 0) return false;
    for (ssize_t done = 0; done < got;) {
      const ssize_t written = write(to, chunk + done, size_t(got - done));
      if (written < 0 && errno == EINTR) continue;
      if (written == 0) errno = ENOSPC;
      if (written <= 0) return false;
      done += written;
    }
    at += uint64_t(got);
  }
  return true;
}

}  // namespace

bool Aof::replace(int fd, const std::string& name, uint64_t from, std::string& error) {
  // Most of the tail is copied here, so that the AOF thread has little to do.
  constexpr uint64_t kLeftBytes = 256 * 1024;
  sync();  // not in the AOF thread, which would be held up
  Switch request = {fd, name, from, from};
  bool good = lseek(fd, 0, SEEK_END) >= 0;
  for (int round = 0; good && round < 8; round++) {
    const uint64_t end = std::max(size_bytes(), from);  // a slow disk has not come to `from` yet
    if (end - request.copied < kLeftBytes && round > 0) break;
    good = copy_bytes(fd_, request.copied, end, fd) && fdatasync(fd) == 0;
    request.copied = end;
  }
  if (!good) {
    request.error = strerror(errno);
  } else {
    pthread_mutex_lock(&lock_);
    switch_.store(&request);
    notify();
    while (!request.done) pthread_cond_wait(&switched_, &lock_);
    pthread_mutex_unlock(&lock_);
  }
  close(request.error.empty() ? request.old_fd : fd);
  error = request.error;
  return error.empty();
}

// The AOF thread, between two writes.
void Aof::switch_files() {
  Switch& request = *switch_.load();
  pthread_mutex_lock(&sync_lock_);
  const char* error = switch_to_new_file();
  pthread_mutex_unlock(&sync_lock_);
  if (error) {
    request.error = error;
  } else {
    report(kWriting, 0);  // all has been written, if to another file
    on_progress_(context_);
  }
  pthread_mutex_lock(&lock_);
  switch_.store(nullptr);
  request.done = true;
  pthread_cond_broadcast(&switched_);
  pthread_mutex_unlock(&lock_);
}

// Holds sync_lock_. The new name is on the disk before anything is acknowledged that only the new
// file has: where its directory cannot be fsynced, the new file is as bad as one that cannot.
const char* Aof::switch_to_new_file() {
  Switch& request = *switch_.load();
  // What the old file reads as may not be what was written there.
  const bool reads_old = size_bytes() > request.from;
  if (reads_old && !fsync_failure() && fdatasync(fd_) != 0) report(kSyncing, errno);
  if (reads_old && fsync_failure()) return "its fsync has failed meanwhile";
  if (size_bytes() > request.copied && !copy_bytes(fd_, request.copied, size_bytes(), request.fd)) {
    return strerror(errno);
  }
  const off_t size = lseek(request.fd, 0, SEEK_END);
  if (size < 0 || fdatasync(request.fd) != 0) return strerror(errno);
  const Renamed renamed = rename_durably(request.name, path_);
  if (renamed == Renamed::kNo) return strerror(errno);
  const int error = renamed == Renamed::kYes ? 0 : errno;
  skip_to(request.from);
  request.old_fd = fd_;
  fd_ = request.fd;
  room_end_ = 0;
  uncached_bytes_ = 0;
  size_bytes_ = synced_bytes_ = writeback_bytes_ = uint64_t(size);
  base_bytes_ = uint64_t(size) - ring_->taken();
  if (!error) synced_ = ring_->taken();
  if (!error) unlink(mark_path().c_str());
  report(kSyncing, error);
  return nullptr;
}

// What the ring holds of the old file up to byte `offset` is not needed any more.
void Aof::skip_to(uint64_t offset) {
  while (size_bytes() < offset) {
    const size_t bytes =
        size_t(std::min<uint64_t>(ring_->complete().size(), offset - size_bytes()));
    if (bytes == 0) sched_yield();  // a record is being copied
    ring_->take(bytes);
    size_bytes_.store(size_bytes() + bytes, std::memory_order_relaxed);
  }
}

// False if the bytes that are in the file cannot be acknowledged yet.
bool Aof::acknowledge() {
  const uint64_t taken = ring_->taken();
  if (acknowledged_.load(std::memory_order_relaxed) == taken) return true;
  // A group in room is on the disk before the next goes there, whatever the policy is by then.
  if ((policy() == FsyncPolicy::kAlways || room_end_) && !sync()) return false;
  acknowledged_.store(taken, std::memory_order_seq_cst);
  if (sync_is_due()) wake_syncer();
  on_progress_(context_);
  return true;
}

void Aof::write_loop() {
  int tries_left = 10;  // when the server stops: a disk that stays full must not keep it
  for (;;) {
    const uint32_t rings = bell_.rings();
    if (switch_.load()) switch_files();
    const std::string_view bytes = ring_->complete();
    if ((!bytes.empty() && !write_some(bytes)) || !acknowledge()) {
      if (stopping_ && (fsync_failure() || tries_left-- == 0)) return;  // replace() is over by then
      const timespec pause = {0, kLogRetryMs * 1000000L};
      nanosleep(&pause, nullptr);
    } else if (bytes.empty() && ring_->tail() == ring_->taken()) {
      if (stopping_) return;
      bell_.wait(rings);
    } else if (bytes.empty()) {
      sched_yield();  // a record is being copied
    }
  }
}

// Once a second, and sooner where somebody waits for it. With kAlways there is something to do when
// it was kEverysec until now.
void Aof::sync_loop() {
  int64_t next_ms = monotonic_ms() + kSyncEveryMs;
  while (!stopping_) {
    const timespec next = {next_ms / 1000, next_ms % 1000 * 1'000'000};
    bool waits = true;
    pthread_mutex_lock(&lock_);
    while (waits && !stopping_ && !sync_is_due() && !writeback_is_due()) {
      waits = pthread_cond_timedwait(&second_, &lock_, &next) == 0;
    }
    pthread_mutex_unlock(&lock_);
    if (writeback_is_due()) start_writeback();
    if (monotonic_ms() < next_ms && !sync_is_due()) continue;
    next_ms = monotonic_ms() + kSyncEveryMs;
    if (policy() == FsyncPolicy::kNo && !sync_is_due()) continue;
    const uint64_t before = synced();
    sync();
    if (synced() != before) on_progress_(context_);
  }
}

void* Aof::run_writer(void* self) {
  // Where it shares a CPU with a loop it does not interrupt the loop's turn for a few records: it
  // writes when the loop has nothing more to run, and so more at a time.
  const sched_param none = {};
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
  static_cast<Aof*>(self)->write_loop();
  return nullptr;
}

void* Aof::run_syncer(void* self) {
  static_cast<Aof*>(self)->sync_loop();
  return nullptr;
}

}  // namespace ignix
