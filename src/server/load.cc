#include "server/load.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "command/execute.h"
#include "durability/reader.h"
#include "server/load_rdb.h"

namespace ignix {
namespace {

constexpr int64_t kProgressMs = 2000;

std::string damage(const Server& server, uint64_t offset, const std::string& what) {
  return "the append-only file '" + server.aof.path() + "' is damaged at byte " +
         std::to_string(offset) + ": " + what + "; it was left as it is";
}

// Runs records, a batch at a time, with a clock at which nothing has expired yet: a record was
// written when its keys were there. What had expired by then was deleted by a record of its own.
class RecordRunner {
 public:
  explicit RecordRunner(Server& server)
      : env_{&server.keyspace, nullptr, nullptr, &server, 0, access_clock(wall_ms())},
        batch_(env_) {}

  // Where the next record's words go.
  Words& words() { return batch_.words(); }

  // A record must be a command that changes something, or the choice of a database, and must work.
  // False once one does not.
  bool add(size_t first_word, uint64_t offset) {
    const std::string_view name = batch_.words()[first_word];
    const Command* command = find_command(name);
    if (!command || !((command->flags & kWrite) || std::string_view(command->name) == "select")) {
      const std::string what =
          "'" + std::string(name.substr(0, 32)) + "' is not a command that changes data";
      batch_.words().resize(first_word);
      run();
      if (!failed_) fail(offset, what);
      return false;
    }
    batch_.add(session_, first_word, nullptr, offset);
    if (batch_.full()) run();
    return !failed_;
  }

  void run() {
    if (failed_ || batch_.empty()) return;
    batches_++;
    batch_.run_loaded([this](uint64_t offset) {
      if (batch_.error_replies() > 0) {
        std::string what(session_.output.data(), session_.output.size());
        while (!what.empty() && (what.back() == '\n' || what.back() == '\r')) what.pop_back();
        fail(offset, what);
        return false;
      }
      session_.output.clear();
      return true;
    });
  }

  int db() const { return session_.db; }
  uint64_t batches() const { return batches_; }  // run so far
  bool failed() const { return failed_; }
  uint64_t failed_offset() const { return failed_offset_; }
  const std::string& what() const { return what_; }

 private:
  void fail(uint64_t offset, const std::string& what) {
    failed_ = true;
    failed_offset_ = offset;
    what_ = what;
  }

  Env env_;
  Batch batch_;
  Session session_;
  uint64_t batches_ = 0;
  bool failed_ = false;
  uint64_t failed_offset_ = 0;
  std::string what_;
};

bool cut_torn_record(Server& server, uint64_t offset, uint64_t file_bytes, std::string& error) {
  const unsigned long long torn = file_bytes - offset;
  if (!server.config.aof_load_truncated) {
    error = "the append-only file '" + server.aof.path() + "' ends within a record, " +
            std::to_string(torn) + " bytes behind byte " + std::to_string(offset) +
            "; --aof-load-truncated yes cuts them off";
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

// Where the zeros begin with which the bytes from `from` to `to` end; `to`: nowhere.
uint64_t find_last_zeros(int fd, uint64_t from, uint64_t to) {
  char chunk[4096];
  while (from < to) {
    const size_t size = size_t(std::min<uint64_t>(sizeof chunk, to - from));
    if (pread(fd, chunk, size, off_t(to - size)) != ssize_t(size)) return to;
    for (size_t i = size; i > 0; i--) {
      if (chunk[i - 1] != 0) return to - size + i;
    }
    to -= size;
  }
  return from;
}

// Whether a record at `offset` is no record because the file is zeros from some byte on. It was
// made longer then, but not written when the power failed.
bool ends_in_zeros(int fd, uint64_t offset, uint64_t file_bytes) {
  const uint64_t zeros = find_last_zeros(fd, offset, file_bytes);
  if (zeros == offset || zeros == file_bytes) return zeros == offset;
  if (lseek(fd, off_t(offset), SEEK_SET) < 0) return false;
  AofReader reader(fd, offset);
  reader.limit(zeros);
  Words words;
  return reader.next(words) == AofReader::Result::kTruncated;
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
  LoadProgress progress("the append-only file", file_bytes);
  uint64_t records = 0;
  RecordRunner runner(server);
  AofReader reader(
      server.aof.fd(), offset, [](void* it) { static_cast<RecordRunner*>(it)->run(); }, &runner);
  AofReader::Result result;
  for (;;) {
    const size_t words_before = runner.words().size();
    const uint64_t batches_before = runner.batches();
    result = reader.next(runner.words());
    if (result != AofReader::Result::kRecord) break;
    // What stood before may have been run, to make room.
    const size_t first_word = runner.batches() == batches_before ? words_before : 0;
    if (!runner.add(first_word, reader.offset())) break;
    progress.show(++records, reader.offset());
  }
  runner.run();
  if (runner.failed()) {
    error = damage(server, runner.failed_offset(), runner.what());
    return false;
  }
  const bool torn = result == AofReader::Result::kTruncated ||
                    (result == AofReader::Result::kDamaged &&
                     ends_in_zeros(server.aof.fd(), reader.offset(), file_bytes));
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

LoadProgress::LoadProgress(std::string what, uint64_t bytes)
    : what_(std::move(what)), bytes_(bytes), shown_ms_(monotonic_ms()) {}

void LoadProgress::look(uint64_t items, uint64_t offset) {
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
