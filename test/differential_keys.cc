// The differential test's commands on keys of any type.
#include "differential.h"

namespace test {
namespace {

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
  // A small number may be over before both servers are asked; it stays absolute also when the last
  // word is taken away.
  const bool is_far = (*argv)[2].size() > 9 || (*argv)[2] == "0" || (*argv)[2] == "-1";
  if (absolute || !is_far) argv->push_back("ABSTTL");
  if (s.random.one_in(2)) argv->push_back("REPLACE");
  if (!is_far) argv->push_back("absttl");
  if (s.random.one_in(6)) argv->insert(argv->end(), {"IDLETIME", odd_number(s.random)});
  if (s.random.one_in(6)) argv->insert(argv->end(), {"FREQ", odd_number(s.random)});
  if (s.random.one_in(6)) argv->push_back(s.random.pick(kOptions));
}

// NX, XX, GT, LT, and what is none of them.
void expire_options(Stream& s, Argv* argv) {
  static const char* const kOptions[] = {"NX", "XX", "GT", "LT", "nx", "Xx", "gt", "lT"};
  if (s.random.one_in(2)) return;
  const size_t count = 1 + s.random.below(s.random.one_in(3) ? 3 : 1);
  for (size_t i = 0; i < count; i++) argv->push_back(s.random.pick(kOptions));
  if (s.random.one_in(12)) argv->push_back(any_value(s));
}

// In `unit_ms`, from now on: over at once, far away, or no valid time.
void gen_expire_in(Stream& s, Argv* argv, int64_t unit_ms) {
  argv->push_back(any_key(s));
  const int64_t far = 100'000'000 / unit_ms;
  if (s.random.one_in(6)) {
    argv->push_back(odd_time(s));
  } else if (s.random.one_in(8)) {
    argv->push_back(std::to_string(-s.random.between(0, far)));
  } else {
    argv->push_back(std::to_string(s.random.between(far, 9 * far)));
  }
  expire_options(s, argv);
}
void gen_expire(Stream& s, Argv* argv) { gen_expire_in(s, argv, 1000); }
void gen_pexpire(Stream& s, Argv* argv) { gen_expire_in(s, argv, 1); }

// The few times of each kind make that GT and LT meet what is equal.
void gen_expire_at(Stream& s, Argv* argv, int64_t unit_ms) {
  argv->push_back(any_key(s));
  if (s.random.one_in(6)) {
    argv->push_back(odd_time(s));
  } else if (s.random.one_in(8)) {
    argv->push_back(std::to_string(s.random.between(-2, 1'500'000'000)));
  } else {
    const int64_t fraction_ms = unit_ms == 1 ? s.random.between(498, 502) : 0;
    argv->push_back(std::to_string((9'800'000'000'000 + 1000 * s.random.between(0, 5)) / unit_ms +
                                   fraction_ms));
  }
  expire_options(s, argv);
}
void gen_expireat(Stream& s, Argv* argv) { gen_expire_at(s, argv, 1000); }
void gen_pexpireat(Stream& s, Argv* argv) { gen_expire_at(s, argv, 1); }

std::string any_database(Stream& s) {
  static const char* const kOdd[] = {"16", "-1",         "abc",         "",    "1.0", "01", "+1",
                                     " 1", "2147483648", "-2147483649", "1024"};
  if (s.random.one_in(10)) return s.random.pick(kOdd);
  return std::to_string(s.random.one_in(2) ? s.random.below(kDatabases) : s.random.below(2));
}

void gen_copy(Stream& s, Argv* argv) {
  gen_two_keys(s, argv);
  for (size_t i = s.random.below(4); i > 0; i--) {
    if (s.random.one_in(2)) {
      argv->push_back(s.random.one_in(2) ? "REPLACE" : "replace");
    } else {
      argv->insert(argv->end(), {s.random.one_in(2) ? "DB" : "db", any_database(s)});
    }
  }
  if (s.random.one_in(20)) argv->push_back(s.random.one_in(2) ? "DB" : any_value(s));
}

void gen_move(Stream& s, Argv* argv) { argv->insert(argv->end(), {any_key(s), any_database(s)}); }

void gen_swapdb(Stream& s, Argv* argv) {
  argv->insert(argv->end(), {any_database(s), any_database(s)});
}

std::string any_pattern(Stream& s) {
  static const char* const kPieces[] = {"*", "?",  "[a-z]", "[^k]", "k", "1",    "{tag}", "\\",
                                        "[", "**", "[0-3",  "\\*",  "-", "[]a]", "\"",    "e"};
  if (s.random.one_in(4)) return "*";
  if (s.random.one_in(4)) return "k" + std::to_string(s.random.below(10)) + "*";
  if (s.random.one_in(4)) return any_key(s);
  std::string pattern;
  for (size_t i = s.random.below(5); i > 0; i--) pattern += s.random.pick(kPieces);
  return pattern;
}

void gen_keys_pattern(Stream& s, Argv* argv) { argv->push_back(any_pattern(s)); }

// Whole walks are in differential_scan.cc: here it is about the arguments.
void gen_scan(Stream& s, Argv* argv) {
  static const char* const kTypes[] = {"string", "STRING", "list", "stream", "bogus", ""};
  static const char* const kCursors[] = {"0",  "",   "-1", "+0",  "abc",
                                         " 0", "0 ", "0x", "1.0", "18446744073709551616"};
  argv->push_back(s.random.one_in(3) ? s.random.pick(kCursors) : "0");
  for (size_t i = s.random.below(4); i > 0; i--) {
    switch (s.random.below(4)) {
      case 0:
        argv->insert(argv->end(), {"MATCH", any_pattern(s)});
        break;
      case 1:
        argv->insert(argv->end(), {"type", s.random.pick(kTypes)});
        break;
      case 2:
        argv->insert(argv->end(), {"Count", std::to_string(1 + s.random.below(1000))});
        break;
      default:
        argv->insert(argv->end(), {"COUNT", odd_number(s.random)});
    }
  }
  if (s.random.one_in(10)) argv->push_back(s.random.one_in(2) ? "MATCH" : any_value(s));
}

void gen_sort_ro(Stream& s, Argv* argv) {
  static const char* const kWords[] = {"ASC", "desc", "ALPHA", "alpha", "LIMIT", "BY", "GET", "#"};
  argv->push_back(any_key(s));
  for (size_t i = s.random.below(4); i > 0; i--) {
    switch (s.random.below(6)) {
      case 0:
        argv->insert(argv->end(), {"LIMIT", odd_number(s.random), "10"});
        break;
      case 1:
        argv->insert(argv->end(), {"limit", "0", odd_number(s.random)});
        break;
      case 2:
        argv->insert(argv->end(), {"BY", any_value(s)});
        break;
      case 3:
        argv->insert(argv->end(), {"Get", any_value(s)});
        break;
      default:
        argv->push_back(s.random.pick(kWords));
    }
  }
}

void gen_sort(Stream& s, Argv* argv) {
  gen_sort_ro(s, argv);
  for (size_t i = s.random.below(3); i > 0; i--) {
    argv->insert(argv->end(), {"STORE", any_key(s)});
  }
  if (s.random.one_in(10)) argv->push_back("STORE");
}

// Short, or not at all. Not for more than 2^31 replicas, where Redis counts wrongly.
void gen_wait(Stream& s, Argv* argv) {
  static const char* const kReplicas[] = {"0", "1", "2", "-1", "2147483647", "x", "", "1.0", "+1"};
  if (s.random.one_in(2)) {
    argv->insert(argv->end(), {s.random.pick(kReplicas), "1"});
  } else {
    argv->insert(argv->end(), {s.random.one_in(2) ? "0" : "-1", odd_number(s.random)});
  }
}

void gen_object(Stream& s, Argv* argv) {
  static const char* const kWays[] = {"ENCODING", "encoding", "REFCOUNT", "Refcount", "IDLETIME",
                                      "idletime", "FREQ",     "freq",     "bogus",    ""};
  if (s.random.one_in(30)) return;
  argv->push_back(s.random.pick(kWays));
  argv->push_back(any_key(s));
}

}  // namespace

const Generator kKeyGenerators[] = {
    {"DEL", 50, gen_keys},
    {"EXISTS", 50, gen_keys},
    {"RENAME", 40, gen_two_keys},
    {"RENAMENX", 40, gen_two_keys},
    {"COPY", 60, gen_copy},
    {"MOVE", 40, gen_move},
    {"UNLINK", 20, gen_keys},
    {"TOUCH", 20, gen_keys},
    {"SWAPDB", 6, gen_swapdb},
    {"KEYS", 10, gen_keys_pattern},
    {"SCAN", 30, gen_scan},
    {"RANDOMKEY", 15, gen_no_argument},
    {"WAIT", 3, gen_wait},
    {"SORT", 20, gen_sort},
    {"SORT_RO", 10, gen_sort_ro},
    {"TYPE", 25, gen_key},
    {"OBJECT", 60, gen_object},
    {"DBSIZE", 10, gen_no_argument},
    {"SELECT", 20, gen_select},
    {"FLUSHDB", 2, gen_flush},
    {"FLUSHALL", 1, gen_flush},
    {"DUMP", 30, gen_key},
    {"RESTORE", 40, gen_restore},
    {"EXPIRE", 25, gen_expire},
    {"PEXPIRE", 25, gen_pexpire},
    {"EXPIREAT", 25, gen_expireat},
    {"PEXPIREAT", 40, gen_pexpireat},
    {"EXPIRETIME", 25, gen_key},
    {"PEXPIRETIME", 25, gen_key},
    {"TTL", 15, gen_key},
    {"PTTL", 15, gen_key},
    {"PERSIST", 25, gen_key},
    {},
};

}  // namespace test
