// The end of a process that needs memory, gets none, and has nobody to tell: what a client asks for
// never comes to this (base/array.h, base/buffer.h).
#pragma once

namespace ignix {

// Says so in the log. Also for std::set_new_handler().
[[noreturn]] void end_without_memory();

}  // namespace ignix
