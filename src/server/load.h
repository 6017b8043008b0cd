// Reads the append-only file into the keyspace at start.
#pragma once

#include <string>

#include "server/server.h"

namespace ignix {

// Runs every record of server.aof. A torn last record is cut off, with a log line, if
// aof-load-truncated allows it. `size_bytes` is then the file's length. False, with one line in
// `error`, if the file is damaged or cannot be read; the file has not been changed.
bool load_aof(Server& server, uint64_t& size_bytes, std::string& error);

}  // namespace ignix
