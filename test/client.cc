#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "runner.h"
#include "server.h"

namespace test {
namespace {

constexpr int kDefaultTimeoutSeconds = 20;
constexpr size_t kReadBytes = 256 * 1024;

}  // namespace

void append_encoded(const Argv& argv, std::string* out) {
  *out += '*';
  *out += std::to_string(argv.size());
  *out += "\r\n";
  for (const std::string& argument : argv) {
    *out += '$';
    *out += std::to_string(argument.size());
    *out += "\r\n";
    *out += argument;
    *out += "\r\n";
  }
}

std::string encode(const Argv& argv) {
  std::string out;
  append_encoded(argv, &out);
  return out;
}

std::string bulk(std::string_view text) {
  return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n";
}

std::string integer(long long value) { return ":" + std::to_string(value) + "\r\n"; }

std::string array(const std::vector<std::string>& encoded_elements) {
  std::string out = "*" + std::to_string(encoded_elements.size()) + "\r\n";
  for (const std::string& element : encoded_elements) out += element;
  return out;
}

bool ReplyScanner::advance(std::string_view bytes) {
  while (wanted_ > 0) {
    size_t newline = bytes.find('\n', at_);
    if (newline == std::string_view::npos) return false;
    if (newline < at_ + 2 || bytes[newline - 1] != '\r') {
      bad = true;
      return false;
    }
    char type = bytes[at_];
    long long count = 0;
    if (strchr("$=!*~>%|", type) != nullptr)
      count = strtoll(std::string(bytes.substr(at_ + 1, newline - at_ - 2)).c_str(), nullptr, 10);
    size_t next = newline + 1;
    switch (type) {
      case '$':
      case '=':
      case '!':
        if (count >= 0) next += size_t(count) + 2;
        if (next > bytes.size()) return false;
        wanted_--;
        break;
      case '*':
      case '~':
      case '>':
        wanted_ += (count > 0 ? count : 0) - 1;
        break;
      case '%':
        wanted_ += 2 * count - 1;
        break;
      case '|':  // an attribute stands before the reply it belongs to
        wanted_ += 2 * count;
        break;
      case '+':
      case '-':
      case ':':
      case '_':
      case '#':
      case ',':
      case '(':
        wanted_--;
        break;
      default:
        bad = true;
        return false;
    }
    at_ = next;
  }
  return true;
}

std::vector<std::string> elements_of(std::string_view reply) {
  std::vector<std::string> elements;
  if (reply.empty() || strchr("*~%>", reply[0]) == nullptr) return elements;
  size_t at = reply.find('\n') + 1;
  while (at < reply.size()) {
    ReplyScanner scanner;
    scanner.begin(at);
    if (!scanner.advance(reply)) break;
    elements.emplace_back(reply.substr(at, scanner.end() - at));
    at = scanner.end();
  }
  return elements;
}

std::string text_of(std::string_view reply) {
  const size_t start = reply.starts_with('$') ? reply.find('\n') + 1 : 1;
  const bool is_text = reply.starts_with('$') || reply.starts_with('+');
  if (!is_text || reply.size() < start + 2) return "";
  return std::string(reply.substr(start, reply.size() - start - 2));
}

Client::Client(const Server& server) { connect(server); }

Client::~Client() { close(); }

void Client::connect(const Server& server) {
  bool done = server.unix_path().empty() ? connect_tcp("127.0.0.1", server.port())
                                         : connect_unix(server.unix_path());
  if (!done) FAIL(std::string("cannot connect to ") + server.name() + ": " + strerror(errno));
}

bool Client::connect_unix(const std::string& path) {
  close();
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) FAIL("the path is too long for a socket: " + path);
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ >= 0 && ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
    return true;
  int error = errno;
  close();
  errno = error;
  return false;
}

bool Client::connect_tcp(const std::string& host, int port) {
  close();
  bool ipv6 = host.find(':') != std::string::npos;
  sockaddr_in v4 = {};
  sockaddr_in6 v6 = {};
  v4.sin_family = AF_INET;
  v6.sin6_family = AF_INET6;
  v4.sin_port = v6.sin6_port = htons(uint16_t(port));
  if (ipv6 ? inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1
           : inet_pton(AF_INET, host.c_str(), &v4.sin_addr) != 1)
    FAIL("not an address: " + host);
  fd_ = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr* address =
      ipv6 ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
  if (fd_ >= 0 && ::connect(fd_, address, ipv6 ? sizeof v6 : sizeof v4) == 0) {
    int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return true;
  }
  int error = errno;
  close();
  errno = error;
  return false;
}

void Client::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  buffer_.clear();
  start_ = 0;
}

bool Client::readable(int timeout_ms) {
  if (start_ < buffer_.size()) return true;
  pollfd fd = {fd_, POLLIN, 0};
  return poll(&fd, 1, timeout_ms) > 0;
}

bool Client::fill() {
  timed_out_ = false;
  if (fd_ < 0) return false;
  int limit_s = (timeout_s_ > 0 ? timeout_s_ : kDefaultTimeoutSeconds) * slowness();
  pollfd fd = {fd_, POLLIN, 0};
  int ready = poll(&fd, 1, limit_s * 1000);
  if (ready == 0) timed_out_ = true;
  if (ready <= 0) return false;
  if (start_ == buffer_.size()) {
    buffer_.clear();
    start_ = 0;
  }
  static thread_local std::vector<char> chunk(kReadBytes);
  ssize_t n = recv(fd_, chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) return false;
  buffer_.append(chunk.data(), size_t(n));
  return true;
}

bool Client::send(std::string_view bytes) {
  int limit_s = (timeout_s_ > 0 ? timeout_s_ : kDefaultTimeoutSeconds) * slowness();
  while (!bytes.empty()) {
    ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      bytes.remove_prefix(size_t(n));
      continue;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    pollfd fd = {fd_, POLLIN | POLLOUT, 0};
    if (poll(&fd, 1, limit_s * 1000) == 0) return false;
    if ((fd.revents & POLLIN) != 0 && !fill()) return false;
  }
  return true;
}

bool Client::send_without_reading(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0) return false;
    bytes.remove_prefix(size_t(n));
  }
  return true;
}

void Client::shut_write() { shutdown(fd_, SHUT_WR); }

std::string Client::read_reply() {
  ReplyScanner scanner;
  scanner.begin(start_);
  while (!scanner.advance(buffer_)) {
    if (scanner.bad) return std::string(kNotResp) + quote(buffer_.substr(start_), 200);
    if (start_ == buffer_.size()) scanner.begin(0);  // fill() empties the buffer then
    if (!fill()) return std::string(timed_out_ ? kTimeout : kClosed);
  }
  std::string reply = buffer_.substr(start_, scanner.end() - start_);
  start_ = scanner.end();
  if (start_ > 1024 * 1024) {
    buffer_.erase(0, start_);
    start_ = 0;
  }
  return reply;
}

std::string Client::command(const Argv& argv) {
  if (!send_command(argv) && !readable(0)) return std::string(kClosed);
  return read_reply();
}

std::string Client::read_until_close() {
  while (fill()) {
  }
  std::string all = buffer_.substr(start_);
  if (timed_out_) all += kTimeout;
  buffer_.clear();
  start_ = 0;
  return all;
}

}  // namespace test
