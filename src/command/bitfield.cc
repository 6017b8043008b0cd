// BITFIELD: integers of any width at any bit of a string.
#include <algorithm>
#include <cstring>

#include "base/array.h"
#include "base/bits.h"
#include "base/number.h"
#include "command/bits_access.h"
#include "command/handlers.h"

namespace ignix {
namespace {

enum class FieldAction { kGet, kSet, kIncrBy };
enum class Overflow { kWrap, kSaturate, kFail };

struct FieldOperation {
  FieldAction action;
  Overflow overflow;
  bool is_signed;
  unsigned width;
  uint64_t offset;
  int64_t argument;

  uint64_t end() const { return offset + width; }
};

// "i16", "u8".
bool parse_field_type(Call& call, std::string_view text, FieldOperation& operation) {
  int64_t width = 0;
  operation.is_signed = text.starts_with('i');
  const bool known = operation.is_signed || text.starts_with('u');
  if (known && parse_integer(text.substr(1), width) && width >= 1 &&
      width <= 63 + operation.is_signed) {
    operation.width = unsigned(width);
    return true;
  }
  call.reply.error(
      "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 "
      "is.");
  return false;
}

bool parse_overflow(Call& call, std::string_view text, Overflow& overflow) {
  static constexpr std::string_view kNames[] = {"wrap", "sat", "fail"};
  for (int i = 0; i < 3; i++) {
    if (!equal_ignoring_case(text, kNames[i])) continue;
    overflow = Overflow(i);
    return true;
  }
  call.reply.error("ERR Invalid OVERFLOW type specified");
  return false;
}

bool parse_operations(Call& call, Array<FieldOperation>& operations) {
  Overflow overflow = Overflow::kWrap;
  for (size_t i = 2; i < call.word_count;) {
    const std::string_view word = call.words[i];
    const size_t left = call.word_count - i - 1;
    FieldOperation operation = {};
    if (equal_ignoring_case(word, "get") && left >= 2) {
      operation.action = FieldAction::kGet;
    } else if (equal_ignoring_case(word, "set") && left >= 3) {
      operation.action = FieldAction::kSet;
    } else if (equal_ignoring_case(word, "incrby") && left >= 3) {
      operation.action = FieldAction::kIncrBy;
    } else if (equal_ignoring_case(word, "overflow") && left >= 1) {
      if (!parse_overflow(call, call.words[i + 1], overflow)) return false;
      i += 2;
      continue;
    } else {
      reply_syntax_error(call);
      return false;
    }
    const bool writes = operation.action != FieldAction::kGet;
    operation.overflow = overflow;
    if (!parse_field_type(call, call.words[i + 1], operation) ||
        !bit_offset_argument(call, call.words[i + 2], operation.width, operation.offset) ||
        (writes && !integer_argument(call, call.words[i + 3], operation.argument))) {
      return false;
    }
    if (!operations.push(operation)) {
      reply_out_of_memory(call);
      return false;
    }
    i += 3 + writes;
  }
  return true;
}

int64_t sign_extended(uint64_t bits, unsigned width) {
  return int64_t(bits << (64 - width)) >> (64 - width);
}

// What the field becomes, as an exact number first. False if it does not fit and shall not be
// changed then.
bool new_value(const FieldOperation& operation, int64_t old, int64_t& value) {
  using Wide = __int128;
  const unsigned width = operation.width;
  const Wide min = operation.is_signed ? -(Wide(1) << (width - 1)) : 0;
  const Wide max = operation.is_signed ? (Wide(1) << (width - 1)) - 1 : (Wide(1) << width) - 1;
  Wide exact = Wide(operation.argument);
  if (operation.action == FieldAction::kIncrBy) {
    exact += old;
  } else if (!operation.is_signed) {
    exact = Wide(uint64_t(operation.argument));  // a negative one is a large one
  }
  if (exact < min || exact > max) {
    if (operation.overflow == Overflow::kFail) return false;
    if (operation.overflow == Overflow::kSaturate) {
      // Redis takes a SET of what is that far below for one of something above.
      const bool far_below = operation.action == FieldAction::kSet && operation.is_signed &&
                             width < 64 && max - exact > INT64_MAX;
      exact = exact < min && !far_below ? min : max;
    } else {
      const uint64_t wrapped = uint64_t(exact) << (64 - width) >> (64 - width);
      exact = operation.is_signed ? Wide(sign_extended(wrapped, width)) : Wide(wrapped);
    }
  }
  value = int64_t(exact);
  return true;
}

int64_t field_value(std::string_view bytes, const FieldOperation& operation) {
  const uint64_t bits = get_bits(bytes, operation.offset, operation.width);
  return operation.is_signed ? sign_extended(bits, operation.width) : int64_t(bits);
}

// Writes bytes over the string of the command's key, which may not exist yet. False if there is no
// memory.
bool patch(Call& call, size_t offset, std::string_view bytes) {
  const Key key = call.key(0);
  Entry* entry = call.keyspace().find(call.db(), key);
  return patch_string(call.keyspace(), call.db(), key, entry, offset, bytes, call.env.clock);
}

// The string has all bits that the operations will write.
bool grow(Call& call, const Array<FieldOperation>& operations, size_t length, bool& grown) {
  uint64_t needed = 0;
  for (const FieldOperation& operation : operations) {
    if (operation.action != FieldAction::kGet) needed = std::max(needed, operation.end());
  }
  const size_t bytes = size_t((needed + 7) / 8);
  grown = bytes > length;
  return !grown || patch(call, bytes - 1, {"", 1});
}

// False if there is no memory.
bool write_field(Call& call, std::string_view bytes, const FieldOperation& operation,
                 int64_t value) {
  char window[9];
  const size_t first = size_t(operation.offset / 8);
  const size_t count = size_t((operation.end() + 7) / 8) - first;
  memcpy(window, bytes.data() + first, count);
  set_bits(window, operation.offset % 8, operation.width, uint64_t(value));
  return patch(call, first, {window, count});
}

// On the string's bytes. Replies. False if there is no memory for what it changes.
bool run_operation(Call& call, std::string_view bytes, const FieldOperation& operation,
                   bool grown, uint64_t& changes) {
  const int64_t old = field_value(bytes, operation);
  int64_t value;
  if (operation.action == FieldAction::kGet) {
    call.reply.integer(old);
    return true;
  }
  if (!new_value(operation, old, value)) {
    call.reply.null();
    return true;
  }
  if (value != old && !write_field(call, bytes, operation, value)) return false;
  changes += value != old || grown;
  call.reply.integer(operation.action == FieldAction::kSet ? old : value);
  return true;
}

// Of an operation that found no memory, and those behind it, nothing has come: the log has what
// came of those before it. Read again, the command would do all of them.
void log_partial_change(Call& call) {
  StringScratch scratch;
  const Key key = call.key(0);
  const std::string_view bytes = bytes_of(call.keyspace().find(call.db(), key), scratch);
  const std::string_view change[] = {"SET", key.text, bytes, "KEEPTTL"};
  call.log_change(change, 4);
}

void run_operations(Call& call, bool read_only) {
  Array<FieldOperation> operations;
  if (!parse_operations(call, operations)) return;
  bool writes = false;
  for (const FieldOperation& each : operations) writes |= each.action != FieldAction::kGet;
  if (writes && read_only) {
    return call.reply.error("ERR BITFIELD_RO only supports the GET subcommand");
  }
  const Entry* entry = writes ? find_live(call, call.key(0)) : find_for_read(call, call.key(0));
  if (!check_type(call, entry, Type::kString)) return;
  StringScratch scratch;
  bool grown = false;
  uint64_t changes = 0;
  if (!grow(call, operations, bytes_of(entry, scratch).size(), grown)) {
    return reply_out_of_memory(call);
  }
  const size_t mark = call.reply.mark();
  call.reply.array(int64_t(operations.size()));
  for (const FieldOperation& each : operations) {
    if (writes) entry = call.keyspace().find(call.db(), call.key(0));  // what was written may move
    if (run_operation(call, bytes_of(entry, scratch), each, grown, changes)) continue;
    if (grown || changes) log_partial_change(call);
    call.reply.rollback(mark);
    return reply_out_of_memory(call);
  }
  if (grown || changes) call.log_change(std::max<uint64_t>(1, changes));
}

}  // namespace

void run_bitfield(Call& call) { run_operations(call, false); }
void run_bitfield_ro(Call& call) { run_operations(call, true); }

// What is no operation counts as one that writes.
uint32_t bitfield_key_flags(const std::string_view* words, size_t count) {
  for (size_t i = 2; i < count;) {
    const size_t left = count - i - 1;
    if (equal_ignoring_case(words[i], "get") && left >= 2) {
      i += 3;
    } else if (equal_ignoring_case(words[i], "overflow") && left >= 1) {
      i += 2;
    } else {
      return kKeyReadWrite | kKeyAccess | kKeyUpdate;
    }
  }
  return kKeyReadOnly | kKeyAccess;
}

}  // namespace ignix
