// The commands with fixed answers, for machines without redis-server to compare with.
#include "client.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

const std::string kNotInteger = "-ERR value is not an integer or out of range\r\n";
const std::string kOverflow = "-ERR increment or decrement would overflow\r\n";
const std::string kSyntax = "-ERR syntax error\r\n";

struct Step {
  Argv command;
  std::string reply;
};

void expect_all(Client& client, const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    std::string reply = client.command(step.command);
    if (reply == step.reply) continue;
    std::string text;
    for (const std::string& argument : step.command) text += quote(argument) + " ";
    FAIL("command:  " + text + "\n  expected: " + quote(step.reply) +
         "\n  got:      " + quote(reply));
  }
}

void expect_all(const std::vector<Step>& steps) {
  Server server;
  server.start();
  Client client(server);
  expect_all(client, steps);
}

std::string wrong_arity(const std::string& command) {
  return "-ERR wrong number of arguments for '" + command + "' command\r\n";
}

TEST(commands, ping_echo) {
  expect_all({
      {{"PING"}, "+PONG\r\n"},
      {{"ping"}, "+PONG\r\n"},
      {{"PING", ""}, bulk("")},
      {{"PING", "hello"}, bulk("hello")},
      {{"PING", "a", "b"}, wrong_arity("ping")},
      {{"ECHO", "x"}, bulk("x")},
      {{"ECHO"}, wrong_arity("echo")},
      {{"ECHO", "a", "b"}, wrong_arity("echo")},
  });
}

TEST(commands, set_get) {
  expect_all({
      {{"GET", "a"}, kNil},
      {{"SET", "a", "1"}, kOk},
      {{"GET", "a"}, bulk("1")},
      {{"SET", "a", ""}, kOk},
      {{"GET", "a"}, bulk("")},
      {{"SET", "", "empty key"}, kOk},
      {{"GET", ""}, bulk("empty key")},
      {{"SET", "a"}, wrong_arity("set")},
      {{"GET"}, wrong_arity("get")},
      {{"GET", "a", "b"}, wrong_arity("get")},
  });
}

TEST(commands, values_come_back_as_they_were) {
  Server server;
  server.start();
  Client client(server);
  for (const char* value : {"007", "-0", "+1", " 1", "1 ", "1.0", "0", "-1", "9223372036854775807",
                            "-9223372036854775808", "9223372036854775808", "00", "0x10", "1e5",
                            "18446744073709551616", "true", "-", ""}) {
    CHECK_EQ(client.command({"SET", "v", value}), kOk);
    CHECK_EQ(client.command({"GET", "v"}), bulk(value));
  }
}

TEST(commands, set_options) {
  expect_all({
      {{"SET", "a", "1", "XX"}, kNil},
      {{"SET", "a", "1", "NX"}, kOk},
      {{"SET", "a", "2", "NX"}, kNil},
      {{"GET", "a"}, bulk("1")},
      {{"SET", "a", "2", "XX"}, kOk},
      {{"SET", "a", "3", "GET"}, bulk("2")},
      {{"SET", "b", "1", "GET"}, kNil},
      {{"SET", "b", "2", "NX", "GET"}, bulk("1")},
      {{"GET", "b"}, bulk("1")},
      {{"SET", "b", "2", "xx", "get"}, bulk("1")},
      {{"SET", "c", "1", "NX", "GET"}, kNil},
      {{"GET", "c"}, bulk("1")},
      {{"SET", "a", "1", "NX", "XX"}, kSyntax},
      {{"SET", "a", "1", "EX"}, kSyntax},
      {{"SET", "a", "1", "EX", "10", "PX", "10"}, kSyntax},
      {{"SET", "a", "1", "EX", "10", "KEEPTTL"}, kSyntax},
      {{"SET", "a", "1", "bogus"}, kSyntax},
      {{"SET", "a", "1", "EX", "abc"}, kNotInteger},
      {{"SET", "a", "1", "EX", "0"}, "-ERR invalid expire time in 'set' command\r\n"},
      {{"SET", "a", "1", "PX", "-1"}, "-ERR invalid expire time in 'set' command\r\n"},
      {{"SET", "a", "1", "EX", "9223372036854775807"},
       "-ERR invalid expire time in 'set' command\r\n"},
      {{"SET", "a", "1", "EX", "9223372036854775808"}, kNotInteger},
      {{"GET", "a"}, bulk("3")},
      {{"SET", "a", "4", "EX", "1000"}, kOk},
      {{"SET", "a", "5", "KEEPTTL"}, kOk},
      {{"SET", "a", "6", "PXAT", "9800000000000"}, kOk},
      {{"GET", "a"}, bulk("6")},
  });
}

