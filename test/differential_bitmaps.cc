// The differential test's commands on bits of strings.
#include "differential.h"

namespace test {
namespace {

// Never one of those that make strings of hundreds of megabytes.
std::string bit_offset(Stream& s) {
  if (s.random.one_in(15)) {
    const std::string number = odd_number(s.random);
    if (number.size() < 6 || number.size() > 10) return number;
  }
  return std::to_string(s.random.below(s.random.one_in(10) ? 100'000 : 300));
}

std::string bit(Stream& s) {
  return s.random.one_in(15) ? odd_number(s.random) : std::to_string(s.random.below(2));
}

std::string near_number(Stream& s) {
  return s.random.one_in(15) ? odd_number(s.random) : std::to_string(s.random.between(-100, 100));
}

void gen_setbit(Stream& s, Argv* argv) {
  argv->insert(argv->end(), {any_key(s), bit_offset(s), bit(s)});
}

void gen_getbit(Stream& s, Argv* argv) { argv->insert(argv->end(), {any_key(s), bit_offset(s)}); }

void unit(Stream& s, Argv* argv) {
  static const char* const kUnits[] = {"BIT", "BYTE", "bit", "byte", "bits", ""};
  argv->push_back(s.random.pick(kUnits));
}

void gen_bitcount(Stream& s, Argv* argv) {
  argv->push_back(any_key(s));
  if (s.random.one_in(4)) return;
  argv->push_back(near_number(s));
  if (s.random.one_in(10)) return;
  argv->push_back(near_number(s));
  if (s.random.one_in(2)) unit(s, argv);
}

void gen_bitpos(Stream& s, Argv* argv) {
  argv->insert(argv->end(), {any_key(s), bit(s)});
  for (size_t i = 0; i < 2 && !s.random.one_in(4); i++) argv->push_back(near_number(s));
  if (s.random.one_in(2)) unit(s, argv);
}

void gen_bitop(Stream& s, Argv* argv) {
  static const char* const kOperations[] = {"AND", "or", "XOR", "not", "NOT", "nand"};
  argv->push_back(s.random.pick(kOperations));
  argv->push_back(any_key(s));
  const size_t sources = s.random.one_in(2) ? 1 : 1 + s.random.below(5);
  for (size_t i = 0; i < sources; i++) argv->push_back(any_key(s));
}

std::string field_type(Stream& s) {
  static const char* const kOdd[] = {"u64", "i65", "u0", "i0", "f8", "8", "", "i", "i-1", "u08"};
  if (s.random.one_in(15)) return s.random.pick(kOdd);
  const bool is_signed = s.random.one_in(2);
  return (is_signed ? "i" : "u") + std::to_string(1 + s.random.below(63 + uint64_t(is_signed)));
}

std::string field_offset(Stream& s) {
  const bool multiple = s.random.one_in(3);
  const std::string number =
      multiple && !s.random.one_in(15) ? std::to_string(s.random.below(20)) : bit_offset(s);
  return (multiple ? "#" : "") + number;
}

void gen_bitfield(Stream& s, Argv* argv) {
  static const char* const kOverflows[] = {"WRAP", "sat", "FAIL", "SAT", "fail", "none"};
  argv->push_back(any_key(s));
  const size_t operations = s.random.below(6);
  for (size_t i = 0; i < operations; i++) {
    switch (s.random.below(s.random.one_in(20) ? 5 : 4)) {
      case 0:
        argv->insert(argv->end(), {"GET", field_type(s), field_offset(s)});
        break;
      case 1:
        argv->insert(argv->end(), {"SET", field_type(s), field_offset(s), odd_number(s.random)});
        break;
      case 2:
        argv->insert(argv->end(), {"incrby", field_type(s), field_offset(s),
                                   s.random.one_in(2) ? odd_number(s.random) : near_number(s)});
        break;
      case 3:
        argv->insert(argv->end(), {"OVERFLOW", s.random.pick(kOverflows)});
        break;
      default:
        argv->push_back("bogus");
    }
  }
}

void gen_bitfield_ro(Stream& s, Argv* argv) {
  if (s.random.one_in(4)) return gen_bitfield(s, argv);
  argv->push_back(any_key(s));
  const size_t operations = s.random.below(4);
  for (size_t i = 0; i < operations; i++) {
    argv->insert(argv->end(), {"get", field_type(s), field_offset(s)});
  }
}

}  // namespace

const Generator kBitmapGenerators[] = {
    {"SETBIT", 60, gen_setbit},
    {"GETBIT", 30, gen_getbit},
    {"BITCOUNT", 40, gen_bitcount},
    {"BITPOS", 40, gen_bitpos},
    {"BITOP", 25, gen_bitop},
    {"BITFIELD", 60, gen_bitfield},
    {"BITFIELD_RO", 15, gen_bitfield_ro},
    {},
};

}  // namespace test
