// Parts of strings: APPEND, SETRANGE, GETRANGE, STRLEN.
#include <algorithm>

#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"
#include "store/string.h"

namespace ignix {

bool check_string_length(Call& call, size_t length, size_t added) {
  const uint64_t limit = uint64_t(call.env.string_bytes_max);
  if (length <= limit && added <= limit - length) return true;
  call.reply.error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
  return false;
}

namespace {

size_t length_of(const Entry* entry) {
  StringScratch scratch;
  return entry ? string_value(*entry, scratch).size() : 0;
}

// False, and the error is replied, if there is no memory.
bool patch(Call& call, Entry* entry, size_t offset, std::string_view bytes) {
  if (patch_string(call.keyspace(), call.db(), call.key(0), entry, offset, bytes, call.env.clock)) {
    call.log_change();
    return true;
  }
  reply_out_of_memory(call);
  return false;
}

}  // namespace

void run_append(Call& call) {
  Entry* entry = find_live(call, call.key(0));
  if (!check_type(call, entry, Type::kString)) return;
  const size_t length = length_of(entry);
  const std::string_view tail = call.words[2];
  if (entry && !check_string_length(call, length, tail.size())) return;
  if (patch(call, entry, length, tail)) call.reply.integer(int64_t(length + tail.size()));
}

void run_setrange(Call& call) {
  int64_t offset;
  if (!integer_argument(call, call.words[2], offset)) return;
  if (offset < 0) return call.reply.error("ERR offset is out of range");
  Entry* entry = find_live(call, call.key(0));
  if (!check_type(call, entry, Type::kString)) return;
  const size_t length = length_of(entry);
  const std::string_view bytes = call.words[3];
  if (bytes.empty()) return call.reply.integer(int64_t(length));
  if (!check_string_length(call, size_t(offset), bytes.size())) return;
  if (!patch(call, entry, size_t(offset), bytes)) return;
  call.reply.integer(int64_t(std::max(length, size_t(offset) + bytes.size())));
}

// Also SUBSTR, its first name.
void run_getrange(Call& call) {
  int64_t start, end;
  if (!integer_argument(call, call.words[2], start)) return;
  if (!integer_argument(call, call.words[3], end)) return;
  const Entry* entry = find_for_read(call, call.key(0));
  if (!check_type(call, entry, Type::kString)) return;
  StringScratch scratch;
  const std::string_view value = entry ? string_value(*entry, scratch) : std::string_view();
  const int64_t length = int64_t(value.size());
  if (start < 0 && end < 0 && start > end) return call.reply.bulk({});
  if (start < 0) start = std::max<int64_t>(start + length, 0);
  if (end < 0) end = std::max<int64_t>(end + length, 0);
  end = std::min(end, length - 1);
  if (start > end) return call.reply.bulk({});
  call.reply.bulk(value.substr(size_t(start), size_t(end - start + 1)));
}

void run_strlen(Call& call) {
  const Entry* entry = find_for_read(call, call.key(0));
  if (check_type(call, entry, Type::kString)) call.reply.integer(int64_t(length_of(entry)));
}

}  // namespace ignix
