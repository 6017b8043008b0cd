// What several clients at once, on several threads, see of transactions: all of one or nothing of
// it, also in snapshots, in the log after a kill, and when they watch what others change. And that
// nobody waits for ever.
#include <pthread.h>
#include <stdlib.h>

#include <atomic>
#include <string>
#include <vector>

#include "client.h"
#include "linearizable.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

const std::string kQueued = "+QUEUED\r\n";
const std::string kNullArray = "*-1\r\n";
constexpr int kAccounts = 16;
constexpr long long kBalance = 1000;
constexpr size_t kClients = 8;

std::string account(uint64_t number) { return "account:" + std::to_string(number); }

long long number_of(const std::string& bulk_reply) {
  return atoll(bulk_reply.c_str() + bulk_reply.find('\n') + 1);
}

Argv all_accounts() {
  Argv argv = {"MGET"};
  for (uint64_t i = 0; i < kAccounts; i++) argv.push_back(account(i));
  return argv;
}

void check_sum(const std::vector<std::string>& balances) {
  long long sum = 0;
  for (const std::string& balance : balances) sum += number_of(balance);
  CHECK_EQ(balances.size(), kAccounts);
  CHECK_EQ(sum, kAccounts * kBalance);
}

// One who moves money, or looks at all of it, until its server is gone or it is told to stop.
struct Teller {
  const Server* server = nullptr;
  size_t number = 0;
  uint64_t seed = 0;
  std::atomic<bool> stopping{false};
  std::atomic<long long> done{0};  // acknowledged
  std::atomic<long long> aborted{0};
  pthread_t thread = {};
  Client client;

  std::string counter() const { return "done:" + std::to_string(number); }

  void start() {
    client.connect(*server);  // here: the server may be killed before the thread runs
    CHECK_EQ(pthread_create(&thread, nullptr, run, this), 0);
  }
  void join() {
    stopping = true;
    pthread_join(thread, nullptr);
  }
  static void* run(void* self) {
    static_cast<Teller*>(self)->work();
    return nullptr;
  }

  void work() {
    Random random(seed);
    while (!stopping) {
      const uint64_t from = random.below(kAccounts);
      const uint64_t to = (from + 1 + random.below(kAccounts - 1)) % kAccounts;
      const long long amount = 1 + (long long)(random.below(50));
      bool open;
      if (number % 4 == 3) {
        open = look(client, random);
      } else if (number % 2 == 0) {
        open = move_watched(client, account(from), account(to), amount);
      } else {
        open = move_counted(client, account(from), account(to), amount);
      }
      if (!open) return;
    }
  }

  // False once the server is gone.
  bool look(Client& client, Random& random) {
    if (random.one_in(2)) {
      const std::string reply = client.command(all_accounts());
      if (reply == Client::kClosed) return false;
      check_sum(elements_of(reply));
      return true;
    }
    std::string bytes = encode({"MULTI"});
    for (uint64_t i = 0; i < kAccounts; i++) append_encoded({"GET", account(i)}, &bytes);
    append_encoded({"EXEC"}, &bytes);
    if (!client.send(bytes)) return false;
    std::string reply;
    for (int i = 0; i < kAccounts + 2; i++) reply = client.read_reply();
    if (reply == Client::kClosed) return false;
    check_sum(elements_of(reply));
    return true;
  }

  bool move_watched(Client& client, const std::string& from, const std::string& to,
                    long long amount) {
    std::string bytes = encode({"WATCH", from, to}) + encode({"GET", from}) + encode({"GET", to});
    if (!client.send(bytes)) return false;
    client.read_reply();
    const std::string first = client.read_reply(), second = client.read_reply();
    if (second == Client::kClosed) return false;
    return transact(client, {{"SET", from, std::to_string(number_of(first) - amount)},
                             {"SET", to, std::to_string(number_of(second) + amount)}});
  }

  bool move_counted(Client& client, const std::string& from, const std::string& to,
                    long long amount) {
    return transact(
        client, {{"DECRBY", from, std::to_string(amount)}, {"INCRBY", to, std::to_string(amount)}});
  }

