// Finds the registered cases, runs them in forked processes, reports. Knows nothing of servers.
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(undefined_behavior_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#endif

namespace test {
namespace {

constexpr size_t kOutputLimitBytes = 64 * 1024;
constexpr int kExitFailed = 1;
constexpr int kExitSkipped = 77;

struct Case {
  std::string name;
  Kind kind;
  void (*body)();
  const char* io;
};

// What a case tells the runner beside its output; in memory that both share.
struct Shared {
  char skip_reason[512];
  char progress[96];
};

struct Options {
  std::vector<std::string> filters;
  uint64_t seed = 0;
  int jobs = 0;
  int timeout_s = 150;
  bool list = false;
  bool keep = false;
  bool verbose = false;
};

struct Running {
  const Case* test = nullptr;
  pid_t pid = -1;
  int pid_fd = -1;
  int output_fd = -1;
  double started_s = 0;
  bool timed_out = false;
  std::string output;
  std::string dir;
  Shared* shared = nullptr;
};

struct Finished {
  std::string name;
  double seconds;
};

struct Totals {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  size_t wanted = 0;
  std::vector<Finished> finished;
};

// Function-local, because cases register from other files' initialisers in any order.
std::vector<Case>& all_cases() {
  static std::vector<Case> cases;
  return cases;
}

volatile sig_atomic_t interrupted = 0;

// State of the forked process of one case.
uint64_t case_seed = 0;
uint64_t run_seed = 0;
std::string case_name;
const char* case_io = "";
std::string case_directory;
Shared* case_shared = nullptr;
std::vector<void (*)()>& failure_hooks() {
  static std::vector<void (*)()> hooks;
  return hooks;
}

double now_s() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return double(ts.tv_sec) + double(ts.tv_nsec) / 1e9;
}

uint64_t hash_text(uint64_t start, std::string_view text) {
  uint64_t h = start ^ 0xcbf29ce484222325u;
  for (char c : text) h = (h ^ uint8_t(c)) * 0x100000001b3u;
  h ^= h >> 32;
  return h * 0x9e3779b97f4a7c15u;
}

int remove_one(const char* path, const struct stat*, int, FTW*) { return remove(path); }

// A test may leave a directory without permissions behind; root and the owner can still open it up.
int open_up(const char* path, const struct stat*, int type, FTW*) {
  if (type == FTW_D || type == FTW_DNR) chmod(path, 0700);
  return 0;
}

void remove_tree(const std::string& path) {
  nftw(path.c_str(), open_up, 16, FTW_PHYS);
  nftw(path.c_str(), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// ---- one case, in its own process ----

[[noreturn]] void run_case(const Case& test, const Running& slot, uint64_t seed_of_run) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  run_seed = seed_of_run;
  case_seed = hash_text(seed_of_run, test.name);
  case_name = test.name;
  case_io = test.io;
  case_directory = slot.dir;
  case_shared = slot.shared;
  test.body();
  fflush(nullptr);
  exit(0);  // not _exit: the leak check of a sanitizer runs here
}

// ---- the runner ----

bool start_case(const Case& test, const std::string& root, int number, const Options& options,
                Running* slot) {
  int fds[2];
  slot->test = &test;
  slot->timed_out = false;
  slot->output.clear();
  slot->dir = root + "/" + std::to_string(number);
  if (mkdir(slot->dir.c_str(), 0700) != 0 || pipe2(fds, O_CLOEXEC) != 0) {
    perror("ignix-test: cannot prepare a case");
    return false;
  }
  memset(slot->shared, 0, sizeof *slot->shared);
  fflush(nullptr);
  slot->started_s = now_s();
  slot->pid = fork();
  if (slot->pid < 0) {
    perror("ignix-test: fork");
    return false;
  }
  if (slot->pid == 0) {
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null_fd, 0);
    dup2(fds[1], 1);
    dup2(fds[1], 2);
    close(fds[0]);
    close(fds[1]);
    run_case(test, *slot, options.seed);
  }
  setpgid(slot->pid, slot->pid);
  close(fds[1]);
  fcntl(fds[0], F_SETFL, O_NONBLOCK);
  slot->output_fd = fds[0];
  slot->pid_fd = int(syscall(SYS_pidfd_open, slot->pid, 0));
  return true;
}

void read_output(Running* slot) {
  char buffer[8192];
  while (true) {
    ssize_t n = read(slot->output_fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    slot->output.append(buffer, size_t(n));
    if (slot->output.size() > 2 * kOutputLimitBytes)
      slot->output.erase(0, slot->output.size() - kOutputLimitBytes);
  }
}

std::string reason_of(const Running& slot, int status, int timeout_s) {
  if (slot.timed_out) return "timed out after " + std::to_string(timeout_s) + " s";
  if (WIFSIGNALED(status)) {
    const char* name = sigabbrev_np(WTERMSIG(status));
    return std::string("crashed by SIG") + (name != nullptr ? name : "?");
  }
  if (WEXITSTATUS(status) != kExitFailed)
    return "exit status " + std::to_string(WEXITSTATUS(status));
  return "failed";
}

void clear_progress_line() {
  if (isatty(1)) printf("\r\x1b[K");
}

void print_indented(const std::string& text) {
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    printf("    %.*s\n", int(end - at), text.c_str() + at);
    at = end + 1;
  }
}

void finish_case(Running* slot, const Options& options, Totals* totals) {
  int status = 0;
  while (waitpid(slot->pid, &status, 0) < 0 && errno == EINTR) {
  }
  kill(-slot->pid, SIGKILL);  // whatever the case left running
  read_output(slot);
  close(slot->output_fd);
  close(slot->pid_fd);
  double seconds = now_s() - slot->started_s;
  clear_progress_line();
  bool failed = false;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && !slot->timed_out) {
    totals->passed++;
    if (options.verbose) printf("ok   %s (%.2f s)\n", slot->test->name.c_str(), seconds);
  } else if (WIFEXITED(status) && WEXITSTATUS(status) == kExitSkipped && !slot->timed_out) {
    totals->skipped++;
    printf("SKIP %s: %s\n", slot->test->name.c_str(), slot->shared->skip_reason);
  } else {
    failed = true;
    totals->failed++;
    printf("FAIL %s (%.2f s): %s\n", slot->test->name.c_str(), seconds,
           reason_of(*slot, status, options.timeout_s).c_str());
  }
  if (failed || options.verbose) print_indented(slot->output);
  totals->finished.push_back({slot->test->name, seconds});
  if (!(options.keep && failed))
    remove_tree(slot->dir);
  else
    printf("    kept: %s\n", slot->dir.c_str());
  fflush(stdout);
  *slot = Running{.output = {}, .dir = {}, .shared = slot->shared};
}

void show_progress(const std::vector<Running>& slots, const Totals& totals) {
  if (!isatty(1)) return;
  std::string line =
      "[" + std::to_string(totals.finished.size()) + "/" + std::to_string(totals.wanted) + "]";
  for (const Running& slot : slots) {
    if (slot.test == nullptr) continue;
    line += " " + slot.test->name;
    if (slot.shared->progress[0] != 0) line += std::string(" (") + slot.shared->progress + ")";
  }
  if (line.size() > 110) line.resize(110);
  printf("\r\x1b[K%s", line.c_str());
  fflush(stdout);
}

// Waits until some running case has said something or ended, or its time is over.
void wait_and_collect(std::vector<Running>* slots, const Options& options, Totals* totals) {
  std::vector<pollfd> fds;
  std::vector<Running*> owners;
  for (Running& slot : *slots) {
    if (slot.test == nullptr) continue;
    fds.push_back({slot.pid_fd, POLLIN, 0});
    fds.push_back({slot.output_fd, POLLIN, 0});
    owners.push_back(&slot);
  }
  show_progress(*slots, *totals);
  poll(fds.data(), fds.size(), 250);
  for (size_t i = 0; i < owners.size(); i++) {
    Running* slot = owners[i];
    if (fds[2 * i + 1].revents & POLLIN) read_output(slot);
    if (now_s() - slot->started_s > options.timeout_s && !slot->timed_out) {
      slot->timed_out = true;
      kill(-slot->pid, SIGKILL);
      kill(slot->pid, SIGKILL);
    }
    if (fds[2 * i].revents & POLLIN) finish_case(slot, options, totals);
  }
}

void run_all(const std::vector<const Case*>& cases, int jobs, const std::string& root,
             const Options& options, Totals* totals, int* number) {
  std::vector<Running> slots(static_cast<size_t>(jobs));
  for (Running& slot : slots) {
    slot.shared = static_cast<Shared*>(
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  }
  size_t next = 0;
  while (interrupted == 0) {
    size_t busy = 0;
    for (Running& slot : slots) {
      if (slot.test == nullptr && next < cases.size()) {
        if (!start_case(*cases[next++], root, ++*number, options, &slot)) exit(2);
      }
      if (slot.test != nullptr) busy++;
    }
    if (busy == 0) break;
    wait_and_collect(&slots, options, totals);
  }
  for (Running& slot : slots) {
    if (slot.test != nullptr) {
      kill(-slot.pid, SIGKILL);
      waitpid(slot.pid, nullptr, 0);
    }
    munmap(slot.shared, sizeof(Shared));
  }
}

[[noreturn]] void usage(const char* problem, const char* argument) {
  fprintf(stderr,
          "ignix-test: %s '%s'\n"
          "usage: ignix-test [--filter TEXT]... [--seed N] [--jobs N] [--timeout SECONDS]\n"
          "                  [--list] [--keep] [--verbose]\n",
          problem, argument);
  exit(2);
}

uint64_t number_of(const char* option, const char* text) {
  char* end = nullptr;
  errno = 0;
  uint64_t value = text == nullptr ? 0 : strtoull(text, &end, 0);
  if (text == nullptr || *text == 0 || *end != 0 || errno != 0)
    usage("this option needs a number:", option);
  return value;
}

uint64_t fresh_seed() {
  uint32_t value = 0;
  if (getrandom(&value, sizeof value, 0) != sizeof value) value = uint32_t(time(nullptr));
  return value;
}

Options parse_options(int argc, char** argv) {
  Options options;
  options.seed = fresh_seed();
  options.jobs = int(sysconf(_SC_NPROCESSORS_ONLN));
  options.timeout_s *= slowness();
  const char* from_environment = getenv("IGNIX_TEST_SEED");
  if (from_environment != nullptr) options.seed = number_of("IGNIX_TEST_SEED", from_environment);
  for (int i = 1; i < argc; i++) {
    std::string_view option = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (option == "--list")
      options.list = true;
    else if (option == "--keep")
      options.keep = true;
    else if (option == "--verbose")
      options.verbose = true;
    else if (option == "--filter") {
      if (value == nullptr) usage("this option needs a text:", argv[i]);
      options.filters.push_back(argv[++i]);
    } else if (option == "--seed")
      options.seed = number_of(argv[i++], value);
    else if (option == "--jobs")
      options.jobs = int(number_of(argv[i++], value));
    else if (option == "--timeout")
      options.timeout_s = int(number_of(argv[i++], value));
    else
      usage("unknown argument", argv[i]);
  }
  if (options.jobs < 1) options.jobs = 1;
  return options;
}

bool matches(const Case& test, const std::vector<std::string>& filters) {
  if (filters.empty()) return true;
  for (const std::string& filter : filters)
    if (test.name.find(filter) != std::string::npos) return true;
  return false;
}

std::vector<const Case*> cases_of_kind(Kind kind, const Options& options) {
  std::vector<const Case*> chosen;
  for (const Case& test : all_cases())
    if (test.kind == kind && matches(test, options.filters)) chosen.push_back(&test);
  std::sort(chosen.begin(), chosen.end(),
            [](const Case* a, const Case* b) { return a->name < b->name; });
  return chosen;
}

void print_slowest(std::vector<Finished> finished) {
  std::sort(finished.begin(), finished.end(),
            [](const Finished& a, const Finished& b) { return a.seconds > b.seconds; });
  size_t count = std::min<size_t>(finished.size(), 5);
  if (count == 0 || finished[0].seconds < 1) return;
  printf("slowest:");
  for (size_t i = 0; i < count; i++)
    printf("%s %s %.1f s", i == 0 ? "" : ",", finished[i].name.c_str(), finished[i].seconds);
  printf("\n");
}

void on_interrupt(int) { interrupted = 1; }

int run(const Options& options) {
  std::vector<const Case*> beside = cases_of_kind(Kind::kLong, options);
  std::vector<const Case*> normal = cases_of_kind(Kind::kNormal, options);
  std::vector<const Case*> alone = cases_of_kind(Kind::kAlone, options);
  beside.insert(beside.end(), normal.begin(), normal.end());
  if (options.list) {
    for (const Case* test : beside) printf("%s\n", test->name.c_str());
    for (const Case* test : alone) printf("%s (alone)\n", test->name.c_str());
    return 0;
  }
  if (beside.empty() && alone.empty()) {
    fprintf(stderr, "ignix-test: no case matches the filter\n");
    return 2;
  }
  const char* parent = getenv("TMPDIR");
  std::string root = std::string(parent != nullptr ? parent : "/tmp") + "/ignix-test.XXXXXX";
  if (mkdtemp(root.data()) == nullptr) {
    fprintf(stderr, "ignix-test: cannot make %s: %s\n", root.c_str(), strerror(errno));
    return 2;
  }
  printf("seed %llu, %zu cases, %d at a time\n", static_cast<unsigned long long>(options.seed),
         beside.size() + alone.size(), options.jobs);
  Totals totals;
  totals.wanted = beside.size() + alone.size();
  int number = 0;
  run_all(beside, options.jobs, root, options, &totals, &number);
  run_all(alone, 1, root, options, &totals, &number);
  clear_progress_line();
  print_slowest(totals.finished);
  if (!(options.keep && totals.failed > 0)) remove_tree(root);
  if (interrupted != 0)
    printf("interrupted: %zu cases did not run\n", totals.wanted - totals.finished.size());
  printf("%d passed, %d failed", totals.passed, totals.failed);
  if (totals.skipped > 0) printf(", %d skipped", totals.skipped);
  printf("\n");
  return totals.failed > 0 || interrupted != 0 ? 1 : 0;
}

}  // namespace

Registration::Registration(const char* file, const char* group, const char* name, Kind kind,
                           void (*body)()) {
  const std::string full_name = std::string(group) + "." + name;
  all_cases().push_back({full_name, kind, body, ""});
  const bool has_server = strstr(file, "/e2e_") || strstr(file, "/differential_");
  if (has_server) all_cases().push_back({full_name + "@epoll", kind, body, "epoll"});
}

const char* io_of_case() { return case_io; }

uint64_t seed() { return case_seed; }

const std::string& case_dir() { return case_directory; }

std::string how_to_repeat() {
  return "ignix-test --seed " + std::to_string(run_seed) + " --filter " + case_name;
}

int slowness() {
#ifdef TEST_SANITIZED
  return 6;
#else
  const char* text = getenv("IGNIX_TEST_SLOWNESS");
  int value = text == nullptr ? 1 : atoi(text);
  return value < 1 ? 1 : value;
#endif
}

void progress(const char* format, ...) {
  if (case_shared == nullptr) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(case_shared->progress, sizeof case_shared->progress, format, arguments);
  va_end(arguments);
}

void at_failure(void (*hook)()) { failure_hooks().push_back(hook); }

std::string quote(std::string_view text, size_t limit) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size(); i++) {
    if (text.size() > limit && i == limit / 2) {
      size_t left_out = text.size() - limit;
      out += "\" ..." + std::to_string(left_out) + " bytes... \"";
      i += left_out;
    }
    char c = text[i];
    char hex[8];
    if (c == '\r')
      out += "\\r";
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (c >= ' ' && c < 127)
      out += c;
    else {
      snprintf(hex, sizeof hex, "\\x%02x", unsigned(uint8_t(c)));
      out += hex;
    }
  }
  return out + "\"";
}

void fail(const char* file, int line, const std::string& message) {
  fflush(stdout);
  fprintf(stderr, "%s:%d: %s\n", file, line, message.c_str());
  std::vector<void (*)()> hooks = failure_hooks();
  failure_hooks().clear();  // a hook that fails itself must not come back here
  for (size_t i = hooks.size(); i > 0; i--) hooks[i - 1]();
  fflush(stderr);
  _exit(kExitFailed);
}

void skip(const std::string& reason) {
  snprintf(case_shared->skip_reason, sizeof case_shared->skip_reason, "%s", reason.c_str());
  _exit(kExitSkipped);
}

}  // namespace test

int main(int argc, char** argv) {
  test::Options options = test::parse_options(argc, argv);
  struct sigaction action = {};
  action.sa_handler = test::on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return test::run(options);
}
