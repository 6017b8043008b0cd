#include <string>

#include "base/bits.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

bool bit_of(const std::string& bytes, uint64_t at) {
  return at / 8 < bytes.size() && (uint8_t(bytes[at / 8]) >> (7 - at % 8) & 1);
}

// Mostly of one kind, so that searches are long.
std::string some_bytes(Random& random) {
  std::string bytes(random.below(40), random.one_in(2) ? '\0' : '\xff');
  for (char& c : bytes) {
    if (random.one_in(20)) c = char(random.next());
  }
  return bytes;
}

TEST(bits, as_one_by_one) {
  Random random(seed());
  for (int round = 0; round < 20000; round++) {
    std::string bytes = some_bytes(random);
    uint64_t count = 0;
    int64_t first[2] = {-1, -1};
    for (uint64_t i = 0; i < 8 * bytes.size(); i++) {
      const bool bit = bit_of(bytes, i);
      count += bit;
      if (first[bit] < 0) first[bit] = int64_t(i);
    }
    CHECK_EQ(ignix::count_bits(bytes), count);
    CHECK_EQ(ignix::find_bit(bytes, false), first[0]);
    CHECK_EQ(ignix::find_bit(bytes, true), first[1]);

    const unsigned width = 1 + unsigned(random.below(64));
    const uint64_t offset = random.below(8 * bytes.size() + 70);
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++) value = value << 1 | bit_of(bytes, offset + i);
    CHECK_EQ(ignix::get_bits(bytes, offset, width), value);

    if (offset + width > 8 * bytes.size()) continue;
    const std::string before = bytes;
    const uint64_t fresh = random.next();
    ignix::set_bits(bytes.data(), offset, width, fresh);
    for (uint64_t i = 0; i < 8 * bytes.size(); i++) {
      const bool inside = i >= offset && i < offset + width;
      const bool expected = inside ? fresh >> (width - 1 - (i - offset)) & 1 : bit_of(before, i);
      CHECK_EQ(bit_of(bytes, i), expected);
    }
  }
}

}  // namespace
}  // namespace test
