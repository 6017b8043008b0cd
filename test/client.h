// A blocking client for tests: sends bytes or commands, reads one reply at a time as its exact
// bytes. Nothing hangs: every read has a time limit.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace test {

class Server;
using Argv = std::vector<std::string>;

// The multibulk form of a command.
std::string encode(const Argv& argv);
void append_encoded(const Argv& argv, std::string* out);

// The bytes of simple replies, for expectations.
std::string bulk(std::string_view text);
std::string integer(long long value);
std::string array(const std::vector<std::string>& encoded_elements);
inline const std::string kNil = "$-1\r\n";
inline const std::string kOk = "+OK\r\n";

class Client {
 public:
  // Instead of a reply, where none came. No reply starts like these.
  static constexpr std::string_view kClosed = "<closed>";
  static constexpr std::string_view kTimeout = "<no reply in time>";
  static constexpr std::string_view kNotResp = "<not a reply>";

  Client() = default;
  // Through the unix socket where the server has one, else TCP; fails the case where it cannot.
  explicit Client(const Server& server);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connect_unix(const std::string& path);
  bool connect_tcp(const std::string& host, int port);  // host: an IPv4 or IPv6 address
  void connect(const Server& server);
  void close();
  bool connected() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  // False when the server has closed the connection. What does not fit the socket's buffers is sent
  // while replies are read into memory, so a long pipeline cannot lock up both sides.
  bool send(std::string_view bytes);
  bool send_without_reading(
      std::string_view bytes);  // may stop early; returns true if all went out
  bool send_command(const Argv& argv) { return send(encode(argv)); }
  void shut_write();

  // One whole reply with all that is nested in it, as it came; or one of the texts above.
  std::string read_reply();

  // send_command and read_reply.
  std::string command(const Argv& argv);

  // All that comes until the server closes; ends with kTimeout if it does not close.
  std::string read_until_close();

  // False when nothing is there within the given time.
  bool readable(int timeout_ms);

  void set_timeout(int seconds) { timeout_s_ = seconds; }

 private:
  bool fill();              // one recv; false at the end, on an error, after the time limit
  bool timed_out_ = false;  // of the last fill()

  int fd_ = -1;
  int timeout_s_ = 0;  // 0: the default
  std::string buffer_;
  size_t start_ = 0;  // where the next reply starts in buffer_
};

// Finds the end of the reply that starts at `from`: its end, 0 when more bytes are needed, -1 when
// these bytes are no reply.
class ReplyScanner {
 public:
  void begin(size_t from) {
    at_ = from;
    wanted_ = 1;
  }
  // Goes on where it was; false when more bytes are needed. `bad` when they are no reply.
  bool advance(std::string_view bytes);
  size_t end() const { return at_; }
  bool bad = false;

 private:
  size_t at_ = 0;
  long long wanted_ = 1;  // elements still to come
};

// The elements of an array, set, map or push, each with its exact bytes; empty for other replies.
std::vector<std::string> elements_of(std::string_view reply);
// What a bulk or simple string says; empty for other replies.
std::string text_of(std::string_view reply);

}  // namespace test
