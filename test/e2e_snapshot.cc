// SAVE, BGSAVE and BGREWRITEAOF, under load, killed, and between Ignix and Redis.
#include <pthread.h>

#include <atomic>
#include <string>
#include <vector>

#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

constexpr int kPairs = 500;

// Sets pairs of keys on different stripes to the same value, until it is told to stop or its server
// is gone; knows what was acknowledged.
struct Writer {
  const Server* server = nullptr;
  int number = 0;
  uint64_t seed = 0;
  std::atomic<bool> stopping{false};
  std::vector<long long> acknowledged = std::vector<long long>(kPairs, 0);
  std::atomic<long long> rounds{0};
  pthread_t thread = {};
  Client client;

  std::string key(char half, int pair) const {
    return std::string(1, half) + std::to_string(number) + ":" + std::to_string(pair);
  }
  static void* run(void* self) {
    Writer& w = *static_cast<Writer*>(self);
    Random random(w.seed);
    for (long long round = 1; !w.stopping; round++) {
      const int pair = int(random.below(kPairs));
      const std::string value = std::to_string(round) + std::string(random.below(100), 'v');
      if (w.client.command({"MSET", w.key('a', pair), value, w.key('b', pair), value}) != kOk)
        break;
      w.acknowledged[size_t(pair)] = round;
      w.rounds = round;
    }
    return nullptr;
  }
  void start() {
    client.connect(*server);  // here: the server may be killed before the thread runs
    CHECK_EQ(pthread_create(&thread, nullptr, run, this), 0);
  }
  void join() {
    stopping = true;
    pthread_join(thread, nullptr);
  }
};

// Both halves of each pair are equal; with `acknowledged`, no older than that.
void check_pairs(Client& client, const Writer& w, bool acknowledged) {
  for (int pair = 0; pair < kPairs; pair++) {
    const std::string a = client.command({"GET", w.key('a', pair)});
    const std::string b = client.command({"GET", w.key('b', pair)});
    CHECK_EQ(a, b);
    if (acknowledged && w.acknowledged[size_t(pair)]) {
      CHECK(atoll(text_of(a).c_str()) >= w.acknowledged[size_t(pair)]);
    }
  }
}

// A snapshot is the state of one instant, whatever is written meanwhile.
void snapshots_are_of_one_instant(const char* threads) {
  Server server({.arguments = {"--threads", threads}});
  server.start();
  Writer writers[3];
  for (int i = 0; i < 3; i++) {
    writers[i].server = &server;
    writers[i].number = i;
    writers[i].seed = seed() + uint64_t(i);
    writers[i].start();
  }
  Client client(server);
  size_t log_at = 0;
  for (int round = 0; round < 4; round++) {
    log_at = server.log().size();
    CHECK_EQ(client.command({"BGSAVE"}), "+Background saving started\r\n");
    CHECK(server.wait_log("saving is done", log_at));
    const std::string dir = fresh_dir("restored" + std::to_string(round));
    copy_file(server.dir() + "/dump.rdb", dir + "/dump.rdb");
    Server restored({.dir = dir});
    restored.start();
    Client reader(restored);
    for (Writer& w : writers) check_pairs(reader, w, false);
  }
  for (Writer& w : writers) w.join();
}

TEST(snapshot, one_instant_two_threads) { snapshots_are_of_one_instant("2"); }
TEST(snapshot, one_instant_one_thread) { snapshots_are_of_one_instant("1"); }

// Killed at any moment of rewriting, under load: what was acknowledged is there, and no half MSET.
void killed_amid_rewrites(const char* threads) {
  Random random(seed());
  Server server({.arguments = {"--threads", threads}, .appendonly = true});
  server.start();
  for (int round = 0; round < 4; round++) {
    Writer writers[3];
    for (int i = 0; i < 3; i++) {
      writers[i].server = &server;
      writers[i].number = round * 3 + i;
      writers[i].seed = random.next();
      writers[i].start();
    }
    Client client(server);
    for (uint64_t i = 1 + random.below(3); i > 0; i--) {
      const std::string reply = client.command({"BGREWRITEAOF"});
      CHECK(reply == "+Background append only file rewriting started\r\n" ||
            reply.find("already in progress") != std::string::npos);
      const long long until = writers[0].rounds + int(random.below(400));
      while (writers[0].rounds < until) CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
    }
    server.kill9();
    for (Writer& w : writers) w.join();
    server.restart();
    Client reader(server);
    for (Writer& w : writers) check_pairs(reader, w, true);
  }
}

