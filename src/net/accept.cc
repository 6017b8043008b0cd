// A loop's new connections: accepted, shared out among all loops, adopted.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "base/clock.h"
#include "base/log.h"
#include "net/loop.h"

namespace ignix {
namespace {

std::string address_text(const sockaddr_storage& at, const std::string& unix_path) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (at.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(at);
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(in.sin_port));
  }
  if (at.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(at);
    inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
    return std::string("[") + text + "]:" + std::to_string(ntohs(in.sin6_port));
  }
  return at.ss_family == AF_UNIX ? unix_path + ":0" : "?:0";
}

bool is_loopback(const sockaddr_storage& at) {
  if (at.ss_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in&>(at).sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  const auto& in = reinterpret_cast<const sockaddr_in6&>(at);
  return at.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in.sin6_addr);
}

// A client on this machine is behind no network that could be congested, so the cheapest control
// will do: one that paces what it sends (BBR) sets a timer for each segment.
void set_socket_options(int fd, const sockaddr_storage& peer, int keepalive_seconds) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (is_loopback(peer)) setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
  if (keepalive_seconds <= 0) return;
  keepalive_seconds = std::min(keepalive_seconds, 32767);  // the most that Linux takes
  int probe_seconds = std::max(1, keepalive_seconds / 3), probes = 3;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive_seconds, sizeof keepalive_seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe_seconds, sizeof probe_seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

}  // namespace

// Each connection goes to the loop with the fewest, this one where it is one of them.
void Loop::accept_all() {
  for (int fd : turn_.accepted) {
    status_.connections.add(1);
    if (server_.client_count() >= server_.config.maxclients.load(std::memory_order_relaxed)) {
      refuse(fd);
      continue;
    }
    int target = index_;
    for (int i = 0; i < server_.loop_count; i++) {
      if (server_.loops[i].clients.load(std::memory_order_relaxed) <
          server_.loops[target].clients.load(std::memory_order_relaxed)) {
        target = i;
      }
    }
    server_.loops[target].clients.fetch_add(1, std::memory_order_relaxed);
    if (target == index_) {
      adopt(fd);
    } else {
      loops_[target]->mailbox_.post(fd);
    }
  }
  // Without descriptors the listener would be ready for ever: look again a little later.
  if (turn_.accept_error) {
    if (!accept_again_ms_) {
      if (!accept_failed_) {
        log_warning("cannot accept connections: %s; trying again every %d ms",
                    strerror(turn_.accept_error), kAcceptRetryMs);
      }
      accept_failed_ = true;
      io_->pause_accepting(true);
    }
    accept_again_ms_ = monotonic_ms() + kAcceptRetryMs;
  } else if (accept_again_ms_ && monotonic_ms() >= accept_again_ms_) {
    accept_again_ms_ = 0;
    io_->pause_accepting(false);
  } else if (!turn_.accepted.empty()) {
    accept_failed_ = false;
  }
}

void Loop::refuse(int fd) {
  static constexpr char kText[] = "-ERR max number of clients reached\r\n";
  [[maybe_unused]] ssize_t sent = send(fd, kText, sizeof kText - 1, MSG_NOSIGNAL);
  close(fd);
  status_.rejected.add(1);
}

void Loop::adopt(int fd) {
  Connection* c = new (std::nothrow) Connection;
  if (!c) {
    close(fd);
    status_.clients.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  sockaddr_storage peer = {}, local = {};
  socklen_t length = sizeof peer;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) peer = {};  // gone again
  length = sizeof local;
  getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length);
  c->local = local.ss_family == AF_UNIX;
  if (!c->local) set_socket_options(fd, peer, int(server_.config.tcp_keepalive.load()));
  c->fd = fd;
  c->loop = index_;
  c->id = server_.next_client_id.fetch_add(1, std::memory_order_relaxed);
  c->address = address_text(peer, server_.config.unixsocket);
  c->local_address = address_text(local, server_.config.unixsocket);
  c->created_ms = monotonic_ms();
  c->active_ms = c->created_ms;
  status_.registry.add(*c);
  if (!io_->add(*c)) {
    log_warning("cannot watch a connection: %s", strerror(errno));
    close_connection(*c);
  }
}

}  // namespace ignix
