// Reads RDB files (durability/rdb.h), of Redis up to version 12 of the format, entry by entry.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "store/entry.h"

namespace ignix {

class RdbReader {
 public:
  enum class Result {
    kEntry,      // db(), key(), value() and expiry_ms() hold it, until the next call
    kEnd,        // the file is whole; what follows it starts at offset()
    kTruncated,  // it ends too early
    kDamaged,    // at offset(); error() says what is wrong
    kForeign,    // it may be whole; error() says what is there that Ignix does not have
    kFailed,     // reading or memory failed; error() says why
  };

  // Does not own the descriptor, which stands at the beginning.
  explicit RdbReader(int fd) : fd_(fd) {}

  Result next();

  int db() const { return db_; }
  std::string_view key() const { return {key_.data(), key_.size()}; }
  std::string_view value() const { return {value_.data(), value_.size()}; }
  int64_t expiry_ms() const { return expiry_ms_; }

  // What it is part of, once that has been read: an append-only file.
  bool aof_base() const { return aof_base_; }
  int version() const { return version_; }

  uint64_t entry_offset() const { return entry_offset_; }  // of the type of the current entry
  uint64_t offset() const { return offset_; }
  const std::string& error() const { return error_; }

 private:
  // Each returns false where the file, memory or sense ends; result_ and error_ then say which.
  bool need(size_t bytes);
  void checksum();
  const char* here() const { return buffer_.data() + at_; }
  void pass(size_t bytes) {
    at_ += bytes;
    offset_ += bytes;
  }
  bool take(void* into, size_t bytes);
  bool take_length(uint64_t& length, bool* encoded = nullptr);
  bool take_string(Buffer& into);
  bool take_compressed(Buffer& into);
  bool take_aux();
  bool take_header();
  bool take_end();
  bool take_opcode(uint8_t opcode);
  bool refuse_type(uint8_t type);
  bool damaged(std::string what);
  bool foreign(std::string what);

  template <typename T>
  bool take_number(T& value) {
    return take(&value, sizeof value);
  }

  int fd_;
  bool started_ = false, aof_base_ = false;
  int version_ = 0;
  int db_ = 0;
  int64_t expiry_ms_ = kNoExpiry;
  uint64_t offset_ = 0, entry_offset_ = 0, crc_ = 0;
  Buffer buffer_, key_, value_;
  size_t at_ = 0;  // of the next byte, in buffer_; what is before is not in crc_ yet
  Result result_ = Result::kEntry;
  bool at_end_ = false;  // take_end() has been there
  std::string error_;
};

}  // namespace ignix
