// Eviction: the limit holds under writes, what may go goes, what must not stays.
#include <string>
#include <vector>

#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

std::string field_of(Client& client, const char* section, const std::string& name) {
  const std::string info = client.command({"INFO", section});
  const size_t at = info.find("\n" + name + ":");
  CHECK(at != std::string::npos);
  const size_t from = at + name.size() + 2;
  return info.substr(from, info.find('\r', from) - from);
}
int64_t number_of(Client& client, const char* section, const std::string& name) {
  return std::stoll(field_of(client, section, name));
}

// So many SETs of values of `bytes`, in one go; each is taken.
void fill(Client& client, const std::string& prefix, int keys, size_t bytes,
          const std::string& expiry_s = "") {
  const std::string value(bytes, 'v');
  std::string commands;
  for (int i = 0; i < keys; i++) {
    Argv argv = {"SET", prefix + std::to_string(i), value};
    if (!expiry_s.empty()) argv.insert(argv.end(), {"EX", expiry_s});
    append_encoded(argv, &commands);
    if (i % 500 < 499 && i + 1 < keys) continue;
    CHECK(client.send(commands));
    commands.clear();
    for (int j = i / 500 * 500; j <= i; j++) CHECK_EQ(client.read_reply(), kOk);
  }
}
int64_t count(Client& client, const std::string& prefix, int keys) {
  Argv argv = {"EXISTS"};
  for (int i = 0; i < keys; i++) argv.push_back(prefix + std::to_string(i));
  return std::stoll(client.command(argv).substr(1));
}

constexpr int64_t kLimit = 24 << 20;
constexpr const char* kTooSlow =
    "a command evicts for so long, not so much, and a sanitizer takes most of the time";

