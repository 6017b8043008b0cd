// Threads that share a CPU: who serves clients goes before who works long. Knows nothing of Redis.
#pragma once

#include <cstdint>

namespace ignix {

// This thread runs for a short time at once, and for that goes, whenever it wakes, before one that
// runs longer. Where the kernel does not know that (Linux before 6.12) or refuses it, nothing
// changes. Threads that it starts are the same: that of a snapshot too, whose turn is over sooner
// then. sched_setattr(2).
void take_short_slices();

// For the thread of long work, between two short steps, with no lock held. A thread that wakes
// while another has just begun its slice waits until that is over, several milliseconds; unless it
// is let through.
class GiveWay {
 public:
  void now_and_then();

 private:
  int64_t last_us_ = 0;
};

}  // namespace ignix