  bool transact(Client& client, const std::vector<Argv>& commands) {
    std::string bytes = encode({"MULTI"});
    for (const Argv& argv : commands) append_encoded(argv, &bytes);
    append_encoded({"INCR", counter()}, &bytes);
    append_encoded({"EXEC"}, &bytes);
    if (!client.send(bytes)) return false;
    std::string reply;
    for (size_t i = 0; i < commands.size() + 3; i++) reply = client.read_reply();
    if (reply == Client::kClosed) return false;
    if (reply == kNullArray) {
      aborted++;
    } else {
      const std::vector<std::string> replies = elements_of(reply);
      CHECK_EQ(replies.size(), commands.size() + 1);
      done++;
      CHECK_EQ(replies.back(), integer(done));
    }
    return true;
  }
};

void open_accounts(Client& client) {
  Argv argv = {"MSET"};
  for (uint64_t i = 0; i < kAccounts; i++) {
    argv.insert(argv.end(), {account(i), std::to_string(kBalance)});
  }
  CHECK_EQ(client.command(argv), kOk);
}

long long sum_of_done(const std::vector<Teller>& tellers) {
  long long sum = 0;
  for (const Teller& teller : tellers) sum += teller.done;
  return sum;
}

// No money comes or goes, whoever looks, and what was acknowledged outlives a kill.
void transfers(const char* threads) {
  Random random(seed());
  Server server({.arguments = {"--threads", threads}, .appendonly = true});
  server.start();
  Client client(server);
  open_accounts(client);
  for (int round = 0; round < 4; round++) {
    std::vector<Teller> tellers(kClients);
    for (size_t i = 0; i < kClients; i++) {
      tellers[i].server = &server;
      tellers[i].number = i;
      tellers[i].seed = random.next();
      CHECK_EQ(client.command({"SET", tellers[i].counter(), "0"}), kOk);
    }
    for (Teller& teller : tellers) teller.start();
    const long long until = 500 + (long long)(random.below(3000));
    const bool rewrites = random.one_in(2);
    while (sum_of_done(tellers) < until) {
      check_sum(elements_of(client.command(all_accounts())));
      if (rewrites) client.command({"BGREWRITEAOF"});
    }
    server.kill9();
    for (Teller& teller : tellers) teller.join();
    server.restart();
    client.connect(server);
    check_sum(elements_of(client.command(all_accounts())));
    for (const Teller& teller : tellers) {
      const long long kept = number_of(client.command({"GET", teller.counter()}));
      CHECK(kept == teller.done || kept == teller.done + 1);
    }
  }
}

TEST(isolation, transfers_one_thread) { transfers("1"); }
TEST(isolation, transfers_two_threads) { transfers("2"); }
TEST(isolation, transfers_four_threads) { transfers("4"); }

// Two clients that each watch what the other one writes: one of them finds it changed. Much stands
// between the look at the watched key and the write.
TEST(isolation, write_skew) {
  Server server({.arguments = {"--threads", "4"}, .tcp = true, .unix_socket = false});
  server.start();
  constexpr int kPairs = 40, kRounds = 50, kBetween = 300;
  std::vector<Client> clients(2);
  for (Client& client : clients) client.connect(server);
  for (int round = 0; round < kRounds; round++) {
    std::string bytes[2];
    for (size_t c = 0; c < 2; c++) {
      for (int i = 0; i < kPairs; i++) {
        const std::string id = std::to_string(round) + "." + std::to_string(i);
        const std::string mine = (c ? "b" : "a") + id, yours = (c ? "a" : "b") + id;
        bytes[c] += encode({"WATCH", yours}) + encode({"GET", yours}) + encode({"MULTI"});
        for (int n = 0; n < kBetween; n++) bytes[c] += encode({"GET", mine});
        bytes[c] += encode({"SET", mine, "1"}) + encode({"EXEC"});
      }
    }
    for (size_t c = 0; c < 2; c++) CHECK(clients[c].send(bytes[c]));
    std::vector<bool> blind[2];  // has written without having seen the other's
    for (size_t c = 0; c < 2; c++) {
      for (int i = 0; i < kPairs; i++) {
        CHECK_EQ(clients[c].read_reply(), kOk);
        const std::string seen = clients[c].read_reply();
        CHECK_EQ(clients[c].read_reply(), kOk);
        for (int n = 0; n < kBetween + 1; n++) CHECK_EQ(clients[c].read_reply(), kQueued);
        blind[c].push_back(clients[c].read_reply() != kNullArray && seen == kNil);
      }
    }
    for (size_t i = 0; i < kPairs; i++) CHECK(!(blind[0][i] && blind[1][i]));
  }
}

