// MULTI, EXEC and WATCH from several connections and threads: sums of accounts stay what they are,
// whoever looks, whenever the server is killed; and no mixture of commands locks another one out.
#include <algorithm>
#include <memory>

#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

constexpr size_t kClients = 8;
constexpr int kAccounts = 10, kStart = 1000;
const std::string kQueued = "+QUEUED\r\n";

struct Bank {
  Server server;
  std::vector<Client> clients;
  explicit Bank(const char* threads)
      : server({.arguments = {"--threads", threads},
                .tcp = true,
                .unix_socket = false,
                .appendonly = true}),
        clients(kClients) {
    server.start();
    connect();
    Argv open = {"MSET"};
    for (int i = 0; i < kAccounts; i++) {
      open.insert(open.end(), {account(i), std::to_string(kStart)});
    }
    CHECK_EQ(clients[0].command(open), kOk);
  }
  void connect() {
    for (Client& client : clients) client.connect(server);
  }
  static std::string account(uint64_t i) { return "account:" + std::to_string(i); }
  static Argv look() {
    Argv argv = {"MGET"};
    for (int i = 0; i < kAccounts; i++) argv.push_back(account(uint64_t(i)));
    return argv;
  }
};

int64_t sum_of(const std::string& reply) {
  int64_t sum = 0;
  for (const std::string& element : elements_of(reply)) {
    sum += atoll(element.c_str() + element.find('\n') + 1);
  }
  return sum;
}

void add_transfer(Random& random, std::string* bytes) {
  const std::string amount = std::to_string(random.between(1, 100));
  append_encoded({"MULTI"}, bytes);
  append_encoded({"DECRBY", Bank::account(random.below(kAccounts)), amount}, bytes);
  append_encoded({"INCRBY", Bank::account(random.below(kAccounts)), amount}, bytes);
  append_encoded({"EXEC"}, bytes);
}

// The even ones transfer; the odd ones look, by MGET and by GETs in a transaction.
void transfer_and_look(Bank& bank, Random& random, int rounds) {
  std::vector<std::string> pipelines(kClients);
  for (size_t c = 0; c < kClients; c++) {
    for (int i = 0; i < rounds; i++) {
      if (c % 2 == 0) {
        add_transfer(random, &pipelines[c]);
      } else {
        append_encoded({"MULTI"}, &pipelines[c]);
        append_encoded(Bank::look(), &pipelines[c]);
        append_encoded({"EXEC"}, &pipelines[c]);
        append_encoded(Bank::look(), &pipelines[c]);
      }
    }
  }
  for (size_t c = 0; c < kClients; c++) CHECK(bank.clients[c].send(pipelines[c]));
  for (size_t c = 0; c < kClients; c++) {
    for (int i = 0; i < rounds; i++) {
      CHECK_EQ(bank.clients[c].read_reply(), kOk);
      CHECK_EQ(bank.clients[c].read_reply(), kQueued);
      if (c % 2 == 0) {
        CHECK_EQ(bank.clients[c].read_reply(), kQueued);
        CHECK_EQ(elements_of(bank.clients[c].read_reply()).size(), 2);
        continue;
      }
      CHECK_EQ(sum_of(elements_of(bank.clients[c].read_reply())[0]), kAccounts * kStart);
      CHECK_EQ(sum_of(bank.clients[c].read_reply()), kAccounts * kStart);
    }
  }
}

TEST(transactions, transfers_keep_the_sum) {
  Bank bank("4");
  Random random(seed());
  transfer_and_look(bank, random, 1500);
}

// A snapshot holds all of an EXEC or nothing, and so does the log behind it.
void save_amid_transfers(const char* threads) {
  Bank bank(threads);
  Random random(seed());
  Client saver(bank.server);
  for (int i = 0; i < 4; i++) {
    CHECK_EQ(saver.command({"BGREWRITEAOF"})[0], '+');
    transfer_and_look(bank, random, 200);
    bank.server.kill9();
    bank.server.restart();
    bank.connect();
    saver.connect(bank.server);
    CHECK_EQ(sum_of(saver.command(Bank::look())), kAccounts * kStart);
  }
}
TEST(transactions, snapshot_of_one_thread) { save_amid_transfers("1"); }
TEST(transactions, snapshot_of_two_threads) { save_amid_transfers("2"); }

// Killed while transfers are under way: none is left in half.
TEST(transactions, killed_amid_transfers) {
  Bank bank("2");
  Random random(seed());
  for (int round = 0; round < 8; round++) {
    for (Client& client : bank.clients) {
      std::string bytes;
      for (int i = 0; i < 500; i++) add_transfer(random, &bytes);
      CHECK(client.send(bytes));
    }
    const size_t replies = random.below(400);
    for (size_t i = 0; i < replies; i++) bank.clients[0].read_reply();
    bank.server.kill9();
    bank.server.restart();
    bank.connect();
    CHECK_EQ(sum_of(bank.clients[0].command(Bank::look())), kAccounts * kStart);
  }
}

