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

long Splicer::send_lent(int fd, const SharedBytes& shared, bool more) {
  if (!open_pipe()) return works_ = false, -1;
  const size_t wanted = std::min(shared.bytes.size(), kSplicePipeBytes);
  const iovec piece = {const_cast<char*>(shared.bytes.data()), wanted};
  shared.lend(shared.owner);
  const long lent = vmsplice(ends_[1], &piece, 1, SPLICE_F_NONBLOCK);
  if (lent > 0) return splice_all(fd, size_t(lent), more || size_t(lent) < shared.bytes.size());
  log_verbose("vmsplice(2) is refused (%m): large values are copied");
  works_ = false;
  return -1;
}

bool Splicer::send(int fd, Output& output, size_t& sent_bytes) {
  sent_bytes = 0;
  while (!output.empty() && sent_bytes < kSpliceTurnBytes) {
    long sent;
    const SharedBytes* shared = works_ ? output.lendable_front() : nullptr;
    if (shared) {
      sent = send_lent(fd, *shared, output.size() > shared->bytes.size());
      if (sent < 0 && !works_) continue;
    } else if (output.is_plain()) {
      sent = ::send(fd, output.data(), output.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
      iovec pieces[kSendPieces];
      msghdr message = {};
      message.msg_iov = pieces;
      message.msg_iovlen = size_t(output.gather(pieces, kSendPieces, works_));
      size_t gathered = 0;
      for (size_t i = 0; i < message.msg_iovlen; i++) gathered += pieces[i].iov_len;
      const int more = gathered < output.size() ? MSG_MORE : 0;
      sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | more);
    }
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    output.consume(size_t(sent));
    sent_bytes += size_t(sent);
  }
  return true;
}

}  // namespace ignix
