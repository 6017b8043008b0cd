// Transactions as one client sees them, what they leave in the log, and their limits. What several
// clients at once see of them: e2e_isolation.cc; all the replies: differential_transactions.cc.
#include <errno.h>

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

const std::string kQueued = "+QUEUED\r\n";
const std::string kNullArray = "*-1\r\n";

// Sends all at once; returns what the last one replies.
std::string last_reply(Client& client, const std::vector<Argv>& commands) {
  std::string bytes, reply;
  for (const Argv& argv : commands) append_encoded(argv, &bytes);
  CHECK(client.send(bytes));
  for (size_t i = 0; i < commands.size(); i++) reply = client.read_reply();
  return reply;
}

std::string encode_all(const std::vector<Argv>& commands) {
  std::string bytes;
  for (const Argv& argv : commands) append_encoded(argv, &bytes);
  return bytes;
}

// What has come into the log behind the first `from` bytes, once all that was replied is in it.
std::string log_from(Server& server, size_t from) {
  return read_file(server.dir() + "/ignix.aof").substr(from);
}

size_t log_size(Server& server) { return read_file(server.dir() + "/ignix.aof").size(); }

TEST(transactions, log_has_groups) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  const struct {
    std::vector<Argv> sent, logged;
  } cases[] = {
      // One change needs no group, and none leaves nothing.
      {{{"MULTI"}, {"SET", "a", "1"}, {"GET", "a"}, {"EXEC"}}, {{"SET", "a", "1"}}},
      {{{"MULTI"}, {"GET", "a"}, {"DEL", "nothing"}, {"EXEC"}}, {}},
      {{{"MULTI"}, {"EXEC"}}, {}},
      {{{"MULTI"}, {"SET", "a", "2"}, {"DISCARD"}}, {}},
      {{{"MULTI"}, {"SET", "a", "2"}, {"nosuch"}, {"EXEC"}}, {}},
      {{{"WATCH", "a"}, {"INCR", "a"}, {"MULTI"}, {"SET", "a", "x"}, {"EXEC"}}, {{"INCR", "a"}}},
      {{{"MULTI"}, {"SET", "a", "1"}, {"INCR", "a"}, {"EXEC"}},
       {{"MULTI"}, {"SET", "a", "1"}, {"INCR", "a"}, {"EXEC"}}},
      // A command that fails does not undo the others.
      {{{"MULTI"}, {"SET", "t", "x"}, {"INCR", "t"}, {"APPEND", "t", "y"}, {"EXEC"}},
       {{"MULTI"}, {"SET", "t", "x"}, {"APPEND", "t", "y"}, {"EXEC"}}},
      // The database of each record is right, and database 0 is meant behind the group.
      {{{"MULTI"}, {"SELECT", "3"}, {"SET", "b", "1"}, {"SET", "c", "1"}, {"EXEC"}},
       {{"MULTI"},
        {"SELECT", "3"},
        {"SET", "b", "1"},
        {"SET", "c", "1"},
        {"SELECT", "0"},
        {"EXEC"}}},
      {{{"MULTI"}, {"SET", "b", "2"}, {"SELECT", "0"}, {"SET", "b", "3"}, {"EXEC"}},
       {{"MULTI"},
        {"SELECT", "3"},
        {"SET", "b", "2"},
        {"SELECT", "0"},
        {"SET", "b", "3"},
        {"EXEC"}}},
      {{{"MULTI"}, {"SELECT", "3"}, {"DEL", "b"}, {"EXEC"}},
       {{"SELECT", "3"}, {"DEL", "b"}, {"SELECT", "0"}}},
      {{{"MULTI"}, {"SELECT", "0"}, {"EXEC"}}, {}},
      // What is found expired goes within the group.
      {{{"SET", "e", "1", "PXAT", "1"}}, {{"SET", "e", "1", "PXAT", "1"}}},
      {{{"MULTI"}, {"GET", "e"}, {"INCR", "n"}, {"EXEC"}},
       {{"MULTI"}, {"DEL", "e"}, {"INCR", "n"}, {"EXEC"}}},
      {{{"MULTI"}, {"FLUSHDB"}, {"SET", "a", "1"}, {"EXEC"}},
       {{"MULTI"}, {"FLUSHDB"}, {"SET", "a", "1"}, {"EXEC"}}},
  };
  for (const auto& each : cases) {
    const size_t before = log_size(server);
    last_reply(client, each.sent);
    CHECK_EQ(log_from(server, before), encode_all(each.logged));
  }
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(last_reply(client, {{"MULTI"},
                               {"DBSIZE"},
                               {"GET", "a"},
                               {"SELECT", "3"},
                               {"GET", "c"},
                               {"DBSIZE"},
                               {"EXEC"}}),
           array({integer(1), bulk("1"), kOk, bulk("1"), integer(1)}));
  CHECK_EQ(run_program(
               {"/bin/sh", "-c", "exec " + ignix_path() + "-check " + server.dir() + "/ignix.aof"})
               .status,
           0);
}

