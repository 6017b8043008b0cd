// The append-only file: nothing acknowledged is lost, damage is noticed, Redis reads it.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

const std::string kPong = "+PONG\r\n";

std::string aof_of(const Server& server) { return server.dir() + "/ignix.aof"; }

ServerOptions durable(std::vector<std::string> arguments = {}) {
  return {.arguments = std::move(arguments), .appendonly = true};
}

// Where each record of the file starts, and its end. A record is written like a request, and a
// request has the form of a reply.
std::vector<size_t> record_starts(const std::string& aof) {
  std::vector<size_t> starts = {0};
  while (starts.back() < aof.size()) {
    ReplyScanner scanner;
    scanner.begin(starts.back());
    if (!scanner.advance(aof)) FAIL("not a record at " + std::to_string(starts.back()));
    starts.push_back(scanner.end());
  }
  return starts;
}

// One of every change there is, in several databases.
void make_changes(Client& client) {
  std::string binary;
  for (int i = 0; i < 256; i++) binary += char(i);
  CHECK_EQ(client.command({"SET", "plain", "value"}), kOk);
  CHECK_EQ(client.command({"SET", binary, binary + binary}), kOk);
  CHECK_EQ(client.command({"SET", "", ""}), kOk);
  CHECK_EQ(client.command({"SET", "number", "007"}), kOk);
  CHECK_EQ(client.command({"SET", "counter", "41"}), kOk);
  CHECK_EQ(client.command({"INCR", "counter"}), integer(42));
  CHECK_EQ(client.command({"MSET", "a", "1", "b", "2", "c", "3", "d", "4"}), kOk);
  CHECK_EQ(client.command({"DEL", "a", "nope", "b"}), integer(2));
  CHECK_EQ(client.command({"RENAME", "c", "renamed"}), kOk);
  CHECK_EQ(client.command({"RENAME", "plain", "d"}), kOk);
  CHECK_EQ(client.command({"SET", "later", "x", "PXAT", "9800000000123"}), kOk);
  CHECK_EQ(client.command({"SET", "kept", "x", "EXAT", "9800000000"}), kOk);
  CHECK_EQ(client.command({"SET", "kept", "y", "KEEPTTL"}), kOk);
  CHECK_EQ(client.command({"SET", "over", "x", "EXAT", "1"}), kOk);
  CHECK_EQ(client.command({"SET", "not", "x", "XX"}), kNil);
  CHECK_EQ(client.command({"SET", "large", std::string(300'000, 'l')}), kOk);
  CHECK_EQ(client.command({"SELECT", "9"}), kOk);
  CHECK_EQ(client.command({"SET", "nine", "9"}), kOk);
  CHECK_EQ(client.command({"SELECT", "3"}), kOk);
  CHECK_EQ(client.command({"SET", "three", "3"}), kOk);
  CHECK_EQ(client.command({"FLUSHDB"}), kOk);
  CHECK_EQ(client.command({"SET", "three", "again"}), kOk);
  CHECK_EQ(client.command({"SELECT", "0"}), kOk);
  CHECK_EQ(client.command({"COPY", "large", "large copy"}), integer(1));
  CHECK_EQ(client.command({"COPY", "kept", "kept copy", "DB", "5", "REPLACE"}), integer(1));
  CHECK_EQ(client.command({"SET", "moved", "x"}), kOk);
  CHECK_EQ(client.command({"EXPIRE", "moved", "100000"}), integer(1));
  CHECK_EQ(client.command({"PEXPIREAT", "moved", "9800000000777"}), integer(1));
  CHECK_EQ(client.command({"MOVE", "moved", "5"}), integer(1));
  CHECK_EQ(client.command({"SWAPDB", "5", "7"}), kOk);
  CHECK_EQ(client.command({"SELECT", "7"}), kOk);
  CHECK_EQ(client.command({"MSET", "v", "1", "w", "2", "x", "3"}), kOk);
  CHECK_EQ(client.command({"RENAMENX", "v", "y"}), integer(1));
  CHECK_EQ(client.command({"UNLINK", "w"}), integer(1));
  CHECK_EQ(client.command({"EXPIRE", "x", "0"}), integer(1));
  CHECK_EQ(client.command({"PERSIST", "kept copy"}), integer(1));
  CHECK_EQ(client.command({"SELECT", "0"}), kOk);
}

void check_changes(Client& client) {
  std::string binary;
  for (int i = 0; i < 256; i++) binary += char(i);
  CHECK_EQ(client.command({"MGET", binary, "", "number", "counter", "a", "b", "c", "d", "renamed"}),
           array({bulk(binary + binary), bulk(""), bulk("007"), bulk("42"), kNil, kNil, kNil,
                  bulk("value"), bulk("3")}));
  CHECK_EQ(client.command({"MGET", "plain", "later", "kept", "over", "not"}),
           array({kNil, bulk("x"), bulk("y"), kNil, kNil}));
  CHECK(client.command({"GET", "large"}) == bulk(std::string(300'000, 'l')));
  CHECK(client.command({"GET", "large copy"}) == bulk(std::string(300'000, 'l')));
  CHECK_EQ(client.command({"DBSIZE"}), integer(10));
  CHECK_EQ(client.command({"SELECT", "9"}), kOk);
  CHECK_EQ(client.command({"GET", "nine"}), bulk("9"));
  CHECK_EQ(client.command({"DBSIZE"}), integer(1));
  CHECK_EQ(client.command({"SELECT", "3"}), kOk);
  CHECK_EQ(client.command({"GET", "three"}), bulk("again"));
  CHECK_EQ(client.command({"DBSIZE"}), integer(1));
  CHECK_EQ(client.command({"SELECT", "7"}), kOk);
  CHECK_EQ(client.command({"MGET", "moved", "y", "kept copy"}),
           array({bulk("x"), bulk("1"), bulk("y")}));
  CHECK_EQ(client.command({"PEXPIRETIME", "moved"}), integer(9'800'000'000'777));
  CHECK_EQ(client.command({"PEXPIRETIME", "kept copy"}), integer(-1));
  CHECK_EQ(client.command({"DBSIZE"}), integer(3));
  CHECK_EQ(client.command({"SELECT", "0"}), kOk);
}

void survive(const char* fsync, int signal_number) {
  Server server(durable({"--appendfsync", fsync}));
  server.start();
  {
    Client client(server);
    make_changes(client);
  }
  int status = server.stop(signal_number);
  CHECK_EQ(status, signal_number == SIGKILL ? 128 + SIGKILL : 0);
  for (int round = 0; round < 2; round++) {
    server.restart();
    Client client(server);
    check_changes(client);
    server.stop(signal_number);
  }
}

TEST(persistence, kill_with_fsync_always) { survive("always", SIGKILL); }
TEST(persistence, kill_with_fsync_everysec) { survive("everysec", SIGKILL); }
TEST(persistence, kill_with_fsync_no) { survive("no", SIGKILL); }
TEST(persistence, sigterm) { survive("everysec", SIGTERM); }
TEST(persistence, sigint) { survive("no", SIGINT); }

// The log is read with the clock of another day: what lived when a record was written must live
// again when it is read, and what has expired since must be gone for good.
TEST(persistence, changes_of_keys_that_have_expired_since) {
  Server server(durable({}));
  server.start();
  {
    Client client(server);
    const std::string time_ms = std::to_string(1000 * slowness());
    CHECK_EQ(client.command({"SET", "a", "1", "PX", time_ms}), kOk);
    CHECK_EQ(client.command({"RENAME", "a", "b"}), kOk);
    CHECK_EQ(client.command({"SET", "k", "5", "PX", time_ms}), kOk);
    CHECK_EQ(client.command({"INCR", "k"}), integer(6));
    CHECK_EQ(client.command({"SET", "again", "5", "PX", "100"}), kOk);
    while (client.command({"EXISTS", "again"}) != integer(0)) continue;
    CHECK_EQ(client.command({"INCR", "again"}), integer(1));
  }
  server.kill9();
  server.restart();
  Client client(server);
  while (client.command({"EXISTS", "b", "k"}) != integer(0)) continue;
  CHECK_EQ(client.command({"MGET", "a", "b", "k", "again"}), array({kNil, kNil, kNil, bulk("1")}));
  CHECK_EQ(client.command({"DBSIZE"}), integer(1));
}

// Wherever a change of another database is torn, what comes next is for database 0.
TEST(persistence, torn_in_another_database) {
  Server server(durable({}));
  server.start();
  {
    Client client(server);
    CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
    CHECK_EQ(client.command({"SELECT", "3"}), kOk);
    CHECK_EQ(client.command({"SET", "b", "xxx"}), kOk);
  }
  server.kill9();
  const std::string path = aof_of(server);
  const std::string whole = read_file(path);
  const size_t first = encode({"SET", "a", "1"}).size();
  for (size_t bytes = first; bytes <= whole.size(); bytes++) {
    write_file(path, whole.substr(0, bytes));
    server.restart();
    {
      Client client(server);
      CHECK_EQ(client.command({"SET", "z", "new"}), kOk);
    }
    server.kill9();
    server.restart();
    {
      Client client(server);
      CHECK_EQ(client.command({"MGET", "a", "z"}), array({bulk("1"), bulk("new")}));
    }
    server.kill9();
  }
}

// What a power failure may leave: a file made longer, whose end was never written.
TEST(persistence, zeros_at_the_end) {
  Server server(durable({}));
  const std::string path = aof_of(server);
  write_file(path, encode({"SET", "a", "1"}) + std::string(5000, '\0'));
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
  CHECK(server.log().find("5000 bytes") != std::string::npos);
}

// A value longer than the log's ring, on a disk that takes nothing: refused writes, served reads.
TEST(persistence, long_records_and_a_full_disk) {
  Server server(durable({}));
  server.options().file_bytes = 2 << 20;
  server.start();
  Client writer(server), other(server);
  CHECK_EQ(other.command({"CONFIG", "SET", "active-expire", "no"}), kOk);
  CHECK_EQ(other.command({"SET", "small", "1"}), kOk);
  CHECK_EQ(other.command({"SET", "brief", "1", "PX", "1"}), kOk);
  writer.send_command({"SET", "big", std::string(20 << 20, 'x')});
  // Its reply waits for the disk, as would that of any write before the failure is known. Others
  // are served, also those who meet an expired key.
  while (other.command({"INFO", "persistence"}).find("aof_last_write_status:err") ==
         std::string::npos) {
    continue;
  }
  CHECK_EQ(other.command({"SET", "small", "2"}).substr(0, 8), "-MISCONF");
  const std::string small = other.command({"GET", "small"});
  CHECK(small == bulk("1") || small == bulk("2"));
  CHECK_EQ(other.command({"GET", "brief"}), kNil);
  CHECK_EQ(other.command({"BITFIELD_RO", "brief", "GET", "u8", "0"}), array({integer(0)}));
  for (const char* read : {"GETBIT brief 2", "BITCOUNT brief", "STRLEN brief", "EXISTS brief"}) {
    CHECK(other.send(std::string(read) + "\r\n"));
    CHECK_EQ(other.read_reply(), integer(0));
  }
  CHECK_EQ(other.command({"PING"}), "+PONG\r\n");
  server.stop(SIGTERM);
}

TEST(persistence, flushall_is_kept) {
  Server server(durable());
  server.start();
  Client client(server);
  make_changes(client);
  CHECK_EQ(client.command({"FLUSHALL"}), kOk);
  CHECK_EQ(client.command({"SET", "after", "1"}), kOk);
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"DBSIZE"}), integer(1));
  CHECK_EQ(client.command({"GET", "after"}), bulk("1"));
  CHECK_EQ(client.command({"SELECT", "9"}), kOk);
  CHECK_EQ(client.command({"DBSIZE"}), integer(0));
}

// Killed again and again amid writes from several connections. Each connection counts up its own
// key, so what is found must be no less than what was acknowledged and no more than what was sent.
TEST(persistence, killed_amid_writes) {
  Server server(durable({"--threads", "2"}));
  server.start();
  constexpr int kClients = 4;
  Random random(seed());
  long acknowledged[kClients] = {};
  for (int round = 0; round < 6; round++) {
    std::vector<Client> clients(kClients);
    long sent[kClients];
    for (int c = 0; c < kClients; c++) {
      clients[size_t(c)].connect(server);
      std::string pipeline;
      sent[c] = acknowledged[c] + 200 + long(random.below(2000));
      for (long i = acknowledged[c]; i < sent[c]; i++)
        append_encoded({"INCR", "counter" + std::to_string(c)}, &pipeline);
      CHECK(clients[size_t(c)].send(pipeline));
    }
    for (int c = 0; c < kClients; c++) {
      long wanted = acknowledged[c] + long(random.below(uint64_t(sent[c] - acknowledged[c])));
      while (acknowledged[c] < wanted)
        CHECK_EQ(clients[size_t(c)].read_reply(), integer(++acknowledged[c]));
    }
    server.kill9();
    // Replies that had left before the end count too.
    for (int c = 0; c < kClients; c++)
      while (clients[size_t(c)].read_reply()[0] == ':') acknowledged[c]++;
    server.restart();
    Client reader(server);
    for (int c = 0; c < kClients; c++) {
      std::string reply = reader.command({"GET", "counter" + std::to_string(c)});
      long found = reply == kNil ? 0 : atol(reply.substr(reply.find('\n') + 1).c_str());
      if (found < acknowledged[c] || found > sent[c])
        FAIL("acknowledged " + std::to_string(acknowledged[c]) + ", found " +
             std::to_string(found) + ", sent " + std::to_string(sent[c]));
      acknowledged[c] = found;
    }
  }
}

TEST(persistence, expiry_goes_on_while_down) {
  Server server(durable());
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "short", "x", "PX", "400"}), kOk);
  CHECK_EQ(client.command({"SET", "long", "x", "EX", "100000"}), kOk);
  CHECK_EQ(client.command({"SET", "none", "x"}), kOk);
  server.kill9();
  std::string aof = read_file(aof_of(server));
  CHECK(aof.find("PXAT") != std::string::npos);  // a relative time would start anew at every load
  server.restart();
  client.connect(server);
  for (int i = 0; i < 1'000'000 && client.command({"EXISTS", "short"}) != integer(0); i++) {
  }
  CHECK_EQ(client.command({"MGET", "short", "long", "none"}), array({kNil, bulk("x"), bulk("x")}));
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"MGET", "short", "long", "none"}), array({kNil, bulk("x"), bulk("x")}));
}

// What changes nothing must not be written.
TEST(persistence, reads_and_failures_write_nothing) {
  Server server(durable());
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "text"}), kOk);
  CHECK_EQ(client.command({"SELECT", "5"}), kOk);
  CHECK_EQ(client.command({"SELECT", "0"}), kOk);
  size_t before = read_file(aof_of(server)).size();
  CHECK(before > 0);
  for (Argv command : std::vector<Argv>{{"GET", "a"},
                                        {"INCR", "a"},
                                        {"SET", "a", "b", "NX"},
                                        {"SET", "n", "b", "XX"},
                                        {"DEL", "n"},
                                        {"RENAME", "n", "m"},
                                        {"MGET", "a", "n"},
                                        {"EXISTS", "a"},
                                        {"SET", "a", "b", "bogus"},
                                        {"nosuch"},
                                        {"SET", "a", "1", "EX", "0"}})
    client.command(command);
  server.stop();
  CHECK_EQ(read_file(aof_of(server)).size(), before);
}

