// What the server answers to requests that are badly formed, cut into pieces, too big, or unusual.
#include <poll.h>

#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

const std::string kPing = "*1\r\n$4\r\nPING\r\n";
const std::string kPong = "+PONG\r\n";

// All that the server says to these bytes on a connection that sends nothing more.
std::string whole_answer(const Server& server, std::string_view bytes) {
  Client client(server);
  client.send(bytes);
  client.shut_write();
  return client.read_until_close();
}

struct Exchange {
  std::string sent;
  std::string answer;
};

void expect_all(const std::vector<Exchange>& exchanges) {
  Server server;
  server.start();
  for (const Exchange& exchange : exchanges) {
    std::string answer = whole_answer(server, exchange.sent);
    if (answer != exchange.answer)
      FAIL("sent:     " + quote(exchange.sent) + "\n  expected: " + quote(exchange.answer) +
           "\n  got:      " + quote(answer));
  }
  Client client(server);
  CHECK_EQ(client.command({"PING"}), kPong);
}

TEST(protocol, multibulk_counts) {
  const std::string error = "-ERR Protocol error: invalid multibulk length\r\n";
  expect_all({
      {"*-1\r\n" + kPing, kPong},
      {"*-2147483648\r\n" + kPing, kPong},
      {"*0\r\n" + kPing, kPong},
      {"*-0\r\n" + kPing, error},
      {"*2147483648\r\n" + kPing, error},
      {"*9223372036854775807\r\n", error},
      {"*9223372036854775808\r\n", error},
      {"*18446744073709551617\r\n" + kPing, error},
      {"*99999999999999999999999999\r\n", error},
      {"*\r\n", error},
      {"* 1\r\n", error},
      {"*1 \r\n", error},
      {"*+1\r\n$4\r\nPING\r\n", error},
      {"*01\r\n$4\r\nPING\r\n", error},
      {"*1x\r\n", error},
      {"*x\r\n", error},
      {kPing + "*x\r\n" + kPing, kPong + error},
  });
}

TEST(protocol, bulk_lengths) {
  const std::string error = "-ERR Protocol error: invalid bulk length\r\n";
  expect_all({
      {"*1\r\n$-1\r\n", error},
      {"*1\r\n$-9223372036854775808\r\n", error},
      {"*1\r\n$536870913\r\n", error},
      {"*1\r\n$4294967300\r\nPING\r\n", error},
      {"*1\r\n$9223372036854775807\r\n", error},
      {"*1\r\n$18446744073709551620\r\nPING\r\n", error},
      {"*1\r\n$99999999999999999999999999\r\n", error},
      {"*1\r\n$\r\nPING\r\n", error},
      {"*1\r\n$ 4\r\nPING\r\n", error},
      {"*1\r\n$04\r\nPING\r\n", error},
      {"*1\r\n$4x\r\nPING\r\n", error},
      {kPing + "*2\r\n$4\r\nECHO\r\n$-5\r\n", kPong + error},
      {"*1\r\n:4\r\nPING\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"},
      {"*1\r\n*1\r\n$4\r\nPING\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"},
      {"*2\r\n$4\r\nECHO\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'\r\n"},
  });
}

