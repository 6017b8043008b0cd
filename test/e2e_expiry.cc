// Keys expire though nobody asks for them.
#include <string>

#include "client.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

// The runner ends a case that takes too long.
void wait_for_size(Client& client, int64_t size) {
  while (client.command({"DBSIZE"}) != integer(size)) continue;
}

int64_t wall_ms_of(Client& client) {
  return std::stoll(elements_of(client.command({"TIME"}))[0].substr(5)) * 1000;
}

std::string info_field(Client& client, const char* section, const std::string& name) {
  const std::string info = client.command({"INFO", section});
  const size_t at = info.find("\n" + name + ":");
  CHECK(at != std::string::npos);
  const size_t from = at + name.size() + 2;
  return info.substr(from, info.find('\r', from) - from);
}

TEST(expiry, untouched_keys_go) {
  for (const char* threads : {"1", "2"}) {
    for (bool appendonly : {false, true}) {
      Server server({.arguments = {"--threads", threads}, .appendonly = appendonly});
      server.start();
      Client client(server);
      std::string fill;
      constexpr int kKeys = 20'000;
      for (int i = 0; i < kKeys; i++) {
        const std::string key = std::to_string(i);
        if (i % 3 == 0) {
          append_encoded({"SET", key, "x"}, &fill);
        } else {
          append_encoded({"SET", key, "x", "PX", std::to_string(1 + i % 700)}, &fill);
        }
      }
      CHECK(client.send(fill));
      for (int i = 0; i < kKeys; i++) CHECK_EQ(client.read_reply(), kOk);
      // By EXPIRE, and in another database that is moved by SWAPDB.
      CHECK_EQ(client.command({"PEXPIRE", "0", "50"}), integer(1));
      CHECK_EQ(client.command({"SELECT", "5"}), kOk);
      CHECK_EQ(client.command({"SET", "five", "x", "PX", "300"}), kOk);
      CHECK_EQ(client.command({"SET", "stays", "x", "EX", "100000"}), kOk);
      CHECK_EQ(client.command({"SWAPDB", "5", "3"}), kOk);
      CHECK_EQ(client.command({"SELECT", "3"}), kOk);
      wait_for_size(client, 1);
      CHECK_EQ(client.command({"SELECT", "0"}), kOk);
      constexpr int kLeft = (kKeys + 2) / 3 - 1;
      wait_for_size(client, kLeft);
      CHECK_EQ(info_field(client, "stats", "expired_keys"), std::to_string(kKeys - kLeft + 1));
      if (!appendonly) continue;
      CHECK_EQ(client.command({"SET", "0", "behind the DELs"}), kOk);
      server.kill9();
      server.restart();
      client.connect(server);
      CHECK_EQ(client.command({"DBSIZE"}), integer(kLeft + 1));
    }
  }
}

// Those that are loaded expire as well: from the log, from an RDB file, both at once.
TEST(expiry, after_a_restart) {
  for (const char* how : {"log", "rewritten", "rdb"}) {
    const bool rdb = how == std::string("rdb");
    for (const char* threads : {"1", "2"}) {
      Server server({.arguments = {"--threads", threads}, .appendonly = !rdb});
      server.start();
      Client client(server);
      CHECK_EQ(client.command({"CONFIG", "SET", "active-expire", "no"}), kOk);
      const std::string soon = std::to_string(wall_ms_of(client) + 1'000);
      for (int i = 0; i < 500; i++) {
        const std::string key = std::to_string(i);
        // Those that stay had an expiry once.
        const std::string expiry = i < 100 ? "99999999999999" : soon;
        CHECK_EQ(client.command({"SET", key, "x", "PXAT", expiry}), kOk);
        if (i < 100) CHECK_EQ(client.command({"PERSIST", key}), integer(1));
      }
      if (rdb) CHECK_EQ(client.command({"SAVE"}), kOk);
      if (how == std::string("rewritten")) {
        CHECK_EQ(client.command({"BGREWRITEAOF"})[0], '+');
        while (info_field(client, "persistence", "aof_rewrites") != "1") continue;
      }
      server.kill9();
      server.restart();
      client.connect(server);
      wait_for_size(client, 100);
    }
  }
}

TEST(expiry, can_be_turned_off) {
  Server server({.arguments = {"--active-expire", "no"}});
  server.start();
  Client client(server);
  for (int i = 0; i < 100; i++) client.command({"SET", std::to_string(i), "x", "PXAT", "1"});
  CHECK_EQ(client.command({"DBSIZE"}), integer(100));
  CHECK_EQ(client.command({"CONFIG", "SET", "active-expire", "yes"}), kOk);
  wait_for_size(client, 0);
}

}  // namespace
}  // namespace test