TEST(snapshot, killed_amid_rewrites_two_threads) { killed_amid_rewrites("2"); }
TEST(snapshot, killed_amid_rewrites_one_thread) { killed_amid_rewrites("1"); }

TEST(snapshot, rewriting_makes_the_log_short) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  const std::string path = server.dir() + "/ignix.aof";
  for (int i = 0; i < 20'000; i++)
    CHECK(client.send_command({"INCR", "n" + std::to_string(i % 10)}));
  for (int i = 0; i < 20'000; i++) CHECK_EQ(client.read_reply()[0], ':');
  const size_t before = read_file(path).size();
  CHECK_EQ(client.command({"BGREWRITEAOF"}), "+Background append only file rewriting started\r\n");
  CHECK(server.wait_log("rewriting the append-only file is done"));
  CHECK(read_file(path).size() < before / 100);
  CHECK(!file_exists(path + ".rewrite"));
  CHECK_EQ(client.command({"INCR", "n0"}), integer(2001));
  CHECK_EQ(client.command({"SELECT", "3"}), kOk);
  CHECK_EQ(client.command({"SET", "in three", "x"}), kOk);
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "n0"}), bulk("2001"));
  CHECK_EQ(client.command({"GET", "n9"}), bulk("2000"));
  CHECK_EQ(client.command({"SELECT", "3"}), kOk);
  CHECK_EQ(client.command({"GET", "in three"}), bulk("x"));
}

TEST(snapshot, log_rewrites_itself_when_it_has_grown) {
  Server server({.arguments = {"--auto-aof-rewrite-min-size", "100kb"}, .appendonly = true});
  server.start();
  Client client(server);
  for (int i = 0; i < 5'000; i++) CHECK_EQ(client.command({"INCR", "n"}), integer(i + 1));
  CHECK(server.wait_log("rewriting the append-only file is done"));
}

TEST(snapshot, commands) {
  Server server({.arguments = {"--save", "3600", "1"}});
  server.start();
  Client client(server);
  const long long started = atoll(client.command({"LASTSAVE"}).c_str() + 1);
  CHECK(started > 1'500'000'000);
  CHECK_EQ(client.command({"CONFIG", "GET", "save"}), array({bulk("save"), bulk("3600 1")}));
  CHECK_EQ(client.command({"SET", "k", "v"}), kOk);
  CHECK(client.command({"INFO", "persistence"}).find("rdb_changes_since_last_save:1\r\n") !=
        std::string::npos);
  CHECK_EQ(client.command({"SAVE"}), kOk);
  CHECK(client.command({"INFO", "persistence"}).find("rdb_changes_since_last_save:0\r\n") !=
        std::string::npos);
  CHECK(atoll(client.command({"LASTSAVE"}).c_str() + 1) >= started);
  CHECK_EQ(client.command({"BGSAVE", "LATER"}), "-ERR syntax error\r\n");
  CHECK(client.command({"BGREWRITEAOF"}).find("appendonly is no") != std::string::npos);
  CHECK_EQ(client.command({"CONFIG", "SET", "save", "10 x"}),
           "-ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save "
           "parameters\r\n");
  CHECK_EQ(client.command({"CONFIG", "SET", "save", ""}), kOk);
  CHECK_EQ(client.command({"SET", "k", "not saved"}), kOk);
  server.stop();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "k"}), bulk("v"));
  // With rules, the end saves as well.
  CHECK_EQ(client.command({"SET", "k", "saved at the end"}), kOk);
  server.stop();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "k"}), bulk("saved at the end"));
}

TEST(snapshot, rules) {
  Server server({.arguments = {"--save", "1", "10"}});
  server.start();
  Client client(server);
  for (int i = 0; i < 10; i++) CHECK_EQ(client.command({"SET", std::to_string(i), "v"}), kOk);
  CHECK(server.wait_log("10 changes: saving"));
  CHECK(server.wait_log("saving is done: 10 keys"));
}

