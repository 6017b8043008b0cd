// Memory: how much is held, that it comes back, and what happens at the limit.
#include <string>
#include <vector>

#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

const std::string kPong = "+PONG\r\n";

std::string key_of(int i) { return "key:" + std::to_string(100'000'000 + i); }

void fill(Client& client, const std::vector<int>& keys) {
  constexpr size_t kAtOnce = 500;
  const std::string value(64, 'v');
  for (size_t i = 0; i < keys.size();) {
    Argv mset = {"MSET"};
    for (size_t n = 0; n < kAtOnce && i < keys.size(); n++, i++) {
      mset.push_back(key_of(keys[i]));
      mset.push_back(value);
    }
    CHECK_EQ(client.command(mset), kOk);
  }
}

void erase(Client& client, const std::vector<int>& keys) {
  constexpr size_t kAtOnce = 500;
  for (size_t i = 0; i < keys.size();) {
    Argv del = {"DEL"};
    for (size_t n = 0; n < kAtOnce && i < keys.size(); n++, i++) del.push_back(key_of(keys[i]));
    CHECK_EQ(client.command(del), integer(int64_t(del.size()) - 1));
  }
}

// Sanitizers keep memory of their own, and much of it.
bool memory_is_plain() { return slowness() == 1; }

// After nine keys of ten are gone, at random, the server holds little more than one that never had
// them: by itself after a while, and at once after MEMORY PURGE.
TEST(memory, comes_back_after_deletes) {
  if (!memory_is_plain()) SKIP("memory is not comparable under a sanitizer");
  Random random(seed());
  std::vector<int> keys(500'000), gone, kept;
  for (int i = 0; i < int(keys.size()); i++) keys[size_t(i)] = i;
  for (int key : keys) (random.below(10) ? gone : kept).push_back(key);

  Server fresh({.arguments = {"--threads", "1"}});
  fresh.start();
  Client fresh_client(fresh);
  fill(fresh_client, kept);
  const double wanted = 1.3 * double(fresh.memory_kb());

  Server server({.arguments = {"--threads", "1"}});
  server.start();
  Client client(server);
  fill(client, keys);
  erase(client, gone);
  while (double(server.memory_kb()) > wanted) CHECK_EQ(client.command({"PING"}), kPong);
  CHECK_EQ(client.command({"MEMORY", "PURGE"}), kOk);
  CHECK(double(server.memory_kb()) < wanted);
  CHECK_EQ(client.command({"DBSIZE"}), integer(int64_t(kept.size())));
  for (int i = 0; i < 1000; i++) {
    CHECK_EQ(client.command({"GET", key_of(kept[random.below(kept.size())])}),
             bulk(std::string(64, 'v')));
    CHECK_EQ(client.command({"GET", key_of(gone[random.below(gone.size())])}), kNil);
  }
}

// A large database is gone at once; its memory follows while others are served.
TEST(memory, comes_back_after_flushall) {
  if (!memory_is_plain()) SKIP("memory is not comparable under a sanitizer");
  Server server({.arguments = {"--threads", "2"}});
  server.start();
  Client client(server);
  const long empty_kb = server.memory_kb();
  std::vector<int> keys(300'000);
  for (int i = 0; i < int(keys.size()); i++) keys[size_t(i)] = i;
  fill(client, keys);
  CHECK_EQ(client.command({"SET", "large", std::string(50 << 20, 'x')}), kOk);
  CHECK(server.memory_kb() > empty_kb + (70 << 10));
  CHECK_EQ(client.command({"FLUSHALL"}), kOk);
  CHECK_EQ(client.command({"DBSIZE"}), integer(0));
  CHECK_EQ(client.command({"SET", key_of(1), "new"}), kOk);
  while (server.memory_kb() > empty_kb + (16 << 10)) {
    CHECK_EQ(client.command({"GET", key_of(1)}), bulk("new"));
  }
}

// The last who has a value is a client that reads it, or sends it and goes; nobody does anything
// after that.
TEST(memory, comes_back_after_the_last_reader) {
  if (!memory_is_plain()) SKIP("memory is not comparable under a sanitizer");
  Server server;
  server.start();
  Client client(server), reader(server);
  const long empty_kb = server.memory_kb();
  const std::string value(50 << 20, 'x');
  CHECK_EQ(client.command({"SET", "k", value}), kOk);
  CHECK(reader.send_command({"GET", "k"}));
  CHECK(reader.readable(10'000));
  CHECK_EQ(client.command({"DEL", "k"}), integer(1));
  CHECK(reader.read_reply() == bulk(value));
  std::string command;
  append_encoded({"SET", "k", value}, &command);
  command.resize(command.size() - 10);
  CHECK(reader.send(command));
  reader.close();
  while (server.memory_kb() > empty_kb + (20 << 10)) sched_yield();
}

// Long replies that are no values are made in libc's heap.
TEST(memory, comes_back_after_long_replies) {
  if (!memory_is_plain()) SKIP("memory is not comparable under a sanitizer");
  Server server;
  server.start();
  Random random(seed());
  const long empty_kb = server.memory_kb();
  Client clients[4];
  for (Client& client : clients) client.connect(server);
  for (int round = 0; round < 40; round++) {
    Client& client = clients[round % 4];
    const size_t bytes = 64'000 + random.below(20'000'000);
    CHECK_EQ(client.command({"SET", "k", random.bytes(64'000) + std::string(bytes, 'x')}), kOk);
    CHECK(client.command({"DUMP", "k"}).size() > 64'000);
  }
  CHECK_EQ(clients[0].command({"DEL", "k"}), integer(1));
  CHECK_EQ(clients[0].command({"MEMORY", "PURGE"}), kOk);
  CHECK(server.memory_kb() < empty_kb + (20 << 10));
}

// A command of very many words, after which nothing of them is kept.
TEST(memory, comes_back_after_many_words) {
  if (!memory_is_plain()) SKIP("memory is not comparable under a sanitizer");
  Server server({.arguments = {"--threads", "1"}});
  server.start();
  const long before_kb = server.memory_kb();
  Client client(server);
  CHECK_EQ(client.command(Argv(3'000'000, "EXISTS")), integer(0));
  client.close();
  CHECK(server.memory_kb() - before_kb < 60 << 10);
}

TEST(memory, an_empty_server_is_small) {
  if (!memory_is_plain()) SKIP("memory is not comparable under a sanitizer");
  Server server({.arguments = {"--threads", "2"}});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"PING"}), kPong);
  CHECK(server.memory_kb() < 8 << 10);
}

// At maxmemory what would grow is refused, the rest works, and room can be made.
TEST(memory, maxmemory) {
  Server server({.arguments = {"--threads", "2", "--maxmemory", "20mb"}});
  server.start();
  Client client(server);
  const std::string value(1000, 'v');
  int stored = 0;
  for (; stored < 100'000; stored++) {
    const std::string reply = client.command({"SET", "k" + std::to_string(stored), value});
    if (reply == kOk) continue;
    CHECK_EQ(reply, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    break;
  }
  CHECK(stored > 10'000 && stored < 21'000);
  CHECK_EQ(client.command({"GET", "k7"}), bulk(value));
  CHECK(client.command({"INCR", "n"}).substr(0, 5) == "-OOM ");
  CHECK_EQ(client.command({"MGET", "k1", "n"}), array({bulk(value), kNil}));
  for (int i = 0; i < stored; i++) {
    CHECK_EQ(client.command({"DEL", "k" + std::to_string(i)}), integer(1));
  }
  CHECK_EQ(client.command({"MEMORY", "PURGE"}), kOk);
  CHECK_EQ(client.command({"SET", "again", value}), kOk);
  CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", "1"}), kOk);
  CHECK(client.command({"SET", "more", value}).substr(0, 5) == "-OOM ");
  CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", "0"}), kOk);
  CHECK_EQ(client.command({"SET", "more", value}), kOk);
}

TEST(memory, usage) {
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"MEMORY", "USAGE", "none"}), kNil);
  CHECK_EQ(client.command({"SET", "0123456789abcdef", std::string(64, 'v')}), kOk);
  CHECK_EQ(client.command({"MEMORY", "USAGE", "0123456789abcdef"}), integer(98));
  CHECK_EQ(client.command({"MEMORY", "USAGE", "k", "SAMPLES"}), "-ERR syntax error\r\n");
  CHECK_EQ(client.command({"MEMORY", "USAGE", "0123456789abcdef", "samples", "0"}), integer(98));
  CHECK_EQ(client.command({"MEMORY", "FOO"}),
           "-ERR unknown subcommand 'FOO'. Try MEMORY HELP.\r\n");
}

}  // namespace
}  // namespace test
