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
    kRecord,     // `words` holds it, until the next call
    kEnd,        // the file ends behind the last record
    kTruncated,  // the file ends within a record, which starts at offset()
    kDamaged,    // the record at offset() is not one; error() says what is wrong
    kFailed,     // reading or memory failed; error() says why
  };

  // Does not own the descriptor, which stands at byte `offset`.
  explicit AofReader(int fd, uint64_t offset = 0) : fd_(fd), offset_(offset) {}

  Result next(Words& words);

  // Where the current record starts, or the file ends.
  uint64_t offset() const { return offset_; }
  const std::string& error() const { return error_; }

 private:
  enum class Step { kDone, kMore, kBad };

  Step read_record(Words& words);
  Step read_length(char kind, size_t& at, int64_t& value);
  bool fill();

  int fd_;
  bool at_end_ = false;
  uint64_t offset_;
  size_t record_bytes_ = 0;  // of the record handed out last
  size_t needed_bytes_ = 0;  // a lower bound of the record's length, while it is incomplete
  Buffer buffer_;
  std::string error_;
};

}  // namespace ignix
