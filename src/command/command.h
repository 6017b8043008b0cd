// What a command is: one row of the table in command/table.cc. Everything that is said about
// commands (COMMAND, arity errors, key positions, the locks to take, what the log must hold)
// derives from it.
#pragma once

#include <cstdint>
#include <string_view>

namespace ignix {

struct Call;

enum CommandFlag : uint32_t {
  kWrite = 1 << 0,
  kReadonly = 1 << 1,
  kDenyOom = 1 << 2,
  kAdmin = 1 << 3,
  kNoScript = 1 << 4,
  kLoading = 1 << 5,
  kStale = 1 << 6,
  kFast = 1 << 7,
  kNoAuth = 1 << 8,
  kNoMulti = 1 << 9,
  kAllowBusy = 1 << 10,
  kNoAsyncLoading = 1 << 12,
  // Not told to clients: runs with every stripe locked.
  kAllKeys = 1 << 11,
  // Not told to clients: is run even where MULTI queues the others.
  kInMulti = 1 << 13,
  kSkipSlowlog = 1 << 14,
  // Not told to clients: reads, and may keep what it has worked out in the value; the log has it
  // then. So it waits for room there, but is not refused while the log cannot be written.
  kWritesBack = 1 << 15,
};

// ACL categories beyond those that follow from the flags and the group.
enum CommandCategory : uint32_t {
  kKeyspaceCategory = 1 << 0,
  kDangerousCategory = 1 << 1,
  kConnectionCategory = 1 << 2,
  kAdminCategory = 1 << 3,
  kSetCategory = 1 << 4,
  kSortedSetCategory = 1 << 5,
  kListCategory = 1 << 6,
};

enum class Group : uint8_t {
  kString,
  kGeneric,
  kConnection,
  kServer,
  kTransactions,
  kBitmap,
  kHyperloglog
};

enum KeyFlag : uint32_t {
  kKeyReadOnly = 1 << 0,
  kKeyReadWrite = 1 << 1,
  kKeyOverwrite = 1 << 2,
  kKeyRemove = 1 << 3,
  kKeyAccess = 1 << 4,
  kKeyUpdate = 1 << 5,
  kKeyInsert = 1 << 6,
  kKeyDelete = 1 << 7,
  kKeyVariableFlags = 1 << 8,
};

// Keys at the words first, first + step, ... up to last (counted from the end if negative).
// first is 0 in a command without keys.
struct KeyRange {
  int first = 0, last = 0, step = 1;

  // How many keys a command of `words` words has.
  size_t count(size_t words) const {
    if (first == 0 || size_t(first) >= words) return 0;
    const int64_t end = last < 0 ? int64_t(words) + last : last;
    if (end < first) return 0;
    return size_t(step == 1 ? end - first : (end - first) / step) + 1;  // a division is slow
  }
};

struct KeySpec {
  uint32_t flags = 0;
  KeyRange range;  // without keys: where they stand is not known beforehand
  const char* notes = nullptr;
};

struct Command {
  const char* name = nullptr;  // lower case; "client|list" for a subcommand
  void (*run)(Call&) = nullptr;
  int arity = 0;  // words with the name; -n: at least n
  uint32_t flags = 0;
  Group group = Group::kGeneric;
  const char* since = "";
  const char* complexity = "";
  const char* summary = "";
  const char* deprecated_since = nullptr;  // nullptr: it is not
  const char* replaced_by = nullptr;       // by which command then
  uint32_t categories = 0;
  KeyRange keys = {};
  // For a command whose keys are not all in `keys`: which word is key number `index`; 0: there are
  // not so many. The arity fits.
  size_t (*find_key)(const std::string_view* words, size_t count, size_t index) = nullptr;
  KeySpec specs[3] = {};
  // Of a command whose first spec has kKeyVariableFlags: the flags that the key has with these
  // words.
  uint32_t (*key_flags)(const std::string_view* words, size_t count) = nullptr;
  const char* tips = "";                 // separated by spaces
  const Command* subcommands = nullptr;  // ends with a row without a name

  bool arity_fits(size_t words) const {
    return arity >= 0 ? words == size_t(arity) : words >= size_t(-arity);
  }
  // As find_key, of any command.
  size_t key_word(const std::string_view* words, size_t count, size_t index) const {
    if (find_key) return find_key(words, count, index);
    return index < keys.count(count) ? size_t(keys.first) + index * size_t(keys.step) : 0;
  }
};

// The table; ends with a row without a name.
extern const Command kCommands[];

// The command of that name, in any case, or nullptr.
const Command* find_command(std::string_view name);
// `container`'s subcommand, by the second word.
const Command* find_subcommand(const Command& container, std::string_view word);

size_t command_count();

}  // namespace ignix
