// Replies as they were written, one behind the other. Knows nothing of commands.
#pragma once

#include <string_view>

namespace ignix {

// The first one of `replies`, with all that it consists of. They are whole, and this server's own:
// what is not a reply must not come here.
std::string_view whole_reply(std::string_view replies);

}  // namespace ignix
