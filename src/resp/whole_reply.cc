#include "resp/whole_reply.h"

#include <assert.h>

#include <cstdint>

#include "base/number.h"

namespace ignix {
namespace {

constexpr size_t kLineEndBytes = 2;

// How many replies make up one of this kind that announces `count`; it is none of them itself.
uint64_t parts_of(char kind, int64_t count) {
  if (count < 0) return 0;
  if (kind == '%') return 2 * uint64_t(count);
  return kind == '*' || kind == '~' || kind == '>' ? uint64_t(count) : 0;
}

bool has_bytes_behind(char kind) { return kind == '$' || kind == '='; }

}  // namespace

std::string_view whole_reply(std::string_view replies) {
  size_t end = 0;
  for (uint64_t missing = 1; missing > 0; missing--) {
    const size_t start = end;
    end = replies.find("\r\n", start);
    assert(end != replies.npos);
    int64_t number = 0;
    const char kind = replies[start];
    if (has_bytes_behind(kind) || parts_of(kind, 1) > 0) {
      const bool good = parse_integer(replies.substr(start + 1, end - start - 1), number);
      assert(good);
    }
    end += kLineEndBytes;
    if (has_bytes_behind(kind) && number >= 0) end += size_t(number) + kLineEndBytes;
    missing += parts_of(kind, number);
  }
  assert(end <= replies.size());
  return replies.substr(0, end);
}

}  // namespace ignix
