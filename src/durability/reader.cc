#include "durability/reader.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/limits.h"
#include "base/number.h"
#include "resp/swar.h"

namespace ignix {
namespace {

constexpr size_t kChunkBytes = 256 << 10;
constexpr size_t kLengthLineMax = 32;

}  // namespace

// The words handed out keep what they point at; the rest of the buffer goes on in another.
bool AofReader::leave_buffer() {
  previous_.clear();
  previous_.swap(buffer_);
  if (!buffer_.append({previous_.data() + start_, previous_.size() - start_})) {
    error_ = "out of memory";
    return false;
  }
  start_ = 0;
  if (moved_) moved_(context_, previous_);
  return true;
}

// Reads until the buffer holds more than before, or the file has ended.
bool AofReader::fill() {
  if (start_ > 0 && !leave_buffer()) return false;
  const size_t missing = needed_bytes_ > buffer_.size() ? needed_bytes_ - buffer_.size() : 0;
  // A length may be damaged and name any size: the room follows what is really there.
  const size_t room = std::max(kChunkBytes, std::min(missing, buffer_.size()));
  if (!buffer_.reserve(room)) {
    error_ = "out of memory for a record of " + std::to_string(needed_bytes_) + " bytes";
    return false;
  }
  const uint64_t left = end_ - (offset_ + buffer_.size());
  ssize_t got;
  do {
    got = read(fd_, buffer_.room(), std::min<uint64_t>(buffer_.room_bytes(), left));
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    error_ = std::string("read failed: ") + strerror(errno);
    return false;
  }
  at_end_ = got == 0;
  buffer_.commit(size_t(got));
  return true;
}

// A line of `kind`, a number and a line end, at buffer_[at]. Moves `at` behind it.
AofReader::Step AofReader::read_length(char kind, size_t& at, int64_t& value) {
  const char* data = buffer_.data();
  const size_t size = buffer_.size();
  // Nearly all: up to seven digits, none of them a zero in front, and ten bytes to look at.
  uint64_t number;
  if (at + 10 <= size && data[at] == kind && data[at + 1] != '0') {
    const unsigned digits = swar_parse_digits(data + at + 1, number);
    if (digits && data[at + digits + 2] == '\n') {
      value = int64_t(number);
      at += digits + 3;
      return Step::kDone;
    }
  }
  if (at >= size) return Step::kMore;
  if (data[at] != kind) {
    error_ = std::string("expected '") + kind + "'";
    return Step::kBad;
  }
  const size_t limit = std::min(size, at + kLengthLineMax);
  size_t end = at + 1;
  while (end < limit && data[end] >= '0' && data[end] <= '9') end++;
  if (end == size || (end + 1 == size && data[end] == '\r')) return Step::kMore;
  if (data[end] != '\r' || data[end + 1] != '\n' ||
      !parse_integer({data + at + 1, end - at - 1}, value)) {
    error_ = "expected a number and a line end";
    return Step::kBad;
  }
  at = end + 2;
  return Step::kDone;
}

// "#TS:" and the time: a line that Redis puts between records if aof-timestamp-enabled. It is no
// part of any.
AofReader::Step AofReader::skip_timestamp() {
  constexpr std::string_view kStart = "#TS:";
  const size_t limit = std::min(buffer_.size(), start_ + kLengthLineMax);
  size_t at = start_;
  for (char c : kStart) {
    if (at == limit) return Step::kMore;
    if (buffer_.data()[at++] != c) {
      error_ = "expected '*'";
      return Step::kBad;
    }
  }
  at--;  // ':' takes the place of a kind
  int64_t seconds;
  const Step step = read_length(':', at, seconds);
  if (step != Step::kDone) return step;
  offset_ += at - start_;
  start_ = at;
  return Step::kDone;
}

AofReader::Step AofReader::read_record(Words& words) {
  size_t at = start_;
  int64_t count, length;
  Step step = read_length('*', at, count);
  if (step != Step::kDone) return step;
  if (count < 1 || count > kMultibulkCountMax) {
    error_ = "a command of " + std::to_string(count) + " words";
    return Step::kBad;
  }
  for (int64_t i = 0; i < count; i++) {
    reached_bytes_ = at - start_;
    step = read_length('$', at, length);
    if (step != Step::kDone) return step;
    if (uint64_t(length) > kStoredStringBytesMax) {
      error_ = "a word of " + std::to_string(length) + " bytes";
      return Step::kBad;
    }
    const size_t end = at + size_t(length) + 2;
    needed_bytes_ = reached_bytes_ = end - start_;
    if (buffer_.size() < end) return Step::kMore;
    const char* word = buffer_.data() + at;
    if (word[length] != '\r' || word[length + 1] != '\n') {
      error_ = "expected a line end behind a word";
      return Step::kBad;
    }
    words.push_back({word, size_t(length)});
    at = end;
  }
  record_bytes_ = at - start_;
  return Step::kDone;
}

AofReader::Result AofReader::next(Words& words) {
  start_ += record_bytes_;
  offset_ += record_bytes_;
  record_bytes_ = needed_bytes_ = 0;
  reached_bytes_ = 0;
  for (;;) {
    if (buffer_.size() > start_) {
      const size_t first_word = words.size();
      const bool is_timestamp = buffer_.data()[start_] == '#';
      const Step step = is_timestamp ? skip_timestamp() : read_record(words);
      if (step == Step::kDone && is_timestamp) continue;
      if (step == Step::kDone) return Result::kRecord;
      words.truncate(first_word);
      if (step == Step::kBad) return Result::kDamaged;
    }
    if (at_end_) {
      reached_bytes_ = end_ - offset_;
      return buffer_.size() == start_ ? Result::kEnd : Result::kTruncated;
    }
    if (!fill()) return Result::kFailed;
  }
}

}  // namespace ignix