TEST(persistence, appendonly_no_writes_nothing) {
  Server server;
  server.start();
  Client client(server);
  make_changes(client);
  CHECK_EQ(server.stop(), 0);
  CHECK(!file_exists(aof_of(server)));
  CHECK_EQ(run_program({"/bin/ls", "-A", server.dir()}).text, "");
}

TEST(persistence, name_of_the_file) {
  Server server(durable({"--appendfilename", "other.log"}));
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  server.kill9();
  CHECK(!file_exists(aof_of(server)));
  CHECK(read_file(server.dir() + "/other.log").find("$1\r\na\r\n$1\r\n1\r\n") != std::string::npos);
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
}

// Who copies a file to the wrong place, or too late, is told what is not read.
TEST(persistence, says_what_is_not_read) {
  Server server(durable());
  server.start();
  CHECK(server.log().find("no data to load: no 'ignix.aof', no 'appendonlydir' with a manifest of "
                          "that name, no 'dump.rdb'") != std::string::npos);
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  CHECK_EQ(client.command({"SAVE"}), kOk);
  CHECK_EQ(client.command({"SET", "a", "2"}), kOk);
  CHECK_EQ(server.stop(), 0);
  const std::string dump = server.dir() + "/dump.rdb";
  const std::string newer = "'dump.rdb' is newer than 'ignix.aof', and is not read";
  const auto set_time = [&](const std::string& path, time_t seconds) {
    const timespec times[] = {{seconds, 0}, {seconds, 0}};
    CHECK_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  };
  set_time(dump, 1'000'000'000);
  server.restart();
  CHECK(server.log().find(newer) == std::string::npos);
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("2"));
  CHECK_EQ(server.stop(), 0);
  set_time(aof_of(server), 1'000'000'000);
  set_time(dump, 1'000'000'001);
  server.restart();
  CHECK(server.log().find(newer) != std::string::npos);
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("2"));
}

TEST(persistence, says_that_the_log_is_not_read) {
  Server server;
  write_file(aof_of(server), "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n");
  server.start();
  CHECK(server.log().find("'ignix.aof' is not read: appendonly is no") != std::string::npos);
}

TEST(persistence, empty_file) {
  Server server(durable());
  write_file(aof_of(server), "");
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"DBSIZE"}), integer(0));
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
}

