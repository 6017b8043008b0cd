#include "resp/inline.h"

namespace ignix {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\v' || c == '\f';
}

// Fewer than separate words: Redis has it so.
bool ends_word(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\0'; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char unescape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

// Reads a quoted part from in[i], behind its opening quote, and writes it from in[out]. Both move.
// False if the quote is not closed, or closed in the middle of a word.
bool read_quoted(char* in, size_t length, char quote, size_t& i, size_t& out) {
  for (; i < length; i++) {
    if (in[i] == '\0') return false;
    if (in[i] == quote) {
      i++;
      return i == length || in[i] == '\0' || is_space(in[i]);
    }
    if (in[i] == '\\' && i + 1 < length) {
      if (quote == '\'') {
        if (in[i + 1] == '\'') i++;
      } else if (in[i + 1] == 'x' && i + 3 < length && hex_digit(in[i + 2]) >= 0 &&
                 hex_digit(in[i + 3]) >= 0) {
        in[out++] = char(hex_digit(in[i + 2]) * 16 + hex_digit(in[i + 3]));
        i += 3;
        continue;
      } else {
        in[out++] = unescape(in[++i]);
        continue;
      }
    }
    in[out++] = in[i];
  }
  return false;
}

}  // namespace

bool split_inline(std::string_view text, Words& words) {
  // Without quotes the words are parts of the line as it is. With them they are unquoted in a copy,
  // where they only shrink.
  char* line = const_cast<char*>(text.data());
  if (text.find_first_of("\"'") != text.npos) line = words.keep_line(text);
  if (!line) return text.empty();
  const size_t length = text.size(), first_word = words.size();
  size_t i = 0;
  for (;;) {
    while (i < length && is_space(line[i])) i++;
    // Redis stops at a NUL between words, and ends a word at one: its lines are C strings.
    if (i >= length || line[i] == '\0') return true;
    const size_t start = i;
    size_t out = i;
    while (i < length && !ends_word(line[i])) {
      const char c = line[i];
      if (c == '"' || c == '\'') {
        if (!read_quoted(line, length, c, ++i, out)) {
          words.truncate(first_word);
          return false;
        }
        break;
      }
      if (out != i) line[out] = c;
      out++;
      i++;
    }
    if (!words.push({line + start, out - start})) {
      words.truncate(first_word);
      return false;
    }
  }
}

}  // namespace ignix
