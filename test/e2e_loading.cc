// What clients see while the data is loaded. The test holds a lease on the file, so that the server
// waits in open(2) until it is given up.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

// A directory with a dump.rdb of so many keys.
std::string dump_of(int keys) {
  Server server({.arguments = {"--save", ""}});
  server.start();
  Client client(server);
  for (int i = 0; i < keys; i++) {
    CHECK_EQ(client.command({"SET", "k" + std::to_string(i), std::to_string(i)}), kOk);
  }
  CHECK_EQ(client.command({"SAVE"}), kOk);
  return server.dir();
}

class Lease {
 public:
  explicit Lease(const std::string& path) {
    signal(SIGIO, SIG_IGN);
    fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    CHECK(fd_ >= 0);
    if (fcntl(fd_, F_SETLEASE, F_WRLCK) != 0) SKIP("the file system has no leases");
  }
  void give_up() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

const char* const kLoadingReply = "-LOADING Redis is loading the dataset in memory\r\n";

void while_loading(bool appendonly) {
  const std::string dir = dump_of(100);
  Lease lease(dir + "/dump.rdb");
  Server server({.appendonly = appendonly, .dir = dir});
  server.start_listening();
  Client client(server);
  for (const char* name : {"PING", "DBSIZE", "SAVE", "BGREWRITEAOF", "FLUSHALL"}) {
    CHECK_EQ(client.command({name}), kLoadingReply);
  }
  CHECK_EQ(client.command({"GET", "k1"}), kLoadingReply);
  CHECK_EQ(client.command({"SET", "k1", "new"}), kLoadingReply);
  CHECK_EQ(client.command({"NONE"}).substr(0, 20), "-ERR unknown command");
  CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", "1"}), kOk);
  const std::string info = client.command({"INFO", "persistence"});
  CHECK(info.find("\r\nloading:1\r\n") != std::string::npos);
  CHECK(info.find("\r\nloading_eta_seconds:") != std::string::npos);
  CHECK_EQ(client.command({"HELLO", "3"}).substr(0, 1), "%");
  CHECK_EQ(client.command({"HELLO", "2"}).substr(0, 1), "*");
  lease.give_up();
  CHECK(server.wait_log("Ready to accept connections"));
  // The limit is that of later writes: what is there has been loaded.
  CHECK_EQ(client.command({"DBSIZE"}), integer(100));
  CHECK_EQ(client.command({"SET", "k1", "new"}).substr(0, 4), "-OOM");
  CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", "0"}), kOk);
  CHECK_EQ(client.command({"SET", "k1", "new"}), kOk);
  CHECK(client.command({"INFO", "persistence"}).find("\r\nloading:0\r\n") != std::string::npos);
  CHECK_EQ(client.command({"BGSAVE"}), "+Background saving started\r\n");
  CHECK_EQ(server.stop(), 0);
  server.restart();
  Client again(server);
  CHECK_EQ(again.command({"DBSIZE"}), integer(100));
  if (appendonly) CHECK_EQ(again.command({"GET", "k1"}), bulk("new"));
}

// What an append-only file's records make of the keys, by plain maps.
struct Model {
  std::map<std::string, std::string> databases[3];
  int db = 0;
  std::string file;

  void record(const std::vector<std::string>& words) { append_encoded(words, &file); }

  // Records of one key, of several, and of all, over so few keys that their order matters.
  void step(Random& random) {
    auto& keys = databases[db];
    const auto name = [&] { return "k" + std::to_string(random.below(200)); };
    const std::string a = name(), b = name();
    const std::string value = std::to_string(random.below(1'000'000));
    const uint64_t choice = random.below(1000);
    if (choice < 700) {
      record({"SET", a, value});
      keys[a] = value;
    } else if (choice < 850) {
      if (!keys.count(a)) return;
      record({"INCR", a});
      keys[a] = std::to_string(std::stoll(keys[a]) + 1);
    } else if (choice < 900) {
      record({"DEL", a});
      keys.erase(a);
    } else if (choice < 940) {
      record({"MSET", a, value, b, value + "1"});
      keys[a] = value;
      keys[b] = value + "1";
    } else if (choice < 970) {
      if (!keys.count(a)) return;
      record({"RENAME", a, b});
      const std::string moved = keys[a];
      keys.erase(a);
      keys[b] = moved;
    } else if (choice < 998) {
      db = int(random.below(3));
      record({"SELECT", std::to_string(db)});
    } else {
      record({"FLUSHDB"});
      keys.clear();
    }
  }
};

std::string key_name(int number) { return "key:" + std::to_string(number); }

}  // namespace

