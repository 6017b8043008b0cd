// Commands on keys of any type, as far as the differential test cannot see it: what goes into the
// log, and what comes back from it.
#include <stdlib.h>

#include <string>
#include <vector>

#include "client.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

std::string log_of(const Server& server) { return read_file(server.dir() + "/ignix.aof"); }

// The log has the effect: points in time, and DEL for what is over at once.
TEST(keys, expiry_in_the_log) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  const std::string large(100'000, 'x');
  CHECK_EQ(client.command({"MSET", "a", "1", "b", "2", "c", "3", "d", large, "e", "5"}), kOk);
  const size_t before = log_of(server).size();
  CHECK_EQ(client.command({"EXPIRE", "a", "100000"}), integer(1));
  CHECK_EQ(client.command({"PEXPIRE", "b", "100000000"}), integer(1));
  CHECK_EQ(client.command({"EXPIREAT", "c", "9800000000"}), integer(1));
  CHECK_EQ(client.command({"PEXPIREAT", "d", "9800000000123"}), integer(1));
  CHECK_EQ(client.command({"EXPIRE", "e", "-1"}), integer(1));
  CHECK_EQ(client.command({"PERSIST", "b"}), integer(1));
  const std::string added = log_of(server).substr(before);
  CHECK(added.find("PEXPIREAT\r\n$1\r\na\r\n") != std::string::npos);
  CHECK(added.find("PEXPIREAT\r\n$1\r\nb\r\n") != std::string::npos);
  CHECK(added.find("PEXPIREAT\r\n$1\r\nc\r\n$13\r\n9800000000000\r\n") != std::string::npos);
  CHECK(added.find("PEXPIREAT\r\n$1\r\nd\r\n$13\r\n9800000000123\r\n") != std::string::npos);
  CHECK(added.find("DEL\r\n$1\r\ne\r\n") != std::string::npos);
  CHECK(added.size() < 1'000);  // without the values
  const std::string time_of_a = client.command({"PEXPIRETIME", "a"});
  // What changes nothing is not logged.
  const size_t after = log_of(server).size();
  for (const Argv& command : std::vector<Argv>{{"EXPIRE", "a", "100000", "NX"},
                                               {"EXPIRE", "a", "100", "GT"},
                                               {"EXPIRE", "b", "100", "XX"},
                                               {"EXPIRE", "e", "100"},
                                               {"PERSIST", "b"},
                                               {"TTL", "a"}}) {
    client.command(command);
  }
  CHECK_EQ(log_of(server).size(), after);
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"PEXPIRETIME", "a"}), time_of_a);
  CHECK_EQ(client.command({"PEXPIRETIME", "b"}), integer(-1));
  CHECK_EQ(client.command({"EXPIRETIME", "c"}), integer(9'800'000'000));
  CHECK_EQ(client.command({"PEXPIRETIME", "d"}), integer(9'800'000'000'123));
  CHECK(client.command({"GET", "d"}) == bulk(large));
  CHECK_EQ(client.command({"EXISTS", "e"}), integer(0));
}

// Looking at all keys finds none that has expired, and deletes those.
TEST(keys, walks_and_expired_keys) {
  for (const char* look : {"SCAN", "KEYS"}) {
    Server server({.arguments = {"--active-expire", "no"}, .appendonly = true});
    server.start();
    Client client(server);
    for (int i = 0; i < 500; i++) {
      const std::string key = "expired" + std::to_string(i);
      CHECK_EQ(client.command({"SET", key, "x", "PXAT", "1"}), kOk);
    }
    for (int i = 0; i < 5; i++) client.command({"SET", "live" + std::to_string(i), "x"});
    CHECK_EQ(client.command({"DBSIZE"}), integer(505));
    size_t found;
    if (look == std::string("SCAN")) {
      const std::string reply = client.command({"SCAN", "0", "COUNT", "10000"});
      found = elements_of(elements_of(reply)[1]).size();
    } else {
      found = elements_of(client.command({"KEYS", "*"})).size();
    }
    CHECK_EQ(found, 5);
    CHECK_EQ(client.command({"DBSIZE"}), integer(5));
    // Nobody waits for the records of what has expired, but for those behind them.
    CHECK_EQ(client.command({"SET", "last", "x"}), kOk);
    server.kill9();
    server.restart();
    client.connect(server);
    CHECK_EQ(client.command({"DBSIZE"}), integer(6));
  }
}

// One key that lives among many that do not, or in a database that has been much larger.
TEST(keys, randomkey_of_a_sparse_database) {
  Server server({.arguments = {"--active-expire", "no"}});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"RANDOMKEY"}), kNil);
  std::string fill, empty;
  constexpr int kKeys = 30'000;
  for (int i = 0; i < kKeys; i++)
    append_encoded({"SET", std::to_string(i), "x", "PXAT", "1"}, &fill);
  for (int i = 0; i < kKeys; i++) append_encoded({"DEL", std::to_string(i)}, &empty);
  const auto run = [&](const std::string& pipeline) {
    CHECK(client.send(pipeline));
    for (int i = 0; i < kKeys; i++) CHECK_NE(client.read_reply()[0], '<');
  };
  run(fill);
  CHECK_EQ(client.command({"SET", "live", "x"}), kOk);
  for (int i = 0; i < 5; i++) CHECK_EQ(client.command({"RANDOMKEY"}), bulk("live"));
  run(fill);
  CHECK_EQ(client.command({"DEL", "live"}), integer(1));
  CHECK_EQ(client.command({"RANDOMKEY"}), kNil);
  run(fill);
  run(empty);
  CHECK_EQ(client.command({"SET", "live", "x"}), kOk);
  for (int i = 0; i < 5; i++) CHECK_EQ(client.command({"RANDOMKEY"}), bulk("live"));
  // Each of a few, sooner or later.
  CHECK_EQ(client.command({"MSET", "a", "1", "b", "2", "c", "3"}), kOk);
  for (const char* key : {"a", "b", "c", "live"}) {
    int tries = 0;
    while (client.command({"RANDOMKEY"}) != bulk(key)) CHECK(++tries < 1'000);
  }
}

