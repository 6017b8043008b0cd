// A server that is killed, whose power fails, and whose disk is full, fails, tears and stalls:
// nothing acknowledged is lost, and what cannot be kept is refused. Eight writers know what they
// have sent and what was acknowledged; after each restart they look for it.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <memory>

#include "base/limits.h"
#include "client.h"
#include "disk.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

constexpr int kWriters = 8;
constexpr int kSlots = 6;  // keys that SET changes; then the group of an MSET, and a counter
constexpr int kGroup = kSlots;
constexpr int kCounter = kSlots + 1;
constexpr int kThings = kSlots + 2;
constexpr int kGroupKeys = 4;

std::string aof_of(const Server& server) { return server.dir() + "/ignix.aof"; }

// Texts of values are known by who wrote them, and for the how-manieth time. Some are long where
// that is wanted.
std::string value_of(int writer, int thing, long number, bool long_values) {
  const unsigned long mixed = (unsigned long)(number * 7919 + writer * 104729 + thing);
  const size_t length = long_values && mixed % 16 == 0 ? mixed % 50'000 : mixed % 300;
  return std::to_string(writer) + "." + std::to_string(thing) + "." + std::to_string(number) + "." +
         std::string(length, char('a' + mixed % 26));
}

// What a client hears, of a change that was made before the log was in trouble.
std::string run_but_not_written(int error = ENOSPC) {
  return "-MISCONF Errors writing to the AOF file: " + std::string(strerror(error)) +
         "; the command was run, but may not be in the file yet\r\n";
}

// A client with keys of its own, which it changes in order, many commands at a time.
class Writer {
 public:
  Writer(const Server& server, int number, bool long_values)
      : server_(server), number_(number), long_values_(long_values) {}

  void start(uint64_t seed) {
    seed_ = seed;
    client_.connect(server_);  // here: the server may be killed before the thread runs
    if (pthread_create(&thread_, nullptr, run, this) != 0) FAIL("no thread");
  }
  void join() { pthread_join(thread_, nullptr); }

  std::atomic<long> replies{0}, refused{0};
  std::atomic<bool> quiet{false};  // sends no more, but stays

  // After a restart. What is found is where the next round begins.
  void check(Client& client) {
    for (int slot = 0; slot < kSlots; slot++) {
      check_value(slot, text_of(client.command({"GET", key_of(slot)})));
    }
    Argv mget = {"MGET"};
    for (int i = 0; i < kGroupKeys; i++) mget.push_back(group_key(i));
    const std::vector<std::string> group = elements_of(client.command(mget));
    CHECK_EQ(group.size(), size_t(kGroupKeys));
    for (const std::string& one : group) {
      if (one != group[0]) FAIL("half an MSET of writer " + std::to_string(number_) + where());
    }
    check_value(kGroup, text_of(group[0]));
    const std::string count = text_of(client.command({"GET", key_of(kCounter)}));
    check_number(kCounter, atol(count.c_str()));
  }

 private:
  static void* run(void* self) {
    Writer& writer = *static_cast<Writer*>(self);
    writer.write_until_closed();
    writer.client_.close();
    return nullptr;
  }

  std::string key_of(int thing) const {
    return "w" + std::to_string(number_) + ":" + std::to_string(thing);
  }
  std::string group_key(int i) const { return key_of(kGroup) + ":" + std::to_string(i); }
  static std::string where() { return "; " + how_to_repeat(); }

  Argv next_command(int thing) {
    const long number = ++sent_[thing];
    if (thing == kCounter) return {"INCR", key_of(kCounter)};
    const std::string value = value_of(number_, thing, number, long_values_);
    if (thing < kSlots) return {"SET", key_of(thing), value};
    Argv mset = {"MSET"};
    for (int i = 0; i < kGroupKeys; i++) {
      mset.push_back(group_key(i));
      mset.push_back(value);
    }
    return mset;
  }

  void write_until_closed() {
    Random random(seed_);
    while (client_.connected()) {
      if (quiet && !client_.readable(1000)) continue;
      std::string pipeline;
      std::vector<std::pair<int, long>> commands;
      for (uint64_t i = 1 + random.below(20); i > 0; i--) {
        const int thing = int(random.below(kThings));
        append_encoded(next_command(thing), &pipeline);
        commands.push_back({thing, sent_[thing]});
      }
      const long refused_before = refused;
      client_.send(pipeline);  // replies may have come, also where that fails
      for (const auto& [thing, number] : commands) {
        if (!take_reply(client_.read_reply(), thing, number)) return;
      }
      if (refused > refused_before) client_.readable(10);  // others want the CPU too
    }
  }

  bool take_reply(const std::string& reply, int thing, long number) {
    if (reply == Client::kClosed) return false;
    replies++;
    if (reply.starts_with("-MISCONF")) {
      refused++;
      if (thing == kCounter && reply.find("the command was run") != reply.npos) unsure_++;
      return true;
    }
    if (thing == kCounter) {
      CHECK_EQ(reply, integer(acknowledged_[thing] + unsure_ + 1));
      acknowledged_[thing] += unsure_ + 1;
      unsure_ = 0;
    } else {
      CHECK_EQ(reply, kOk);
      acknowledged_[thing] = number;
    }
    return true;
  }

  void check_value(int thing, const std::string& value) {
    long number = 0;
    if (!value.empty()) {
      const size_t dot = value.find('.', value.find('.') + 1);
      number = dot == std::string::npos ? -1 : atol(value.c_str() + dot + 1);
      if (value != value_of(number_, thing, number, long_values_)) {
        FAIL(key_of(thing) + " has a value that was never sent, " + quote(value) + where());
      }
    }
    check_number(thing, number);
  }

