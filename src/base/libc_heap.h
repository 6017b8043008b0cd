// libc's heap, which holds what is not the store's: buffers, connections, lists.
#pragma once

namespace ignix {

// Before there are threads. Very long buffers come from the kernel, and go back to it; those of a
// few megabytes are kept for the next, for a reply in fresh pages takes a tenth longer. By itself
// glibc keeps up to 64 MB at the end of each of its arenas (mallopt(3)).
void keep_heap_small();

// What is free in it, as far as that is whole pages.
void give_heap_back();

}  // namespace ignix
