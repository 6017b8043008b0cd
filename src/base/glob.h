// Glob patterns as Redis has them (KEYS, CONFIG GET, COMMAND LIST): * ? [abc] [^a-z] \x.
#pragma once

#include <string_view>

namespace ignix {

// Whole-string match. A star is tried with one point of return, so that no pattern takes more than
// the product of both lengths.
bool glob_match(std::string_view pattern, std::string_view text, bool ignore_case);

}  // namespace ignix
