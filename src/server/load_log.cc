#include "server/load_log.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "durability/probe.h"
#include "durability/reader.h"
#include "durability/room.h"
#include "server/key_forecast.h"
#include "server/load.h"
#include "server/load_rdb.h"
#include "server/record_runner.h"

namespace ignix {
namespace {

bool damaged(const LogFile& file, uint64_t offset, const std::string& what, std::string& error) {
  error = file.what() + " is damaged at byte " + std::to_string(offset) + ": " + what +
          "; see ignix-check(1); it was left as it is";
  return false;
}

bool cannot_read(const LogFile& file, std::string& error) {
  error = "cannot read '" + file.name + "': " + strerror(errno);
  return false;
}

bool cannot_load(const LogFile& file, uint64_t offset, const std::string& why, std::string& error) {
  error = file.what() + " cannot be loaded: at byte " + std::to_string(offset) + ": " + why;
  return false;
}

// A record did not work. That is no damage where it is for want of memory, of databases or of a
// command.
bool refused(const LogFile& file, const RecordRunner& runner, std::string& error) {
  const std::string& what = runner.what();
  if (what.starts_with("-OOM")) {
    return cannot_load(file, runner.failed_offset(), "out of memory", error);
  }
  if (what == "-ERR DB index is out of range") {
    return cannot_load(file, runner.failed_offset(), "no such database; see --databases", error);
  }
  if (runner.lacks_command()) return cannot_load(file, runner.failed_offset(), what, error);
  return damaged(file, runner.failed_offset(), what, error);
}

uint64_t key_count(const Keyspace& keyspace) {
  uint64_t keys = 0;
  for (int db = 0; db < keyspace.databases(); db++) keys += keyspace.key_count(db);
  return keys;
}

// Each database shall grow by the same factor.
void expect_keys(const Keyspace& keyspace, KeyForecast& forecast, RecordRunner& runner,
                 uint64_t records, uint64_t offset) {
  runner.finish();
  const uint64_t keys = key_count(keyspace);
  const uint64_t expected = forecast.look(records, offset, keys);
  if (expected == keys) return;
  const double factor = double(expected) / double(keys);
  for (int db = 0; db < keyspace.databases(); db++) {
    const uint64_t keys_here = keyspace.key_count(db);
    if (keys_here) runner.expect(db, uint64_t(double(keys_here) * factor));
  }
}

// From byte `offset` on, where the descriptor stands.
bool load_records(Server& server, const LogFile& file, uint64_t offset, LogEnd& end,
                  std::string& error) {
  using Result = AofReader::Result;
  const int64_t start_ms = monotonic_ms();
  LoadProgress progress(server, "the append-only file", file.bytes);
  uint64_t records = 0;
  RecordRunner runner(server);
  KeyForecast forecast(offset, file.bytes, key_count(server.keyspace));
  AofReader reader(
      file.fd, offset,
      [](void* it, Buffer& old) { static_cast<RecordRunner*>(it)->take_buffer(old); }, &runner);
  RoomFound room;
  if (!find_room(file.fd, file.bytes, room)) return cannot_read(file, error);
  if (room.found) reader.limit(std::max(offset, room.limit));
  Result result;
  while ((result = reader.next(runner.record())) == Result::kRecord) {
    if (!runner.add(reader.offset())) break;
    progress.show(++records, reader.offset());
    if (forecast.is_due(records)) {
      expect_keys(server.keyspace, forecast, runner, records, reader.offset());
    }
  }
  runner.finish();
  if (runner.failed()) return refused(file, runner, error);
  if (result == Result::kFailed) return cannot_load(file, reader.offset(), reader.error(), error);
  const RoomTail tail = judge_room(file.fd, room, reader.offset(), reader.reached(), file.bytes);
  if (tail == RoomTail::kUnknown) return cannot_read(file, error);
  const bool zeros =
      result == Result::kDamaged && ends_in_zeros(file.fd, reader.offset(), file.bytes);
  if (result == Result::kDamaged && tail == RoomTail::kNone && !zeros) {
    return damaged(file, reader.offset(), reader.error(), error);
  }
  // A transaction is run as a whole or not at all.
  end.good_bytes = runner.in_group() ? runner.group_offset() : reader.offset();
  end.room = tail == RoomTail::kRoom;
  end.torn = runner.in_group() || tail == RoomTail::kTorn ||
             (result != Result::kEnd && tail != RoomTail::kRoom);
  end.torn_bytes = (room.found ? room.lines : file.bytes) - end.good_bytes;
  end.db = runner.db();
  if (records) {
    log_notice("loaded %llu record%s, %llu bytes, from %s in %lld ms", (unsigned long long)records,
               records == 1 ? "" : "s", (unsigned long long)end.good_bytes, file.what().c_str(),
               (long long)(monotonic_ms() - start_ms));
  }
  return true;
}

}  // namespace

bool load_log_file(Server& server, LogFile& file, LogEnd& end, std::string& error) {
  struct stat status;
  if (fstat(file.fd, &status) != 0) return cannot_read(file, error);
  file.bytes = uint64_t(status.st_size);
  uint64_t rdb_bytes = 0;
  if (is_rdb(file.fd)) {
    if (!load_rdb(server, file.fd, file.bytes, file.what(), false, rdb_bytes, error)) return false;
    if (lseek(file.fd, off_t(rdb_bytes), SEEK_SET) < 0) return cannot_read(file, error);
  }
  return load_records(server, file, rdb_bytes, end, error);
}

}  // namespace ignix
