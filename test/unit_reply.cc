// The reply writer, each kind of reply in RESP2 and RESP3.
#include <cstdint>
#include <string>

#include "base/output.h"
#include "random.h"
#include "resp/reply.h"
#include "runner.h"

namespace test {
namespace {

using ignix::Output;
using ignix::Reply;

template <typename Write>
std::string written(int protocol, Write write) {
  Output out;
  Reply reply(out, protocol);
  CHECK_EQ(reply.protocol(), protocol);
  write(reply);
  CHECK(!reply.failed());
  return std::string(out.data(), out.size());
}

#define WRITES(call, resp2, resp3)                                           \
  do {                                                                       \
    CHECK_EQ(written(2, [](Reply& r) { r.call; }), std::string_view(resp2)); \
    CHECK_EQ(written(3, [](Reply& r) { r.call; }), std::string_view(resp3)); \
  } while (0)
#define WRITES_BOTH(call, text) WRITES(call, text, text)

TEST(reply, lines_and_numbers) {
  WRITES_BOTH(ok(), "+OK\r\n");
  WRITES_BOTH(simple("PONG"), "+PONG\r\n");
  WRITES_BOTH(simple(""), "+\r\n");
  WRITES_BOTH(error("ERR no such key"), "-ERR no such key\r\n");
  WRITES_BOTH(integer(0), ":0\r\n");
  WRITES_BOTH(integer(-1), ":-1\r\n");
  WRITES_BOTH(integer(INT64_MAX), ":9223372036854775807\r\n");
  WRITES_BOTH(integer(INT64_MIN), ":-9223372036854775808\r\n");
  WRITES(boolean(true), ":1\r\n", "#t\r\n");
  WRITES(boolean(false), ":0\r\n", "#f\r\n");
}

TEST(reply, strings) {
  WRITES_BOTH(bulk(""), "$0\r\n\r\n");
  WRITES_BOTH(bulk("a\r\nb"), "$4\r\na\r\nb\r\n");
  WRITES_BOTH(bulk(std::string_view("\0\xff", 2)), std::string_view("$2\r\n\0\xff\r\n", 8));
  WRITES_BOTH(bulk_integer(0), "$1\r\n0\r\n");
  WRITES_BOTH(bulk_integer(-17), "$3\r\n-17\r\n");
  WRITES_BOTH(bulk_integer(INT64_MIN), "$20\r\n-9223372036854775808\r\n");
  WRITES(verbatim("a b\n"), "$4\r\na b\n\r\n", "=8\r\ntxt:a b\n\r\n");
  WRITES(verbatim(""), "$0\r\n\r\n", "=4\r\ntxt:\r\n");
}

TEST(reply, nothing) {
  WRITES(null(), "$-1\r\n", "_\r\n");
  WRITES(null_array(), "*-1\r\n", "_\r\n");
}

TEST(reply, collections) {
  WRITES_BOTH(array(0), "*0\r\n");
  WRITES_BOTH(array(12), "*12\r\n");
  WRITES(set(3), "*3\r\n", "~3\r\n");
  WRITES(map(0), "*0\r\n", "%0\r\n");
  WRITES(map(7), "*14\r\n", "%7\r\n");
  WRITES_BOTH(raw("*1\r\n:5\r\n"), "*1\r\n:5\r\n");
}

TEST(reply, formatted_errors) {
  WRITES_BOTH(errorf("ERR unknown command '%s', %d", "x", 7), "-ERR unknown command 'x', 7\r\n");
  WRITES_BOTH(errorf("ERR %s", "a\r\nb\nc\rd"), "-ERR a  b c d\r\n");
  WRITES_BOTH(errorf("ERR %s", "a\n\r\n"), "-ERR a\r\n");
  WRITES_BOTH(errorf("%s", ""), "-\r\n");
  // However long what comes from outside is, it is one line, and whole.
  static const std::string kLong(10'000, 'x');
  CHECK_EQ(written(2, [](Reply& r) { r.errorf("ERR %s.", kLong.c_str()); }),
           "-ERR " + kLong + ".\r\n");
}

TEST(reply, counts_errors) {
  Output out;
  Reply reply(out, 2);
  reply.ok();
  CHECK_EQ(reply.errors(), 0u);
  reply.error("ERR one");
  reply.errorf("ERR %s", "two");
  CHECK_EQ(reply.errors(), 2u);
}

TEST(reply, protocol_changes_on_the_way) {
  Output out;
  Reply reply(out, 2);
  reply.null();
  reply.set_protocol(3);
  CHECK_EQ(reply.protocol(), 3);
  reply.null();
  reply.map(1);
  CHECK_EQ(std::string_view(out.data(), out.size()), "$-1\r\n_\r\n%1\r\n");
}

// Behind what the buffer already holds, at every size around its growth.
TEST(reply, appends) {
  Random random(seed());
  Output out;
  Reply reply(out, 3);
  std::string want;
  for (int i = 0; i < 3'000; i++) {
    const std::string text = random.bytes(random.below(600));
    reply.bulk(text);
    want += "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
    const int64_t number = int64_t(random.next()) >> random.below(64);
    reply.integer(number);
    want += ":" + std::to_string(number) + "\r\n";
    reply.verbatim(text);
    want += "=" + std::to_string(text.size() + 4) + "\r\ntxt:" + text + "\r\n";
    if (random.one_in(3)) {
      const size_t sent = random.below(out.size() + 1);
      CHECK_EQ(std::string_view(out.data(), sent), std::string_view(want).substr(0, sent));
      out.consume(sent);
      want.erase(0, sent);
    }
  }
  CHECK(std::string_view(out.data(), out.size()) == want);
}

}  // namespace
}  // namespace test
