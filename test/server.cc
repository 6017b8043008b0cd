#include "server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "runner.h"

namespace test {
namespace {

constexpr int kReadyTimeoutSeconds = 30;
constexpr int kExitTimeoutSeconds = 30;
// Both programs log a line with these letters, Redis with a capital or a small R.
constexpr std::string_view kReadyText = "eady to accept connections";

std::vector<Server*> live_servers;

void print_logs() {
  for (Server* server : live_servers) {
    std::string log = server->log();
    size_t limit = server->options().program == Program::kIgnix ? 2000 : 300;
    if (log.size() > limit) log.erase(0, log.size() - limit);
    fprintf(stderr, "--- log of %s (pid %d) ---\n%s", server->name(), int(server->pid()),
            log.c_str());
    if (!log.empty() && log.back() != '\n') fprintf(stderr, "\n");
  }
}

timespec deadline_in(int seconds) {
  timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += seconds;
  return deadline;
}

int code_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int wait_with_limit(pid_t pid, int seconds, bool* timed_out) {
  int pid_fd = int(syscall(SYS_pidfd_open, pid, 0));
  pollfd fd = {pid_fd, POLLIN, 0};
  *timed_out = poll(&fd, 1, seconds * 1000) == 0;
  close(pid_fd);
  if (*timed_out) return -1;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return code_of(status);
}

// From here on io_uring_setup(2) fails as where the sysctl io_uring_disabled, or a container's
// filter, forbids it; vmsplice(2) too.
void forbid_newer_calls() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_vmsplice, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {std::size(filter), filter};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

}  // namespace

std::string read_file(const std::string& path) {
  std::string content;
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) FAIL("cannot open " + path + ": " + strerror(errno));
  char buffer[65536];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) content.append(buffer, size_t(n));
  close(fd);
  return content;
}

void write_file(const std::string& path, std::string_view content) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) FAIL("cannot write " + path + ": " + strerror(errno));
  while (!content.empty()) {
    ssize_t n = write(fd, content.data(), content.size());
    if (n <= 0) FAIL("cannot write " + path + ": " + strerror(errno));
    content.remove_prefix(size_t(n));
  }
  close(fd);
}

void copy_file(const std::string& from, const std::string& to) { write_file(to, read_file(from)); }

bool file_exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

std::string fresh_dir(const std::string& name) {
  static int number = 0;
  std::string dir = case_dir() + "/" + name + std::to_string(++number);
  if (mkdir(dir.c_str(), 0700) != 0) FAIL("mkdir " + dir + ": " + strerror(errno));
  return dir;
}

std::string ignix_path() {
  const char* from_environment = getenv("IGNIX");
  std::string path = from_environment != nullptr ? from_environment : "./ignix";
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) FAIL("no server binary at " + path + " (set IGNIX)");
  path = resolved;
  free(resolved);
  return path;
}

std::string find_program(const std::string& name) {
  const char* path = getenv("PATH");
  std::string rest = path != nullptr ? path : "/usr/bin:/bin";
  rest += ":";
  for (size_t end; (end = rest.find(':')) != std::string::npos; rest.erase(0, end + 1)) {
    std::string candidate = rest.substr(0, end) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

void need_redis() {
  std::string program = find_program("redis-server");
  if (program.empty()) SKIP("redis-server not installed");
  Output output = run_program({program, "--version"});
  if (output.text.find(" v=7.0.") == std::string::npos)
    SKIP("redis-server is not of version 7.0: " + output.text.substr(0, 60));
}

int free_port(bool ipv6) {
  int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 0;
  int port = 0;
  if (ipv6) {
    sockaddr_in6 address = {};
    socklen_t length = sizeof address;
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
        getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0)
      port = ntohs(address.sin6_port);
  } else {
    sockaddr_in address = {};
    socklen_t length = sizeof address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
        getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0)
      port = ntohs(address.sin_port);
  }
  close(fd);
  return port;
}

Server::Server(ServerOptions options) : options_(std::move(options)) {
  static bool hooked = false;
  if (!hooked) at_failure(print_logs);
  hooked = true;
  if (options_.dir.empty()) options_.dir = fresh_dir(name());
  if (options_.unix_socket) unix_path_ = options_.dir + "/socket";
  live_servers.push_back(this);
}

Server::~Server() {
  if (pid_ > 0) kill9();
  join_reader();
  live_servers.erase(std::find(live_servers.begin(), live_servers.end(), this));
}

