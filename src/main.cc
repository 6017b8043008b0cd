// Start-up, read from top to bottom: configuration, listeners, keyspace, log, loops, loading; then
// the main thread waits for signals and, at the end, stops everything in the reverse order.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/cpus.h"
#include "base/descriptors.h"
#include "base/libc_heap.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/version.h"
#include "net/listener.h"
#include "net/loop.h"
#include "server/load.h"
#include "server/load_parts.h"
#include "server/open_files.h"
#include "server/paths.h"
#include "server/server.h"

namespace {

using namespace ignix;

// All that lives as long as the server runs. Never freed: the process ends.
struct Process {
  Server server;
  Listeners listeners;
  std::unique_ptr<Loop>* loops = nullptr;
  pthread_t memory_thread = {}, load_thread = {};
  bool has_pid_file = false;
};

Process* the_process = nullptr;  // set before anything else runs

constexpr int kLoadedSignal = SIGUSR1;

[[noreturn]] void die(const std::string& error) {
  fprintf(stderr, "ignix: %s\n", error.c_str());
  _exit(1);  // other threads may be running
}

// Unless it is another process's by now.
void remove_pid_file(const Process& process) {
  if (!process.has_pid_file) return;
  const char* path = process.server.config.pidfile.c_str();
  FILE* file = fopen(path, "re");
  if (!file) return;
  int pid = 0;
  const bool is_own = fscanf(file, "%d", &pid) == 1 && pid == getpid();
  fclose(file);
  if (is_own) unlink(path);
}

// Once there are listeners: the Unix socket must not be left behind.
[[noreturn]] void die(Process& process, const std::string& error) {
  remove_pid_file(process);
  process.listeners.close_all();
  if (!process.server.config.logfile.empty()) log_warning("%s", error.c_str());
  die(error);
}

void print_and_exit_if_asked(int argc, char** argv) {
  if (argc < 2) return;
  const std::string first = argv[1];
  if (first == "--version" || first == "-v") {
    printf("Ignix %s (speaks the protocol of Redis %s)\n", kVersion, kRedisVersion);
  } else if (first == "--help" || first == "-h") {
    printf(
        "Usage: ignix [FILE] [--OPTION VALUE ...]\n\n"
        "A key-value server that Redis's clients can talk to. FILE is a configuration file in\n"
        "redis.conf's form; options override it. See ignix(1).\n\n%s\n"
        "  -h, --help                   print this\n"
        "  -v, --version                print the version\n",
        config_usage().c_str());
  } else {
    return;
  }
  exit(0);
}

// In lines that the log does not cut.
void tell_ignored(const std::vector<std::string>& names) {
  constexpr size_t kLineBytes = 700;
  std::string line;
  for (const std::string& name : names) {
    line += (line.empty() ? "" : ", ") + name;
    if (line.size() < kLineBytes && &name != &names.back()) continue;
    log_notice("directives without effect in Ignix: %s", line.c_str());
    line.clear();
  }
}

void configure(int argc, char** argv, Config& config) {
  std::vector<std::string> ignored;
  std::string error;
  if (const char* word = getenv("IGNIX_LOG")) {
    LogLevel level;
    if (!parse_log_level(word, level)) {
      die(std::string("bad value '") + word +
          "' for IGNIX_LOG: must be debug, verbose, notice, "
          "warning or nothing");
    }
    config.loglevel = int64_t(level);
  }
  if (!load_config(argc, argv, config, ignored, error)) die(error);
  if (char* path = realpath(config.config_file.c_str(), nullptr)) {
    config.config_file = path;
    free(path);
  }
  set_log_level(LogLevel(config.loglevel.load()));
  if (chdir(config.dir.c_str()) != 0) {
    die("cannot change to the directory '" + config.dir + "': " + strerror(errno));
  }
  char* directory = getcwd(nullptr, 0);
  if (directory) config.dir = directory;
  free(directory);
  if (!paths_differ(config, error)) die(error);
  if (!set_log_file(config.logfile.c_str())) {
    die("cannot open the log file '" + config.logfile + "': " + strerror(errno));
  }
  tell_ignored(ignored);
  if (config.threads == 0) config.threads = std::min(usable_cpus(), kThreadsMax);
}

// Room for maxclients, as far as the limit on descriptors can be raised.
void make_room_for_clients(Process& process) {
  Config& config = process.server.config;
  const int64_t wanted = config.maxclients, possible = descriptors_for_clients(config);
  if (possible >= wanted) return;
  const int64_t own = own_descriptors(config), limit = own + possible;
  if (possible <= 0) {
    die(process, "the limit on open files (" + std::to_string(limit) +
                     ") leaves no room for clients: the server itself needs " +
                     std::to_string(own));
  }
  log_warning("maxclients is %lld, but the limit on open files (%lld) leaves room for %lld",
              (long long)wanted, (long long)limit, (long long)possible);
  config.maxclients = possible;
}

std::string random_run_id() {
  unsigned char bytes[20];
  if (getrandom(bytes, sizeof bytes, 0) != ssize_t(sizeof bytes)) memset(bytes, 0, sizeof bytes);
  std::string text;
  for (unsigned char byte : bytes) {
    char hex[3];
    snprintf(hex, sizeof hex, "%02x", byte);
    text += hex;
  }
  return text;
}

void* run_memory_thread(void* keyspace) {
  pthread_setname_np(pthread_self(), "memory");
  static_cast<Keyspace*>(keyspace)->run_ahead();
  return nullptr;
}

void open_keyspace(Process& process) {
  Server& server = process.server;
  if (!server.keyspace.open(int(server.config.databases), server.loop_count)) {
    die(process, "cannot reserve address space for the keyspace: see ulimit -v");
  }
  server.keyspace.set_time(wall_ms());
  server.keyspace.set_shared(true);  // by the thread that loads
  if (pthread_create(&process.memory_thread, nullptr, run_memory_thread, &server.keyspace) != 0) {
    die(process, "cannot start a thread");
  }
}

// The log has got on: loops whose replies wait for it look again.
void on_log_progress(void* process) {
  Process& p = *static_cast<Process*>(process);
  for (int i = 0; i < p.server.loop_count; i++) {
    if (p.loops[i]->waits_for_log()) p.loops[i]->wake();
  }
}

// Nothing is logged yet: what a Redis has left is where the log begins.
void start_from_redis(Process& process, uint64_t& size_bytes) {
  Server& server = process.server;
  std::string error;
  bool found;
  if (!load_parts(server, found, error) || (!found && !load_dump(server, found, error)) ||
      (found && !server.persist.write_first_aof(size_bytes, error))) {
    die(process, error);
  }
  if (!found) tell_that_nothing_is_there(server);
}

void open_log(Process& process) {
  Server& server = process.server;
  std::string error;
  if (!server.ring.open(server.loop_count)) die(process, "out of memory for the log");
  if (!server.aof.open(server.config.appendfilename, error)) die(process, error);
}

void load_log(Process& process) {
  Server& server = process.server;
  std::string error;
  uint64_t size_bytes = 0;
  // Where something was logged, if it was torn from the start, nothing older takes its place.
  struct stat file = {};
  const bool nothing_logged = fstat(server.aof.fd(), &file) == 0 && file.st_size == 0;
  if (!load_aof(server, size_bytes, error)) die(process, error);
  if (nothing_logged) {
    start_from_redis(process, size_bytes);
  } else {
    tell_what_is_newer_than_log(server, file.st_mtim);
  }
  if (server.aof.is_doubtful()) {
    log_notice("the last fsync of the append-only file has failed: writing it anew");
    if (!server.persist.write_first_aof(size_bytes, error)) die(process, error);
  }
  server.persist.set_rewritten_bytes(size_bytes);
  if (!server.aof.start(&server.ring, size_bytes, FsyncPolicy(server.config.appendfsync.load()),
                        on_log_progress, &process)) {
    die(process, "cannot start the threads of the log");
  }
}

void load_dump_only(Process& process) {
  std::string error;
  bool found;
  if (!load_dump(process.server, found, error)) die(process, error);
  tell_what_is_not_read(process.server);
}

// Puts a setting into effect that CONFIG SET may change meanwhile, and does so itself after that.
template <typename Apply>
void apply_setting(const std::atomic<int64_t>& setting, Apply apply) {
  int64_t value;
  do {
    value = setting.load();
    apply(value);
  } while (setting.load() != value);
}

// A thread of its own, while the loops answer -LOADING. The main thread gets kLoadedSignal.
void* run_load(void* process) {
  pthread_setname_np(pthread_self(), "load");
  Process& p = *static_cast<Process*>(process);
  p.server.keyspace.set_hurry(true);
  if (p.server.config.appendonly) {
    load_log(p);
  } else {
    load_dump_only(p);
  }
  p.server.keyspace.settle();
  p.server.keyspace.set_hurry(false);
  // Behind the loading: what was acknowledged is loaded, whatever the limit is now.
  p.server.loading.active.store(false, std::memory_order_seq_cst);
  apply_setting(p.server.config.maxmemory,
                [&](int64_t bytes) { p.server.keyspace.set_limit_bytes(uint64_t(bytes)); });
  apply_setting(p.server.config.appendfsync,
                [&](int64_t policy) { p.server.aof.set_policy(FsyncPolicy(policy)); });
  p.server.persist.set_loaded();
  p.loops[0]->wake();  // some may have expired
  pthread_kill(p.server.main_thread, kLoadedSignal);
  return nullptr;
}

// Goes on in a child. The parent waits for it to be ready, and exits with 0 then, or with 1 if the
// child ends before: its error has been seen on the terminal. Returns where to say "ready".
int detach() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) die(std::string("cannot make a pipe: ") + strerror(errno));
  const pid_t child = fork();
  if (child < 0) die(std::string("cannot fork: ") + strerror(errno));
  if (child > 0) {
    close(ends[1]);
    char ready;
    _exit(read(ends[0], &ready, 1) == 1 ? 0 : 1);
  }
  close(ends[0]);
  setsid();
  return ends[1];
}

