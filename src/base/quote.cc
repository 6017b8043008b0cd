#include "base/quote.h"

#include <cstdint>

namespace ignix {
namespace {

// What stands behind the backslash, or 0.
char escape_letter(char c) {
  switch (c) {
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    case '\a':
      return 'a';
    case '\b':
      return 'b';
    case '"':
    case '\\':
      return c;
  }
  return 0;
}

}  // namespace

void append_quoted(std::string& out, std::string_view bytes, size_t limit) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : bytes.substr(0, limit)) {
    if (const char letter = escape_letter(c)) {
      out += '\\';
      out += letter;
    } else if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      out += "\\x";
      out += kHex[uint8_t(c) >> 4];
      out += kHex[c & 15];
    }
  }
  out += '"';
  if (bytes.size() > limit) out += "... (" + std::to_string(bytes.size()) + " bytes)";
}

}  // namespace ignix
