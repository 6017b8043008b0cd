#include "resp/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include <algorithm>
#include <cstring>

#include "base/number.h"

namespace ignix {

void Reply::raw(std::string_view bytes) {
  if (!out_.append(bytes)) failed_ = true;
}

// `$123\r\n` and the like: one reservation, digits written in place.
void Reply::header(char kind, int64_t number) {
  if (!out_.reserve(kIntegerBytesMax + 3)) {
    failed_ = true;
    return;
  }
  char* p = out_.room();
  *p = kind;
  const size_t digits = format_integer(number, p + 1);
  memcpy(p + 1 + digits, "\r\n", 2);
  out_.commit(digits + 3);
}

void Reply::bulk(std::string_view bytes) {
  if (!out_.reserve(bytes.size() + kIntegerBytesMax + 5)) {
    failed_ = true;
    return;
  }
  header('$', int64_t(bytes.size()));
  char* p = out_.room();
  if (!bytes.empty()) memcpy(p, bytes.data(), bytes.size());
  memcpy(p + bytes.size(), "\r\n", 2);
  out_.commit(bytes.size() + 2);
}

void Reply::shared(const SharedBytes& reply) {
  if (!out_.append_shared(reply)) failed_ = true;
}

void Reply::bulk_integer(int64_t value) {
  char text[kIntegerBytesMax];
  bulk({text, format_integer(value, text)});
}

void Reply::simple(std::string_view text) {
  raw("+");
  raw(text);
  raw("\r\n");
}

void Reply::error(std::string_view text) {
  errors_++;
  raw("-");
  raw(text);
  raw("\r\n");
}

static bool is_line_end(char c) { return c == '\r' || c == '\n'; }

void Reply::errorf(const char* format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  size_t length = size_t(std::max(vsnprintf(nullptr, 0, format, args), 0));
  errors_++;
  if (out_.reserve(length + 4)) {
    char* const text = out_.room() + 1;
    text[-1] = '-';
    vsnprintf(text, length + 1, format, again);
    while (length > 0 && is_line_end(text[length - 1])) length--;
    std::replace_if(text, text + length, is_line_end, ' ');
    memcpy(text + length, "\r\n", 2);
    out_.commit(length + 3);
  } else {
    failed_ = true;
  }
  va_end(again);
  va_end(args);
}

void Reply::verbatim(std::string_view text) {
  if (protocol_ < 3) return bulk(text);
  header('=', int64_t(text.size()) + 4);
  raw("txt:");
  raw(text);
  raw("\r\n");
}

void Reply::integer(int64_t value) { header(':', value); }
void Reply::null() { raw(protocol_ < 3 ? "$-1\r\n" : "_\r\n"); }
void Reply::null_array() { raw(protocol_ < 3 ? "*-1\r\n" : "_\r\n"); }
void Reply::array(int64_t elements) { header('*', elements); }
void Reply::set(int64_t elements) { header(protocol_ < 3 ? '*' : '~', elements); }

void Reply::map(int64_t pairs) {
  if (protocol_ < 3) {
    header('*', 2 * pairs);
  } else {
    header('%', pairs);
  }
}

void Reply::boolean(bool value) {
  if (protocol_ < 3) {
    header(':', value);
  } else {
    raw(value ? "#t\r\n" : "#f\r\n");
  }
}

}  // namespace ignix
