// WAIT and WAITAOF: clients that wait hold up nobody else, get their reply in order, and are
// dropped when they go. What WAITAOF has told is on the disk.
#include <errno.h>
#include <sched.h>
#include <time.h>

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "client.h"
#include "disk.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

const std::string kPong = "+PONG\r\n";

std::string pair_of(int local, int replicas) { return array({integer(local), integer(replicas)}); }

long long monotonic_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1'000'000;
}

// Asks until INFO has the line, which it must have sooner or later.
void until_info_has(Client& client, const std::string& line) {
  for (int i = 0; i < 1'000'000; i++) {
    if (client.command({"INFO", "clients"}).find(line + "\r\n") != std::string::npos) return;
  }
  FAIL("no " + line);
}

TEST(wait, arguments) {
  Server with_log({.appendonly = true}), without;
  with_log.start();
  without.start();
  Client client(with_log), other(without);
  const std::string not_integer = "-ERR value is not an integer or out of range\r\n";
  const std::string not_local = "-ERR value is out of range, value must between 0 and 1\r\n";
  const std::string not_positive = "-ERR value is out of range, must be positive\r\n";
  const std::vector<std::pair<Argv, std::string>> expected = {
      {{"WAIT", "0", "0"}, integer(0)},
      {{"WAIT", "-3", "0"}, integer(0)},
      {{"WAIT", "x", "y"}, not_integer},
      {{"WAIT", "1", "y"}, "-ERR timeout is not an integer or out of range\r\n"},
      {{"WAIT", "1", "-1"}, "-ERR timeout is negative\r\n"},
      {{"WAIT", "1"}, "-ERR wrong number of arguments for 'wait' command\r\n"},
      {{"WAITAOF", "x", "0", "0"}, not_integer},
      {{"WAITAOF", "2", "x", "0"}, not_local},
      {{"WAITAOF", "-1", "0", "0"}, not_local},
      {{"WAITAOF", "1", "x", "x"}, not_positive},
      {{"WAITAOF", "1", "-1", "0"}, not_positive},
      {{"WAITAOF", "1", "0", "x"}, "-ERR timeout is not an integer or out of range\r\n"},
      {{"WAITAOF", "1", "0", "-1"}, "-ERR timeout is negative\r\n"},
      {{"WAITAOF", "1", "0"}, "-ERR wrong number of arguments for 'waitaof' command\r\n"},
  };
  for (const auto& [argv, reply] : expected) {
    CHECK_EQ(client.command(argv), reply);
    CHECK_EQ(other.command(argv), reply);
  }
  CHECK_EQ(other.command({"WAITAOF", "1", "0", "0"}),
           "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n");
  CHECK_EQ(other.command({"WAITAOF", "0", "0", "0"}), pair_of(0, 0));
  CHECK_EQ(other.command({"WAITAOF", "0", "1", "5"}), pair_of(0, 0));
  // Who has changed nothing has all on the disk.
  CHECK_EQ(client.command({"WAITAOF", "1", "0", "0"}), pair_of(1, 0));
  CHECK_EQ(client.command({"WAITAOF", "1", "7", "5"}), pair_of(1, 0));
  const long long start_ms = monotonic_ms();
  CHECK_EQ(client.command({"WAIT", "1", "50"}), integer(0));
  CHECK(monotonic_ms() - start_ms >= 49);
}

