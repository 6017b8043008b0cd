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

  // Does not own the descriptor, which stands at byte `offset`. What records' words point at stays
  // for a while: now and then next() calls `before_move(context)`, if there is one, and gives up
  // what words pointed at that were handed out before the last such call.
  explicit AofReader(int fd, uint64_t offset = 0, void (*before_move)(void*) = nullptr,
                     void* context = nullptr)
      : fd_(fd), before_move_(before_move), context_(context), offset_(offset) {}

  // Before next(): the file ends at byte `end`, for this reader.
  void limit(uint64_t end) { end_ = end; }

  Result next(Words& words);

  // Where the current record starts, or the file ends.
  uint64_t offset() const { return offset_; }
  const std::string& error() const { return error_; }

 private:
  enum class Step { kDone, kMore, kBad };

  Step skip_timestamp();
  Step read_record(Words& words);
  Step read_length(char kind, size_t& at, int64_t& value);
  bool leave_buffer();
  bool fill();

  int fd_;
  void (*before_move_)(void*);
  void* context_;
  bool at_end_ = false;
  size_t start_ = 0;  // of the current record, in buffer_
  uint64_t offset_;
  uint64_t end_ = UINT64_MAX;
  size_t record_bytes_ = 0;   // of the record handed out last
  size_t needed_bytes_ = 0;   // a lower bound of the record's length, while it is incomplete
  Buffer buffer_, previous_;  // to read from; what older words point at
  std::string error_;
};

}  // namespace ignix
