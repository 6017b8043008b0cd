// A small seeded generator for tests. The same seed gives the same numbers on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace test {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // 0 .. n-1; n must not be 0. The bias of the remainder does not matter to a test.
  uint64_t below(uint64_t n) { return next() % n; }

  // lowest .. highest, both included.
  int64_t between(int64_t lowest, int64_t highest) {
    return lowest + int64_t(below(uint64_t(highest - lowest) + 1));
  }

  bool one_in(uint64_t n) { return below(n) == 0; }

  template <typename T, size_t N>
  const T& pick(const T (&choices)[N]) {
    return choices[below(N)];
  }

  template <typename Container>
  const auto& pick_from(const Container& choices) {
    return choices[below(choices.size())];
  }

  // Any bytes, among them zero, CR and LF.
  std::string bytes(size_t length) {
    std::string text(length, '\0');
    for (char& c : text) c = char(next());
    return text;
  }

  // Letters only.
  std::string letters(size_t length) {
    std::string text(length, '\0');
    for (char& c : text) c = char('a' + below(26));
    return text;
  }

 private:
  uint64_t state_;
};

}  // namespace test
