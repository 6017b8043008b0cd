// Loading at start: the append-only file, or else an RDB file.
#pragma once

#include <time.h>

#include <cstdint>
#include <string>

#include "server/server.h"

namespace ignix {

// Shows how far it has come, in the log and in Server::loading.
class LoadProgress {
 public:
  LoadProgress(Server& server, std::string what, uint64_t bytes);
  void show(uint64_t items, uint64_t offset) {
    if (items % kItemsBetweenLooks == 0) look(items, offset);
  }

 private:
  static constexpr uint64_t kItemsBetweenLooks = 4096;
  void look(uint64_t items, uint64_t offset);

  Server& server_;
  std::string what_;
  uint64_t bytes_, items_before_ = 0;
  int64_t shown_ms_;
};

// Runs every record of server.aof, behind the RDB part that a rewritten file begins with. A torn
// last record is cut off, with a log line, if aof-load-truncated allows it. `size_bytes` is then
// the file's length. False, with one line in `error`, if the file is damaged, cannot be read, or,
// having been cut, cannot be brought to the disk; but for that it has not been changed.
bool load_aof(Server& server, uint64_t& size_bytes, std::string& error);

// Loads `dbfilename`, if there is such a file; `found` says so. False, with one line in `error`, as
// above.
bool load_dump(Server& server, bool& found, std::string& error);

// Who has just come from Redis, or has copied a file to the wrong place, shall not wonder where the
// keys are. Log lines that name what may hold data and is not read: with an append-only file, which
// was last written at that time; with appendonly no; and where nothing was found.
void tell_what_is_newer_than_log(const Server& server, const timespec& log_changed);
void tell_what_is_not_read(const Server& server);
void tell_that_nothing_is_there(const Server& server);

}  // namespace ignix