// Whatever is left of a group without its end is nothing.
TEST(transactions, torn_group) {
  Random random(seed());
  Server server({.appendonly = true});
  server.start();
  const std::string path = server.dir() + "/ignix.aof";
  for (int round = 0; round < 12; round++) {
    Client client(server);
    CHECK_EQ(client.command({"SET", "before", std::to_string(round)}), kOk);
    const size_t before = log_size(server);
    std::vector<Argv> commands = {{"MULTI"}};
    if (round % 2) commands.push_back({"SELECT", "2"});
    for (int i = 0; i < 5; i++) {
      commands.push_back({"SET", "k" + std::to_string(i), std::to_string(round)});
    }
    commands.push_back({"EXEC"});
    last_reply(client, commands);
    server.kill9();
    std::string log = read_file(path);
    CHECK(log.size() > before);
    log.resize(before + random.below(log.size() - before));
    write_file(path, log);
    server.restart();
    client.connect(server);
    CHECK_EQ(client.command({"GET", "before"}), bulk(std::to_string(round)));
    CHECK_EQ(client.command({"DBSIZE"}), integer(1));
    CHECK_EQ(client.command({"SELECT", "2"}), kOk);
    CHECK_EQ(client.command({"DBSIZE"}), integer(0));
  }
}

// The same at every byte: the load of a copy of the log, cut there, finds what stood before the
// group, and nothing else.
TEST(transactions, torn_at_every_byte) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "before", "1"}), kOk);
  const size_t before = log_size(server);
  last_reply(client,
             {{"MULTI"}, {"SET", "before", "2"}, {"SELECT", "2"}, {"SET", "k", "v"}, {"EXEC"}});
  server.kill9();
  const std::string log = read_file(server.dir() + "/ignix.aof");
  const std::vector<Argv> look = {{"MULTI"},       {"GET", "before"}, {"DBSIZE"},
                                  {"SELECT", "2"}, {"DBSIZE"},        {"EXEC"}};
  for (size_t bytes = before; bytes <= log.size(); bytes++) {
    write_file(server.dir() + "/ignix.aof", log.substr(0, bytes));
    server.restart();
    client.connect(server);
    const bool whole = bytes == log.size();
    CHECK_EQ(last_reply(client, look),
             array({bulk(whole ? "2" : "1"), integer(1), kOk, integer(whole ? 1 : 0)}));
    server.kill9();
  }
}