  void check_number(int thing, long number) {
    if (number < acknowledged_[thing] || number > sent_[thing]) {
      FAIL(key_of(thing) + ": found number " + std::to_string(number) + ", acknowledged " +
           std::to_string(acknowledged_[thing]) + ", sent " + std::to_string(sent_[thing]) +
           where());
    }
    sent_[thing] = acknowledged_[thing] = number;
    if (thing == kCounter) unsure_ = 0;
  }

  const Server& server_;
  Client client_;
  const int number_;
  const bool long_values_;
  uint64_t seed_ = 0;
  pthread_t thread_ = {};
  // Of each thing: how many of its changes, in the order of this connection.
  long sent_[kThings] = {}, acknowledged_[kThings] = {};
  long unsure_ = 0;  // of the counter: since the last one acknowledged, run and not written
};

class Crowd {
 public:
  Crowd(const Server& server, bool long_values) {
    for (int i = 0; i < kWriters; i++) {
      writers_.push_back(std::make_unique<Writer>(server, i, long_values));
    }
  }
  void start(Random& random) {
    for (auto& writer : writers_) {
      writer->quiet = false;
      writer->start(random.next());
    }
  }
  void join() {
    for (auto& writer : writers_) writer->join();
  }
  void check(Client& client) {
    for (auto& writer : writers_) writer->check(client);
  }
  void quiet() {
    for (auto& writer : writers_) writer->quiet = true;
  }
  long replies() const { return sum(&Writer::replies); }
  long refused() const { return sum(&Writer::refused); }

  // Until so many more replies have come. The client shows meanwhile that it is served.
  void await_replies(Client& client, long count) {
    const long until = replies() + count;
    while (replies() < until) CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
  }

 private:
  long sum(std::atomic<long> Writer::*counter) const {
    long total = 0;
    for (const auto& writer : writers_) total += (*writer).*counter;
    return total;
  }
  std::vector<std::unique_ptr<Writer>> writers_;
};

int rounds(int fallback) {
  const char* kills = getenv("IGNIX_TEST_KILLS");
  return kills ? atoi(kills) : fallback;
}

ServerOptions durable(const char* fsync, const FaultyDisk* disk = nullptr, int loops = 2) {
  ServerOptions options = {
      .arguments = {"--threads", std::to_string(loops), "--appendfsync", fsync},
      .appendonly = true};
  if (disk) options.environment = disk->environment();
  return options;
}

void start_rewriting(Client& client) {
  const std::string reply = client.command({"BGREWRITEAOF"});
  CHECK(reply.starts_with("+Background append only file rewriting") ||
        reply.find("already in progress") != std::string::npos);
}

void await_info(Client& client, const char* field) {
  while (client.command({"INFO", "persistence"}).find(field) == std::string::npos) continue;
}

// All is lost that no fsync has covered; then the server starts again.
void fail_power(FaultyDisk& disk, Server& server, Client& client, Random& random) {
  server.kill9();
  disk.lose_power(server.dir(), "ignix.aof", FaultyDisk::Kept::kNothing, random);
  server.restart();
  client.connect(server);
}

// ---- the process is killed

// A loop that is alone appends to the log by other means.
void kill_at_any_moment(int loops) {
  Random random(seed());
  Server server(durable("everysec", nullptr, loops));
  Crowd crowd(server, true);
  const int kills = rounds(10);
  for (int round = 0; round < kills; round++) {
    progress("kill %d of %d", round + 1, kills);
    server.start();
    Client client(server);
    crowd.check(client);
    crowd.start(random);
    crowd.await_replies(client, long(random.below(4000)));
    if (random.one_in(3)) {
      start_rewriting(client);
      crowd.await_replies(client, long(random.below(400)));
    }
    server.kill9();
    crowd.join();
  }
  server.start();
  Client client(server);
  crowd.check(client);
}

TEST_LONG(faults, killed_at_any_moment) { kill_at_any_moment(2); }
TEST_LONG(faults, killed_at_any_moment_with_one_loop) { kill_at_any_moment(1); }

// ---- the power fails

// Where something behind what was fsynced is there, but not what stands before it, the server says
// so and leaves the choice: it has no means to tell that from damage. Where there is room it has.
void cut_what_was_not_fsynced(Server& server, size_t durable_bytes) {
  const std::string aof = read_file(aof_of(server)), log = server.log();
  const std::string_view words = "is damaged at byte ";
  const size_t at = log.find(words);
  if (at == std::string::npos) FAIL("does not start after a power failure; " + how_to_repeat());
  if (aof.rfind("#ignix room ") + 64 == aof.size()) {
    FAIL("does not start on a log with room after a power failure; " + how_to_repeat());
  }
  const size_t damage = size_t(atoll(log.c_str() + at + words.size()));
  ReplyScanner scanner;
  scanner.begin(0);
  if (damage < durable_bytes && scanner.advance(aof.substr(damage, durable_bytes - damage))) {
    FAIL("takes for damaged what was fsynced; " + how_to_repeat());
  }
  if (truncate(aof_of(server).c_str(), off_t(damage)) != 0) FAIL("truncate");
}

void power_fails_with_fsync_always(int loops) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("always", &disk, loops));
  Crowd crowd(server, false);
  const int failures = rounds(10);
  size_t durable_bytes = 0;
  for (int round = 0; round <= failures; round++) {
    progress("power failure %d of %d", round, failures);
    disk.begin(server.dir());
    if (!server.try_start()) {
      cut_what_was_not_fsynced(server, durable_bytes);
      disk.begin(server.dir());
      server.start();
    }
    Client client(server);
    crowd.check(client);
    if (round == failures) break;
    crowd.start(random);
    crowd.await_replies(client, long(random.below(1500)));
    if (random.one_in(2)) {
      start_rewriting(client);
      crowd.await_replies(client, long(random.below(400)));
    }
    server.kill9();
    crowd.join();
    const FaultyDisk::Kept kept =
        random.one_in(2) ? FaultyDisk::Kept::kPrefix : FaultyDisk::Kept::kSectors;
    durable_bytes = disk.lose_power(server.dir(), "ignix.aof", kept, random);
  }
}

