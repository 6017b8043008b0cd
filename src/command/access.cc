#include "command/access.h"

#include <algorithm>
#include <string>

#include "base/number.h"

namespace ignix {

Entry* find_live(Call& call, const Key& key, Access access) {
  Entry* entry = call.keyspace().find(call.db(), key);
  if (!entry) return nullptr;
  if (entry->expired(call.env.now_ms)) {
    delete_expired(call, key);
    return nullptr;
  }
  if (access == Access::kUse) entry->touch(call.env.clock);
  return entry;
}

bool delete_expired(Call& call, const Key& key) {
  LogRing* const log = call.env.log;
  // A command that only reads never depends on the log: without room there, the entry stays for
  // somebody else to delete.
  const bool reads = call.command.flags & kReadonly;
  if (reads && log && (log->failure() || log->room() < kLogSlackBytes)) return false;
  // Nobody waits for this record: losing it loses nothing.
  const std::string_view change[] = {"DEL", key.text};
  if (log) log->append(*call.env.writer, call.db(), change, 2);
  call.keyspace().erase(call.db(), key);
  call.keyspace().stripe_of(key.hash).expired++;
  return true;
}

Entry* find_for_read(Call& call, const Key& key, Access access) {
  Entry* entry = find_live(call, key, access);
  Stripe& stripe = call.keyspace().stripe_of(key.hash);
  (entry ? stripe.hits : stripe.misses)++;
  return entry;
}

bool check_type(Call& call, const Entry* entry, Type type) {
  if (!entry || entry->type() == type) return true;
  call.reply.error("WRONGTYPE Operation against a key holding the wrong kind of value");
  return false;
}

bool integer_argument(Call& call, std::string_view text, int64_t& value) {
  if (parse_integer(text, value)) return true;
  call.reply.error("ERR value is not an integer or out of range");
  return false;
}

void reply_syntax_error(Call& call) { call.reply.error("ERR syntax error"); }

void reply_out_of_memory(Call& call) {
  call.reply.error("OOM command not allowed when used memory > 'maxmemory'.");
}

void reply_wrong_arity(Call& call) {
  call.reply.errorf("ERR wrong number of arguments for '%s' command", call.command.name);
}

void reply_unknown_subcommand(Call& call) {
  std::string container = call.command.name;
  for (char& c : container) {
    if (c >= 'a' && c <= 'z') c = char(c - 32);
  }
  const std::string_view word = call.words[1].substr(0, 128);
  call.reply.errorf("ERR unknown subcommand '%.*s'. Try %s HELP.", int(word.size()), word.data(),
                    container.c_str());
}

void reply_help(Call& call, const char* const* lines) {
  int64_t count = 0;
  while (lines[count]) count++;
  call.reply.array(count);
  for (int64_t i = 0; i < count; i++) call.reply.simple(lines[i]);
}

}  // namespace ignix