// One that is longer than the ring is kept aside.
TEST(transactions, longer_than_the_ring) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  const std::string value(1'000'000, 'v');
  std::vector<Argv> commands = {{"MULTI"}};
  for (int i = 0; i < 20; i++) {
    commands.push_back({"SET", "k" + std::to_string(i), value + std::to_string(i)});
  }
  for (int i = 0; i < 50'000; i++) commands.push_back({"INCR", "n" + std::to_string(i % 100)});
  commands.push_back({"EXEC"});
  CHECK_EQ(elements_of(last_reply(client, commands)).size(), 50'020);
  CHECK_EQ(client.command({"INCR", "n0"}), integer(501));
  server.kill9();
  server.restart();
  client.connect(server);
  for (int i = 0; i < 20; i++) {
    CHECK_EQ(client.command({"GET", "k" + std::to_string(i)}), bulk(value + std::to_string(i)));
  }
  CHECK_EQ(client.command({"GET", "n0"}), bulk("501"));
  CHECK_EQ(client.command({"GET", "n99"}), bulk("500"));
}

// A value that is received into a block of its own becomes the value, whatever else is done to it.
TEST(transactions, large_values) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  const std::string one(300'000, '1'), two(300'000, '2');
  CHECK_EQ(last_reply(client, {{"MULTI"},
                               {"SET", "a", one},
                               {"APPEND", "a", "x"},
                               {"SET", "b", two, "GET"},
                               {"SET", "b", one, "GET"},
                               {"RENAME", "b", "c"},
                               {"ECHO", two},
                               {"GET", "a"},
                               {"EXEC"}}),
           array({kOk, integer(300'001), kNil, bulk(two), kOk, bulk(two), bulk(one + "x")}));
  // Queued twice and never run; and left when the client goes.
  CHECK_EQ(last_reply(client, {{"MULTI"}, {"SET", "a", two}, {"SET", "a", two}, {"DISCARD"}}), kOk);
  CHECK_EQ(last_reply(client, {{"MULTI"}, {"SET", "a", two}}), kQueued);
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk(one + "x"));
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"MGET", "a", "b", "c"}), array({bulk(one + "x"), kNil, bulk(one)}));
}

TEST(transactions, shown_in_client_list) {
  Server server({.tcp = true, .unix_socket = false});
  server.start();
  Client client(server), other(server);
  const auto shows = [&](const std::string& text) {
    return other.command({"CLIENT", "LIST"}).find(text) != std::string::npos;
  };
  CHECK(!shows("flags=x"));
  CHECK_EQ(client.command({"WATCH", "k"}), kOk);
  CHECK_EQ(other.command({"SET", "k", "v"}), kOk);
  CHECK(shows("flags=d"));
  CHECK_EQ(client.command({"UNWATCH"}), kOk);
  CHECK(!shows("flags=d"));
  CHECK_EQ(client.command({"MULTI"}), kOk);
  CHECK(shows("flags=x"));
  CHECK(shows(" multi=0 "));
  CHECK_EQ(client.command({"GET", "k"}), kQueued);
  CHECK(shows(" multi=1 "));
  CHECK(shows(" cmd=get "));
  CHECK(!shows(" multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 "));
  CHECK_EQ(client.command({"EXEC"}), array({bulk("v")}));
  CHECK(!shows("flags=x"));
  CHECK(!shows(" multi=1 "));
}

