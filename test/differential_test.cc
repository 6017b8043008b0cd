// The same seeded stream of commands goes to ignix and to redis-server 7.0, and every reply is
// compared byte for byte. A stream is made of batches; a batch is a pipeline on one of a few
// connections, ended by an ECHO that both servers must reach. IGNIX_TEST_COMMANDS sets the number
// of commands of a run.
//
// To add a command: one line in kGenerators and one function that appends its arguments.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>

#include "client.h"
#include "durability/dump.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

constexpr size_t kConnections = 4;
constexpr int kDatabases = 16;
constexpr size_t kInlineLimitBytes = 2000;

// What the generators know.
struct Stream {
  explicit Stream(uint64_t seed) : random(seed) {}
  Random random;
  std::vector<std::string> keys;
  bool past_expiry = false;  // some keys get an expiry time in the past
  bool big_values = false;
  bool killed = false;  // ignix keeps its log, and is killed and started again now and then
  int resp = 2;         // the protocol that connections speak after they are opened
};

// ---- keys and values ----

std::vector<std::string> make_keys(Random& random) {
  std::vector<std::string> keys = {"",
                                   " ",
                                   "a b",
                                   "\"q\"",
                                   "it's",
                                   std::string("\0zero", 5),
                                   "line\r\nbreak",
                                   "*1",
                                   "$-1",
                                   "{tag}one",
                                   "{tag}two",
                                   "007",
                                   "-1",
                                   random.bytes(20),
                                   random.bytes(200),
                                   random.letters(200),
                                   "\xc3\xa9\xc3\xa8",
                                   std::string("\xff\xfe\0", 3),
                                   "KEY",
                                   "key"};
  while (keys.size() < 50) keys.push_back("k" + std::to_string(keys.size()));
  return keys;
}

const std::string& any_key(Stream& s) { return s.random.pick_from(s.keys); }

std::string odd_number(Random& random) {
  static const char* const kNumbers[] = {"0",
                                         "1",
                                         "-1",
                                         "2",
                                         "10",
                                         "42",
                                         "007",
                                         "-0",
                                         "+1",
                                         " 1",
                                         "1 ",
                                         "1.0",
                                         "1e3",
                                         "0x10",
                                         "00",
                                         "-",
                                         "+",
                                         "",
                                         "99",
                                         "100",
                                         "255",
                                         "256",
                                         "32767",
                                         "32768",
                                         "65535",
                                         "65536",
                                         "2147483647",
                                         "2147483648",
                                         "-2147483648",
                                         "-2147483649",
                                         "4294967295",
                                         "4294967296",
                                         "9223372036854775806",
                                         "9223372036854775807",
                                         "9223372036854775808",
                                         "-9223372036854775807",
                                         "-9223372036854775808",
                                         "-9223372036854775809",
                                         "18446744073709551615",
                                         "18446744073709551616",
                                         "99999999999999999999999999",
                                         "-99999999999999999999",
                                         "12345678901",
                                         "nan",
                                         "inf",
                                         "1,0",
                                         "1\n",
                                         "9223372036854775",
                                         "9223372036854776"};
  return random.pick(kNumbers);
}