TEST(evict, limit_under_a_flood) {
  if (slowness() > 1) SKIP(kTooSlow);
  Server server({.arguments = {"--threads", "2", "--maxmemory", std::to_string(kLimit),
                               "--maxmemory-policy", "allkeys-lru",
                               // Without an end to what a command evicts, however slow the machine.
                               "--maxmemory-eviction-tenacity", "100"}});
  server.start();
  Client one(server), other(server);
  Random random(seed());
  int round = 0;
  // Sizes shift: what one size leaves must do for the next.
  for (size_t bytes : {64, 3'000, 16, 100'000, 700, 20'000, 300}) {
    const int keys = int(2 * kLimit / int64_t(bytes + 60));
    const std::string prefix = std::to_string(round++) + ":";
    fill(one, prefix + "a", keys / 2, bytes);
    fill(other, prefix + "b", keys / 2, bytes);
    CHECK(number_of(one, "memory", "used_memory") <= kLimit + kLimit / 50);
    CHECK(number_of(one, "memory", "used_memory_held") <= kLimit + kLimit / 50);
  }
  CHECK(number_of(one, "stats", "evicted_keys") > 0);
  CHECK(one.command({"DBSIZE"}) != integer(0));
}

TEST(evict, recent_keys_stay) {
  Server server({.arguments = {"--threads", "2", "--maxmemory-policy", "allkeys-lru"}});
  server.start();
  Client client(server);
  fill(client, "old", 20'000, 500);
  // Older than the clock's second, by RESTORE rather than by waiting.
  const std::string dump = client.command({"DUMP", "old0"});
  const std::string payload = dump.substr(dump.find('\n') + 1, dump.size() - dump.find('\n') - 3);
  for (int i = 0; i < 20'000; i++) {
    CHECK_EQ(client.command({"RESTORE", "old" + std::to_string(i), "0", payload, "REPLACE",
                             "IDLETIME", std::to_string(100 + i % 10)}),
             kOk);
  }
  fill(client, "new", 5'000, 500);
  CHECK_EQ(client.command({"TOUCH", "old0", "old1"}), integer(2));
  const int64_t held = number_of(client, "memory", "used_memory_held");
  CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", std::to_string(held / 2)}), kOk);
  // At once, without a write.
  while (number_of(client, "memory", "used_memory_held") > held / 2) continue;
  CHECK(count(client, "new", 5'000) >= 4'950);
  CHECK_EQ(client.command({"EXISTS", "old0", "old1"}), integer(2));
  CHECK(count(client, "old", 20'000) < 10'000);
}

TEST(evict, frequent_keys_stay) {
  // Frequencies would decay at the turn of a minute.
  Server server({.arguments = {"--maxmemory-policy", "allkeys-lfu", "--lfu-log-factor", "0",
                               "--lfu-decay-time", "0"}});
  server.start();
  Client client(server);
  fill(client, "seldom", 20'000, 500);
  fill(client, "often", 2'000, 500);
  CHECK_EQ(client.command({"OBJECT", "FREQ", "seldom1"}), integer(5));
  for (int i = 0; i < 2'000; i++) {
    for (int j = 0; j < 3; j++) client.command({"GET", "often" + std::to_string(i)});
  }
  CHECK_EQ(client.command({"OBJECT", "FREQ", "often1"}), integer(8));
  CHECK_EQ(client.command({"SET", "often1", "x"}), kOk);
  CHECK_EQ(client.command({"OBJECT", "FREQ", "often1"}), integer(9));
  const int64_t held = number_of(client, "memory", "used_memory_held");
  CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", std::to_string(held / 2)}), kOk);
  while (number_of(client, "memory", "used_memory_held") > held / 2) continue;
  CHECK(count(client, "often", 2'000) >= 1'990);
}

// Keys without an expiry stay whatever comes; when there are no others left, writes are refused.
TEST(evict, volatile_policies_spare_the_rest) {
  if (slowness() > 1) SKIP(kTooSlow);
  for (const char* policy : {"volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"}) {
    Server server({.arguments = {"--threads", "2", "--maxmemory-policy", policy}});
    server.start();
    Client client(server);
    fill(client, "stays", 10'000, 500);
    fill(client, "later", 5'000, 500, "90000");
    fill(client, "soon", 5'000, 500, "1000");
    const int64_t held = number_of(client, "memory", "used_memory_held");
    CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", std::to_string(held)}), kOk);
    fill(client, "more", 4'000, 500, "50000");
    CHECK_EQ(count(client, "stays", 10'000), 10'000);
    CHECK(number_of(client, "stats", "evicted_keys") > 0);
    if (policy == std::string("volatile-ttl")) {
      CHECK(count(client, "later", 5'000) >= 4'990);
      CHECK(count(client, "soon", 5'000) < 5'000);
    }
    const std::string value(500, 'v');
    std::string reply;
    for (int i = 0; (reply = client.command({"SET", "n" + std::to_string(i), value})) == kOk; i++) {
      CHECK(i < 100'000);
    }
    CHECK_EQ(reply, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    CHECK_EQ(count(client, "stays", 10'000), 10'000);
    CHECK_EQ(field_of(client, "memory", "maxmemory_policy"), policy);
    CHECK(field_of(client, "keyspace", "db0").find(",expires=0,") != std::string::npos);
  }
}

// Where no key has an expiry there is nothing that a volatile policy may take.
TEST(evict, nothing_is_volatile) {
  for (const char* policy : {"volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"}) {
    Server server;
    server.start();
    Client client(server);
    fill(client, "k", 1000, 10);
    CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory-policy", policy}), kOk);
    CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", "1"}), kOk);
    CHECK_EQ(client.command({"SET", "x", "y"}),
             "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    CHECK_EQ(count(client, "k", 1000), 1000);
    CHECK_EQ(server.stop(), 0);
  }
}

// Without a policy only what is deleted makes room, however little it is.
TEST(evict, deletions_make_room) {
  Server server({.arguments = {"--threads", "2", "--maxmemory", "100mb"}});
  server.start();
  Client client(server);
  const std::string value(100, 'v');
  int keys = 0;
  for (bool full = false; !full;) {
    std::string commands;
    for (int i = 0; i < 1'000; i++)
      append_encoded({"SET", std::to_string(keys + i), value}, &commands);
    CHECK(client.send(commands));
    for (int i = 0; i < 1'000; i++) full = client.read_reply().starts_with("-OOM") || full;
    keys += 1'000;
  }
  // A twenty-fifth of them.
  for (int i = 0; i < keys; i += 25) client.command({"DEL", std::to_string(i)});
  for (int i = 0; i < keys; i += 100) {
    while (client.command({"SET", std::to_string(i), value}) != kOk) continue;
  }
}

// What is flushed is no reason to refuse.
TEST(evict, a_flush_makes_room) {
  for (const char* policy : {"noeviction", "allkeys-lru"}) {
    Server server(
        {.arguments = {"--threads", "2", "--maxmemory", "100mb", "--maxmemory-policy", policy}});
    server.start();
    Client client(server);
    CHECK_EQ(client.command({"SELECT", "1"}), kOk);
    fill(client, "kept", 1'000, 100);
    CHECK_EQ(client.command({"SELECT", "0"}), kOk);
    fill(client, "k", 400'000, 100);
    CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", "50mb"}), kOk);
    CHECK(client.send(encode({"FLUSHDB"}) + encode({"SET", "a", "b"})));
    CHECK_EQ(client.read_reply(), kOk);
    CHECK_EQ(client.read_reply(), kOk);
    CHECK_EQ(client.command({"SELECT", "1"}), kOk);
    if (*policy == 'n') CHECK_EQ(count(client, "kept", 1'000), 1'000);
  }
}

// Of an empty store nothing is left that could keep a key from being set.
TEST(evict, an_empty_store_has_room) {
  if (slowness() > 1) SKIP(kTooSlow);
  Server server({.arguments = {"--threads", "16", "--maxmemory", "200mb"}});
  server.start();
  Client client(server);
  for (size_t bytes = 1; bytes < 3'000; bytes += bytes / 9 + 8) {
    fill(client, "k", 3'000, bytes);
    CHECK_EQ(client.command({"FLUSHALL"}), kOk);
  }
  CHECK_EQ(client.command({"MEMORY", "PURGE"}), kOk);
  CHECK(number_of(client, "memory", "used_memory_held") < 20 << 20);
}

// What was evicted is gone after a restart as well, and nothing else is.
TEST(evict, the_log_says_so) {
  for (const char* policy : {"allkeys-random", "allkeys-lru"}) {
    Server server(
        {.arguments = {"--threads", "2", "--maxmemory-policy", policy}, .appendonly = true});
    server.start();
    Client client(server);
    fill(client, "a", 10'000, 500);
    CHECK_EQ(client.command({"SELECT", "3"}), kOk);
    fill(client, "b", 10'000, 500);
    const int64_t held = number_of(client, "memory", "used_memory_held");
    CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", std::to_string(held / 2)}), kOk);
    while (number_of(client, "memory", "used_memory_held") > held / 2) continue;
    CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", "0"}), kOk);
    CHECK_EQ(client.command({"SET", "last", "x"}), kOk);  // behind all DELs
    const std::string b = std::to_string(count(client, "b", 10'000));
    CHECK_EQ(client.command({"SELECT", "0"}), kOk);
    const std::string a = std::to_string(count(client, "a", 10'000));
    CHECK(a != "0" && a != "10000" && b != "0" && b != "10000");
    server.kill9();
    server.restart();
    client.connect(server);
    CHECK_EQ(std::to_string(count(client, "a", 10'000)), a);
    CHECK_EQ(client.command({"SELECT", "3"}), kOk);
    CHECK_EQ(std::to_string(count(client, "b", 10'000)), b);
  }
}

TEST(evict, object_and_restore) {
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "12"}), kOk);
  CHECK_EQ(client.command({"OBJECT", "ENCODING", "a"}), bulk("int"));
  CHECK_EQ(client.command({"OBJECT", "REFCOUNT", "a"}), integer(2147483647));
  CHECK_EQ(client.command({"OBJECT", "FREQ", "a"}).substr(0, 45),
           "-ERR An LFU maxmemory policy is not selected,");
  const std::string payload = text_of(client.command({"DUMP", "a"}));
  CHECK_EQ(client.command({"RESTORE", "b", "0", payload, "IDLETIME", "1000"}), kOk);
  const int64_t idle = std::stoll(client.command({"OBJECT", "IDLETIME", "b"}).substr(1));
  CHECK(idle >= 1'000 && idle < 1'100);
  CHECK_EQ(client.command({"TOUCH", "b"}), integer(1));
  CHECK(std::stoll(client.command({"OBJECT", "IDLETIME", "b"}).substr(1)) < 100);
  CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory-policy", "volatile-lfu"}), kOk);
  CHECK_EQ(client.command({"CONFIG", "SET", "lfu-decay-time", "0"}), kOk);
  CHECK_EQ(client.command({"RESTORE", "c", "0", payload, "FREQ", "77"}), kOk);
  CHECK_EQ(client.command({"OBJECT", "FREQ", "c"}), integer(77));
  CHECK_EQ(client.command({"OBJECT", "IDLETIME", "c"}).substr(0, 41),
           "-ERR An LFU maxmemory policy is selected,");
}

// Keys of all kinds of lengths, each with its own use: `option` of RESTORE.
struct Used {
  std::string key, value;
  int64_t number;
};
std::vector<Used> used_keys(Random& random, const std::string& option) {
  const int64_t most = option == "FREQ" ? 255 : 70 * 86'400;
  std::vector<Used> keys;
  for (const size_t key_bytes : {1, 20, 300, 2'000}) {
    for (const size_t value_bytes : {0, 10, 600, 100'000}) {
      const std::string start = std::to_string(keys.size());
      keys.push_back({start + std::string(key_bytes, 'k'), std::string(value_bytes, 'v'),
                      int64_t(random.below(uint64_t(most)))});
    }
  }
  return keys;
}

// Ten minutes pass at most.
void check_used(Client& client, const std::string& option, const std::vector<Used>& keys) {
  for (const Used& used : keys) {
    const bool counted = option == "FREQ";
    const int64_t told = std::stoll(client.command({"OBJECT", option, used.key}).substr(1));
    CHECK(counted ? told <= used.number && told >= used.number - 10
                  : told >= used.number && told <= used.number + 600);
  }
}

// How keys have been used is in the files, as Redis has it there.
void use_outlives_a_restart(const std::string& policy, const std::string& option) {
  need_redis();
  const std::vector<std::string> arguments = {"--maxmemory-policy", policy};
  Server first({.arguments = arguments});
  first.start();
  Client client(first);
  Random random(seed());
  const std::vector<Used> keys = used_keys(random, option);
  for (const Used& used : keys) {
    CHECK_EQ(client.command({"SET", used.key, used.value}), kOk);
    const std::string payload = text_of(client.command({"DUMP", used.key}));
    CHECK_EQ(client.command({"RESTORE", used.key, "90000000", payload, "REPLACE", option,
                             std::to_string(used.number)}),
             kOk);
  }
  check_used(client, option, keys);
  CHECK_EQ(client.command({"SAVE"}), kOk);
  Server redis({.program = Program::kRedis, .arguments = arguments, .dir = fresh_dir("redis")});
  copy_file(first.dir() + "/dump.rdb", redis.dir() + "/dump.rdb");
  redis.start();
  client.connect(redis);
  check_used(client, option, keys);
  CHECK_EQ(client.command({"SAVE"}), kOk);
  Server last(
      {.arguments = arguments, .appendonly = true, .dir = fresh_dir("last")});  // rewrites its log
  copy_file(redis.dir() + "/dump.rdb", last.dir() + "/dump.rdb");
  last.start();
  last.kill9();
  last.restart();
  client.connect(last);
  check_used(client, option, keys);
  for (const Used& used : keys) {
    CHECK_EQ(client.command({"GET", used.key}), bulk(used.value));
    CHECK(client.command({"PTTL", used.key}).size() > 8);
  }
}
TEST(evict, idle_times_outlive_a_restart) { use_outlives_a_restart("allkeys-lru", "IDLETIME"); }
TEST(evict, frequencies_outlive_a_restart) { use_outlives_a_restart("volatile-lfu", "FREQ"); }

Argv words_of(std::string_view command) {
  Argv words;
  while (!command.empty()) {
    const size_t end = std::min(command.find(' '), command.size());
    words.emplace_back(command.starts_with("''") ? "" : command.substr(0, end));
    command.remove_prefix(std::min(end + 1, command.size()));
  }
  return words;
}

// Which commands count as a use of which of their keys.
TEST(evict, uses_are_those_of_redis) {
  need_redis();
  static const char* const kCommands[] = {"GET k",
                                          "STRLEN k",
                                          "GETRANGE k 0 1",
                                          "SUBSTR k 0 1",
                                          "MGET k l",
                                          "EXISTS k l",
                                          "TTL k",
                                          "PTTL k",
                                          "EXPIRETIME k",
                                          "TYPE k",
                                          "DUMP k",
                                          "OBJECT ENCODING k",
                                          "OBJECT REFCOUNT k",
                                          "TOUCH k",
                                          "EXPIRE k 100000 XX",
                                          "EXPIRE k 100000",
                                          "EXPIRE k x",
                                          "PERSIST k",
                                          "APPEND k x",
                                          "APPEND k ''",
                                          "INCR k",
                                          "DECRBY k x",
                                          "INCRBYFLOAT k 1",
                                          "SETRANGE k 0 ''",
                                          "SETRANGE k 0 a",
                                          "SET k v NX",
                                          "SET k v XX",
                                          "SET k v GET",
                                          "SET k v KEEPTTL",
                                          "SETNX k v",
                                          "GETSET k v",
                                          "GETEX k",
                                          "GETEX k PERSIST",
                                          "GETEX k EX 100000",
                                          "BITCOUNT k",
                                          "BITPOS k 1",
                                          "GETBIT k 1",
                                          "SETBIT k 1 1",
                                          "BITFIELD k GET u8 0",
                                          "BITFIELD k SET u8 0 1",
                                          "BITFIELD_RO k GET u8 0",
                                          "BITOP AND d k l",
                                          "BITOP NOT d k",
                                          "COPY k d",
                                          "COPY k l",
                                          "COPY k l REPLACE",
                                          "RENAME k k",
                                          "RENAME k l",
                                          "RENAMENX k l",
                                          "RENAMENX k d",
                                          "MOVE k 0",
                                          "MSETNX k 1 d 2",
                                          "MSET k 1",
                                          "LCS k l",
                                          "LCS l k LEN",
                                          "SORT k",
                                          "SORT_RO k",
                                          "PFCOUNT k",
                                          "PFADD k a",
                                          "PFMERGE d k",
                                          "PFMERGE k d",
                                          "SCAN 0",
                                          "SCAN 0 TYPE string",
                                          "KEYS *",
                                          "RANDOMKEY",
                                          "WATCH k",
                                          "RESTORE k 0 x",
                                          "EXPIREAT k 9800000000 GT",
                                          "GETDEL l",
                                          "UNLINK l",
                                          "MEMORY USAGE k"};
  Server ignix, redis({.program = Program::kRedis});
  ignix.start();
  redis.start();
  Client ours(ignix), theirs(redis);
  CHECK_EQ(ours.command({"SET", "k", "12345"}), kOk);  // no integer that Redis shares
  const std::string payload = text_of(ours.command({"DUMP", "k"}));
  for (const char* command : kCommands) {
    std::string told[2];
    for (Client* client : {&ours, &theirs}) {
      CHECK_EQ(client->command({"FLUSHALL"}), kOk);
      for (const char* key : {"k", "l"}) {
        CHECK_EQ(client->command({"RESTORE", key, "0", payload, "IDLETIME", "5000"}), kOk);
      }
      client->command(words_of(command));
      for (const char* key : {"k", "l", "d"}) {
        const std::string reply = client->command({"OBJECT", "IDLETIME", key});
        const bool there = reply[0] == ':';
        const bool used = there && std::stoll(reply.substr(1)) < 5'000;
        told[client == &theirs] += !there ? " none" : used ? " used" : " idle";
      }
    }
    if (told[0] != told[1]) FAIL(command + (":" + told[0]) + ", in Redis" + told[1]);
  }
}

}  // namespace
}  // namespace test
