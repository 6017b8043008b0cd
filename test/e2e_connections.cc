// Many connections, slow ones, too many, none left; signals; the addresses to listen on.
#include <arpa/inet.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <memory>

#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

const std::string kPong = "+PONG\r\n";

TEST(connections, tcp_and_unix_socket_together) {
  Server server({.tcp = true});
  server.start();
  Client by_unix(server), by_tcp;
  CHECK(by_tcp.connect_tcp("127.0.0.1", server.port()));
  CHECK_EQ(by_unix.command({"SET", "a", "1"}), kOk);
  CHECK_EQ(by_tcp.command({"GET", "a"}), bulk("1"));
}

TEST(connections, ipv6) {
  int port = free_port(true);
  if (port == 0) SKIP("no IPv6 on this machine");
  Server server({.arguments = {"--port", std::to_string(port), "--bind", "127.0.0.1", "::1"}});
  server.start();
  Client four, six;
  CHECK(six.connect_tcp("::1", port));
  CHECK(four.connect_tcp("127.0.0.1", port));
  CHECK_EQ(six.command({"SET", "a", "1"}), kOk);
  CHECK_EQ(four.command({"GET", "a"}), bulk("1"));
}

// Where IPv6 is missing, an optional address must not keep the server from starting.
TEST(connections, optional_bind_address) {
  Server server({.arguments = {"--port", std::to_string(free_port()), "--bind", "127.0.0.1",
                               "-2001:db8::1"}});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"PING"}), kPong);
}

TEST(connections, many) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  std::vector<Client> clients(1000);
  for (Client& client : clients) client.connect(server);
  for (Client& client : clients) CHECK(client.send_command({"INCR", "n"}));
  for (Client& client : clients) CHECK_EQ(client.read_reply()[0], ':');
  CHECK_EQ(clients[0].command({"GET", "n"}), bulk("1000"));
}

