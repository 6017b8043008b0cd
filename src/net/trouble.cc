// When the log cannot be written, or fsynced, for longer than a moment: the replies that wait for
// it are not sent, for they would promise what is not kept, and a client that gets none would wait
// for as long as the disk is full. It is told instead, once for each change, and served on.
#include <assert.h>
#include <string.h>

#include <algorithm>

#include "net/loop.h"

namespace ignix {

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

// False if there is no memory: then the connection must end.
bool Loop::tell_of_trouble(Connection& c) {
  const int error = env_.log->failure();
  if (!error) return true;  // it is over: they are waited for once more
  const std::string text = std::string("-MISCONF Errors writing to the AOF file: ") +
                           strerror(error) +
                           "; the command was run, but may not be in the file yet\r\n";
  Output old;
  old.swap(c.output);
  size_t taken = 0;  // of the old output
  const bool good = c.change_replies.for_each([&](const ChangeReplies::Run& run) {
    assert(run.from >= taken && run.until - taken <= old.size());
    if (!old.move_front(run.from - taken, c.output)) return false;
    old.consume(run.until - run.from);
    taken = run.until;
    batch_.count_error_replies(run.count());
    for (size_t i = run.count(); i > 0; i--) {
      if (!c.output.append(text)) return false;
    }
    return true;
  });
  c.change_replies.clear();
  c.told_position = c.log_position;
  return good && old.move_front(old.size(), c.output);
}

}  // namespace ignix