// By many threads, and the order of changes stays.
TEST(loading, order_of_records) {
  Random random(seed());
  Model model;
  for (int i = 0; i < 300'000; i++) {
    model.step(random);
    // Longer than what is read at once.
    if (i % 100'000 == 50'000) {
      const std::string value(3'000'000, char('a' + i / 100'000));
      model.record({"SET", "long", value});
      model.databases[model.db]["long"] = value;
    }
  }
  Server server({.appendonly = true});
  write_file(server.dir() + "/ignix.aof", model.file);
  server.start();
  Client client(server);
  for (int db = 0; db < 3; db++) {
    CHECK_EQ(client.command({"SELECT", std::to_string(db)}), kOk);
    CHECK_EQ(client.command({"DBSIZE"}), integer(int64_t(model.databases[db].size())));
    for (const auto& [key, value] : model.databases[db]) {
      CHECK(client.command({"GET", key}) == bulk(value));
    }
  }
}

// Many keys come, and most of them go again. In one database, or as the log has it, which goes back
// to database 0 behind each record. (That what was expected too much is given back is shown by
// keyspace.settles_after_loading.)
void load_keys_that_come_and_go(bool goes_back) {
  constexpr int kKeys = 120'000, kStay = 5'000;
  std::string file;
  const auto record = [&](const std::vector<std::string>& words) {
    if (goes_back) append_encoded({"SELECT", "1"}, &file);
    append_encoded(words, &file);
    if (goes_back) append_encoded({"SELECT", "0"}, &file);
  };
  if (!goes_back) append_encoded({"SELECT", "1"}, &file);
  for (int i = 0; i < kKeys; i++) record({"SET", key_name(i), std::to_string(i)});
  for (int i = kStay; i < kKeys; i++) record({"DEL", key_name(i)});
  for (int i = 0; i < kKeys; i++) record({"INCR", key_name(i % kStay)});
  Server server({.appendonly = true});
  write_file(server.dir() + "/ignix.aof", file);
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SELECT", "1"}), kOk);
  CHECK_EQ(client.command({"DBSIZE"}), integer(kStay));
  for (int i = 0; i < kStay; i++) {
    CHECK_EQ(client.command({"GET", key_name(i)}), bulk(std::to_string(i + kKeys / kStay)));
  }
}

TEST(loading, keys_that_come_and_go) { load_keys_that_come_and_go(false); }
TEST(loading, keys_that_come_and_go_elsewhere) { load_keys_that_come_and_go(true); }

// A file that says it has 2^40 keys, or none, and has some.
TEST(loading, wrong_number_of_keys) {
  constexpr int kKeys = 30'000;
  for (const uint64_t said : {uint64_t(0), uint64_t(1) << 40}) {
    std::string file = "REDIS0010";
    file += {char(0xfe), 0, char(0xfb), char(0x81)};
    for (int shift = 56; shift >= 0; shift -= 8) file += char(said >> shift);
    file += '\0';
    for (int i = 0; i < kKeys; i++) {
      const std::string key = key_name(i);
      file += '\0';
      file += char(key.size());
      file += key + "\1v";
    }
    file += char(0xff) + std::string(8, '\0');
    Server server({.arguments = {"--appendonly", "no"}});
    write_file(server.dir() + "/dump.rdb", file);
    server.start();
    Client client(server);
    CHECK_EQ(client.command({"DBSIZE"}), integer(kKeys));
    for (int i = 0; i < kKeys; i += 7) CHECK_EQ(client.command({"GET", key_name(i)}), bulk("v"));
    const std::string info = client.command({"INFO", "memory"});
    const size_t at = info.find("\r\nused_memory:");
    CHECK(at != std::string::npos);
    CHECK(std::stoull(info.substr(at + 14)) < 8'000'000);
  }
}

// The first of several, whichever thread has met its own first.
TEST(loading, first_failure_is_told) {
  std::string file;
  std::vector<size_t> starts;
  for (int i = 0; i < 40'000; i++) {
    const std::string key = "k" + std::to_string(i);
    append_encoded({"SET", key, "text"}, &file);
    if (i >= 20'000 && i % 7 == 0) {
      starts.push_back(file.size());
      append_encoded({"INCR", key}, &file);
    }
  }
  Server server({.appendonly = true});
  write_file(server.dir() + "/ignix.aof", file);
  CHECK(!server.try_start());
  const std::string expected = "is damaged at byte " + std::to_string(starts[0]) + ":";
  CHECK(server.log().find(expected) != std::string::npos);
  CHECK(read_file(server.dir() + "/ignix.aof") == file);
}

// All of a transaction or nothing; Redis's time stamps are passed over.
TEST(loading, transactions) {
  std::string file = "#TS:1700000000\r\n";
  append_encoded({"SET", "a", "1"}, &file);
  append_encoded({"MULTI"}, &file);
  append_encoded({"INCR", "a"}, &file);
  append_encoded({"MSET", "b", "2", "c", "3"}, &file);
  append_encoded({"EXEC"}, &file);
  file += "#TS:1700000001\r\n";
  const size_t whole = file.size();
  append_encoded({"MULTI"}, &file);
  append_encoded({"INCR", "a"}, &file);
  append_encoded({"DEL", "b"}, &file);
  append_encoded({"EXEC"}, &file);
  for (size_t bytes = whole; bytes <= file.size(); bytes += bytes + 7 < file.size() ? 7 : 1) {
    Server server({.appendonly = true});
    write_file(server.dir() + "/ignix.aof", file.substr(0, bytes));
    server.start();
    Client client(server);
    const bool second = bytes == file.size();
    CHECK_EQ(client.command({"GET", "a"}), bulk(second ? "3" : "2"));
    CHECK_EQ(client.command({"EXISTS", "b"}), integer(!second));
    CHECK_EQ(client.command({"GET", "c"}), bulk("3"));
    CHECK_EQ(read_file(server.dir() + "/ignix.aof").size(), second ? bytes : whole);
  }
}

// What cannot be loaded here is not called damaged.
TEST(loading, no_such_database) {
  std::string file;
  append_encoded({"SELECT", "5"}, &file);
  append_encoded({"SET", "a", "1"}, &file);
  Server server({.arguments = {"--databases", "2"}, .appendonly = true});
  write_file(server.dir() + "/ignix.aof", file);
  CHECK(!server.try_start());
  CHECK(server.log().find("see --databases") != std::string::npos);
  CHECK(server.log().find("damaged") == std::string::npos);
}

// A log of which nothing is left was a log all the same: what is older does not come back.
TEST(loading, torn_from_its_start) {
  for (const std::string& torn : {std::string(100, '\0'), std::string("*3\r\n$3\r\nSE")}) {
    Server server({.appendonly = true});
    {
      Server before({.arguments = {"--appendonly", "no"}, .dir = server.dir()});
      before.start();
      Client client(before);
      CHECK_EQ(client.command({"SET", "old", "1"}), kOk);
      CHECK_EQ(client.command({"SAVE"}), kOk);
    }
    write_file(server.dir() + "/ignix.aof", torn);
    server.start();
    Client client(server);
    CHECK_EQ(client.command({"DBSIZE"}), integer(0));
    server.kill9();
    server.restart();
    client.connect(server);
    CHECK_EQ(client.command({"DBSIZE"}), integer(0));
  }
}

TEST(loading, more_behind_a_snapshot) {
  Server server({.arguments = {"--appendonly", "no"}});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  CHECK_EQ(client.command({"SAVE"}), kOk);
  server.kill9();
  const std::string path = server.dir() + "/dump.rdb";
  const std::string more = read_file(path) + encode({"SET", "b", "2"});
  write_file(path, more);
  CHECK(!server.try_start());
  CHECK(server.log().find("goes on behind its end") != std::string::npos);
  CHECK(read_file(path) == more);
}

// What can be done about it is said, and is true.
TEST(loading, wrong_checksum) {
  Server server({.arguments = {"--appendonly", "no"}});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "key", "value"}), kOk);
  CHECK_EQ(client.command({"SAVE"}), kOk);
  server.kill9();
  const std::string path = server.dir() + "/dump.rdb";
  std::string content = read_file(path);
  content[content.find("value")] = 'V';
  write_file(path, content);
  CHECK(!server.try_start());
  CHECK(server.log().find("the checksum is wrong; --rdbchecksum no loads it all the same; it was "
                          "left as it is") != std::string::npos);
  Server careless(
      {.arguments = {"--appendonly", "no", "--rdbchecksum", "no"}, .dir = server.dir()});
  careless.start();
  CHECK(careless.log().find("loaded 1 key, ") != std::string::npos);
  client.connect(careless);
  CHECK_EQ(client.command({"GET", "key"}), bulk("Value"));
  content[content.find("key")] = '\xff';
  careless.kill9();
  write_file(path, content.substr(0, content.size() - 8 - 3));
  CHECK(!careless.try_start());
  CHECK(careless.log().find("; ignix-check --dump prints the keys before that") !=
        std::string::npos);
}

