// The epoll back end. Level-triggered: one receive for each ready connection and turn, and none
// that is known to find nothing; what was left comes with the next turn. Interest in writing is
// asked for only when the kernel did not take all.
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/limits.h"
#include "net/io.h"
#include "net/splice.h"
#include "net/stage.h"

namespace ignix {
namespace {

class EpollIo : public Io {
 public:
  explicit EpollIo(BufferPool& pool) : pool_(pool) {}
  ~EpollIo() override {
    if (epoll_fd_ >= 0) close(epoll_fd_);
  }

  bool open() {
    epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
    return epoll_fd_ >= 0;
  }

  const char* name() const override { return "epoll"; }

  bool watch_listener(int fd) override {
    listeners_.push_back(fd);
    return control(EPOLL_CTL_ADD, fd, EPOLLIN, kListenerTag | uint64_t(fd));
  }

  bool watch_mailbox(int fd) override {
    return control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, kMailboxTag | uint64_t(fd));
  }

  void pause_accepting(bool paused) override {
    for (int fd : listeners_) {
      control(EPOLL_CTL_MOD, fd, paused ? 0u : uint32_t(EPOLLIN), kListenerTag | uint64_t(fd));
    }
  }

  bool add(Connection& c) override {
    return control(EPOLL_CTL_ADD, c.fd, EPOLLIN, reinterpret_cast<uint64_t>(&c));
  }

  void remove(Connection& c) override { control(EPOLL_CTL_DEL, c.fd, 0, 0); }

  void pause_reading(Connection& c, bool paused) override {
    c.reading_paused = paused;
    update(c);
  }

  void change_receive(Connection&) override {}
  void wait(int timeout_ms, Turn& turn) override;
  void send(Connection& c) override;

  void await_writable(Connection& c, bool awaits) override {
    if (awaits == c.awaits_writable) return;
    c.awaits_writable = awaits;
    update(c);
  }

 private:
  // What an event is about: a connection's address, or a descriptor with one of these on top.
  static constexpr uint64_t kListenerTag = (1ULL << 63) | (1ULL << 62);
  static constexpr uint64_t kMailboxTag = 1ULL << 63;

  bool control(int operation, int fd, uint32_t events, uint64_t data) {
    epoll_event event = {};
    event.events = events;
    event.data.u64 = data;
    return epoll_ctl(epoll_fd_, operation, fd, &event) == 0;
  }

  void update(Connection& c) {
    const bool reads = !c.reading_paused && !c.at_eof;
    if (c.hung_up && !reads) return;
    control(c.hung_up ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c.fd,
            (reads ? EPOLLIN : 0u) | (c.awaits_writable ? EPOLLOUT : 0u),
            reinterpret_cast<uint64_t>(&c));
    c.hung_up = false;
  }

  // The client reads nothing more, which the next send finds out; but what it has sent is still
  // run. The kernel would report it for ever.
  void hang_up(Connection& c) {
    c.hung_up = c.writable = true;
    control(EPOLL_CTL_DEL, c.fd, 0, 0);
  }

  void accept_from(int listener, Turn& turn);
  void receive(Connection& c);
  void send_spliced(Connection& c);

  BufferPool& pool_;
  Splicer splicer_;
  Stage stage_;
  int epoll_fd_ = -1;
  std::vector<int> listeners_;
};

void EpollIo::accept_from(int listener, Turn& turn) {
  for (size_t i = 0; i < kAcceptsPerTurn; i++) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      turn.accepted.push_back(fd);
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      turn.accept_error = errno;
    }
    // A connection that is gone again (ECONNABORTED) costs a turn, no more.
    return;
  }
}

// Once. The room is that of a usual read, or what is missing of a large value, but never much more
// than has already come: a length is only a claim.
void EpollIo::receive(Connection& c) {
  if (!pool_.lend(c.input)) {
    c.broken = true;
    return;
  }
  const size_t open = c.parser.missing_bytes(c.input.size());
  const size_t wanted = std::min(open, std::max(kReadBytes, 4 * c.input.size()));
  if (c.input.room_bytes() < kReadBytes / 4 || c.input.room_bytes() < wanted) {
    if (!c.input.reserve(std::max(wanted, kReadBytes)) && c.input.room_bytes() == 0) {
      c.broken = true;
      return;
    }
  }
  const size_t most = c.careful > 0 && open == 1 ? kCarefulReadBytes : std::max(wanted, kReadBytes);
  const size_t room = std::min(most, c.input.room_bytes());
  if (c.careful > 0) c.careful--;
  const bool to_block = c.missing_of_block() > 0;
  const ssize_t got =
      to_block ? stage_.receive(c, room, watches_clients_) : recv(c.fd, c.input.room(), room, 0);
  reads++;
  if (got > 0) {
    if (!to_block) c.input.commit(size_t(got));
    input_bytes += uint64_t(got);
  } else if (got == 0) {
    c.at_eof = true;
    update(c);  // else it would be reported for ever
  } else if (errno != EAGAIN && errno != EINTR) {
    c.broken = true;
  }
}

void EpollIo::wait(int timeout_ms, Turn& turn) {
  epoll_event events[kEventsPerTurn];
  const int count = epoll_wait(epoll_fd_, events, int(kEventsPerTurn), timeout_ms);
  for (int i = 0; i < count; i++) {  // none on EINTR
    const uint64_t data = events[i].data.u64;
    if ((data & kListenerTag) == kListenerTag) {
      accept_from(int(data & ~kListenerTag), turn);
      continue;
    }
    if (data & kMailboxTag) {
      turn.mail = true;
      continue;
    }
    Connection& c = *reinterpret_cast<Connection*>(data);
    const uint32_t what = events[i].events;
    if (what & EPOLLERR) {
      c.broken = true;
    } else {
      if (what & EPOLLOUT) c.writable = true;
      if ((what & (EPOLLIN | EPOLLHUP)) && !c.reading_paused && !c.at_eof) receive(c);
      if ((what & EPOLLHUP) && (c.reading_paused || c.at_eof)) hang_up(c);
    }
    turn.ready.push_back(&c);
  }
}

void EpollIo::send_spliced(Connection& c) {
  size_t sent;
  if (!splicer_.send(c.fd, c.output, sent)) c.broken = true;
  writes++;
  output_bytes += sent;
  await_writable(c, !c.output.empty());
}

void EpollIo::send(Connection& c) {
  if (splicer_.wants(c.output)) return send_spliced(c);
  iovec pieces[kSendPieces];
  msghdr message = {};
  message.msg_iov = pieces;
  if (!c.output.is_plain()) message.msg_iovlen = size_t(c.output.gather(pieces, kSendPieces));
  ssize_t sent;
  do {
    sent = c.output.is_plain() ? ::send(c.fd, c.output.data(), c.output.size(), MSG_NOSIGNAL)
                               : sendmsg(c.fd, &message, MSG_NOSIGNAL);
    writes++;
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) {
    c.output.consume(size_t(sent));
    output_bytes += uint64_t(sent);
  } else if (errno != EAGAIN) {
    c.broken = true;
    return;
  }
  await_writable(c, !c.output.empty());
}

}  // namespace

Io* make_epoll_io(BufferPool& pool, std::string& error) {
  EpollIo* io = new (std::nothrow) EpollIo(pool);
  if (io && io->open()) return io;
  error = std::string("cannot create an epoll instance: ") + strerror(errno);
  delete io;
  return nullptr;
}

}  // namespace ignix
