// A connection's output, against a plain string.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/output.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

using ignix::Output;

int live_pieces = 0;

ignix::SharedBytes shared(const std::string& text) {
  live_pieces++;
  std::string* owned = new std::string(text);
  return {*owned, owned, [](void* owner) {
            delete static_cast<std::string*>(owner);
            live_pieces--;
          }};
}

std::string contents(const Output& output) {
  if (output.is_plain()) return std::string(output.data(), output.size());
  iovec pieces[1024];
  std::string text;
  for (int i = 0, count = output.gather(pieces, 1024); i < count; i++) {
    text.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  }
  return text;
}

TEST(output, random_against_a_string) {
  Random random(seed());
  for (int round = 0; round < 300; round++) {
    Output output;
    std::string model;
    size_t consumed = 0;
    std::vector<size_t> joints;  // between pieces, from the first byte ever
    for (int step = 0; step < 60; step++) {
      const std::string text(random.below(40), char('a' + step % 26));
      const size_t before = model.size();
      switch (random.below(7)) {
        case 0:
        case 1:
          CHECK(output.append(text));
          model += text;
          break;
        case 2:
          CHECK(output.append_shared(shared(text)));
          model += text;
          break;
        case 3: {  // what a reply does that is taken back
          CHECK(output.append("$1\r\n"));
          CHECK(output.append_shared(shared(text + "x")));
          if (random.below(2)) CHECK(output.append("\r\n"));
          output.truncate(before);
          break;
        }
        case 4: {
          const size_t bytes = random.below(model.size() + 1);
          output.consume(bytes);
          model.erase(0, bytes);
          consumed += bytes;
          break;
        }
        case 6: {
          if (joints.empty()) break;
          const size_t joint = std::max(consumed, joints[random.below(joints.size())]);
          Output front;
          if (random.below(2)) CHECK(front.append("front"));
          const std::string before_it = contents(front);
          CHECK(output.move_front(joint - consumed, front));
          CHECK_EQ(contents(front), before_it + model.substr(0, joint - consumed));
          CHECK_EQ(contents(output), model.substr(joint - consumed));
          CHECK(output.move_front(output.size(), front));
          CHECK(output.empty());
          front.consume(before_it.size());
          front.swap(output);
          break;
        }
        case 5: {
          Output other;
          other.swap(output);
          CHECK_EQ(output.size(), 0u);
          output.swap(other);
        }
      }
      joints.push_back(consumed + model.size());
      CHECK_EQ(output.size(), model.size());
      CHECK_EQ(contents(output), model);
      if (model.empty()) CHECK(output.empty());
    }
  }
  CHECK_EQ(live_pieces, 0);
}

// More pieces than one send takes: what gather() leaves out comes with the next.
TEST(output, gather_in_parts) {
  Output output;
  std::string model, sent;
  for (int i = 0; i < 500; i++) {
    const std::string text = std::to_string(i) + ",";
    CHECK(output.append("[" + text));
    CHECK(output.append_shared(shared(text)));
    model += "[" + text + text;
  }
  while (!output.empty()) {
    iovec pieces[16];
    size_t bytes = 0;
    const int count = output.is_plain() ? 0 : output.gather(pieces, 16);
    for (int i = 0; i < count; i++) {
      sent.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
      bytes += pieces[i].iov_len;
    }
    if (output.is_plain()) {
      sent.append(output.data(), output.size());
      bytes = output.size();
    }
    CHECK(bytes > 0);
    output.consume(bytes);
  }
  CHECK_EQ(sent, model);
  CHECK_EQ(live_pieces, 0);
}

}  // namespace
}  // namespace test
