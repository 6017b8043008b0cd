#include "base/glob.h"

#include <utility>

#include "base/number.h"

namespace ignix {
namespace {

char fold(char c, bool ignore_case) { return ignore_case ? lower_case(c) : c; }

// Matches `c` against the class that starts behind the '[' at pattern[i]; moves `i` behind its ']'.
// A class without an end reaches to the end of the pattern, as in Redis.
bool match_class(std::string_view pattern, size_t& i, char c, bool ignore_case) {
  const size_t n = pattern.size();
  const bool inverted = i < n && pattern[i] == '^';
  if (inverted) i++;
  bool matched = false;
  c = fold(c, ignore_case);
  for (;; i++) {
    if (i >= n) return matched != inverted;
    if (pattern[i] == '\\' && i + 1 < n) {
      i++;
      if (fold(pattern[i], ignore_case) == c) matched = true;
    } else if (pattern[i] == ']') {
      i++;
      return matched != inverted;
    } else if (i + 2 < n && pattern[i + 1] == '-') {
      // As in Redis: signed, and put in order before the case is folded.
      signed char low = pattern[i], high = pattern[i + 2];
      if (low > high) std::swap(low, high);
      low = fold(low, ignore_case);
      high = fold(high, ignore_case);
      if ((signed char)c >= low && (signed char)c <= high) matched = true;
      i += 2;
    } else if (fold(pattern[i], ignore_case) == c) {
      matched = true;
    }
  }
}

// Matches one character of text with the element at pattern[i] (no star); moves `i` behind it.
bool match_one(std::string_view pattern, size_t& i, char c, bool ignore_case) {
  switch (pattern[i]) {
    case '?':
      i++;
      return true;
    case '[':
      i++;
      return match_class(pattern, i, c, ignore_case);
    case '\\':
      if (i + 1 < pattern.size()) i++;
      [[fallthrough]];
    default:
      return fold(pattern[i++], ignore_case) == fold(c, ignore_case);
  }
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text, bool ignore_case) {
  // As in Redis, where not even a star matches nothing at all.
  if (text.empty()) return pattern.empty();
  constexpr size_t kNone = size_t(-1);
  size_t p = 0, t = 0, star = kNone, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;
      star_text = t;
      continue;
    }
    if (p < pattern.size() && match_one(pattern, p, text[t], ignore_case)) {
      t++;
      continue;
    }
    if (star == kNone) return false;
    p = star;
    t = ++star_text;
  }
  while (p < pattern.size() && pattern[p] == '*') p++;
  return p == pattern.size();
}

}  // namespace ignix
