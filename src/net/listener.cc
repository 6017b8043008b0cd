#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

namespace ignix {
namespace {

bool set_option(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

// A listening socket on `at`. `first`: nobody else may have the address, not even by SO_REUSEPORT.
// -1 with errno.
int listen_on(const addrinfo& at, int backlog, bool first) {
  const int fd = socket(at.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
      (at.ai_family != AF_INET6 || set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) &&
      (first || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
      bind(fd, at.ai_addr, at.ai_addrlen) == 0 && listen(fd, backlog) == 0) {
    return fd;
  }
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

// Whether somebody answers at a Unix socket. If not, its file is left over from a server that died.
bool answers(const sockaddr_un& at) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return true;
  const bool answered =
      connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 || errno != ECONNREFUSED;
  close(fd);
  return answered;
}

// A server that was killed a moment ago may still seem to be there: the kernel closes what its
// io_uring had in hand some milliseconds after the process has gone. So an address that is in use
// is tried again for a while.
template <typename Try>
bool retry(Try attempt) {
  constexpr int kTries = 40;
  constexpr timespec kPause = {0, 25'000'000};
  for (int i = 1;; i++) {
    if (attempt()) return true;
    if (errno != EADDRINUSE || i == kTries) return false;
    nanosleep(&kPause, nullptr);
  }
}

}  // namespace

Listeners::~Listeners() { close_all(); }

void Listeners::close_all() {
  // First: once the socket is closed a successor may put its own there, or has already where
  // somebody took this one away.
  struct stat file;
  const bool is_own = !unix_path_.empty() && lstat(unix_path_.c_str(), &file) == 0 &&
                      file.st_dev == unix_device_ && file.st_ino == unix_inode_;
  if (is_own) unlink(unix_path_.c_str());
  unix_path_.clear();
  for (auto& set : sets_) {
    for (int fd : set) {
      shutdown(fd, SHUT_RDWR);  // see retry(): else it would go on accepting for that long
      close(fd);
    }
    set.clear();
  }
}

void Listeners::describe(const std::string& where) {
  if (!description_.empty()) description_ += ", ";
  description_ += where;
}

bool Listeners::open(const Config& config, int loops, std::string& error) {
  sets_.resize(size_t(loops));
  if (config.port != 0) {
    std::string list = config.bind;
    size_t opened = 0;
    for (size_t start = 0; start < list.size();) {
      const size_t end = std::min(list.find(' ', start), list.size());
      std::string address = list.substr(start, end - start);
      start = end + 1;
      const bool optional = address.size() > 1 && address[0] == '-';
      if (optional) address.erase(0, 1);
      if (address.empty()) continue;
      if (retry([&] { return open_tcp(address, config, error); })) {
        opened++;
      } else if (!optional || errno == EADDRINUSE) {
        return false;
      } else {
        log_verbose("%s", error.c_str());
      }
    }
    if (!opened && !list.empty()) return false;
  }
  if (!config.unixsocket.empty() && !retry([&] { return open_unix(config, error); })) return false;
  if (description_.empty()) {
    error = "nothing to listen on: --port is 0 or --bind is empty, and there is no --unixsocket";
    return false;
  }
  return true;
}

bool Listeners::open_tcp(const std::string& address, const Config& config, std::string& error) {
  const std::string port = std::to_string(config.port.load());
  const std::string where =
      (address.find(':') == std::string::npos ? address : "[" + address + "]") + ":" + port;
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  if (address == "*") hints.ai_family = AF_INET;
  if (address == "::*") hints.ai_family = AF_INET6;
  addrinfo* found = nullptr;
  const int status =
      getaddrinfo(hints.ai_family ? nullptr : address.c_str(), port.c_str(), &hints, &found);
  if (status != 0) {
    error = "cannot listen on " + where + ": " + gai_strerror(status);
    errno = EADDRNOTAVAIL;
    return false;
  }
  // The first socket is bound alone, so an address that anybody listens on is refused, another
  // Ignix's too. Only then may the others join it, among which the kernel spreads the connections
  // as long as they all have the option.
  std::vector<int> fds;
  for (size_t i = 0; i < sets_.size(); i++) {
    const int fd = listen_on(*found, int(config.tcp_backlog), i == 0);
    if (fd < 0) break;
    if (i == 0) set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    fds.push_back(fd);
  }
  const int failure = errno;
  freeaddrinfo(found);
  if (fds.size() < sets_.size()) {
    for (int fd : fds) close(fd);
    error = "cannot listen on " + where + ": " + strerror(failure);
    errno = failure;
    return false;
  }
  for (size_t i = 0; i < sets_.size(); i++) sets_[i].push_back(fds[i]);
  describe(where);
  return true;
}

bool Listeners::open_unix(const Config& config, std::string& error) {
  const std::string& path = config.unixsocket;
  sockaddr_un at = {};
  at.sun_family = AF_UNIX;
  if (path.size() >= sizeof at.sun_path) {
    error = "the path of the Unix socket is too long: " + path;
    return false;
  }
  memcpy(at.sun_path, path.c_str(), path.size());
  struct stat file;
  if (lstat(path.c_str(), &file) == 0 && S_ISSOCK(file.st_mode)) {
    if (answers(at)) {
      error = "cannot listen on " + path + ": another server answers there";
      errno = EADDRINUSE;
      return false;
    }
    unlink(path.c_str());
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const bool bound = fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  const bool listening =
      bound &&
      (config.unixsocketperm == 0 || chmod(path.c_str(), mode_t(config.unixsocketperm)) == 0) &&
      listen(fd, int(config.tcp_backlog)) == 0;
  if (!listening) {
    const int failure = errno;
    error = "cannot listen on " + path + ": " + strerror(failure);
    if (bound) unlink(path.c_str());
    if (fd >= 0) close(fd);
    errno = failure;
    return false;
  }
  if (lstat(path.c_str(), &file) != 0) file = {};
  unix_path_ = path;
  unix_device_ = file.st_dev;
  unix_inode_ = file.st_ino;
  sets_[0].push_back(fd);
  describe(path);
  return true;
}

}  // namespace ignix
