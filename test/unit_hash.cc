// hash_bytes against SipHash written once more, byte by byte, from the paper's description.
#include <cmath>
#include <string>
#include <unordered_set>

#include "base/hash.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

using ignix::hash_bytes;
using ignix::HashSecret;

uint64_t rotated(uint64_t x, unsigned bits) { return (x << bits) | (x >> (64 - bits)); }

struct Sip {
  uint64_t v[4];

  // Half a round: two of the four add-rotate-xor steps side by side.
  void half(int a, int b, int c, int d, unsigned rotate_b, unsigned rotate_d) {
    v[a] += v[b];
    v[c] += v[d];
    v[b] = rotated(v[b], rotate_b) ^ v[a];
    v[d] = rotated(v[d], rotate_d) ^ v[c];
    v[a] = rotated(v[a], 32);
  }
  void rounds(int count) {
    for (int i = 0; i < count; i++) {
      half(0, 1, 2, 3, 13, 16);
      half(2, 1, 0, 3, 17, 21);
    }
  }
};

// SipHash-c-d. The message is filled up with zeros to whole words, the last byte being its length.
uint64_t sip_hash(int c, int d, const HashSecret& key, const std::string& text) {
  std::string message = text;
  while (message.size() % 8 != 7) message += '\0';
  message += char(text.size());
  Sip sip = {{key.a ^ 0x736f6d6570736575u, key.b ^ 0x646f72616e646f6du, key.a ^ 0x6c7967656e657261u,
              key.b ^ 0x7465646279746573u}};
  for (size_t at = 0; at < message.size(); at += 8) {
    uint64_t word = 0;
    for (size_t i = 8; i-- > 0;) word = word << 8 | uint8_t(message[at + i]);
    sip.v[3] ^= word;
    sip.rounds(c);
    sip.v[0] ^= word;
  }
  sip.v[2] ^= 0xff;
  sip.rounds(d);
  return sip.v[0] ^ sip.v[1] ^ sip.v[2] ^ sip.v[3];
}

constexpr HashSecret kPaperKey = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

// Appendix A of the paper: the bytes 0 to 14 under the key of bytes 0 to 15.
TEST(hash, reference_gives_the_value_of_the_paper) {
  std::string message;
  for (int i = 0; i < 15; i++) message += char(i);
  CHECK_EQ(sip_hash(2, 4, kPaperKey, message), 0xa129ca6149be45e5u);
}

TEST(hash, equals_the_reference) {
  Random random(seed());
  for (size_t length = 0; length <= 64; length++) {
    for (int i = 0; i < 200; i++) {
      const HashSecret secret = {random.next(), random.next()};
      const std::string text = random.bytes(length);
      CHECK_EQ(hash_bytes(secret, text), sip_hash(1, 3, secret, text));
    }
  }
  for (size_t length : {255, 256, 257, 1000, 65'537}) {
    const std::string text = random.bytes(length);
    CHECK_EQ(hash_bytes(kPaperKey, text), sip_hash(1, 3, kPaperKey, text));
  }
}

// Neither where the text stands nor what is around it counts.
TEST(hash, alignment_does_not_matter) {
  Random random(seed());
  for (size_t length = 0; length <= 24; length++) {
    const std::string text = random.bytes(length);
    const uint64_t want = hash_bytes(kPaperKey, text);
    for (size_t offset = 0; offset < 8; offset++) {
      const std::string around = random.bytes(offset) + text + random.bytes(8);
      CHECK_EQ(hash_bytes(kPaperKey, std::string_view(around).substr(offset, length)), want);
    }
  }
}

TEST(hash, every_bit_counts) {
  Random random(seed());
  for (size_t length = 1; length <= 20; length++) {
    std::string text = random.bytes(length);
    std::unordered_set<uint64_t> seen = {hash_bytes(kPaperKey, text)};
    for (size_t bit = 0; bit < 8 * length; bit++) {
      text[bit / 8] = char(text[bit / 8] ^ 1 << bit % 8);
      CHECK(seen.insert(hash_bytes(kPaperKey, text)).second);
      text[bit / 8] = char(text[bit / 8] ^ 1 << bit % 8);
    }
    CHECK(seen.insert(hash_bytes(kPaperKey, text + '\0')).second);
    CHECK(seen.insert(hash_bytes({kPaperKey.a ^ 1, kPaperKey.b}, text)).second);
    CHECK(seen.insert(hash_bytes({kPaperKey.a, kPaperKey.b ^ 1}, text)).second);
  }
}

// Stripes and buckets are chosen by low bits, fingerprints are the top byte.
TEST(hash, spreads_evenly) {
  constexpr int kKeys = 200'000, kCells = 256;
  constexpr unsigned kShifts[] = {0, 6, 12, 56};
  for (const char* prefix : {"", "key:", "user:000000000"}) {
    int counts[4][kCells] = {};
    for (int i = 0; i < kKeys; i++) {
      const uint64_t hash = hash_bytes(kPaperKey, prefix + std::to_string(i));
      for (int s = 0; s < 4; s++) counts[s][hash >> kShifts[s] & (kCells - 1)]++;
    }
    for (auto& cells : counts) {
      const double mean = double(kKeys) / kCells;
      double chi_square = 0;
      for (int count : cells) chi_square += (count - mean) * (count - mean) / mean;
      // 255 degrees of freedom: mean 255, deviation 22.6. Five deviations either way; the numbers
      // are always the same, so this fails for good or never.
      CHECK(std::fabs(chi_square - 255) < 113);
    }
  }
}

TEST(hash, secrets_differ) {
  const HashSecret a = ignix::random_hash_secret(), b = ignix::random_hash_secret();
  CHECK(a.a != b.a && a.b != b.b && a.a != a.b);
}

}  // namespace
}  // namespace test
