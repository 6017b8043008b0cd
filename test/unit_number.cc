// Numbers as text, memory sizes, letters without case, glob patterns.
#include <cstdint>
#include <cstdio>
#include <string>

#include "base/glob.h"
#include "base/number.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

using ignix::equal_ignoring_case;
using ignix::format_integer;
using ignix::glob_match;
using ignix::kIntegerBytesMax;
using ignix::parse_integer;
using ignix::parse_memory;

std::string formatted(int64_t value) {
  char text[kIntegerBytesMax];
  const size_t length = format_integer(value, text);
  CHECK(length <= sizeof text);
  return std::string(text, length);
}

TEST(number, parses_what_it_writes) {
  static constexpr struct {
    const char* text;
    int64_t value;
  } kGood[] = {{"0", 0},
               {"1", 1},
               {"-1", -1},
               {"9", 9},
               {"10", 10},
               {"-10", -10},
               {"127", 127},
               {"-128", -128},
               {"32768", 32768},
               {"-32769", -32769},
               {"2147483647", INT32_MAX},
               {"2147483648", 2147483648},
               {"-2147483648", INT32_MIN},
               {"-2147483649", -2147483649},
               {"1000000000000000000", 1000000000000000000},
               {"999999999999999999", 999999999999999999},
               {"9223372036854775806", INT64_MAX - 1},
               {"9223372036854775807", INT64_MAX},
               {"-9223372036854775807", -INT64_MAX},
               {"-9223372036854775808", INT64_MIN}};
  for (const auto& good : kGood) {
    int64_t value = 42;
    if (!parse_integer(good.text, value)) FAIL(good.text);
    CHECK_EQ(value, good.value);
    CHECK_EQ(formatted(value), good.text);
  }
}

TEST(number, refuses_every_other_way_of_writing) {
  for (const char* text : {"",
                           "-",
                           "+",
                           "--1",
                           "007",
                           "00",
                           "01",
                           "-0",
                           "-00",
                           "-01",
                           "+1",
                           "+0",
                           " 1",
                           "1 ",
                           "1\n",
                           "1.0",
                           "1e3",
                           "0x10",
                           "1a",
                           "a1",
                           "1-",
                           "1/",
                           "1:",
                           "9223372036854775808",
                           "-9223372036854775809",
                           "9999999999999999999",
                           "-9999999999999999999",
                           "10000000000000000000",
                           "18446744073709551615",
                           "18446744073709551616",
                           "12345678901234567890",
                           "99999999999999999999",
                           "-10000000000000000000",
                           "100000000000000000000000000000000000000",
                           "\xb1",
                           "\x80"}) {
    int64_t value;
    if (parse_integer(text, value)) FAIL("parsed " + quote(text));
  }
  int64_t value;
  CHECK(!parse_integer(std::string_view("1\0", 2), value));
  CHECK(!parse_integer(std::string_view("\0", 1), value));
  // Only the view counts, not what stands behind it.
  CHECK(parse_integer(std::string_view("123456", 3), value));
  CHECK_EQ(value, 123);
}

TEST(number, round_trip) {
  Random random(seed());
  for (int i = 0; i < 300'000; i++) {
    const int64_t value = int64_t(random.next()) >> random.below(64);
    const std::string text = formatted(value);
    CHECK_EQ(text, std::to_string(value));
    int64_t back;
    CHECK(parse_integer(text, back) && back == value);
  }
  int64_t power = 1;
  for (int digits = 1; digits <= 19; digits++) {
    for (int64_t value : {power - 1, power, power + 1, -power, -power + 1, -power - 1}) {
      CHECK_EQ(formatted(value), std::to_string(value));
    }
    CHECK_EQ(ignix::digit_count(uint64_t(power)), digits);
    if (digits > 1) CHECK_EQ(ignix::digit_count(uint64_t(power) - 1), digits - 1);
    if (digits < 19) power *= 10;
  }
  CHECK_EQ(ignix::digit_count(0), 1);
  CHECK_EQ(ignix::digit_count(UINT64_MAX), 20);
}

// A text of bytes that look like numbers, against the C library's way and back.
TEST(number, random_texts) {
  Random random(seed());
  for (int i = 0; i < 300'000; i++) {
    std::string text(random.below(22), '0');
    for (char& c : text) c = "0123456789-+ 9\xff"[random.below(random.one_in(4) ? 15 : 10)];
    int64_t value;
    const bool parsed = parse_integer(text, value);
    long long want = 0;
    const bool scanned = sscanf(text.c_str(), "%lld", &want) == 1;
    CHECK_EQ(parsed, scanned && std::to_string(want) == text);
    if (parsed) CHECK_EQ(value, want);
  }
}

