// What clients see while the data is loaded. The test holds a lease on the file, so that the server
// waits in open(2) until it is given up.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <string>

#include "client.h"
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

}  // namespace

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