std::vector<std::string> Server::command_line() {
  std::vector<std::string> line;
  bool ignix = options_.program == Program::kIgnix;
  line.push_back(ignix ? ignix_path() : find_program("redis-server"));
  if (!options_.config_file.empty()) line.push_back(options_.config_file);
  if (!options_.bare) {
    line.insert(line.end(), {"--port", std::to_string(port_)});
    if (options_.tcp) line.insert(line.end(), {"--bind", "127.0.0.1"});
    if (options_.unix_socket) line.insert(line.end(), {"--unixsocket", unix_path_});
    line.insert(line.end(), {"--dir", options_.dir});
    line.insert(line.end(), {"--appendonly", options_.appendonly ? "yes" : "no"});
    const bool rules_by_default = !ignix || (!options_.appendonly && options_.config_file.empty());
    if (rules_by_default) line.insert(line.end(), {"--save", ""});
    if (ignix && *io_of_case()) line.insert(line.end(), {"--io", io_of_case()});
  }
  line.insert(line.end(), options_.arguments.begin(), options_.arguments.end());
  return line;
}

bool Server::start_once(std::string_view ready) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) FAIL("no pipe");
  std::vector<std::string> line = command_line();
  std::vector<char*> argv = pointers_to(line);
  std::vector<char*> variables = pointers_to(options_.environment);
  pid_ = fork();
  if (pid_ < 0) FAIL("fork failed");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (options_.without_newer_calls) forbid_newer_calls();
    if (options_.file_bytes != 0) {
      rlimit limit = {options_.file_bytes, options_.file_bytes};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (options_.address_bytes != 0) {
      rlimit limit = {options_.address_bytes, options_.address_bytes};
      setrlimit(RLIMIT_AS, &limit);
    }
    if (options_.descriptors != 0) {
      rlimit limit = {options_.descriptors, options_.descriptors};
      setrlimit(RLIMIT_NOFILE, &limit);
    }
    dup2(out[1], 1);
    dup2(err[1], 2);
    for (size_t i = 0; variables[i]; i++) putenv(variables[i]);
    if (chdir(options_.dir.c_str()) == 0) execv(argv[0], argv.data());
    _exit(126);
  }
  close(out[1]);
  close(err[1]);
  stdout_fd_ = out[0];
  stderr_fd_ = err[0];
  log_.clear();
  error_output_.clear();
  log_ended_ = false;
  exit_status_ = -1;
  if (pthread_create(&reader_, nullptr, read_log, this) != 0) FAIL("no thread");
  reader_runs_ = true;
  return wait_log(ready);
}

void Server::start_listening() {
  if (options_.tcp && port_ == 0) port_ = free_port();
  if (!start_once("Listening on")) FAIL(std::string(name()) + " did not start: " + log());
}

bool Server::try_start() {
  join_reader();
  if (options_.tcp && port_ == 0) port_ = free_port();
  if (start_once(kReadyText)) return true;
  if (kill(pid_, 0) == 0 && exit_status_ < 0) {
    bool timed_out = false;
    exit_status_ = wait_with_limit(pid_, kExitTimeoutSeconds * slowness(), &timed_out);
    if (timed_out) FAIL(std::string(name()) + " did not become ready");
    pid_ = -1;
  }
  return false;
}

void Server::start() {
  bool port_was_chosen = options_.tcp && port_ == 0;
  for (int attempt = 0; attempt < 5; attempt++) {
    if (try_start()) return;
    // Between our look for a free port and the server's bind, another test may have taken it.
    if (!port_was_chosen || log().find("in use") == std::string::npos) break;
    port_ = 0;
  }
  FAIL(std::string(name()) + " did not start, exit status " + std::to_string(exit_status_));
}

void* Server::read_log(void* self_pointer) {
  Server* self = static_cast<Server*>(self_pointer);
  pollfd fds[2] = {{self->stdout_fd_, POLLIN, 0}, {self->stderr_fd_, POLLIN, 0}};
  char buffer[4096];
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (poll(fds, 2, -1) < 0) continue;
    for (pollfd& fd : fds) {
      if (fd.fd < 0 || fd.revents == 0) continue;
      ssize_t n = read(fd.fd, buffer, sizeof buffer);
      if (n <= 0) {
        fd.fd = -1;
        continue;
      }
      pthread_mutex_lock(&self->mutex_);
      self->log_.append(buffer, size_t(n));
      if (&fd == &fds[1]) self->error_output_.append(buffer, size_t(n));
      pthread_cond_broadcast(&self->changed_);
      pthread_mutex_unlock(&self->mutex_);
    }
  }
  pthread_mutex_lock(&self->mutex_);
  self->log_ended_ = true;
  pthread_cond_broadcast(&self->changed_);
  pthread_mutex_unlock(&self->mutex_);
  return nullptr;
}

void Server::join_reader() {
  if (!reader_runs_) return;
  pthread_join(reader_, nullptr);
  reader_runs_ = false;
  close(stdout_fd_);
  close(stderr_fd_);
  // A thread sanitizer reports and goes on, so a case could pass over it.
  if (log_.find("Sanitizer: ") != std::string::npos) FAIL("a sanitizer has spoken: " + log_);
}

