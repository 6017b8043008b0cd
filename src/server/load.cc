#include "server/load.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "command/execute.h"
#include "durability/reader.h"

namespace ignix {
namespace {

constexpr int64_t kProgressMs = 2000;

std::string damage(const Server& server, uint64_t offset, const std::string& what) {
  return "the append-only file '" + server.aof.path() + "' is damaged at byte " +
         std::to_string(offset) + ": " + what + "; it was left as it is";
}

// A record must be a command that changes something, or the choice of a database, and must work.
bool run_record(Batch& batch, Session& session, const Words& words, std::string& what) {
  const Command* command = find_command(words[0]);
  const bool expected = command && ((command->flags & kWrite) ||
                                    std::string_view(command->name) == "select");
  if (!expected) {
    what = "'" + std::string(words[0].substr(0, 32)) + "' is not a command that changes data";
    return false;
  }
  const uint64_t errors = batch.error_replies();
  batch.run_one(session, words);
  if (batch.error_replies() != errors) {
    what = std::string(session.output.data(), session.output.size());
    while (!what.empty() && (what.back() == '\n' || what.back() == '\r')) what.pop_back();
    return false;
  }
  session.output.clear();
  return true;
}

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
  log_warning("the append-only file ended within a record: cut off its last %llu bytes, behind "
              "byte %llu", torn, (unsigned long long)offset);
  return true;
}

}  // namespace

bool load_aof(Server& server, uint64_t& size_bytes, std::string& error) {
  struct stat file;
  if (fstat(server.aof.fd(), &file) != 0) {
    error = "cannot read '" + server.aof.path() + "': " + strerror(errno);
    return false;
  }
  const uint64_t file_bytes = uint64_t(file.st_size);
  const int64_t start_ms = monotonic_ms();
  int64_t next_progress_ms = start_ms + kProgressMs;
  uint64_t records = 0;
  // At this time nothing has expired yet: a record was written when its keys were there. What had
  // expired by then was deleted by a record of its own.
  constexpr int64_t kBeforeAllExpiries = 0;
  Env env = {&server.keyspace, nullptr, nullptr, &server, kBeforeAllExpiries,
             access_clock(wall_ms())};
  Batch batch(env);
  Session session;
  AofReader reader(server.aof.fd());
  Words words;
  AofReader::Result result;
  while ((result = reader.next(words)) == AofReader::Result::kRecord) {
    std::string what;
    if (!run_record(batch, session, words, what)) {
      error = damage(server, reader.offset(), what);
      return false;
    }
    if (++records % 4096 || monotonic_ms() < next_progress_ms) continue;
    next_progress_ms = monotonic_ms() + kProgressMs;
    log_notice("loading the append-only file: %d %%, %llu records",
               int(100 * reader.offset() / file_bytes), (unsigned long long)records);
  }
  if (result == AofReader::Result::kFailed || result == AofReader::Result::kDamaged) {
    error = damage(server, reader.offset(), reader.error());
    return false;
  }
  size_bytes = reader.offset();
  if (result == AofReader::Result::kTruncated &&
      !cut_torn_record(server, size_bytes, file_bytes, error)) {
    return false;
  }
  if (records) {
    log_notice("loaded %llu records, %llu bytes, from the append-only file in %lld ms",
               (unsigned long long)records, (unsigned long long)size_bytes,
               (long long)(monotonic_ms() - start_ms));
  }
  return true;
}

}  // namespace ignix