std::string any_value(Stream& s) {
  Random& random = s.random;
  if (s.big_values && random.one_in(4)) return random.letters(random.one_in(4) ? 100'000 : 20'000);
  switch (random.below(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return odd_number(random);
    case 4:
    case 5:
      return std::to_string(random.between(-1000, 1000));
    case 6:
      return "";
    case 7:
      return random.bytes(random.below(40));
    case 8:
      return random.bytes(1 + random.below(300));
    case 9:
      return std::to_string(int64_t(random.next()));
    case 10:
      if (random.one_in(200)) return random.letters(random.one_in(4) ? 100'000 : 20'000);
      return random.letters(1 + random.below(300));
    default:
      return random.letters(1 + random.below(12));
  }
}

// ---- one function for each command ----

// Far away, so that no key ends while the test looks. The absolute ones are beyond the year 2280.
void future_expiry(Stream& s, Argv* argv) {
  switch (s.random.below(4)) {
    case 0:
      argv->insert(argv->end(), {"EX", std::to_string(100'000 + s.random.below(1'000'000))});
      break;
    case 1:
      argv->insert(argv->end(), {"PX", std::to_string(100'000'000 + s.random.below(1000))});
      break;
    case 2:
      argv->insert(argv->end(), {"EXAT", std::to_string(9'800'000'000 + s.random.below(99))});
      break;
    default:
      argv->insert(argv->end(), {"PXAT", std::to_string(9'800'000'000'000 + s.random.below(99))});
  }
}

// A number that is either no valid time or so far away that it does not matter.
std::string odd_time(Stream& s) {
  static const char* const kTimes[] = {"0",
                                       "-1",
                                       "-9223372036854775808",
                                       "9223372036854775807",
                                       "9223372036854775808",
                                       "abc",
                                       "",
                                       "1.5",
                                       " 100000",
                                       "100000 ",
                                       "+100000",
                                       "0100000",
                                       "9223372036854776",
                                       "9223372036854775",
                                       "99999999999999999999",
                                       "9223372036854",
                                       "99999999999999"};
  return s.random.pick(kTimes);
}

void set_option(Stream& s, Argv* argv) {
  switch (s.random.below(10)) {
    case 0:
      argv->push_back("NX");
      break;
    case 1:
      argv->push_back("XX");
      break;
    case 2:
      argv->push_back("GET");
      break;
    case 3:
      argv->push_back("KEEPTTL");
      break;
    case 4:
    case 5:
      future_expiry(s, argv);
      break;
    case 6:
      if (s.past_expiry)
        argv->insert(argv->end(), {s.random.one_in(2) ? "EXAT" : "PXAT", "1"});
      else
        argv->push_back("nx");
      break;
    case 7:
      argv->insert(argv->end(), {s.random.one_in(2) ? "ex" : "PxAt", odd_time(s)});
      break;
    case 8:
      argv->push_back(s.random.one_in(2) ? "get" : "Xx");
      break;
    default:
      argv->push_back(s.random.one_in(3) ? any_value(s) : s.random.one_in(2) ? "EX" : "keepttl");
  }
}

void gen_set(Stream& s, Argv* argv) {
  argv->insert(argv->end(), {any_key(s), any_value(s)});
  if (s.random.one_in(2)) return;
  size_t options = 1 + s.random.below(s.random.one_in(4) ? 4 : 2);
  for (size_t i = 0; i < options; i++) set_option(s, argv);
}

void gen_no_argument(Stream&, Argv*) {}

void gen_key(Stream& s, Argv* argv) { argv->push_back(any_key(s)); }

void gen_two_keys(Stream& s, Argv* argv) {
  argv->push_back(any_key(s));
  argv->push_back(any_key(s));
}

void gen_keys(Stream& s, Argv* argv) {
  size_t count = 1 + s.random.below(s.random.one_in(10) ? 30 : 4);
  for (size_t i = 0; i < count; i++) argv->push_back(any_key(s));
}

void gen_key_value(Stream& s, Argv* argv) {
  argv->push_back(any_key(s));
  argv->push_back(any_value(s));
}

void gen_key_number(Stream& s, Argv* argv) {
  argv->push_back(any_key(s));
  argv->push_back(odd_number(s.random));
}

void gen_pairs(Stream& s, Argv* argv) {
  size_t count = 1 + s.random.below(s.random.one_in(10) ? 20 : 3);
  for (size_t i = 0; i < count; i++) gen_key_value(s, argv);
}

void gen_maybe_text(Stream& s, Argv* argv) {
  if (s.random.one_in(2)) argv->push_back(any_value(s));
}

void gen_text(Stream& s, Argv* argv) { argv->push_back(any_value(s)); }

void gen_select(Stream& s, Argv* argv) {
  static const char* const kOdd[] = {
      "16", "-1", "abc", "", "1.0", "01", "99999999999999999999", "2147483648"};
  argv->push_back(s.random.one_in(8)
                      ? s.random.pick(kOdd)
                      : std::to_string(s.random.one_in(3) ? s.random.below(kDatabases) : 0));
}

void gen_flush(Stream& s, Argv* argv) {
  static const char* const kModes[] = {"SYNC", "ASYNC", "sync", "aSync", "foo", ""};
  if (s.random.one_in(2)) argv->push_back(s.random.pick(kModes));
}

void gen_hello(Stream& s, Argv* argv) {
  static const char* const kVersions[] = {
      "2", "3", "1", "4", "0", "-1", "abc", "", "03", "3.0", "99999999999999999999"};
  if (s.random.one_in(6)) return;
  if (s.random.one_in(3))
    argv->push_back(s.random.pick(kVersions));
  else
    argv->push_back(std::to_string(s.resp));
  switch (s.random.below(8)) {
    case 0:
      argv->insert(argv->end(), {"SETNAME", s.random.one_in(3) ? "a b" : "name"});
      break;
    case 1:
      argv->insert(argv->end(), {"setname", "x", "SETNAME", "y"});
      break;
    case 2:
      argv->insert(argv->end(), {"SETNAME"});
      break;
    case 3:
      argv->insert(argv->end(), {"bogus"});
      break;
    case 4:
      argv->insert(argv->end(), {"AUTH", "nobody", "password"});
      break;
    case 5:
      argv->insert(argv->end(), {"AUTH", "default"});
      break;
    default:
      break;
  }
}

void gen_client(Stream& s, Argv* argv) {
  static const char* const kNames[] = {"one", "", "a b", "line\n", "x!~", "\x7f", "\xc3\xa9", "z"};
  switch (s.random.below(14)) {
    case 0:
    case 1:
    case 2:
      argv->push_back("GETNAME");
      break;
    case 3:
    case 4:
      argv->insert(argv->end(), {"SetName", s.random.pick(kNames)});
      break;
    case 5:
      argv->push_back("ID");
      break;
    case 6:
      argv->insert(argv->end(), {"REPLY", "OFF"});
      break;
    case 7:
    case 8:
      argv->insert(argv->end(), {"REPLY", "ON"});
      break;
    case 9:
      argv->insert(argv->end(), {"reply", "skip"});
      break;
    case 10:
      argv->insert(argv->end(), {"REPLY", "maybe"});
      break;
    case 11:
      argv->insert(argv->end(), {"SETINFO", "lib-name", "test"});
      break;
    case 12:
      argv->push_back(s.random.one_in(2) ? "bogus" : "");
      break;
    default:
      break;  // without subcommand
  }
}

void gen_unknown(Stream& s, Argv* argv) {
  size_t count = s.random.below(5);
  for (size_t i = 0; i < count; i++) argv->push_back(any_value(s));
}

void gen_subcommand(Stream& s, Argv* argv) {
  argv->push_back(s.random.one_in(2) ? "bogus" : "no such thing");
  gen_unknown(s, argv);
}

void gen_getrange(Stream& s, Argv* argv) {
  gen_key_number(s, argv);
  argv->push_back(odd_number(s.random));
}

void gen_setrange(Stream& s, Argv* argv) {
  argv->push_back(any_key(s));
  argv->push_back(s.random.one_in(3) ? "-1" : std::to_string(s.random.below(400)));
  argv->push_back(s.random.letters(s.random.below(40)));
}

void gen_expire(Stream& s, Argv* argv) {
  argv->push_back(any_key(s));
  argv->push_back(s.random.one_in(3) ? odd_time(s)
                                     : std::to_string(9'800'000'000 + s.random.below(99)));
  static const char* const kFlags[] = {"NX", "XX", "GT", "LT", "nx", "bogus"};
  if (s.random.one_in(3)) argv->push_back(s.random.pick(kFlags));
  if (s.random.one_in(9)) argv->push_back(s.random.pick(kFlags));
}

void gen_setex(Stream& s, Argv* argv) {
  argv->push_back(any_key(s));
  argv->push_back(s.random.one_in(3) ? odd_time(s) : "9800000000");
  argv->push_back(any_value(s));
}

void gen_getex(Stream& s, Argv* argv) {
  argv->push_back(any_key(s));
  if (s.random.one_in(4)) argv->push_back("PERSIST");
  if (s.random.one_in(2)) future_expiry(s, argv);
  if (s.random.one_in(9)) set_option(s, argv);
}

// What Redis 7.0 has replied to DUMP of "hello world", 100 times "ab", -5, "" and 70000.
const std::string kPayloads[] = {
    std::string("\x00\x0bhello world\x0a\x00\x0b\xfcI\xb9\xa6\xc7\xa0"
                "4",
                23),
    std::string("\x00\xc3\x0a@\xc8\x02"
                "aba\xe0\xba\x01\x01"
                "ab\x0a\x00$\xa6\xe8"
                "Ap\xc0\xc6\x8c",
                25),
    std::string("\x00\xc0\xfb\x0a\x00I\xc4\xc6\xf4\xd7&\x3fh", 13),
    std::string("\x00\x00\x0a\x00]\x9b\x5c@\x0f\x7f\xa2\xda", 12),
    std::string("\x00\xc2p\x11\x01\x00\x0a\x00\x01\xa4\x08\xfe\x95"
                "0\x95\xa5",
                16),
};

// With and without what makes it wrong.
void gen_restore(Stream& s, Argv* argv) {
  static const char* const kOptions[] = {"REPLACE",  "replace", "ABSTTL", "IDLETIME", "freq",
                                         "IDLETIME", "FREQ",    "5",      "0",        "bogus"};
  std::string payload = s.random.pick(kPayloads);
  if (s.random.one_in(8)) payload[s.random.below(payload.size())] ^= char(1 + s.random.below(255));
  if (s.random.one_in(20)) payload.resize(s.random.below(payload.size()));
  const bool absolute = s.random.one_in(3);
  const std::string far =
      std::to_string((absolute ? 9'800'000'000'000 : 100'000'000) + int64_t(s.random.below(1000)));
  argv->insert(argv->end(), {any_key(s), s.random.one_in(2) ? "0" : far, payload});
  if (s.random.one_in(10)) (*argv)[2] = s.random.one_in(2) ? "-1" : odd_number(s.random);
  // A small number may be over before both servers are asked.
  const bool is_far = (*argv)[2].size() > 9 || (*argv)[2] == "0" || (*argv)[2] == "-1";
  if (absolute || !is_far) argv->push_back("ABSTTL");
  if (s.random.one_in(2)) argv->push_back("REPLACE");
  if (s.random.one_in(6)) argv->insert(argv->end(), {"IDLETIME", odd_number(s.random)});
  if (s.random.one_in(6)) argv->insert(argv->end(), {"FREQ", odd_number(s.random)});
  if (s.random.one_in(6)) argv->push_back(s.random.pick(kOptions));
}

struct Generator {
  const char* name;
  unsigned weight;
  bool must_exist;  // else: used once ignix knows the command
  void (*make)(Stream&, Argv*);
};

const Generator kGenerators[] = {
    {"SET", 250, true, gen_set},
    {"GET", 150, true, gen_key},
    {"DEL", 50, true, gen_keys},
    {"EXISTS", 50, true, gen_keys},
    {"INCR", 90, true, gen_key},
    {"RENAME", 40, true, gen_two_keys},
    {"MGET", 50, true, gen_keys},
    {"MSET", 40, true, gen_pairs},
    {"TYPE", 25, true, gen_key},
    {"DBSIZE", 10, true, gen_no_argument},
    {"SELECT", 20, true, gen_select},
    {"PING", 20, true, gen_maybe_text},
    {"ECHO", 15, true, gen_text},
    {"TIME", 4, true, gen_no_argument},
    {"CLIENT", 30, true, gen_client},
    {"HELLO", 12, true, gen_hello},
    {"RESET", 2, true, gen_no_argument},
    {"QUIT", 1, true, gen_no_argument},
    {"FLUSHDB", 2, true, gen_flush},
    {"FLUSHALL", 1, true, gen_flush},
    {"COMMAND", 2, true, gen_subcommand},
    {"CONFIG", 2, true, gen_subcommand},
    {"nosuchcommand", 8, true, gen_unknown},
    {"", 2, true, gen_unknown},
    {"no such\r\ncommand", 2, true, gen_unknown},

    {"UNLINK", 20, false, gen_keys},
    {"TOUCH", 20, false, gen_keys},
    {"RENAMENX", 20, false, gen_two_keys},
    {"MSETNX", 20, false, gen_pairs},
    {"GETSET", 20, false, gen_key_value},
    {"GETDEL", 20, false, gen_key},
    {"GETEX", 20, false, gen_getex},
    {"SETNX", 20, false, gen_key_value},
    {"SETEX", 10, false, gen_setex},
    {"PSETEX", 10, false, gen_setex},
    {"APPEND", 20, false, gen_key_value},
    {"STRLEN", 20, false, gen_key},
    {"GETRANGE", 20, false, gen_getrange},
    {"SUBSTR", 5, false, gen_getrange},
    {"SETRANGE", 20, false, gen_setrange},
    {"DECR", 20, false, gen_key},
    {"INCRBY", 20, false, gen_key_number},
    {"DECRBY", 20, false, gen_key_number},
    {"EXPIREAT", 20, false, gen_expire},
    {"PEXPIREAT", 10, false, gen_expire},
    {"PERSIST", 20, false, gen_key},
    {"TTL", 10, false, gen_key},
    {"PTTL", 10, false, gen_key},
    {"DUMP", 30, true, gen_key},
    {"RESTORE", 40, true, gen_restore},
};

// ---- deliberate differences ----

bool is_command(const Argv& argv, const char* name, const char* subcommand = nullptr) {
  if (argv.empty() || strcasecmp(argv[0].c_str(), name) != 0) return false;
  return subcommand == nullptr || (argv.size() > 1 && strcasecmp(argv[1].c_str(), subcommand) == 0);
}

bool same_type(const std::string& ignix, const std::string& redis) {
  return !ignix.empty() && !redis.empty() && ignix[0] == redis[0];
}

bool any_answer(const std::string&, const std::string&) { return true; }

// Digits become one '#', and so does the line with a bulk's length: the shape of a reply with
// times.
std::string without_digits(const std::string& reply) {
  std::string out;
  for (char c : reply) {
    if (!isdigit(uint8_t(c)))
      out += c;
    else if (out.empty() || out.back() != '#')
      out += '#';
  }
  return out;
}

bool same_shape(const std::string& ignix, const std::string& redis) {
  return without_digits(ignix) == without_digits(redis);
}

// A reply of HELLO without what stands after the fields that name the server and the connection.
std::string without_identity(std::string reply) {
  for (const char* field : {"$6\r\nserver\r\n", "$7\r\nversion\r\n", "$2\r\nid\r\n"}) {
    size_t at = reply.find(field);
    if (at == std::string::npos) continue;
    at += strlen(field);
    ReplyScanner scanner;
    scanner.begin(at);
    if (scanner.advance(reply)) reply.erase(at, scanner.end() - at);
  }
  return reply;
}

bool same_hello(const std::string& ignix, const std::string& redis) {
  return without_identity(ignix) == without_identity(redis);
}

// Both are payloads of the same value, however it is compressed.
bool same_dump(const std::string& ours, const std::string& redis) {
  if (ours == redis) return true;
  std::string values[2];
  for (int i = 0; i < 2; i++) {
    const std::string& reply = i == 0 ? ours : redis;
    const size_t start = reply.find('\n') + 1;
    if (reply[0] != '$' || reply.size() < start + 2) return false;
    const std::string_view payload = std::string_view(reply).substr(start);
    ignix::Buffer value;
    if (ignix::rdb::read_dump(payload.substr(0, payload.size() - 2), value) !=
        ignix::rdb::DumpState::kGood) {
      return false;
    }
    values[i].assign(value.data(), value.size());
  }
  return values[0] == values[1];
}

struct Difference {
  const char* command;
  const char* subcommand;
  const char* why;
  bool only_alone;  // without any argument
  bool (*allowed)(const std::string& ignix, const std::string& redis);
};

const Difference kDeliberateDifferences[] = {
    {"TIME", nullptr, "the clock goes on", false, same_shape},
    {"TTL", nullptr, "the clock goes on", false, same_type},
    {"PTTL", nullptr, "the clock goes on", false, same_type},
    {"COMMAND", nullptr, "Redis lists its own commands in any order", true, same_type},
    {"CLIENT", "ID", "each server counts its own clients", false, same_type},
    {"CLIENT", "SETINFO", "Redis knows it from 7.2 on; client libraries send it", false,
     any_answer},
    {"DUMP", nullptr, "each server compresses in its own way", false, same_dump},
    {"HELLO", nullptr, "name, version and connection number are the server's own", false,
     same_hello},
};

bool allowed_to_differ(const Argv& argv, const std::string& ignix, const std::string& redis) {
  for (const Difference& d : kDeliberateDifferences)
    if (is_command(argv, d.command, d.subcommand) && (!d.only_alone || argv.size() == 1))
      return d.allowed(ignix, redis);
  return false;
}

// ---- batches ----

struct Command {
  Argv argv;
  bool is_inline = false;
};

struct Batch {
  std::vector<Command> commands;
  std::vector<size_t> answered;  // indices of the commands that get a reply, in order
  bool closes = false;           // the server closes the connection on the way
  std::string bytes;
};

std::string inline_form(const Argv& argv, Random& random) {
  std::string line;
  for (const std::string& argument : argv) {
    if (!line.empty()) line += random.one_in(5) ? "  " : " ";
    bool plain = !argument.empty();
    for (char c : argument)
      plain = plain && c > ' ' && c < 127 && c != '"' && c != '\'' && c != '\\';
    if (plain && (line.empty() || !random.one_in(4)))
      line += argument;
    else
      line += quote(argument, SIZE_MAX);
  }
  return line + (random.one_in(3) ? "\n" : "\r\n");
}

bool is_reply_mode(const Argv& argv, const char* mode) {
  return argv.size() == 3 && is_command(argv, "CLIENT", "REPLY") &&
         strcasecmp(argv[2].c_str(), mode) == 0;
}

// Works out which commands of the batch are answered: a reader of replies needs to know whose they
// are.
void find_answered(Batch* batch) {
  bool off = false, skip = false;
  for (size_t i = 0; i < batch->commands.size(); i++) {
    const Argv& argv = batch->commands[i].argv;
    bool skip_this = skip;
    skip = false;
    if (is_reply_mode(argv, "ON")) {
      off = skip_this = false;
    } else if (is_reply_mode(argv, "OFF")) {
      off = true;
    } else if (is_reply_mode(argv, "SKIP")) {
      skip = !off;
      skip_this = true;
    }
    if (is_command(argv, "RESET") && argv.size() == 1) off = false;
    if (!off && !skip_this) batch->answered.push_back(i);
    if (is_command(argv, "QUIT")) {
      batch->closes = true;
      return;
    }
  }
}

struct Choice {
  std::vector<const Generator*> by_weight;
};

Argv any_command(Stream& s, const Choice& choice) {
  const Generator& generator = *s.random.pick_from(choice.by_weight);
  Argv argv = {generator.name};
  if (s.random.one_in(4))
    for (char& c : argv[0]) c = char(s.random.one_in(2) ? tolower(c) : toupper(c));
  generator.make(s, &argv);
  if (s.random.one_in(60) && argv.size() > 1) argv.pop_back();
  if (s.random.one_in(80)) argv.push_back(any_value(s));
  if (s.random.one_in(300)) argv.resize(1);
  return argv;
}

bool has_reply_mode(const Batch& batch) {
  for (const Command& command : batch.commands)
    if (is_command(command.argv, "CLIENT", "REPLY")) return true;
  return false;
}

Batch make_batch(Stream& s, const Choice& choice, size_t limit, const std::string& token) {
  Batch batch;
  size_t count = s.random.one_in(3) ? 1 + s.random.below(5) : 1 + s.random.below(100);
  count = std::min(count, limit);
  for (size_t i = 0; i < count; i++) {
    Command command = {any_command(s, choice), false};
    // Redis neither answers nor closes when replies are off at a QUIT; nobody wants that.
    if (is_command(command.argv, "QUIT") && has_reply_mode(batch)) continue;
    if (s.random.one_in(15) && !command.argv[0].empty()) {
      std::string line = inline_form(command.argv, s.random);
      command.is_inline = line.size() <= kInlineLimitBytes;
      if (command.is_inline) batch.bytes += line;
    }
    if (!command.is_inline) append_encoded(command.argv, &batch.bytes);
    batch.commands.push_back(std::move(command));
  }
  find_answered(&batch);
  append_encoded({"CLIENT", "REPLY", "ON"}, &batch.bytes);
  append_encoded({"ECHO", token}, &batch.bytes);
  return batch;
}

std::vector<std::string> read_until(Client& client, const std::string& last) {
  std::vector<std::string> replies;
  while (true) {
    replies.push_back(client.read_reply());
    if (replies.back() == last || replies.back()[0] == '<') return replies;
  }
}

std::string describe(const Command& command) {
  std::string text;
  for (const std::string& argument : command.argv)
    text += (text.empty() ? "" : " ") + quote(argument, 120);
  return text + (command.is_inline ? "   (inline)" : "");
}

// Long replies are shown around the place where they part.
std::string reply_or_none(const std::vector<std::string>& replies, size_t i, size_t parted) {
  constexpr size_t kShown = 400;
  if (i >= replies.size()) return "(no reply)";
  const std::string& reply = replies[i];
  if (parted < kShown / 2 || reply.size() < kShown) return quote(reply, kShown);
  size_t from = parted - kShown / 4;
  return "from byte " + std::to_string(from) + ": " + quote(reply.substr(from, kShown));
}

size_t first_difference(const std::vector<std::string>& a, const std::vector<std::string>& b,
                        size_t i) {
  if (i >= a.size() || i >= b.size()) return 0;
  size_t length = std::min(a[i].size(), b[i].size());
  return size_t(std::mismatch(a[i].begin(), a[i].begin() + ptrdiff_t(length), b[i].begin()).first -
                a[i].begin());
}

std::string environment() {
  const char* commands = getenv("IGNIX_TEST_COMMANDS");
  return commands == nullptr ? "" : "IGNIX_TEST_COMMANDS=" + std::string(commands) + " ";
}

[[noreturn]] void report(const Batch& batch, size_t reply_index, size_t before,
                         const std::vector<std::string>& ignix,
                         const std::vector<std::string>& redis) {
  std::string text = "ignix and redis differ\n  repeat: " + environment() + how_to_repeat() + "\n";
  size_t at = batch.commands.size();
  if (reply_index < batch.answered.size()) at = batch.answered[reply_index];
  for (size_t i = at < 6 ? 0 : at - 6; i < at && i < batch.commands.size(); i++)
    text += "  before:  " + describe(batch.commands[i]) + "\n";
  text += "  number:  " + std::to_string(before + at + 1) + " of the stream, " +
          std::to_string(at + 1) + " of a batch of " + std::to_string(batch.commands.size()) + "\n";
  text += "  command: " +
          (at < batch.commands.size() ? describe(batch.commands[at]) : "(end of the batch)");
  size_t parted = first_difference(ignix, redis, reply_index);
  text += "\n  ignix:   " + reply_or_none(ignix, reply_index, parted);
  text += "\n  redis:   " + reply_or_none(redis, reply_index, parted);
  write_file(case_dir() + "/batch", batch.bytes);
  FAIL(text + "\n  the whole batch is in " + case_dir() + "/batch if --keep is given");
}

void compare(const Batch& batch, size_t before, bool dbsize_is_exact,
             const std::vector<std::string>& ignix, const std::vector<std::string>& redis) {
  size_t count = std::max(ignix.size(), redis.size());
  for (size_t i = 0; i < count; i++) {
    bool both = i < ignix.size() && i < redis.size();
    if (both && ignix[i] == redis[i] && ignix[i] != Client::kTimeout) continue;
    if (both && i < batch.answered.size()) {
      const Argv& argv = batch.commands[batch.answered[i]].argv;
      if (allowed_to_differ(argv, ignix[i], redis[i])) continue;
      if (!dbsize_is_exact && is_command(argv, "DBSIZE") && same_type(ignix[i], redis[i])) continue;
    }
    report(batch, i, before, ignix, redis);
  }
}

// ---- streams ----

struct Pair {
  explicit Pair(bool appendonly) : ignix({.program = Program::kIgnix, .appendonly = appendonly}) {}
  Server ignix;
  Server redis{{.program = Program::kRedis}};
  Client ignix_clients[kConnections];
  Client redis_clients[kConnections];
};

void open_pair(Pair& pair, size_t c, int resp) {
  pair.ignix_clients[c].connect(pair.ignix);
  pair.redis_clients[c].connect(pair.redis);
  if (resp != 3) return;
  CHECK_EQ(pair.ignix_clients[c].command({"HELLO", "3"})[0], '%');
  CHECK_EQ(pair.redis_clients[c].command({"HELLO", "3"})[0], '%');
}

Choice choose_generators(Client& ignix) {
  Choice choice;
  for (const Generator& generator : kGenerators) {
    if (!generator.must_exist) {  // the others are not asked: QUIT is among them
      std::string reply = ignix.command({generator.name});
      if (reply.find("unknown command") != std::string::npos) continue;
    }
    for (unsigned i = 0; i < generator.weight; i++) choice.by_weight.push_back(&generator);
  }
  return choice;
}

void compare_keyspaces(Pair& pair, const Stream& s, size_t commands) {
  for (int db = 0; db < kDatabases; db++) {
    Batch batch;
    auto add = [&batch](Argv argv) {
      append_encoded(argv, &batch.bytes);
      batch.answered.push_back(batch.commands.size());
      batch.commands.push_back({std::move(argv), false});
    };
    add({"SELECT", std::to_string(db)});
    if (!s.past_expiry) add({"DBSIZE"});
    for (const std::string& key : s.keys) {
      add({"TYPE", key});
      add({"GET", key});
    }
    append_encoded({"ECHO", "the end"}, &batch.bytes);
    CHECK(pair.ignix_clients[0].send(batch.bytes));
    CHECK(pair.redis_clients[0].send(batch.bytes));
    compare(batch, commands, true, read_until(pair.ignix_clients[0], bulk("the end")),
            read_until(pair.redis_clients[0], bulk("the end")));
  }
}

// Every reply has been read by now, so nothing may be missing afterwards.
void kill_and_restart(Pair& pair, const Stream& s) {
  pair.ignix.kill9();
  pair.ignix.restart();
  for (size_t c = 0; c < kConnections; c++) open_pair(pair, c, s.resp);
}

void run_stream(Stream& s, size_t commands) {
  need_redis();
  s.keys = make_keys(s.random);
  Pair pair(s.killed);
  pair.ignix.start();
  pair.redis.start();
  for (size_t c = 0; c < kConnections; c++) open_pair(pair, c, s.resp);
  Client probe(pair.ignix);
  Choice choice = choose_generators(probe);
  size_t done = 0;
  for (size_t number = 0; done < commands; number++) {
    size_t c = s.random.below(kConnections);
    std::string token = "end of batch " + std::to_string(number);
    Batch batch = make_batch(s, choice, commands - done, token);
    Client& ignix = pair.ignix_clients[c];
    Client& redis = pair.redis_clients[c];
    // A server that closes on the way may do so before all is sent.
    if (!ignix.send(batch.bytes) && !batch.closes) FAIL("ignix does not take the batch");
    if (!redis.send(batch.bytes) && !batch.closes) FAIL("redis does not take the batch");
    compare(batch, done, !s.past_expiry, read_until(ignix, bulk(token)),
            read_until(redis, bulk(token)));
    done += batch.commands.size();
    if (batch.closes) open_pair(pair, c, s.resp);
    if (s.killed && s.random.one_in(300)) kill_and_restart(pair, s);
    if (number % 64 == 0) progress("%zu of %zu", done, commands);
  }
  // Connections may be in either protocol by now.
  open_pair(pair, 0, s.resp);
  compare_keyspaces(pair, s, done);
  if (s.killed) {
    kill_and_restart(pair, s);
    compare_keyspaces(pair, s, done);
  }
  CHECK_EQ(pair.ignix.stop(), 0);
}

size_t commands_of_run() {
  const char* text = getenv("IGNIX_TEST_COMMANDS");
  return text != nullptr ? strtoull(text, nullptr, 10) : 100'000;
}

TEST_LONG(differential, resp2) {
  Stream s(seed());
  run_stream(s, commands_of_run() * 4 / 10);
}

TEST_LONG(differential, resp3) {
  Stream s(seed());
  s.resp = 3;
  s.killed = true;
  run_stream(s, commands_of_run() * 3 / 10);
}

// Keys whose time is over meet every command. When they leave the count of keys is not defined.
TEST_LONG(differential, past_expiry) {
  Stream s(seed());
  s.past_expiry = true;
  s.killed = true;
  run_stream(s, commands_of_run() * 3 / 10);
}

TEST_LONG(differential, big_values) {
  Stream s(seed());
  s.big_values = true;
  s.killed = true;
  run_stream(s, commands_of_run() / 100);
}

// ---- what COMMAND says of each command ----

std::vector<std::string> sorted(std::vector<std::string> elements) {
  std::sort(elements.begin(), elements.end());
  return elements;
}

// One line for each property that is not as Redis has it. Hints and subcommands are not looked at.
std::string differences_of(const std::string& name, const std::string& ignix,
                           const std::string& redis) {
  static const char* const kProperties[] = {"name",     "arity", "flags",     "first key",
                                            "last key", "step",  "categories"};
  std::vector<std::string> ours = elements_of(ignix), theirs = elements_of(redis);
  if (theirs.size() < std::size(kProperties)) return "";  // newer than Redis 7.0
  if (ours.size() != theirs.size()) return name + ": " + quote(ignix) + "\n";
  std::string text;
  for (size_t i = 0; i < std::size(kProperties); i++) {
    bool same = ours[i] == theirs[i] || (ours[i][0] == '*' && sorted(elements_of(ours[i])) ==
                                                                  sorted(elements_of(theirs[i])));
    if (!same)
      text += name + ", " + kProperties[i] + ": ignix " + quote(ours[i]) + ", redis " +
              quote(theirs[i]) + "\n";
  }
  return text;
}

TEST(differential, command_properties) {
  need_redis();
  Server ignix({.program = Program::kIgnix});
  Server redis({.program = Program::kRedis});
  ignix.start();
  redis.start();
  Client ours(ignix), theirs(redis);
  std::string text;
  std::vector<std::string> names = elements_of(ours.command({"COMMAND", "LIST"}));
  CHECK(names.size() >= 20);
  for (const std::string& encoded : names) {
    size_t at = encoded.find('\n') + 1;
    std::string name = encoded.substr(at, encoded.size() - at - 2);
    std::vector<std::string> a = elements_of(ours.command({"COMMAND", "INFO", name}));
    std::vector<std::string> b = elements_of(theirs.command({"COMMAND", "INFO", name}));
    CHECK_EQ(a.size(), 1);
    CHECK_EQ(b.size(), 1);
    text += differences_of(name, a[0], b[0]);
  }
  if (!text.empty()) FAIL(text);
}

// ---- requests that are not well-formed ----

std::string plausible_requests(Random& random) {
  std::string bytes;
  size_t count = 1 + random.below(4);
  for (size_t i = 0; i < count; i++) {
    switch (random.below(7)) {
      case 0:
        bytes += "PING\r\n";
        break;
      case 1:
        bytes += "SET a \"b c\"\n";
        break;
      case 2:
        bytes += "ECHO 'it\\'s' extra\r\n";
        break;
      case 3:
        append_encoded({"SET", random.letters(2), random.letters(random.below(20))}, &bytes);
        break;
      case 4:
        append_encoded({"GET", random.letters(1)}, &bytes);
        break;
      case 5:
        append_encoded({"MGET", "a", "", "c"}, &bytes);
        break;
      default:
        append_encoded({"ECHO", random.letters(random.below(300))}, &bytes);
        break;
    }
  }
  return bytes;
}

char any_byte_but_zero(Random& random) {
  static const char kBytes[] = {'*', '$', '\r', '\n', '0',  '1', '9',
                                '-', ' ', '"',  '\'', '\\', '+', ':'};
  return random.one_in(2) ? random.pick(kBytes) : char(1 + random.below(255));
}

// Redis reads an inline request as a C string and so waits for ever on a zero byte; it gets none
// here.
void damage(Random& random, std::string* bytes) {
  static const char* const kLines[] = {"*-1\r\n",
                                       "*0\r\n",
                                       "\r\n",
                                       "*1\r\n$-1\r\n",
                                       "*1\r\n$\r\n",
                                       "*\r\n",
                                       "*2147483648\r\n",
                                       "*1\r\n$536870913\r\n",
                                       "*99999999999999999999\r\n",
                                       "*1\r\n$99999999999999999999\r\n",
                                       "* 1\r\n",
                                       "*+1\r\n",
                                       "*1\r\n:4\r\n",
                                       "*01\r\n",
                                       "*1\r\n$04\r\nPING\r\n",
                                       "*1 \r\n",
                                       "*3\r\n$3\r\nSET\r\n",
                                       "SET \"a\r\n",
                                       "SET 'a\r\n",
                                       "\"a\"b\r\n",
                                       "*1\r\n$0\r\n\r\n",
                                       "\n",
                                       "   \r\n",
                                       "*-2147483649\r\n"};
  if (bytes->empty()) return;
  size_t at = random.below(bytes->size());
  switch (random.below(6)) {
    case 0:
      (*bytes)[at] = any_byte_but_zero(random);
      break;
    case 1:
      bytes->erase(at, 1 + random.below(3));
      break;
    case 2:
      bytes->insert(at, 1, any_byte_but_zero(random));
      break;
    case 3:
      bytes->resize(at);
      break;
    case 4:
      bytes->insert(at, random.pick(kLines));
      break;
    default: {
      // At the start of a line, where a request may begin.
      size_t line = bytes->find('\n', at);
      bytes->insert(line == std::string::npos ? 0 : line + 1, random.pick(kLines));
    }
  }
}

std::string whole_answer(const Server& server, const std::string& bytes) {
  Client client(server);
  client.send(bytes);
  client.shut_write();
  return client.read_until_close();
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) count++;
  return count;
}

TEST(differential, damaged_requests) {
  need_redis();
  Random random(seed());
  Server ignix({.program = Program::kIgnix});
  Server redis({.program = Program::kRedis});
  ignix.start();
  redis.start();
  size_t rounds = std::max<size_t>(commands_of_run() / 20, 100);
  for (size_t i = 0; i < rounds; i++) {
    std::string bytes = plausible_requests(random);
    size_t damages = random.below(4);
    for (size_t d = 0; d < damages; d++) damage(random, &bytes);
    std::string of_ignix = whole_answer(ignix, bytes);
    std::string of_redis = whole_answer(redis, bytes);
    if (of_ignix == of_redis) continue;
    if (count_of(of_ignix, "unknown command") > count_of(of_redis, "unknown command")) {
      // Damage has made a name of a command that only Redis has, and it may have changed something.
      whole_answer(ignix, "FLUSHALL\r\n");
      whole_answer(redis, "FLUSHALL\r\n");
      continue;
    }
    FAIL("ignix and redis differ\n  repeat: " + how_to_repeat() +
         "\n  sent:   " + quote(bytes, 4000) + "\n  ignix:  " + quote(of_ignix, 4000) +
         "\n  redis:  " + quote(of_redis, 4000));
  }
  CHECK(ignix.running());
}

}  // namespace
}  // namespace test