TEST_LONG(faults, power_fails_with_fsync_always) { power_fails_with_fsync_always(2); }
TEST_LONG(faults, power_fails_with_fsync_always_and_one_loop) { power_fails_with_fsync_always(1); }

// That the simulated failure loses something.
TEST(faults, power_fails_with_fsync_no) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("no", &disk));
  disk.begin(server.dir());
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  server.kill9();
  CHECK_EQ(disk.lose_power(server.dir(), "ignix.aof", FaultyDisk::Kept::kNothing, random), 0u);
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), kNil);
}

// What was found at the start is served, so it must be on the disk, though the server that wrote it
// was killed before it could fsync.
TEST(faults, power_fails_after_a_restart) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("no", &disk));
  disk.begin(server.dir());
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
  fail_power(disk, server, client, random);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
}

// The last sectors of a file were never written, though it was made longer for them.
TEST(faults, record_torn_into_zeros) {
  Server server(durable("everysec"));
  const std::string whole = encode({"SET", "a", "1"});
  const std::string next = encode({"SET", "b", std::string(20'000, 'x')});
  for (size_t length : {1u, 4u, 5u, 12u, 20u, 30u, 40u, 10'000u, unsigned(next.size() - 1)}) {
    write_file(aof_of(server), whole + next.substr(0, length) + std::string(9000, '\0'));
    server.start();
    Client client(server);
    CHECK_EQ(client.command({"MGET", "a", "b"}), array({bulk("1"), kNil}));
    server.kill9();
    CHECK_EQ(read_file(aof_of(server)), whole);
  }
}

// ---- the disk is full, or fails, for a while

TEST(faults, writes_fail_for_a_while) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("everysec", &disk));
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "steady", "1"}), kOk);
  Crowd crowd(server, true);
  crowd.start(random);
  for (int error : {ENOSPC, EIO}) {
    crowd.await_replies(client, 1 + long(random.below(1000)));
    const long refused = crowd.refused();
    disk->write_error = error;
    await_info(client, "aof_last_write_status:err");
    CHECK_EQ(client.command({"SET", "steady", "2"}),
             "-MISCONF Errors writing to the AOF file: " + std::string(strerror(error)) + "\r\n");
    CHECK_EQ(client.command({"GET", "steady"}), bulk("1"));
    CHECK(client.command({"INFO", "persistence"}).find("aof_last_fsync_status:ok") !=
          std::string::npos);
    disk->write_error = 0;
    await_info(client, "aof_last_write_status:ok");
    CHECK_EQ(client.command({"SET", "steady", "1"}), kOk);
    CHECK(crowd.refused() >= refused);
  }
  crowd.await_replies(client, 1 + long(random.below(1000)));
  server.kill9();
  crowd.join();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "steady"}), bulk("1"));
  crowd.check(client);
}