// Each client reads, computes and writes; who was not alone tries again.
TEST(transactions, watch_loses_no_update) {
  Bank bank("4");
  constexpr int kRounds = 300;
  const std::string null = "*-1\r\n";
  int done[kClients] = {};
  std::string value[kClients];
  for (bool more = true; more;) {
    more = false;
    for (size_t c = 0; c < kClients; c++) {
      if (done[c] == kRounds) continue;
      std::string bytes;
      append_encoded({"WATCH", "account:0"}, &bytes);
      append_encoded({"GET", "account:0"}, &bytes);
      CHECK(bank.clients[c].send(bytes));
      more = true;
    }
    for (size_t c = 0; c < kClients; c++) {
      if (done[c] == kRounds) continue;
      CHECK_EQ(bank.clients[c].read_reply(), kOk);
      const std::string reply = bank.clients[c].read_reply();
      const int64_t next = atoll(reply.c_str() + reply.find('\n') + 1) + 1;
      std::string bytes;
      append_encoded({"MULTI"}, &bytes);
      append_encoded({"SET", "account:0", std::to_string(next)}, &bytes);
      append_encoded({"EXEC"}, &bytes);
      CHECK(bank.clients[c].send(bytes));
    }
    for (size_t c = 0; c < kClients; c++) {
      if (done[c] == kRounds) continue;
      CHECK_EQ(bank.clients[c].read_reply(), kOk);
      CHECK_EQ(bank.clients[c].read_reply(), kQueued);
      const std::string reply = bank.clients[c].read_reply();
      if (reply != null) done[c]++;
    }
  }
  CHECK_EQ(bank.clients[0].command({"GET", "account:0"}),
           bulk(std::to_string(kStart + int(kClients) * kRounds)));
}

// Commands that lock stripes in ways of their own, inside transactions, on several threads.
TEST(transactions, nothing_waits_for_ever) {
  Bank bank("4");
  Random random(seed());
  const std::vector<Argv> commands = {{"INFO"},
                                      {"DBSIZE"},
                                      {"KEYS", "*"},
                                      {"SCAN", "0"},
                                      {"RANDOMKEY"},
                                      {"FLUSHDB"},
                                      {"BGSAVE"},
                                      {"BGREWRITEAOF"},
                                      {"SWAPDB", "0", "1"},
                                      {"MEMORY", "USAGE", "account:1"},
                                      {"MEMORY", "PURGE"},
                                      {"CONFIG", "SET", "maxmemory", "0"},
                                      {"CONFIG", "RESETSTAT"},
                                      {"WAIT", "1", "0"},
                                      {"MSET", "account:1", "1", "account:2", "2", "x", "3"},
                                      {"RENAME", "account:1", "account:5"},
                                      {"COPY", "account:2", "account:6", "REPLACE"},
                                      {"UNWATCH"}};
  constexpr int kRounds = 100;
  size_t replies[kClients] = {};
  for (size_t c = 0; c < kClients; c++) {
    std::string bytes;
    for (int i = 0; i < kRounds; i++) {
      if (random.one_in(3)) {
        append_encoded({"WATCH", Bank::account(random.below(kAccounts))}, &bytes);
        replies[c]++;
      }
      append_encoded({"MULTI"}, &bytes);
      const size_t count = 1 + random.below(5);
      for (size_t k = 0; k < count; k++) append_encoded(random.pick_from(commands), &bytes);
      append_encoded({"EXEC"}, &bytes);
      replies[c] += count + 2;
    }
    CHECK(bank.clients[c].send(bytes));
  }
  for (size_t c = 0; c < kClients; c++) {
    for (size_t i = 0; i < replies[c]; i++) {
      const std::string reply = bank.clients[c].read_reply();
      CHECK(reply != Client::kTimeout);
      CHECK(reply[0] != '<');
    }
  }
  CHECK_EQ(bank.clients[0].command({"PING"}), "+PONG\r\n");
}

// Who leaves amid a transaction, or with watched keys, leaves nothing behind.
TEST(transactions, a_client_that_leaves) {
  Bank bank("2");
  for (int i = 0; i < 200; i++) {
    Client leaver(bank.server);
    CHECK_EQ(leaver.command({"WATCH", "account:1", "account:2"}), kOk);
    CHECK_EQ(leaver.command({"MULTI"}), kOk);
    CHECK_EQ(leaver.command({"SET", "account:1", "0"}), kQueued);
    leaver.close();
    CHECK_EQ(bank.clients[0].command({"INCRBY", "account:2", "0"}), integer(kStart));
  }
  CHECK_EQ(sum_of(bank.clients[0].command(Bank::look())), kAccounts * kStart);
}

// The words of a command stay whole while it waits for EXEC, also where one came straight into a
// block.
TEST(transactions, long_values) {
  Bank bank("2");
  const std::string value(3 << 20, 'v');
  Client& client = bank.clients[0];
  CHECK_EQ(client.command({"MULTI"}), kOk);
  CHECK_EQ(client.command({"SET", "long", value}), kQueued);
  CHECK_EQ(client.command({"APPEND", "long", value}), kQueued);
  CHECK_EQ(client.command({"EXEC"}), "*2\r\n+OK\r\n" + integer(2 * int64_t(value.size())));
  bank.server.kill9();
  bank.server.restart();
  client.connect(bank.server);
  CHECK_EQ(client.command({"GET", "long"}), bulk(value + value));
}

}  // namespace
}  // namespace test
