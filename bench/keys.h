// Which key comes next, and how it is spelled.
// Nothing here allocates or calls libc while a run is on.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

// splitmix64: one multiply chain per number, good enough to choose keys.
struct Random {
  uint64_t state;

  uint64_t next() {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // Uniform in [0, n).
  uint64_t below(uint64_t n) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * n) >> 64);
  }

  // Uniform in [0, 1).
  double real() { return (next() >> 11) * 0x1p-53; }
};

// Zipf's law over ranks 1 to n by rejection from the inverted integral of x^-s
// (Hörmann and Derflinger 1996): no table of size n, about one trial per sample.
struct Zipf {
  double n, s, low, high;

  Zipf(uint64_t count, double exponent) : n(count), s(exponent) {
    low = integral(1.5) - 1;
    high = integral(n + 0.5);
  }
  double integral(double x) const {
    return s == 1 ? std::log(x) : (std::pow(x, 1 - s) - 1) / (1 - s);
  }
  double inverse(double y) const {
    return s == 1 ? std::exp(y) : std::pow(1 + y * (1 - s), 1 / (1 - s));
  }
  uint64_t sample(Random& random) const {
    while (true) {
      double u = high + random.real() * (low - high);
      double k = std::fmin(n, std::fmax(1, std::floor(inverse(u) + 0.5)));
      if (u >= integral(k + 0.5) - std::pow(k, -s)) return static_cast<uint64_t>(k);
    }
  }
};

// The sequence of key numbers in [0, count).
struct KeyStream {
  enum Order { kUniform, kSequential, kZipf };
  // A Zipf sample costs two or three pow(); so the samples are made before the run and
  // then read round and round.
  static constexpr size_t kZipfSamples = 1 << 22;

  Order order = kUniform;
  uint64_t count = 1;
  uint64_t position = 0;
  Random random{1};
  std::vector<uint32_t> samples;

  KeyStream(Order how, uint64_t n, double exponent, uint64_t seed)
      // Mixed, for a seed that is another's plus some steps of next() would give the same keys.
      : order(how), count(n), random{Random{seed}.next()} {
    if (order != kZipf) return;
    Zipf zipf(n, exponent);
    // Spread the ranks over the key space, so that hot keys are not neighbours.
    uint64_t stride = 2654435761u;
    while (std::gcd(stride, n) != 1) stride += 2;
    samples.resize(kZipfSamples);
    for (uint32_t& key : samples) {
      key = static_cast<uint32_t>((zipf.sample(random) - 1) * stride % n);
    }
  }

  uint64_t next() {
    switch (order) {
      case kUniform:
        return random.below(count);
      case kSequential: {
        uint64_t key = position++;
        if (position == count) position = 0;
        return key;
      }
      case kZipf:
        return samples[position++ & (kZipfSamples - 1)];
    }
    return 0;
  }
};

// Eight decimal digits of value (below 10^8) as the eight bytes to store: the number is cut in
// halves three times, all lanes at once.
inline uint64_t eight_digits(uint32_t value) {
  uint64_t fours = value / 10000 | static_cast<uint64_t>(value % 10000) << 32;
  uint64_t hundreds = ((fours * 10486) >> 20) & 0x0000007f0000007fu;
  uint64_t twos = hundreds | (fours - hundreds * 100) << 16;
  uint64_t tens = ((twos * 103) >> 10) & 0x000f000f000f000fu;
  uint64_t ones = tens | (twos - tens * 10) << 8;
  return ones | 0x3030303030303030u;
}

// How keys are spelled: a prefix, then the number padded with zeros to the length wanted.
struct KeyFormat {
  std::string prefix;
  size_t length;

  std::string zero() const { return prefix + std::string(length - prefix.size(), '0'); }

  // Writes the number's digits so that the last one stands before `end`. The text there is
  // zero() before or an earlier key, spelled by the same format.
  void write(char* end, uint64_t key) const {
    size_t digits = length - prefix.size();
    uint64_t low = eight_digits(key % 100000000);
    if (digits >= 16) {
      uint64_t high = eight_digits(key / 100000000 % 100000000);
      memcpy(end - 8, &low, 8);
      memcpy(end - 16, &high, 8);
    } else if (digits > 8) {
      uint64_t high = eight_digits(key / 100000000 % 100000000);
      memcpy(end - 8, &low, 8);
      memcpy(end - digits, reinterpret_cast<char*>(&high) + 16 - digits, digits - 8);
    } else {
      memcpy(end - digits, reinterpret_cast<char*>(&low) + 8 - digits, digits);
    }
  }
};

// A format with exactly `length` bytes for numbers below `count`. The prefix is cut where the
// digits need its place. An empty format (length 0) when even the digits do not fit.
inline KeyFormat key_format(std::string prefix, size_t length, uint64_t count) {
  size_t digits = std::to_string(count - 1).size();
  if (digits > length) return {"", 0};
  return {prefix.substr(0, length - digits), length};
}
