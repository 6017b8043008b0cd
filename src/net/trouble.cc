// When the log cannot be written, or fsynced, for longer than a moment: the replies that wait for
// it are not sent, for they would promise what is not kept, and a client that gets none would wait
// for as long as the disk is full. It is told instead, once for each reply, and served on.
#include <string.h>

#include <algorithm>

#include "net/loop.h"
#include "resp/reply.h"
#include "resp/whole_reply.h"

namespace ignix {
namespace {

// What says something else than that a command has done its work, and stays: errors, what the
// client did not ask for, and what EXEC is still to do.
bool is_kept(std::string_view reply) {
  return reply[0] == '-' || reply[0] == '>' || reply == "+QUEUED\r\n";
}

}  // namespace

// Until end_holds() has something to do, while replies are held.
int Loop::trouble_timeout_ms() const {
  return int(std::max<int64_t>(1, kHeldTroubleMs - env_.log->failing_ms()));
}

void Loop::end_holds() {
  if (held_.empty() || env_.log->failing_ms() < kHeldTroubleMs) return;
  std::vector<Connection*> held;
  held.swap(held_);
  for (Connection* c : held) {
    c->held = false;
    if (!may_answer(*c) && !tell_of_trouble(*c)) c->broken = true;
    join_turn(*c);
  }
}

// False if there is no memory, or the replies hold values that are not copied: then the connection
// must end.
bool Loop::tell_of_trouble(Connection& c) {
  if (!c.output.is_plain()) return false;
  Buffer replies;
  const size_t bytes = c.output.size() - c.settled_bytes;
  if (!replies.append({c.output.data() + c.settled_bytes, bytes})) return false;
  c.output.truncate(c.settled_bytes);
  Reply out(c.output, c.protocol.load(std::memory_order_relaxed));
  const char* const what = strerror(env_.log->failure());
  while (!replies.empty()) {
    const std::string_view reply = whole_reply({replies.data(), replies.size()});
    if (is_kept(reply)) {
      out.raw(reply);
    } else {
      out.errorf(
          "MISCONF Errors writing to the AOF file: %s; the command was run, but is not in the file "
          "yet",
          what);
    }
    replies.consume(reply.size());
  }
  c.told_position = c.log_position;
  return !out.failed();
}

}  // namespace ignix