// An AOF with a last record that can be cut: t1 .. t4, and the text of the file.
std::string short_aof() {
  Server server(durable());
  server.start();
  Client client(server);
  for (int i = 1; i <= 4; i++)
    CHECK_EQ(client.command({"SET", "t" + std::to_string(i), "value\r\n" + std::to_string(i)}),
             kOk);
  CHECK_EQ(server.stop(), 0);
  return read_file(aof_of(server));
}

int keys_in(Client& client) {
  std::string reply = client.command({"EXISTS", "t1", "t2", "t3", "t4"});
  return reply.size() == 4 ? reply[1] - '0' : -1;
}

TEST(persistence, torn_at_every_offset) {
  std::string aof = short_aof();
  std::vector<size_t> starts = record_starts(aof);
  CHECK(starts.size() >= 5);
  size_t records = starts.size() - 1;
  Server server(durable());
  for (size_t length = starts[records - 2]; length < aof.size(); length++) {
    size_t whole = 0;
    while (whole + 1 < starts.size() && starts[whole + 1] <= length) whole++;
    size_t cut = length - starts[whole];
    write_file(aof_of(server), aof.substr(0, length));
    server.start();
    Client client(server);
    CHECK_EQ(keys_in(client), 4 - int(records - whole));
    if (cut > 0 && server.log().find(std::to_string(cut) + " byte") == std::string::npos)
      FAIL("the log does not tell of " + std::to_string(cut) + " bytes cut at " +
           std::to_string(length));
    CHECK_EQ(client.command({"SET", "more", "1"}), kOk);
    server.kill9();
    std::string after = read_file(aof_of(server));
    CHECK_EQ(after.substr(0, starts[whole]), aof.substr(0, starts[whole]));
    record_starts(after);  // well-formed to its end
  }
}

