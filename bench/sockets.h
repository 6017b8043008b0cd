// Connecting and listening, over TCP on IPv4 or a unix socket. Failures end the program.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "flags.h"

struct Endpoint {
  std::string host = "127.0.0.1";
  uint64_t port = 0;
  std::string unix_path;

  std::string text() const {
    return unix_path.empty() ? host + ":" + std::to_string(port) : unix_path;
  }
};

// The address as the kernel wants it; returns its length.
inline socklen_t fill_address(const Endpoint& endpoint, sockaddr_storage& storage) {
  memset(&storage, 0, sizeof storage);
  if (!endpoint.unix_path.empty()) {
    auto* address = reinterpret_cast<sockaddr_un*>(&storage);
    address->sun_family = AF_UNIX;
    if (endpoint.unix_path.size() >= sizeof address->sun_path) fail("unix path is too long");
    memcpy(address->sun_path, endpoint.unix_path.data(), endpoint.unix_path.size());
    return sizeof *address;
  }
  auto* address = reinterpret_cast<sockaddr_in*>(&storage);
  address->sin_family = AF_INET;
  address->sin_port = htons(endpoint.port);
  if (inet_pton(AF_INET, endpoint.host.c_str(), &address->sin_addr) != 1) {
    fail("not an IPv4 address: " + endpoint.host);
  }
  return sizeof *address;
}

// Small messages leave at once.
inline void set_no_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// One address of loopback has some 28,000 ports to connect from. Each further group of 20,000
// connections to loopback takes an address of its own.
inline void spread_source(int fd, const Endpoint& endpoint, size_t index) {
  if (index < 20000 || !endpoint.unix_path.empty() || endpoint.host.rfind("127.", 0) != 0) return;
  int on = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  sockaddr_in source = {};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(0x7f000001 + index / 20000);
  if (bind(fd, reinterpret_cast<sockaddr*>(&source), sizeof source) != 0) {
    fail(std::string("cannot bind a source address: ") + strerror(errno));
  }
}

// A connected, non-blocking socket. index counts this program's connections from 0.
inline int connect_to(const Endpoint& endpoint, size_t index) {
  sockaddr_storage storage;
  socklen_t length = fill_address(endpoint, storage);
  int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail(std::string("socket: ") + strerror(errno));
  spread_source(fd, endpoint, index);
  if (connect(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    fail("cannot connect to " + endpoint.text() + " (connection " + std::to_string(index) +
         "): " + strerror(errno));
  }
  if (endpoint.unix_path.empty()) set_no_delay(fd);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

// A listening socket; a port of 0 is replaced by the one that the kernel chose.
inline int listen_on(Endpoint& endpoint) {
  sockaddr_storage storage;
  socklen_t length = fill_address(endpoint, storage);
  int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!endpoint.unix_path.empty()) unlink(endpoint.unix_path.c_str());
  if (bind(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0 || listen(fd, 4096) != 0) {
    fail("cannot listen on " + endpoint.text() + ": " + strerror(errno));
  }
  if (endpoint.unix_path.empty()) {
    getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
    endpoint.port = ntohs(reinterpret_cast<sockaddr_in*>(&storage)->sin_port);
  }
  return fd;
}

// As many descriptors as the hard limit allows.
inline void raise_descriptor_limit() {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}
