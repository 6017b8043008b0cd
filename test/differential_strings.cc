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

}  // namespace

const Generator kStringGenerators[] = {
    {"SET", 250, gen_set},  {"GET", 150, gen_key},   {"INCR", 90, gen_key},
    {"MGET", 50, gen_keys}, {"MSET", 40, gen_pairs}, {},
};

}  // namespace test
