// libc's heap, which holds what is not the store's: buffers, connections, lists.
#pragma once

namespace ignix {

// Before there are threads. Long buffers come from the kernel, and go back to it. By itself glibc
// keeps what it was once asked for, up to 32 MB in each of its arenas (mallopt(3)).
void keep_heap_small();

// What is free in it, as far as that is whole pages.
void give_heap_back();

}  // namespace ignix
