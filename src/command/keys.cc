// Keys of any type: whether they are there, what they are, and that they go.
#include "command/access.h"
#include "command/handlers.h"

namespace ignix {
namespace {

int64_t count_found(Call& call, Access access) {
  int64_t found = 0;
  for (size_t i = 0; i + 1 < call.word_count; i++) {
    found += find_for_read(call, call.key(i), access) != nullptr;
  }
  return found;
}

}  // namespace

// UNLINK is the same: the memory of what is large comes back by and by in any case.
void run_del(Call& call) {
  int64_t deleted = 0;
  for (size_t i = 0; i + 1 < call.word_count; i++) {
    const Key key = call.key(i);
    if (find_live(call, key)) deleted += call.keyspace().erase(call.db(), key);
  }
  if (deleted) call.log_change(uint64_t(deleted));
  call.reply.integer(deleted);
}

void run_exists(Call& call) { call.reply.integer(count_found(call, Access::kLook)); }
void run_touch(Call& call) { call.reply.integer(count_found(call, Access::kTouch)); }

void run_type(Call& call) {
  const Entry* entry = find_for_read(call, call.key(0), Access::kLook);
  call.reply.simple(entry ? type_name(entry->type()) : "none");
}

}  // namespace ignix
