// DUMP and RESTORE: payloads as Redis makes them, to and from it, damaged ones, and the log.
#include <sys/time.h>

#include <string>
#include <vector>

#include "base/crc64.h"
#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

const std::string kNotOne = "-ERR DUMP payload version or checksum are wrong\r\n";
const std::string kBadFormat = "-ERR Bad data format\r\n";
const std::string kSyntax = "-ERR syntax error\r\n";
const std::string kNoInteger = "-ERR value is not an integer or out of range\r\n";

// As a Redis 7.0.15 has replied.
const struct {
  std::string value, payload;
} kKnown[] = {
    {"hello world", std::string("\0\x0bhello world\n\0\x0b\xfcI\xb9\xa6\xc7\xa0"
                                "4",
                                23)},
    {"", std::string("\0\0\n\0]\x9b\\@\x0f\x7f\xa2\xda", 12)},
    {"1", std::string("\0\xc0\x01\n\0&x\xe7\xb6\xd1\x01\x11\xfc", 13)},
    {"007", std::string("\0\x03"
                        "007\n\0rX\xe2{Li\xba\xd9",
                        15)},
    {"-128", std::string("\0\xc0\x80\n\0\x99"
                         "f2m/\x0c[\xd9",
                         13)},
    {"-129", std::string("\0\xc1\x7f\xff\n\0\x17`\x82(T\x80\x84\x80", 14)},
    {"2147483647", std::string("\0\xc2\xff\xff\xff\x7f\n\0,t\xe5\x9e\xe0.\xad\xa1", 16)},
    {"2147483648", std::string("\0\n2147483648\n\0\xe7\xb1)\xa3L\x1dv\xee", 22)},
};
const std::string kCompressed = std::string(
    "\0\xc3\x06\x15\x01"
    "aa\xe0\n\0\n\0\xfd\x0c\xb3h\x07"
    "A?h",
    20);  // 21 times 'a'
const std::string kList =
    std::string("\x12\x01\x02\x0a\x0a\0\0\0\x01\0\x81x\x02\xff\x0a\0\xd1{?\xb8\\\x03\x06\x0e", 24);

TEST(dump, payloads_are_those_of_redis) {
  Server server;
  server.start();
  Client client(server);
  for (const auto& [value, payload] : kKnown) {
    CHECK_EQ(client.command({"SET", "k", value}), kOk);
    CHECK_EQ(client.command({"DUMP", "k"}), bulk(payload));
    CHECK_EQ(client.command({"RESTORE", "k", "0", payload, "REPLACE"}), kOk);
    CHECK_EQ(client.command({"GET", "k"}), bulk(value));
  }
  CHECK_EQ(client.command({"RESTORE", "a", "0", kCompressed}), kOk);
  CHECK_EQ(client.command({"GET", "a"}), bulk(std::string(21, 'a')));
  CHECK_EQ(client.command({"DUMP", "none"}), kNil);
  const std::string text(1000, 't');
  CHECK_EQ(client.command({"SET", "k", text}), kOk);
  CHECK(client.command({"DUMP", "k"}).size() < 100);
  CHECK_EQ(client.command({"CONFIG", "SET", "rdbcompression", "no"}), kOk);
  CHECK(client.command({"DUMP", "k"}).size() > 1000);
}

