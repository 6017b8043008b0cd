// The differential test's commands on strings.
#include "differential.h"

namespace test {
namespace {

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

std::string near_number(Stream& s) {
  return s.random.one_in(4) ? odd_number(s.random) : std::to_string(s.random.between(-30, 30));
}

void gen_getrange(Stream& s, Argv* argv) {
  argv->insert(argv->end(), {any_key(s), near_number(s), near_number(s)});
}

void gen_setrange(Stream& s, Argv* argv) {
  const std::string offset = s.random.one_in(12) ? "-1"
                             : s.random.one_in(12)
                                 ? "536870912"
                                 : std::to_string(s.random.below(s.random.one_in(9) ? 9000 : 60));
  const size_t length = s.random.one_in(4) ? 0 : s.random.below(s.random.one_in(20) ? 5000 : 20);
  argv->insert(argv->end(), {any_key(s), offset, s.random.letters(length)});
  if (s.random.one_in(30)) (*argv)[2] = "abc";
}

void gen_setex(Stream& s, Argv* argv) {
  argv->insert(argv->end(),
               {any_key(s), s.random.one_in(3) ? odd_time(s) : "9800000000", any_value(s)});
}

void getex_option(Stream& s, Argv* argv) {
  switch (s.random.below(5)) {
    case 0:
      return argv->push_back(s.random.one_in(2) ? "PERSIST" : "persist");
    case 1:
      if (s.past_expiry) return void(argv->insert(argv->end(), {"PXAT", "1"}));
      return future_expiry(s, argv);
    case 2:
      return set_option(s, argv);
    default:
      return future_expiry(s, argv);
  }
}

void gen_getex(Stream& s, Argv* argv) {
  argv->push_back(any_key(s));
  const size_t options = s.random.below(s.random.one_in(5) ? 4 : 2);
  for (size_t i = 0; i < options; i++) getex_option(s, argv);
}

// Sums that are exact in binary, so that they do not grow digits without end, and others.
void gen_incrbyfloat(Stream& s, Argv* argv) {
  static const char* const kFloats[] = {
      "0.5",  "-0.25", "1e3",   "1.0",    "-1.5e2",  "0x1p3", " 1",   "1 ",    "inf",
      "-inf", "nan",   "1e400", "1e5000", "1e-5000", "3.14",  "1e17", "-1e17", "",
      "abc",  ".5",    "5.",    "+1",     "-0",      "0.1",   "1e",   "1_000"};
  argv->push_back(any_key(s));
  argv->push_back(s.random.one_in(3) ? near_number(s) : s.random.pick(kFloats));
}

void gen_lcs(Stream& s, Argv* argv) {
  static const char* const kOptions[] = {"LEN", "IDX", "WITHMATCHLEN", "idx", "len", "bogus"};
  gen_two_keys(s, argv);
  if (s.random.one_in(3)) argv->push_back("IDX");
  const size_t options = s.random.below(3);
  for (size_t i = 0; i < options; i++) {
    if (s.random.one_in(3)) {
      argv->insert(argv->end(), {"MINMATCHLEN", near_number(s)});
    } else {
      argv->push_back(s.random.pick(kOptions));
    }
  }
}

}  // namespace

const Generator kStringGenerators[] = {
    {"SET", 250, gen_set},
    {"GET", 150, gen_key},
    {"INCR", 90, gen_key},
    {"MGET", 50, gen_keys},
    {"MSET", 40, gen_pairs},
    {"APPEND", 60, gen_key_value},
    {"DECR", 30, gen_key},
    {"DECRBY", 30, gen_key_number},
    {"GETDEL", 20, gen_key},
    {"GETEX", 40, gen_getex},
    {"GETRANGE", 30, gen_getrange},
    {"GETSET", 30, gen_key_value},
    {"INCRBY", 30, gen_key_number},
    {"INCRBYFLOAT", 40, gen_incrbyfloat},
    {"LCS", 15, gen_lcs},
    {"MSETNX", 20, gen_pairs},
    {"PSETEX", 15, gen_setex},
    {"SETEX", 15, gen_setex},
    {"SETNX", 20, gen_key_value},
    {"SETRANGE", 40, gen_setrange},
    {"STRLEN", 30, gen_key},
    {"SUBSTR", 10, gen_getrange},
    {},
};

}  // namespace test