TEST(commands, expiry_in_the_past) {
  expect_all({
      {{"SET", "a", "1", "EXAT", "1"}, kOk},
      {{"GET", "a"}, kNil},
      {{"EXISTS", "a"}, integer(0)},
      {{"SET", "a", "1", "PXAT", "1"}, kOk},
      {{"SET", "a", "2", "XX"}, kNil},
      {{"SET", "a", "3", "PXAT", "1"}, kOk},
      {{"SET", "a", "4", "NX"}, kOk},
      {{"GET", "a"}, bulk("4")},
      {{"SET", "a", "5", "PXAT", "1"}, kOk},
      {{"INCR", "a"}, integer(1)},
      {{"GET", "a"}, bulk("1")},
      {{"SET", "a", "7", "EXAT", "1"}, kOk},
      {{"RENAME", "a", "b"}, "-ERR no such key\r\n"},
      {{"SET", "a", "8", "EXAT", "1"}, kOk},
      {{"DEL", "a"}, integer(0)},
      {{"SET", "a", "8", "EXAT", "1"}, kOk},
      {{"TYPE", "a"}, "+none\r\n"},
      {{"MGET", "a", "b"}, array({kNil, kNil})},
  });
}

// SET without KEEPTTL takes the expiry away, RENAME brings it along.
TEST(commands, expiry_comes) {
  const std::string time_ms = std::to_string(1000 * slowness());
  Server server;
  server.start();
  Client client(server);
  expect_all(client, {
                         {{"SET", "a", "1", "PX", time_ms}, kOk},
                         {{"SET", "a", "2"}, kOk},
                         {{"SET", "b", "1", "PX", time_ms}, kOk},
                         {{"SET", "b", "2", "KEEPTTL"}, kOk},
                         {{"SET", "c", "1", "PX", time_ms}, kOk},
                         {{"RENAME", "c", "d"}, kOk},
                         {{"SET", "e", "5", "PX", time_ms}, kOk},
                     });
  client.command({"INCR", "e"});
  // All four were given the same time; the last one to go tells that it is over.
  for (const char* key : {"b", "d", "e"})
    for (int i = 0; i < 1'000'000 && client.command({"EXISTS", key}) != integer(0); i++) {
    }
  expect_all(client,
             {
                 {{"MGET", "a", "b", "c", "d", "e"}, array({bulk("2"), kNil, kNil, kNil, kNil})},
             });
}

TEST(commands, del_exists) {
  expect_all({
      {{"MSET", "a", "1", "b", "2", "c", "3"}, kOk},
      {{"EXISTS", "a", "b", "nope", "a", "a"}, integer(4)},
      {{"DEL", "a", "nope", "b", "a"}, integer(2)},
      {{"EXISTS", "a", "b", "c"}, integer(1)},
      {{"DBSIZE"}, integer(1)},
      {{"DEL"}, wrong_arity("del")},
      {{"EXISTS"}, wrong_arity("exists")},
  });
}

TEST(commands, incr) {
  expect_all({
      {{"INCR", "n"}, integer(1)},
      {{"INCR", "n"}, integer(2)},
      {{"GET", "n"}, bulk("2")},
      {{"SET", "n", "abc"}, kOk},
      {{"INCR", "n"}, kNotInteger},
      {{"GET", "n"}, bulk("abc")},
      {{"SET", "n", " 1"}, kOk},
      {{"INCR", "n"}, kNotInteger},
      {{"SET", "n", "007"}, kOk},
      {{"INCR", "n"}, kNotInteger},
      {{"SET", "n", ""}, kOk},
      {{"INCR", "n"}, kNotInteger},
      {{"SET", "n", "1.0"}, kOk},
      {{"INCR", "n"}, kNotInteger},
      {{"SET", "n", "-1"}, kOk},
      {{"INCR", "n"}, integer(0)},
      {{"SET", "n", "-9223372036854775808"}, kOk},
      {{"INCR", "n"}, integer(-9223372036854775807)},
      {{"SET", "n", "9223372036854775806"}, kOk},
      {{"INCR", "n"}, integer(9223372036854775807)},
      {{"INCR", "n"}, kOverflow},
      {{"GET", "n"}, bulk("9223372036854775807")},
      {{"SET", "n", "9223372036854775808"}, kOk},
      {{"INCR", "n"}, kNotInteger},
      {{"SET", "n", "99999999999999999999999999"}, kOk},
      {{"INCR", "n"}, kNotInteger},
  });
}