// ---- histories

// A client of a history: it sends an operation, or a few, before it reads what they reply.
struct Historian {
  Client client;
  int number = 0;
  struct Sent {
    Operation operation;
    bool is_exec = false;
  };
  std::vector<Sent> sent;
  // A GET behind a WATCH has seen this: the next transaction relies on it.
  std::string watched, seen;
  bool watches = false;
};

Historian::Sent single(const Argv& argv) {
  Historian::Sent sent;
  sent.operation.commands.push_back(argv);
  return sent;
}

struct History {
  Random random;
  std::string prefix;  // of its keys, which no other history has
  int keys;
  uint64_t now = 1;
  std::vector<Operation> operations = {};

  std::string key() { return prefix + std::to_string(random.below(uint64_t(keys))); }
};

Argv any_command(History& h) {
  switch (h.random.below(8)) {
    case 0:
      return {"GET", h.key()};
    case 1:
      return {"SET", h.key(), std::to_string(h.random.below(1000))};
    case 2:
    case 3:
      return {"INCR", h.key()};
    case 4:
      return {"MSET", h.key(), std::to_string(h.now), h.key(), std::to_string(h.now)};
    case 5: {
      Argv argv = {"MGET"};
      for (int i = 0; i < h.keys; i++) argv.push_back(h.prefix + std::to_string(i));
      return argv;
    }
    case 6:
      return h.random.one_in(2) ? Argv{"DEL", h.key()} : Argv{"DEL", h.key(), h.key()};
    default:
      return {"RENAME", h.key(), h.key()};
  }
}

void append_transaction(History& h, Historian& who, std::string* bytes) {
  Historian::Sent sent;
  sent.is_exec = true;
  append_encoded({"MULTI"}, bytes);
  if (who.watches) {
    // EXEC runs only if this is still so.
    sent.operation.commands.push_back({"GET", who.watched});
    sent.operation.replies.push_back(who.seen);
  }
  for (size_t i = 1 + h.random.below(4); i > 0; i--) {
    sent.operation.commands.push_back(any_command(h));
    append_encoded(sent.operation.commands.back(), bytes);
  }
  append_encoded({"EXEC"}, bytes);
  who.watches = false;
  who.sent.push_back(std::move(sent));
}

void send_some(History& h, Historian& who) {
  std::string bytes;
  if (who.watches) {
    append_transaction(h, who, &bytes);
  } else if (h.random.one_in(4)) {
    who.watched = h.key();
    who.watches = true;
    append_encoded({"WATCH", who.watched}, &bytes);
    append_encoded({"GET", who.watched}, &bytes);
    who.sent.push_back(single({"GET", who.watched}));
  } else {
    for (size_t i = 1 + h.random.below(3); i > 0; i--) {
      if (h.random.one_in(2)) {
        append_transaction(h, who, &bytes);
      } else {
        who.sent.push_back(single(any_command(h)));
        append_encoded(who.sent.back().operation.commands[0], &bytes);
      }
    }
  }
  for (Historian::Sent& each : who.sent) {
    each.operation.client = who.number;
    each.operation.called = h.now++;
  }
  CHECK(who.client.send(bytes));
}

void read_all(History& h, Historian& who) {
  for (Historian::Sent& each : who.sent) {
    Operation& operation = each.operation;
    if (!each.is_exec) {
      if (who.watches) CHECK_EQ(who.client.read_reply(), kOk);
      operation.replies = {who.client.read_reply()};
      if (who.watches) who.seen = operation.replies[0];
    } else {
      const size_t known = operation.replies.size();
      CHECK_EQ(who.client.read_reply(), kOk);
      for (size_t i = known; i < operation.commands.size(); i++) {
        CHECK_EQ(who.client.read_reply(), kQueued);
      }
      const std::string reply = who.client.read_reply();
      if (reply == kNullArray) continue;  // nothing has happened, at any time
      for (std::string& element : elements_of(reply)) operation.replies.push_back(element);
    }
    operation.returned = h.now++;
    h.operations.push_back(std::move(operation));
  }
  who.sent.clear();
}

