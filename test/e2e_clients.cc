// CLIENT and what else concerns connections themselves.
#include "client.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(clients, names) {
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"CLIENT", "GETNAME"}), kNil);
  CHECK_EQ(client.command({"CLIENT", "SETNAME", "worker-1"}), kOk);
  CHECK_EQ(client.command({"client", "getname"}), bulk("worker-1"));
  CHECK_EQ(client.command({"CLIENT", "SETNAME", "a b"}),
           "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
  CHECK_EQ(client.command({"CLIENT", "GETNAME"}), bulk("worker-1"));
  CHECK_EQ(client.command({"CLIENT", "SETNAME", ""}), kOk);
  CHECK_EQ(client.command({"CLIENT", "GETNAME"}), kNil);
}

TEST(clients, ids_grow) {
  Server server;
  server.start();
  Client a(server);
  std::string first = a.command({"CLIENT", "ID"});
  Client b(server);
  std::string second = b.command({"CLIENT", "ID"});
  CHECK_EQ(first[0], ':');
  CHECK(std::stoll(second.substr(1)) > std::stoll(first.substr(1)));
  CHECK_EQ(a.command({"CLIENT", "ID"}), first);
}

TEST(clients, list_and_info) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client a(server), b(server);
  a.command({"CLIENT", "SETNAME", "alpha"});
  b.command({"CLIENT", "SETNAME", "beta"});
  b.command({"SELECT", "3"});
  std::string list = a.command({"CLIENT", "LIST"});
  CHECK_EQ(list[0], '$');
  for (const char* part : {"id=", " addr=127.0.0.1:", " fd=", " name=alpha ", " name=beta ",
                           " age=", " idle=", " flags=N", " db=3 ", " sub=0", " cmd=client|list"})
    if (!has(list, part)) FAIL("no " + quote(part) + " in " + quote(list, 2000));
  std::string info = b.command({"CLIENT", "INFO"});
  CHECK(has(info, " name=beta "));
  CHECK(!has(info, " name=alpha "));
}

TEST(clients, kill) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client a(server), b(server);
  std::string id = b.command({"CLIENT", "ID"});
  id = id.substr(1, id.size() - 3);
  std::string reply = a.command({"CLIENT", "KILL", "ID", id});
  if (reply.find("unknown subcommand") != std::string::npos) SKIP("CLIENT KILL is not there yet");
  CHECK_EQ(reply, integer(1));
  CHECK_EQ(b.read_until_close(), "");
  CHECK_EQ(a.command({"CLIENT", "KILL", "ID", id}), integer(0));
  CHECK_EQ(a.command({"CLIENT", "KILL", "1.2.3.4:5"}), "-ERR No such client\r\n");
  CHECK_EQ(a.command({"PING"}), "+PONG\r\n");
}

TEST(clients, reply_off_skip_on) {
  Server server;
  server.start();
  Client client(server);
  CHECK(client.send(encode({"CLIENT", "REPLY", "SKIP"}) + encode({"SET", "a", "1"}) +
                    encode({"GET", "a"}) + encode({"CLIENT", "REPLY", "OFF"}) +
                    encode({"INCR", "a"}) + encode({"nosuch"}) +
                    encode({"CLIENT", "REPLY", "SKIP"}) + encode({"CLIENT", "REPLY", "ON"}) +
                    encode({"GET", "a"})));
  CHECK_EQ(client.read_reply(), bulk("1"));
  CHECK_EQ(client.read_reply(), kOk);
  CHECK_EQ(client.read_reply(), bulk("2"));
  CHECK_EQ(client.command({"CLIENT", "REPLY", "maybe"}), "-ERR syntax error\r\n");
}

TEST(clients, library_says_who_it_is) {
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"CLIENT", "SETINFO", "lib-name", "a-library"}), kOk);
  CHECK_EQ(client.command({"CLIENT", "SETINFO", "LIB-VER", "1.2.3"}), kOk);
  CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
}

TEST(clients, wrong_subcommands) {
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"CLIENT", "bogus"}),
           "-ERR unknown subcommand 'bogus'. Try CLIENT HELP.\r\n");
  CHECK_EQ(client.command({"CLIENT"}), "-ERR wrong number of arguments for 'client' command\r\n");
  CHECK_EQ(client.command({"CLIENT", "GETNAME", "x"}),
           "-ERR wrong number of arguments for 'client|getname' command\r\n");
  CHECK_EQ(client.command({"CLIENT", "HELP"})[0], '*');
}

// CLIENT LIST shows the names of all.
TEST(clients, names_are_limited) {
  Server server;
  server.start();
  Client client(server);
  const std::string longest(1024, 'n'), longer(1025, 'n');
  for (const Argv& start : std::vector<Argv>{{"CLIENT", "SETNAME"},
                                             {"CLIENT", "SETINFO", "LIB-NAME"},
                                             {"CLIENT", "SETINFO", "LIB-VER"},
                                             {"HELLO", "2", "SETNAME"}}) {
    Argv good = start, bad = start;
    good.push_back(longest);
    bad.push_back(longer);
    CHECK(client.command(good)[0] != '-');
    CHECK_EQ(client.command(bad), "-ERR a name of more than 1024 bytes\r\n");
  }
  CHECK_EQ(client.command({"CLIENT", "GETNAME"}), bulk(longest));
}

}  // namespace
}  // namespace test