TEST(snapshot, failure_is_told) {
  Server server({.arguments = {"--dbfilename", "taken"}});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "k", "v"}), kOk);
  // A directory stands where the file should.
  CHECK_EQ(run_program({"/bin/mkdir", server.dir() + "/taken"}).status, 0);
  const std::string error = client.command({"SAVE"});
  CHECK(error.starts_with("-ERR cannot rename 'temp-"));
  CHECK(error.ends_with(" to 'taken': Is a directory\r\n"));
  CHECK(client.command({"INFO", "persistence"}).find("rdb_last_bgsave_status:err") !=
        std::string::npos);
  CHECK_EQ(client.command({"SET", "k", "goes on"}), kOk);
  CHECK_EQ(run_program({"/bin/rmdir", server.dir() + "/taken"}).status, 0);
  CHECK_EQ(client.command({"SAVE"}), kOk);
}

// What a Redis leaves is where an append-only file begins.
TEST(snapshot, begins_with_the_dump_of_a_redis) {
  need_redis();
  Server redis({.program = Program::kRedis});
  redis.start();
  Client there(redis);
  std::vector<std::pair<std::string, std::string>> values = {
      {"short", "x"},
      {"empty", ""},
      {"7", "007"},
      {"small", "-5"},
      {"int", "70000"},
      {"long", "123456789012345"},
      {"compressed", std::string(5'000, 'r')},
      {"large", std::string(300'000, '\0')},
      {std::string(1'000, 'k'), "a long key"}};
  Random random(seed());
  for (int i = 0; i < 500; i++) {
    std::string value;
    for (uint64_t j = random.below(40); j > 0; j--) value += random.one_in(2) ? "again and " : "x";
    values.push_back({"key" + std::to_string(i), value});
  }
  for (const auto& [key, value] : values) CHECK_EQ(there.command({"SET", key, value}), kOk);
  CHECK_EQ(there.command({"SET", "expires", "v", "PXAT", "99999999999999"}), kOk);
  CHECK_EQ(there.command({"SET", "is gone", "v", "PX", "1"}), kOk);
  CHECK_EQ(there.command({"SELECT", "9"}), kOk);
  CHECK_EQ(there.command({"SET", "in nine", "v"}), kOk);
  CHECK_EQ(there.command({"SAVE"}), kOk);
  const std::string dir = fresh_dir("ignix");
  copy_file(redis.dir() + "/dump.rdb", dir + "/dump.rdb");
  Server server({.appendonly = true, .dir = dir});
  server.start();
  Client client(server);
  for (int round = 0; round < 2; round++) {
    for (const auto& [key, value] : values) CHECK(client.command({"GET", key}) == bulk(value));
    CHECK_EQ(client.command({"GET", "is gone"}), kNil);
    CHECK_EQ(client.command({"SELECT", "9"}), kOk);
    CHECK_EQ(client.command({"GET", "in nine"}), bulk("v"));
    CHECK_EQ(client.command({"SELECT", "0"}), kOk);
    CHECK_EQ(client.command({"SET", "later", "x"}), kOk);
    server.kill9();
    server.restart();
    client.connect(server);
    CHECK_EQ(client.command({"GET", "later"}), bulk("x"));
  }
  // And back: Redis reads what has come of it.
  CHECK_EQ(client.command({"SAVE"}), kOk);
  redis.kill9();
  copy_file(dir + "/dump.rdb", redis.dir() + "/dump.rdb");
  redis.restart();
  there.connect(redis);
  for (const auto& [key, value] : values) CHECK(there.command({"GET", key}) == bulk(value));
  CHECK_EQ(there.command({"PEXPIRETIME", "expires"}), integer(99999999999999));
  CHECK_EQ(there.command({"GET", "later"}), bulk("x"));
}

TEST(snapshot, what_ignix_has_not_is_named) {
  need_redis();
  Server redis({.program = Program::kRedis});
  redis.start();
  Client there(redis);
  CHECK_EQ(there.command({"RPUSH", "a list", "x"}), integer(1));
  CHECK_EQ(there.command({"SAVE"}), kOk);
  const std::string dir = fresh_dir("ignix");
  copy_file(redis.dir() + "/dump.rdb", dir + "/dump.rdb");
  const std::string before = read_file(dir + "/dump.rdb");
  Server server({.appendonly = true, .dir = dir});
  CHECK(!server.try_start());
  CHECK(server.error_output().find("of key 'a list'") != std::string::npos);
  CHECK(read_file(dir + "/dump.rdb") == before);
}

}  // namespace
}  // namespace test
