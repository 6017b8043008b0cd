// Active expiry: entries whose time has come are deleted though nobody asks for them. One thread
// walks the deadlines of all databases (store/deadlines.h) when one of them is due, and looks into
// those buckets alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ignix {

// Is told what the store deletes by itself.
class GoneSink {
 public:
  virtual ~GoneSink() = default;
  // Just before the entry goes. Its stripe is locked.
  virtual void gone(int db, std::string_view key) = 0;
};

// How far a walk has come.
struct ExpiryWalk {
  bool running = false;
  int db = 0;
  size_t index = 0;      // in the database's deadlines
  size_t looked_at = 0;  // bounds so far, in all
  int64_t started_tick = 0;
  int64_t nearest_ticks = 0;  // from then, of what was not due
  bool all = false;           // whatever the deadlines say
  uint64_t deleted = 0;       // by this walk so far
};

}  // namespace ignix
