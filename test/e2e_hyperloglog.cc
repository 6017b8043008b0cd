// HyperLogLogs beyond what the differential stream sees: what the log has, what it brings back, and
// bytes that several keys share.
#include "client.h"
#include "random.h"
#include "runner.h"
#include "server.h"
#include "store/hyperloglog.h"

namespace test {
namespace {

const std::string kDamaged = "-INVALIDOBJ Corrupted HLL object detected\r\n";

std::string aof_of(const Server& server) { return read_file(server.dir() + "/ignix.aof"); }

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) count++;
  return count;
}

// The bytes of a GET's reply.
std::string value_of(Client& client, const std::string& key) {
  const std::string reply = client.command({"GET", key});
  CHECK_EQ(reply[0], '$');
  return text_of(reply);
}

bool estimate_is_stored(Client& client, const std::string& key) {
  uint64_t cardinality;
  return ignix::hll::stored_estimate(value_of(client, key), cardinality);
}

Argv add_many(const std::string& key, int first, int count) {
  Argv argv = {"PFADD", key};
  for (int i = first; i < first + count; i++) argv.push_back("e" + std::to_string(i));
  return argv;
}

// Zeros for half of the registers.
std::string half_a_hyperloglog() { return std::string("HYLL\1\0\0\0\0\0\0\0\0\0\0\0\x5f\xff", 18); }

// An element whose register is in the first half, or is not.
std::string element_in_first_half(bool in) {
  for (int i = 0;; i++) {
    const std::string element = std::to_string(i);
    if ((ignix::hll::mark_of(element).index < ignix::hll::kRegisters / 2) == in) return element;
  }
}

TEST(hyperloglog, log_brings_all_back) {
  Server server({.arguments = {"--hll-sparse-max-bytes", "500"}, .appendonly = true});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"PFADD", "empty"}), integer(1));
  CHECK_EQ(client.command({"PFADD", "empty"}), integer(0));
  CHECK_EQ(client.command(add_many("sparse", 0, 100)), integer(1));
  CHECK_EQ(client.command({"PFADD", "sparse", "e0"}), integer(0));
  CHECK_EQ(client.command(add_many("dense", 50, 400)), integer(1));
  CHECK_EQ(client.command(add_many("dense", 0, 60)), integer(1));
  CHECK_EQ(value_of(client, "dense").size(), ignix::hll::kDenseBytes);
  CHECK_EQ(client.command({"EXPIREAT", "sparse", "9800000000"}), integer(1));
  CHECK_EQ(client.command({"PFMERGE", "both", "sparse", "dense", "none"}), kOk);
  const std::string count = client.command({"PFCOUNT", "both"});
  CHECK_EQ(client.command({"PFCOUNT", "both"}), count);
  CHECK_EQ(client.command({"PFCOUNT", "sparse", "dense"}), count);
  CHECK_EQ(client.command({"SET", "half", half_a_hyperloglog(), "EXAT", "9800000000"}), kOk);
  CHECK_EQ(
      client.command({"PFADD", "half", element_in_first_half(true), element_in_first_half(false)}),
      kDamaged);
  CHECK(value_of(client, "half").size() > half_a_hyperloglog().size());
  const char* const kKeys[] = {"empty", "sparse", "dense", "both", "half"};
  std::vector<std::string> before;
  for (const char* key : kKeys) {
    before.push_back(value_of(client, key) + client.command({"EXPIRETIME", key}));
  }
  server.kill9();
  CHECK_EQ(count_of(aof_of(server), "PFCOUNT"), 1);
  CHECK_EQ(count_of(aof_of(server), "PFADD"), 4);
  server.restart();
  Client again(server);
  for (size_t i = 0; i < before.size(); i++) {
    CHECK_EQ(value_of(again, kKeys[i]) + again.command({"EXPIRETIME", kKeys[i]}), before[i]);
  }
  CHECK(estimate_is_stored(again, "both"));
  CHECK_EQ(again.command({"PFCOUNT", "both"}), count);
}

