#include "net/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"

namespace ignix {
namespace {

// The kernel, or its seccomp filter, does not do this; not merely for want of something.
bool is_refusal(int error) { return error == EPERM || error == ENOSYS || error == EINVAL; }

long send_copied(int fd, const Output& output, bool only_copied) {
  if (output.is_plain()) {
    return ::send(fd, output.data(), output.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  iovec pieces[kSendPieces];
  msghdr message = {};
  message.msg_iov = pieces;
  message.msg_iovlen = size_t(output.gather(pieces, kSendPieces, only_copied));
  size_t gathered = 0;
  for (size_t i = 0; i < message.msg_iovlen; i++) gathered += pieces[i].iov_len;
  const int more = gathered < output.size() ? MSG_MORE : 0;
  return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | more);
}

}  // namespace

bool Splicer::open_pipe() {
  if (ends_[0] >= 0) return true;
  if (pipe2(ends_, O_CLOEXEC | O_NONBLOCK) != 0) return false;
  fcntl(ends_[1], F_SETPIPE_SZ, int(kSplicePipeBytes));  // where refused, it takes more calls
  return true;
}

void Splicer::close_pipe() {
  if (ends_[0] < 0) return;
  close(ends_[0]);
  close(ends_[1]);
  ends_[0] = ends_[1] = -1;
}

// What the socket does not take goes away with the pipe; it is put in again another time.
long Splicer::splice_all(int fd, size_t bytes, bool more) {
  size_t sent = 0;
  while (sent < bytes) {
    const unsigned flags = SPLICE_F_NONBLOCK | SPLICE_F_MOVE | (more ? SPLICE_F_MORE : 0);
    const long now = splice(ends_[0], nullptr, fd, nullptr, bytes - sent, flags);
    if (now > 0) {
      sent += size_t(now);
    } else if (now == 0 || errno != EINTR) {
      const int error = now == 0 ? EAGAIN : errno;
      close_pipe();
      errno = error;
      return sent > 0 ? long(sent) : -1;
    }
  }
  return long(sent);
}

// -1 with errno; `lends` is then false if the bytes must be copied instead.
long Splicer::send_lent(int fd, const SharedBytes& shared, bool more, bool& lends) {
  lends = open_pipe();
  if (!lends) return -1;
  const size_t wanted = std::min(shared.bytes.size(), kSplicePipeBytes);
  const iovec piece = {const_cast<char*>(shared.bytes.data()), wanted};
  shared.lend(shared.owner);
  const long lent = vmsplice(ends_[1], &piece, 1, SPLICE_F_NONBLOCK);
  lends = lent > 0;
  const long sent =
      lends ? splice_all(fd, size_t(lent), more || size_t(lent) < shared.bytes.size()) : -1;
  if (sent < 0 && is_refusal(errno)) {
    log_verbose("%s(2) is refused (%m): large values are copied", lends ? "splice" : "vmsplice");
    lends = works_ = false;
  }
  return sent;
}

bool Splicer::send(int fd, Output& output, size_t& sent_bytes) {
  sent_bytes = 0;
  bool lends = works_;
  while (!output.empty() && sent_bytes < kSpliceTurnBytes) {
    const SharedBytes* shared = lends ? output.lendable_front() : nullptr;
    const long sent = shared ? send_lent(fd, *shared, output.size() > shared->bytes.size(), lends)
                             : send_copied(fd, output, lends);
    if (sent >= 0) {
      output.consume(size_t(sent));
      sent_bytes += size_t(sent);
    } else if (!(shared && !lends) && errno != EINTR) {
      return errno == EAGAIN;
    }
  }
  return true;
}

}  // namespace ignix
