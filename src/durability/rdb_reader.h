// Reads RDB files (durability/rdb.h), of Redis up to version 12 of the format, entry by entry.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "durability/rdb_input.h"
#include "store/entry.h"

namespace ignix {

class RdbReader {
 public:
  enum class Result {
    kEntry,      // db(), key(), value() and expiry_ms() hold it, until the next call
    kEnd,        // the file is whole; what follows it starts at offset()
    kTruncated,  // it ends too early
    kDamaged,    // at offset(); error() says what is wrong, or what Ignix does not have
    kFailed,     // reading or memory failed; error() says why
  };

  // Does not own the descriptor, which stands at the beginning.
  explicit RdbReader(int fd, bool check_checksum = true)
      : in_(fd, check_checksum), check_checksum_(check_checksum) {}

  Result next();

  int db() const { return db_; }
  std::string_view key() const { return {key_.data(), key_.size()}; }
  std::string_view value() const { return {value_.data(), value_.size()}; }
  int64_t expiry_ms() const { return expiry_ms_; }

  uint64_t offset() const { return in_.offset(); }
  const std::string& error() const { return in_.error(); }

 private:
  // Each returns false at the end, or where the input says why.
  bool take_header();
  bool take_end();
  bool take_opcode(uint8_t opcode);
  bool skip_string() { return in_.take_string(scratch_); }
  Result stopped() const;

  RdbInput in_;
  const bool check_checksum_;
  bool started_ = false, at_end_ = false;
  int version_ = 0;
  int db_ = 0;
  int64_t expiry_ms_ = kNoExpiry;
  Buffer key_, value_, scratch_;
};

}  // namespace ignix
