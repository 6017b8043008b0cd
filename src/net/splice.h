// Sends without a copy: pages of large values go to the socket by way of a pipe (vmsplice(2),
// splice(2)), and the kernel sends from them. On loopback the receiver copies out of the value
// itself. MSG_ZEROCOPY would not do: over loopback it copies after all, and it tells later when the
// pages are free, which nobody needs to know here (store/block.h).
#pragma once

#include <cstddef>

#include "base/output.h"

namespace ignix {

class Splicer {
 public:
  Splicer() = default;
  ~Splicer() { close_pipe(); }
  Splicer(const Splicer&) = delete;
  Splicer& operator=(const Splicer&) = delete;

  // Whether send() is worth it.
  bool wants(const Output& output) const { return works_ && output.can_lend(); }

  // Sends from the front of `output`, by any means, to a socket that does not block, as much as it
  // takes or a turn allows. `sent_bytes` of it are then consumed. False, with errno, if nothing
  // more can ever be sent. Without a descriptor for the pipe it copies, this time.
  bool send(int fd, Output& output, size_t& sent_bytes);

 private:
  bool open_pipe();
  void close_pipe();
  long send_lent(int fd, const SharedBytes& shared, bool more, bool& lends);
  long splice_all(int fd, size_t bytes, bool more);

  int ends_[2] = {-1, -1};  // of a pipe that is empty between two sends
  bool works_ = true;       // the kernel (or its seccomp filter) has not refused
};

}  // namespace ignix
