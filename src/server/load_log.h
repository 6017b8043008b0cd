// Reads one append-only file, Ignix's or a part of Redis's, into the keyspace at start.
#pragma once

#include <cstdint>
#include <string>

#include "server/server.h"

namespace ignix {

struct LogFile {
  int fd;  // open, at the beginning
  std::string name;
  uint64_t bytes = 0;  // load_log_file() finds out

  std::string what() const { return "the append-only file '" + name + "'"; }
};

// How such a file ends.
struct LogEnd {
  uint64_t good_bytes = 0;  // of whole records
  bool torn = false;        // what follows them is a part of one, or zeros
  uint64_t torn_bytes = 0;  // so much, without room
  bool room = false;        // it is room for records (durability/room.h)
  int db = 0;               // that the last record has left selected
};

// Runs every whole record, behind the RDB part that the file may begin with. False, with one line
// in `error`, if it is damaged or cannot be read. The file is not changed.
bool load_log_file(Server& server, LogFile& file, LogEnd& end, std::string& error);

}  // namespace ignix