// Queuing takes memory, and so do watches: client-query-buffer-limit is about both.
TEST(transactions, query_buffer_limit) {
  Server server({.arguments = {"--client-query-buffer-limit", "1mb"}});
  server.start();
  const std::string value(100'000, 'v');
  for (const bool watches : {false, true}) {
    const size_t logged = server.log().size();
    Client client(server), good(server);
    CHECK_EQ(good.command({"MULTI"}), kOk);
    if (!watches) CHECK_EQ(client.command({"MULTI"}), kOk);
    int taken = 0;
    for (; taken < 20; taken++) {
      const std::string reply = watches ? client.command({"WATCH", std::to_string(taken) + value})
                                        : client.command({"SET", "k", value});
      if (reply == Client::kClosed) break;
      CHECK_EQ(reply, watches ? kOk : kQueued);
    }
    CHECK(taken >= 9 && taken <= 11);
    CHECK(server.wait_log("client-query-buffer-limit", logged));
    CHECK_EQ(last_reply(good, {{"SET", "k", "v"}, {"EXEC"}}), array({kOk}));
  }
  // Small commands take more than their bytes.
  Client client(server);
  std::string bytes = encode({"MULTI"});
  for (int i = 0; i < 40'000; i++) append_encoded({"PING"}, &bytes);
  client.send(bytes);
  CHECK(client.read_until_close().size() < 40'000 * kQueued.size());
}

// More than client-output-buffer-limit allows is not kept, however much a transaction replies; but
// all of it is run.
TEST(transactions, output_limit) {
  Server server({.arguments = {"--client-output-buffer-limit", "normal 2mb 0 0"}});
  server.start();
  Client client(server), other(server);
  CHECK_EQ(client.command({"SET", "k", std::string(5000, 'v')}), kOk);
  std::string bytes = encode({"MULTI"});
  constexpr int kGets = 100'000;
  for (int i = 0; i < kGets; i++) append_encoded({"GET", "k"}, &bytes);
  append_encoded({"SET", "done", "x"}, &bytes);
  CHECK(client.send(bytes));
  CHECK_EQ(client.read_reply(), kOk);
  for (int i = 0; i <= kGets; i++) CHECK_EQ(client.read_reply(), kQueued);
  const long before_kb = server.memory_kb();
  CHECK(client.send(encode({"EXEC"}) + encode({"SET", "behind", "x"})));
  CHECK_EQ(client.read_until_close(), "");
  CHECK(server.wait_log("client-output-buffer-limit"));
  if (slowness() == 1) CHECK(server.memory_kb() - before_kb < 100 << 10);
  CHECK_EQ(other.command({"EXISTS", "done"}), integer(1));
  CHECK_EQ(other.command({"EXISTS", "behind"}), integer(0));
}

// Each client that had a long transaction is gone, and so is the memory: the loop keeps a little of
// it for the next one.
TEST(transactions, memory_of_long_ones) {
  if (slowness() > 1) SKIP("memory is not comparable under a sanitizer");
  constexpr int kCommands = 1 << 20;
  Server server({.arguments = {"--threads", "1"}});
  server.start();
  std::string bytes = encode({"MULTI"});
  for (int i = 0; i < kCommands; i++) append_encoded({"GET", "k"}, &bytes);
  const long before_kb = server.memory_kb();
  {
    Client client(server);
    CHECK(client.send(bytes + encode({"DISCARD"})));
    CHECK_EQ(client.read_reply(), kOk);
    for (int i = 0; i < kCommands; i++) CHECK_EQ(client.read_reply(), kQueued);
    CHECK_EQ(client.read_reply(), kOk);
  }
  CHECK(server.memory_kb() - before_kb < 50 << 10);
}

TEST(transactions, watch_limit) {
  Server server;
  server.start();
  Client client(server);
  int number = 0;
  const auto watch = [&](int count) {
    Argv argv = {"WATCH"};
    for (int i = 0; i < count; i++) argv.push_back(std::to_string(number++));
    return client.command(argv);
  };
  for (int i = 0; i < 100; i++) CHECK_EQ(watch(10'000), kOk);
  CHECK_EQ(watch(1), "-ERR too many watched keys\r\n");
  // One that is watched already is not one more.
  CHECK_EQ(client.command({"WATCH", "0", "999999"}), kOk);
  CHECK_EQ(client.command({"SET", "500000", "x"}), kOk);
  CHECK_EQ(last_reply(client, {{"MULTI"}, {"EXEC"}}), kNullArray);
  CHECK_EQ(watch(1), kOk);
}

TEST(transactions, over_maxmemory) {
  Server server;
  server.start();
  Client client(server), other(server), reader(server);
  const std::string oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
  CHECK_EQ(client.command({"SET", "k", "v"}), kOk);
  CHECK_EQ(last_reply(client, {{"MULTI"}, {"SET", "k", "w"}}), kQueued);
  CHECK_EQ(last_reply(reader, {{"MULTI"}, {"GET", "k"}}), kQueued);
  CHECK_EQ(other.command({"CONFIG", "SET", "maxmemory", "1"}), kOk);
  CHECK_EQ(client.command({"EXEC"}),
           "-EXECABORT Transaction discarded because of: " + oom.substr(1));
  CHECK_EQ(client.command({"EXEC"}), "-ERR EXEC without MULTI\r\n");
  // Reads that were queued are run; queuing more is refused.
  CHECK_EQ(reader.command({"EXEC"}), array({bulk("v")}));
  CHECK_EQ(last_reply(reader, {{"MULTI"}, {"GET", "k"}}), oom);
  CHECK_EQ(reader.command({"EXEC"}),
           "-EXECABORT Transaction discarded because of previous errors.\r\n");
}

TEST(transactions, while_the_log_cannot_be_written) {
  FaultyDisk disk;
  Server server({.appendonly = true, .environment = disk.environment()});
  server.start();
  Client client(server), reader(server), other(server), late(server);
  CHECK_EQ(last_reply(client, {{"MULTI"}, {"INCR", "n"}, {"INCR", "n"}}), kQueued);
  CHECK_EQ(last_reply(reader, {{"MULTI"}, {"GET", "n"}}), kQueued);
  disk->write_error = ENOSPC;
  CHECK(other.send_command({"INCR", "other"}));
  CHECK(server.wait_log("failed: No space left on device"));
  const std::string misconf = "MISCONF Errors writing to the AOF file: No space left on device\r\n";
  CHECK_EQ(client.command({"EXEC"}), "-EXECABORT Transaction discarded because of: " + misconf);
  CHECK_EQ(reader.command({"EXEC"}), array({kNil}));
  CHECK_EQ(last_reply(late, {{"MULTI"}, {"INCR", "n"}}), "-" + misconf);
  CHECK_EQ(late.command({"EXEC"}),
           "-EXECABORT Transaction discarded because of previous errors.\r\n");
  disk->write_error = 0;
  CHECK_EQ(other.read_reply(), integer(1));
}

// The reply of an EXEC that has changed something waits for the file, like any write's.
TEST(transactions, reply_waits_for_the_log) {
  FaultyDisk disk;
  Server server({.appendonly = true, .environment = disk.environment()});
  server.start();
  Client client(server), reader(server);
  CHECK_EQ(client.command({"SET", "k", "v"}), kOk);
  disk->hold_pwrites = 1;
  CHECK(client.send(encode_all({{"MULTI"}, {"APPEND", "k", "w"}, {"EXEC"}})));
  while (reader.command({"GET", "k"}) != bulk("vw")) continue;
  CHECK_EQ(last_reply(reader, {{"MULTI"}, {"GET", "k"}, {"EXEC"}}), array({bulk("vw")}));
  // MULTI's reply stands before it, and waits with it.
  CHECK(!client.readable(20));
  disk.release(disk->hold_pwrites);
  CHECK_EQ(client.read_reply(), kOk);
  CHECK_EQ(client.read_reply(), kQueued);
  CHECK_EQ(client.read_reply(), array({integer(2)}));
}

long long now_ms(Client& client) {
  const std::vector<std::string> parts = elements_of(client.command({"TIME"}));
  const auto number = [](const std::string& part) { return atoll(part.c_str() + part.find('\n')); };
  return number(parts[0]) * 1000 + number(parts[1]) / 1000;
}

// A key whose time comes between WATCH and EXEC has changed, though nobody has deleted it.
TEST(transactions, watched_key_expires) {
  Server server;
  server.start();
  Client client(server), other(server);
  CHECK_EQ(client.command({"SET", "k", "v"}), kOk);
  const long long end = now_ms(client) + 1000 * slowness();
  CHECK_EQ(client.command({"PEXPIREAT", "k", std::to_string(end)}), integer(1));
  CHECK_EQ(client.command({"WATCH", "k"}), kOk);
  CHECK_EQ(client.command({"GET", "k"}), bulk("v"));
  while (now_ms(other) <= end) continue;
  CHECK_EQ(last_reply(client, {{"MULTI"}, {"PING"}, {"EXEC"}}), kNullArray);
  // From now on it counts as missing.
  CHECK_EQ(client.command({"WATCH", "k"}), kOk);
  CHECK_EQ(other.command({"GET", "k"}), kNil);
  CHECK_EQ(last_reply(client, {{"MULTI"}, {"PING"}, {"EXEC"}}), array({"+PONG\r\n"}));
}

// Each of these touches a key that another connection watches, and what stands beside it does not.
TEST(transactions, what_touches) {
  Server server({.arguments = {"--threads", "2"}, .appendonly = true});
  server.start();
  Client client(server), other(server);
  const std::string dumped = [&] {
    CHECK_EQ(client.command({"SET", "k", "1"}), kOk);
    const std::string reply = client.command({"DUMP", "k"});
    const size_t start = reply.find('\n') + 1;
    return reply.substr(start, reply.size() - start - 2);
  }();
  const struct {
    bool touches;
    std::vector<Argv> commands;
  } cases[] = {
      {true, {{"SET", "k", "1"}}},
      {true, {{"INCR", "k"}}},
      {true, {{"APPEND", "k", "x"}}},
      {true, {{"SETRANGE", "k", "0", "x"}}},
      {true, {{"DEL", "k"}}},
      {true, {{"UNLINK", "k"}}},
      {true, {{"GETDEL", "k"}}},
      {true, {{"RENAME", "k", "other"}}},
      {true, {{"SET", "other", "1"}, {"RENAME", "other", "k"}}},
      {true, {{"SET", "other", "1"}, {"COPY", "other", "k", "REPLACE"}}},
      {true, {{"SELECT", "2"}, {"FLUSHDB"}, {"SELECT", "0"}, {"MOVE", "k", "2"}}},
      {true, {{"EXPIRE", "k", "100"}}},
      {true, {{"EXPIRE", "k", "-1"}}},
      {true, {{"GETEX", "k", "EX", "100"}}},
      {true, {{"RESTORE", "k", "0", dumped, "REPLACE"}}},
      {true, {{"MSET", "other", "1", "k", "1"}}},
      {true, {{"FLUSHDB"}}},
      {true, {{"FLUSHALL"}}},
      {true, {{"SWAPDB", "0", "1"}, {"SWAPDB", "0", "1"}}},
      {true, {{"MULTI"}, {"SET", "k", "1"}, {"EXEC"}}},
      {true, {{"EVERYBODY", "k"}, {"SETEX", "k", "100", "1"}}},
      {false, {{"GET", "k"}, {"STRLEN", "k"}, {"TTL", "k"}, {"TOUCH", "k"}}},
      {false, {{"COPY", "k", "copy"}}},
      {false, {{"SETNX", "k", "1"}, {"SET", "k", "1", "NX"}, {"MSETNX", "k", "1"}}},
      {false, {{"RENAME", "k", "k"}, {"RENAMENX", "k", "k"}}},
      {false, {{"PERSIST", "k"}, {"GETEX", "k"}, {"EXPIRE", "k", "100", "XX"}}},
      {false, {{"DEL", "other"}, {"SELECT", "2"}, {"SET", "k", "1"}, {"FLUSHDB"}}},
      {false, {{"SWAPDB", "2", "3"}, {"SWAPDB", "0", "0"}}},
      {false, {{"MULTI"}, {"SET", "k", "1"}, {"DISCARD"}}},
      {false, {{"INCRBY", "k", "x"}, {"LCS", "k", "k"}, {"SORT", "k"}}},
      {false, {{"SAVE"}, {"BGREWRITEAOF"}, {"MEMORY", "PURGE"}}},
  };
  for (const auto& each : cases) {
    other.connect(server);
    last_reply(other, {{"FLUSHALL"}, {"SET", "k", "1"}});
    CHECK_EQ(client.command({"WATCH", "k", "nokey"}), kOk);
    last_reply(other, each.commands);
    const std::string reply = last_reply(client, {{"MULTI"}, {"PING"}, {"EXEC"}});
    if (reply != (each.touches ? kNullArray : array({"+PONG\r\n"}))) {
      FAIL(each.commands[0][0] + ": " + reply);
    }
  }
}

// What is asked for within a transaction is done behind it, all of it.
TEST(transactions, jobs_are_scheduled) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  CHECK_EQ(last_reply(client, {{"MULTI"}, {"BGSAVE"}, {"BGREWRITEAOF"}, {"SAVE", "x"}, {"EXEC"}}),
           "-EXECABORT Transaction discarded because of previous errors.\r\n");
  CHECK_EQ(last_reply(client, {{"MULTI"},
                               {"SET", "k", "1"},
                               {"BGSAVE"},
                               {"BGREWRITEAOF"},
                               {"SET", "k", "2"},
                               {"EXEC"}}),
           array({kOk, "+Background saving scheduled\r\n",
                  "+Background append only file rewriting scheduled\r\n", kOk}));
  CHECK(server.wait_log("rewriting the append-only file is done"));
  CHECK(server.wait_log("saving is done"));
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "k"}), bulk("2"));
}

// The store deletes keys of its own accord: a watched one that goes so has changed, and the log has
// it all in an order that gives the same again.
TEST(transactions, amid_eviction) {
  constexpr int kPairs = 3000, kWatched = 200;
  Server server({.arguments = {"--threads", "2"}, .appendonly = true});
  server.start();
  Client client(server), watcher(server);
  const std::string value(2000, 'v');
  const auto pair = [&](int i) {
    const std::string number = std::to_string(i);
    return std::vector<Argv>{
        {"MULTI"}, {"SET", "a" + number, value}, {"SET", "b" + number, value}, {"EXEC"}};
  };
  Argv watch = {"WATCH"};
  for (int i = 0; i < kWatched; i++) {
    CHECK_EQ(last_reply(client, pair(i)), array({kOk, kOk}));
    watch.push_back("a" + std::to_string(i));
  }
  CHECK_EQ(watcher.command(watch), kOk);
  CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory-policy", "allkeys-random"}), kOk);
  CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", "8mb"}), kOk);
  Argv all = {"MGET"};
  for (int i = 0; i < kPairs; i++) {
    if (i >= kWatched) CHECK_EQ(last_reply(client, pair(i)), array({kOk, kOk}));
    all.insert(all.end(), {"a" + std::to_string(i), "b" + std::to_string(i)});
  }
  // A watched key is gone, and no client has deleted one.
  CHECK_EQ(client.command({"CONFIG", "SET", "maxmemory", "0"}), kOk);
  Argv exists = watch;
  exists[0] = "EXISTS";
  CHECK_NE(client.command(exists), integer(kWatched));
  CHECK_EQ(last_reply(watcher, {{"MULTI"}, {"PING"}, {"EXEC"}}), kNullArray);
  const std::string before = client.command(all);
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command(all), before);
}

// Whoever is gone watches nothing, and what it watched can be changed.
TEST(transactions, clients_that_go) {
  Server server({.arguments = {"--threads", "2"}});
  server.start();
  Client writer(server);
  for (int round = 0; round < 50; round++) {
    std::vector<Client> clients(8);
    for (Client& client : clients) {
      client.connect(server);
      std::string bytes;
      for (int k = 0; k < 40; k++) append_encoded({"WATCH", "k" + std::to_string(k)}, &bytes);
      append_encoded({"MULTI"}, &bytes);
      append_encoded({"SET", "k", std::string(50'000, 'v')}, &bytes);
      CHECK(client.send(bytes));
      for (int i = 0; i < 42; i++) client.read_reply();
    }
    // Some are closed before, some after.
    for (size_t i = 0; i < 4; i++) clients[i].close();
    for (int k = 0; k < 40; k++)
      CHECK_EQ(writer.command({"SET", "k" + std::to_string(k), "v"}), kOk);
  }
}

}  // namespace
}  // namespace test
