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
    kDamaged,    // at offset(); error() says what is wrong
    kForeign,    // it may be whole; error() says what is there that Ignix does not have
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
  // For how long it has not been used, and how often it was (0 to 255); -1: the file does not say.
  int64_t idle_seconds() const { return idle_seconds_; }
  int frequency() const { return frequency_; }

  // How many keys the file says the current database has; 0 if it does not say.
  uint64_t expected_keys() const { return expected_keys_; }

  // What it is part of, once that has been read: an append-only file.
  bool aof_base() const { return aof_base_; }

  uint64_t entry_offset() const { return entry_offset_; }  // of the type of the current entry
  uint64_t offset() const { return in_.offset(); }
  const std::string& error() const { return in_.error(); }
  // Whether that is all that is wrong: a reader that does not check it finds an end.
  bool has_wrong_checksum() const { return wrong_checksum_; }

 private:
  // Each returns false at the end, or where the input says why.
  bool take_header();
  bool take_end();
  bool take_opcode(uint8_t opcode);
  bool take_aux();
  bool refuse_type(uint8_t type);
  bool foreign(std::string what);
  Result stopped() const;

  RdbInput in_;
  const bool check_checksum_;
  bool wrong_checksum_ = false;
  bool started_ = false, at_end_ = false, aof_base_ = false, foreign_ = false;
  int version_ = 0;
  int db_ = 0;
  int64_t expiry_ms_ = kNoExpiry, idle_seconds_ = -1;
  int frequency_ = -1;
  uint64_t entry_offset_ = 0, expected_keys_ = 0;
  Buffer key_, value_;
};

}  // namespace ignix
