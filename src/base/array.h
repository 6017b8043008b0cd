// A growable run of plain values, for what is as long as a client wants it: growth may fail, and
// says so, where a std::vector would end the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

namespace ignix {

template <typename T>
class Array {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  Array() = default;
  ~Array() { free(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }
  const T& back() const { return data_[size_ - 1]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

  // These are false if there is no memory: then nothing has changed. `value` and `from` are not of
  // this array.
  [[nodiscard]] bool reserve(size_t count) { return count <= capacity_ || grow(count); }
  [[nodiscard]] bool push(const T& value) {
    if (size_ == capacity_ && !grow(size_ + 1)) return false;
    data_[size_++] = value;
    return true;
  }
  // The same where reserve() has made the room.
  void put(const T& value) { data_[size_++] = value; }
  [[nodiscard]] bool append(const T* from, size_t count) {
    if (!reserve(size_ + count)) return false;
    for (size_t i = 0; i < count; i++) data_[size_++] = from[i];
    return true;
  }
  // What is new has no value yet.
  [[nodiscard]] bool resize(size_t count) {
    if (!reserve(count)) return false;
    size_ = count;
    return true;
  }

  void truncate(size_t count) { size_ = count; }
  void clear() { size_ = 0; }
  void remove_front(size_t count) {
    size_ -= count;
    if (size_ > 0) memmove(static_cast<void*>(data_), data_ + count, size_ * sizeof(T));
  }
  // Gives the memory back; empty afterwards.
  void release() {
    free(data_);
    data_ = nullptr;
    size_ = capacity_ = 0;
  }
  void swap(Array& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  // By doubling, so that one more costs the same however many there are.
  bool grow(size_t count) {
    constexpr size_t kLeast = 8;
    if (count < 2 * capacity_) count = 2 * capacity_;
    if (count < kLeast) count = kLeast;
    if (count > PTRDIFF_MAX / sizeof(T)) return false;
    void* const grown = realloc(static_cast<void*>(data_), count * sizeof(T));
    if (!grown) return false;
    data_ = static_cast<T*>(grown);
    capacity_ = count;
    return true;
  }

  T* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace ignix