// The one loop goes on serving others; what the client sends meanwhile is run afterwards.
TEST(wait, holds_up_nobody_else) {
  Server server({.arguments = {"--threads", "1"}, .tcp = true});
  server.start();
  Client waiting(server), other(server), tcp;
  CHECK(tcp.connect_tcp("127.0.0.1", server.port()));
  const std::string large(300'000, 'x');
  std::string pipeline;
  for (const Argv& argv : std::vector<Argv>{{"SET", "a", "1"},
                                            {"WAIT", "1", std::to_string(1000 * slowness())},
                                            {"INCR", "a"},
                                            {"SET", "large", large},
                                            {"WAIT", "2", "1"},
                                            {"GET", "a"}}) {
    append_encoded(argv, &pipeline);
  }
  CHECK(waiting.send(pipeline));
  CHECK_EQ(waiting.read_reply(), kOk);
  CHECK_EQ(other.command({"GET", "a"}), bulk("1"));
  until_info_has(other, "blocked_clients:1");
  const std::string list = other.command({"CLIENT", "LIST"});
  CHECK(list.find(" flags=bU ") != std::string::npos);
  CHECK(list.find(" flags=U ") != std::string::npos);
  CHECK(tcp.send_command({"WAIT", "1", "0"}));
  until_info_has(other, "blocked_clients:2");
  CHECK(other.command({"CLIENT", "LIST"}).find(" flags=b ") != std::string::npos);
  CHECK_EQ(waiting.read_reply(), integer(0));
  CHECK_EQ(waiting.read_reply(), integer(2));
  CHECK_EQ(waiting.read_reply(), kOk);
  CHECK_EQ(waiting.read_reply(), integer(0));
  CHECK_EQ(waiting.read_reply(), bulk("2"));
  CHECK(other.command({"GET", "large"}) == bulk(large));
  until_info_has(other, "blocked_clients:1");
}

// More than a slice, more than the loop would receive of a stalled client, and at its end what is
// no command.
TEST(wait, what_comes_meanwhile_is_kept) {
  Server server;
  server.start();
  Client client(server);
  constexpr int kPings = 100'000;
  std::string pipeline = encode({"WAIT", "1", "50"});
  for (int i = 0; i < kPings; i++) {
    append_encoded({"PING"}, &pipeline);
    if (i % 20'000 == 7) append_encoded({"WAIT", "1", "1"}, &pipeline);
  }
  pipeline += encode({"WAIT", "1", "1"}) + "*1\r\nx\r\n";
  CHECK(client.send(pipeline));
  CHECK_EQ(client.read_reply(), integer(0));
  for (int i = 0; i < kPings; i++) {
    CHECK_EQ(client.read_reply(), kPong);
    if (i % 20'000 == 7) CHECK_EQ(client.read_reply(), integer(0));
  }
  CHECK_EQ(client.read_reply(), integer(0));
  CHECK_EQ(client.read_until_close(), "-ERR Protocol error: expected '$', got 'x'\r\n");
}

TEST(wait, replies_that_are_off) {
  Server server;
  server.start();
  Client client(server);
  std::string pipeline;
  for (const Argv& argv : std::vector<Argv>{{"CLIENT", "REPLY", "SKIP"},
                                            {"WAIT", "1", "5"},
                                            {"ECHO", "a"},
                                            {"CLIENT", "REPLY", "OFF"},
                                            {"WAIT", "1", "5"},
                                            {"CLIENT", "REPLY", "ON"},
                                            {"WAIT", "1", "5"},
                                            {"PING"}}) {
    append_encoded(argv, &pipeline);
  }
  CHECK(client.send(pipeline));
  for (const std::string& reply : {bulk("a"), kOk, integer(0), kPong}) {
    CHECK_EQ(client.read_reply(), reply);
  }
}

// Who goes while waiting is dropped, with the commands that it has sent after the WAIT.
TEST(wait, clients_that_go) {
  Server server({.arguments = {"--threads", "2"}, .tcp = true, .appendonly = true});
  server.start();
  Client watcher(server);
  std::vector<Client> clients(20);
  for (size_t i = 0; i < clients.size(); i++) {
    if (i % 2) {
      clients[i].connect(server);
    } else {
      CHECK(clients[i].connect_tcp("127.0.0.1", server.port()));
    }
    CHECK(clients[i].send(encode({"SET", "k" + std::to_string(i), "x"}) +
                          encode({"WAIT", "1", "0"}) + encode({"SET", "never", "x"})));
  }
  until_info_has(watcher, "blocked_clients:20");
  for (size_t i = 0; i < clients.size(); i++) {
    if (i % 3 == 0) {
      clients[i].close();
    } else {
      clients[i].shut_write();
      CHECK_EQ(clients[i].read_until_close(), kOk);
    }
  }
  until_info_has(watcher, "connected_clients:1");
  until_info_has(watcher, "blocked_clients:0");
  CHECK_EQ(watcher.command({"DBSIZE"}), integer(20));
  // Sent at once with the end.
  for (int i = 0; i < 50; i++) {
    Client client(server);
    CHECK(client.send(encode({"PING"}) + encode({"WAIT", "1", "0"}) + encode({"PING"})));
    client.shut_write();
    CHECK_EQ(client.read_until_close(), kPong);
  }
  // A server stops although clients wait.
  Client last(server);
  CHECK(last.send_command({"WAIT", "1", "0"}));
  until_info_has(watcher, "blocked_clients:1");
  CHECK_EQ(server.stop(), 0);
}

// What it sends is received, up to what the server takes of one command.
TEST(wait, client_that_sends_without_end) {
  Server server({.arguments = {"--client-query-buffer-limit", "1mb"}});
  server.start();
  Client client(server), other(server);
  CHECK(client.send_command({"WAIT", "1", "0"}));
  until_info_has(other, "blocked_clients:1");
  std::string pings;
  for (int i = 0; i < 300'000; i++) append_encoded({"PING"}, &pings);
  client.send(pings);
  CHECK_EQ(client.read_until_close(), "");
  until_info_has(other, "connected_clients:1");
}

TEST(wait, many_at_once) {
  Server server({.arguments = {"--threads", "2"}, .appendonly = true});
  server.start();
  Random random(seed());
  std::vector<Client> clients(200);
  for (Client& client : clients) {
    client.connect(server);
    std::string pipeline;
    for (int i = 0; i < 20; i++) {
      append_encoded({"INCR", "n"}, &pipeline);
      append_encoded({"WAIT", "1", std::to_string(1 + random.below(40))}, &pipeline);
      append_encoded({"WAITAOF", "1", "0", "0"}, &pipeline);
    }
    CHECK(client.send(pipeline));
  }
  for (Client& client : clients) {
    for (int i = 0; i < 20; i++) {
      CHECK_EQ(client.read_reply()[0], ':');
      CHECK_EQ(client.read_reply(), integer(0));
      CHECK_EQ(client.read_reply(), pair_of(1, 0));
    }
  }
  CHECK_EQ(clients[0].command({"GET", "n"}), bulk("4000"));
}

// ---- WAITAOF and the disk ----

ServerOptions on(const FaultyDisk& disk, const char* fsync) {
  return {.arguments = {"--threads", "1", "--appendfsync", fsync},
          .appendonly = true,
          .environment = disk.environment()};
}

void wait_until(const std::atomic<uint32_t>& value) {
  for (int i = 0; i < 10'000'000 && value == 0; i++) sched_yield();
  CHECK(value > 0);
}

// While an fsync takes its time the client waits, and nobody else.
void wait_for_slow_disk(const char* fsync) {
  FaultyDisk disk;
  Server server(on(disk, fsync));
  server.start();
  Client client(server), other(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  CHECK_EQ(client.command({"WAITAOF", "1", "0", "0"}), pair_of(1, 0));
  CHECK(disk->syncs > 0);
  disk->hold_syncs = 1;
  CHECK_EQ(client.command({"SET", "a", "2"}), kOk);
  CHECK(client.send(encode({"WAITAOF", "1", "0", "0"}) + encode({"GET", "a"})));
  wait_until(disk->syncs_held);
  CHECK_EQ(other.command({"GET", "a"}), bulk("2"));
  CHECK_EQ(other.command({"WAITAOF", "0", "0", "0"}), pair_of(1, 0));
  CHECK_EQ(other.command({"SET", "b", "1"}), kOk);
  CHECK_EQ(other.command({"WAITAOF", "0", "0", "0"}), pair_of(0, 0));
  CHECK_EQ(other.command({"WAITAOF", "1", "0", "30"}), pair_of(0, 0));
  CHECK_EQ(other.command({"WAITAOF", "1", "1", "30"}), pair_of(0, 0));
  CHECK(!client.readable(0));
  disk.release(disk->hold_syncs);
  CHECK_EQ(client.read_reply(), pair_of(1, 0));
  CHECK_EQ(client.read_reply(), bulk("2"));
  CHECK_EQ(other.command({"WAITAOF", "1", "0", "0"}), pair_of(1, 0));
  CHECK_EQ(other.command({"WAITAOF", "1", "1", "30"}), pair_of(1, 0));
}

// Who sends changes and never pauses gets its replies all the same: it does not run ahead of them.
TEST(wait, replies_come_while_the_client_sends) {
  FaultyDisk disk;
  Server server(on(disk, "always"));
  server.start();
  Client busy(server), other(server);
  std::string sets;
  constexpr int kSets = 200'000;
  for (int i = 0; i < kSets; i++) append_encoded({"SET", std::to_string(i), "v"}, &sets);
  disk->hold_syncs = 1;
  struct Work {
    Client& client;
    const std::string& bytes;
  } work = {busy, sets};
  const auto send_all = [](void* of) -> void* {
    const Work& w = *static_cast<Work*>(of);
    return w.client.send(w.bytes) ? of : nullptr;
  };
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, nullptr, send_all, &work), 0);
  wait_until(disk->syncs_held);
  const auto keys = [&] { return atol(other.command({"DBSIZE"}).c_str() + 1); };
  while (keys() < 5'000) continue;
  long most = 0;
  for (int i = 0; i < 3'000; i++) most = std::max(most, keys());
  CHECK(most < 20'000);
  disk.release(disk->hold_syncs);
  void* sent = nullptr;
  pthread_join(thread, &sent);
  CHECK(sent);
  for (int i = 0; i < kSets; i++) CHECK_EQ(busy.read_reply(), kOk);
  CHECK_EQ(keys(), long(kSets));
}

TEST(wait, for_a_slow_disk_everysec) { wait_for_slow_disk("everysec"); }
TEST(wait, for_a_slow_disk_no) { wait_for_slow_disk("no"); }

// Before the record is in the file there is nothing to fsync.
TEST(wait, for_a_slow_write) {
  FaultyDisk disk;
  Server server(on(disk, "no"));
  server.start();
  Client client(server), other(server);
  disk->hold_pwrites = 1;
  CHECK(client.send(encode({"SET", "a", "1"}) + encode({"WAITAOF", "1", "0", "0"})));
  wait_until(disk->pwrites_held);
  until_info_has(other, "blocked_clients:1");
  CHECK(!client.readable(0));
  disk.release(disk->hold_pwrites);
  CHECK_EQ(client.read_reply(), kOk);
  CHECK_EQ(client.read_reply(), pair_of(1, 0));
}

// After a failed fsync nothing is told to be on the disk, until another file has taken its place.
TEST(wait, for_a_disk_that_fails) {
  FaultyDisk disk;
  Server server(on(disk, "no"));
  server.start();
  Client client(server), other(server);
  disk->sync_error = EIO;
  disk->sync_failures = 1;
  disk->hold_writevs = 1;  // no other file before the first look
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  CHECK_EQ(client.command({"WAITAOF", "1", "0", "50"}), pair_of(0, 0));
  disk.release(disk->hold_writevs);
  CHECK_EQ(client.command({"WAITAOF", "1", "0", "0"}), pair_of(1, 0));
  CHECK_EQ(client.command({"SET", "a", "2"}), kOk);
  CHECK_EQ(client.command({"WAITAOF", "1", "0", "0"}), pair_of(1, 0));
}

TEST(wait, what_is_told_survives_a_power_failure) {
  for (const char* fsync : {"everysec", "no", "always"}) {
    Random random(seed());
    FaultyDisk disk;
    Server server(on(disk, fsync));
    disk.begin(server.dir());
    server.start();
    Client client(server);
    std::string last;
    for (int i = 0; i < 60; i++) {
      last = std::to_string(i);
      CHECK_EQ(client.command({"SET", "a", last}), kOk);
      CHECK_EQ(client.command({"WAITAOF", "1", "0", "0"}), pair_of(1, 0));
      if (i == 30) CHECK_EQ(client.command({"BGREWRITEAOF"})[0], '+');
    }
    server.kill9();
    disk.lose_power(server.dir(), "ignix.aof", FaultyDisk::Kept::kNothing, random);
    server.restart();
    client.connect(server);
    CHECK_EQ(client.command({"GET", "a"}), bulk(last));
  }
}

}  // namespace
}  // namespace test