TEST(commands, mset_mget) {
  expect_all({
      {{"MSET", "a", "1", "b", "2", "a", "3"}, kOk},
      {{"MGET", "a", "nope", "b", "a"}, array({bulk("3"), kNil, bulk("2"), bulk("3")})},
      {{"MSET", "a", "1", "b"}, wrong_arity("mset")},
      {{"MSET", "a"}, wrong_arity("mset")},
      {{"MGET"}, wrong_arity("mget")},
      {{"MGET", "a"}, array({bulk("3")})},
  });
}

TEST(commands, rename) {
  expect_all({
      {{"RENAME", "a", "b"}, "-ERR no such key\r\n"},
      {{"SET", "a", "1"}, kOk},
      {{"SET", "b", "2"}, kOk},
      {{"RENAME", "a", "b"}, kOk},
      {{"MGET", "a", "b"}, array({kNil, bulk("1")})},
      {{"RENAME", "b", "b"}, kOk},
      {{"GET", "b"}, bulk("1")},
      {{"DBSIZE"}, integer(1)},
      {{"RENAME", "nope", "nope"}, "-ERR no such key\r\n"},
      {{"RENAME", "a"}, wrong_arity("rename")},
  });
}

TEST(commands, databases) {
  expect_all({
      {{"SET", "a", "0"}, kOk},
      {{"SELECT", "15"}, kOk},
      {{"GET", "a"}, kNil},
      {{"SET", "a", "15"}, kOk},
      {{"SELECT", "16"}, "-ERR DB index is out of range\r\n"},
      {{"SELECT", "-1"}, "-ERR DB index is out of range\r\n"},
      {{"SELECT", "abc"}, kNotInteger},
      {{"GET", "a"}, bulk("15")},
      {{"DBSIZE"}, integer(1)},
      {{"FLUSHDB"}, kOk},
      {{"DBSIZE"}, integer(0)},
      {{"SELECT", "0"}, kOk},
      {{"GET", "a"}, bulk("0")},
      {{"FLUSHALL", "ASYNC"}, kOk},
      {{"DBSIZE"}, integer(0)},
      {{"FLUSHALL", "bogus"}, kSyntax},
      {{"FLUSHDB", "SYNC"}, kOk},
      {{"FLUSHDB", "SYNC", "x"}, kSyntax},
  });
}

TEST(commands, type) {
  expect_all({
      {{"TYPE", "a"}, "+none\r\n"},
      {{"SET", "a", "1"}, kOk},
      {{"TYPE", "a"}, "+string\r\n"},
  });
}

TEST(commands, unknown) {
  expect_all({
      {{"nosuch"}, "-ERR unknown command 'nosuch', with args beginning with: \r\n"},
      {{"NoSuch", "a", "b c"},
       "-ERR unknown command 'NoSuch', with args beginning with: 'a' 'b c' \r\n"},
      {{"no\r\nsuch", "\r\n"},
       "-ERR unknown command 'no  such', with args beginning with: '  ' \r\n"},
      {{""}, "-ERR unknown command '', with args beginning with: \r\n"},
      {{"PING"}, "+PONG\r\n"},
  });
}