TEST(persistence, torn_file_is_refused_on_request) {
  std::string aof = short_aof();
  Server server(durable({"--aof-load-truncated", "no"}));
  write_file(aof_of(server), aof.substr(0, aof.size() - 1));
  CHECK(!server.try_start());
  CHECK(server.wait_exit() != 0);
  CHECK(server.log().find("ignix.aof") != std::string::npos);
  CHECK_EQ(read_file(aof_of(server)).size(), aof.size() - 1);
  write_file(aof_of(server), aof);
  server.start();
}

// A machine that loses power may leave zeros after the last record.
// Refuses to start, says where, and leaves the file as it is.
void expect_refused(const std::string& aof, size_t from, size_t to, const char* what) {
  Server server(durable());
  write_file(aof_of(server), aof);
  if (server.try_start()) FAIL(std::string("started with ") + what);
  CHECK(server.wait_exit() != 0);
  CHECK(server.wait_exit() < 128);
  std::string log = server.log();
  CHECK(log.find("ignix.aof") != std::string::npos);
  bool named = false;
  for (size_t offset = from; offset <= to; offset++)
    named = named || log.find(std::to_string(offset)) != std::string::npos;
  if (!named)
    FAIL(std::string("the log names no offset for ") + what + ", damaged between " +
         std::to_string(from) + " and " + std::to_string(to));
  CHECK(read_file(aof_of(server)) == aof);
}

