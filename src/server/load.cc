#include "server/load.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "server/load_log.h"
#include "server/load_rdb.h"

namespace ignix {
namespace {

constexpr int64_t kProgressMs = 2000;

// Durably: records that are not fsynced shall not stand in it.
bool cut(const LogFile& file, uint64_t bytes, const char* what, std::string& error) {
  if (ftruncate(file.fd, off_t(bytes)) == 0 && fsync(file.fd) == 0) return true;
  error = "cannot cut the " + std::string(what) + " off '" + file.name + "': " + strerror(errno);
  return false;
}

bool cut_torn_end(Server& server, const LogFile& file, const LogEnd& end, std::string& error) {
  const uint64_t offset = end.good_bytes;
  const unsigned long long torn = end.torn_bytes;
  if (!server.config.aof_load_truncated) {
    error = file.what() + " ends within a record, " + std::to_string(torn) + " bytes behind byte " +
            std::to_string(offset) +
            "; --aof-load-truncated yes cuts them off, and so does ignix-check --fix";
    return false;
  }
  if (!cut(file, offset, "torn end", error)) return false;
  log_warning(
      "the end of the append-only file was not whole: cut off its last %llu bytes, behind byte "
      "%llu",
      torn, (unsigned long long)offset);
  return true;
}

// New records are for database 0. A file that ends in another one (torn there, or Redis's own) says
// so first; a file that has nothing else may.
bool select_database_zero(const LogFile& file, uint64_t& size_bytes, std::string& error) {
  const ssize_t written =
      pwrite(file.fd, kSelectZero.data(), kSelectZero.size(), off_t(size_bytes));
  if (written != ssize_t(kSelectZero.size())) {
    if (written >= 0) errno = ENOSPC;
    error = "cannot write to '" + file.name + "': " + strerror(errno);
    return false;
  }
  size_bytes += kSelectZero.size();
  return true;
}

// Whether there may be data in it.
bool is_there(const std::string& name, struct stat& file) {
  return stat(name.c_str(), &file) == 0 && (S_ISDIR(file.st_mode) || file.st_size > 0);
}

bool is_newer(const timespec& one, const timespec& other) {
  return one.tv_sec != other.tv_sec ? one.tv_sec > other.tv_sec : one.tv_nsec > other.tv_nsec;
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
  LogFile file = {server.aof.fd(), server.aof.path()};
  LogEnd end;
  if (!load_log_file(server, file, end, error)) return false;
  size_bytes = end.good_bytes;
  if (end.torn && !cut_torn_end(server, file, end, error)) return false;
  if (end.room && !end.torn && !cut(file, size_bytes, "room", error)) return false;
  // A log of which nothing is left must not look like none.
  const bool emptied = end.torn && size_bytes == 0;
  return (end.db == 0 && !emptied) || select_database_zero(file, size_bytes, error);
}

void tell_what_is_newer_than_log(const Server& server, const timespec& log_changed) {
  const Config& config = server.config;
  for (const std::string* name : {&config.dbfilename, &config.appenddirname}) {
    struct stat file;
    if (!is_there(*name, file) || !is_newer(file.st_mtim, log_changed)) continue;
    log_notice(
        "'%s' is newer than '%s', and is not read: where there is an append-only file, that is",
        name->c_str(), config.appendfilename.c_str());
  }
}

void tell_what_is_not_read(const Server& server) {
  const Config& config = server.config;
  for (const std::string* name : {&config.appendfilename, &config.appenddirname}) {
    struct stat file;
    if (is_there(*name, file)) log_notice("'%s' is not read: appendonly is no", name->c_str());
  }
}

void tell_that_nothing_is_there(const Server& server) {
  const Config& config = server.config;
  log_notice("no data to load: no '%s', no '%s' with a manifest of that name, no '%s'",
             config.appendfilename.c_str(), config.appenddirname.c_str(),
             config.dbfilename.c_str());
}

bool load_dump(Server& server, bool& found, std::string& error) {
  const std::string& name = server.config.dbfilename;
  struct stat file;
  if (stat(name.c_str(), &file) == 0 && !S_ISREG(file.st_mode)) {  // to open a pipe would wait
    error = "cannot read '" + name + "': not a regular file";
    return false;
  }
  const int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
  found = fd >= 0;
  if (!found && errno == ENOENT) return true;
  if (!found || fstat(fd, &file) != 0) {
    error = "cannot read '" + name + "': " + strerror(errno);
    if (found) close(fd);
    return false;
  }
  uint64_t end;
  const uint64_t bytes = uint64_t(file.st_size);
  const bool loaded = load_rdb(server, fd, bytes, "'" + name + "'", true, end, error);
  close(fd);
  if (!loaded || end == bytes) return loaded;
  error = "'" + name + "' goes on behind its end, byte " + std::to_string(end) +
          ": if it is an append-only file, see --appendfilename; it was left as it is";
  return false;
}

}  // namespace ignix
