// Reads the append-only file of a Redis 7, which is a directory: a base and what came since, listed
// in a manifest. Ignix only reads it, once, as the beginning of its own file.
#pragma once

#include <string>

#include "server/server.h"

namespace ignix {

// Loads what `appenddirname` holds, if there is a manifest; `found` says so. Nothing is changed
// there. False, with one line in `error`, if a part is missing or damaged.
bool load_parts(Server& server, bool& found, std::string& error);

}  // namespace ignix