TEST(persistence, damage_in_the_middle) {
  std::string aof = short_aof();
  std::vector<size_t> starts = record_starts(aof);
  size_t from = starts[starts.size() - 3], to = starts[starts.size() - 2];
  auto with = [&](size_t at, const std::string& text) {
    std::string copy = aof;
    copy.replace(at, text.size(), text);
    return copy;
  };
  expect_refused(with(from, "X"), from, to, "no star");
  expect_refused(with(from + 1, "x"), from, to, "a count of x");
  expect_refused(with(from + 1, "9"), from, aof.size(), "a wrong count");
  expect_refused(with(from + 4, "X"), from, to, "no dollar");
  expect_refused(with(from + 5, "4"), from, to, "a length that is too long");
  expect_refused(with(from + 8, "BAD"), from, to, "an unknown command");
  expect_refused(with(from + 5, "-"), from, to, "a length of -");
  expect_refused(aof.substr(0, from) + "garbage\n" + aof.substr(from), from, from + 8,
                 "garbage between");
  expect_refused("garbage\n" + aof, 0, 8, "garbage in front");
  expect_refused(aof.substr(0, from) + encode({"GET"}) + aof.substr(from), from, to,
                 "a wrong arity");
}

TEST(persistence, redis_style_files_load) {
  Server server(durable());
  // As Redis writes it: SELECT in front, and names in mixed case.
  write_file(aof_of(server),
             encode({"SELECT", "0"}) + encode({"set", "a", "1"}) + encode({"sElEcT", "2"}) +
                 encode({"SET", "b", "2", "PXAT", "9800000000000"}) + encode({"SELECT", "0"}) +
                 encode({"DEL", "nope"}) + encode({"incr", "a"}));
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("2"));
  CHECK_EQ(client.command({"SELECT", "2"}), kOk);
  CHECK_EQ(client.command({"GET", "b"}), bulk("2"));
  server.stop();
}

