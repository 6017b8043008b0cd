// Random numbers for samples: fast, good enough for statistics, and no secret (Vigna's splitmix64).
#pragma once

#include <cstdint>

namespace ignix {

class RandomNumbers {
 public:
  explicit RandomNumbers(uint64_t seed = 0) : state_(seed) {}

  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // 0 to n - 1, of a positive n. Those that come once more often than others do so in one of
  // 2^64 / n draws.
  uint64_t below(uint64_t n) { return uint64_t(static_cast<Wide>(next()) * n >> 64); }

 private:
  __extension__ using Wide = unsigned __int128;
  uint64_t state_;
};

}  // namespace ignix
