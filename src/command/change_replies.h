// Where in a client's output the replies to changes stand that the log has not acknowledged. They
// are errors instead if the log comes into trouble before it has (net/trouble.cc).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/array.h"

namespace ignix {

class ChangeReplies {
 public:
  // One behind the other, of the same length: a pipeline of SETs is a single one of these.
  struct Run {
    size_t from = 0, until = 0;  // bytes of the output
    size_t reply_bytes = 0;
    size_t count() const { return reply_bytes ? (until - from) / reply_bytes : 0; }
  };

  // The reply to a change is from byte `from` to `until`, behind all others.
  void add(size_t from, size_t until) {
    if (from == last_.until && until - from == last_.reply_bytes) {
      last_.until = until;
    } else {
      add_run({from, until, until - from});
    }
  }
  void clear() {
    last_ = {};
    complete_ = true;
    if (earlier_.capacity() > 0) earlier_.release();
  }

  bool empty() const { return last_.count() == 0; }
  // False: there was no memory for some.
  bool complete() const { return complete_; }

  // Calls use(run) for each, in order, until it is false; returns whether none was.
  template <typename Use>
  bool for_each(Use use) const {
    for (const Run& run : earlier_) {
      if (!use(run)) return false;
    }
    return empty() || use(last_);
  }

 private:
  void add_run(const Run& run) {
    if (run.from == run.until) return;  // the client hears nothing of it
    if (!empty() && !earlier_.push(last_)) complete_ = false;
    last_ = run;
  }

  Run last_;
  Array<Run> earlier_;
  bool complete_ = true;
};

}  // namespace ignix
