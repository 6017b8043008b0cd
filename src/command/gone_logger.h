// Writes to a loop's log what the store deletes by itself: what has expired, what is evicted.
#pragma once

#include "command/call.h"

namespace ignix {

class GoneLogger : public GoneSink {
 public:
  explicit GoneLogger(Env& env) : env_(env) {}
  void gone(int db, std::string_view key) override {
    const std::string_view change[] = {"DEL", key};
    count_++;
    if (env_.log) env_.log->append(*env_.writer, db, change, 2);
  }
  uint64_t count() const { return count_; }

 private:
  Env& env_;
  uint64_t count_ = 0;
};

}  // namespace ignix