// Nothing is changed where the first element finds no register.
TEST(hyperloglog, damaged) {
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "half", half_a_hyperloglog()}), kOk);
  CHECK_EQ(client.command({"PFADD", "half", element_in_first_half(false), "x"}), kDamaged);
  CHECK_EQ(value_of(client, "half"), half_a_hyperloglog());
  CHECK_EQ(client.command({"PFCOUNT", "half"}), integer(0));  // as it is stored
  CHECK_EQ(client.command({"PFCOUNT", "half", "half"}), kDamaged);
  CHECK_EQ(client.command({"PFMERGE", "to", "half"}), kDamaged);
  CHECK_EQ(client.command({"EXISTS", "to"}), integer(0));
}

// Runs for more registers than there are: it cannot become a dense one. What was added while it was
// allowed to be so long comes back where it is not.
TEST(hyperloglog, damaged_and_too_long_in_the_log) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  const std::string damaged =
      std::string("HYLL\1\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff", 18) + std::string(4000, '\0');
  CHECK_EQ(client.command({"SET", "k", damaged}), kOk);
  CHECK_EQ(client.command({"PFADD", "k", "a"}), kDamaged);
  CHECK_EQ(value_of(client, "k"), damaged);
  CHECK_EQ(client.command({"CONFIG", "SET", "hll-sparse-max-bytes", "1000000"}), kOk);
  CHECK_EQ(client.command({"PFADD", "k", "a", "b", "c"}), integer(1));
  const std::string value = value_of(client, "k");
  CHECK(value.size() > damaged.size());
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(value_of(client, "k"), value);
  CHECK_EQ(client.command({"PFADD", "k", "d"}), kDamaged);
}

// A copy shares the bytes until either is changed.
TEST(hyperloglog, copies) {
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command(add_many("a", 0, 3000)), integer(1));
  CHECK_EQ(client.command({"COPY", "a", "b"}), integer(1));
  const std::string bytes = value_of(client, "a");
  CHECK_EQ(bytes.size(), ignix::hll::kDenseBytes);
  const std::string count = client.command({"PFCOUNT", "b"});
  CHECK(estimate_is_stored(client, "b"));
  CHECK_EQ(value_of(client, "a"), bytes);
  CHECK_EQ(client.command({"COPY", "a", "c"}), integer(1));
  CHECK_EQ(client.command(add_many("a", 3000, 100)), integer(1));
  CHECK_EQ(value_of(client, "c"), bytes);
  CHECK_EQ(client.command({"PFCOUNT", "c"}), count);
  CHECK_EQ(client.command({"COPY", "a", "d"}), integer(1));
  CHECK_EQ(client.command({"PFMERGE", "d", "c"}), kOk);
  CHECK_EQ(client.command({"PFCOUNT", "d"}), client.command({"PFCOUNT", "a"}));
}

// PFCOUNT keeps its estimate in the value: for WATCH that is a change.
TEST(hyperloglog, counting_is_a_change_once) {
  Server server;
  server.start();
  Client client(server), other(server);
  CHECK_EQ(client.command(add_many("a", 0, 10)), integer(1));
  for (const bool changes : {true, false}) {
    CHECK_EQ(client.command({"WATCH", "a"}), kOk);
    CHECK_EQ(other.command({"PFCOUNT", "a"}), integer(10));
    CHECK_EQ(client.command({"MULTI"}), kOk);
    CHECK_EQ(client.command({"EXEC"}), changes ? "*-1\r\n" : "*0\r\n");
  }
}

TEST(hyperloglog, adding_what_is_there_is_no_change) {
  Server server;
  server.start();
  Client client(server), other(server);
  CHECK_EQ(client.command(add_many("a", 0, 10)), integer(1));
  for (const int more : {0, 1}) {
    CHECK_EQ(client.command({"WATCH", "a"}), kOk);
    CHECK_EQ(other.command(add_many("a", 0, 10 + more)), integer(more));
    CHECK_EQ(client.command({"MULTI"}), kOk);
    CHECK_EQ(client.command({"EXEC"}), more ? "*-1\r\n" : "*0\r\n");
  }
}

