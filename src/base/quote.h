// Bytes made readable, as redis-cli shows them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ignix {

// Appends `bytes` in double quotes, with \n \r \t \a \b \" \\, and \xHH for all else that is not
// printable ASCII. Of more than `limit` bytes only so many are shown, and behind them their number:
// "abc"... (7 bytes)
void append_quoted(std::string& out, std::string_view bytes, size_t limit);

}  // namespace ignix
