// Databases as a whole: how large they are, emptying and swapping them.
#include <algorithm>

#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"

namespace ignix {
namespace {

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

// The sum of what each stripe has when it is looked at: exact as far as one client can tell, and
// nobody is held up for it.
void run_dbsize(Call& call) {
  uint64_t keys = 0;
  for (uint32_t stripe = 0; stripe < call.keyspace().stripe_count(); stripe++) {
    StripeGuard guard(call.keyspace(), call.keyspace().stripe(stripe));
    keys += call.keyspace().key_count(call.db(), stripe);
  }
  call.reply.integer(int64_t(keys));
}

// An empty flush counts as one change: it is logged, and its reply waits for the log as any.
static void log_flush(Call& call, std::string_view command, uint64_t keys) {
  call.log_change(&command, 1, std::max<uint64_t>(1, keys));
}

void run_flushdb(Call& call) {
  if (!flush_option(call)) return;
  const uint64_t keys = call.keyspace().key_count(call.db());
  call.keyspace().flush(call.db());
  log_flush(call, "FLUSHDB", keys);
  call.reply.ok();
}

void run_flushall(Call& call) {
  if (!flush_option(call)) return;
  uint64_t keys = 0;
  for (int db = 0; db < call.keyspace().databases(); db++) {
    keys += call.keyspace().key_count(db);
    call.keyspace().flush(db);
  }
  log_flush(call, "FLUSHALL", keys);
  call.reply.ok();
}

void run_swapdb(Call& call) {
  int one, other;
  if (!int_argument(call, call.words[1], one, "ERR invalid first DB index") ||
      !int_argument(call, call.words[2], other, "ERR invalid second DB index") ||
      !check_database(call, one) || !check_database(call, other)) {
    return;
  }
  call.keyspace().swap(one, other, call.env.now_ms);
  if (one != other) call.log_change();
  call.reply.ok();
}

}  // namespace ignix
