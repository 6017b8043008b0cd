// The request parser: however the bytes arrive, the words are the same.
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "random.h"
#include "resp/inline.h"
#include "resp/parser.h"
#include "resp/swar.h"
#include "runner.h"

namespace test {
namespace {

using ignix::Parser;
using ignix::ParseStatus;
using ignix::swar_parse_digits;
using ignix::Words;

using Command = std::vector<std::string>;

constexpr Parser::Limits kLimits = {ignix::kBulkBytesDefault};

std::string multibulk(const Command& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return text;
}

std::string shown(const std::vector<Command>& commands) {
  std::string text;
  for (const Command& command : commands) {
    text += "(";
    for (const std::string& word : command) text += quote(word, 60) + " ";
    text += ") ";
  }
  return text;
}

// ---- numbers, eight bytes at a time ----

unsigned plain_parse_digits(const char* p, uint64_t& value) {
  value = 0;
  for (unsigned i = 0; i < 8; i++) {
    if (p[i] == '\r') return i;
    if (p[i] < '0' || p[i] > '9') return 0;
    value = value * 10 + unsigned(p[i] - '0');
  }
  return 0;
}

void check_digits(const char* p) {
  uint64_t value = 0, want = 0;
  const unsigned digits = swar_parse_digits(p, value);
  const unsigned want_digits = plain_parse_digits(p, want);
  if (digits != want_digits || (digits && value != want)) {
    FAIL(quote({p, 8}) + ": " + std::to_string(digits) + " digits, " + std::to_string(value));
  }
}

TEST(parser, swar_on_every_number_and_what_follows) {
  Random random(seed());
  char bytes[8];
  for (unsigned digits = 1; digits <= 7; digits++) {
    for (int i = 0; i < 30'000; i++) {
      for (char& c : bytes) c = char(random.next());
      for (unsigned d = 0; d < digits; d++) bytes[d] = char('0' + random.below(10));
      bytes[digits] = '\r';
      check_digits(bytes);
    }
  }
  for (int number = 0; number < 10'000; number++) {
    char text[24] = {};
    snprintf(text, sizeof text, "%d\r\n$3\r\n", number);
    check_digits(text);
  }
}

// Each byte value at each place of a number of each length.
TEST(parser, swar_refuses_what_is_no_digit) {
  for (unsigned digits = 0; digits <= 8; digits++) {
    for (unsigned at = 0; at < 8; at++) {
      for (int c = 0; c < 256; c++) {
        char bytes[9] = "19283746";
        if (digits < 8) bytes[digits] = '\r';
        bytes[at] = char(c);
        check_digits(bytes);
      }
    }
  }
}

TEST(parser, swar_on_random_bytes) {
  Random random(seed());
  for (int i = 0; i < 500'000; i++) {
    char bytes[8];
    for (char& c : bytes)
      c = random.one_in(3) ? char(random.next()) : "0123456789\r\n-:/\x8d\x0c"[random.below(17)];
    check_digits(bytes);
  }
}

// ---- streams ----

// Takes all complete commands out of `stream`, which arrives in the pieces that `next_piece` names.
// The bytes are moved to a fresh block before every call, and the old one is gone.
template <typename NextPiece>
std::vector<Command> parse_in_pieces(std::string_view stream, NextPiece next_piece) {
  std::vector<Command> commands;
  Parser parser;
  Words words;
  size_t start = 0, arrived = 0;
  for (;;) {
    const size_t length = arrived - start;
    std::unique_ptr<char[]> block(new char[length ? length : 1]);
    memcpy(block.get(), stream.data() + start, length);
    const ParseStatus status = parser.parse(block.get(), length, kLimits, words);
    if (status == ParseStatus::kError) FAIL(parser.error());
    if (status == ParseStatus::kCommand) {
      CHECK(parser.consumed() <= length && parser.consumed() > 0);
      start += parser.consumed();
      commands.emplace_back(words.begin(), words.end());
      if (parser.is_canonical()) {
        CHECK_EQ(Parser::canonical_bytes(words.data(), words.size()), multibulk(commands.back()));
      }
      words.reset();
      continue;
    }
    CHECK(words.empty());
    CHECK(parser.missing_bytes(length) >= 1);
    if (arrived == stream.size()) {
      CHECK_EQ(parser.missing_bytes(length), 1);
      CHECK_EQ(start, arrived);
      return commands;
    }
    arrived = std::min(stream.size(), arrived + next_piece());
  }
}

std::vector<Command> parse_whole(std::string_view stream) {
  return parse_in_pieces(stream, [&] { return stream.size(); });
}

void check_same(const std::vector<Command>& got, const std::vector<Command>& want) {
  if (got != want) {
    FAIL("got " + quote(shown(got), 2000) + "\nwant " + quote(shown(want), 2000) + "\n" +
         how_to_repeat());
  }
}

struct Stream {
  std::string text;
  std::vector<Command> commands;
};

size_t random_length(Random& random) {
  static constexpr size_t kLengths[] = {0, 1, 3, 9, 10, 99, 100, 999, 1000, 9999};
  return random.one_in(3) ? random.pick(kLengths) : random.below(40);
}

void add_random_command(Random& random, Stream& stream) {
  static constexpr std::string_view kEmpty[] = {"*0\r\n", "*-1\r\n", "\r\n",
                                                "\n",     "   \r\n", "*-20\r\n"};
  Command command;
  switch (random.below(8)) {
    case 0:
      stream.text += random.pick(kEmpty);
      break;
    case 1:  // inline
      for (uint64_t words = 1 + random.below(5); words-- > 0;) {
        command.push_back(random.letters(1 + random.below(12)));
        stream.text += command.back() + std::string(1 + random.below(2), ' ');
      }
      stream.text += random.one_in(2) ? "\n" : "\r\n";
      break;
    case 2:  // inline with quotes
      command = {"SET", "a b", "it's", "\r\n\x01z"};
      stream.text += "SET \"a b\"  'it\\'s' \"\\r\\n\\x01z\"\r\n";
      break;
    case 3:  // many words
      for (uint64_t words = 10 + random.below(300); words-- > 0;) {
        command.push_back(random.letters(random.below(5)));
      }
      stream.text += multibulk(command);
      break;
    default:
      for (uint64_t words = 1 + random.below(4); words-- > 0;) {
        command.push_back(random.bytes(random_length(random)));
      }
      stream.text += multibulk(command);
  }
  stream.commands.push_back(command);
}

TEST(parser, random_streams_in_random_pieces) {
  Random random(seed());
  for (int round = 0; round < 200; round++) {
    Stream stream;
    for (uint64_t n = 1 + random.below(20); n-- > 0;) add_random_command(random, stream);
    check_same(parse_whole(stream.text), stream.commands);
    for (uint64_t largest : {30, 700, 20'000}) {
      check_same(parse_in_pieces(stream.text, [&] { return 1 + random.below(largest); }),
                 stream.commands);
    }
  }
}

const Stream kFixed = {
    "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nvalue\r\nvalue\r\n"
    "*0\r\nPING\r\n\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n"
    "SET 'a b' \"c\\x00\\n\"\n*-1\r\n*1\r\n$10\r\n*1\r\n$4\r\nPI\r\nGET k\r\n",
    {{"SET", "k", "value\r\nvalue"},
     {},
     {"PING"},
     {},
     {"GET", ""},
     {"SET", "a b", std::string("c\0\n", 3)},
     {},
     {"*1\r\n$4\r\nPI"},
     {"GET", "k"}}};

TEST(parser, every_split_into_two_and_three) {
  const size_t n = kFixed.text.size();
  for (size_t a = 0; a <= n; a++) {
    for (size_t b = a; b <= n; b++) {
      const size_t pieces[] = {a, b - a, n - b};
      size_t i = 0;
      check_same(parse_in_pieces(kFixed.text, [&] { return pieces[i++]; }), kFixed.commands);
    }
  }
  check_same(parse_in_pieces(kFixed.text, [] { return 1; }), kFixed.commands);
}

// Bytes that end where nothing can be read behind them.
class AtTheEdge {
 public:
  AtTheEdge() {
    pages_ = static_cast<char*>(
        mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(pages_ != MAP_FAILED && mprotect(pages_ + kPage, kPage, PROT_NONE) == 0);
  }
  ~AtTheEdge() { munmap(pages_, 2 * kPage); }
  const char* put(std::string_view bytes) {
    char* const start = pages_ + kPage - bytes.size();
    memcpy(start, bytes.data(), bytes.size());
    return start;
  }

 private:
  static constexpr size_t kPage = 4096;
  char* pages_;
};

// Before the last byte of the last word has come no command is complete, however long the words
// are said to be, and nothing is read behind what has come.
TEST(parser, every_length_cut_anywhere) {
  AtTheEdge edge;
  for (const char* start : {"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n", "*2\r\n$4\r\nECHO\r\n", "*1\r\n"}) {
    for (int64_t length = 1; length <= 10'000'000; length *= 10) {
      for (const int64_t bytes : {length, length * 10 - 1}) {
        const std::string text = start + ("$" + std::to_string(bytes)) + "\r\n123456789012";
        const size_t header = text.size() - 12;
        for (size_t cut = 0; cut < header + std::min<size_t>(12, size_t(bytes) + 2); cut++) {
          Parser parser;
          Words words;
          CHECK_EQ(parser.parse(edge.put({text.data(), cut}), cut, kLimits, words),
                   ParseStatus::kIncomplete);
          CHECK(words.empty());
          if (cut >= header) CHECK_EQ(parser.open_word_bytes(), size_t(bytes));
        }
      }
    }
  }
}

// The words of a batch stand one command behind the other.
TEST(parser, words_of_several_commands) {
  const std::string text = multibulk({"SET", "a", "1"}) + "PING 'x'\r\n" + multibulk({"GET", "a"});
  Parser parser;
  Words words;
  size_t at = 0;
  for (size_t total : {3u, 5u, 7u}) {
    CHECK_EQ(parser.parse(text.data() + at, text.size() - at, kLimits, words),
             ParseStatus::kCommand);
    at += parser.consumed();
    CHECK_EQ(words.size(), total);
  }
  CHECK_EQ(at, text.size());
  const char* want[] = {"SET", "a", "1", "PING", "x", "GET", "a"};
  for (size_t i = 0; i < 7; i++) CHECK_EQ(words[i], want[i]);
  // Without a copy: they point into the text.
  CHECK_EQ(size_t(words[0].data() - text.data()), text.find("SET"));
  // A command that is not whole leaves those before it alone.
  const std::string part = multibulk({"DEL", "b", "c"});
  CHECK_EQ(parser.parse(part.data(), part.size() - 2, kLimits, words), ParseStatus::kIncomplete);
  CHECK_EQ(words.size(), 7);
  CHECK_EQ(parser.parse(part.data(), part.size(), kLimits, words), ParseStatus::kCommand);
  CHECK_EQ(words.size(), 10);
  CHECK_EQ(words[6], "a");
  CHECK_EQ(words[7], "DEL");
  CHECK_EQ(words[9], "c");
}

// What has been parsed of a command is not looked at again: with garbage in its place (more than
// the contract allows) the words are found where they should be.
TEST(parser, never_parses_a_byte_twice) {
  constexpr size_t kWords = 200'000, kPieces = 1'000, kLongestWord = 20;
  Random random(seed());
  std::vector<std::pair<size_t, size_t>> want;
  std::string text = "*" + std::to_string(kWords) + "\r\n";
  for (size_t i = 0; i < kWords; i++) {
    const size_t length = random.below(kLongestWord + 1);
    text += "$" + std::to_string(length) + "\r\n";
    want.push_back({text.size(), length});
    text += std::string(length, 'w') + "\r\n";
  }
  std::string seen = text;
  Parser parser;
  Words words;
  for (size_t piece = 1; piece <= kPieces; piece++) {
    const size_t before = text.size() * (piece - 1) / kPieces;
    const size_t length = text.size() * piece / kPieces;
    // A word and its length line take less than 40 bytes. The first byte tells the kind.
    if (before > 41) memset(seen.data() + 1, 'x', before - 41);
    CHECK_EQ(parser.parse(seen.data(), length, kLimits, words),
             piece < kPieces ? ParseStatus::kIncomplete : ParseStatus::kCommand);
    CHECK(parser.held_bytes() <= 2 * kWords * 16 + 1000);
  }
  CHECK_EQ(parser.consumed(), text.size());
  CHECK_EQ(words.size(), kWords);
  for (size_t i = 0; i < kWords; i++) {
    CHECK_EQ(words[i].data() - seen.data(), want[i].first);
    CHECK_EQ(words[i].size(), want[i].second);
  }
  CHECK_EQ(parser.held_bytes(), 0);
}

// The same for the search of a line end.
TEST(parser, line_ends_are_searched_once) {
  for (const std::string start : {"PING ", "*", "*1\r\n$"}) {
    std::string text = start + std::string(60'000, '1');
    Parser parser;
    Words words;
    for (size_t length = 1; length <= text.size(); length += 500) {
      CHECK_EQ(parser.parse(text.data(), length, kLimits, words), ParseStatus::kIncomplete);
      // A line end that comes up behind its back is not seen.
      if (length > start.size() + 20) text[length - 10] = start == "PING " ? '\n' : '\r';
    }
  }
}

TEST(parser, missing_bytes) {
  const std::string text = "*2\r\n$3\r\nSET\r\n$1000\r\n" + std::string(1000, 'x') + "\r\n";
  const size_t value_at = text.find("xxx");
  Parser parser;
  Words words;
  CHECK_EQ(parser.missing_bytes(0), 1);
  for (size_t length = 1; length < text.size(); length++) {
    CHECK_EQ(parser.parse(text.data(), length, kLimits, words), ParseStatus::kIncomplete);
    const size_t missing = parser.missing_bytes(length);
    // Never more than what is really missing, and exact within the long word.
    CHECK(missing >= 1 && missing <= text.size() - length);
    if (length >= value_at) CHECK_EQ(missing, text.size() - length);
  }
  CHECK_EQ(parser.parse(text.data(), text.size(), kLimits, words), ParseStatus::kCommand);
  CHECK_EQ(words.size(), 2);
}

TEST(parser, reset_forgets_a_part) {
  const std::string part = multibulk({"SET", "key", "value"}), whole = multibulk({"GET", "k"});
  for (size_t length = 0; length < part.size(); length++) {
    Parser parser;
    Words words;
    CHECK_EQ(parser.parse(part.data(), length, kLimits, words), ParseStatus::kIncomplete);
    parser.reset();
    CHECK_EQ(parser.missing_bytes(0), 1);
    CHECK_EQ(parser.parse(whole.data(), whole.size(), kLimits, words), ParseStatus::kCommand);
    CHECK_EQ(words.size(), 2);
    CHECK_EQ(words[1], "k");
    CHECK_EQ(parser.consumed(), whole.size());
  }
}

// ---- limits and errors ----

struct Bad {
  std::string text, error;
};

TEST(parser, errors_are_those_of_redis) {
  const std::string many(ignix::kInlineBytesMax, '1');
  const Bad cases[] = {
      {"*x\r\n", "invalid multibulk length"},
      {"*\r\n", "invalid multibulk length"},
      {"*01\r\n", "invalid multibulk length"},
      {"*+1\r\n", "invalid multibulk length"},
      {"* 1\r\n", "invalid multibulk length"},
      {"*1 \r\n", "invalid multibulk length"},
      {"*1\n\r\n", "invalid multibulk length"},
      {"*1.5\r\n", "invalid multibulk length"},
      {"*--1\r\n", "invalid multibulk length"},
      {"*2147483648\r\n", "invalid multibulk length"},
      {"*9223372036854775808\r\n", "invalid multibulk length"},
      {"*99999999999999999999\r\n", "invalid multibulk length"},
      {"*1\r\n$x\r\n", "invalid bulk length"},
      {"*1\r\n$\r\n", "invalid bulk length"},
      {"*1\r\n$-1\r\n", "invalid bulk length"},
      {"*1\r\n$00\r\n", "invalid bulk length"},
      {"*1\r\n$1x\r\n", "invalid bulk length"},
      {"*1\r\n$536870913\r\n", "invalid bulk length"},
      {"*1\r\n$9223372036854775807\r\n", "invalid bulk length"},
      {"*1\r\n$9223372036854775808\r\n", "invalid bulk length"},
      {"*2\r\n$3\r\nGET\r\n$-1\r\n", "invalid bulk length"},
      {"*2147483647\r\n$-1\r\n", "invalid bulk length"},
      {"*1\r\n:4\r\n", "expected '$', got ':'"},
      {"*1\r\nPING\r\n", "expected '$', got 'P'"},
      {"*1\r\n*1\r\n", "expected '$', got '*'"},
      {"*2\r\n$3\r\nGET\r\n+x\r\n", "expected '$', got '+'"},
      {"PING \"a\"b\r\n", "unbalanced quotes in request"},
      {"PING 'a\r\n", "unbalanced quotes in request"},
      {"\"\n", "unbalanced quotes in request"},
      {"*1" + many, "too big mbulk count string"},
      {"*1\r\n$1" + many, "too big bulk count string"},
      {"PING " + many, "too big inline request"},
  };
  for (const Bad& bad : cases) {
    // Whole, and byte by byte.
    for (const size_t first : {bad.text.size(), size_t(1)}) {
      Parser parser;
      Words words;
      ParseStatus status = ParseStatus::kIncomplete;
      for (size_t length = first; length <= bad.text.size(); length++) {
        status = parser.parse(bad.text.data(), length, kLimits, words);
        if (status != ParseStatus::kIncomplete) break;
        if (first == 1 && bad.text.size() > 1000 && length == 100) length = bad.text.size() - 100;
      }
      if (status != ParseStatus::kError) FAIL("no error: " + quote(bad.text, 60));
      CHECK_EQ(parser.error(), "Protocol error: " + bad.error);
    }
  }
}

TEST(parser, just_within_the_limits) {
  const std::string digits(ignix::kInlineBytesMax - 1, '1');
  for (const std::string& text : {"*" + digits, "*1\r\n$" + digits, "P" + digits,
                                  std::string("*2147483647\r\n$536870912\r\n"), std::string("*1"),
                                  std::string("*1\r"), std::string("*1\r\n:4\r")}) {
    Parser parser;
    Words words;
    CHECK_EQ(parser.parse(text.data(), text.size(), kLimits, words), ParseStatus::kIncomplete);
  }
  Parser parser;
  Words words;
  const std::string small = multibulk({"12345"});
  CHECK_EQ(parser.parse(small.data(), small.size(), {5}, words), ParseStatus::kCommand);
  CHECK_EQ(parser.parse(small.data(), small.size(), {4}, words), ParseStatus::kError);
  CHECK_EQ(parser.error(), "Protocol error: invalid bulk length");
}

// As Redis, it takes any two bytes for the line end behind a word, and any byte behind '\r'.
TEST(parser, line_ends_are_not_looked_at) {
  check_same(parse_whole("*1\rX$4\rYPINGab*1\r\n$1\r\nx\r\n"), {{"PING"}, {"x"}});
}

// What may go to the log as it came: only what a writer of RESP would have written.
TEST(parser, canonical_bytes) {
  Parser parser;
  Words words;
  const auto canonical = [&](std::string_view text) {
    words.reset();
    CHECK_EQ(parser.parse(text.data(), text.size(), kLimits, words), ParseStatus::kCommand);
    if (!parser.is_canonical()) return std::string();
    return std::string(Parser::canonical_bytes(words.data(), words.size()));
  };
  const std::string set = multibulk({"SET", "key", std::string(100, 'v')});
  CHECK_EQ(canonical(set), set);
  CHECK_EQ(canonical(set + "PING\r\n"), set);
  CHECK_EQ(canonical("SET key value\r\n"), "");
  CHECK_EQ(canonical("*0\r\n"), "");
  CHECK_EQ(canonical(set), set);
  // Each byte of a line end that is another.
  for (size_t i = 0; i < set.size(); i++) {
    if (set[i] != '\r' && set[i] != '\n') continue;
    std::string odd = set;
    odd[i] = 'x';
    Parser other;
    words.reset();
    if (other.parse(odd.data(), odd.size(), kLimits, words) == ParseStatus::kCommand) {
      CHECK(!other.is_canonical());
    }
  }
}

// ---- inline commands ----

TEST(parser, inline_words) {
  const struct {
    std::string_view line;
    Command words;
  } cases[] = {
      {"", {}},
      {"   ", {}},
      {"GET k", {"GET", "k"}},
      {"\t GET \t k\v", {"GET", "k\v"}},
      {"a\vb \f c", {"a\vb", "c"}},
      {"\"\"", {""}},
      {"'' ''", {"", ""}},
      {"a\"b c\"", {"ab c"}},
      {"\"a\\\"b\"", {"a\"b"}},
      {"'a\\'b\\n'", {"a'b\\n"}},
      {"\"\\n\\r\\t\\b\\a\\\\\\q\"", {"\n\r\t\b\a\\q"}},
      {"\"\\x41\\x4\\xzz\\xFf\"", {"Ax4xzz\xff"}},
      {"\"\\x00\"", {std::string(1, '\0')}},
      {"a\\nb", {"a\\nb"}},
      {"\"a'b\" 'a\"b'", {"a'b", "a\"b"}},
      {std::string_view("a\0b c", 5), {"a"}},
      {"\xff\xfe x", {"\xff\xfe", "x"}},
  };
  for (const auto& c : cases) {
    Words words;
    words.push_back("before");
    if (!ignix::split_inline(c.line, words)) FAIL(quote(c.line));
    const Command got(words.begin() + 1, words.end());
    check_same({got}, {c.words});
  }
  for (std::string_view line : {"\"", "'", "a \"b", "a 'b", "\"a\"b", "'a'b", "\"a\"\"b\"",
                                "\"a\\\"", "'a\\'", "\"\\", "x \"\\x4"}) {
    Words words;
    words.push_back("before");
    if (ignix::split_inline(line, words)) FAIL(quote(line));
    CHECK_EQ(words.size(), 1);
  }
}

// No bytes make it read behind them, loop, or take more than there is.
TEST(parser, random_bytes) {
  Random random(seed());
  AtTheEdge edge;
  static constexpr std::string_view kParts[] = {
      "*", "$",    "\r\n", "\r",   "\n",   "1",  "0",        "-1", "3",      "\"",
      "'", "\\x4", " ",    "PING", "2147", "\\", {"x\0", 2}, ":",  "1048576"};
  for (int i = 0; i < 30'000; i++) {
    std::string text = random.one_in(3) ? "*3\r\n$4\r\nPING\r\n$" : "";
    const Parser::Limits limits = {random.one_in(2) ? 100 : ignix::kBulkBytesDefault};
    for (uint64_t n = random.below(30); n-- > 0;) {
      text += random.one_in(10) ? std::string_view(random.bytes(3)) : random.pick(kParts);
    }
    Parser parser;
    Words words;
    size_t start = 0, arrived = 0;
    while (arrived < text.size() || start < arrived) {
      const size_t length = arrived - start;
      const std::string_view come = std::string_view(text).substr(start, length);
      const ParseStatus status = parser.parse(edge.put(come), length, limits, words);
      if (status == ParseStatus::kError) break;
      if (status == ParseStatus::kCommand) {
        CHECK(parser.consumed() > 0 && parser.consumed() <= length);
        size_t bytes = 0;
        for (std::string_view word : words) bytes += word.size();
        CHECK(bytes <= parser.consumed());
        start += parser.consumed();
        words.reset();
      } else if (arrived == text.size()) {
        break;
      } else {
        arrived = std::min(text.size(), arrived + 1 + random.below(random.one_in(2) ? 6 : 60));
      }
    }
  }
}

}  // namespace
}  // namespace test
