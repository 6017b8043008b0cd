// Keys, values and arguments that the generators of the differential test share.
#include "differential.h"

namespace test {

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

void gen_unknown(Stream& s, Argv* argv) {
  size_t count = s.random.below(5);
  for (size_t i = 0; i < count; i++) argv->push_back(any_value(s));
}

}  // namespace test