TEST(dump, options_and_their_order) {
  Server server;
  server.start();
  Client client(server);
  const std::string& good = kKnown[0].payload;
  CHECK_EQ(client.command({"SET", "k", "v"}), kOk);
  const struct {
    Argv rest;
    std::string reply;
  } kCases[] = {
      {{"k", "0", good}, "-BUSYKEY Target key name already exists.\r\n"},
      {{"k", "x", "bad"}, "-BUSYKEY Target key name already exists.\r\n"},
      {{"k", "x", "bad", "bogus"}, kSyntax},
      {{"n", "-1", "bad"}, "-ERR Invalid TTL value, must be >= 0\r\n"},
      {{"n", "x", "bad"}, kNoInteger},
      {{"n", "0", "bad"}, kNotOne},
      {{"n", "0", ""}, kNotOne},
      {{"n", "0", kList}, kBadFormat},
      {{"n", "0", good, "IDLETIME"}, kSyntax},
      {{"n", "0", good, "IDLETIME", "-1"}, "-ERR Invalid IDLETIME value, must be >= 0\r\n"},
      {{"n", "0", good, "IDLETIME", "x"}, kNoInteger},
      {{"n", "0", good, "FREQ"}, kSyntax},
      {{"n", "0", good, "FREQ", "256"}, "-ERR Invalid FREQ value, must be >= 0 and <= 255\r\n"},
      {{"n", "0", good, "FREQ", "-1"}, "-ERR Invalid FREQ value, must be >= 0 and <= 255\r\n"},
      {{"n", "0", good, "FREQ", "1", "IDLETIME", "1"}, kSyntax},
      {{"n", "0", good, "IDLETIME", "1", "FREQ", "1"}, kSyntax},
      {{"n", "0", good, "IDLETIME", "1", "idletime", "9223372036854775807"}, kOk},
      {{"n", "0", good, "FREQ", "1", "freq", "255", "replace"}, kOk},
      {{"n", "0", good, "ABSTTL", "REPLACE", "ABSTTL"}, kOk},
  };
  for (const auto& [rest, reply] : kCases) {
    Argv argv = {"RESTORE"};
    argv.insert(argv.end(), rest.begin(), rest.end());
    CHECK_EQ(client.command(argv), reply);
  }
  CHECK_EQ(client.command({"GET", "k"}), bulk("v"));
  // What is past when it comes is not made; what it replaces is gone.
  CHECK_EQ(client.command({"RESTORE", "past", "1", good, "ABSTTL"}), kOk);
  CHECK_EQ(client.command({"RESTORE", "k", "1", good, "ABSTTL", "REPLACE"}), kOk);
  CHECK_EQ(client.command({"RESTORE", "far", "9223372036854775807", good}), kOk);
  CHECK_EQ(client.command({"EXISTS", "past", "k", "far"}), integer(0));
}

// Every byte of it changed, and cut at every place: an error, and nothing is made.
TEST(dump, damage_is_refused) {
  Random random(seed());
  Server server;
  server.start();
  Client client(server);
  std::string text;
  for (int i = 0; i < 20; i++) text += "word" + std::to_string(random.below(5)) + " ";
  for (const std::string& value : {std::string("short"), std::string("70000"), text}) {
    CHECK_EQ(client.command({"SET", "k", value}), kOk);
    const std::string good = text_of(client.command({"DUMP", "k"}));
    for (size_t at = 0; at < good.size(); at++) {
      std::string damaged = good;
      damaged[at] ^= char(1 + random.below(255));
      CHECK_EQ(client.command({"RESTORE", "n", "0", damaged}), kNotOne);
      CHECK_EQ(client.command({"RESTORE", "n", "0", good.substr(0, at)}), kNotOne);
    }
    CHECK_EQ(client.command({"EXISTS", "n"}), integer(0));
  }
}

// With a checksum that fits again, as somebody who means harm would send it.
TEST(dump, forged_payloads) {
  Random random(seed());
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "k", std::string(300, 'x') + random.bytes(20)}), kOk);
  const std::string long_one = text_of(client.command({"DUMP", "k"}));
  for (const std::string& good : {long_one, kKnown[0].payload, kKnown[6].payload, kList}) {
    const std::string body = good.substr(0, good.size() - 8);
    for (int i = 0; i < 3'000; i++) {
      std::string forged =
          body.substr(0, random.one_in(4) ? random.below(body.size()) : body.size());
      for (uint64_t j = random.below(4); j > 0 && !forged.empty(); j--) {
        forged[random.below(forged.size())] = char(random.next());
      }
      if (random.one_in(2)) forged.append("\x0a\0", 2);
      const uint64_t crc = ignix::crc64(0, forged);
      forged.append(reinterpret_cast<const char*>(&crc), sizeof crc);
      const std::string reply = client.command({"RESTORE", "n", "0", forged, "REPLACE"});
      if (reply != kOk && reply != kBadFormat && reply != kNotOne) FAIL(quote(reply));
    }
  }
  CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
}

struct Pair {
  Pair() {
    need_redis();
    ignix.start();
    redis.start();
    ours.connect(ignix);
    theirs.connect(redis);
  }
  Server ignix{{.arguments = {}, .appendonly = true}};
  Server redis{{.program = Program::kRedis}};
  Client ours, theirs;
};

