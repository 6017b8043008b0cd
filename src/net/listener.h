// Listening sockets.
#pragma once

#include <string>
#include <vector>

#include "server/config.h"

namespace ignix {

class Listeners {
 public:
  ~Listeners();

  // One set of TCP sockets for each loop, by SO_REUSEPORT, so that the kernel spreads connections
  // over the loops; the Unix socket is in the first loop's set. False, with one line in `error`, if
  // an address is in use (by another Ignix as well) or cannot be had.
  bool open(const Config& config, int loops, std::string& error);

  const std::vector<int>& of_loop(int loop) const { return sets_[size_t(loop)]; }

  // Closes all, and removes the Unix socket.
  void close_all();

  // "127.0.0.1:7379, [::1]:7379, /run/ignix.sock"
  const std::string& description() const { return description_; }

 private:
  bool open_tcp(const std::string& address, const Config& config, std::string& error);
  bool open_unix(const Config& config, std::string& error);
  void describe(const std::string& where);

  std::vector<std::vector<int>> sets_;
  std::string unix_path_, description_;
  dev_t unix_device_ = 0;  // of the socket's file
  ino_t unix_inode_ = 0;
};

}  // namespace ignix