void leave_terminal(int ready_fd) {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; null >= 0 && fd <= 2; fd++) dup2(null, fd);
  if (null > 2) close(null);
  [[maybe_unused]] ssize_t written = write(ready_fd, "", 1);
  close(ready_fd);
}

std::string own_path(const char* fallback) {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  return length > 0 ? std::string(path, size_t(length)) : fallback;
}

void write_pid_file(Process& process) {
  const std::string& path = process.server.config.pidfile;
  if (path.empty()) return;
  FILE* file = fopen(path.c_str(), "we");
  if (!file)
    return log_warning("cannot write the pid file '%s': %s", path.c_str(), strerror(errno));
  process.has_pid_file = true;
  const bool written = fprintf(file, "%d\n", int(getpid())) > 0;
  if (fclose(file) != 0 || !written) {
    log_warning("cannot write the pid file '%s': %s", path.c_str(), strerror(errno));
  }
}

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, kLoadedSignal);
  return set;
}

// Once a second: the rates of INFO, and how much memory there has been.
void sample_rates(Server& server, uint64_t before[3], int64_t& before_ms) {
  const int64_t now_ms = monotonic_ms();
  const uint64_t passed_ms = uint64_t(std::max<int64_t>(1, now_ms - before_ms));
  const uint64_t now[] = {server.total(&LoopStatus::commands),
                          server.total(&LoopStatus::input_bytes),
                          server.total(&LoopStatus::output_bytes)};
  std::atomic<uint64_t>* const rates[] = {&server.commands_per_second, &server.input_per_second,
                                          &server.output_per_second};
  for (int i = 0; i < 3; i++) {
    *rates[i] = (now[i] - before[i]) * 1000 / passed_ms;
    before[i] = now[i];
  }
  before_ms = now_ms;
  server.note_memory(server.keyspace.held_bytes());
}

