// Commands over several keys, from several connections and threads at once: each happens whole or
// not at all, and no order of keys makes two of them wait for each other for ever.
#include <algorithm>

#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

constexpr size_t kClients = 8;

// Sends a pipeline of its own from every client, then reads all their replies.
struct Crowd {
  Server server;
  std::vector<Client> clients;
  explicit Crowd(bool appendonly)
      : server({.arguments = {"--threads", "4"},
                .tcp = true,
                .unix_socket = false,
                .appendonly = appendonly}),
        clients(kClients) {
    server.start();
    for (Client& client : clients) client.connect(server);
  }
};

// Whoever looks sees the one key under exactly one of its names.
TEST(concurrency, rename) {
  Crowd crowd(true);
  constexpr int kRounds = 3000;
  CHECK_EQ(crowd.clients[0].command({"SET", "a", "1"}), kOk);
  std::string forth, look;
  for (int i = 0; i < kRounds; i++) {
    append_encoded({"RENAME", "a", "b"}, &forth);
    append_encoded({"RENAME", "b", "c"}, &forth);
    append_encoded({"RENAME", "c", "a"}, &forth);
    append_encoded({"EXISTS", "a", "b", "c"}, &look);
  }
  for (size_t c = 0; c < kClients; c++) CHECK(crowd.clients[c].send(c % 2 == 0 ? forth : look));
  for (size_t c = 0; c < kClients; c++)
    for (int i = 0; i < (c % 2 == 0 ? 3 * kRounds : kRounds); i++) {
      std::string reply = crowd.clients[c].read_reply();
      if (c % 2 == 0)
        CHECK(reply == kOk || reply == "-ERR no such key\r\n");
      else
        CHECK_EQ(reply, integer(1));
    }
}

// Keys in any order, repeated ones too; readers see one writer's values only.
TEST(concurrency, mset_and_mget_in_any_order) {
  Crowd crowd(false);
  constexpr int kRounds = 2000, kKeys = 12;
  Random random(seed());
  std::vector<std::string> keys;
  for (int i = 0; i < kKeys; i++) keys.push_back("key" + std::to_string(i));
  std::vector<std::string> pipelines(kClients);
  for (size_t c = 0; c < kClients; c++) {
    for (int i = 0; i < kRounds; i++) {
      for (size_t k = keys.size(); k > 1; k--) std::swap(keys[k - 1], keys[random.below(k)]);
      Argv command = {c % 2 == 0 ? "MSET" : "MGET"};
      for (const std::string& key : keys) {
        command.push_back(key);
        if (c % 2 == 0) command.push_back(std::to_string(c));
      }
      append_encoded(command, &pipelines[c]);
    }
  }
  for (size_t c = 0; c < kClients; c++) CHECK(crowd.clients[c].send(pipelines[c]));
  for (size_t c = 0; c < kClients; c++)
    for (int i = 0; i < kRounds; i++) {
      std::string reply = crowd.clients[c].read_reply();
      if (c % 2 == 0) {
        CHECK_EQ(reply, kOk);
        continue;
      }
      std::vector<std::string> values = elements_of(reply);
      CHECK_EQ(values.size(), kKeys);
      CHECK_EQ(std::count(values.begin(), values.end(), values[0]), kKeys);
    }
}

// FLUSHALL amid writers: after it nothing of what was there before is left.
TEST(concurrency, flushall) {
  Crowd crowd(true);
  constexpr int kRounds = 300;
  std::vector<std::string> pipelines(kClients);
  for (size_t c = 0; c < kClients; c++)
    for (int i = 0; i < kRounds; i++) {
      if (c == 0) {
        append_encoded({"FLUSHALL"}, &pipelines[c]);
      } else if (c % 2 == 1) {
        append_encoded({"MSET", "x", "1", "y", "1", "z", "1"}, &pipelines[c]);
      } else {
        append_encoded({"EXISTS", "x", "y", "z"}, &pipelines[c]);
      }
    }
  for (size_t c = 0; c < kClients; c++) CHECK(crowd.clients[c].send(pipelines[c]));
  for (size_t c = 0; c < kClients; c++)
    for (int i = 0; i < kRounds; i++) {
      std::string reply = crowd.clients[c].read_reply();
      if (c % 2 == 1 || c == 0)
        CHECK_EQ(reply, kOk);
      else
        CHECK(reply == integer(0) || reply == integer(3));
    }
  std::string left = crowd.clients[0].command({"EXISTS", "x", "y", "z"});
  crowd.server.kill9();
  crowd.server.restart();
  Client client(crowd.server);
  CHECK_EQ(client.command({"EXISTS", "x", "y", "z"}), left);
}

