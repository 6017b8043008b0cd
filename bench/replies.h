// Counts RESP replies in a stream of bytes, in pieces of any size. Payloads of bulk strings are
// stepped over by their length and never looked at.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

struct ReplyCounts {
  uint64_t errors = 0;
  uint64_t misses = 0;  // nil replies, also inside arrays
  std::string first_error;
};

struct ReplyScanner {
  static constexpr size_t kMaxLine = 64 * 1024;

  uint64_t skip = 0;    // bytes of a bulk string, with its CRLF, that have not come yet
  uint64_t open = 0;    // elements missing from the reply under way
  bool broken = false;  // what came is not RESP
  std::string partial;  // the start of a line whose end has not come yet

  // Returns the number of replies that ended within these bytes.
  uint64_t feed(const char* p, size_t size, ReplyCounts& counts) {
    const char* end = p + size;
    uint64_t replies = 0;
    while (p < end && !broken) {
      if (skip) {
        size_t step = std::min<uint64_t>(skip, end - p);
        p += step;
        replies += discard(step);
        continue;
      }
      const char* newline = static_cast<const char*>(memchr(p, '\n', end - p));
      if (!newline) {
        partial.append(p, end);
        broken = partial.size() > kMaxLine;
        break;
      }
      if (partial.empty()) {
        replies += line(p, newline, counts);
      } else {
        partial.append(p, newline);
        replies += line(partial.data(), partial.data() + partial.size(), counts);
        partial.clear();
      }
      p = newline + 1;
    }
    return replies;
  }

  // Steps over bytes of the bulk string under way; 1 when the reply ends with them.
  uint64_t discard(uint64_t size) {
    skip -= size;
    return skip == 0 ? element() : 0;
  }

 private:
  uint64_t element() { return --open == 0; }

  uint64_t line(const char* p, const char* newline, ReplyCounts& counts) {
    if (open == 0) open = 1;
    switch (*p) {
      case '+':
      case ':':
      case ',':
      case '#':
      case '(':
        return element();
      case '$':
      case '=':
        return bulk(p + 1, newline, counts);
      case '*':
      case '~':
      case '>':
        return aggregate(p + 1, newline, 1, counts);
      case '%':
        return aggregate(p + 1, newline, 2, counts);
      case '_':
        counts.misses++;
        return element();
      case '-':
        if (counts.errors++ == 0) counts.first_error.assign(p, newline - 1);
        return element();
    }
    broken = true;
    return 0;
  }

  uint64_t bulk(const char* p, const char* newline, ReplyCounts& counts) {
    if (*p == '-') {
      counts.misses++;
      return element();
    }
    skip = number(p, newline) + 2;
    return 0;
  }

  uint64_t aggregate(const char* p, const char* newline, int factor, ReplyCounts& counts) {
    if (*p == '-') {
      counts.misses++;
      return element();
    }
    open += number(p, newline) * factor;
    return element();
  }

  static uint64_t number(const char* p, const char* end) {
    uint64_t value = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++) value = value * 10 + (*p - '0');
    return value;
  }
};
