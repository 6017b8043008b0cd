// The io_uring back end. Connections are accepted and received from by requests that stay in the
// kernel and complete again and again (multishot), into buffers that the loop's connections share.
// What is to be sent is queued in the ring and submitted with the wait: one system call a turn.
// Large values are the exception: they are received (net/stage.h) and sent (net/splice.h) by calls
// of their own.
//
// To wait until a socket can be sent to, there is an epoll instance inside the ring: a poll by the
// ring itself is over at once, and again and again, when the client has shut its side.
//
// The kernel reads and writes the memory of a request until it has completed. So a connection's
// output moves to `sending` while it is sent, and a closed connection is freed only when all its
// requests have ended (Connection::requests).
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/limits.h"
#include "base/log.h"
#include "net/io.h"
#include "net/splice.h"
#include "net/stage.h"
#include "net/uring.h"

namespace ignix {
namespace {

constexpr unsigned kEntries = 512;
constexpr unsigned kReceiveBuffers = 256;
constexpr size_t kReceiveBytes = 8 * 1024;

class UringIo : public Io {
 public:
  explicit UringIo(BufferPool& pool) : pool_(pool) {}
  ~UringIo() override {
    if (writable_fd_ >= 0) close(writable_fd_);
  }

  bool open() {
    writable_fd_ = epoll_create1(EPOLL_CLOEXEC);
    if (writable_fd_ < 0 || !ring_.open(kEntries, kReceiveBuffers, kReceiveBytes)) return false;
    arm_poll(writable_fd_, kWritable);
    return true;
  }

  const char* name() const override { return "io_uring"; }

  bool watch_listener(int fd) override {
    listeners_.push_back({fd, false});
    arm_accept(listeners_.size() - 1);
    return true;
  }
  bool watch_mailbox(int fd) override {
    mailbox_fd_ = fd;
    arm_poll(fd, kMailbox);
    return true;
  }
  void pause_accepting(bool paused) override;

  bool add(Connection& c) override {
    arm_receive(c);
    return true;
  }
  void remove(Connection& c) override;
  void pause_reading(Connection& c, bool paused) override;
  void change_receive(Connection& c) override;
  void wait(int timeout_ms, Turn& turn) override;
  void send(Connection& c) override;
  void await_writable(Connection&, bool) override {}  // the kernel does

 private:
  // What a completion is about: one of these, and a connection's address or a listener's number.
  enum Request : uint64_t { kReceive, kSend, kWritable, kAccept, kMailbox, kCancel };
  static constexpr uint64_t kRequestMask = 7;

  static uint64_t tag(Request request, const Connection& c) {
    return reinterpret_cast<uint64_t>(&c) | request;
  }

  static bool receives(const Connection& c);
  void arm_accept(size_t listener);
  void arm_poll(int fd, Request request);
  void wait_until_writable(Connection& c);
  void take_writable(Turn& turn);
  void arm_receive(Connection& c);
  void receive_large(Connection& c, Turn& turn);
  void arm_later(Connection& c);
  void submit_send(Connection& c);
  void send_spliced(Connection& c);
  void cancel(uint64_t user_data) {
    ring_.prepare(IORING_OP_ASYNC_CANCEL, -1, kCancel).addr = user_data;
  }
  void completed(const io_uring_cqe& cqe, Turn& turn);
  void accepted(size_t listener, const io_uring_cqe& cqe, Turn& turn);
  void received(Connection& c, const io_uring_cqe& cqe, Turn& turn);
  void readable(Connection& c, Turn& turn);
  bool take(Connection& c, std::string_view bytes);
  void sent(Connection& c, const io_uring_cqe& cqe, Turn& turn);

  struct Listener {
    int fd;
    bool armed;
  };