TEST(connections, come_and_go) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client first(server);
  CHECK_EQ(first.command({"PING"}), kPong);
  int before = server.open_descriptors();
  for (int i = 0; i < 500; i++) {
    Client client(server);
    CHECK_EQ(client.command({"INCR", "n"}), integer(i + 1));
    if (i % 5 == 0) client.send("*3\r\n$3\r\nSET");       // leaves amid a request
    if (i % 7 == 0) client.send("*1\r\n$4\r\nPING\r\n");  // leaves without reading
    if (i % 11 == 0) {
      linger reset = {1, 0};
      setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
  }
  // Descriptors are closed when the loops come to it; each look at them costs the server nothing.
  for (int i = 0; i < 100'000 && server.open_descriptors() > before; i++)
    CHECK_EQ(first.command({"PING"}), kPong);
  CHECK_EQ(server.open_descriptors(), before);
}

TEST(connections, maxclients) {
  Server server({.arguments = {"--maxclients", "3"}});
  server.start();
  Client a(server), b(server), c(server);
  for (Client* client : {&a, &b, &c}) CHECK_EQ(client->command({"PING"}), kPong);
  Client d(server);
  CHECK_EQ(d.read_until_close(), "-ERR max number of clients reached\r\n");
  CHECK_EQ(a.command({"PING"}), kPong);
  b.close();
  // The place is free as soon as the server has seen the end of the other.
  std::string reply;
  for (int i = 0; i < 10'000 && reply != kPong; i++) {
    Client e(server);
    reply = e.command({"PING"});
  }
  CHECK_EQ(reply, kPong);
}

// Writes GETs until the server takes no more, or all are sent; never reads.
bool send_as_long_as_taken(Client& client, const std::string& bytes,
                           int limit_ms = 500 * slowness()) {
  size_t at = 0;
  while (at < bytes.size()) {
    pollfd fd = {client.fd(), POLLOUT, 0};
    if (poll(&fd, 1, limit_ms) == 0) return false;
    ssize_t n =
        send(client.fd(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0) return false;
    at += size_t(n);
  }
  return true;
}

// Sanitizers keep freed memory for a while, and shadow the rest with as much again and more: what
// takes 530 MB takes 1,070 under ThreadSanitizer, and has taken 1,400.
long growth_limit_kb(long megabytes) {
  if (slowness() == 1) return megabytes * 1024;
  return (2 * megabytes + (slowness() - 1) * 100) * 1024;
}

// What a client does not read must not pile up in the server, and must not delay others.
void one_that_never_reads(size_t value_bytes, int requests) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client other(server);
  std::string value(value_bytes, 'v');
  CHECK_EQ(other.command({"SET", "k", value}), kOk);
  for (int i = 0; i < 20; i++) CHECK(other.command({"GET", "k"}) == bulk(value));
  long before_kb = server.memory_kb();

  std::string sent;
  for (int i = 0; i < requests; i++) append_encoded({"GET", "k"}, &sent);
  Client silent(server);
  bool all_taken = send_as_long_as_taken(silent, sent);
  for (int i = 0; i < 100; i++) CHECK_EQ(other.command({"PING"}), kPong);
  long grown_kb = server.memory_kb() - before_kb;
  if (grown_kb > growth_limit_kb(128))
    FAIL("the server has grown by " + std::to_string(grown_kb) +
         " kB; all requests taken: " + (all_taken ? "yes" : "no"));
  CHECK(server.running());
  // It may have been closed. If not, all that was sent whole is answered once it reads.
  if (all_taken) {
    std::string expected = bulk(value);
    for (int i = 0; i < requests; i++) {
      std::string reply = silent.read_reply();
      if (reply == Client::kClosed) return;
      CHECK(reply == expected);
    }
  }
}

TEST(connections, never_reads_big_values) { one_that_never_reads(100'000, 3000); }

TEST(connections, never_reads_small_values) { one_that_never_reads(100, 1'500'000); }

TEST(connections, never_reads_huge_value) { one_that_never_reads(4'000'000, 200); }

// A value is sent from where it is stored. Whatever happens to the key meanwhile, each reply is
// whole.
TEST(connections, values_change_while_they_are_sent) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client other(server), slow(server);
  for (const size_t value_bytes : {size_t(9'000), size_t(100'000), size_t(3'000'000)}) {
    const size_t gets = 200'000'000 / value_bytes / 4;
    CHECK_EQ(other.command({"SET", "k", std::string(value_bytes, 'a')}), kOk);
    std::string sent;
    for (size_t i = 0; i < gets; i++) append_encoded({i % 3 ? "GET" : "MGET", "k"}, &sent);
    CHECK(send_as_long_as_taken(slow, sent, 10'000 * slowness()));
    CHECK_EQ(other.command({"PING"}), kPong);
    CHECK_EQ(other.command({"SET", "k", std::string(value_bytes, 'b')}), kOk);
    CHECK_EQ(other.command({"DEL", "k"}), integer(1));
    CHECK_EQ(other.command({"SET", "k", std::string(value_bytes, 'c')}), kOk);
    char letter = 'a';
    for (size_t i = 0; i < gets; i++) {
      std::string reply = slow.read_reply();
      if (i % 3 == 0) {
        CHECK_EQ(reply.substr(0, 4), "*1\r\n");
        reply.erase(0, 4);
      }
      if (reply == kNil) continue;  // between DEL and SET
      const char now = reply[reply.size() - 3];
      CHECK(now >= letter && now <= 'c');
      letter = now;
      CHECK(reply == bulk(std::string(value_bytes, letter)));
    }
  }
}

// The kernel sends large values from the pages they are stored in, and holds on to those that a
// client has not read. Whoever gets the memory of such a value next must not show in its reply.
TEST(connections, values_are_gone_before_they_are_read) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client other(server);
  for (const size_t value_bytes : {17'000, 40'000, 100'000, 900'000, 1'500'000}) {
    const std::string before(value_bytes, 'a'), after(value_bytes, 'z');
    Client slow[8];
    for (size_t i = 0; i < std::size(slow); i++) {
      slow[i].connect(server);
      const std::string key = "k" + std::to_string(i);
      CHECK_EQ(other.command({"SET", key, before}), kOk);
      // Read often: the first replies of a value are copies.
      for (int j = 0; j < 8; j++) CHECK(other.command({"GET", key}) == bulk(before));
      CHECK(slow[i].send_command({"GET", key}));
      CHECK(slow[i].readable(10'000 * slowness()));
      CHECK_EQ(other.command({"DEL", key}), integer(1));
      for (int j = 0; j < 4; j++) {
        CHECK_EQ(other.command({"SET", "j" + std::to_string(j), after}), kOk);
      }
    }
    for (Client& client : slow) CHECK(client.read_reply() == bulk(before));
  }
}

// Large values are received into their final place, whichever way their bytes arrive, and beside
// small commands before and behind them.
TEST(connections, large_values_in_pieces) {
  Server server({.tcp = true, .appendonly = true});
  server.start();
  Client client(server);
  Random random(seed());
  std::map<std::string, std::string> model;
  for (int round = 0; round < 60; round++) {
    std::string sent;
    std::vector<std::string> expected;
    for (uint64_t i = 1 + random.below(6); i-- > 0;) {
      const std::string key = "k" + std::to_string(random.below(8));
      const size_t bytes = random.below(4) ? 8'000 + random.below(60'000) : random.below(1'500'000);
      const std::string value(bytes, char('a' + random.below(26)));
      switch (random.below(5)) {
        case 0:
          append_encoded({"MSET", key, value, "other", value}, &sent);
          model[key] = model["other"] = value;
          expected.push_back(kOk);
          break;
        case 1:
          append_encoded({"SET", key, value, "XX", "GET"}, &sent);
          expected.push_back(model.count(key) ? bulk(model[key]) : kNil);
          if (model.count(key)) model[key] = value;
          break;
        case 2:
          append_encoded({"ECHO", value}, &sent);
          expected.push_back(bulk(value));
          break;
        case 3:
          append_encoded({"GET", key}, &sent);
          expected.push_back(model.count(key) ? bulk(model[key]) : kNil);
          break;
        default:
          append_encoded({"SET", key, value}, &sent);
          model[key] = value;
          expected.push_back(kOk);
      }
    }
    for (size_t at = 0; at < sent.size();) {
      const size_t piece = random.below(3) ? 1 + random.below(200'000) : 1 + random.below(40);
      CHECK(client.send(std::string_view(sent).substr(at, piece)));
      at += piece;
      if (random.below(8) == 0) usleep(useconds_t(random.below(300)));  // so that pieces are seen
    }
    for (const std::string& reply : expected) CHECK(client.read_reply() == reply);
  }
  server.kill9();
  server.restart();
  client.connect(server);
  for (const auto& [key, value] : model) CHECK(client.command({"GET", key}) == bulk(value));
}

TEST(connections, gone_amid_a_large_value) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client other(server);
  Random random(seed());
  const std::string request = encode({"SET", "k", std::string(3'000'000, 'v')});
  const long before_kb = server.memory_kb();
  for (int i = 0; i < 100; i++) {
    Client client(server);
    CHECK(client.send(std::string_view(request).substr(0, random.below(request.size()))));
  }
  CHECK_EQ(other.command({"GET", "k"}), kNil);
  if (server.memory_kb() - before_kb > growth_limit_kb(128)) FAIL("the server has grown");
}

// The most commands that were run between two of a client that asks little, beside some that ask
// much.
long long most_run_between() {
  Server server({.arguments = {"--threads", "1"}, .tcp = true, .unix_socket = false});
  server.start();
  Client quiet(server), floods[10];
  std::string pings;
  for (int i = 0; i < 300'000; i++) pings += "PING\r\n";
  const std::string big_set = encode({"SET", "big", std::string(50'000'000, 'v')});
  pthread_t threads[std::size(floods)];
  struct Flood {
    Client* client;
    const std::string* bytes;
  } work[std::size(floods)];
  for (size_t i = 0; i < std::size(floods); i++) {
    floods[i].connect(server);
    work[i] = {&floods[i], i ? &pings : &big_set};
    const auto send_all = [](void* flood) -> void* {
      const Flood& f = *static_cast<Flood*>(flood);
      return f.client->send(*f.bytes) ? flood : nullptr;
    };
    CHECK_EQ(pthread_create(&threads[i], nullptr, send_all, &work[i]), 0);
  }
  const auto commands_run = [&] {
    const std::string info = quiet.command({"INFO", "stats"});
    const std::string field = "total_commands_processed:";
    return atoll(info.c_str() + info.find(field) + field.size());
  };
  // Each INFO tells what had been run by the turn before its own.
  long long before = commands_run(), most = 0;
  for (int i = 0; i < 300; i++) {
    const long long now = commands_run();
    most = std::max(most, now - before);
    before = now;
  }
  for (pthread_t thread : threads) {
    void* sent = nullptr;
    pthread_join(thread, &sent);
    CHECK(sent);
  }
  for (size_t i = 1; i < std::size(floods); i++) {
    for (int j = 0; j < 300'000; j++) CHECK_EQ(floods[i].read_reply(), kPong);
  }
  CHECK_EQ(floods[0].read_reply(), kOk);
  return most;
}

// Two turns of nine floods are 50,000; the limit allows for some more, which run while this process
// waits for a CPU. If it waits long it is more, but not each time. Without slices it is a million
// over io_uring, which takes in all there is.
TEST_ALONE(connections, a_quiet_one_beside_floods) {
  long long most = LLONG_MAX;
  for (int i = 0; i < 3 && most > 400'000; i++) most = most_run_between();
  if (most > 400'000) FAIL(std::to_string(most) + " commands were run before the quiet client's");
}

// There is a limit over all clients too: together they would get twice as much.
TEST(connections, many_that_never_read) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client other(server);
  CHECK_EQ(other.command({"SET", "k", std::string(1000, 'v')}), kOk);
  std::string sent;
  for (int i = 0; i < 100'000; i++) append_encoded({"GET", "k"}, &sent);
  long before_kb = server.memory_kb();
  std::vector<Client> silent(12);
  for (Client& client : silent) {
    client.connect(server);
    send_as_long_as_taken(client, sent);
  }
  for (int i = 0; i < 100; i++) CHECK_EQ(other.command({"PING"}), kPong);
  long grown_kb = server.memory_kb() - before_kb;
  if (grown_kb > growth_limit_kb(700))
    FAIL("the server has grown by " + std::to_string(grown_kb) + " kB");
  // Whoever reads again is served again.
  for (int i = 0; i < 1000; i++) {
    std::string reply = silent[5].read_reply();
    if (reply == Client::kClosed) return;
    CHECK_EQ(reply, bulk(std::string(1000, 'v')));
  }
}

// Stalls with as many answers as fit, then reads; nothing is lost and the order stays.
TEST(connections, reads_late) {
  Server server;
  server.start();
  Client client(server);
  constexpr int kCount = 20'000;
  std::string sent;
  for (int i = 0; i < kCount; i++) append_encoded({"INCR", "n"}, &sent);
  for (int i = 0; i < 20; i++) append_encoded({"ECHO", std::string(100'000, 'e')}, &sent);
  CHECK(client.send(sent));
  for (int i = 0; i < kCount; i++) CHECK_EQ(client.read_reply(), integer(i + 1));
  for (int i = 0; i < 20; i++) CHECK(client.read_reply() == bulk(std::string(100'000, 'e')));
}

// A server that waits uses at most `limit` of a CPU. What it still has to do from before may take
// the first seconds; a server that spins does so in every one.
void check_quiet(Server& server, double limit) {
  double used = 0;
  for (int i = 0; i < 10; i++) {
    const double before = server.cpu_seconds();
    poll(nullptr, 0, 1000);  // the time over which its use of the CPU is measured
    used = server.cpu_seconds() - before;
    if (used <= limit) return;
  }
  FAIL("the server uses " + std::to_string(used) + " s of CPU in a second of waiting");
}

// With no descriptor left the server neither spins nor forgets those who wait.
TEST(connections, out_of_descriptors) {
  Server server({.arguments = {"--threads", "2", "--maxclients", "10000"},
                 .tcp = true,
                 .unix_socket = false,
                 .descriptors = 80});
  if (!server.try_start()) {
    // To refuse so small a limit with a clear line is an answer too.
    CHECK(server.wait_exit() != 0);
    CHECK(!server.log().empty());
    SKIP("ignix does not start with 80 descriptors: " + server.log());
  }
  Client first(server);
  const std::string lowered = first.command({"CONFIG", "GET", "maxclients"});
  CHECK(atoi(lowered.c_str() + lowered.find("\r\n", lowered.find("maxclients") + 12) + 2) < 80);
  const std::string refused = first.command({"CONFIG", "SET", "timeout", "9", "maxclients", "99"});
  CHECK(refused.starts_with(
      "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system "
      "is not able to handle the specified number of clients, try with "));
  CHECK_EQ(
      first.command({"CONFIG", "GET", "timeout", "maxclients"}),
      array({bulk("maxclients"), lowered.substr(lowered.rfind('$')), bulk("timeout"), bulk("0")}));
  const rlimit fewer = {40, 40};  // than it has counted on
  CHECK_EQ(prlimit(server.pid(), RLIMIT_NOFILE, &fewer, nullptr), 0);
  CHECK_EQ(first.command({"CONFIG", "SET", "timeout", "0"}), kOk);
  std::vector<Client> crowd(150);
  for (Client& client : crowd) {
    client.connect(server);
    client.send_command({"PING"});
  }
  CHECK_EQ(first.command({"PING"}), kPong);
  check_quiet(server, 0.5);
  CHECK_EQ(first.command({"PING"}), kPong);
  for (Client& client : crowd) client.close();
  // The loops learn of the closing one by one, so the first few may still be too many.
  std::string answer;
  for (int i = 0; i < 10'000 && answer != kPong; i++) {
    Client late(server);
    answer = late.command({"PING"});
  }
  CHECK_EQ(answer, kPong);
}

TEST(connections, idle_server_uses_no_cpu) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  check_quiet(server, 0.1);
}

// A client that sends no more and does not read: nothing can be done for it, and nothing is.
TEST(connections, half_closed_and_not_reading_uses_no_cpu) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client other(server), silent(server);
  CHECK_EQ(other.command({"SET", "k", std::string(3'000'000, 'v')}), kOk);
  for (int i = 0; i < 6; i++) CHECK(silent.send_command({"GET", "k"}));
  silent.shut_write();
  CHECK(silent.readable(10'000 * slowness()));
  CHECK_EQ(other.command({"PING"}), kPong);
  check_quiet(server, 0.1);
  for (int i = 0; i < 6; i++) CHECK(silent.read_reply() == bulk(std::string(3'000'000, 'v')));
  CHECK_EQ(silent.read_reply(), Client::kClosed);
}

// Requests that pile up behind large replies are not taken in without bound.
TEST(connections, requests_behind_large_replies_wait_in_the_socket) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client other(server), greedy(server);
  CHECK_EQ(other.command({"SET", "k", std::string(9'000, 'v')}), kOk);
  std::string sent;
  for (int i = 0; i < 40'000; i++) append_encoded({"GET", "k"}, &sent);
  struct Sender {
    Client* client;
    const std::string* bytes;
  } work = {&greedy, &sent};
  // Sends without ever reading; the replies are read below.
  const auto send_all = [](void* self) -> void* {
    const Sender& s = *static_cast<Sender*>(self);
    for (size_t at = 0; at < s.bytes->size();) {
      const ssize_t n =
          send(s.client->fd(), s.bytes->data() + at, s.bytes->size() - at, MSG_NOSIGNAL);
      if (n <= 0) return nullptr;
      at += size_t(n);
    }
    return self;
  };
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, nullptr, send_all, &work), 0);
  const std::string value = bulk(std::string(9'000, 'v'));
  for (int i = 0; i < 40'000; i++) {
    CHECK(greedy.read_reply() == value);
    if (i % 1'000) continue;
    const std::string list = other.command({"CLIENT", "LIST"});
    for (size_t at = 0; (at = list.find("qbuf=", at)) != std::string::npos; at++) {
      CHECK(atoll(list.c_str() + at + 5) < 1'000'000);
    }
  }
  void* all_sent = nullptr;
  pthread_join(thread, &all_sent);
  CHECK(all_sent);
}

// The length of a value is a promise, and takes no memory before its bytes come.
TEST(connections, promises_take_no_memory) {
  Server server;
  server.start();
  const long before_kb = server.memory_kb();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 100; i++) {
    clients.push_back(std::make_unique<Client>(server));
    CHECK(clients.back()->send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$524287900\r\n0123456789"));
  }
  Client other(server);
  CHECK_EQ(other.command({"GET", "a"}), kNil);
  if (server.memory_kb() - before_kb > growth_limit_kb(16)) FAIL("the server has grown");
}

// What much input and long replies have taken is given back, though a part of a command is left,
// and nobody hears the replies.
TEST(connections, idle_ones_keep_no_room) {
  Server server;
  server.start();
  const long before_kb = server.memory_kb();
  std::string gets;
  for (int i = 0; i < 20'000; i++) append_encoded({"GET", "k"}, &gets);
  const std::string echo = encode({"CLIENT", "REPLY", "OFF"}) +
                           encode({"ECHO", std::string(2'000'000, 'e')}) + encode({"INCR", "n"});
  std::vector<Client> behind(50), silent(50);
  for (Client& client : behind) {
    client.connect(server);
    CHECK(client.send(gets + "*"));
    for (int i = 0; i < 20'000; i++) CHECK_EQ(client.read_reply(), kNil);
  }
  for (Client& client : silent) {
    client.connect(server);
    CHECK(client.send(echo));
  }
  Client other(server);
  while (other.command({"GET", "n"}) != bulk("50")) continue;
  const auto most_room = [&] {
    const std::string list = other.command({"CLIENT", "LIST"}), field = " qbuf-free=";
    long most = 0;
    for (size_t at = 0; (at = list.find(field, at)) != std::string::npos; at++) {
      most = std::max(most, atol(list.c_str() + at + field.size()));
    }
    return most;
  };
  while (most_room() > 64 * 1024) continue;
  if (server.memory_kb() - before_kb > growth_limit_kb(40)) FAIL("the server has grown");
}

// Slow is not idle, whether the timeout was there before or comes amid a value.
void slow_and_timeout(bool amid) {
  const std::string timeout_s = std::to_string(2 * slowness());
  const std::string before = amid ? "0" : timeout_s;
  Server server({.arguments = {"--timeout", before}, .tcp = true, .unix_socket = false});
  server.start();
  Client slow(server), other(server);
  const std::string value(3'000'000, 'v');
  const std::string request = encode({"SET", "k", value});
  // Fewer at a time than are worth a wake-up.
  const size_t fast = request.size() - 60'000;
  CHECK(slow.send(std::string_view(request).substr(0, fast)));
  CHECK_EQ(other.command({"PING"}), kPong);
  if (amid) CHECK_EQ(other.command({"CONFIG", "SET", "timeout", timeout_s}), kOk);
  for (size_t at = fast; at < request.size(); at += 1'000) {
    CHECK(slow.send(std::string_view(request).substr(at, 1'000)));
    poll(nullptr, 0, 60 * slowness());
  }
  CHECK_EQ(slow.read_reply(), kOk);
  CHECK(slow.command({"GET", "k"}) == bulk(value));
}

TEST(connections, timeout_spares_who_is_sending) { slow_and_timeout(false); }
TEST(connections, timeout_that_comes_amid_a_value) { slow_and_timeout(true); }

TEST(connections, signals_that_must_not_matter) {
  Server server({.arguments = {"--threads", "2"}});
  server.start();
  std::vector<Client> clients(8);
  for (Client& client : clients) client.connect(server);
  for (int signal_number : {SIGWINCH, SIGCONT, SIGHUP, SIGPIPE, SIGURG, SIGCHLD}) {
    for (int i = 0; i < 3; i++) {
      server.send_signal(signal_number);
      for (Client& client : clients) CHECK_EQ(client.command({"PING"}), kPong);
    }
  }
  server.send_signal(SIGSTOP);
  siginfo_t info;
  CHECK_EQ(waitid(P_PID, id_t(server.pid()), &info, WSTOPPED), 0);
  for (Client& client : clients) CHECK(client.send_command({"INCR", "n"}));
  server.send_signal(SIGCONT);
  for (Client& client : clients) CHECK_EQ(client.read_reply()[0], ':');
  CHECK_EQ(clients[0].command({"GET", "n"}), bulk("8"));
}

// client-output-buffer-limit, hard and soft: who does not read is closed, who reads is not.
TEST(connections, output_limits) {
  Server server({.arguments = {"--client-output-buffer-limit", "normal", "16mb", "4mb", "1"}});
  server.start();
  Client other(server);
  CHECK_EQ(other.command({"CONFIG", "GET", "client-output-buffer-limit"}),
           array({bulk("client-output-buffer-limit"),
                  bulk("normal 16777216 4194304 1 slave 268435456 67108864 60 pubsub 33554432 "
                       "8388608 60")}));
  CHECK_EQ(other.command({"SET", "k", std::string(1 << 20, 'v')}), kOk);
  const std::string get = encode({"GET", "k"});
  for (const int gets : {40, 10}) {
    Client silent(server);
    std::string sent;
    for (int i = 0; i < gets; i++) sent += get;
    const size_t log_before = server.log().size();
    CHECK(silent.send_without_reading(sent));
    CHECK(server.wait_log("bytes of replies, client-output-buffer-limit", log_before));
    CHECK(silent.read_until_close().size() < size_t(gets) << 20);
    CHECK_EQ(other.command({"CONFIG", "SET", "client-output-buffer-limit", "normal 0 4mb 1"}), kOk);
  }
  for (int i = 0; i < 50; i++) CHECK(other.command({"GET", "k"}).size() > 1 << 20);
  CHECK_EQ(other.command({"CONFIG", "SET", "client-output-buffer-limit", "normal 1 2"}),
           "-ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - "
           "Wrong number of arguments in buffer limit configuration.\r\n");
  CHECK_EQ(other.command({"CONFIG", "SET", "client-output-buffer-limit", "slow 1 2 3"}),
           "-ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - "
           "Invalid client class specified in buffer limit configuration.\r\n");
}

TEST(connections, idle_timeout) {
  Server server({.arguments = {"--timeout", "1"}});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"PING"}), kPong);
  CHECK_EQ(client.read_until_close(), "");
  client.connect(server);
  CHECK_EQ(client.command({"PING"}), kPong);
}

// Writers on every connection and loop, one counter: no increment may be lost.
TEST(connections, atomic_over_threads) {
  Server server({.arguments = {"--threads", "4"}, .tcp = true, .unix_socket = false});
  server.start();
  constexpr int kClients = 16, kRounds = 2000;
  std::vector<Client> clients(kClients);
  std::string sent;
  for (int i = 0; i < kRounds; i++) {
    append_encoded({"INCR", "n"}, &sent);
    append_encoded({"MSET", "a", std::to_string(i), "b", std::to_string(i)}, &sent);
    append_encoded({"MGET", "a", "b"}, &sent);
  }
  for (Client& client : clients) client.connect(server);
  for (Client& client : clients) CHECK(client.send(sent));
  for (Client& client : clients) {
    for (int i = 0; i < kRounds; i++) {
      CHECK_EQ(client.read_reply()[0], ':');
      CHECK_EQ(client.read_reply(), kOk);
      std::string pair = client.read_reply();
      size_t half = (pair.size() - 4) / 2;
      CHECK_EQ(pair.substr(4, half), pair.substr(4 + half));  // MSET is seen whole or not at all
    }
  }
  CHECK_EQ(clients[0].command({"GET", "n"}), bulk(std::to_string(kClients * kRounds)));
}

TEST(connections, unix_socket_file_comes_and_goes) {
  Server server;
  server.start();
  CHECK(file_exists(server.unix_path()));
  CHECK_EQ(server.stop(), 0);
  CHECK(!file_exists(server.unix_path()));
  server.start();
  server.kill9();
  server.restart();  // over the file that the killed one has left
  Client client(server);
  CHECK_EQ(client.command({"PING"}), kPong);
}

}  // namespace
}  // namespace test