TEST(persistence, file_is_locked) {
  Server first(durable());
  first.start();
  Client client(first);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  std::string before = read_file(aof_of(first));
  Server second({.arguments = {"--unixsocket", first.dir() + "/second"},
                 .unix_socket = false,
                 .appendonly = true,
                 .dir = first.dir()});
  CHECK(!second.try_start());
  CHECK(second.wait_exit() != 0);
  CHECK(second.log().find("ignix.aof") != std::string::npos);
  CHECK_EQ(read_file(aof_of(first)), before);
  CHECK_EQ(client.command({"INCR", "a"}), integer(2));
  first.kill9();  // its lock goes with it
  second.start();
  CHECK(client.connect_unix(first.dir() + "/second"));
  CHECK_EQ(client.command({"GET", "a"}), bulk("2"));
}

TEST(persistence, always_is_on_disk_before_the_reply) {
  Server server(durable({"--appendfsync", "always"}));
  server.start();
  std::vector<Client> clients(20);
  for (Client& client : clients) client.connect(server);
  for (int round = 0; round < 20; round++) {
    for (Client& client : clients) CHECK(client.send_command({"INCR", "n"}));
    for (Client& client : clients) CHECK_EQ(client.read_reply()[0], ':');
  }
  // Reads beside writes of one pipeline keep their order.
  CHECK(clients[0].send(encode({"GET", "n"}) + encode({"INCR", "n"}) + encode({"GET", "n"}) +
                        encode({"PING"})));
  CHECK_EQ(clients[0].read_reply(), bulk("400"));
  CHECK_EQ(clients[0].read_reply(), integer(401));
  CHECK_EQ(clients[0].read_reply(), bulk("401"));
  CHECK_EQ(clients[0].read_reply(), kPong);
  server.kill9();
  server.restart();
  Client client(server);
  CHECK_EQ(client.command({"GET", "n"}), bulk("401"));
}

