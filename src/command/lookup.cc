// From a command's name to its row. On the path of every command: the name is folded to lower case
// and its first sixteen bytes are compared at once, found by one probe in nearly all cases.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/load.h"
#include "base/number.h"
#include "command/command.h"

namespace ignix {
namespace {

constexpr size_t kCells = 1024;  // a power of two, many times the number of commands
constexpr size_t kFilledMax = kCells / 2;
constexpr size_t kFoldedBytes = 16;

struct Name {
  uint64_t low = 0, high = 0;

  // Folding is exact for letters: nothing but 'G' and 'g' becomes 'g'. Names with anything else in
  // them, and longer ones, are compared once more.
  explicit Name(std::string_view text) {
    if (text.size() < 8) {
      low = load_tail(text.data(), text.size());
    } else {
      memcpy(&low, text.data(), 8);
      high = text.size() < kFoldedBytes ? load_tail(text.data() + 8, text.size() - 8)
                                        : load_8(text.data() + 8);
    }
    low |= 0x2020202020202020;
    high |= 0x2020202020202020;
  }
  size_t home_cell() const {
    return ((low ^ high * 0x9e3779b97f4a7c15) * 0x9e3779b97f4a7c15) >> 54;
  }
};
static_assert(kCells == 1 << 10, "home_cell() yields ten bits");

class Index {
 public:
  Index() {
    size_t filled = 0;
    for (const Command* command = kCommands; command->name; command++) {
      const Name name{std::string_view(command->name)};
      size_t cell = name.home_cell();
      while (cells_[cell].command) cell = (cell + 1) % kCells;
      if (++filled > kFilledMax) abort();  // more rows than anybody has thought of
      const std::string_view text = command->name;
      const bool letters =
          std::all_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; });
      const bool exact = letters && text.size() <= kFoldedBytes;
      cells_[cell] = {name.low, name.high, command, uint32_t(text.size()), exact};
    }
  }

  const Command* find(std::string_view text) const {
    const Name name(text);
    for (size_t cell = name.home_cell(); cells_[cell].command; cell = (cell + 1) % kCells) {
      const Cell& found = cells_[cell];
      if (found.low != name.low || found.high != name.high) continue;
      if (found.name_bytes != text.size()) continue;
      if (found.exact || equal_ignoring_case(found.command->name, text)) return found.command;
    }
    return nullptr;
  }

 private:
  struct Cell {
    uint64_t low, high;
    const Command* command;
    uint32_t name_bytes;
    bool exact;  // equal when low, high and the length are
  };
  Cell cells_[kCells] = {};
};

const Index kIndex;

}  // namespace

const Command* find_command(std::string_view name) { return kIndex.find(name); }

const Command* find_subcommand(const Command& container, std::string_view word) {
  const size_t prefix = strlen(container.name) + 1;
  for (const Command* sub = container.subcommands; sub->name; sub++) {
    if (equal_ignoring_case(sub->name + prefix, word)) return sub;
  }
  return nullptr;
}

size_t command_count() {
  size_t count = 0;
  while (kCommands[count].name) count++;
  return count;
}

}  // namespace ignix
