// On paper: a GET of a 16-byte key is `*2\r\n$3\r\nGET\r\n$16\r\n<16 bytes>\r\n`, three numbers.
// Each is found, checked and converted from one 8-byte load with a dozen instructions and no branch
// on its length. What does not fit this (numbers of 8 digits and more, the last bytes of a read)
// goes byte by byte.
#include "resp/parser.h"

#include <algorithm>
#include <cstring>

#include "base/limits.h"
#include "base/number.h"
#include "resp/inline.h"
#include "resp/swar.h"

namespace ignix {
namespace {

constexpr const char* kNoMemory = "out of memory";

bool is_line_end(const char* p) { return memcmp(p, "\r\n", 2) == 0; }

}  // namespace

ParseStatus Parser::fail(std::string text) {
  error_ = std::move(text);
  return ParseStatus::kError;
}

// Keeps the words found so far as offsets, since the bytes may move before the next call.
ParseStatus Parser::suspend(const char* data, Words& words, size_t first_word) {
  for (size_t i = first_word; i < words.size(); i++) {
    if (!partial_.push({size_t(words[i].data() - data), words[i].size(), nullptr})) {
      return fail(kNoMemory);
    }
  }
  words.truncate(first_word);
  suspended_ = true;
  return ParseStatus::kIncomplete;
}

// The number between position_ + 1 and the line end. Moves position_ behind the line when it is
// whole, else says kIncomplete (or kError with `too_long`).
ParseStatus Parser::read_length(const char* data, size_t length, const char* too_long,
                                int64_t& value, bool& valid) {
  const size_t start = position_ + 1;
  if (start + 9 <= length) {
    uint64_t number;
    const unsigned digits = swar_parse_digits(data + start, number);
    // A leading zero is an error to Redis, except for zero itself.
    if (digits && (data[start] != '0' || digits == 1)) {
      value = int64_t(number);
      valid = true;
      position_ = start + digits + 2;
      return ParseStatus::kCommand;
    }
  }
  const size_t from = std::max(scanned_, position_);
  const void* end = from < length ? memchr(data + from, '\r', length - from) : nullptr;
  if (!end) {
    scanned_ = length;
    if (length - position_ > kInlineBytesMax) return fail(too_long);
    return ParseStatus::kIncomplete;
  }
  const size_t line_end = size_t(static_cast<const char*>(end) - data);
  if (line_end + 2 > length) {
    scanned_ = line_end;
    return ParseStatus::kIncomplete;
  }
  valid = parse_integer({data + start, line_end - start}, value);
  position_ = line_end + 2;
  scanned_ = position_;
  return ParseStatus::kCommand;
}

ParseStatus Parser::parse_multibulk(const char* data, size_t length, const Limits& limits,
                                    Words& words) {
  const size_t first_word = words.size();
  int64_t value;
  bool valid;
  if (bulks_left_ < 0) {
    const ParseStatus status =
        read_length(data, length, "Protocol error: too big mbulk count string", value, valid);
    if (status == ParseStatus::kIncomplete) return suspend(data, words, first_word);
    if (status != ParseStatus::kCommand) return status;
    if (!valid || value > kMultibulkCountMax)
      return fail("Protocol error: invalid multibulk length");
    bulks_left_ = value > 0 ? value : 0;
  }
  while (bulks_left_ > 0) {
    if (bulk_length_ < 0) {
      if (position_ >= length) return suspend(data, words, first_word);
      // As in Redis, the kind of the word is looked at once its length line is whole.
      const char kind = data[position_];
      const ParseStatus status =
          read_length(data, length, "Protocol error: too big bulk count string", value, valid);
      if (status == ParseStatus::kIncomplete) return suspend(data, words, first_word);
      if (status != ParseStatus::kCommand) return status;
      if (kind != '$') return fail(std::string("Protocol error: expected '$', got '") + kind + "'");
      if (!valid || value < 0 || value > limits.bulk_bytes) {
        return fail("Protocol error: invalid bulk length");
      }
      bulk_length_ = value;
    }
    if (length < position_ || length - position_ < size_t(bulk_length_) + 2) {
      return suspend(data, words, first_word);
    }
    if (!words.push({data + position_, size_t(bulk_length_)})) return fail(kNoMemory);
    position_ += size_t(bulk_length_) + 2;
    bulk_length_ = -1;
    bulks_left_--;
  }
  return ParseStatus::kCommand;
}

ParseStatus Parser::parse_inline(const char* data, size_t length, Words& words) {
  const void* end = scanned_ < length ? memchr(data + scanned_, '\n', length - scanned_) : nullptr;
  if (!end) {
    scanned_ = length;
    if (length > kInlineBytesMax) return fail("Protocol error: too big inline request");
    suspended_ = true;
    return ParseStatus::kIncomplete;
  }
  size_t line_length = size_t(static_cast<const char*>(end) - data);
  position_ = line_length + 1;
  if (line_length && data[line_length - 1] == '\r') line_length--;
  if (!words.reserve(words.size() + line_length / 2 + 1)) return fail(kNoMemory);
  if (!split_inline({data, line_length}, words)) {
    return fail("Protocol error: unbalanced quotes in request");
  }
  return ParseStatus::kCommand;
}

// A command of one to nine words that has arrived whole, as nearly all do, with all that is known
// of it in registers. False for anything else, errors included: then nothing has happened.
bool Parser::parse_whole(const char* data, size_t length, const Limits& limits, Words& words) {
  unsigned count;
  uint64_t bytes;
  if (length < 8 || !swar_parse_start(data, count, bytes)) return false;
  const size_t first_word = words.size();
  const char* p = data + kStartBytes;
  const char* const end = data + length;
  bool line_ends = true;
  for (;; p += 2) {
    if (size_t(end - p) < bytes + 2 || int64_t(bytes) > limits.bulk_bytes) break;
    if (!words.push({p, bytes})) break;
    p += bytes;
    line_ends &= is_line_end(p);
    if (--count == 0) break;
    if (end - p < 11 || p[2] != '$' || (p[3] == '0' && p[4] != '\r')) break;
    const unsigned digits = swar_parse_digits(p + 3, bytes);
    if (!digits || digits > 6) break;  // of 11 bytes: so the line end is there too
    p += digits + 3;
    line_ends &= is_line_end(p);
  }
  if (count > 0) {
    words.truncate(first_word);
    return false;
  }
  position_ = size_t(p - data) + 2;
  is_canonical_ = line_ends;
  return true;
}

ParseStatus Parser::parse(const char* data, size_t length, const Limits& limits, Words& words) {
  if (!suspended_) {
    if (parse_whole(data, length, limits, words)) return ParseStatus::kCommand;
    is_canonical_ = false;
    position_ = scanned_ = 0;
    bulks_left_ = bulk_length_ = -1;
  }
  if (length == 0) return ParseStatus::kIncomplete;
  if (data[0] != '*') {
    const ParseStatus status = parse_inline(data, length, words);
    if (status == ParseStatus::kCommand) suspended_ = false;
    return status;
  }
  const size_t first_word = words.size();
  const ParseStatus status = parse_multibulk(data, length, limits, words);
  if (status != ParseStatus::kCommand || !suspended_) return status;
  // The words of the earlier calls stand before those of this one.
  const size_t fresh = words.size() - first_word;
  if (!words.resize(words.size() + partial_.size())) return fail(kNoMemory);
  for (size_t i = fresh; i-- > 0;) {
    words[first_word + partial_.size() + i] = words[first_word + i];
  }
  for (size_t i = 0; i < partial_.size(); i++) {
    const Span& span = partial_[i];
    words[first_word + i] = {span.diverted ? span.diverted : data + span.offset, span.length};
  }
  reset();
  return status;
}

bool Parser::divert(const char* data) {
  if (!partial_.push({0, size_t(bulk_length_), data})) return false;
  bulk_length_ = -1;
  bulks_left_--;
  diverted_ = true;
  return true;
}

size_t Parser::missing_bytes(size_t length) const {
  if (!suspended_ || bulk_length_ < 0) return 1;
  const size_t wanted = position_ + size_t(bulk_length_) + 2;
  return wanted > length ? wanted - length : 1;
}

}  // namespace ignix