// A client whose change met the full disk is served on, and told that it is not in the file; all
// else that it has sent is answered as ever.
TEST(faults, held_replies_tell_of_a_full_disk) {
  const std::string value(10'000, 'x');
  for (const bool resp3 : {false, true}) {
    FaultyDisk disk;
    Server server(durable("everysec", &disk));
    server.start();
    Client client(server), other(server), deaf(server);
    CHECK_EQ(client.command({"SET", "n", "1"}), kOk);
    CHECK_EQ(client.command({"SET", "long", value}), kOk);
    CHECK_EQ(client.command({"PFADD", "set", "a", "b"}), integer(1));
    disk->hold_pwrites = 1;
    if (resp3) CHECK(client.send(encode({"HELLO", "3"})));
    CHECK(client.send(encode({"GET", "n"}) + encode({"PFCOUNT", "set"}) + encode({"INCR", "n"}) +
                      encode({"GET", "n"}) + encode({"INCR", "long"}) + encode({"GET", "long"}) +
                      encode({"SET", "long", "short", "GET"}) + encode({"GET", "none"}) +
                      encode({"MULTI"}) + encode({"INCR", "n"}) + encode({"GET", "n"}) +
                      encode({"EXEC"}) + encode({"SET", "a", "1"}) + encode({"SET", "b", "1"}) +
                      encode({"MULTI"}) + encode({"INCR", "n"})));
    CHECK(deaf.send(encode({"MULTI"}) + encode({"SET", "deaf", "1"}) +
                    encode({"CLIENT", "REPLY", "SKIP"}) + encode({"EXEC"})));
    while (other.command({"MGET", "b", "deaf"}) != array({bulk("1"), bulk("1")})) continue;
    while (other.command({"CLIENT", "LIST"}).find(" multi=1 ") == std::string::npos) continue;
    disk->write_error = ENOSPC;
    disk.release(disk->hold_pwrites);
    const std::string told = run_but_not_written();
    const std::string refused = told.substr(0, told.find(';')) + "\r\n";
    if (resp3) CHECK(client.read_reply().starts_with("%"));
    CHECK_EQ(client.read_reply(), bulk("1"));
    CHECK_EQ(client.read_reply(), integer(2));  // what it writes back is no change
    CHECK_EQ(client.read_reply(), told);
    CHECK_EQ(client.read_reply(), bulk("2"));
    CHECK_EQ(client.read_reply(), "-ERR value is not an integer or out of range\r\n");
    CHECK_EQ(client.read_reply(), bulk(value));
    CHECK_EQ(client.read_reply(), told);
    CHECK_EQ(client.read_reply(), resp3 ? "_\r\n" : kNil);
    CHECK_EQ(client.read_reply(), kOk);
    CHECK_EQ(client.read_reply(), "+QUEUED\r\n");
    CHECK_EQ(client.read_reply(), "+QUEUED\r\n");
    CHECK_EQ(client.read_reply(), told);
    CHECK_EQ(client.read_reply(), told);
    CHECK_EQ(client.read_reply(), told);
    CHECK_EQ(client.read_reply(), kOk);
    CHECK_EQ(client.read_reply(), "+QUEUED\r\n");
    CHECK_EQ(client.command({"EXEC"}),
             "-EXECABORT Transaction discarded because of: " + refused.substr(1));
    CHECK_EQ(client.command({"SET", "m", "1"}), refused);
    CHECK_EQ(client.command({"GET", "n"}), bulk("3"));
    CHECK_EQ(client.command({"WAITAOF", "1", "0", "1"}), array({integer(0), integer(0)}));
    CHECK_EQ(deaf.read_reply(), kOk);
    CHECK_EQ(deaf.read_reply(), "+QUEUED\r\n");
    CHECK_EQ(deaf.read_reply(), "+QUEUED\r\n");
    CHECK_EQ(deaf.read_reply(), told);  // not half an array, as EXEC's reply was
    CHECK(deaf.send(encode({"PING"}) + encode({"ECHO", "heard"})));
    CHECK_EQ(deaf.read_reply(), bulk("heard"));
    disk->write_error = 0;
    await_info(other, "aof_last_write_status:ok");
    CHECK_EQ(client.command({"INCR", "n"}), integer(4));
    server.kill9();
    server.restart();
    other.connect(server);
    CHECK_EQ(other.command({"MGET", "n", "m", "deaf", "long"}),
             array({bulk("4"), kNil, bulk("1"), bulk("short")}));
  }
}

// What its client has not read yet when the log comes into trouble was acknowledged before.
TEST(faults, held_replies_stand_behind_sent_ones) {
  for (const size_t bytes : {7000, 100'000}) {  // copied, and not
    const int kGets = 20'000'000 / int(bytes);
    const std::string value(bytes, 'x');
    FaultyDisk disk;
    Server server(durable("everysec", &disk));
    server.start();
    Client client(server), other(server);
    CHECK_EQ(other.command({"SET", "k", value}), kOk);
    std::string gets;
    for (int i = 0; i < kGets; i++) {
      gets += encode({"GET", "k"});
      if (i % 10 == 0) gets += encode({"INCR", "before"});
    }
    CHECK(client.send_without_reading(gets));
    while (other.command({"INFO", "stats"}).find("keyspace_hits:" + std::to_string(kGets)) ==
           std::string::npos)
      continue;
    CHECK_EQ(other.command({"SET", "all", "written"}), kOk);
    disk->write_error = ENOSPC;
    CHECK(client.send_without_reading(encode({"INCR", "n"}) + encode({"GET", "n"})));
    await_info(other, "aof_last_write_status:err");
    for (int i = 0; i < kGets; i++) {
      CHECK_EQ(client.read_reply(), bulk(value));
      if (i % 10 == 0) CHECK_EQ(client.read_reply(), integer(i / 10 + 1));
    }
    CHECK_EQ(client.read_reply(), run_but_not_written());
    CHECK_EQ(client.read_reply(), bulk("1"));
  }
}

void torn_writes_lose_nothing(const char* fsync) {
  Random random(seed());
  FaultyDisk disk;
  disk->torn = 1;
  Server server(durable(fsync, &disk));
  Crowd crowd(server, true);
  for (int round = 0; round < 3; round++) {
    server.start();
    Client client(server);
    crowd.check(client);
    crowd.start(random);
    crowd.await_replies(client, long(random.below(1500)));
    start_rewriting(client);
    crowd.await_replies(client, long(random.below(400)));
    crowd.quiet();  // the new file's end is copied in small pieces, and must be reached some time
    CHECK(server.wait_log("rewriting the append-only file is done"));
    for (int i = 1; i <= 20; i++) {
      CHECK_EQ(client.command({"INCR", "behind"}), integer(20 * round + i));
    }
    server.kill9();
    crowd.join();
  }
  CHECK(disk->torn_writes > 0);
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"GET", "behind"}), bulk("60"));
  crowd.check(client);
}

TEST(faults, torn_writes_with_fsync_everysec) { torn_writes_lose_nothing("everysec"); }
TEST(faults, torn_writes_with_fsync_always) { torn_writes_lose_nothing("always"); }

// ---- fsync fails

// A later fsync would succeed, and what the failed one should have brought to the disk would not be
// there: nothing may be acknowledged on its word.
TEST(faults, fsync_fails_with_fsync_always) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("always", &disk));
  disk.begin(server.dir());
  server.start();
  Client client(server), waiting(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  disk->sync_error = EIO;
  disk->sync_failures = -1;
  CHECK(waiting.send_command({"SET", "b", "2"}));
  await_info(client, "aof_last_fsync_status:err");
  CHECK_EQ(client.command({"SET", "c", "3"}).substr(0, 8), "-MISCONF");
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
  // The new file cannot be fsynced either, however often that is tried.
  while (disk->failed_syncs < 3) CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
  CHECK_EQ(client.command({"SET", "c", "3"}).substr(0, 8), "-MISCONF");
  CHECK_EQ(waiting.read_reply(), run_but_not_written(EIO));
  CHECK_EQ(waiting.command({"GET", "b"}), bulk("2"));
  CHECK_EQ(waiting.command({"WAITAOF", "1", "0", "1"}), array({integer(0), integer(0)}));
  disk->sync_failures = 0;
  await_info(client, "aof_last_fsync_status:ok");
  CHECK(server.wait_log("can be written again"));
  CHECK_EQ(client.command({"SET", "c", "3"}), kOk);
  fail_power(disk, server, client, random);
  CHECK_EQ(client.command({"MGET", "a", "b", "c"}), array({bulk("1"), bulk("2"), bulk("3")}));
}