TEST(loading, damaged_transactions) {
  const std::vector<std::vector<std::string>> files[] = {
      {{"EXEC"}},
      {{"MULTI"}, {"MULTI"}, {"EXEC"}},
      {{"MULTI"}, {"GET", "a"}, {"EXEC"}},
      {{"MULTI"}, {"SET", "a", "x"}, {"INCR", "a"}, {"EXEC"}},
  };
  for (const auto& records : files) {
    std::string file;
    for (const auto& record : records) append_encoded(record, &file);
    Server server({.appendonly = true});
    write_file(server.dir() + "/ignix.aof", file);
    CHECK(!server.try_start());
    CHECK(server.log().find("is damaged at byte") != std::string::npos);
    CHECK(read_file(server.dir() + "/ignix.aof") == file);
  }
}

// What Ignix does not have is no damage.
TEST(loading, commands_that_there_are_not) {
  const std::string first = encode({"SET", "a", "1"});
  const std::string file = first + encode({"RPUSH", "my \"list\"", "x"});
  Server server({.appendonly = true});
  write_file(server.dir() + "/ignix.aof", file);
  CHECK(!server.try_start());
  CHECK(server.log().find("cannot be loaded: at byte " + std::to_string(first.size()) +
                          ": the command \"RPUSH\" (of key \"my \\\"list\\\"\"), which Ignix "
                          "does not have\n") != std::string::npos);
  CHECK(read_file(server.dir() + "/ignix.aof") == file);
}

