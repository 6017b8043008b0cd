// The request parser: RESP2 multibulk and inline commands, in place, without a copy. A command
// that has not arrived whole is never parsed again from its start: what is known of it is kept.
//
// Limits and error texts are those of Redis 7.0, as observed. Like Redis, the parser does not look
// at the bytes that stand where a line end must stand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/array.h"
#include "base/limits.h"
#include "base/memory.h"

namespace ignix {

// The words of parsed commands, one command behind the other, until their batch has been run. They
// point into what was received, but for those of inline commands with quotes, which point into
// copies of their lines.
class Words : public Array<std::string_view> {
 public:
  ~Words() { drop_lines(); }

  // Forgets all, and keeps no more memory than most need.
  void reset() {
    drop_lines();
    capacity() > kSpareWords ? release() : clear();
  }

  // A copy that stays until reset(); nullptr if there is no memory.
  char* keep_line(std::string_view line) {
    char* const copy = static_cast<char*>(malloc(line.size() + 1));
    if (!copy) return nullptr;
    memcpy(copy, line.data(), line.size());
    if (lines_.push(copy)) return copy;
    free(copy);
    return nullptr;
  }

  // For those who read files and arguments when the server starts: it ends if there is no memory.
  void push_back(std::string_view word) {
    if (!push(word)) end_without_memory();
  }

 private:
  void drop_lines() {
    for (char* line : lines_) free(line);
    lines_.clear();
  }

  Array<char*> lines_;
};

enum class ParseStatus {
  kCommand,     // one command; `words` has grown by its words (none for an empty one)
  kIncomplete,  // more bytes are needed
  kError,       // the connection cannot go on; `error` holds the text behind "-ERR "
};

class Parser {
 public:
  struct Limits {
    int64_t bulk_bytes;  // proto-max-bulk-len
  };

  // Parses one command. `data` starts where the last complete command ended and holds all that has
  // arrived since; it may have moved, but its first bytes are the same as in the last call that
  // said kIncomplete. After kCommand, consumed() says how many bytes the command took.
  ParseStatus parse(const char* data, size_t length, const Limits& limits, Words& words);

  // Forgets a command that has not arrived whole: its first byte is the next to be parsed.
  void reset() {
    suspended_ = diverted_ = false;
    partial_.release();
  }

  size_t consumed() const { return position_; }
  // After kCommand: whether the command stands, in one piece, as a writer of RESP would put it.
  // Then canonical_bytes(), of its words, may be passed on as they are.
  bool is_canonical() const { return is_canonical_; }
  static std::string_view canonical_bytes(const std::string_view* words, size_t count) {
    const char* const start = words[0].data() - kStartBytes;
    const std::string_view& last = words[count - 1];
    return {start, size_t(last.data() + last.size() + 2 - start)};
  }
  const std::string& error() const { return error_; }

  // The length of the word that is being received, and where it starts, counted from the start of
  // the command; 0 if that is not known. Only after kIncomplete.
  size_t open_word_bytes() const {
    return suspended_ && !diverted_ && bulk_length_ > 0 ? size_t(bulk_length_) : 0;
  }
  size_t open_word_start() const { return position_; }
  // That word, with its line end, is received elsewhere, and stands at `data` by the next call of
  // parse(), for which the stream goes on behind it. False if there is no memory: then nothing has
  // changed.
  bool divert(const char* data);

  // How many bytes are certainly missing to complete the current word; 1 if that is not known.
  // A hint for how much to receive at once.
  size_t missing_bytes(size_t length) const;

  // Bytes of memory kept for a command that has not arrived whole.
  size_t held_bytes() const { return partial_.capacity() * sizeof(Span); }

 private:
  struct Span {
    size_t offset, length;
    const char* diverted;  // the word is not in the stream but here
  };

  static constexpr size_t kStartBytes = 8;  // as "*2\r\n$3\r\n", of a command parsed at once

  bool parse_whole(const char* data, size_t length, const Limits& limits, Words& words);
  ParseStatus parse_multibulk(const char* data, size_t length, const Limits& limits, Words& words);
  ParseStatus parse_inline(const char* data, size_t length, Words& words);
  ParseStatus read_length(const char* data, size_t length, const char* too_long, int64_t& value,
                          bool& valid);
  ParseStatus suspend(const char* data, Words& words, size_t first_word);
  ParseStatus fail(std::string text);

  size_t position_ = 0;       // of the next byte to look at, from the start of the command
  size_t scanned_ = 0;        // inline and length lines: no line end before this offset
  int64_t bulks_left_ = -1;   // -1: the count is not known yet
  int64_t bulk_length_ = -1;  // of the word being received; -1: not known yet
  bool diverted_ = false;     // one of its words was diverted
  bool is_canonical_ = false;
  bool suspended_ = false;  // a part of this command has been parsed by an earlier call
  Array<Span> partial_;     // its words so far, from the start of the command
  std::string error_;
};

}  // namespace ignix
