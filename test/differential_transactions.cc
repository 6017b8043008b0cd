// The differential test's transactions. In the streams MULTI, EXEC and WATCH stand among all other
// commands, on several connections, and a transaction may go on for several batches. Here are their
// generators, and what does not fit a stream, since nobody could tell whose reply is which.
#include <string>

#include "client.h"
#include "differential.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {

const Generator kTransactionGenerators[] = {
    {"MULTI", 40, gen_no_argument},  {"EXEC", 10, gen_no_argument},
    {"DISCARD", 5, gen_no_argument}, {"WATCH", 40, gen_keys},
    {"UNWATCH", 8, gen_no_argument}, {},
};

namespace {

Argv any_command(Random& random) {
  static const char* const kModes[] = {"ON", "OFF", "SKIP", "on", "Skip", "maybe"};
  const std::string key(1, char('a' + random.below(3)));
  switch (random.below(14)) {
    case 0:
    case 1:
      return {"MULTI"};
    case 2:
    case 3:
      return {"EXEC"};
    case 4:
    case 5:
    case 6:
    case 7:
      return {"CLIENT", "REPLY", random.pick(kModes)};
    case 8:
      return {"INCR", key};
    case 9:
      return {"GET", key};
    case 10:
      return random.one_in(3) ? Argv{"SET", key, "text"} : Argv{"SET", key, "1"};
    case 11:
      return random.one_in(3) ? Argv{"RESET"} : Argv{"WATCH", key};
    case 12:
      return random.one_in(4) ? Argv{random.one_in(2) ? "DISCARD" : "EXEC", "x"} : Argv{"DISCARD"};
    default:
      return random.one_in(4) ? Argv{"nosuchcommand"} : Argv{"PING"};
  }
}

std::string whole_answer(const Server& server, const std::string& bytes) {
  Client client(server);
  client.send(bytes);
  client.shut_write();
  return client.read_until_close();
}

}  // namespace

// CLIENT REPLY before, around and in transactions: arrays may say that more elements come than do.
TEST(differential, replies_of_transactions) {
  need_redis();
  Random random(seed());
  Server ignix({.program = Program::kIgnix}), redis({.program = Program::kRedis});
  ignix.start();
  redis.start();
  for (size_t round = 0; round < commands_of_run() / 40; round++) {
    std::string bytes;
    for (size_t i = 2 + random.below(20); i > 0; i--) append_encoded(any_command(random), &bytes);
    const std::string of_ignix = whole_answer(ignix, bytes);
    const std::string of_redis = whole_answer(redis, bytes);
    if (of_ignix == of_redis) continue;
    FAIL("ignix and redis differ\n  repeat: " + how_to_repeat() +
         "\n  sent:   " + quote(bytes, 4000) + "\n  ignix:  " + quote(of_ignix, 4000) +
         "\n  redis:  " + quote(of_redis, 4000));
  }
}

}  // namespace test
