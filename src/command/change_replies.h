// Where in a client's output the replies to changes stand that the log has not acknowledged. They
// are errors instead if the log comes into trouble before it has (net/trouble.cc).
//
// Bytes of the output are counted from where it begins, so nothing may be taken off its front while
// this is of use. Nothing is: what waits for the log is not sent, and when all is acknowledged,
// Loop::parse() clears this before the next command of the client is run. Between the sending and
// that nobody may look at it.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

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

  // The reply to a change is from byte `from` to `until`, behind all others; the client hears
  // nothing of it if it has no length.
  void add(size_t from, size_t until) {
    if (from == last_.until && until - from == last_.reply_bytes) {
      last_.until = until;
    } else if (from < until) {
      begin_run({from, until, until - from});
    }
  }
  void clear() {
    if (last_.reply_bytes == 0) return;
    last_ = {};
    earlier_.reset();
    is_complete_ = true;
  }

  // Calls use(run) for each, in order, until it is false. False if it was, or if there was no
  // memory for some.
  template <typename Use>
  bool for_each(Use use) const {
    if (!is_complete_) return false;
    for (size_t i = 0; earlier_ && i < earlier_->size(); i++) {
      if (!use((*earlier_)[i])) return false;
    }
    return last_.reply_bytes == 0 || use(last_);
  }

 private:
  void begin_run(const Run& run) {
    if (last_.reply_bytes > 0) {
      if (!earlier_) earlier_.reset(new (std::nothrow) Array<Run>);
      is_complete_ = is_complete_ && earlier_ && earlier_->push(last_);
    }
    last_ = run;
  }

  Run last_;
  std::unique_ptr<Array<Run>> earlier_;  // few have any
  bool is_complete_ = true;
};

}  // namespace ignix
