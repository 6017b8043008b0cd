// A growable run of bytes: [begin, end) holds data, [end, capacity) is room. Used for what a
// connection has received and for what it has to send.
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>

namespace ignix {

class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { release(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) { swap(other); }
  Buffer& operator=(Buffer&& other) {
    swap(other);
    return *this;
  }

  char* data() { return data_ + begin_; }
  const char* data() const { return data_ + begin_; }
  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  size_t capacity() const { return capacity_; }
  char* room() { return data_ + end_; }
  size_t room_bytes() const { return capacity_ - end_; }

  // Makes at least `bytes` of room behind the data; may move the data. False if there is no memory:
  // then nothing has changed.
  bool reserve(size_t bytes) { return bytes <= room_bytes() || grow(bytes); }

  // `bytes` written to room() become data.
  void commit(size_t bytes) { end_ += bytes; }

  // False if there is no memory.
  bool append(std::string_view bytes) {
    if (!reserve(bytes.size())) return false;
    if (!bytes.empty()) memcpy(room(), bytes.data(), bytes.size());
    end_ += bytes.size();
    return true;
  }

  // Takes bytes off the front, or all but the first `bytes` off the end.
  void consume(size_t bytes) {
    begin_ += bytes;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  // Slides a short rest to the front, so that the room behind it is whole again.
  void compact() {
    constexpr size_t kShort = 4096;
    if (begin_ == 0 || size() > kShort) return;
    memmove(data_, data_ + begin_, size());
    end_ -= begin_;
    begin_ = 0;
  }
  void truncate(size_t bytes) { end_ = begin_ + bytes; }
  void clear() { begin_ = end_ = 0; }

  // Gives the memory back; empty afterwards.
  void release();
  void swap(Buffer& other);

 private:
  bool grow(size_t bytes);

  char* data_ = nullptr;
  size_t begin_ = 0, end_ = 0, capacity_ = 0;
};

}  // namespace ignix