TEST(commands, hello) {
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"HELLO"}).substr(0, 5), "*14\r\n");
  CHECK_EQ(client.command({"HELLO", "3"}).substr(0, 4), "%7\r\n");
  CHECK_EQ(client.command({"GET", "nope"}), "_\r\n");
  CHECK_EQ(client.command({"MGET", "nope", "n"}), "*2\r\n_\r\n_\r\n");
  CHECK_EQ(client.command({"HELLO", "4"}), "-NOPROTO unsupported protocol version\r\n");
  CHECK_EQ(client.command({"HELLO", "abc"}),
           "-ERR Protocol version is not an integer or out of range\r\n");
  CHECK_EQ(client.command({"HELLO", "2", "SETNAME", "me"}).substr(0, 5), "*14\r\n");
  CHECK_EQ(client.command({"CLIENT", "GETNAME"}), bulk("me"));
  CHECK_EQ(client.command({"GET", "nope"}), kNil);
  CHECK_EQ(client.command({"HELLO", "3"}).substr(0, 4), "%7\r\n");
  CHECK_EQ(client.command({"RESET"}), "+RESET\r\n");
  CHECK_EQ(client.command({"GET", "nope"}), kNil);
  CHECK_EQ(client.command({"CLIENT", "GETNAME"}), kNil);
}

TEST(commands, quit) {
  Server server;
  server.start();
  Client client(server);
  CHECK(client.send(encode({"SET", "a", "1"}) + encode({"QUIT"}) + encode({"SET", "a", "2"})));
  CHECK_EQ(client.read_until_close(), kOk + kOk);
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
}

TEST(commands, time) {
  Server server;
  server.start();
  Client client(server);
  std::string reply = client.command({"TIME"});
  CHECK_EQ(reply.substr(0, 9), "*2\r\n$10\r\n");
  CHECK_EQ(client.command({"TIME", "x"}), wrong_arity("time"));
}

TEST(commands, info) {
  Server server({.tcp = true});
  server.start();
  Client client(server);
  client.command({"SET", "a", "1", "EX", "1000"});
  std::string info = client.command({"INFO"});
  for (const char* text : {"# Server\r\n",
                           "# Clients\r\n",
                           "# Memory\r\n",
                           "# Persistence\r\n",
                           "# Stats\r\n",
                           "# Replication\r\n",
                           "# CPU\r\n",
                           "# Keyspace\r\n",
                           "redis_version:",
                           "redis_mode:standalone\r\n",
                           "process_id:",
                           "uptime_in_seconds:",
                           "connected_clients:1\r\n",
                           "used_memory:",
                           "used_memory_rss:",
                           "used_memory_human:",
                           "aof_enabled:0\r\n",
                           "loading:0\r\n",
                           "total_connections_received:",
                           "total_commands_processed:",
                           "role:master\r\n",
                           "connected_slaves:0\r\n",
                           "\r\ndb0:keys=1,expires=1"})
    if (info.find(text) == std::string::npos)
      FAIL("no " + quote(text) + " in " + quote(info, 5000));
  CHECK(info.find("tcp_port:" + std::to_string(server.port()) + "\r\n") != std::string::npos);
  std::string section = client.command({"INFO", "keyspace"});
  CHECK(section.find("# Keyspace\r\n") != std::string::npos);
  CHECK(section.find("# Server") == std::string::npos);
  CHECK_EQ(client.command({"INFO", "nosuchsection"}), bulk(""));
}

TEST(commands, command_count) {
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"COMMAND", "COUNT"})[0], ':');
  CHECK_EQ(client.command({"COMMAND"})[0], '*');
  CHECK_EQ(client.command({"COMMAND", "DOCS"})[0], '*');
  std::string info = client.command({"COMMAND", "INFO", "get", "nosuch"});
  CHECK_EQ(info.substr(0, 4 + 5 + 9 + 4), "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n");
}

TEST(commands, config) {
  Server server({.arguments = {"--maxclients", "123"}});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"CONFIG", "GET", "maxclients"}),
           array({bulk("maxclients"), bulk("123")}));
  CHECK_EQ(client.command({"CONFIG", "GET", "nosuch"}), "*0\r\n");
  // What redis-benchmark asks for.
  CHECK_EQ(client.command({"CONFIG", "GET", "appendonly"}),
           array({bulk("appendonly"), bulk("no")}));
  CHECK_EQ(client.command({"CONFIG", "GET", "save"}), array({bulk("save"), bulk("")}));
  CHECK_EQ(client.command({"CONFIG", "GET"}), wrong_arity("config|get"));
}

}  // namespace
}  // namespace test
