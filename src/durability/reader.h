// Reads an append-only file, record by record. Strict, unlike the parser of requests: a byte that
// is not what the format wants is damage.
#pragma once

#include <cstdint>
#include <string>

#include "base/buffer.h"
#include "resp/parser.h"

namespace ignix {

class AofReader {
 public:
  enum class Result {
    kRecord,     // its words have been appended to `words`
    kEnd,        // the file ends behind the last record
    kTruncated,  // the file ends within a record, which starts at offset()
    kDamaged,    // the record at offset() is not one; error() says what is wrong
    kFailed,     // reading or memory failed; error() says why
  };

  // Does not own the descriptor, which stands at byte `offset`. Now and then next() goes on in
  // another buffer. What words point at that were handed out before is in the old one, which
  // `moved(context, old)`, if there is such a function, may swap for an empty one; what it does not
  // take is overwritten the next time.
  using Moved = void (*)(void* context, Buffer& old);
  explicit AofReader(int fd, uint64_t offset = 0, Moved moved = nullptr, void* context = nullptr)
      : fd_(fd), moved_(moved), context_(context), offset_(offset) {}

  // Before next(): the file ends at byte `end`, for this reader.
  void limit(uint64_t end) { end_ = end; }

  Result next(Words& words);

  // Where the current record starts, or the file ends.
  uint64_t offset() const { return offset_; }
  // After kDamaged: up to here the record was what it has to be, or is a word of the length it
  // says. After kTruncated and kEnd: the limit.
  uint64_t reached() const { return offset_ + reached_bytes_; }
  const std::string& error() const { return error_; }

 private:
  enum class Step { kDone, kMore, kBad };

  Step skip_timestamp();
  Step read_record(Words& words);
  Step read_length(char kind, size_t& at, int64_t& value);
  bool leave_buffer();
  bool fill();

  int fd_;
  Moved moved_;
  void* context_;
  bool at_end_ = false;
  size_t start_ = 0;  // of the current record, in buffer_
  uint64_t offset_;
  uint64_t end_ = UINT64_MAX;
  size_t record_bytes_ = 0;     // of the record handed out last
  uint64_t reached_bytes_ = 0;  // of the current one
  size_t needed_bytes_ = 0;     // a lower bound of the record's length, while it is incomplete
  Buffer buffer_, previous_;    // to read from; the one before
  std::string error_;
};

}  // namespace ignix
