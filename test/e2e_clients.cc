// CLIENT and what else concerns connections themselves.
#include <pthread.h>
#include <unistd.h>

#include <atomic>

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

std::string id_of(Client& client) {
  const std::string reply = client.command({"CLIENT", "ID"});
  return reply.substr(1, reply.size() - 3);
}

// A field of its line in CLIENT LIST.
std::string field_of(Client& client, const std::string& name) {
  const std::string info = client.command({"CLIENT", "INFO"});
  const size_t at = info.find(" " + name + "=") + name.size() + 2;
  return info.substr(at, info.find(' ', at) - at);
}

TEST(clients, kill) {
  Server server({.arguments = {"--threads", "2"}, .tcp = true, .unix_socket = false});
  server.start();
  Client a(server);
  for (int i = 0; i < 4; i++) {  // on the same loop, and on the other one
    Client b(server);
    const std::string id = id_of(b);
    CHECK_EQ(a.command({"CLIENT", "KILL", "ID", id}), integer(1));
    CHECK_EQ(b.read_until_close(), "");
    CHECK_EQ(a.command({"CLIENT", "KILL", "ID", id}), integer(0));
  }
  Client b(server), c(server);
  CHECK_EQ(a.command({"CLIENT", "KILL", field_of(b, "addr")}), kOk);
  CHECK_EQ(b.read_until_close(), "");
  CHECK_EQ(a.command({"CLIENT", "KILL", "ID", id_of(c), "ADDR", field_of(a, "addr")}), integer(0));
  CHECK_EQ(a.command({"CLIENT", "KILL", "TYPE", "replica", "SKIPME", "no"}), integer(0));
  // Nobody comes from there; it does not mean anybody.
  CHECK_EQ(a.command({"CLIENT", "KILL", "ADDR", "", "SKIPME", "no"}), integer(0));
  CHECK_EQ(a.command({"CLIENT", "KILL", "LADDR", ""}), integer(0));
  CHECK_EQ(a.command({"CLIENT", "KILL", ""}), "-ERR No such client\r\n");
  CHECK_EQ(
      a.command({"CLIENT", "KILL", "LADDR", field_of(a, "laddr"), "ADDR", field_of(c, "addr")}),
      integer(1));
  CHECK_EQ(c.read_until_close(), "");
  CHECK_EQ(a.command({"CLIENT", "KILL", "1.2.3.4:5"}), "-ERR No such client\r\n");
  CHECK_EQ(a.command({"PING"}), "+PONG\r\n");
}

// Amid a transaction, with a watched key, and while it waits.
TEST(clients, kill_in_any_state) {
  Server server({.arguments = {"--threads", "2"}, .tcp = true, .unix_socket = false});
  server.start();
  Client a(server);
  for (int i = 0; i < 4; i++) {
    Client queues(server), waits(server);
    CHECK_EQ(queues.command({"WATCH", "k"}), kOk);
    CHECK_EQ(queues.command({"MULTI"}), kOk);
    CHECK_EQ(queues.command({"SET", "k", "v"}), "+QUEUED\r\n");
    const std::string id = id_of(waits);
    CHECK(waits.send_command({"WAIT", "1", "0"}));
    CHECK_EQ(a.command({"CLIENT", "KILL", "TYPE", "normal"}), integer(2));
    CHECK_EQ(queues.read_until_close(), "");
    CHECK_EQ(waits.read_until_close(), "");
    CHECK_EQ(a.command({"CLIENT", "KILL", "ID", id}), integer(0));
  }
  CHECK_EQ(a.command({"EXISTS", "k"}), integer(0));
}

// Who comes while others are killed gets the replies to its own commands, and no others: the number
// of a descriptor may be used again at once.
TEST(clients, kill_and_come_again) {
  Server server({.arguments = {"--threads", "2"}, .tcp = true, .unix_socket = false});
  server.start();
  static std::atomic<int> strange, come;
  strange = come = 0;
  const auto talk = [](void* it) -> void* {
    const Server& to = *static_cast<Server*>(it);
    std::string sent, expected;
    for (int i = 0; i < 20; i++) {
      const std::string text = std::to_string(gettid()) + "-" + std::to_string(i);
      append_encoded({"ECHO", text}, &sent);
      expected += bulk(text);
    }
    while (come < 6'000 && strange == 0) {
      Client client(to);
      client.set_timeout(20 * slowness());
      come++;
      for (bool open = true; open;) {
        open = client.send_without_reading(sent);
        for (size_t at = 0; at < expected.size() && open;) {
          const std::string reply = client.read_reply();
          open = reply[0] == '$';
          const bool right = open && expected.compare(at, reply.size(), reply) == 0;
          if (!right && reply != Client::kClosed) strange++;
          at += reply.size();
        }
        if (come >= 6'000 || strange > 0) return nullptr;
      }
    }
    return nullptr;
  };
  pthread_t threads[12];
  for (pthread_t& thread : threads) CHECK_EQ(pthread_create(&thread, nullptr, talk, &server), 0);
  Client killer(server);
  while (come < 6'000 && strange == 0) killer.command({"CLIENT", "KILL", "TYPE", "normal"});
  for (pthread_t& thread : threads) pthread_join(thread, nullptr);
  CHECK_EQ(strange.load(), 0);
}

TEST(clients, kill_oneself) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client a(server), b(server);
  CHECK(a.send("CLIENT KILL ID " + id_of(b) +
               " SKIPME no\r\nPING\r\nCLIENT KILL TYPE normal SKIPME no"
               "\r\nPING\r\n"));
  CHECK_EQ(a.read_until_close(), integer(1) + "+PONG\r\n" + integer(1));
  CHECK_EQ(b.read_until_close(), "");
  Client c(server);
  CHECK(c.send("CLIENT KILL " + field_of(c, "addr") + "\r\nPING\r\n"));
  CHECK_EQ(c.read_until_close(), kOk);
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