std::vector<std::string> many_values(Random& random) {
  std::vector<std::string> values = {"",
                                     "0",
                                     "-1",
                                     "007",
                                     std::string(100'000, 'x'),
                                     random.bytes(200'000),
                                     random.letters(5'000'000)};
  for (int i = 0; i < 300; i++) {
    std::string text;
    for (uint64_t j = random.below(60); j > 0; j--) {
      text += random.one_in(3) ? random.bytes(random.below(30)) : "and again, ";
    }
    values.push_back(text);
    values.push_back(std::to_string(int64_t(random.next()) >> random.below(64)));
  }
  return values;
}

TEST(dump, to_redis_and_back) {
  Pair pair;
  Random random(seed());
  for (const std::string& value : many_values(random)) {
    CHECK_EQ(pair.ours.command({"SET", "k", value}), kOk);
    CHECK_EQ(pair.theirs.command({"SET", "k", value}), kOk);
    const std::string ours = text_of(pair.ours.command({"DUMP", "k"}));
    const std::string theirs = text_of(pair.theirs.command({"DUMP", "k"}));
    if (value.size() <= 20) CHECK(ours == theirs);
    CHECK_EQ(pair.ours.command({"RESTORE", "n", "0", theirs, "REPLACE"}), kOk);
    CHECK_EQ(pair.theirs.command({"RESTORE", "n", "0", ours, "REPLACE"}), kOk);
    CHECK(pair.ours.command({"GET", "n"}) == bulk(value));
    CHECK(pair.theirs.command({"GET", "n"}) == bulk(value));
  }
}

// The log has the effect: it comes back after a crash, and Redis reads it.
TEST(dump, log_of_restore) {
  Pair pair;
  const std::string& payload = kKnown[0].payload;
  timeval now;
  gettimeofday(&now, nullptr);
  CHECK_EQ(pair.ours.command({"SET", "replaced", "v"}), kOk);
  CHECK_EQ(pair.ours.command({"SET", "gone", "v"}), kOk);
  CHECK_EQ(pair.ours.command({"RESTORE", "plain", "0", payload, "IDLETIME", "5"}), kOk);
  CHECK_EQ(pair.ours.command({"RESTORE", "replaced", "1000000", payload, "REPLACE"}), kOk);
  CHECK_EQ(pair.ours.command({"RESTORE", "absolute", "99999999999999", kCompressed, "ABSTTL"}),
           kOk);
  CHECK_EQ(pair.ours.command({"RESTORE", "gone", "1", payload, "ABSTTL", "REPLACE"}), kOk);
  const std::string aof = read_file(pair.ignix.dir() + "/ignix.aof");
  CHECK(aof.find(encode({"RESTORE", "plain", "0", payload, "REPLACE", "ABSTTL"})) !=
        std::string::npos);
  CHECK(aof.find(encode({"DEL", "gone"})) != std::string::npos);
  pair.ignix.kill9();
  pair.ignix.restart();
  pair.ours.connect(pair.ignix);
  CHECK(pair.theirs.send(aof + encode({"ECHO", "the end"})));
  while (true) {
    const std::string reply = pair.theirs.read_reply();
    if (reply == bulk("the end")) break;
    CHECK(reply[0] != '-' && reply[0] != '<');
  }
  for (Client* client : {&pair.ours, &pair.theirs}) {
    CHECK_EQ(client->command({"GET", "plain"}), bulk("hello world"));
    CHECK_EQ(client->command({"GET", "replaced"}), bulk("hello world"));
    CHECK_EQ(client->command({"GET", "absolute"}), bulk(std::string(21, 'a')));
    CHECK_EQ(client->command({"EXISTS", "gone"}), integer(0));
  }
  CHECK_EQ(pair.theirs.command({"PEXPIRETIME", "absolute"}), integer(99999999999999));
  const long long ends = atoll(pair.theirs.command({"PEXPIRETIME", "replaced"}).c_str() + 1);
  const long long now_ms = now.tv_sec * 1000LL + now.tv_usec / 1000;
  CHECK(ends >= now_ms + 1'000'000 && ends < now_ms + 1'300'000);
}

}  // namespace
}  // namespace test