size_t runs_of_case() {
  const char* text = getenv("IGNIX_TEST_RUNS");
  return text != nullptr ? strtoull(text, nullptr, 10) : 40;
}

void histories(const char* threads) {
  constexpr size_t kSteps = 120;
  Random random(seed());
  Server server({.arguments = {"--threads", threads}, .tcp = true, .unix_socket = false});
  server.start();
  std::vector<Historian> clients(6);
  for (size_t i = 0; i < clients.size(); i++) {
    clients[i].number = int(i);
    clients[i].client.connect(server);
  }
  for (size_t run = 0; run < runs_of_case(); run++) {
    History h = {Random(random.next()), std::to_string(run) + ":", int(2 + random.below(3))};
    for (size_t step = 0; step < kSteps; step++) {
      Historian& who = clients[h.random.below(clients.size())];
      if (who.sent.empty()) {
        send_some(h, who);
      } else {
        read_all(h, who);
      }
    }
    for (Historian& who : clients) {
      read_all(h, who);
      if (who.watches) CHECK_EQ(who.client.command({"UNWATCH"}), kOk);
      who.watches = false;
    }
    const std::string verdict = explain_history(h.operations);
    if (!verdict.empty()) {
      FAIL("history " + std::to_string(run) + ": " + verdict + "\n  repeat: " + how_to_repeat());
    }
    progress("%zu of %zu", run, runs_of_case());
  }
}

TEST_LONG(isolation, histories_two_threads) { histories("2"); }
TEST_LONG(isolation, histories_four_threads) { histories("4"); }

// ---- snapshots

constexpr int kPairs = 300;

// Sets pairs of keys by transactions, some of which ask for a snapshot in between.
struct PairWriter {
  const Server* server = nullptr;
  int number = 0;
  uint64_t seed = 0;
  std::atomic<bool> stopping{false};
  std::atomic<long long> rounds{0};
  pthread_t thread = {};

  std::string key(char half, uint64_t pair) const {
    return std::string(1, half) + std::to_string(number) + ":" + std::to_string(pair);
  }
  static void* run(void* self) {
    PairWriter& w = *static_cast<PairWriter*>(self);
    Random random(w.seed);
    Client client(*w.server);
    for (long long round = 1; !w.stopping; round++) {
      const uint64_t pair = random.below(kPairs);
      const std::string value = std::to_string(round) + std::string(random.below(100), 'v');
      std::string bytes = encode({"MULTI"}) + encode({"SET", w.key('a', pair), value});
      append_encoded(random.one_in(50) ? Argv{"BGSAVE"} : Argv{"INCR", w.key('n', 0)}, &bytes);
      append_encoded({"SET", w.key('b', pair), value}, &bytes);
      append_encoded({"EXEC"}, &bytes);
      if (!client.send(bytes)) break;
      std::string reply;
      for (int i = 0; i < 5; i++) reply = client.read_reply();
      if (elements_of(reply).size() != 3) break;
      w.rounds = round;
    }
    return nullptr;
  }
};

void check_pairs(const std::string& dir, const PairWriter (&writers)[3]) {
  Server restored({.dir = dir});
  restored.start();
  Client reader(restored);
  for (const PairWriter& w : writers) {
    for (uint64_t pair = 0; pair < kPairs; pair++) {
      CHECK_EQ(reader.command({"GET", w.key('a', pair)}),
               reader.command({"GET", w.key('b', pair)}));
    }
  }
}

