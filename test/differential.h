// What the generators of the differential test share (differential_test.cc): the stream they draw
// from, and pieces of commands. Each family of commands has a file of its own.
//
// To add a command: one line in the family's list and one function that appends its arguments.
#pragma once

#include <string>
#include <vector>

#include "client.h"
#include "random.h"

namespace test {

constexpr int kDatabases = 16;

// What the generators know.
struct Stream {
  explicit Stream(uint64_t seed) : random(seed) {}
  Random random;
  std::vector<std::string> keys;
  bool past_expiry = false;  // some keys get an expiry time in the past
  bool big_values = false;
  bool killed = false;        // ignix keeps its log, and is killed and started again now and then
  bool transactions = false;  // more of them, on fewer keys
  int resp = 2;               // the protocol that connections speak after they are opened
  const struct Generator* focus = nullptr;  // a family that counts tenfold
  Argv without;                             // commands of the other families that are left out
  Argv arguments;                           // of both servers
};

struct Generator {
  const char* name;
  unsigned weight;
  void (*make)(Stream&, Argv*);
};

// A family's generators; the last has no name.
extern const Generator kServerGenerators[];
extern const Generator kStringGenerators[];
extern const Generator kKeyGenerators[];
extern const Generator kBitmapGenerators[];
extern const Generator kHyperloglogGenerators[];
extern const Generator kTransactionGenerators[];

// Of a run, or IGNIX_TEST_COMMANDS.
size_t commands_of_run();

// Differences that are meant.
struct Difference {
  const char* command;
  const char* subcommand;
  const char* why;
  bool only_alone;  // without any argument
  bool (*allowed)(const std::string& ignix, const std::string& redis);
};

// ---- keys and values ----

std::vector<std::string> make_keys(Random& random);
const std::string& any_key(Stream& s);
std::string any_value(Stream& s);
// A number on the edge of something, or what looks like one.
std::string odd_number(Random& random);
// A number that is either no valid time or so far away that it does not matter.
std::string odd_time(Stream& s);
// EX, PX, EXAT or PXAT, far away, so that no key ends while the test looks.
void future_expiry(Stream& s, Argv* argv);

// ---- arguments of many commands ----

void gen_no_argument(Stream& s, Argv* argv);
void gen_key(Stream& s, Argv* argv);
void gen_two_keys(Stream& s, Argv* argv);
void gen_keys(Stream& s, Argv* argv);
void gen_key_value(Stream& s, Argv* argv);
void gen_key_number(Stream& s, Argv* argv);
void gen_pairs(Stream& s, Argv* argv);
void gen_unknown(Stream& s, Argv* argv);

}  // namespace test
