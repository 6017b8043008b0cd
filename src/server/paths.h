// What is written for other purposes than the data must not go into its files.
#pragma once

#include <string>

#include "server/config.h"

namespace ignix {

// Whether the files of the data, and what else has a path, are different files. In the directory of
// the data. False, with one line in `error`.
bool paths_differ(const Config& config, std::string& error);

}  // namespace ignix
