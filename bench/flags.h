// Command-line flags of the form `--name value`, and switches without a value.
// One table per program; the help text is made from it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

struct Flag {
  enum Kind { kSwitch, kNumber, kReal, kText };
  const char* name;
  Kind kind;
  void* target;  // bool, uint64_t, double or std::string, by kind
  const char* help;
};

// Ends the program with one line on stderr.
[[noreturn]] inline void fail(const std::string& message) {
  fprintf(stderr, "%s\n", message.c_str());
  exit(1);
}

// Digits, optionally followed by k, m or g (powers of 1000).
inline uint64_t number_of(const char* name, const char* text) {
  char* end = nullptr;
  uint64_t value = strtoull(text, &end, 10);
  if (end == text || *text == '-') fail(std::string(name) + ": not a number: " + text);
  if (*end == 'k' || *end == 'K')
    value *= 1000, end++;
  else if (*end == 'm' || *end == 'M')
    value *= 1000000, end++;
  else if (*end == 'g' || *end == 'G')
    value *= 1000000000, end++;
  if (*end != 0) fail(std::string(name) + ": not a number: " + text);
  return value;
}

inline void set_flag(const Flag& flag, const char* text) {
  char* end = nullptr;
  switch (flag.kind) {
    case Flag::kSwitch:
      *static_cast<bool*>(flag.target) = true;
      break;
    case Flag::kNumber:
      *static_cast<uint64_t*>(flag.target) = number_of(flag.name, text);
      break;
    case Flag::kReal:
      *static_cast<double*>(flag.target) = strtod(text, &end);
      if (end == text || *end != 0) fail(std::string(flag.name) + ": not a number: " + text);
      break;
    case Flag::kText:
      *static_cast<std::string*>(flag.target) = text;
      break;
  }
}

template <size_t N>
void parse_flags(const Flag (&flags)[N], const char* summary, int argc, char** argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0) {
      printf("%s\n", summary);
      for (const Flag& flag : flags) printf("  %-18s %s\n", flag.name, flag.help);
      exit(0);
    }
    const Flag* found = nullptr;
    for (const Flag& flag : flags) {
      if (strcmp(flag.name, argv[i]) == 0) found = &flag;
    }
    if (!found) fail(std::string("unknown option: ") + argv[i] + " (see --help)");
    if (found->kind == Flag::kSwitch) {
      set_flag(*found, "");
    } else if (++i < argc) {
      set_flag(*found, argv[i]);
    } else {
      fail(std::string(found->name) + ": needs a value");
    }
  }
}
