// String commands beyond what the differential stream sees: limits, what the log brings back, and
// values that change while they are being sent.
#include "client.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

const std::string kTooLong = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";

// The limit is on what a string becomes, not on what is sent.
TEST(strings, limit_on_length) {
  Server server({.arguments = {"--proto-max-bulk-len", "1mb"}});
  server.start();
  Client client(server);
  const std::string most(1 << 20, 'm');
  CHECK_EQ(client.command({"SETRANGE", "s", "1048575", "x"}), integer(1 << 20));
  CHECK_EQ(client.command({"SETRANGE", "s", "1048576", "x"}), kTooLong);
  CHECK_EQ(client.command({"SETRANGE", "s", "9223372036854775807", "x"}), kTooLong);
  CHECK_EQ(client.command({"SETRANGE", "none", "1048576", "x"}), kTooLong);
  CHECK_EQ(client.command({"SETRANGE", "none", "1048576", ""}), integer(0));
  CHECK_EQ(client.command({"APPEND", "s", "x"}), kTooLong);
  CHECK_EQ(client.command({"APPEND", "s", ""}), integer(1 << 20));
  CHECK_EQ(client.command({"SET", "s", most}), kOk);
  CHECK_EQ(client.command({"APPEND", "s", "x"}), kTooLong);
  CHECK_EQ(client.command({"GET", "s"}), bulk(most));
  CHECK_EQ(client.command({"EXISTS", "none"}), integer(0));
  CHECK_EQ(client.command({"LCS", "s", "s"}),
           "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len\r\n");
}

TEST(strings, log_brings_all_back) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  const std::string far = "9800000000000";
  std::string grown(20000, 'g');
  CHECK_EQ(client.command({"SET", "grown", grown}), kOk);
  for (int i = 0; i < 300; i++) {
    CHECK_EQ(client.command({"APPEND", "grown", "tail"}), integer(int64_t(grown.size()) + 4));
    grown += "tail";
  }
  CHECK_EQ(client.command({"SETRANGE", "grown", "5", "PATCH"}), integer(int64_t(grown.size())));
  grown.replace(5, 5, "PATCH");
  CHECK_EQ(client.command({"SETRANGE", "zeros", "3", "x"}), integer(4));
  CHECK_EQ(client.command({"SET", "float", "10.5", "PXAT", far}), kOk);
  CHECK_EQ(client.command({"INCRBYFLOAT", "float", "0.1"}), bulk("10.6"));
  CHECK_EQ(client.command({"MSETNX", "a", "1", "b", "2"}), integer(1));
  CHECK_EQ(client.command({"MSETNX", "a", "3", "c", "4"}), integer(0));
  CHECK_EQ(client.command({"GETEX", "a", "PXAT", far}), bulk("1"));
  CHECK_EQ(client.command({"APPEND", "a", "0"}), integer(2));
  CHECK_EQ(client.command({"SETEX", "kept", "9000", "v"}), kOk);
  CHECK_EQ(client.command({"GETEX", "kept", "PERSIST"}), bulk("v"));
  CHECK_EQ(client.command({"SET", "gone", "v"}), kOk);
  CHECK_EQ(client.command({"GETDEL", "gone"}), bulk("v"));
  CHECK_EQ(client.command({"SET", "past", "v"}), kOk);
  CHECK_EQ(client.command({"GETEX", "past", "EXAT", "1"}), bulk("v"));
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "grown"}), bulk(grown));
  CHECK_EQ(client.command({"GET", "zeros"}), bulk(std::string("\0\0\0x", 4)));
  CHECK_EQ(client.command({"GET", "float"}), bulk("10.6"));
  CHECK_EQ(client.command({"PEXPIRETIME", "float"}), ":" + far + "\r\n");
  CHECK_EQ(client.command({"GET", "a"}), bulk("10"));
  CHECK_EQ(client.command({"PEXPIRETIME", "a"}), ":" + far + "\r\n");
  CHECK_EQ(client.command({"TTL", "kept"}), integer(-1));
  CHECK_EQ(client.command({"EXISTS", "gone", "past", "c"}), integer(0));
}

// The log has BITOP as it came, however long the result: a transaction may have many of them. The
// sources are as they were when it is read.
TEST(strings, bitop_in_the_log) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SETBIT", "long", "80000000", "1"}), integer(0));
  CHECK_EQ(client.command({"SET", "gone", "x", "PX", "1"}), kOk);
  while (client.command({"EXISTS", "gone"}) != integer(0)) continue;
  CHECK_EQ(client.command({"MULTI"}), kOk);
  for (int i = 0; i < 20; i++) {
    CHECK_EQ(client.command({"BITOP", "NOT", "not", "long"}), "+QUEUED\r\n");
  }
  CHECK_EQ(client.command({"EXEC"}).substr(0, 5), "*20\r\n");
  CHECK_EQ(client.command({"BITOP", "AND", "none", "long", "gone"}), integer(10'000'001));
  CHECK_EQ(client.command({"SETBIT", "long", "0", "1"}), integer(0));
  const std::string bits = client.command({"BITCOUNT", "not"});
  server.kill9();
  CHECK(read_file(server.dir() + "/ignix.aof").size() < 4096);
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"BITCOUNT", "not"}), bits);
  CHECK_EQ(client.command({"BITCOUNT", "none"}), integer(0));
  CHECK_EQ(client.command({"STRLEN", "none"}), integer(10'000'001));
  CHECK_EQ(client.command({"BITCOUNT", "long"}), integer(2));
}

// The replies to GET are of the moment of each GET, though they are sent from the value itself,
// which changes before the client reads them.
TEST(strings, changed_while_it_is_sent) {
  for (const size_t length : {size_t(9000), size_t(3) << 20}) {
    Server server;
    server.start();
    Client reader(server), writer(server);
    std::string value(length, 'v');
    CHECK_EQ(writer.command({"SET", "s", value}), kOk);
    for (int i = 0; i < 12; i++) {
      CHECK(reader.send_without_reading(encode({"GET", "s"})));
      CHECK(reader.send_without_reading(
          encode({"SETRANGE", "s", std::to_string(i * 100), "changed"})));
      CHECK(reader.send_without_reading(encode({"APPEND", "s", "more"})));
    }
    for (int i = 0; i < 12; i++) {
      CHECK_EQ(reader.read_reply(), bulk(value));
      value.replace(size_t(i) * 100, 7, "changed");
      CHECK_EQ(reader.read_reply(), integer(int64_t(value.size())));
      value += "more";
      CHECK_EQ(reader.read_reply(), integer(int64_t(value.size())));
    }
    CHECK_EQ(writer.command({"GET", "s"}), bulk(value));
  }
}

}  // namespace
}  // namespace test