long long used_memory(Client& client) {
  const std::string info = client.command({"INFO", "memory"});
  return atoll(info.c_str() + info.find("used_memory:") + 12);
}

// A long value is there once, however many keys have it, and as long as one of them is there.
TEST(keys, copies_share_a_long_value) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  const std::string value(10'000'000, 'v');
  CHECK_EQ(client.command({"SET", "a", value}), kOk);
  const long long before = used_memory(client);
  for (int i = 0; i < 100; i++) {
    CHECK_EQ(client.command({"COPY", "a", "copy" + std::to_string(i), "DB", std::to_string(i % 3)}),
             integer(1));
  }
  CHECK(used_memory(client) - before < 1'000'000);
  CHECK_EQ(client.command({"RENAME", "a", "b"}), kOk);
  CHECK_EQ(client.command({"MOVE", "b", "2"}), integer(1));
  CHECK_EQ(client.command({"SET", "copy0", "short"}), kOk);
  CHECK_EQ(client.command({"INCR", "copy3"}), "-ERR value is not an integer or out of range\r\n");
  CHECK_EQ(client.command({"FLUSHDB"}), kOk);
  for (int restarts = 0; restarts < 2; restarts++) {
    CHECK_EQ(client.command({"SELECT", "2"}), kOk);
    CHECK(client.command({"GET", "b"}) == bulk(value));
    CHECK(client.command({"GET", "copy98"}) == bulk(value));
    server.kill9();
    server.restart();
    client.connect(server);
  }
  // The log has the command, not the value.
  CHECK(log_of(server).size() < value.size() + 100'000);
}

// What fails, and what changes nothing, writes nothing.
TEST(keys, no_change_is_not_logged) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"MSET", "a", "1", "b", "2"}), kOk);
  const size_t before = log_of(server).size();
  for (const Argv& command : std::vector<Argv>{{"COPY", "a", "b"},
                                               {"COPY", "none", "b", "REPLACE"},
                                               {"COPY", "a", "a"},
                                               {"COPY", "a", "b", "DB", "99", "REPLACE"},
                                               {"RENAME", "a", "a"},
                                               {"RENAMENX", "a", "b"},
                                               {"RENAMENX", "none", "c"},
                                               {"MOVE", "a", "0"},
                                               {"MOVE", "none", "1"},
                                               {"SWAPDB", "3", "3"},
                                               {"SWAPDB", "0", "16"},
                                               {"UNLINK", "none"},
                                               {"TOUCH", "a"},
                                               {"SORT", "none", "STORE", "none"},
                                               {"SORT", "a", "STORE", "b"},
                                               {"SORT", "none", "STORE", "b", "bogus"},
                                               {"SCAN", "0"},
                                               {"KEYS", "*"},
                                               {"RANDOMKEY"}}) {
    client.command(command);
  }
  CHECK_EQ(log_of(server).size(), before);
  CHECK_EQ(client.command({"SORT", "none", "STORE", "a"}), integer(0));
  CHECK(log_of(server).find("DEL\r\n$1\r\na\r\n", before) != std::string::npos);
  CHECK_EQ(client.command({"EXISTS", "a", "b"}), integer(1));
}

}  // namespace
}  // namespace test
