// Reads an RDB file, or the part of an append-only file that is one, into the keyspace at start.
#pragma once

#include <cstdint>
#include <string>

#include "server/server.h"

namespace ignix {

// Reads from `fd`, which stands at the beginning, `file_bytes` long; `what` names it in the log.
// Keys that have expired are left out if `drop_expired`. `end` is then the first byte behind the
// RDB part. False, with one line in `error`, if it is damaged, or holds what Ignix does not have.
bool load_rdb(Server& server, int fd, uint64_t file_bytes, const std::string& what,
              bool drop_expired, uint64_t& end, std::string& error);

}  // namespace ignix