// The log has the changes in the order in which they happened: what is loaded is what was there.
TEST(concurrency, log_order) {
  Crowd crowd(true);
  constexpr int kRounds = 3000;
  Random random(seed());
  std::vector<std::string> keys;
  for (int i = 0; i < 6; i++) keys.push_back("key" + std::to_string(i));
  for (size_t c = 0; c < kClients; c++) {
    std::string pipeline;
    for (int i = 0; i < kRounds; i++) {
      const std::string& key = random.pick_from(keys);
      const std::string& other = random.pick_from(keys);
      std::string value = std::to_string(c) + "." + std::to_string(i);
      switch (random.below(6)) {
        case 0:
          append_encoded({"SET", key, value, "GET"}, &pipeline);
          break;
        case 1:
          append_encoded({"DEL", key, other}, &pipeline);
          break;
        case 2:
          append_encoded({"RENAME", key, other}, &pipeline);
          break;
        case 3:
          append_encoded({"MSET", key, value, other, value}, &pipeline);
          break;
        case 4:
          append_encoded({"INCR", key}, &pipeline);
          break;
        default:
          append_encoded({"SET", key, value, "NX"}, &pipeline);
      }
    }
    CHECK(crowd.clients[c].send(pipeline));
  }
  for (Client& client : crowd.clients)
    for (int i = 0; i < kRounds; i++) CHECK_NE(client.read_reply()[0], '<');
  Argv all = {"MGET"};
  all.insert(all.end(), keys.begin(), keys.end());
  std::string before = crowd.clients[0].command(all);
  crowd.server.kill9();
  crowd.server.restart();
  Client client(crowd.server);
  CHECK_EQ(client.command(all), before);
}

// ---- keys of any type ----

constexpr int kUsedDatabases = 3;

// One of the commands that look at all keys, or move them between names and databases.
Argv any_command_on_keys(Random& random, const std::vector<std::string>& keys) {
  const std::string& key = random.pick_from(keys);
  const std::string& other = random.pick_from(keys);
  const std::string db = std::to_string(random.below(kUsedDatabases));
  const std::string later = std::to_string(random.between(100'000, 200'000));
  switch (random.below(24)) {
    case 0:
      return {"SCAN", std::to_string(random.below(70) << 32), "COUNT", "20", "MATCH", "*1*"};
    case 1:
      return {"KEYS", "key*"};
    case 2:
      return {"RANDOMKEY"};
    case 3:
      return {"DBSIZE"};
    case 4:
    case 5:
      return {"COPY", key, other, "REPLACE"};
    case 6:
      return {"COPY", key, other, "DB", db};
    case 7:
    case 8:
      return {"RENAME", key, other};
    case 9:
      return {"RENAMENX", key, other};
    case 10:
    case 11:
      return {"MOVE", key, db};
    case 12:
      if (random.one_in(5)) return {"SWAPDB", db, std::to_string(random.below(kUsedDatabases))};
      return {"SELECT", db};
    case 13:
      if (random.one_in(20)) return {random.one_in(2) ? "FLUSHALL" : "FLUSHDB"};
      return {"SORT", key + "?", "STORE", other};
    case 14:
      return {"EXPIRE", key, random.one_in(8) ? "-1" : later};
    case 15:
      return {"PERSIST", key};
    case 16:
      return {"UNLINK", key};
    case 17:
      if (random.one_in(50)) return {"BGREWRITEAOF"};
      return {"GET", key};
    case 18:
      return {"SET", key, random.letters(20'000), "EX", later};
    default:
      return {"SET", key, random.letters(random.below(200))};
  }
}

// All that is there, with its expiry.
std::vector<std::string> state_of(Client& client, const std::vector<std::string>& keys) {
  std::vector<std::string> state;
  for (int db = 0; db < kUsedDatabases; db++) {
    CHECK_EQ(client.command({"SELECT", std::to_string(db)}), kOk);
    for (const std::string& key : keys) {
      state.push_back(client.command({"GET", key}));
      state.push_back(client.command({"PEXPIRETIME", key}));
    }
    state.push_back(client.command({"DBSIZE"}));
  }
  return state;
}

// While the log is rewritten, too; what is loaded is what was there.
TEST(concurrency, keys_move_about) {
  Server server({.arguments = {"--threads", "2"}, .appendonly = true});
  server.start();
  constexpr int kRounds = 4'000, kMovers = 4;
  Random random(seed());
  std::vector<std::string> keys;
  for (int i = 0; i < 60; i++) keys.push_back("key" + std::to_string(i));
  Client clients[kMovers];
  for (Client& client : clients) {
    client.connect(server);
    std::string pipeline;
    for (int i = 0; i < kRounds; i++) append_encoded(any_command_on_keys(random, keys), &pipeline);
    CHECK(client.send(pipeline));
  }
  for (Client& client : clients)
    for (int i = 0; i < kRounds; i++) CHECK_NE(client.read_reply()[0], '<');
  const std::vector<std::string> before = state_of(clients[0], keys);
  server.kill9();
  server.restart();
  Client client(server);
  CHECK(state_of(client, keys) == before);
}

}  // namespace
}  // namespace test