void wake_loops(Process& process) {
  for (int i = 0; i < process.server.loop_count; i++) process.loops[i]->wake();
}

const char* name_of(int signal) { return signal == SIGINT ? "SIGINT" : "SIGTERM"; }

// A stop meanwhile ends the process: there is nothing yet that could be lost.
void wait_for_load(Process& process) {
  const sigset_t signals = handled_signals();
  while (process.server.loading.active.load(std::memory_order_acquire)) {
    const int signal = sigwaitinfo(&signals, nullptr);
    if (signal != SIGINT && signal != SIGTERM) continue;
    if (!process.server.loading.active) {
      pthread_kill(pthread_self(), signal);  // for wait_for_stop()
      return;
    }
    log_notice("received %s while loading, stopping", name_of(signal));
    remove_pid_file(process);
    process.listeners.close_all();
    if (process.server.config.appendonly) process.server.persist.remove_unfinished();
    _exit(0);
  }
}

bool fsync_failure_stops(const Server& server) {
  return server.aof.fsync_failure() &&
         server.config.aof_fsync_error == int64_t(FsyncErrorChoice::kStop);
}

// A SAVE, which its loop waits for, ends now; so does what else is being written.
void begin_stop(Server& server) {
  server.stopping.store(true, std::memory_order_release);
  server.persist.cancel();
}

