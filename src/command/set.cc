// SET and its kin. What some of them take: a condition, an expiry, the old value as the reply.
#include "base/number.h"
#include "command/handlers.h"
#include "command/string_access.h"

namespace ignix {
namespace {

enum SetFlag : unsigned {
  kNx = 1 << 0,
  kXx = 1 << 1,
  kGet = 1 << 2,
  kKeepTtl = 1 << 3,
  kEx = 1 << 4,
  kPx = 1 << 5,
  kExat = 1 << 6,
  kPxat = 1 << 7,
  kPersist = 1 << 8,
  kAnyExpiry = kEx | kPx | kExat | kPxat,
};

struct SetOptions {
  unsigned flags = 0;
  std::string_view expiry;  // the number, if one of kAnyExpiry is set
};

struct SetOption {
  std::string_view word;
  unsigned flag, excluded;
};
constexpr SetOption kSetOptions[] = {
    {"nx", kNx, kXx},
    {"xx", kXx, kNx},
    {"get", kGet, 0},
    {"keepttl", kKeepTtl, kAnyExpiry},
    {"ex", kEx, kKeepTtl | (kAnyExpiry & ~kEx)},
    {"px", kPx, kKeepTtl | (kAnyExpiry & ~kPx)},
    {"exat", kExat, kKeepTtl | (kAnyExpiry & ~kExat)},
    {"pxat", kPxat, kKeepTtl | (kAnyExpiry & ~kPxat)},
    {},
};
constexpr SetOption kGetexOptions[] = {
    {"persist", kPersist, kAnyExpiry},
    {"ex", kEx, kPersist | (kAnyExpiry & ~kEx)},
    {"px", kPx, kPersist | (kAnyExpiry & ~kPx)},
    {"exat", kExat, kPersist | (kAnyExpiry & ~kExat)},
    {"pxat", kPxat, kPersist | (kAnyExpiry & ~kPxat)},
    {},
};

// Options in any order, from word `first` on. One that contradicts an earlier one is a syntax
// error; the same expiry option again overrides.
bool parse_options(Call& call, const SetOption* known, size_t first, SetOptions& options) {
  for (size_t i = first; i < call.word_count; i++) {
    unsigned flag = 0;
    for (const SetOption* option = known; option->flag; option++) {
      if (!(options.flags & option->excluded) && equal_ignoring_case(call.words[i], option->word)) {
        flag = option->flag;
      }
    }
    const bool takes_number = flag & kAnyExpiry;
    if (!flag || (takes_number && i + 1 == call.word_count)) {
      reply_syntax_error(call);
      return false;
    }
    options.flags |= flag;
    if (takes_number) options.expiry = call.words[++i];
  }
  return true;
}

// The expiry as milliseconds since 1970; kNoExpiry without an option. False, and the error is
// replied, if it is no number or not within 63 bits.
bool parse_expiry(Call& call, const SetOptions& options, int64_t& expiry_ms) {
  expiry_ms = kNoExpiry;
  if (!(options.flags & kAnyExpiry)) return true;
  int64_t value;
  if (!integer_argument(call, options.expiry, value)) return false;
  bool valid = value > 0;
  if (options.flags & (kEx | kExat)) valid = valid && !__builtin_mul_overflow(value, 1000, &value);
  if (options.flags & (kEx | kPx)) {
    valid = valid && !__builtin_add_overflow(value, call.env.now_ms, &value);
  }
  if (!valid) call.reply.errorf("ERR invalid expire time in '%s' command", call.command.name);
  expiry_ms = value;
  return valid;
}

}  // namespace

void log_set(Call& call, const Key& key, std::string_view value, int64_t expiry_ms) {
  if (!call.env.log) return void(call.env.changes++);
  char number[kIntegerBytesMax];
  std::string_view change[] = {"SET", key.text, value, "PXAT", {}};
  if (expiry_ms == kNoExpiry) return call.log_change(change, 3);
  change[4] = {number, format_integer(expiry_ms, number)};
  call.log_change(change, 5);
}

bool store_string(Call& call, const Key& key, std::string_view value, int64_t expiry_ms) {
  StringScratch scratch;
  StoredValue stored;
  if (Block* block = call.session.received; block && value.data() == block->data) {
    hold_block(block);
    call.keyspace().blocks().adopt(block);
    return call.keyspace().put(call.db(), key, block_value(block, scratch), expiry_ms,
                               call.env.clock);
  }
  return encode_string(value, call.keyspace().blocks(), scratch, stored) &&
         call.keyspace().put(call.db(), key, stored, expiry_ms, call.env.clock);
}

void run_set(Call& call) {
  SetOptions options;
  int64_t expiry_ms;
  if (call.word_count == 3) {
    expiry_ms = kNoExpiry;
  } else if (!parse_options(call, kSetOptions, 3, options) ||
             !parse_expiry(call, options, expiry_ms)) {
    return;
  }
  const Key key = call.key(0);
  const std::string_view value = call.words[2];
  const size_t mark = call.reply.mark();
  if (options.flags) {
    const bool get = options.flags & kGet;
    const Entry* old = get ? find_for_read(call, key) : find_live(call, key);
    if (get && !check_type(call, old, Type::kString)) return;
    if (get) reply_value(call, old);
    if ((old && (options.flags & kNx)) || (!old && (options.flags & kXx))) {
      if (!get) call.reply.null();
      return;
    }
    if (old && (options.flags & kKeepTtl)) expiry_ms = old->expiry_ms();
  } else if (call.env.evict.usage.counts()) {
    find_live(call, key);  // one more use
  }
  if (!store_string(call, key, value, expiry_ms)) {
    call.reply.rollback(mark);
    return reply_out_of_memory(call);
  }
  if (call.word_count == 3) {
    call.log_change();  // is its own effect, and mostly stands as the log wants it
  } else {
    log_set(call, key, value, expiry_ms);
  }
  if (!(options.flags & kGet)) call.reply.ok();
}

namespace {

// SETEX and PSETEX: the unit is one of SetFlag.
void set_with_expiry(Call& call, unsigned unit) {
  int64_t expiry_ms;
  if (!parse_expiry(call, {unit, call.words[2]}, expiry_ms)) return;
  const Key key = call.key(0);
  find_live(call, key);  // an expired one goes by a record of its own
  if (!store_string(call, key, call.words[3], expiry_ms)) return reply_out_of_memory(call);
  log_set(call, key, call.words[3], expiry_ms);
  call.reply.ok();
}

}  // namespace

void run_setex(Call& call) { set_with_expiry(call, kEx); }
void run_psetex(Call& call) { set_with_expiry(call, kPx); }

void run_setnx(Call& call) {
  const Key key = call.key(0);
  if (find_live(call, key)) return call.reply.integer(0);
  if (!store_string(call, key, call.words[2], kNoExpiry)) return reply_out_of_memory(call);
  log_set(call, key, call.words[2], kNoExpiry);
  call.reply.integer(1);
}

void run_getset(Call& call) {
  const Key key = call.key(0);
  const Entry* old = find_for_read(call, key);
  if (!check_type(call, old, Type::kString)) return;
  const size_t mark = call.reply.mark();
  reply_value(call, old);
  if (!store_string(call, key, call.words[2], kNoExpiry)) {
    call.reply.rollback(mark);
    return reply_out_of_memory(call);
  }
  log_set(call, key, call.words[2], kNoExpiry);
}

void run_getex(Call& call) {
  SetOptions options;
  int64_t expiry_ms;
  if (!parse_options(call, kGetexOptions, 2, options)) return;
  const Key key = call.key(0);
  Entry* entry = find_for_read(call, key);
  if (!entry) return call.reply.null();
  if (!check_type(call, entry, Type::kString) || !parse_expiry(call, options, expiry_ms)) return;
  const size_t mark = call.reply.mark();
  reply_value(call, entry);
  if (expiry_ms != kNoExpiry && expiry_ms <= call.env.now_ms) return delete_key(call, key);
  const bool persists = (options.flags & kPersist) && entry->has_expiry();
  if (expiry_ms == kNoExpiry && !persists) return;
  if (!call.keyspace().set_expiry(call.db(), key, entry, expiry_ms)) {
    call.reply.rollback(mark);
    return reply_out_of_memory(call);
  }
  char number[kIntegerBytesMax];
  const std::string_view at = {number, format_integer(expiry_ms, number)};
  const std::string_view change[] = {persists ? "PERSIST" : "PEXPIREAT", key.text, at};
  call.log_change(change, persists ? 2 : 3);
}

namespace {

// False, and it has been replied, if there was no memory for all.
bool set_all(Call& call) {
  const bool counts = call.env.evict.usage.counts();
  for (size_t i = 0; i < (call.word_count - 1) / 2; i++) {
    if (counts) find_live(call, call.key(i));  // one more use
    if (!store_string(call, call.key(i), call.words[2 * i + 2], kNoExpiry)) {
      // What was set stays set, and the log must say so.
      if (i) call.log_change(call.words, 2 * i + 1, i);
      reply_out_of_memory(call);
      return false;
    }
  }
  call.log_change((call.word_count - 1) / 2);
  return true;
}

}  // namespace

void run_mset(Call& call) {
  if (call.word_count % 2 == 0) return reply_wrong_arity(call);
  if (set_all(call)) call.reply.ok();
}

void run_msetnx(Call& call) {
  if (call.word_count % 2 == 0) return reply_wrong_arity(call);
  for (size_t i = 0; i < (call.word_count - 1) / 2; i++) {
    if (find_live(call, call.key(i))) return call.reply.integer(0);
  }
  if (set_all(call)) call.reply.integer(1);
}

uint32_t set_key_flags(const std::string_view* words, size_t count) {
  for (size_t i = 3; i < count; i++) {
    if (equal_ignoring_case(words[i], "get")) return kKeyReadWrite | kKeyAccess | kKeyUpdate;
  }
  return kKeyOverwrite | kKeyUpdate;
}

}  // namespace ignix