TEST(number, memory_sizes) {
  static constexpr struct {
    const char* text;
    int64_t bytes;
  } kGood[] = {{"0", 0},
               {"100", 100},
               {"100b", 100},
               {"1k", 1000},
               {"1K", 1000},
               {"1kb", 1024},
               {"1Kb", 1024},
               {"1kB", 1024},
               {"64mb", 64 << 20},
               {"64MB", 64 << 20},
               {"3m", 3'000'000},
               {"1g", 1'000'000'000},
               {"2gb", 2LL << 30},
               {"0gb", 0},
               {"9223372036854775807", INT64_MAX},
               {"8589934591gb", 8589934591LL << 30}};
  for (const auto& good : kGood) {
    int64_t bytes = -1;
    if (!parse_memory(good.text, bytes)) FAIL(good.text);
    CHECK_EQ(bytes, good.bytes);
  }
  for (const char* text :
       {"", "mb", "-1", "-1mb", "1 mb", "1mbb", "1t", "1tb", "1bk", "1.5gb", "x", "8589934592gb",
        "9223372036854775808", "9223372036854775807k", "99999999999999999999", "1k b", " 1"}) {
    int64_t bytes;
    if (parse_memory(text, bytes)) FAIL("parsed " + quote(text));
  }
}

TEST(number, letters_without_case) {
  CHECK(equal_ignoring_case("", ""));
  CHECK(equal_ignoring_case("GeT", "gEt"));
  CHECK(equal_ignoring_case("AZaz09_", "azAZ09_"));
  CHECK(!equal_ignoring_case("get", "gets"));
  CHECK(!equal_ignoring_case("get", ""));
  CHECK(!equal_ignoring_case("get", "gut"));
  // Nothing but letters has a case: these pairs differ in the same bit as 'A' and 'a'.
  CHECK(!equal_ignoring_case("@", "`"));
  CHECK(!equal_ignoring_case("[", "{"));
  CHECK(!equal_ignoring_case("\xc1", "\xe1"));
  for (int c = 0; c < 256; c++) {
    const char want = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : char(c);
    CHECK_EQ(ignix::lower_case(char(c)), want);
  }
}

struct GlobCase {
  std::string_view pattern, text;
  bool matches;
};

// What KEYS of Redis 7.0 answers to each.
constexpr GlobCase kGlobCases[] = {
    {"", "", true},
    {"", "a", false},
    {"a", "", false},
    {"abc", "abc", true},
    {"abc", "ab", false},
    {"ab", "abc", false},
    {"abc", "aBc", false},
    {"?", "a", true},
    {"?", "", false},
    {"?", "ab", false},
    {"h?llo", "hxllo", true},
    {"*", "", false},  // see the case below
    {"*", "anything", true},
    {"**", "x", true},
    {"*?", "", false},
    {"*?", "a", true},
    {"?*", "a", true},
    {"a*", "a", true},
    {"a*", "abc", true},
    {"a*", "ba", false},
    {"*a", "bca", true},
    {"*a", "ab", false},
    {"a*c", "ac", true},
    {"a*c", "abcbc", true},
    {"a*c", "abcb", false},
    {"a**b***c", "axbyc", true},
    {"*ab*ab*", "abxab", true},
    {"*ab*ab*", "abxba", false},
    {"*aab", "aaab", true},
    {"foo*bar*baz", "fooxbarbaz", true},
    {"foo*bar*baz", "fooxbabaz", false},
    {"[abc]", "b", true},
    {"[abc]", "d", false},
    {"[abc]", "", false},
    {"[abc]d", "bd", true},
    {"h[^e]llo", "hallo", true},
    {"h[^e]llo", "hello", false},
    {"[^]", "a", true},
    {"[^]*", "abc", true},
    {"[a^]", "^", true},
    {"[a-c]", "b", true},
    {"[a-c]", "-", false},
    {"[a-c]", "d", false},
    {"[c-a]", "b", true},
    {"[a-cx-z]", "y", true},
    {"[^a-c]", "b", false},
    {"[^a-c]", "d", true},
    {"[a-a]", "a", true},
    {"[a-c-e]", "-", true},
    {"[a-c-e]", "e", true},
    {"[a-c-e]", "d", false},
    {"[-a]", "-", true},
    {"[a-]", "-", false},  // a range from 'a' to ']', and no end
    {"[a-]", "]", true},
    {"[a-]", "^", true},
    {"[a-", "-", true},
    {"[a-", "b", false},
    {"[]", "]", false},
    {"[]a", "a", false},
    {"[*]", "*", true},
    {"[*]", "a", false},
    {"[?]x", "?x", true},
    {"[?]x", "ax", false},
    {"[\\]]", "]", true},
    {"[a\\-z]", "-", true},
    {"[a\\-z]", "m", false},
    {"[\\a-c]", "b", false},
    {"[\\", "\\", true},
    {"[a\\", "\\", true},
    {"[abc", "b", true},
    {"[abc", "d", false},
    {"[^abc", "d", true},
    {"[", "[", false},
    {"[", "a", false},
    {"[^", "a", true},
    {"x[ab", "xb", true},
    {"\\*", "*", true},
    {"\\*", "a", false},
    {"\\?", "?", true},
    {"\\[a]", "[a]", true},
    {"\\\\", "\\", true},
    {"\\a", "a", true},
    {"a\\", "a\\", true},
    {"\\", "\\", true},
    {"*\\*", "ab*", true},
    {"*\\*", "ab", false},
    {"*[a-c]", "xyzb", true},
    {"*[^a-c]", "xyzb", false},
    {"*[ab]*[cd]", "xaxxd", true},
    {std::string_view("a\0b", 3), std::string_view("a\0b", 3), true},
    {std::string_view("a\0b", 3), std::string_view("a\0c", 3), false},
    {"a?c", std::string_view("a\0c", 3), true},
    {"\xc3?", "\xc3\xa9", true},
    {"[\x80-\xff]", "\x90", true},
};

TEST(glob, table) {
  for (const GlobCase& c : kGlobCases) {
    if (c.text.empty() && !c.pattern.empty()) continue;
    if (glob_match(c.pattern, c.text, false) != c.matches) {
      FAIL(quote(c.pattern) + " and " + quote(c.text));
    }
  }
}

// As in Redis, whose KEYS * names the empty key by a shortcut.
TEST(glob, not_even_a_star_matches_nothing) {
  CHECK(!glob_match("*", "", false));
  CHECK(!glob_match("**", "", false));
  CHECK(glob_match("", "", false));
}

TEST(glob, ignoring_case) {
  CHECK(glob_match("maxMEM*", "MaxMemory", true));
  CHECK(!glob_match("maxMEM*", "MaxMemory", false));
  CHECK(glob_match("[a-c]X", "Bx", true));
  CHECK(glob_match("[A-C]X", "bx", true));
  CHECK(!glob_match("[A-C]X", "bx", false));
  CHECK(glob_match("[^a]", "b", true));
  CHECK(!glob_match("[^a]", "A", true));
  CHECK(glob_match("\\A", "a", true));
  CHECK(!glob_match("[", "{", true));
}

// The plain recursion of the definition, for patterns of letters, stars and question marks.
bool glob_by_definition(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == '*') {
    return glob_by_definition(pattern.substr(1), text) ||
           (!text.empty() && glob_by_definition(pattern, text.substr(1)));
  }
  if (text.empty() || (pattern[0] != '?' && pattern[0] != text[0])) return false;
  return glob_by_definition(pattern.substr(1), text.substr(1));
}

TEST(glob, random_patterns) {
  Random random(seed());
  for (int i = 0; i < 200'000; i++) {
    std::string pattern(random.below(8), 'a'), text(random.below(10), 'a');
    for (char& c : pattern) c = "ab*?"[random.below(4)];
    for (char& c : text) c = "ab"[random.below(2)];
    if (text.empty()) continue;
    if (glob_match(pattern, text, false) != glob_by_definition(pattern, text)) {
      FAIL(quote(pattern) + " and " + quote(text) + "; " + how_to_repeat());
    }
  }
}

// Patterns that take a backtracking matcher longer than anyone waits.
TEST(glob, no_pattern_takes_forever) {
  const std::string text(20'000, 'a');
  std::string stars;
  for (int i = 0; i < 50; i++) stars += "a*";
  CHECK(!glob_match("a*a*a*a*b", text, false));
  CHECK(!glob_match(stars + "b", text, false));
  CHECK(!glob_match(stars + "[^a]", text, false));
  CHECK(!glob_match("*?*?*?*?*?*?*?*?*?b", text, false));
  CHECK(glob_match(stars + "a", text, false));
  CHECK(glob_match(std::string(10'000, '*') + "a", text, false));
}

}  // namespace
}  // namespace test
