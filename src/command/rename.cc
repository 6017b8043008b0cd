// Keys that get another name, or come into another database: RENAME, RENAMENX, COPY, MOVE. They
// keep their expiry. A key is in the same stripe in every database.
#include <cstring>

#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"

namespace ignix {
namespace {

// Makes the value of `entry` that of another key, in the place of what is there. A block is shared.
// False if there is no memory.
bool put_value_of(Call& call, const Entry& entry, int db, const Key& to, uint32_t clock) {
  // By way of a copy: the entry is not to be looked at while its stripe is changed.
  char bytes[kEntryBytesMax];
  const std::string_view stored = entry.stored();
  memcpy(bytes, stored.data(), stored.size());
  const StoredValue value = {entry.type(), entry.encoding(), {bytes, stored.size()}};
  if (entry.encoding() == Encoding::kBlock) hold_block(entry.block());
  return call.keyspace().put(db, to, value, entry.expiry_ms(), clock);
}

// What is at `from` is at `to` afterwards. False, and the error is replied, if there is no memory.
bool move_entry(Call& call, const Entry& entry, const Key& from, int to_db, const Key& to) {
  if (!put_value_of(call, entry, to_db, to, entry.clock())) {
    reply_out_of_memory(call);
    return false;
  }
  call.keyspace().erase(call.db(), from);
  call.log_change();
  return true;
}

struct CopyOptions {
  int db;
  bool replace = false;
};

bool parse_copy_options(Call& call, CopyOptions& options) {
  for (size_t i = 3; i < call.word_count; i++) {
    if (equal_ignoring_case(call.words[i], "replace")) {
      options.replace = true;
    } else if (equal_ignoring_case(call.words[i], "db") && i + 1 < call.word_count) {
      if (!database_argument(call, call.words[++i], options.db)) return false;
    } else {
      reply_syntax_error(call);
      return false;
    }
  }
  return true;
}

void reply_same_object(Call& call) {
  call.reply.error("ERR source and destination objects are the same");
}

}  // namespace

void run_rename(Call& call) {
  const Key from = call.key(0), to = call.key(1);
  const Entry* entry = find_live(call, from);
  if (!entry) return call.reply.error("ERR no such key");
  if (from.text == to.text || move_entry(call, *entry, from, call.db(), to)) call.reply.ok();
}

void run_renamenx(Call& call) {
  const Key from = call.key(0), to = call.key(1);
  const bool taken = find_live(call, to);  // first: it may delete
  const Entry* entry = find_live(call, from);
  if (!entry) return call.reply.error("ERR no such key");
  if (taken) return call.reply.integer(0);
  if (move_entry(call, *entry, from, call.db(), to)) call.reply.integer(1);
}

void run_copy(Call& call) {
  CopyOptions options = {call.db()};
  if (!parse_copy_options(call, options)) return;
  const Key from = call.key(0), to = call.key(1);
  if (options.db == call.db() && from.text == to.text) return reply_same_object(call);
  const bool taken = find_live_in(call, options.db, to);
  Entry* entry = find_for_read(call, from);
  if (!entry || (taken && !options.replace)) return call.reply.integer(0);
  call.keyspace().save_as_source(call.db(), entry);
  if (!put_value_of(call, *entry, options.db, to, call.env.clock)) return reply_out_of_memory(call);
  call.log_change();
  call.reply.integer(1);
}

void run_move(Call& call) {
  int db;
  if (!database_argument(call, call.words[2], db)) return;
  if (db == call.db()) return reply_same_object(call);
  const Key key = call.key(0);
  const bool taken = find_live_in(call, db, key);
  const Entry* entry = find_live(call, key);
  if (!entry || taken) return call.reply.integer(0);
  if (move_entry(call, *entry, key, db, key)) call.reply.integer(1);
}

}  // namespace ignix
