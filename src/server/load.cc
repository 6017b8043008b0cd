#include "server/load.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "durability/probe.h"
#include "durability/reader.h"
#include "server/load_rdb.h"
#include "server/record_runner.h"

namespace ignix {
namespace {

constexpr int64_t kProgressMs = 2000;

std::string damage(const Server& server, uint64_t offset, const std::string& what) {
  return "the append-only file '" + server.aof.path() + "' is damaged at byte " +
         std::to_string(offset) + ": " + what + "; see ignix-check(1); it was left as it is";
}

bool cut_torn_record(Server& server, uint64_t offset, uint64_t file_bytes, std::string& error) {
  const unsigned long long torn = file_bytes - offset;
  if (!server.config.aof_load_truncated) {
    error = "the append-only file '" + server.aof.path() + "' ends within a record, " +
            std::to_string(torn) + " bytes behind byte " + std::to_string(offset) +
            "; --aof-load-truncated yes cuts them off, and so does ignix-check --fix";
    return false;
  }
  if (ftruncate(server.aof.fd(), off_t(offset)) != 0 || fsync(server.aof.fd()) != 0) {
    error = "cannot cut the torn end off '" + server.aof.path() + "': " + strerror(errno);
    return false;
  }
  log_warning(
      "the append-only file ended within a record: cut off its last %llu bytes, behind "
      "byte %llu",
      torn, (unsigned long long)offset);
  return true;
}

// New records are for database 0. A file that ends in another one (torn there, or Redis's own) says
// so first.
bool select_database_zero(Server& server, uint64_t& size_bytes, std::string& error) {
  static constexpr std::string_view kRecord = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
  const ssize_t written =
      pwrite(server.aof.fd(), kRecord.data(), kRecord.size(), off_t(size_bytes));
  if (written != ssize_t(kRecord.size())) {
    error = "cannot write to '" + server.aof.path() + "': " + strerror(errno);
    return false;
  }
  size_bytes += kRecord.size();
  return true;
}

// The records of server.aof from byte `offset` on, where its descriptor stands.
bool load_records(Server& server, uint64_t file_bytes, uint64_t offset, uint64_t& size_bytes,
                  std::string& error) {
  const int64_t start_ms = monotonic_ms();
  LoadProgress progress(server, "the append-only file", file_bytes);
  uint64_t records = 0;
  RecordRunner runner(server);
  AofReader reader(
      server.aof.fd(), offset, [](void* it) { static_cast<RecordRunner*>(it)->about_to_move(); },
      &runner);
  AofReader::Result result;
  while ((result = reader.next(runner.record())) == AofReader::Result::kRecord) {
    if (!runner.add(reader.offset())) break;
    progress.show(++records, reader.offset());
  }
  runner.finish();
  if (runner.failed()) {
    error = damage(server, runner.failed_offset(), runner.what());
    return false;
  }
  // After a power failure the end of a file may read as zeros: it was made longer, not written.
  const bool torn = result == AofReader::Result::kTruncated ||
                    (result == AofReader::Result::kDamaged &&
                     only_zeros(server.aof.fd(), reader.offset(), file_bytes));
  if (result != AofReader::Result::kEnd && !torn) {
    error = damage(server, reader.offset(), reader.error());
    return false;
  }
  size_bytes = reader.offset();
  if (result != AofReader::Result::kEnd &&
      !cut_torn_record(server, size_bytes, file_bytes, error)) {
    return false;
  }
  if (runner.db() != 0 && !select_database_zero(server, size_bytes, error)) return false;
  if (records) {
    log_notice("loaded %llu records, %llu bytes, from the append-only file in %lld ms",
               (unsigned long long)records, (unsigned long long)size_bytes,
               (long long)(monotonic_ms() - start_ms));
  }
  return true;
}

}  // namespace

LoadProgress::LoadProgress(Server& server, std::string what, uint64_t bytes)
    : server_(server), what_(std::move(what)), bytes_(bytes), shown_ms_(monotonic_ms()) {
  server.loading.total_bytes = bytes;
}

void LoadProgress::look(uint64_t items, uint64_t offset) {
  server_.loading.loaded_bytes.store(offset, std::memory_order_relaxed);
  const int64_t passed_ms = monotonic_ms() - shown_ms_;
  if (passed_ms < kProgressMs) return;
  log_notice("loading %s: %d %%, %llu so far, %llu a second", what_.c_str(),
             int(100 * offset / std::max<uint64_t>(1, bytes_)), (unsigned long long)items,
             (unsigned long long)((items - items_before_) * 1000 / uint64_t(passed_ms)));
  shown_ms_ += passed_ms;
  items_before_ = items;
}

bool load_aof(Server& server, uint64_t& size_bytes, std::string& error) {
  struct stat file;
  const int fd = server.aof.fd();
  if (fstat(fd, &file) != 0) {
    error = "cannot read '" + server.aof.path() + "': " + strerror(errno);
    return false;
  }
  const uint64_t file_bytes = uint64_t(file.st_size);
  uint64_t rdb_bytes = 0;
  if (is_rdb(fd)) {
    const std::string what = "the append-only file '" + server.aof.path() + "'";
    if (!load_rdb(server, fd, file_bytes, what, false, rdb_bytes, error)) return false;
    lseek(fd, off_t(rdb_bytes), SEEK_SET);
  }
  return load_records(server, file_bytes, rdb_bytes, size_bytes, error);
}

bool load_dump(Server& server, bool& found, std::string& error) {
  const std::string& name = server.config.dbfilename;
  const int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
  found = fd >= 0;
  if (!found && errno == ENOENT) return true;
  struct stat file;
  if (!found || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) {
    error = "cannot read '" + name + "': " + (found ? "not a regular file" : strerror(errno));
    if (found) close(fd);
    return false;
  }
  uint64_t end;
  const bool loaded =
      load_rdb(server, fd, uint64_t(file.st_size), "'" + name + "'", true, end, error);
  close(fd);
  return loaded;
}

}  // namespace ignix
