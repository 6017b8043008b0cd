// LZF: what is compressed comes back, and whatever else is given stays within its bounds.
#include <string>
#include <vector>

#include "base/lzf.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

// Vectors of the exact length, so that a sanitizer sees every byte beyond.
std::vector<char> exact(std::string_view text) { return {text.begin(), text.end()}; }

std::string compress(std::string_view text, size_t out_bytes) {
  const std::vector<char> in = exact(text);
  std::vector<char> out(out_bytes);
  const size_t length = ignix::lzf_compress({in.data(), in.size()}, out.data(), out.size());
  CHECK(length <= out_bytes);
  return {out.data(), length};
}

bool decompress(std::string_view packed, size_t bytes, std::string& text) {
  const std::vector<char> in = exact(packed);
  std::vector<char> out(bytes);
  const bool good = ignix::lzf_decompress({in.data(), in.size()}, out.data(), out.size());
  text.assign(out.data(), out.size());
  return good;
}

size_t most_bytes(size_t bytes) { return bytes + bytes / 32 + 1; }

std::string check_comes_back(const std::string& text) {
  const std::string packed = compress(text, most_bytes(text.size()));
  CHECK(!packed.empty());
  std::string back;
  CHECK(decompress(packed, text.size(), back));
  CHECK(back == text);
  // As much room as it takes is enough, a byte less is not.
  CHECK(compress(text, packed.size()) == packed);
  CHECK(compress(text, packed.size() - 1).empty());
  return packed;
}

std::string any_text(Random& random) {
  const size_t length = random.below(random.one_in(10) ? 100'000 : random.one_in(2) ? 3'000 : 100);
  std::string text;
  while (text.size() <= length) {
    switch (random.below(5)) {
      case 0:
        text += random.bytes(1 + random.below(70));
        break;
      case 1:
        text.append(1 + random.below(600), char(random.below(3)));
        break;
      case 2:
        text += "field" + std::to_string(random.below(100)) + "=";
        break;
      case 3:
        text += random.letters(1);
        break;
      default: {
        // Something again, from near or far.
        const size_t from = random.below(text.size() + 1);
        text += text.substr(from, random.below(400));
      }
    }
  }
  return text;
}

TEST(lzf, comes_back) {
  Random random(seed());
  for (int i = 0; i < 4'000; i++) check_comes_back(any_text(random));
}

TEST(lzf, lengths_and_distances) {
  Random random(seed());
  for (size_t length = 1; length < 700; length++) {
    check_comes_back(std::string(length, 'x'));
    check_comes_back(random.bytes(length));
    const std::string piece = random.bytes(length);
    check_comes_back(piece + piece);
  }
  // Around the greatest distance, and around those of which a table slot knows only the low bits.
  const std::string piece = random.bytes(40);
  for (size_t about : {8192 - 40, 65536 - 40}) {
    for (size_t off = 0; off < 80; off++) {
      check_comes_back(piece + std::string(about - 40 + off, '.') + piece);
    }
  }
}

TEST(lzf, gets_smaller) {
  CHECK(check_comes_back(std::string(1'000'000, 'x')).size() < 12'000);
  std::string text;
  for (int i = 0; i < 200; i++) text += "{\"name\":\"user" + std::to_string(i) + "\",\"age\":30},";
  CHECK(check_comes_back(text).size() < text.size() / 2);
  Random random(seed());
  CHECK(compress(random.bytes(5'000), 4'996).empty());
  CHECK(compress("", 10).empty());
  CHECK(compress("aaaaaaaa", 0).empty());
}

// Cut short, or with other bytes than it had, it is refused or is the compressed form of something
// else.
TEST(lzf, damage) {
  Random random(seed());
  for (int i = 0; i < 300; i++) {
    const std::string text = any_text(random).substr(0, 400);
    const std::string packed = compress(text, most_bytes(text.size()));
    std::string back;
    for (size_t cut = 0; cut < packed.size(); cut++) {
      CHECK(!decompress(std::string_view(packed).substr(0, cut), text.size(), back));
    }
    CHECK(!decompress(packed, text.size() - 1, back));
    CHECK(!decompress(packed, text.size() + 1, back));
    for (int j = 0; j < 100; j++) {
      std::string damaged = packed;
      damaged[random.below(damaged.size())] = char(random.next());
      decompress(damaged, text.size(), back);
    }
  }
}

}  // namespace
}  // namespace test