TEST(protocol, lengths_without_end) {
  std::string digits(100'000, '1');
  expect_all({
      {"*" + digits, "-ERR Protocol error: too big mbulk count string\r\n"},
      {"*1\r\n$" + digits, "-ERR Protocol error: too big bulk count string\r\n"},
      {digits, "-ERR Protocol error: too big inline request\r\n"},
      {kPing + std::string(200'000, 'x'),
       kPong + "-ERR Protocol error: too big inline request\r\n"},
  });
}

// A count may be large before its arguments come; it must not cost memory then.
TEST(protocol, promised_but_not_sent) {
  Server server;
  server.start();
  long before_kb = server.memory_kb();
  std::vector<Client> clients(20);
  for (Client& client : clients) {
    client.connect(server);
    CHECK(client.send("*1048576\r\n$4\r\nMGET\r\n$500000000\r\nabc"));
  }
  Client other(server);
  CHECK_EQ(other.command({"PING"}), kPong);
  CHECK(server.memory_kb() - before_kb < 100 * 1024 * slowness());
  for (Client& client : clients) CHECK(!client.readable(0));
}

TEST(protocol, incomplete_requests_get_no_answer) {
  expect_all({
      {"", ""},
      {"*", ""},
      {"*1\r", ""},
      {"*1\r\n", ""},
      {"*1\r\n$4\r\nPIN", ""},
      {"*1\r\n$4\r\nPING", ""},
      {"*1\r\n$4\r\nPING\r", ""},
      {"PING", ""},
      {kPing + "*1\r\n$4\r\nPIN", kPong},
      {"*2147483647\r\n", ""},
      {"*1\r\n$536870912\r\n", ""},
  });
}

TEST(protocol, inline_requests) {
  expect_all({
      {"PING\r\n", kPong},
      {"PING\n", kPong},
      {"ping\r\nPiNg\n", kPong + kPong},
      {"\r\n\n\r\nPING\r\n", kPong},
      {"   PING   \r\n", kPong},
      {"\tECHO\ta\r\n", bulk("a")},
      {"ECHO \"a b\"\r\n", bulk("a b")},
      {"ECHO 'a b'\r\n", bulk("a b")},
      {"ECHO \"\"\r\n", bulk("")},
      {"ECHO ''\r\n", bulk("")},
      {"ECHO \"\\x41\\x0a\\xfF\\n\\r\\t\\b\\a\\\\\\\"\\z\"\r\n", bulk("A\n\xff\n\r\t\b\a\\\"z")},
      {"ECHO \"\\xg1\"\r\n", bulk("xg1")},
      {"ECHO 'a\\'b\\n'\r\n", bulk("a'b\\n")},
      {"ECHO a\\x41\r\n", bulk("a\\x41")},
      {"ECHO a\"b\"\r\n", bulk("ab")},
      {"ECHO \"a\"b\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
      {"ECHO \"a\r\nPING\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
      {"ECHO 'a\r\nPING\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
      {"PING\r\nECHO \"\r\nPING\r\n",
       kPong + "-ERR Protocol error: unbalanced quotes in request\r\n"},
      {"PING\r\n" + kPing + "PING\r\n", kPong + kPong + kPong},
      {"$4\r\n", "-ERR unknown command '$4', with args beginning with: \r\n"},
      {"ECHO " + std::string(60'000, 'x') + "\r\n", bulk(std::string(60'000, 'x'))},
  });
}

TEST(protocol, http_is_not_answered) {
  // A web page must not be able to talk to the server through the reader's browser.
  Server server;
  server.start();
  CHECK_EQ(whole_answer(server, "POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n"), "");
  CHECK_EQ(whole_answer(server, "Host: x\r\nPING\r\n"), "");
}

TEST(protocol, bad_command_amid_a_pipeline) {
  Server server;
  server.start();
  std::string pipeline = encode({"SET", "a", "1"}) + encode({"NOSUCH", "x"}) +
                         encode({"GET", "a"}) + encode({"GET"}) + encode({"INCR", "a"}) +
                         encode({"SET", "a", "b", "EX", "0"}) + encode({"GET", "a"});
  CHECK_EQ(whole_answer(server, pipeline),
           kOk + "-ERR unknown command 'NOSUCH', with args beginning with: 'x' \r\n" + bulk("1") +
               "-ERR wrong number of arguments for 'get' command\r\n" + integer(2) +
               "-ERR invalid expire time in 'set' command\r\n" + bulk("2"));
  Client client(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("2"));
}

// Requests of every form, and what they are answered with, to be sent in pieces.
Exchange mixed_pipeline() {
  std::string binary("\0\r\n$5\r\n*1\xff", 10);
  return {encode({"SET", "k", "12345678901234567890"}) + "GET k\r\n" +
              encode({"SET", binary, binary}) + "*0\r\n" + encode({"GET", binary}) +
              "\r\nECHO \"x y\"\n" + encode({"MGET", "k", "", "n"}) + encode({"nosuch"}) +
              encode({"DEL", "k", "k", binary}) + kPing,
          kOk + bulk("12345678901234567890") + kOk + bulk(binary) + bulk("x y") +
              array({bulk("12345678901234567890"), kNil, kNil}) +
              "-ERR unknown command 'nosuch', with args beginning with: \r\n" + integer(2) + kPong};
}

// The other connection's answer tells that the one loop has also seen the piece sent before.
TEST(protocol, every_split_point) {
  Server server({.arguments = {"--threads", "1"}});
  server.start();
  Client other(server);
  Exchange exchange = mixed_pipeline();
  for (size_t split = 1; split < exchange.sent.size(); split++) {
    Client client(server);
    CHECK(client.send(exchange.sent.substr(0, split)));
    CHECK_EQ(other.command({"PING"}), kPong);
    CHECK(client.send(exchange.sent.substr(split)));
    client.shut_write();
    std::string answer = client.read_until_close();
    if (answer != exchange.answer)
      FAIL("split at " + std::to_string(split) + ": " + quote(answer, 2000));
  }
}

TEST(protocol, byte_by_byte) {
  Server server({.arguments = {"--threads", "1"}});
  server.start();
  Client other(server);
  Client client(server);
  Exchange exchange = mixed_pipeline();
  for (char c : exchange.sent) {
    CHECK(client.send(std::string_view(&c, 1)));
    CHECK_EQ(other.command({"PING"}), kPong);
  }
  client.shut_write();
  CHECK_EQ(client.read_until_close(), exchange.answer);
}

TEST(protocol, random_pieces_of_a_long_pipeline) {
  Server server;
  server.start();
  Random random(seed());
  std::string sent, answer;
  for (int i = 0; i < 500; i++) {
    std::string value = random.bytes(random.one_in(20) ? random.below(70'000) : random.below(100));
    sent += encode({"SET", "k" + std::to_string(i % 7), value});
    sent += encode({"GET", "k" + std::to_string(i % 7)});
    answer += kOk + bulk(value);
  }
  Client client(server);
  for (size_t at = 0; at < sent.size();) {
    size_t length = 1 + random.below(random.one_in(3) ? 40'000 : 200);
    CHECK(client.send(std::string_view(sent).substr(at, length)));
    at += length;
  }
  client.shut_write();
  CHECK(client.read_until_close() == answer);
}

TEST(protocol, half_closed_client_gets_all_answers) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client client(server);
  std::string sent, answer;
  for (int i = 0; i < 300; i++) {
    sent += encode({"INCR", "n"});
    answer += integer(i + 1);
  }
  CHECK(client.send(sent));
  client.shut_write();
  CHECK_EQ(client.read_until_close(), answer);
}

TEST(protocol, hundred_thousand_commands_in_one_write) {
  Server server;
  server.start();
  constexpr int kCount = 100'000;
  std::string sent, answer;
  for (int i = 0; i < kCount; i++) {
    append_encoded({"INCR", "n"}, &sent);
    answer += integer(i + 1);
  }
  Client client(server);
  CHECK(client.send(sent));
  client.shut_write();
  CHECK(client.read_until_close() == answer);
}

TEST(protocol, all_byte_values) {
  Server server;
  server.start();
  Client client(server);
  std::string all;
  for (int i = 0; i < 256; i++) all += char(i);
  for (int i = 0; i < 256; i++) {
    std::string key(1, char(i));
    CHECK_EQ(client.command({"SET", key, all + key}), kOk);
  }
  for (int i = 0; i < 256; i++) {
    std::string key(1, char(i));
    CHECK_EQ(client.command({"GET", key}), bulk(all + key));
  }
  CHECK_EQ(client.command({"SET", all, all}), kOk);
  CHECK_EQ(client.command({"GET", all}), bulk(all));
  CHECK_EQ(client.command({"DBSIZE"}), integer(257));
  CHECK_EQ(client.command({"ECHO", all}), bulk(all));
}

TEST(protocol, value_sizes_around_powers_of_two) {
  Server server;
  server.start();
  Client client(server);
  Random random(seed());
  std::vector<size_t> sizes;
  for (size_t power = 1; power <= 1024 * 1024; power *= 2)
    for (size_t size : {power - 1, power, power + 1}) sizes.push_back(size);
  for (size_t size : sizes) {
    std::string value = random.bytes(size);
    CHECK_EQ(client.command({"SET", "size", value}), kOk);
    CHECK(client.command({"GET", "size"}) == bulk(value));
    CHECK(client.command({"MGET", "size", "size"}) == array({bulk(value), bulk(value)}));
  }
}

TEST(protocol, value_of_64_megabytes) {
  Server server;
  server.start();
  Client client(server);
  std::string value(64 * 1024 * 1024, 'v');
  value[1] = '\0';
  value[value.size() / 2] = '\n';
  client.set_timeout(40);
  CHECK_EQ(client.command({"SET", "big", value}), kOk);
  CHECK(client.command({"GET", "big"}) == bulk(value));
  CHECK_EQ(client.command({"DEL", "big"}), integer(1));
}

TEST(protocol, bulk_limit_is_configurable) {
  Server server({.arguments = {"--proto-max-bulk-len", "1mb"}});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "k", std::string(1024 * 1024, 'x')}), kOk);
  CHECK(client.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n"));
  CHECK_EQ(client.read_until_close(), "-ERR Protocol error: invalid bulk length\r\n");
}

// Such a client is closed without an answer; nobody else is.
TEST(protocol, query_limit) {
  Server server({.arguments = {"--client-query-buffer-limit", "1mb"}});
  server.start();
  Client client(server);
  client.send(kPing + encode({"SET", "k", std::string(3 * 1024 * 1024, 'x')}) + kPing);
  CHECK_EQ(client.read_until_close(), kPong);
  Client other(server);
  CHECK_EQ(other.command({"EXISTS", "k"}), integer(0));
}

TEST(protocol, many_arguments) {
  Server server;
  server.start();
  Client client(server);
  Argv mset = {"MSET"}, mget = {"MGET"}, del = {"DEL"};
  std::vector<std::string> values;
  for (int i = 0; i < 50'000; i++) {
    std::string number = std::to_string(i);
    mset.insert(mset.end(), {"key:" + number, number});
    mget.push_back("key:" + number);
    del.push_back("key:" + number);
    values.push_back(bulk(number));
  }
  CHECK_EQ(client.command(mset), kOk);
  CHECK(client.command(mget) == array(values));
  CHECK_EQ(client.command(del), integer(50'000));
  CHECK_EQ(client.command({"DBSIZE"}), integer(0));
}

// A reply is no larger than its client may leave unread, however many are asked for at once.
TEST(protocol, many_large_replies_at_once) {
  Server server({.arguments = {"--threads", "1"}});
  server.start();
  Client client(server), other(server);
  CHECK_EQ(client.command({"SET", "large", std::string(20 << 20, 'x')}), kOk);
  std::string gets;
  for (int i = 0; i < 100; i++) gets += encode({"GET", "large"});
  client.send(gets);
  CHECK_EQ(other.command({"PING"}), kPong);
  CHECK_EQ(other.command({"PING"}), kPong);
  CHECK(server.memory_kb() < 400 << 10);
}

TEST(protocol, what_follows_the_end_is_not_answered) {
  Server server;
  server.start();
  CHECK_EQ(whole_answer(server, "QUIT\r\n*abc\r\n"), kOk);
  CHECK_EQ(whole_answer(server, "CLIENT REPLY OFF\r\n*abc\r\n"), "");
  Client client(server);
  client.send("CLIENT REPLY SKIP\r\n*0\r\nPING\r\n");
  CHECK_EQ(client.read_reply(), kPong);
}

}  // namespace
}  // namespace test
