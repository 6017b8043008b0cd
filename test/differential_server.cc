// The differential test's commands on connections and the server.
#include "differential.h"

namespace test {
namespace {

void gen_maybe_text(Stream& s, Argv* argv) {
  if (s.random.one_in(2)) argv->push_back(any_value(s));
}

void gen_text(Stream& s, Argv* argv) { argv->push_back(any_value(s)); }

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
  switch (s.random.below(15)) {
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
    case 13:  // nobody
      argv->push_back("KILL");
      for (uint64_t i = s.random.below(6); i > 0; i--) {
        static constexpr std::string_view kWords[] = {
            "ID",   "id",   "",        "0",   "99999999", "x",  "ADDR",   "laddr",  "1.2.3.4:5",
            "TYPE", "type", "replica", "foo", "USER",     "me", "SKIPME", "skipme", "maybe"};
        argv->emplace_back(s.random.pick(kWords));
      }
      break;
    default:
      break;  // without subcommand
  }
}

void gen_subcommand(Stream& s, Argv* argv) {
  argv->push_back(s.random.one_in(2) ? "bogus" : "no such thing");
  gen_unknown(s, argv);
}

}  // namespace

const Generator kServerGenerators[] = {
    {"PING", 20, gen_maybe_text},
    {"ECHO", 15, gen_text},
    {"TIME", 4, gen_no_argument},
    {"CLIENT", 30, gen_client},
    {"HELLO", 12, gen_hello},
    {"RESET", 2, gen_no_argument},
    {"QUIT", 1, gen_no_argument},
    {"COMMAND", 2, gen_subcommand},
    {"CONFIG", 2, gen_subcommand},
    {"nosuchcommand", 8, gen_unknown},
    {"", 2, gen_unknown},
    {"no such\r\ncommand", 2, gen_unknown},
    {},
};

}  // namespace test
