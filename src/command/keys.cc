// Keys of any type: DEL, EXISTS, RENAME, TYPE, and the databases as a whole.
#include <string>

#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"

namespace ignix {
namespace {

const char* type_name(Type type) {
  static constexpr const char* kNames[] = {"string", "list", "set", "zset", "hash", "stream"};
  return kNames[int(type)];
}

// FLUSHALL and FLUSHDB take ASYNC or SYNC. With both the keys are gone when the reply is sent, and
// the memory of many follows by and by.
bool flush_option(Call& call) {
  if (call.word_count == 1) return true;
  if (call.word_count == 2 &&
      (equal_ignoring_case(call.words[1], "async") || equal_ignoring_case(call.words[1], "sync"))) {
    return true;
  }
  reply_syntax_error(call);
  return false;
}

}  // namespace

void run_del(Call& call) {
  int64_t deleted = 0;
  for (size_t i = 0; i + 1 < call.word_count; i++) {
    const Key key = call.key(i);
    if (find_live(call, key)) deleted += call.keyspace().erase(call.db(), key);
  }
  if (deleted) call.log_change();
  call.reply.integer(deleted);
}

void run_exists(Call& call) {
  int64_t found = 0;
  for (size_t i = 0; i + 1 < call.word_count; i++)
    found += find_for_read(call, call.key(i), Access::kLook) != nullptr;
  call.reply.integer(found);
}

void run_type(Call& call) {
  const Entry* entry = find_for_read(call, call.key(0), Access::kLook);
  call.reply.simple(entry ? type_name(entry->type()) : "none");
}

void run_rename(Call& call) {
  const Key from = call.key(0), to = call.key(1);
  Entry* entry = find_live(call, from);
  if (!entry) return call.reply.error("ERR no such key");
  if (from.text == to.text) return call.reply.ok();
  // The entry may move while the new one is made, so the value goes by way of a copy; a block goes
  // by reference.
  const std::string copy(entry->stored());
  const StoredValue value = {entry->type(), entry->encoding(), copy};
  if (entry->encoding() == Encoding::kBlock) entry->block()->references++;
  if (!call.keyspace().put(call.db(), to, value, entry->expiry_ms(), call.env.clock)) {
    return reply_out_of_memory(call);
  }
  call.keyspace().erase(call.db(), from);
  call.log_change();
  call.reply.ok();
}

void run_dbsize(Call& call) { call.reply.integer(int64_t(call.keyspace().key_count(call.db()))); }

void run_flushdb(Call& call) {
  if (!flush_option(call)) return;
  call.keyspace().flush(call.db());
  const std::string_view change[] = {"FLUSHDB"};
  call.log_change(change, 1);
  call.reply.ok();
}

void run_flushall(Call& call) {
  if (!flush_option(call)) return;
  for (int db = 0; db < call.keyspace().databases(); db++) call.keyspace().flush(db);
  const std::string_view change[] = {"FLUSHALL"};
  call.log_change(change, 1);
  call.reply.ok();
}

}  // namespace ignix