// Returns when the server is to stop.
void wait_for_stop(Process& process) {
  Server& server = process.server;
  const sigset_t signals = handled_signals();
  uint64_t before[3] = {};
  int64_t before_ms = monotonic_ms();
  bool watched_before = server.config.watches_clients();
  for (;;) {
    const timespec second = {1, 0};
    const int signal = sigtimedwait(&signals, nullptr, &second);
    if (signal == kLoadedSignal) continue;
    if (signal > 0) {
      begin_stop(server);
      if (!server.stop_requested) log_notice("received %s, stopping", name_of(signal));
      return;
    }
    if (fsync_failure_stops(server)) {
      begin_stop(server);
      log_warning("fsync has failed and aof-fsync-error is 'stop': stopping");
      return;
    }
    sample_rates(server, before, before_ms);
    if (server.persist.check_rules()) process.loops[0]->wake();
    // A loop without anything to do sleeps for ever, unless it watches its clients.
    const bool watched = server.config.watches_clients();
    if (watched != watched_before) wake_loops(process);
    watched_before = watched;
  }
}

// With `save` rules, or because SHUTDOWN said so.
bool save_at_end(Server& server) {
  const Server::SaveAtEnd choice = server.save_at_end;
  if (choice == Server::SaveAtEnd::kNo) return true;
  if (choice == Server::SaveAtEnd::kByRules && server.config.save_rules.count == 0) return true;
  std::string error;
  return server.persist.save_now(error);
}

int stop(Process& process) {
  Server& server = process.server;
  wake_loops(process);
  for (int i = 0; i < server.loop_count; i++) process.loops[i]->join();
  server.persist.stop();
  const bool saved = save_at_end(server);
  server.keyspace.stop_ahead();
  pthread_join(process.memory_thread, nullptr);
  const bool written = server.aof.stop();
  if (!written) log_warning("the end of the append-only file could not be written");
  // The last, in this order: a successor finds the port in use until the data is all there, then no
  // other server's lock on the log, and its own pid file stays.
  remove_pid_file(process);
  if (server.config.appendonly) server.aof.unlock();
  process.listeners.close_all();
  log_notice("stopped");
  return written && saved ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_descriptors();
  std::set_new_handler(end_without_memory);
  keep_heap_small();
  print_and_exit_if_asked(argc, argv);
  Process& process = *new Process;
  the_process = &process;
  Server& server = process.server;
  configure(argc, argv, server.config);
  const int ready_fd = server.config.daemonize ? detach() : -1;

  // Signals are taken by the main thread only, when it waits for them.
  const sigset_t signals = handled_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a file at its size limit is a failed write
  server.main_thread = pthread_self();
  server.started_ms = monotonic_ms();
  server.run_id = random_run_id();
  server.executable = own_path(argv[0]);
  server.loop_count = int(server.config.threads);
  log_notice("Ignix %s starts, process %d, %d threads", kVersion, int(getpid()), server.loop_count);
  make_room_for_clients(process);

  // The listeners come first: a second server on the same port must touch no file.
  std::string error;
  if (!process.listeners.open(server.config, server.loop_count, error)) {
    die(process, error);
  }
  open_keyspace(process);
  server.loops = std::make_unique<LoopStatus[]>(size_t(server.loop_count));
  process.loops = new std::unique_ptr<Loop>[size_t(server.loop_count)];
  if (server.config.appendonly) open_log(process);
  for (int i = 0; i < server.loop_count; i++) {
    process.loops[i] = std::make_unique<Loop>(server, process.loops, i);
    if (!process.loops[i]->open(process.listeners.of_loop(i), error)) {
      die(process, error);
    }
  }
  server.io_name = process.loops[0]->io_name();
  server.wake_loop = [](Server&, int number) { the_process->loops[number]->wake(); };
  for (int i = 0; i < server.loop_count; i++) {
    if (!process.loops[i]->start()) die(process, "cannot start a thread");
  }
  write_pid_file(process);
  log_notice("Listening on %s (%s)", process.listeners.description().c_str(), server.io_name);
  server.loading.started_ms = wall_ms();
  if (pthread_create(&process.load_thread, nullptr, run_load, &process) != 0) {
    die(process, "cannot start a thread");
  }
  wait_for_load(process);
  pthread_join(process.load_thread, nullptr);
  log_notice("Ready to accept connections");
  if (ready_fd >= 0) leave_terminal(ready_fd);
  wait_for_stop(process);
  return stop(process);
}
