// From names to rows of the table of commands, and from what is no name to none.
#include <string>

#include "command/command.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

using ignix::Command;
using ignix::find_command;

TEST(lookup, finds_every_row_however_it_is_written) {
  Random random(seed());
  for (const Command* command = ignix::kCommands; command->name; command++) {
    const std::string name = command->name;
    for (int i = 0; i < 20; i++) {
      std::string text = name;
      for (char& c : text) {
        if (c >= 'a' && c <= 'z' && random.one_in(2)) c = char(c - 32);
      }
      CHECK_EQ(find_command(text), command);
    }
    for (const std::string& wrong :
         {name.substr(0, name.size() - 1), name + "x", name + std::string(30, 'x'), "x" + name}) {
      const Command* const found = find_command(wrong);
      CHECK(!found || found->name == wrong);
    }
  }
}

}  // namespace
}  // namespace test
