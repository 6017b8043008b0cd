// WAIT and WAITAOF: the client waits until others have its changes, or for a time. There are no
// replicas, so for these it waits in vain. The loop sees to the wait's end (net/loop.cc).
#include "base/clock.h"
#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"
#include "server/server.h"

namespace ignix {
namespace {

// In milliseconds from now on; 0: for ever.
bool timeout_argument(Call& call, std::string_view text, int64_t& until_ms) {
  int64_t timeout_ms;
  if (!parse_integer(text, timeout_ms)) {
    call.reply.error("ERR timeout is not an integer or out of range");
    return false;
  }
  if (timeout_ms < 0) {
    call.reply.error("ERR timeout is negative");
    return false;
  }
  if (timeout_ms == 0 || __builtin_add_overflow(monotonic_ms(), timeout_ms, &until_ms)) {
    until_ms = Wait::kForEver;
  }
  return true;
}

bool parse_waitaof(Call& call, int64_t& local, int64_t& replicas, int64_t& until_ms) {
  if (!integer_argument(call, call.words[1], local)) return false;
  if (local < 0 || local > 1) {
    call.reply.error("ERR value is out of range, value must between 0 and 1");
    return false;
  }
  if (!parse_integer(call.words[2], replicas) || replicas < 0) {
    call.reply.error("ERR value is out of range, must be positive");
    return false;
  }
  return timeout_argument(call, call.words[3], until_ms);
}

void reply_wait(Reply& reply, bool) { reply.integer(0); }

void reply_waitaof(Reply& reply, bool on_disk) {
  reply.array(2);
  reply.integer(on_disk);
  reply.integer(0);
}

}  // namespace

void run_wait(Call& call) {
  int64_t replicas, until_ms;
  if (!integer_argument(call, call.words[1], replicas) ||
      !timeout_argument(call, call.words[2], until_ms)) {
    return;
  }
  if (replicas <= 0 || call.env.in_transaction) return reply_wait(call.reply, false);
  call.session.wait = {.until_ms = until_ms, .reply = reply_wait};
}

// What is waited for is fsynced soon, whatever appendfsync says.
void run_waitaof(Call& call) {
  int64_t local, replicas, until_ms;
  if (!parse_waitaof(call, local, replicas, until_ms)) return;
  if (local > 0 && !call.env.log) {
    return call.reply.error(
        "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
  }
  Aof& aof = call.env.server->aof;
  const bool on_disk = call.env.log && call.session.log_position <= aof.synced();
  if ((replicas == 0 && on_disk >= (local > 0)) || call.env.in_transaction) {
    return reply_waitaof(call.reply, on_disk);
  }
  if (call.env.log) aof.sync_soon(call.session.log_position);
  call.session.wait = {.until_ms = until_ms, .for_disk = replicas == 0, .reply = reply_waitaof};
}

}  // namespace ignix
