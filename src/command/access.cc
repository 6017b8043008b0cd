#include "command/access.h"

#include <algorithm>
#include <string>

#include "base/number.h"
#include "command/gone_logger.h"

namespace ignix {

Entry* find_live(Call& call, const Key& key, Access access) {
  return find_live_in(call, call.db(), key, access);
}

Entry* find_live_in(Call& call, int db, const Key& key, Access access) {
  Entry* entry = call.keyspace().find(db, key);
  if (!entry) return nullptr;
  if (entry->expired(call.env.now_ms)) {
    delete_expired(call, db, key);
    return nullptr;
  }
  const Usage& usage = call.env.evict.usage;
  if (access == Access::kTouch && !usage.counts()) {
    entry->touch(call.env.clock & kClockMask);
  } else if (access != Access::kLook) {
    usage.touch(*entry, call.env.now_ms, call.env.clock, call.env.random);
  }
  return entry;
}

bool delete_expired(Call& call, int db, const Key& key) {
  LogRing* const log = call.env.log;
  // A command that only reads never depends on the log: without room there, the entry stays for
  // somebody else to delete.
  const bool reads = call.command.flags & kReadonly;
  if (reads && log && (log->failure() || log->room() < kLogSlackBytes)) return false;
  // Nobody waits for this record: losing it loses nothing.
  GoneLogger(call.env).gone(db, key.text);
  call.keyspace().erase(db, key);
  call.keyspace().stripe_of(key.hash).expired++;
  return true;
}

Entry* find_for_read(Call& call, const Key& key, Access access) {
  Entry* entry = find_live(call, key, access);
  Stripe& stripe = call.keyspace().stripe_of(key.hash);
  (entry ? stripe.hits : stripe.misses)++;
  return entry;
}

void delete_key(Call& call, const Key& key) {
  const std::string_view change[] = {"DEL", key.text};
  if (call.keyspace().erase(call.db(), key)) call.log_change(change, 2);
}

const char* type_name(Type type) {
  static constexpr const char* kNames[] = {"string", "list", "set", "zset", "hash", "stream"};
  return kNames[int(type)];
}

bool check_type(Call& call, const Entry* entry, Type type) {
  if (!entry || entry->type() == type) return true;
  reply_wrong_type(call);
  return false;
}

bool integer_argument(Call& call, std::string_view text, int64_t& value) {
  if (parse_integer(text, value)) return true;
  call.reply.error("ERR value is not an integer or out of range");
  return false;
}

bool int_argument(Call& call, std::string_view text, int& value, const char* error) {
  int64_t number;
  if (!parse_integer(text, number)) {
    call.reply.error(error ? error : "ERR value is not an integer or out of range");
    return false;
  }
  if (number < INT32_MIN || number > INT32_MAX) {
    call.reply.error(
        error ? error : "ERR value is out of range, value must between -2147483648 and 2147483647");
    return false;
  }
  value = int(number);
  return true;
}

bool database_argument(Call& call, std::string_view text, int& db) {
  return int_argument(call, text, db) && check_database(call, db);
}

bool check_database(Call& call, int db) {
  if (db >= 0 && db < call.keyspace().databases()) return true;
  call.reply.error("ERR DB index is out of range");
  return false;
}

void reply_syntax_error(Call& call) { call.reply.error("ERR syntax error"); }

void reply_wrong_type(Call& call) {
  call.reply.error("WRONGTYPE Operation against a key holding the wrong kind of value");
}

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
