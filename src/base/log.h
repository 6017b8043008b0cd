// Log lines: one event each, written with one write(2), from any thread.
#pragma once

#include <string_view>

namespace ignix {

enum class LogLevel : int { kDebug, kVerbose, kNotice, kWarning, kNothing };

// "debug", "verbose", "notice", "warning" or "nothing"; false for another word.
bool parse_log_level(std::string_view word, LogLevel& level);

void set_log_level(LogLevel level);
LogLevel log_level();

// Lines go to the file at `path` from now on (appended; made if missing). An empty path is stderr.
// False, with errno set, where it cannot be opened: then nothing has changed.
bool set_log_file(const char* path);

// printf's format; the line end is added. A line is cut at 1,024 bytes.
void log_line(LogLevel level, const char* format, ...) __attribute__((format(printf, 2, 3)));

#define log_verbose(...) ::ignix::log_line(::ignix::LogLevel::kVerbose, __VA_ARGS__)
#define log_notice(...) ::ignix::log_line(::ignix::LogLevel::kNotice, __VA_ARGS__)
#define log_warning(...) ::ignix::log_line(::ignix::LogLevel::kWarning, __VA_ARGS__)

}  // namespace ignix