// More than any ring holds, in one go: the loops must wait for the disk and lose nothing.
TEST(persistence, more_than_fits_the_ring) {
  Server server(durable());
  server.start();
  Client client(server);
  std::string sent;
  for (int i = 0; i < 100; i++)
    append_encoded(
        {"SET", "k" + std::to_string(i % 10), std::string(1'000'000, char('a' + i % 26))}, &sent);
  CHECK(client.send(sent));
  for (int i = 0; i < 100; i++) CHECK_EQ(client.read_reply(), kOk);
  CHECK_EQ(client.command({"SET", "huge", std::string(40'000'000, 'h')}), kOk);
  server.kill9();
  server.restart();
  client.connect(server);
  for (int i = 90; i < 100; i++)
    CHECK(client.command({"GET", "k" + std::to_string(i % 10)}) ==
          bulk(std::string(1'000'000, char('a' + i % 26))));
  CHECK(client.command({"GET", "huge"}) == bulk(std::string(40'000'000, 'h')));
}

// Disk full: file size is limited for the server, so that a write to the AOF fails.
TEST(persistence, write_errors_are_told) {
  if (!file_exists("/dev/full")) SKIP("no /dev/full");
  ServerOptions options = durable();
  Server server(options);
  if (symlink("/dev/full", aof_of(server).c_str()) != 0) FAIL("no symlink");
  if (!server.try_start()) {
    CHECK(server.wait_exit() != 0);
    CHECK(server.log().find("ignix.aof") != std::string::npos);
    return;
  }
  Client client(server);
  // Either an error, or no answer while it tries again; an OK would be a lie.
  client.send_command({"SET", "a", "1"});
  CHECK(server.wait_log("ignix.aof"));
  if (client.readable(200)) CHECK_NE(client.read_reply(), kOk);
}

// ---- Redis as the reader ----

std::string state_of(Client& client, const std::vector<std::string>& keys) {
  std::string state;
  for (int db = 0; db < 16; db++) {
    client.command({"SELECT", std::to_string(db)});
    state += client.command({"DBSIZE"});
    for (const std::string& key : keys) state += client.command({"GET", key});
  }
  client.command({"SELECT", "0"});
  return state;
}

void load_into_redis(const std::string& aof, Server& redis) {
  write_file(redis.dir() + "/ignix.aof", aof);
  redis.options().arguments = {"--appendfilename", "ignix.aof"};
  redis.options().appendonly = true;
  redis.start();
}

// The bytes behind a word may be any, to the parser as to Redis's; the log has a line end there.
TEST(persistence, requests_with_odd_line_ends) {
  Server server(durable());
  server.start();
  Client client(server);
  CHECK(
      client.send("*3\r\n$3\r\nSETab$1\r\nkcd$1\rxvef*3\rx$3\r\nSET\r\n$1\rxl\r\n$1\r\nwgh"
                  "*2\r\n$4\r\nincr\r\n$1\r\nn\r\n*2\r\n$3\r\nDEL\r\n$1\r\nlij"
                  "set inline '1 2'\r\n"));
  for (const std::string& reply : {kOk, kOk, integer(1), integer(1), kOk}) {
    CHECK_EQ(client.read_reply(), reply);
  }
  server.kill9();
  const std::string aof = read_file(aof_of(server));
  CHECK_EQ(aof.substr(aof.find("*3")), encode({"SET", "k", "v"}) + encode({"SET", "l", "w"}) +
                                           encode({"incr", "n"}) + encode({"DEL", "l"}) +
                                           encode({"set", "inline", "1 2"}));
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"MGET", "k", "l", "n"}), "*3\r\n$1\r\nv\r\n$-1\r\n$1\r\n1\r\n");
}

