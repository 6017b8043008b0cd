// COMMAND and its subcommands: what the table knows, told to clients.
#include <cstring>
#include <string>
#include <vector>

#include "base/glob.h"
#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"

namespace ignix {
namespace {

struct FlagName {
  uint32_t flag;
  const char* name;
};

// In Redis's order.
constexpr FlagName kFlagNames[] = {
    {kWrite, "write"},
    {kReadonly, "readonly"},
    {kDenyOom, "denyoom"},
    {kAdmin, "admin"},
    {kNoScript, "noscript"},
    {kLoading, "loading"},
    {kStale, "stale"},
    {kFast, "fast"},
    {kNoAuth, "no_auth"},
    {kNoAsyncLoading, "no_async_loading"},
    {kNoMulti, "no_multi"},
    {kAllowBusy, "allow_busy"},
    {kSkipSlowlog, "skip_slowlog"},
};
constexpr const char* kMovableKeys = "movablekeys";
constexpr FlagName kKeyFlagNames[] = {
    {kKeyReadWrite, "RW"},  {kKeyReadOnly, "RO"},   {kKeyOverwrite, "OW"},
    {kKeyRemove, "RM"},     {kKeyAccess, "access"}, {kKeyUpdate, "update"},
    {kKeyInsert, "insert"}, {kKeyDelete, "delete"}, {kKeyVariableFlags, "variable_flags"},
};
constexpr const char* kGroupNames[] = {"string",       "generic", "connection", "server",
                                       "transactions", "bitmap",  "hyperloglog"};

template <size_t n>
void reply_flags(Reply& reply, const FlagName (&names)[n], uint32_t flags,
                 const char* one_more = nullptr) {
  int64_t count = one_more != nullptr;
  for (const FlagName& name : names) count += (flags & name.flag) != 0;
  reply.set(count);
  for (const FlagName& name : names) {
    if (flags & name.flag) reply.simple(name.name);
  }
  if (one_more) reply.simple(one_more);
}

// Whether not all keys are in Command::keys. Redis says so also where keys follow from values.
bool has_movable_keys(const Command& command) {
  for (const KeySpec& spec : command.specs) {
    if (spec.flags && spec.range.first == 0) return true;
  }
  return command.find_key != nullptr;
}

// In Redis's order.
std::vector<const char*> categories_of(const Command& command) {
  const uint32_t flags = command.flags;
  const bool container = command.subcommands && command.run == run_container;
  const bool connection =
      (command.group == Group::kConnection || (command.categories & kConnectionCategory)) &&
      !container;
  std::vector<const char*> names;
  if (command.categories & kKeyspaceCategory) names.push_back("@keyspace");
  if (flags & kReadonly) names.push_back("@read");
  if (flags & kWrite) names.push_back("@write");
  if (command.categories & kSetCategory) names.push_back("@set");
  if (command.categories & kSortedSetCategory) names.push_back("@sortedset");
  if (command.categories & kListCategory) names.push_back("@list");
  if (command.group == Group::kBitmap) names.push_back("@bitmap");
  if (command.group == Group::kHyperloglog) names.push_back("@hyperloglog");
  if (command.group == Group::kString) names.push_back("@string");
  if ((flags & kAdmin) || (command.categories & kAdminCategory)) names.push_back("@admin");
  names.push_back(flags & kFast ? "@fast" : "@slow");
  if ((flags & kAdmin) || (command.categories & kDangerousCategory)) names.push_back("@dangerous");
  if (connection) names.push_back("@connection");
  if (command.group == Group::kTransactions) names.push_back("@transaction");
  return names;
}

void reply_tips(Reply& reply, std::string_view tips) {
  std::vector<std::string_view> words;
  while (!tips.empty()) {
    const size_t end = std::min(tips.find(' '), tips.size());
    words.push_back(tips.substr(0, end));
    tips.remove_prefix(std::min(end + 1, tips.size()));
  }
  reply.set(int64_t(words.size()));
  for (std::string_view word : words) reply.bulk(word);
}

// Keys that stand anywhere, or in no word at all.
void reply_unknown_key_spec(Reply& reply) {
  for (const char* part : {"begin_search", "find_keys"}) {
    reply.bulk(part);
    reply.map(2);
    reply.bulk("type");
    reply.bulk("unknown");
    reply.bulk("spec");
    reply.map(0);
  }
}

void reply_key_spec(Reply& reply, const KeySpec& spec) {
  reply.map(spec.notes ? 4 : 3);
  if (spec.notes) {
    reply.bulk("notes");
    reply.bulk(spec.notes);
  }
  reply.bulk("flags");
  reply_flags(reply, kKeyFlagNames, spec.flags);
  if (spec.range.first == 0) return reply_unknown_key_spec(reply);
  reply.bulk("begin_search");
  reply.map(2);
  reply.bulk("type");
  reply.bulk("index");
  reply.bulk("spec");
  reply.map(1);
  reply.bulk("index");
  reply.integer(spec.range.first);
  reply.bulk("find_keys");
  reply.map(2);
  reply.bulk("type");
  reply.bulk("range");
  reply.bulk("spec");
  reply.map(3);
  reply.bulk("lastkey");
  reply.integer(spec.range.last < 0 ? spec.range.last : spec.range.last - spec.range.first);
  reply.bulk("keystep");
  reply.integer(spec.range.step);
  reply.bulk("limit");
  reply.integer(0);
}

void reply_info(Reply& reply, const Command& command) {
  reply.array(10);
  reply.bulk(command.name);
  reply.integer(command.arity);
  reply_flags(reply, kFlagNames, command.flags, has_movable_keys(command) ? kMovableKeys : nullptr);
  reply.integer(command.keys.first);
  reply.integer(command.keys.last);
  reply.integer(command.keys.first ? command.keys.step : 0);
  const std::vector<const char*> categories = categories_of(command);
  reply.set(int64_t(categories.size()));
  for (const char* category : categories) reply.simple(category);
  reply_tips(reply, command.tips);
  int64_t specs = 0;
  for (const KeySpec& spec : command.specs) specs += spec.flags != 0;
  reply.set(specs);
  for (int64_t i = 0; i < specs; i++) reply_key_spec(reply, command.specs[i]);
  int64_t subcommands = 0;
  if (command.subcommands) {
    while (command.subcommands[subcommands].name) subcommands++;
  }
  subcommands ? reply.array(subcommands) : reply.set(0);
  for (int64_t i = 0; i < subcommands; i++) reply_info(reply, command.subcommands[i]);
}

void reply_doc(Reply& reply, const Command& command) {
  int64_t subcommands = 0;
  if (command.subcommands) {
    while (command.subcommands[subcommands].name) subcommands++;
  }
  reply.bulk(command.name);
  reply.map(4 + 3 * (command.deprecated_since != nullptr) + (subcommands > 0));
  reply.bulk("summary");
  reply.bulk(command.summary);
  reply.bulk("since");
  reply.bulk(command.since);
  reply.bulk("group");
  reply.bulk(kGroupNames[int(command.group)]);
  reply.bulk("complexity");
  reply.bulk(command.complexity);
  if (command.deprecated_since) {
    reply.bulk("doc_flags");
    reply.set(1);
    reply.simple("deprecated");
    reply.bulk("deprecated_since");
    reply.bulk(command.deprecated_since);
    reply.bulk("replaced_by");
    reply.bulk(command.replaced_by);
  }
  if (!subcommands) return;
  reply.bulk("subcommands");
  reply.map(subcommands);
  for (int64_t i = 0; i < subcommands; i++) reply_doc(reply, command.subcommands[i]);
}

// "get" or "client|list".
const Command* find_by_full_name(std::string_view name) {
  const size_t bar = name.find('|');
  const Command* command = find_command(name.substr(0, bar));
  if (!command || bar == std::string_view::npos) return command;
  return command->subcommands ? find_subcommand(*command, name.substr(bar + 1)) : nullptr;
}

// The command in words[2] and on, for COMMAND GETKEYS. nullptr, and the error is replied, if it has
// no keys to tell.
const Command* command_in_words(Call& call) {
  const Command* command = find_command(call.words[2]);
  if (command && command->subcommands && call.word_count > 3) {
    command = find_subcommand(*command, call.words[3]);
  }
  if (!command) {
    call.reply.error("ERR Invalid command specified");
  } else if (command->keys.first == 0) {
    call.reply.error("ERR The command has no key arguments");
  } else if (!command->arity_fits(call.word_count - 2)) {
    call.reply.error("ERR Invalid number of arguments specified for command");
  } else {
    return command;
  }
  return nullptr;
}

// Which words behind the first two are keys of that command. False, and the error is replied, if
// there is no memory, or where some might stand there is none: so Redis says of PFMERGE with one.
bool key_words(Call& call, const Command& command, Array<size_t>& found) {
  const size_t count = call.word_count - 2;
  for (const KeySpec& spec : command.specs) {
    if (spec.range.first == 0 || spec.range.count(count) > 0) continue;
    call.reply.error("ERR Invalid arguments specified for command");
    return false;
  }
  while (const size_t word = command.key_word(call.words + 2, count, found.size())) {
    if (found.push(word)) continue;
    reply_out_of_memory(call);
    return false;
  }
  return true;
}

uint32_t key_flags(const Call& call, const Command& command, size_t word) {
  if (command.key_flags) return command.key_flags(call.words + 2, call.word_count - 2);
  uint32_t flags = 0;
  for (const KeySpec& spec : command.specs) {
    if (spec.range.last < 0 || word <= size_t(spec.range.last)) return spec.flags;
    if (spec.flags) flags = spec.flags;
  }
  return flags;  // of the last, which says nothing of its place
}

void reply_keys(Call& call, bool with_flags) {
  const Command* command = command_in_words(call);
  if (!command) return;
  Array<size_t> keys;
  if (!key_words(call, *command, keys)) return;
  call.reply.array(int64_t(keys.size()));
  for (size_t word : keys) {
    if (with_flags) call.reply.array(2);
    call.reply.bulk(call.words[2 + word]);
    if (with_flags) reply_flags(call.reply, kKeyFlagNames, key_flags(call, *command, word));
  }
}

void reply_all_infos(Reply& reply) {
  reply.array(int64_t(command_count()));
  for (const Command* command = kCommands; command->name; command++) reply_info(reply, *command);
}

bool in_category(const Command& command, std::string_view category) {
  for (const char* name : categories_of(command)) {
    if (equal_ignoring_case(name + 1, category)) return true;
  }
  return false;
}

}  // namespace

void run_command(Call& call) {
  if (call.word_count > 1) return run_container(call);
  reply_all_infos(call.reply);
}

void run_command_count(Call& call) { call.reply.integer(int64_t(command_count())); }

void run_command_info(Call& call) {
  if (call.word_count == 2) return reply_all_infos(call.reply);
  call.reply.array(int64_t(call.word_count - 2));
  for (size_t i = 2; i < call.word_count; i++) {
    if (const Command* command = find_by_full_name(call.words[i])) {
      reply_info(call.reply, *command);
    } else {
      call.reply.null();
    }
  }
}

void run_command_docs(Call& call) {
  Array<const Command*> found;
  if (!found.reserve(std::max(call.word_count, command_count()))) return reply_out_of_memory(call);
  for (const Command* c = kCommands; call.word_count == 2 && c->name; c++) found.put(c);
  for (size_t i = 2; i < call.word_count; i++) {
    if (const Command* command = find_by_full_name(call.words[i])) found.put(command);
  }
  call.reply.map(int64_t(found.size()));
  for (const Command* command : found) reply_doc(call.reply, *command);
}

void run_command_list(Call& call) {
  std::string_view filter, value;
  if (call.word_count == 5 && equal_ignoring_case(call.words[2], "filterby")) {
    filter = call.words[3];
    value = call.words[4];
  }
  const bool by_pattern = equal_ignoring_case(filter, "pattern");
  const bool by_category = equal_ignoring_case(filter, "aclcat");
  const bool by_module = equal_ignoring_case(filter, "module");
  if (call.word_count != 2 && !by_pattern && !by_category && !by_module) {
    return reply_syntax_error(call);
  }
  std::vector<const char*> names;
  const auto consider = [&](const Command& command) {
    if (by_module || (by_category && !in_category(command, value)) ||
        (by_pattern && !glob_match(value, command.name, true))) {
      return;
    }
    names.push_back(command.name);
  };
  for (const Command* command = kCommands; command->name; command++) {
    consider(*command);
    if (!command->subcommands) continue;
    for (const Command* sub = command->subcommands; sub->name; sub++) consider(*sub);
  }
  call.reply.array(int64_t(names.size()));
  for (const char* name : names) call.reply.bulk(name);
}

void run_command_getkeys(Call& call) { reply_keys(call, false); }
void run_command_getkeysandflags(Call& call) { reply_keys(call, true); }

void run_command_help(Call& call) {
  static constexpr const char* kLines[] = {
      "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "(no subcommand)",
      "    Details of all commands.",
      "COUNT",
      "    The number of commands.",
      "LIST [FILTERBY MODULE|ACLCAT|PATTERN <value>]",
      "    The names of commands.",
      "INFO [<command-name> ...]",
      "    Details of some commands, or of all.",
      "DOCS [<command-name> ...]",
      "    Documentation of some commands, or of all.",
      "GETKEYS <full-command>",
      "    The keys in a full command.",
      "GETKEYSANDFLAGS <full-command>",
      "    The keys in a full command, and how each is accessed.",
      "HELP",
      "    Print this help.",
      nullptr};
  reply_help(call, kLines);
}

}  // namespace ignix