// Redis logs PFCOUNT as well, in small letters.
TEST(hyperloglog, log_of_redis) {
  Server server({.appendonly = true});
  std::string log;
  append_encoded({"SELECT", "0"}, &log);
  append_encoded({"pfadd", "k", "a", "b", "c"}, &log);
  append_encoded({"pfcount", "k"}, &log);
  write_file(server.dir() + "/ignix.aof", log);
  server.start();
  Client client(server);
  CHECK(estimate_is_stored(client, "k"));
  CHECK_EQ(client.command({"PFCOUNT", "k"}), integer(3));
  CHECK_EQ(aof_of(server), log);
}

// What PFMERGE and BITOP have read is in a snapshot that begins before them, though a flush comes
// before the walk: the log behind the snapshot has the question, not the answer.
TEST(hyperloglog, merged_and_flushed_amid_a_rewrite) {
  constexpr int kKeys = 100'000, kMerged = 200;
  Server server({.arguments = {"--threads", "1"}, .appendonly = true});
  server.start();
  Client client(server);
  std::string pipeline;
  for (int i = 0; i < kKeys; i++) {
    append_encoded({"SET", "k" + std::to_string(i), std::string(100, 'v')}, &pipeline);
  }
  CHECK(client.send(pipeline));
  for (int i = 0; i < kKeys; i++) CHECK_EQ(client.read_reply(), kOk);
  for (int i = 0; i < kMerged; i++) {
    CHECK_EQ(client.command({"PFADD", "from" + std::to_string(i), "x"}), integer(1));
  }
  pipeline = encode({"BGREWRITEAOF"});
  for (int i = 0; i < kMerged; i++) {
    const std::string from = "from" + std::to_string(i), to = "to" + std::to_string(i);
    append_encoded(i % 2 ? Argv{"BITOP", "OR", to, from} : Argv{"PFMERGE", to, from}, &pipeline);
    append_encoded({"MOVE", to, "1"}, &pipeline);
  }
  CHECK(client.send(pipeline + encode({"FLUSHDB"})));
  CHECK_EQ(client.read_reply()[0], '+');
  for (int i = 0; i < kMerged; i++) {
    CHECK_EQ(client.read_reply()[0], i % 2 ? ':' : '+');
    CHECK_EQ(client.read_reply(), integer(1));
  }
  CHECK_EQ(client.read_reply(), kOk);
  CHECK(server.wait_log("rewriting the append-only file is done"));
  server.kill9();
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"SELECT", "1"}), kOk);
  for (int i = 0; i < kMerged; i++) {
    CHECK_EQ(client.command({"PFCOUNT", "to" + std::to_string(i)}), integer(1));
  }
}

// CONFIG SET holds for what stands behind it in a pipeline.
TEST(hyperloglog, sparse_bytes_are_limited) {
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"CONFIG", "GET", "hll*"}),
           array({bulk("hll-sparse-max-bytes"), bulk("3000")}));
  CHECK(client.send(encode({"CONFIG", "SET", "hll-sparse-max-bytes", "0"}) +
                    encode({"PFADD", "at once", "x"}) + encode({"PFADD", "none"})));
  CHECK_EQ(client.read_reply(), kOk);
  for (int i = 0; i < 2; i++) CHECK_EQ(client.read_reply(), integer(1));
  CHECK_EQ(value_of(client, "at once").size(), ignix::hll::kDenseBytes);
  CHECK_EQ(value_of(client, "none").size(), 18);
  CHECK_EQ(client.command({"PFADD", "one", "x"}), integer(1));
  CHECK_EQ(value_of(client, "one").size(), ignix::hll::kDenseBytes);
  CHECK_EQ(client.command({"CONFIG", "SET", "hll-sparse-max-bytes", "1mb"}), kOk);
  CHECK_EQ(client.command(add_many("long", 0, 8000)), integer(1));
  const size_t bytes = value_of(client, "long").size();
  CHECK(bytes > 4096 && bytes != ignix::hll::kDenseBytes);
  CHECK_EQ(client.command(add_many("long", 0, 8000)), integer(0));
  CHECK_EQ(client.command({"PFADD", "long", "more", "and", "more"}), integer(1));
}

}  // namespace
}  // namespace test
