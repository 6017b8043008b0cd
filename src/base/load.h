// Bytes read as numbers, a word at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ignix {

inline uint64_t load_8(const char* p) {
  uint64_t word;
  memcpy(&word, p, 8);
  return word;
}

inline uint32_t load_4(const char* p) {
  uint32_t word;
  memcpy(&word, p, 4);
  return word;
}

// `length` bytes, 0 to 7, as the low bytes of a word. Two overlapping loads instead of a loop over
// bytes: the branch on the length is the only one.
inline uint64_t load_tail(const char* p, size_t length) {
  if (length >= 4) return load_4(p) | uint64_t(load_4(p + length - 4)) << (8 * (length - 4));
  if (length == 0) return 0;
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(p);
  return bytes[0] | uint64_t(bytes[length / 2]) << (8 * (length / 2)) |
         uint64_t(bytes[length - 1]) << (8 * (length - 1));
}

// memcmp(3) == 0, without a call for the lengths that keys have.
inline bool equal_bytes(const char* a, const char* b, size_t length) {
  if (length > 32) return memcmp(a, b, length) == 0;
  if (length >= 16) {
    return ((load_8(a) ^ load_8(b)) | (load_8(a + 8) ^ load_8(b + 8)) |
            (load_8(a + length - 16) ^ load_8(b + length - 16)) |
            (load_8(a + length - 8) ^ load_8(b + length - 8))) == 0;
  }
  if (length >= 8) {
    return ((load_8(a) ^ load_8(b)) | (load_8(a + length - 8) ^ load_8(b + length - 8))) == 0;
  }
  return load_tail(a, length) == load_tail(b, length);
}

}  // namespace ignix