  BufferPool& pool_;
  Splicer splicer_;
  Stage stage_;
  Uring ring_;
  bool enabled_ = false;
  bool accepting_paused_ = false;
  int mailbox_fd_ = -1;
  int writable_fd_ = -1;  // the epoll instance
  std::vector<Listener> listeners_;
  std::vector<Connection*> to_receive_;
  std::vector<Connection*> receive_from_;  // those of the wait under way
};

// ---- accepting

void UringIo::arm_accept(size_t listener) {
  io_uring_sqe& sqe =
      ring_.prepare(IORING_OP_ACCEPT, listeners_[listener].fd, listener << 3 | kAccept);
  sqe.ioprio = IORING_ACCEPT_MULTISHOT;
  sqe.accept_flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
  listeners_[listener].armed = true;
}

void UringIo::pause_accepting(bool paused) {
  accepting_paused_ = paused;
  for (size_t i = 0; i < listeners_.size(); i++) {
    if (paused && listeners_[i].armed) cancel(i << 3 | kAccept);
    if (!paused && !listeners_[i].armed) arm_accept(i);
  }
}

void UringIo::accepted(size_t listener, const io_uring_cqe& cqe, Turn& turn) {
  if (cqe.res >= 0) {
    turn.accepted.push_back(cqe.res);
  } else if (cqe.res == -EMFILE || cqe.res == -ENFILE || cqe.res == -ENOBUFS ||
             cqe.res == -ENOMEM) {
    turn.accept_error = -cqe.res;
  }
  if (cqe.flags & IORING_CQE_F_MORE) return;
  listeners_[listener].armed = false;
  if (!accepting_paused_ && !turn.accept_error) arm_accept(listener);
}

void UringIo::arm_poll(int fd, Request request) {
  io_uring_sqe& sqe = ring_.prepare(IORING_OP_POLL_ADD, fd, request);
  sqe.len = IORING_POLL_ADD_MULTI;
  sqe.poll32_events = POLLIN;
}

// ---- receiving

bool UringIo::receives(const Connection& c) {
  return !c.reading_paused && !c.at_eof && !c.broken && !c.closed;
}

void UringIo::arm_receive(Connection& c) {
  io_uring_sqe& sqe = ring_.prepare(IORING_OP_RECV, c.fd, tag(kReceive, c));
  // Not from a Unix socket: a multishot request that takes the last bytes together with the end
  // is not told of the end (seen with Linux 6.18).
  if (c.careful == 0 && !c.local) sqe.ioprio = IORING_RECV_MULTISHOT;
  // A multishot request takes all that has come, into as many buffers as that needs.
  if (c.careful > 0 && c.parser.missing_bytes(c.input.size()) == 1) sqe.len = kCarefulReadBytes;
  sqe.flags = IOSQE_BUFFER_SELECT;
  c.receiving = true;
  c.requests++;
}

// Of a large value, what is there; a poll tells when there is more.
void UringIo::receive_large(Connection& c, Turn& turn) {
  if (!pool_.lend(c.input)) c.broken = true;
  const size_t room = std::min(kCarefulReadBytes, c.input.room_bytes());
  const ssize_t got = c.broken ? -1 : stage_.receive(c, room, watches_clients_);
  reads++;
  if (got > 0) {
    input_bytes += uint64_t(got);
  } else if (got == 0) {
    c.at_eof = true;
  } else if (errno != EAGAIN && errno != EINTR) {
    c.broken = true;
  }
  if (c.missing_of_block() == 0) {
    arm_later(c);
  } else if (receives(c)) {
    ring_.prepare(IORING_OP_POLL_ADD, c.fd, tag(kReceive, c)).poll32_events = POLLIN;
    c.receiving = c.polled = true;
    c.requests++;
  }
  if (!c.missing_of_block() || !receives(c) || watches_clients_) turn.ready.push_back(&c);
}

void UringIo::pause_reading(Connection& c, bool paused) {
  c.reading_paused = paused;
  if (paused && c.receiving) cancel(tag(kReceive, c));
  if (!paused) arm_later(c);
}

// With the next wait: by then it is known whether a block is to be received.
void UringIo::arm_later(Connection& c) {
  if (c.to_receive) return;
  c.to_receive = true;
  to_receive_.push_back(&c);
}

// The request that is under way ends.
void UringIo::change_receive(Connection& c) {
  if (c.receiving) {
    cancel(tag(kReceive, c));
  } else {
    arm_later(c);
  }
}

// Bytes that came into a buffer of the ring: those of a block first.
bool UringIo::take(Connection& c, std::string_view bytes) {
  if (const size_t missing = c.missing_of_block()) {
    const size_t here = std::min(bytes.size(), missing);
    memcpy(c.received->data + c.received_bytes, bytes.data(), here);
    c.received_bytes += here;
    bytes.remove_prefix(here);
  }
  return bytes.empty() || (pool_.lend(c.input) && c.input.append(bytes));
}

// A poll has ended.
void UringIo::readable(Connection& c, Turn& turn) {
  c.receiving = c.polled = false;
  c.requests--;
  if (c.missing_of_block() && receives(c)) {
    receive_large(c, turn);
  } else if (!c.closed) {
    arm_later(c);
  }
}

// Copied out of the kernel's buffer: some 50 bytes a command cost less than a buffer that is kept.
void UringIo::received(Connection& c, const io_uring_cqe& cqe, Turn& turn) {
  if (c.polled) return readable(c, turn);
  const bool ended = !(cqe.flags & IORING_CQE_F_MORE);
  if (cqe.flags & IORING_CQE_F_BUFFER) {
    if (cqe.res > 0 && !c.closed) {
      reads++;
      input_bytes += uint64_t(cqe.res);
      if (!take(c, {ring_.buffer(cqe), size_t(cqe.res)})) c.broken = true;
    }
    ring_.give_buffer_back(cqe);
  }
  if (ended) {
    c.receiving = false;
    c.requests--;
    if (c.careful > 0) c.careful--;
  }
  if (c.closed) return;
  if (cqe.res == 0) {
    c.at_eof = true;
  } else if (cqe.res < 0 && cqe.res != -ENOBUFS && cqe.res != -ECANCELED && cqe.res != -EINTR &&
             cqe.res != -EAGAIN) {
    c.broken = true;
  }
  if (ended) arm_later(c);
  if (cqe.res >= 0 || c.broken) turn.ready.push_back(&c);
}

// ---- sending

void UringIo::wait_until_writable(Connection& c) {
  epoll_event event = {};
  event.events = EPOLLOUT | EPOLLONESHOT;
  event.data.ptr = &c;
  if (epoll_ctl(writable_fd_, c.watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c.fd, &event) != 0) {
    c.broken = true;
  }
  c.watched = c.awaits_writable = true;
}

void UringIo::take_writable(Turn& turn) {
  epoll_event events[kEventsPerTurn];
  int count;
  do {
    count = epoll_wait(writable_fd_, events, int(kEventsPerTurn), 0);
    for (int i = 0; i < count; i++) {
      Connection& c = *static_cast<Connection*>(events[i].data.ptr);
      c.awaits_writable = false;
      if (!c.sending.empty()) {
        submit_send(c);
      } else {
        c.writable = true;
        turn.ready.push_back(&c);
      }
    }
  } while (count == int(kEventsPerTurn));
}

// At once, and what the socket does not take when it can take more: the ring's own splice would
// wait for that in a thread.
void UringIo::send_spliced(Connection& c) {
  size_t sent;
  if (!splicer_.send(c.fd, c.output, sent)) c.broken = true;
  writes++;
  output_bytes += sent;
  if (!c.output.empty() && !c.broken) wait_until_writable(c);
}

void UringIo::send(Connection& c) {
  if (!c.sending.empty() || c.output.empty() || c.awaits_writable) return;
  if (splicer_.wants(c.output)) return send_spliced(c);
  c.sending.swap(c.output);
  submit_send(c);
}

void UringIo::submit_send(Connection& c) {
  if (!c.sending.is_plain() && !c.gathered) {
    c.gathered.reset(new (std::nothrow) Gathered);
    if (!c.gathered) {
      c.broken = true;
      return;
    }
  }
  const bool plain = c.sending.is_plain();
  io_uring_sqe& sqe =
      ring_.prepare(plain ? IORING_OP_SEND : IORING_OP_SENDMSG, c.fd, tag(kSend, c));
  if (plain) {
    sqe.addr = reinterpret_cast<uint64_t>(c.sending.data());
    sqe.len = uint32_t(std::min<size_t>(c.sending.size(), INT32_MAX));
  } else {
    c.gathered->message = {};
    c.gathered->message.msg_iov = c.gathered->pieces;
    c.gathered->message.msg_iovlen = size_t(c.sending.gather(c.gathered->pieces, kSendPieces));
    sqe.addr = reinterpret_cast<uint64_t>(&c.gathered->message);
    sqe.len = 1;
  }
  // One completion for all, unless somebody asks how it gets on.
  sqe.msg_flags = MSG_NOSIGNAL | (watches_clients_ ? 0 : MSG_WAITALL);
  c.awaits_writable = true;
  c.requests++;
}

// A loop that waits for it (more output, an end, much that is now gone) gets the connection's turn.
void UringIo::sent(Connection& c, const io_uring_cqe& cqe, Turn& turn) {
  c.requests--;
  writes++;
  const bool worth_telling = c.sending.size() > kSmallSendBytes || watches_clients_;
  if (cqe.res > 0) {
    output_bytes += uint64_t(cqe.res);
    c.sending.consume(size_t(cqe.res));
  } else if (cqe.res < 0 && cqe.res != -EINTR && cqe.res != -EAGAIN) {
    c.broken = true;
  }
  // There were more pieces than one send takes, a signal cut it short, or the socket is full.
  if (!c.sending.empty() && !c.closed && !c.broken) {
    if (cqe.res != -EAGAIN) return submit_send(c);
    wait_until_writable(c);
    if (!c.broken) return;
  }
  c.sending.clear();
  c.gathered.reset();
  pool_.take_back(c.sending.own());
  c.awaits_writable = false;
  if (c.closed) return;
  if (c.broken || !c.output.empty() || c.close_after_reply || c.at_eof || c.reading_paused ||
      worth_telling) {
    c.writable = true;
    turn.ready.push_back(&c);
  }
}

// ---- the turn

void UringIo::remove(Connection& c) {
  c.closed = true;
  if (c.watched) epoll_ctl(writable_fd_, EPOLL_CTL_DEL, c.fd, nullptr);
  if (c.to_receive) std::erase(to_receive_, &c);
  // Ends the requests that wait for the client.
  if (c.requests) shutdown(c.fd, SHUT_RDWR);
}

void UringIo::completed(const io_uring_cqe& cqe, Turn& turn) {
  const Request request = Request(cqe.user_data & kRequestMask);
  Connection* c = reinterpret_cast<Connection*>(cqe.user_data & ~kRequestMask);
  switch (request) {
    case kReceive:
      return received(*c, cqe, turn);
    case kSend:
      return sent(*c, cqe, turn);
    case kWritable:
      take_writable(turn);
      if (!(cqe.flags & IORING_CQE_F_MORE)) arm_poll(writable_fd_, kWritable);
      return;
    case kAccept:
      return accepted(size_t(cqe.user_data >> 3), cqe, turn);
    case kMailbox:
      turn.mail = true;
      if (!(cqe.flags & IORING_CQE_F_MORE)) arm_poll(mailbox_fd_, kMailbox);
      return;
    case kCancel:
      return;
  }
}

void UringIo::wait(int timeout_ms, Turn& turn) {
  if (!enabled_ && !ring_.enable()) {
    log_warning("cannot enable io_uring: %s; try --io epoll", strerror(errno));
    _exit(1);
  }
  enabled_ = true;
  receive_from_.swap(to_receive_);
  for (Connection* c : receive_from_) {
    c->to_receive = false;
    if (c->receiving || !receives(*c)) continue;
    if (c->missing_of_block()) {
      receive_large(*c, turn);
    } else {
      arm_receive(*c);
    }
  }
  receive_from_.clear();
  ring_.enter(turn.ready.empty() ? timeout_ms : 0);
  ring_.for_each_completed([&](const io_uring_cqe& cqe) { completed(cqe, turn); });
}

}  // namespace

Io* make_uring_io(BufferPool& pool, std::string& error) {
  UringIo* io = new (std::nothrow) UringIo(pool);
  if (io && io->open()) return io;
  error = std::string("cannot set up io_uring: ") + strerror(errno);
  delete io;
  return nullptr;
}

}  // namespace ignix
