// Starts and stops servers under test: ignix ($IGNIX, or ./ignix) or redis-server, each in a
// directory of its own. Nothing here sleeps: readiness is read from the server's log, the end from
// its process.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace test {

enum class Program { kIgnix, kRedis };

struct ServerOptions {
  Program program = Program::kIgnix;
  std::vector<std::string> arguments = {};  // after those that follow from the other options
  bool tcp = false;                         // also listen on 127.0.0.1, on a free port
  bool unix_socket = true;
  bool without_newer_calls = false;  // the kernel seems to have no io_uring, no vmsplice
  bool appendonly = false;
  std::string dir = {};                       // working directory; empty: a fresh one in the case's
  std::string config_file = {};               // given as the first argument when not empty
  unsigned descriptors = 0;                   // RLIMIT_NOFILE when not 0
  size_t file_bytes = 0;                      // RLIMIT_FSIZE when not 0
  size_t address_bytes = 0;                   // RLIMIT_AS when not 0
  bool bare = false;                          // no argument but `arguments`
  std::vector<std::string> environment = {};  // NAME=VALUE, beside what there is
};

class Server {
 public:
  explicit Server(ServerOptions options = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Starts and waits until clients are accepted; ends the case as failed if that does not come.
  void start();

  // Starts and waits until clients are accepted (true) or the process has ended (false).
  bool try_start();

  // Starts and waits until clients can connect, be the data loaded or not.
  void start_listening();

  // Sends the signal, waits for the end, returns the exit status: the code, or 128 + signal.
  int stop(int signal_number = 0);  // 0: SIGTERM
  void kill9();
  void restart();  // as it was started, in the same directory

  // Waits for a process that ends by itself.
  int wait_exit();
  bool running();
  void send_signal(int signal_number);

  // Everything it has printed since it was last started: stdout and stderr, or stderr alone.
  std::string log();
  std::string error_output();

  // Waits until the log has the text at or after `from`; false after a time limit or at its end.
  bool wait_log(std::string_view text, size_t from = 0);

  pid_t pid() const { return pid_; }
  int port() const { return port_; }
  const std::string& unix_path() const { return unix_path_; }
  const std::string& dir() const { return options_.dir; }
  ServerOptions& options() { return options_; }
  const char* name() const { return options_.program == Program::kIgnix ? "ignix" : "redis"; }

  // From /proc.
  long memory_kb();      // VmRSS
  double cpu_seconds();  // of all threads
  std::map<pid_t, double> thread_cpu_seconds();
  int open_descriptors();
  int thread_count();

 private:
  bool start_once(std::string_view ready);
  std::vector<std::string> command_line();
  static void* read_log(void* self);
  void join_reader();

  ServerOptions options_;
  std::string unix_path_;
  int port_ = 0;
  pid_t pid_ = -1;
  int exit_status_ = -1;

  // The reader thread drains both pipes so that the server never waits for us.
  pthread_t reader_;
  bool reader_runs_ = false;
  int stdout_fd_ = -1;
  int stderr_fd_ = -1;
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
  std::string log_;           // guarded by mutex_
  std::string error_output_;  // guarded by mutex_
  bool log_ended_ = false;    // guarded by mutex_
};

// Absolute path of the ignix binary.
std::string ignix_path();

// Empty where the tool is not installed.
std::string find_program(const std::string& name);

// Ends the case as skipped unless redis-server 7.0 is installed.
void need_redis();

// A TCP port that nothing listens on just now.
int free_port(bool ipv6 = false);

struct Output {
  int status = -1;   // as Server::stop
  std::string text;  // stdout and stderr
};

// Runs a program to its end with `input` on its stdin; killed after `timeout_s`.
Output run_program(const std::vector<std::string>& argv, std::string_view input = "",
                   int timeout_s = 60);

std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view content);
void copy_file(const std::string& from, const std::string& to);
bool file_exists(const std::string& path);
std::string fresh_dir(const std::string& name);

}  // namespace test
