// Receives large values, by one of two ways. The one is straight into their block. On some machines
// the kernel copies into memory that is in no cache at half the speed of memory that is, for it
// reads each line of it first. There the other is faster: into a buffer that stays in the cache,
// and from there into the block by instructions that read nothing and leave the cache alone. Which
// one is, for values of a size, is measured all the time (bench/README.md).
#pragma once

#include <sys/types.h>

#include <bit>
#include <cstdint>
#include <memory>

#include "net/connection.h"

namespace ignix {

// From now on each part that comes makes the connection readable.
void clear_low_water(Connection& c);

// Two ways to do the same: takes the faster one, and the other one now and then, to know.
class FasterWay {
 public:
  // Which one is to be taken next, 0 or 1.
  unsigned choose() {
    const unsigned faster = time_[1] < time_[0];
    return ++count_ % kTryOther == 0 ? !faster : faster;
  }
  // What that took, in any unit. Follows the median, from the least of the first times on: what
  // took long because the thread was interrupted counts no more than what took a little longer.
  void took(unsigned way, uint32_t time);

 private:
  static constexpr uint32_t kTryOther = 16;
  static constexpr uint8_t kFirstTimes = 3;
  uint32_t time_[2] = {};
  uint8_t times_[2] = {};  // how many are known, up to kFirstTimes
  uint32_t count_ = 0;
};

class Stage {
 public:
  // Receives what has come of the connection's block, as much as a turn allows; when the block is
  // complete also what follows, into the input, up to `room_bytes`, for which it has room. Returns
  // as recv(2). Until the block is complete the connection is readable only when a wake-up is
  // worth it, or at `every_part`.
  ssize_t receive(Connection& c, size_t room_bytes, bool every_part);

 private:
  ssize_t receive_once(Connection& c, size_t room_bytes);
  ssize_t receive_by(unsigned way, Connection& c, size_t room_bytes);

  struct alignas(64) Bytes {
    char bytes[kStageBytes];
  };
  std::unique_ptr<Bytes> stage_;              // made when it is first needed
  FasterWay ways_[std::bit_width(SIZE_MAX)];  // straight, staged; by the size of the value
};

}  // namespace ignix