// Moving from Redis: its directory of append-only files becomes the beginning of ours.
TEST(loading, parts_of_redis) {
  need_redis();
  Server redis({.program = Program::kRedis, .appendonly = true});
  redis.start();
  Client client(redis);
  const auto is_rewritten = [&] {
    return client.command({"INFO", "persistence"}).find("aof_rewrite_in_progress:0") !=
           std::string::npos;
  };
  for (int i = 0; i < 1000; i++) {
    client.command({"SET", "k" + std::to_string(i), std::string(size_t(i), 'v')});
  }
  client.command({"BGREWRITEAOF"});
  while (!is_rewritten()) continue;
  client.command({"MULTI"});
  client.command({"SET", "k1", "new"});
  client.command({"INCRBY", "n", "7"});
  client.command({"EXEC"});
  client.command({"SELECT", "3"});
  client.command({"SET", "three", "3"});
  CHECK_EQ(redis.stop(), 0);
  const std::string parts = redis.dir() + "/appendonlydir/";
  const std::string manifest = parts + "appendonly.aof.manifest";
  const std::string before = read_file(manifest);

  Server server({.appendonly = true, .dir = redis.dir()});
  for (int round = 0; round < 2; round++) {
    server.start();
    Client mine(server);
    CHECK_EQ(mine.command({"DBSIZE"}), integer(1001 + round));
    CHECK_EQ(mine.command({"GET", "k1"}), bulk("new"));
    CHECK_EQ(mine.command({"GET", "k999"}), bulk(std::string(999, 'v')));
    CHECK_EQ(mine.command({"GET", "n"}), bulk("7"));
    CHECK_EQ(mine.command({"SET", "mine", "1"}), kOk);
    CHECK_EQ(mine.command({"SELECT", "3"}), kOk);
    CHECK_EQ(mine.command({"GET", "three"}), bulk("3"));
    CHECK_EQ(server.stop(), 0);
  }
  CHECK(read_file(manifest) == before);

  // A manifest that names what is not there, or is none.
  unlink((redis.dir() + "/ignix.aof").c_str());
  for (const char* bad :
       {"file none.aof seq 1 type b\n", "file ../x seq 1 type b\n", "nonsense\n"}) {
    write_file(manifest, bad);
    CHECK(!server.try_start());
    CHECK(server.error_output().find("none.aof") != std::string::npos ||
          server.error_output().find("manifest") != std::string::npos);
  }
}

TEST(loading, without_log) { while_loading(false); }
TEST(loading, with_log) { while_loading(true); }

// Nothing has been changed yet, so there is nothing to wait for.
TEST(loading, stopped_meanwhile) {
  const std::string dir = dump_of(10);
  for (const bool by_command : {false, true}) {
    Lease lease(dir + "/dump.rdb");
    Server server({.appendonly = true, .dir = dir});
    server.start_listening();
    if (by_command) {
      Client client(server);
      client.send_command({"SHUTDOWN"});
      CHECK_EQ(server.wait_exit(), 0);
    } else {
      CHECK_EQ(server.stop(), 0);
    }
    CHECK(!file_exists(server.unix_path()));
    lease.give_up();
  }
}

}  // namespace test
