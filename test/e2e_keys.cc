// Commands on keys of any type, as far as the differential test cannot see it: what goes into the
// log, and what comes back from it.
#include <string>
#include <vector>

#include "client.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

std::string log_of(const Server& server) { return read_file(server.dir() + "/ignix.aof"); }

// The log has the effect: points in time, and DEL for what is over at once.
TEST(keys, expiry_in_the_log) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  const std::string large(100'000, 'x');
  CHECK_EQ(client.command({"MSET", "a", "1", "b", "2", "c", "3", "d", large, "e", "5"}), kOk);
  const size_t before = log_of(server).size();
  CHECK_EQ(client.command({"EXPIRE", "a", "100000"}), integer(1));
  CHECK_EQ(client.command({"PEXPIRE", "b", "100000000"}), integer(1));
  CHECK_EQ(client.command({"EXPIREAT", "c", "9800000000"}), integer(1));
  CHECK_EQ(client.command({"PEXPIREAT", "d", "9800000000123"}), integer(1));
  CHECK_EQ(client.command({"EXPIRE", "e", "-1"}), integer(1));
  CHECK_EQ(client.command({"PERSIST", "b"}), integer(1));
  const std::string added = log_of(server).substr(before);
  CHECK(added.find("PEXPIREAT\r\n$1\r\na\r\n") != std::string::npos);
  CHECK(added.find("PEXPIREAT\r\n$1\r\nb\r\n") != std::string::npos);
  CHECK(added.find("PEXPIREAT\r\n$1\r\nc\r\n$13\r\n9800000000000\r\n") != std::string::npos);
  CHECK(added.find("PEXPIREAT\r\n$1\r\nd\r\n$13\r\n9800000000123\r\n") != std::string::npos);
  CHECK(added.find("DEL\r\n$1\r\ne\r\n") != std::string::npos);
  CHECK(added.size() < 1'000);  // without the values
  const std::string time_of_a = client.command({"PEXPIRETIME", "a"});
  // What changes nothing is not logged.
  const size_t after = log_of(server).size();
  for (const Argv& command : std::vector<Argv>{{"EXPIRE", "a", "100000", "NX"},
                                               {"EXPIRE", "a", "100", "GT"},
                                               {"EXPIRE", "b", "100", "XX"},
                                               {"EXPIRE", "e", "100"},
                                               {"PERSIST", "b"},
                                               {"TTL", "a"}}) {
    client.command(command);
  }
  CHECK_EQ(log_of(server).size(), after);
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"PEXPIRETIME", "a"}), time_of_a);
  CHECK_EQ(client.command({"PEXPIRETIME", "b"}), integer(-1));
  CHECK_EQ(client.command({"EXPIRETIME", "c"}), integer(9'800'000'000));
  CHECK_EQ(client.command({"PEXPIRETIME", "d"}), integer(9'800'000'000'123));
  CHECK(client.command({"GET", "d"}) == bulk(large));
  CHECK_EQ(client.command({"EXISTS", "e"}), integer(0));
}

}  // namespace
}  // namespace test