// A snapshot has all of a transaction or nothing of it, also of one that has asked for it.
void snapshots(const char* threads) {
  Server server({.arguments = {"--threads", threads}});
  server.start();
  PairWriter writers[3];
  for (int i = 0; i < 3; i++) {
    writers[i].server = &server;
    writers[i].number = i;
    writers[i].seed = seed() + uint64_t(i);
    CHECK_EQ(pthread_create(&writers[i].thread, nullptr, PairWriter::run, &writers[i]), 0);
  }
  Client client(server);
  for (int round = 0; round < 5; round++) {
    const size_t log_at = server.log().size();
    const std::string reply = client.command({"BGSAVE"});
    CHECK(reply == "+Background saving started\r\n" || reply.find("already") != std::string::npos);
    CHECK(server.wait_log("saving is done", log_at));
    const std::string dir = fresh_dir("restored" + std::to_string(round));
    write_file(dir + "/dump.rdb", read_file(server.dir() + "/dump.rdb"));
    check_pairs(dir, writers);
  }
  for (PairWriter& w : writers) {
    w.stopping = true;
    pthread_join(w.thread, nullptr);
  }
}

TEST(isolation, snapshots_one_thread) { snapshots("1"); }
TEST(isolation, snapshots_two_threads) { snapshots("2"); }

// ---- nobody waits for ever

Argv any_of_all(Random& random) {
  const auto key = [&] { return "k" + std::to_string(random.below(100)); };
  switch (random.below(26)) {
    case 0:
      return {"INFO"};
    case 1:
      return {"DBSIZE"};
    case 2:
      return {"MEMORY", "USAGE", key()};
    case 3:
      return {"FLUSHDB"};
    case 4:
      return {"BGSAVE"};
    case 5:
      return {"CONFIG",      "SET",
              "maxmemory",   random.one_in(2) ? "0" : "10gb",
              "appendfsync", random.one_in(2) ? "everysec" : "no"};
    case 6:
      return {"CONFIG", "RESETSTAT"};
    case 7:
      return {"MEMORY", "PURGE"};
    case 8:
      return {"BGREWRITEAOF"};
    case 9:
      return {"KEYS", "k1*"};
    case 10:
      return {"SCAN", "0", "COUNT", "100"};
    case 11:
      return {"RANDOMKEY"};
    case 12:
      return {"CLIENT", "LIST"};
    case 13:
      return {"SWAPDB", "0", "1"};
    case 14:
      return {"FLUSHALL", "ASYNC"};
    case 15:
      return {"WAIT", "1", "0"};
    case 16:
      return {"UNWATCH"};
    case 17:
      return {"COMMAND", "COUNT"};
    case 18:
      return {"LASTSAVE"};
    case 19:
      return {"MGET", key(), key(), key()};
    case 20:
      return {"SELECT", std::to_string(random.below(2))};
    case 21:
      return {"RENAME", key(), key()};
    default:
      return {"MSET", key(), std::string(random.below(100), 'v'), key(), "v"};
  }
}

TEST(isolation, no_deadlock) {
  Random random(seed());
  Server server(
      {.arguments = {"--threads", "4"}, .tcp = true, .unix_socket = false, .appendonly = true});
  server.start();
  std::vector<Client> clients(kClients);
  for (Client& client : clients) client.connect(server);
  for (int round = 0; round < 12; round++) {
    std::vector<size_t> replies(kClients);
    for (size_t c = 0; c < kClients; c++) {
      std::string bytes;
      const auto add = [&](const Argv& argv) {
        append_encoded(argv, &bytes);
        replies[c]++;
      };
      for (int i = 0; i < 25; i++) {
        if (random.one_in(3)) add({"WATCH", "k" + std::to_string(random.below(100)), "k7"});
        // Some clients run the same outside of transactions, and SAVE waits for all of it.
        if (c % 4 == 3) {
          Argv argv = random.one_in(30) ? Argv{"SAVE"} : any_of_all(random);
          if (argv[0] != "WAIT") add(argv);
          continue;
        }
        add({"MULTI"});
        const bool narrow = random.one_in(2);
        for (size_t n = 1 + random.below(10); n > 0; n--) {
          Argv argv = any_of_all(random);
          if (narrow) argv = {"MSET", argv[0], "v", "k" + std::to_string(random.below(100)), "v"};
          add(argv);
        }
        add({"EXEC"});
      }
      CHECK(clients[c].send(bytes));
    }
    for (size_t c = 0; c < kClients; c++) {
      for (size_t i = 0; i < replies[c]; i++) CHECK_NE(clients[c].read_reply()[0], '<');
    }
  }
  CHECK_EQ(server.stop(), 0);
}

}  // namespace
}  // namespace test
