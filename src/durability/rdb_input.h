// The parts that RDB is made of (durability/rdb.h): numbers, lengths and strings, read from a file
// or from memory. It does not know what they mean.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/buffer.h"

namespace ignix {

class RdbInput {
 public:
  enum class Fault {
    kNone,
    kTruncated,  // it ends too early
    kDamaged,    // at offset(); error() says what is wrong
    kFailed,     // reading or memory failed; error() says why
  };

  // Does not own the descriptor, which stands at the beginning.
  explicit RdbInput(int fd, bool with_crc) : fd_(fd), with_crc_(with_crc) {}
  // `bytes` must stay.
  explicit RdbInput(std::string_view bytes)
      : start_(bytes.data()), at_(start_), end_(start_ + bytes.size()) {}
  RdbInput(const RdbInput&) = delete;
  RdbInput& operator=(const RdbInput&) = delete;

  // Each returns false where the input, memory or sense ends; fault() and error() then say which.
  bool take(void* into, size_t bytes) {
    if (!need(bytes)) return false;
    memcpy(into, at_, bytes);
    at_ += bytes;
    return true;
  }
  template <typename T>
  bool take_number(T& value) {
    return take(&value, sizeof value);
  }
  // With `encoded`, the length may be a kind of encoding instead.
  bool take_length(uint64_t& length, bool* encoded = nullptr);
  // In the place of what `into` holds.
  bool take_string(Buffer& into);

  // Always false, as all that fails.
  bool damaged(std::string what) { return fault(Fault::kDamaged, std::move(what)); }

  // Of all that has been taken; of a file without, 0.
  uint64_t crc();
  uint64_t offset() const { return passed_ + uint64_t(at_ - start_); }

  Fault fault() const { return fault_; }
  const std::string& error() const { return error_; }

 private:
  // Makes sure that so many bytes are at at_.
  bool need(size_t bytes) { return size_t(end_ - at_) >= bytes || fill(bytes); }
  bool fill(size_t bytes);
  bool take_plain(Buffer& into, uint64_t length);
  bool take_compressed(Buffer& into);
  bool take_encoded(Buffer& into, uint64_t encoding);
  bool fault(Fault fault, std::string what);

  const int fd_ = -1;  // -1: memory
  const bool with_crc_ = true;
  Buffer buffer_;  // of the file
  const char* start_ = nullptr;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  uint64_t passed_ = 0, crc_ = 0;  // of what was before start_
  Fault fault_ = Fault::kNone;
  std::string error_;
};

}  // namespace ignix