TEST(persistence, redis_reads_the_file) {
  need_redis();
  Server ignix(durable());
  ignix.start();
  Client client(ignix);
  make_changes(client);
  ignix.kill9();
  Server redis({.program = Program::kRedis});
  load_into_redis(read_file(aof_of(ignix)), redis);
  Client reader(redis);
  check_changes(reader);
  CHECK_EQ(reader.command({"PEXPIRETIME", "later"}), integer(9800000000123));
  CHECK_EQ(reader.command({"PEXPIRETIME", "kept"}), integer(9800000000000));
  CHECK_EQ(reader.command({"PEXPIRETIME", "counter"}), integer(-1));
}

TEST(persistence, redis_check_aof_agrees) {
  need_redis();
  std::string tool = find_program("redis-check-aof");
  if (tool.empty()) SKIP("redis-check-aof not installed");
  Server ignix(durable());
  ignix.start();
  Client client(ignix);
  make_changes(client);
  CHECK_EQ(ignix.stop(), 0);
  Output output = run_program({tool, aof_of(ignix)});
  if (output.status != 0) FAIL("redis-check-aof: " + output.text);
}

// A random history, killed at its end: ignix after a restart and Redis with the file agree with
// ignix before the kill.
TEST(persistence, random_history) {
  Server ignix(durable({"--threads", "2"}));
  ignix.start();
  Random random(seed());
  std::vector<std::string> keys = {"", "a b", std::string("\0\r\n", 3)};
  for (int i = 0; i < 20; i++) keys.push_back("k" + std::to_string(i));
  Client client(ignix);
  std::string sent;
  constexpr int kCommands = 20'000;
  for (int i = 0; i < kCommands; i++) {
    const std::string& key = random.pick_from(keys);
    switch (random.below(12)) {
      case 0:
        append_encoded({"DEL", key, random.pick_from(keys)}, &sent);
        break;
      case 1:
      case 2:
        append_encoded({"INCR", key}, &sent);
        break;
      case 3:
        append_encoded({"RENAME", key, random.pick_from(keys)}, &sent);
        break;
      case 4:
        append_encoded({"SELECT", std::to_string(random.below(4))}, &sent);
        break;
      case 5:
        append_encoded({"MSET", key, random.bytes(5), random.pick_from(keys), "1"}, &sent);
        break;
      case 6:
        append_encoded({"SET", key, "5", "EX", "100000", "GET"}, &sent);
        break;
      case 7:
        append_encoded({"SET", key, random.letters(3), "NX", "PXAT", "9800000000000"}, &sent);
        break;
      case 8:
        append_encoded({"SET", key, random.bytes(random.below(2000)), "XX", "KEEPTTL"}, &sent);
        break;
      case 9:
        append_encoded({"SET", key, "gone", "EXAT", "1"}, &sent);
        break;
      default:
        append_encoded({"SET", key, std::to_string(random.between(-5, 500))}, &sent);
    }
    if (random.one_in(3000)) append_encoded({random.one_in(2) ? "FLUSHDB" : "FLUSHALL"}, &sent);
  }
  append_encoded({"ECHO", "the end"}, &sent);
  CHECK(client.send(sent));
  while (client.read_reply() != bulk("the end")) CHECK(client.connected());
  for (const std::string& key : keys) {  // keys whose time is over leave when they are touched
    for (int db = 0; db < 4; db++) {
      client.command({"SELECT", std::to_string(db)});
      client.command({"EXISTS", key});
    }
  }
  CHECK_EQ(client.command({"SET", "last", "x"}), kOk);  // and all that was logged before it
  std::string before = state_of(client, keys);
  ignix.kill9();
  std::string aof = read_file(aof_of(ignix));
  ignix.restart();
  Client again(ignix);
  CHECK(state_of(again, keys) == before);
  if (find_program("redis-server").empty()) return;
  need_redis();
  Server redis({.program = Program::kRedis});
  load_into_redis(aof, redis);
  Client reader(redis);
  CHECK(state_of(reader, keys) == before);
}

}  // namespace
}  // namespace test
