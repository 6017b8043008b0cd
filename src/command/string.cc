// GET and its kin: strings as a whole are read. What sets them: set.cc.
#include "command/handlers.h"
#include "command/string_access.h"

namespace ignix {

static_assert(kShareBytes > kEntryBytesMax);  // what is shared is in a block

void reply_value(Call& call, const Entry* entry) {
  StringScratch scratch;
  if (!entry) return call.reply.null();
  const std::string_view value = string_value(*entry, scratch);
  if (value.size() < kShareBytes) return call.reply.bulk(value);
  Block* const block = entry->block();
  call.reply.shared(share_block(block, block->bulk(), block->worth_lending()));
}

void run_get(Call& call) {
  const Entry* entry = find_for_read(call, call.key(0));
  if (check_type(call, entry, Type::kString)) reply_value(call, entry);
}

void run_getdel(Call& call) {
  const Key key = call.key(0);
  const Entry* entry = find_for_read(call, key);
  if (!check_type(call, entry, Type::kString)) return;
  reply_value(call, entry);
  if (entry) delete_key(call, key);
}

void run_mget(Call& call) {
  const size_t keys = call.word_count - 1;
  call.reply.array(int64_t(keys));
  for (size_t i = 0; i < keys; i++) {
    const Entry* entry = find_for_read(call, call.key(i));
    reply_value(call, entry && entry->type() == Type::kString ? entry : nullptr);
  }
}

}  // namespace ignix