// Once, at any of the fsyncs, also of rewriting, and of the directory: under load.
TEST_LONG(faults, fsync_fails_now_and_then) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("always", &disk));
  Crowd crowd(server, false);
  disk->sync_error = EIO;
  for (int round = 0; round < 3; round++) {
    disk.begin(server.dir());
    server.start();
    Client client(server);
    crowd.check(client);
    crowd.start(random);
    if (random.one_in(2)) start_rewriting(client);
    crowd.await_replies(client, 1 + long(random.below(300)));
    const uint64_t failed = disk->failed_syncs;
    const int failures = 1 + int(random.below(3));
    disk->sync_failures = failures;
    while (disk->failed_syncs < failed + uint64_t(failures)) {
      CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
      if (random.one_in(500)) start_rewriting(client);
    }
    // The server may not yet know of the last failure.
    std::string reply;
    while ((reply = client.command({"SET", "steady", "1"})) != kOk) {
      CHECK_EQ(reply.substr(0, 8), "-MISCONF");
    }
    crowd.await_replies(client, long(random.below(300)));
    server.kill9();
    crowd.join();
    disk.lose_power(server.dir(), "ignix.aof", FaultyDisk::Kept::kPrefix, random);
  }
  disk.begin(server.dir());
  server.start();
  Client client(server);
  crowd.check(client);
}

TEST(faults, fsync_fails_with_fsync_everysec) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("everysec", &disk));
  disk.begin(server.dir());
  server.start();
  Client client(server);
  disk->sync_error = EIO;
  disk->sync_failures = 1;
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  CHECK(server.wait_log("writes are refused"));
  CHECK(server.wait_log("can be written again"));
  await_info(client, "aof_last_fsync_status:ok");
  CHECK(read_file(aof_of(server)).starts_with("REDIS"));
  CHECK_EQ(client.command({"SET", "b", "1"}), kOk);
  fail_power(disk, server, client, random);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
}

TEST(faults, fsync_fails_and_the_server_stops) {
  FaultyDisk disk;
  ServerOptions options = durable("always", &disk);
  options.arguments.insert(options.arguments.end(), {"--aof-fsync-error", "stop"});
  Server server(options);
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  disk->sync_error = EIO;
  disk->sync_failures = 1;
  CHECK(client.send_command({"SET", "b", "2"}));
  CHECK_EQ(server.wait_exit(), 1);
  CHECK(server.log().find("aof-fsync-error") != std::string::npos);
  const std::string reply = client.read_reply();  // it stops once it looks, within a second
  CHECK(reply == Client::kClosed || reply == run_but_not_written(EIO));
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
}

// What the kernel shows of the file may not be on the disk; the next server writes it anew before
// it acknowledges anything.
TEST(faults, fsync_failure_outlives_the_server) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("always", &disk));
  disk.begin(server.dir());
  server.start();
  Client client(server), waiting(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  disk->sync_error = EIO;
  disk->sync_failures = -1;
  CHECK(waiting.send_command({"SET", "b", "2"}));
  await_info(client, "aof_last_fsync_status:err");
  const std::string mark = aof_of(server) + ".fsync-failed";
  CHECK_EQ(access(mark.c_str(), F_OK), 0);
  server.kill9();
  disk->sync_failures = 0;
  server.restart();
  CHECK(access(mark.c_str(), F_OK) != 0);
  client.connect(server);
  CHECK_EQ(client.command({"SET", "c", "3"}), kOk);
  fail_power(disk, server, client, random);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
  CHECK_EQ(client.command({"GET", "c"}), bulk("3"));
}

// What was acknowledged before is then on the disk too, though no further write comes.
TEST(faults, fsync_always_from_now_on) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("no", &disk));
  disk.begin(server.dir());
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  const uint64_t syncs = disk->syncs;
  CHECK_EQ(client.command({"CONFIG", "SET", "appendfsync", "always"}), kOk);
  while (disk->syncs == syncs) CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
  fail_power(disk, server, client, random);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
}

// ---- room behind the log's end (durability/room.h)

size_t logged_bytes(Client& client) {
  const std::string info = client.command({"INFO", "persistence"});
  const std::string_view field = "aof_current_size:";
  const size_t at = info.find(field);
  CHECK(at != std::string::npos);
  return size_t(atoll(info.c_str() + at + field.size()));
}

// One after the other, each a group of its own, until there is room; returns their number.
int write_until_room(Server& server, Client& client) {
  int number = 0;
  while (read_file(aof_of(server)).size() == logged_bytes(client)) {
    CHECK_EQ(client.command({"SET", "key" + std::to_string(number), "value"}), kOk);
    if (++number > 1000) FAIL("no room was made");
  }
  return number;
}

// Where not even a torn end is allowed, a log with room is a whole one.
TEST(faults, killed_with_room) {
  ServerOptions options = durable("always");
  options.arguments.insert(options.arguments.end(), {"--aof-load-truncated", "no"});
  Server server(options);
  server.start();
  Client client(server);
  int keys = write_until_room(server, client);
  for (int i = 0; i < 100; i++, keys++) {
    CHECK_EQ(client.command({"SET", "key" + std::to_string(keys), std::string(size_t(i), 'x')}),
             kOk);
  }
  const size_t bytes = logged_bytes(client);
  server.kill9();
  const std::string left = read_file(aof_of(server));
  CHECK(left.size() > bytes);
  const std::string tool = find_program("redis-check-aof");
  if (!tool.empty()) {
    const Output output = run_program({tool, aof_of(server)});
    if (output.status != 0) FAIL("redis-check-aof: " + output.text);
  }
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"DBSIZE"}), integer(keys));
  CHECK(server.log().find("cut off") == std::string::npos);
  CHECK(read_file(aof_of(server)) == left.substr(0, bytes));
}