bool Server::wait_log(std::string_view text, size_t from) {
  timespec deadline = deadline_in(kReadyTimeoutSeconds * slowness());
  pthread_mutex_lock(&mutex_);
  bool found = false;
  while (!(found = log_.find(text, from) != std::string::npos) && !log_ended_) {
    if (pthread_cond_timedwait(&changed_, &mutex_, &deadline) == ETIMEDOUT) break;
  }
  pthread_mutex_unlock(&mutex_);
  return found;
}

std::string Server::log() {
  pthread_mutex_lock(&mutex_);
  std::string copy = log_;
  pthread_mutex_unlock(&mutex_);
  return copy;
}

std::string Server::error_output() {
  pthread_mutex_lock(&mutex_);
  std::string copy = error_output_;
  pthread_mutex_unlock(&mutex_);
  return copy;
}

int Server::stop(int signal_number) {
  if (pid_ <= 0) return exit_status_;
  kill(pid_, signal_number == 0 ? SIGTERM : signal_number);
  return wait_exit();
}

int Server::wait_exit() {
  if (pid_ <= 0) return exit_status_;
  bool timed_out = false;
  exit_status_ = wait_with_limit(pid_, kExitTimeoutSeconds * slowness(), &timed_out);
  if (timed_out) FAIL(std::string(name()) + " did not end in time");
  pid_ = -1;
  join_reader();
  return exit_status_;
}

void Server::kill9() { stop(SIGKILL); }

void Server::restart() {
  if (pid_ > 0) FAIL("restart of a server that runs");
  start();
}

bool Server::running() {
  if (pid_ <= 0) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return true;
  exit_status_ = code_of(status);
  pid_ = -1;
  return false;
}

void Server::send_signal(int signal_number) {
  if (pid_ > 0) kill(pid_, signal_number);
}

long Server::memory_kb() {
  std::string status = read_file("/proc/" + std::to_string(pid_) + "/status");
  size_t at = status.find("VmRSS:");
  if (at == std::string::npos) FAIL("no VmRSS: the server has ended");
  return atol(status.c_str() + at + 6);
}

double Server::cpu_seconds() {
  double total = 0;
  for (const auto& [thread, seconds] : thread_cpu_seconds()) total += seconds;
  return total;
}

std::map<pid_t, double> Server::thread_cpu_seconds() {
  const std::string tasks = "/proc/" + std::to_string(pid_) + "/task";
  DIR* dir = opendir(tasks.c_str());
  if (dir == nullptr) FAIL("no " + tasks + ": the server has ended");
  std::map<pid_t, double> found;
  while (dirent* entry = readdir(dir)) {
    const std::string path = tasks + "/" + entry->d_name + "/schedstat";
    if (entry->d_name[0] != '.' && file_exists(path))
      found[atoi(entry->d_name)] = atof(read_file(path).c_str()) / 1e9;
  }
  closedir(dir);
  return found;
}

static int count_entries(const std::string& path) {
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) FAIL("cannot open " + path);
  int count = 0;
  while (dirent* entry = readdir(dir))
    if (entry->d_name[0] != '.') count++;
  closedir(dir);
  return count;
}

int Server::open_descriptors() { return count_entries("/proc/" + std::to_string(pid_) + "/fd"); }

int Server::thread_count() { return count_entries("/proc/" + std::to_string(pid_) + "/task"); }

Output run_program(const std::vector<std::string>& argv_texts, std::string_view input,
                   int timeout_s) {
  // The input goes through a file, so that neither side can wait for the other.
  static int number = 0;
  std::string path = case_dir() + "/stdin" + std::to_string(++number);
  write_file(path, input);
  std::vector<std::string> line = argv_texts;
  std::vector<char*> argv = pointers_to(line);
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) FAIL("no pipe");
  pid_t pid = fork();
  if (pid < 0) FAIL("fork failed");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    dup2(fd, 0);
    dup2(out[1], 1);
    dup2(out[1], 2);
    if (chdir(case_dir().c_str()) == 0) execv(argv[0], argv.data());
    _exit(126);
  }
  close(out[1]);
  Output output;
  timespec end = deadline_in(timeout_s * slowness());
  char buffer[65536];
  pollfd fd = {out[0], POLLIN, 0};
  while (true) {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec >= end.tv_sec) {
      kill(pid, SIGKILL);
      break;
    }
    if (poll(&fd, 1, 1000) <= 0) continue;
    ssize_t n = read(out[0], buffer, sizeof buffer);
    if (n <= 0) break;
    output.text.append(buffer, size_t(n));
  }
  close(out[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  output.status = code_of(status);
  return output;
}

}  // namespace test
