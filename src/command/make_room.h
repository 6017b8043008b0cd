// Makes room below maxmemory, by eviction.
#pragma once

#include "command/gone_logger.h"
#include "store/evict.h"

namespace ignix {

class RoomMaker {
 public:
  explicit RoomMaker(Env& env)
      : env_(env), logger_(env), evictor_(*env.keyspace, random_hash_secret().a) {}

  // While the store is over its limit: evicts, for as long as maxmemory-eviction-tenacity allows.
  // False if the limit is exceeded and nothing can be evicted. No stripe is locked by the caller.
  bool make_room();
  // What it has deleted so far.
  uint64_t count() const { return logger_.count(); }

 private:
  bool free_flushed();
  bool may_delete() const;
  int64_t budget_us() const;

  Env& env_;
  GoneLogger logger_;
  Evictor evictor_;
  uint32_t stripe_ = 0;  // where free_flushed() goes on
};

}  // namespace ignix
