// The differential test's HyperLogLogs. Most commands are about a few keys, so that there is time
// for them to become dense; other families' commands overwrite and damage them.
#include "differential.h"
#include "store/hyperloglog.h"

namespace test {
namespace {

using ignix::hll::Draft;

const std::string& some_key(Stream& s) {
  constexpr size_t kFirst = 20, kCount = 8;  // of the keys with plain names
  return s.random.one_in(4) ? any_key(s) : s.keys[kFirst + s.random.below(kCount)];
}

// Of a set of 30, of 3000, or of no set at all.
std::string element(Stream& s, uint64_t universe) {
  switch (universe) {
    case 0:
      return "e" + std::to_string(s.random.below(30));
    case 1:
      return "element " + std::to_string(s.random.below(3000));
    default:
      return s.random.one_in(20) ? any_value(s) : std::to_string(s.random.next());
  }
}

uint64_t element_count(Random& random) {
  if (random.one_in(60)) return random.below(3000);
  return random.below(random.one_in(5) ? 100 : 5);
}

void gen_pfadd(Stream& s, Argv* argv) {
  argv->push_back(some_key(s));
  const uint64_t universe = s.random.below(3), count = element_count(s.random);
  for (uint64_t i = 0; i < count; i++) argv->push_back(element(s, universe));
}

void gen_some_keys(Stream& s, Argv* argv) {
  const uint64_t count = s.random.one_in(3) ? 1 + s.random.below(6) : 1;
  for (uint64_t i = 0; i < count; i++) argv->push_back(some_key(s));
}

void gen_pfmerge(Stream& s, Argv* argv) {
  for (uint64_t i = s.random.below(5) + 1; i > 0; i--) argv->push_back(some_key(s));
}

std::string some_hyperloglog(Stream& s) {
  Draft draft(3000);
  draft.make_empty();
  const uint64_t universe = s.random.below(3), count = element_count(s.random);
  for (uint64_t i = 0; i < count; i++) draft.raise(ignix::hll::mark_of(element(s, universe)));
  if (s.random.one_in(8)) draft.make_dense();
  return std::string(draft.bytes());
}

void damage(Random& random, std::string* bytes) {
  switch (random.below(7)) {
    case 0:
      bytes->resize(random.below(bytes->size() + 1));
      break;
    case 1:
      *bytes += random.bytes(1 + random.below(3));
      break;
    case 2:
      (*bytes)[4] = char(random.below(3));  // the encoding
      break;
    case 3:
      (*bytes)[random.below(16)] = char(random.next());
      break;
    case 4:
      bytes->replace(16, bytes->size(), random.bytes(random.below(100)));
      break;
    default:
      (*bytes)[random.below(bytes->size())] = char(random.next());
  }
}

// Redis looks at the byte behind a string if the last two bytes, long zeros, are cut in the middle,
// and that byte need not be zero after a PFADD. No such strings are made here, none so short that
// APPEND may make one of it, and other families' commands that write amid or behind the registers
// are left out of these streams.
void mend_end(std::string* bytes) {
  constexpr size_t kEncoding = 4, kHeader = 16;
  if (bytes->size() < kHeader) {
    if (bytes->size() > kEncoding) (*bytes)[kEncoding] = 2;  // there is none such
    return;
  }
  size_t at = kHeader;
  while (at < bytes->size()) at += (uint8_t((*bytes)[at]) & 0xc0) == 0x40 ? 2 : 1;
  if (at > bytes->size()) bytes->push_back('\7');
}

void gen_set_hyperloglog(Stream& s, Argv* argv) {
  std::string bytes = some_hyperloglog(s);
  if (!s.random.one_in(3)) damage(s.random, &bytes);
  mend_end(&bytes);
  argv->insert(argv->end(), {some_key(s), bytes});
}

// Bytes that are whole runs.
void gen_append(Stream& s, Argv* argv) {
  static const std::string kRuns[] = {"\x80", std::string(1, '\0'), "\x40\x40", "\xff\x3f", ""};
  argv->insert(argv->end(), {some_key(s), s.random.pick(kRuns)});
}

void gen_setrange(Stream& s, Argv* argv) {
  argv->insert(argv->end(), {some_key(s), std::to_string(s.random.below(16)), s.random.bytes(1)});
}

void gen_copy(Stream& s, Argv* argv) {
  argv->insert(argv->end(), {some_key(s), some_key(s), "REPLACE"});
}

void gen_one_key(Stream& s, Argv* argv) { argv->push_back(some_key(s)); }

}  // namespace

const Generator kHyperloglogGenerators[] = {
    {"PFADD", 60, gen_pfadd},        {"PFCOUNT", 30, gen_some_keys}, {"PFMERGE", 10, gen_pfmerge},
    {"SET", 6, gen_set_hyperloglog}, {"APPEND", 1, gen_append},      {"SETRANGE", 2, gen_setrange},
    {"GET", 10, gen_one_key},        {"COPY", 2, gen_copy},          {},
};

}  // namespace test