// Whoever reads the log at its leisure sees nothing of it: after a clean stop, while the log is
// fsynced once a second, and when a rewritten one has taken its place.
TEST(faults, room_is_given_back) {
  Server server(durable("always"));
  server.start();
  Client client(server);
  write_until_room(server, client);
  CHECK_EQ(client.command({"CONFIG", "SET", "appendfsync", "everysec"}), kOk);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  CHECK_EQ(read_file(aof_of(server)).size(), logged_bytes(client));
  CHECK_EQ(client.command({"CONFIG", "SET", "appendfsync", "always"}), kOk);
  write_until_room(server, client);
  start_rewriting(client);
  await_info(client, "aof_rewrite_in_progress:0");
  CHECK_EQ(read_file(aof_of(server)).size(), logged_bytes(client));
  write_until_room(server, client);
  // Long groups make the file longer as they always did.
  CHECK_EQ(client.command({"SET", "long", std::string(100'000, 'x')}), kOk);
  CHECK_EQ(read_file(aof_of(server)).size(), logged_bytes(client));
  write_until_room(server, client);
  const size_t bytes = logged_bytes(client);
  CHECK_EQ(server.stop(), 0);
  CHECK_EQ(read_file(aof_of(server)).size(), bytes);
}

// It is used up and made again, and nothing of it stays between the records.
TEST(faults, room_is_used_up) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("always", &disk));
  disk.begin(server.dir());
  server.start();
  Client client(server);
  write_until_room(server, client);
  const size_t end = logged_bytes(client) + 2 * ignix::kRoomBytes;
  std::string last;
  while (logged_bytes(client) < end) {
    last = std::string(random.below(ignix::kRoomGroupBytes), 'x');
    CHECK_EQ(client.command({"SET", "last", last}), kOk);
  }
  fail_power(disk, server, client, random);
  CHECK_EQ(client.command({"GET", "last"}), bulk(last));
  CHECK(read_file(aof_of(server)).find("#ignix room") == std::string::npos);
}

// A file that has been put in the place of the log has its name in memory alone, until the
// directory is on the disk. Who starts on it sees to that.
TEST(faults, killed_before_a_new_name_is_on_the_disk) {
  Random random(seed());
  FaultyDisk disk;
  Server server(durable("always", &disk));
  for (int tries = 0, caught = 0; caught < 2; tries++) {
    if (tries > 200) FAIL("never stopped at that fsync");
    disk.begin(server.dir());
    server.start();
    Client client(server);
    CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
    const auto inode = [&] {
      struct stat file;
      return stat(aof_of(server).c_str(), &file) == 0 ? file.st_ino : 0;
    };
    const ino_t before = inode();
    start_rewriting(client);
    // From one fsync to the next, until one is held behind the rename; it may slip through.
    while (inode() == before) {
      disk->hold_syncs = 1;
      while (disk->syncs_held == 0 && inode() == before) continue;
      if (inode() == before) disk.release(disk->hold_syncs);
    }
    for (int i = 0; i < 1000 && disk->syncs_held == 0; i++) sched_yield();
    const bool is_held = disk->syncs_held > 0;
    server.kill9();
    disk.release(disk->hold_syncs);
    disk->syncs_held = 0;
    if (!is_held) continue;
    caught++;
    const std::string value = std::to_string(tries);
    server.restart();
    client.connect(server);
    CHECK_EQ(client.command({"SET", "b", value}), kOk);
    fail_power(disk, server, client, random);
    CHECK_EQ(client.command({"GET", "b"}), bulk(value));
    server.kill9();
  }
}

// ---- the disk stalls

// A write waits for the disk; others are served for as long as that takes.
void reads_go_on(FaultyDisk& disk, Server& server, std::atomic<uint32_t>& hold,
                 const std::atomic<uint32_t>& held) {
  server.start();
  Client writer(server);
  CHECK_EQ(writer.command({"SET", "a", "1"}), kOk);
  std::vector<Client> readers(8);  // of both event loops
  for (Client& reader : readers) reader.connect(server);
  hold = 1;
  CHECK(writer.send_command({"SET", "a", "2"}));
  while (held == 0) CHECK_EQ(readers[0].command({"PING"}), "+PONG\r\n");
  for (int i = 0; i < 200; i++) {
    for (Client& reader : readers) CHECK_EQ(reader.command({"GET", "a"}), bulk("2"));
  }
  CHECK(held > 0);
  CHECK(!writer.readable(0));
  disk.release(hold);
  CHECK_EQ(writer.read_reply(), kOk);
}

TEST(faults, reads_go_on_while_fsync_stalls) {
  FaultyDisk disk;
  Server server(durable("always", &disk));
  reads_go_on(disk, server, disk->hold_syncs, disk->syncs_held);
}

TEST(faults, reads_go_on_while_a_write_stalls) {
  FaultyDisk disk;
  Server server(durable("everysec", &disk));
  reads_go_on(disk, server, disk->hold_pwrites, disk->pwrites_held);
}

// Who waits for the disk is not idle, however long that takes; who came later, and is, is closed.
TEST(faults, waiting_for_the_disk_is_not_idle) {
  FaultyDisk disk;
  ServerOptions options = durable("everysec", &disk);
  options.arguments.insert(options.arguments.end(), {"--threads", "1", "--timeout", "1"});
  Server server(options);
  server.start();
  Client writer(server);
  CHECK_EQ(writer.command({"SET", "a", "1"}), kOk);
  disk->hold_pwrites = 1;
  CHECK(writer.send_command({"SET", "a", "2"}));
  while (disk->pwrites_held == 0) continue;
  Client idle(server);
  CHECK_EQ(idle.command({"GET", "a"}), bulk("2"));
  CHECK_EQ(idle.read_until_close(), "");
  disk.release(disk->hold_pwrites);
  CHECK_EQ(writer.read_reply(), kOk);
}

// With everysec writes do not wait for an fsync either.
TEST(faults, writes_go_on_while_fsync_stalls) {
  FaultyDisk disk;
  Server server(durable("everysec", &disk));
  server.start();
  Client client(server);
  disk->hold_syncs = 1;
  CHECK_EQ(client.command({"SET", "n", "0"}), kOk);
  while (disk->syncs_held == 0) CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
  for (int i = 1; i <= 500; i++) CHECK_EQ(client.command({"INCR", "n"}), integer(i));
  CHECK(disk->syncs_held > 0);
  disk.release(disk->hold_syncs);
}

ServerOptions never_rewriting(const char* fsync, const FaultyDisk& disk) {
  ServerOptions options = durable(fsync, &disk);
  options.arguments.insert(options.arguments.end(), {"--auto-aof-rewrite-percentage", "0"});
  return options;
}

// The disk is told to write it, without an fsync too, and what it has written takes no memory.
void log_goes_to_the_disk_as_it_grows(const char* fsync, size_t step) {
  FaultyDisk disk;
  Server server(never_rewriting(fsync, disk));
  server.start();
  Client client(server);
  const uint64_t syncs = disk->syncs;
  const bool synced = *fsync != 'n';
  uint64_t written = 0;
  while (written < 40 << 20) {
    CHECK_EQ(client.command({"SET", "key", std::string(step, 'x')}), kOk);
    written += step;
    if (synced) CHECK(client.command({"WAITAOF", "1", "0", "0"}).starts_with("*2\r\n:1"));
    while (!synced && disk->begun_bytes + ignix::kLogWritebackBytes < written) {
      CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
    }
  }
  while (disk->given_up_end + (20 << 20) < written) {
    CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
  }
  CHECK(disk->given_up_end <= logged_bytes(client));
  CHECK(disk->begun_bytes <= logged_bytes(client));
  if (!synced) CHECK_EQ(disk->syncs, syncs);
}
TEST(faults, log_goes_to_the_disk_with_fsync_no) {
  log_goes_to_the_disk_as_it_grows("no", ignix::kLogWritebackBytes);
}
TEST(faults, log_goes_to_the_disk_with_fsync_everysec) {
  log_goes_to_the_disk_as_it_grows("everysec", 1 << 20);
}
TEST(faults, log_goes_to_the_disk_with_fsync_always) {
  log_goes_to_the_disk_as_it_grows("always", 1 << 20);
}

// What fails when the disk is told to begin the next fsync may not know of.
TEST(faults, disk_cannot_begin) {
  FaultyDisk disk;
  Server server(never_rewriting("everysec", disk));
  server.start();
  Client client(server);
  disk->begin_error = EPERM;  // as a seccomp filter says that there is no such call
  CHECK_EQ(client.command({"SET", "key", std::string(2 * ignix::kLogWritebackBytes, 'x')}), kOk);
  CHECK(client.command({"WAITAOF", "1", "0", "0"}).starts_with("*2\r\n:1"));
  disk->begin_error = ENOSPC;
  CHECK(client.send_command({"SET", "key", std::string(2 * ignix::kLogWritebackBytes, 'x')}));
  Client other(server);
  await_info(other, "aof_last_fsync_status:err");
  disk->begin_error = 0;
  await_info(other, "aof_last_fsync_status:ok");
  CHECK_EQ(other.command({"STRLEN", "key"}), integer(2 * ignix::kLogWritebackBytes));
}

// The fsync of the second does not wait until the disk has nothing more to begin with.
TEST(faults, fsync_comes_beside_a_disk_that_never_keeps_up) {
  FaultyDisk disk;
  Server server(never_rewriting("everysec", disk));
  server.start();
  Client client(server);
  disk->begin_delay_ms = 200;
  const uint64_t syncs = disk->syncs;
  for (int round = 0; disk->syncs == syncs; round++) {
    if (round == 40) FAIL("no fsync");
    const uint64_t begun = disk->begun_bytes;
    for (int i = 0; i < 2; i++) {
      CHECK_EQ(client.command({"SET", "key", std::string(ignix::kLogWritebackBytes, 'x')}), kOk);
    }
    while (disk->begun_bytes == begun && disk->syncs == syncs) {
      CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
    }
  }
}

// While a server saves what it has before it ends, nobody takes its place.
TEST(faults, no_successor_before_the_last_save) {
  FaultyDisk disk;
  Server server(
      {.arguments = {"--save", "3600 1"}, .tcp = true, .environment = disk.environment()});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  disk->hold_writevs = 1;
  server.send_signal(SIGTERM);
  while (disk->writevs_held == 0) continue;
  const std::string port = std::to_string(server.port());
  for (const std::vector<std::string>& where :
       {std::vector<std::string>{"--port", port, "--bind", "127.0.0.1"},
        std::vector<std::string>{"--port", "0", "--unixsocket", server.unix_path()}}) {
    std::vector<std::string> line = {ignix_path(), "--dir", server.dir()};
    line.insert(line.end(), where.begin(), where.end());
    CHECK_EQ(run_program(line).status, 1);
  }
  disk.release(disk->hold_writevs);
  CHECK_EQ(server.wait_exit(), 0);
  server.start();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
}

// The kernel spreads the connections over the loops, so that one loop's long work does not keep all
// new clients waiting.
TEST(faults, connections_come_beside_a_busy_loop) {
  FaultyDisk disk;
  Server server({.arguments = {"--threads", "2"},
                 .tcp = true,
                 .unix_socket = false,
                 .environment = disk.environment()});
  server.start();
  Client saving(server);
  CHECK_EQ(saving.command({"SET", "a", "1"}), kOk);
  disk->hold_writevs = 1;
  CHECK(saving.send_command({"SAVE"}));
  while (disk->writevs_held == 0) continue;
  std::vector<Client> clients(30);
  std::vector<pollfd> answers;
  for (Client& client : clients) {
    client.connect(server);
    CHECK(client.send_command({"PING"}));
    answers.push_back({client.fd(), POLLIN, 0});
  }
  CHECK(poll(answers.data(), answers.size(), 10'000 * slowness()) > 0);
  disk.release(disk->hold_writevs);
  CHECK_EQ(saving.read_reply(), kOk);
  for (Client& client : clients) CHECK_EQ(client.read_reply(), "+PONG\r\n");
}

// Buckets that a snapshot has kept from being joined do not stay.
TEST(faults, table_shrinks_after_a_snapshot) {
  FaultyDisk disk;
  Server server({.arguments = {"--threads", "1"}, .environment = disk.environment()});
  server.start();
  Client client(server);
  const auto used_bytes = [&] {
    const std::string info = client.command({"INFO", "memory"}), name = "used_memory:";
    return atol(info.c_str() + info.find(name) + name.size());
  };
  constexpr int kKeys = 60'000;
  const auto of_all = [&](const char* command, const char* value) {
    std::string commands;
    for (int i = 0; i < kKeys; i++) {
      append_encoded(
          value ? Argv{command, std::to_string(i), value} : Argv{command, std::to_string(i)},
          &commands);
    }
    CHECK(client.send(commands));
    for (int i = 0; i < kKeys; i++) CHECK(client.read_reply()[0] != '-');
  };
  const long before = used_bytes();
  of_all("SET", "v");
  const long full = used_bytes();
  disk->hold_writevs = 1;
  CHECK_EQ(client.command({"BGSAVE"}), "+Background saving started\r\n");
  while (disk->writevs_held == 0) continue;
  of_all("DEL", nullptr);
  disk.release(disk->hold_writevs);
  await_info(client, "rdb_bgsave_in_progress:0");
  while (used_bytes() > before + (full - before) / 8) continue;
}

// A signal ends a SAVE for which its loop waits; the rules still have a last word.
TEST(faults, stopped_while_it_saves) {
  FaultyDisk disk;
  Server server(
      {.arguments = {"--threads", "2", "--save", "3600 1"}, .environment = disk.environment()});
  server.start();
  Client saving(server), client(server);
  const std::string value(10'000, 'v');
  for (int i = 0; i < 200; i++) {
    CHECK_EQ(client.command({"SET", "k" + std::to_string(i), value}), kOk);
  }
  disk->hold_writevs = 1;
  CHECK(saving.send_command({"SAVE"}));
  while (disk->writevs_held == 0) continue;
  server.send_signal(SIGTERM);
  CHECK(server.wait_log("received SIGTERM, stopping"));
  disk.release(disk->hold_writevs);
  CHECK_EQ(server.wait_exit(), 0);
  const std::string log = server.log();
  const size_t failed = log.find("saving failed: cancelled");
  CHECK(failed != std::string::npos);
  CHECK(log.find("saving is done: 200 keys", failed) != std::string::npos);
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"DBSIZE"}), integer(200));
}

// A client has sent more than the log has room for, and is gone before the disk takes it: all of it
// is run. Some of it has been received by then, some has not.
TEST(faults, client_leaves_while_a_write_stalls) {
  constexpr size_t kAhead = 280 * 1024;  // past kStalledInputBytes, within the socket's buffer
  FaultyDisk disk;
  ServerOptions options = durable("everysec", &disk);
  options.arguments.insert(options.arguments.end(), {"--threads", "1"});
  Server server(options);
  server.start();
  Client client(server), leaving(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  disk->hold_pwrites = 1;
  CHECK(leaving.send(encode({"CLIENT", "REPLY", "OFF"}) + encode({"SET", "a", "2"})));
  while (disk->pwrites_held == 0) CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
  const std::string value(10'000, 'v');
  int number = 0;
  for (size_t sent = 0; sent < ignix::kLogRingBytes - ignix::kLogSlackBytes + kAhead; number++) {
    const std::string text = encode({"SET", "k" + std::to_string(number), value});
    CHECK(leaving.send(text));
    sent += text.size();
  }
  leaving.close();
  for (int i = 0; i < 10; i++) CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
  const std::string last = "k" + std::to_string(number - 1);
  CHECK_EQ(client.command({"GET", last}), kNil);
  disk.release(disk->hold_pwrites);
  while (client.command({"INFO", "clients"}).find("connected_clients:1\r\n") == std::string::npos) {
    continue;
  }
  for (int i = 0; i < number; i++) {
    CHECK_EQ(client.command({"STRLEN", "k" + std::to_string(i)}), integer(10'000));
  }
}

// A new file that is ready before the old one has what it begins with: those changes are in it, and
// must not be logged there once more.
TEST(faults, rewritten_while_a_write_stalls) {
  FaultyDisk disk;
  Server server(durable("everysec", &disk));
  server.start();
  Client client(server), waiting(server);
  CHECK_EQ(client.command({"SET", "n", "0"}), kOk);
  disk->hold_pwrites = 1;
  CHECK(waiting.send_command({"INCR", "n"}));
  while (disk->pwrites_held == 0) CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
  CHECK(waiting.send_command({"INCR", "n"}));
  while (client.command({"GET", "n"}) != bulk("2")) continue;
  const uint64_t syncs = disk->syncs;
  start_rewriting(client);
  // The snapshot's own, and one of what should have come behind it. That of each second may be one
  // of them: then the new file is not ready yet, and all is as usual.
  while (disk->syncs < syncs + 2) CHECK_EQ(client.command({"PING"}), "+PONG\r\n");
  disk.release(disk->hold_pwrites);
  CHECK(server.wait_log("rewriting the append-only file is done"));
  CHECK_EQ(waiting.read_reply(), integer(1));
  CHECK_EQ(waiting.read_reply(), integer(2));
  CHECK_EQ(client.command({"INCR", "n"}), integer(3));
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "n"}), bulk("3"));
}

}  // namespace
}  // namespace test
