// Receives large values. The kernel copies into memory that is in no cache at half the speed of
// memory that is: it reads each line of it first. So a value is received into a buffer that stays
// in the cache, and stored from there into its block by instructions that read nothing and leave
// the cache alone. That is a copy more, and a third less time (bench/README.md).
#pragma once

#include <sys/types.h>

#include <memory>

#include "net/connection.h"

namespace ignix {

// From now on each part that comes makes the connection readable.
void clear_low_water(Connection& c);

class Stage {
 public:
  // Receives what has come of the connection's block, as much as a turn allows; when the block is
  // complete also what follows, into the input, up to `room_bytes`, for which it has room. Returns
  // as recv(2). Until the block is complete the connection is readable only when a wake-up is
  // worth it, or at `every_part`.
  ssize_t receive(Connection& c, size_t room_bytes, bool every_part);

 private:
  ssize_t receive_once(Connection& c, size_t room_bytes);

  struct alignas(64) Bytes {
    char bytes[kStageBytes];
  };
  std::unique_ptr<Bytes> stage_;  // made when it is first needed
};

}  // namespace ignix
