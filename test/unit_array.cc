// Arrays whose growth may fail.
#include <string_view>
#include <vector>

#include "base/array.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

using ignix::Array;

TEST(array, does_what_a_vector_does) {
  Random random(seed());
  Array<uint32_t> array;
  std::vector<uint32_t> model;
  for (int i = 0; i < 20'000; i++) {
    const uint32_t value = uint32_t(random.next());
    const size_t count = random.below(model.size() + 1);
    switch (random.below(8)) {
      case 0:
        array.truncate(count);
        model.resize(count);
        break;
      case 1:
        array.remove_front(count / 8);
        model.erase(model.begin(), model.begin() + ptrdiff_t(count / 8));
        break;
      case 2: {
        const std::vector<uint32_t> more(random.below(40), value);
        CHECK(array.append(more.data(), more.size()));
        model.insert(model.end(), more.begin(), more.end());
        break;
      }
      case 3:
        if (random.one_in(50)) {
          array.release();
          model.clear();
        }
        break;
      default:
        CHECK(array.push(value));
        model.push_back(value);
    }
    CHECK_EQ(array.size(), model.size());
    CHECK(std::equal(model.begin(), model.end(), array.begin()));
  }
}

TEST(array, says_when_there_is_no_memory) {
  Array<std::string_view> words;
  CHECK(words.push("first"));
  CHECK(!words.reserve(SIZE_MAX / 2));
  CHECK(!words.reserve(SIZE_MAX / sizeof(std::string_view) + 2));
  CHECK(!words.resize(size_t(1) << 60));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(!words.resize(size_t(1) << 58));  // a sanitizer ends the process that asks for so much
#endif
  CHECK_EQ(words.size(), 1);
  CHECK_EQ(words[0], "first");
}

}  // namespace
}  // namespace test
