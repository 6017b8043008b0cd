#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/number.h"

namespace ignix {
namespace {

constexpr const char* kNames[] = {"debug", "verbose", "notice", "warning", "nothing"};

// Set at start and by CONFIG SET; read by every thread.
std::atomic<LogLevel> current_level{LogLevel::kNotice};
std::atomic<int> log_fd{STDERR_FILENO};

}  // namespace

bool parse_log_level(std::string_view word, LogLevel& level) {
  for (int i = 0; i <= int(LogLevel::kNothing); i++) {
    if (!equal_ignoring_case(word, kNames[i])) continue;
    level = LogLevel(i);
    return true;
  }
  return false;
}

void set_log_level(LogLevel level) { current_level.store(level, std::memory_order_relaxed); }
LogLevel log_level() { return current_level.load(std::memory_order_relaxed); }

bool set_log_file(const char* path) {
  int fd = STDERR_FILENO;
  if (*path) {
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return false;
  }
  // The old descriptor stays open: another thread may be about to write to it. It is one for
  // each change of the directive, which only happens at start.
  log_fd.store(fd, std::memory_order_relaxed);
  return true;
}

void log_line(LogLevel level, const char* format, ...) {
  if (level < log_level()) return;
  const int saved_errno = errno;
  char line[1024];
  timespec now;
  tm parts;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &parts);
  size_t length = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &parts);
  length +=
      size_t(snprintf(line + length, sizeof line - length, ".%03ldZ %d %s: ", now.tv_nsec / 1000000,
                      int(getpid()), kNames[int(level)]));
  va_list args;
  va_start(args, format);
  const int wanted = vsnprintf(line + length, sizeof line - length - 1, format, args);
  va_end(args);
  if (wanted > 0) length = std::min(length + size_t(wanted), sizeof line - 2);
  line[length++] = '\n';
  // A log that cannot be written (full disk) must not stop the server, and there is nobody to tell.
  if (write(log_fd.load(std::memory_order_relaxed), line, length) < 0) errno = 0;
  errno = saved_errno;
}

}  // namespace ignix
