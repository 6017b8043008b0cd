// When keys end: EXPIRE and its kin, TTL and its kin, PERSIST.
//
// A client may give a time in seconds or milliseconds, from now on or since 1970. Entries and the
// log have milliseconds since 1970.
#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"

namespace ignix {
namespace {

enum ExpireCondition : unsigned {
  kNx = 1 << 0,  // only where there is no expiry
  kXx = 1 << 1,  // only where there is one
  kGt = 1 << 2,  // only a later one; no expiry is the latest
  kLt = 1 << 3,  // only an earlier one
};

bool parse_conditions(Call& call, unsigned& conditions) {
  static constexpr struct {
    std::string_view word;
    unsigned condition;
  } kConditions[] = {{"nx", kNx}, {"xx", kXx}, {"gt", kGt}, {"lt", kLt}};
  conditions = 0;
  for (size_t i = 3; i < call.word_count; i++) {
    const std::string_view word = call.words[i];
    unsigned found = 0;
    for (const auto& each : kConditions) {
      if (equal_ignoring_case(word, each.word)) found = each.condition;
    }
    if (!found) {
      call.reply.errorf("ERR Unsupported option %.*s", int(word.size()), word.data());
      return false;
    }
    conditions |= found;
  }
  if ((conditions & kNx) && (conditions & ~kNx)) {
    call.reply.error("ERR NX and XX, GT or LT options at the same time are not compatible");
  } else if ((conditions & kGt) && (conditions & kLt)) {
    call.reply.error("ERR GT and LT options at the same time are not compatible");
  } else {
    return true;
  }
  return false;
}

// Negative times are times, and past; what does not fit 63 bits is none.
bool parse_time(Call& call, int64_t unit_ms, int64_t since_ms, int64_t& at_ms) {
  if (!integer_argument(call, call.words[2], at_ms)) return false;
  if (!__builtin_mul_overflow(at_ms, unit_ms, &at_ms) &&
      !__builtin_add_overflow(at_ms, since_ms, &at_ms)) {
    return true;
  }
  call.reply.errorf("ERR invalid expire time in '%s' command", call.command.name);
  return false;
}

bool conditions_hold(unsigned conditions, int64_t old_ms, int64_t at_ms) {
  const bool has_one = old_ms != kNoExpiry;
  if ((conditions & kNx) && has_one) return false;
  if ((conditions & kXx) && !has_one) return false;
  if ((conditions & kGt) && (!has_one || at_ms <= old_ms)) return false;
  if ((conditions & kLt) && has_one && at_ms >= old_ms) return false;
  return true;
}

void log_expiry(Call& call, const Key& key, int64_t at_ms) {
  if (!call.env.log) return void(call.env.changes++);
  char number[kIntegerBytesMax];
  const std::string_view change[] = {
      "PEXPIREAT", key.text, {number, format_integer(at_ms, number)}};
  call.log_change(change, 3);
}

void expire(Call& call, int64_t unit_ms, int64_t since_ms) {
  unsigned conditions;
  int64_t at_ms;
  if (!parse_conditions(call, conditions) || !parse_time(call, unit_ms, since_ms, at_ms)) return;
  const Key key = call.key(0);
  Entry* entry = find_live(call, key);
  if (!entry || !conditions_hold(conditions, entry->expiry_ms(), at_ms)) {
    return call.reply.integer(0);
  }
  if (at_ms <= call.env.now_ms) {
    delete_key(call, key);
  } else if (call.keyspace().set_expiry(call.db(), key, entry, at_ms)) {
    log_expiry(call, key, at_ms);
  } else {
    return reply_out_of_memory(call);
  }
  call.reply.integer(1);
}

// -2: there is no such key. -1: it has no expiry.
void reply_time(Call& call, int64_t unit_ms, int64_t since_ms) {
  const Entry* entry = find_for_read(call, call.key(0), Access::kLook);
  if (!entry) return call.reply.integer(-2);
  if (!entry->has_expiry()) return call.reply.integer(-1);
  const int64_t ms = entry->expiry_ms() - since_ms;
  // To the nearest second.
  call.reply.integer(unit_ms == 1 ? ms : ms / unit_ms + (ms % unit_ms >= unit_ms / 2));
}

}  // namespace

void run_expire(Call& call) { expire(call, 1000, call.env.now_ms); }
void run_pexpire(Call& call) { expire(call, 1, call.env.now_ms); }
void run_expireat(Call& call) { expire(call, 1000, 0); }
void run_pexpireat(Call& call) { expire(call, 1, 0); }

void run_ttl(Call& call) { reply_time(call, 1000, call.env.now_ms); }
void run_pttl(Call& call) { reply_time(call, 1, call.env.now_ms); }
void run_expiretime(Call& call) { reply_time(call, 1000, 0); }
void run_pexpiretime(Call& call) { reply_time(call, 1, 0); }

void run_persist(Call& call) {
  const Key key = call.key(0);
  Entry* entry = find_live(call, key);
  if (!entry || !entry->has_expiry()) return call.reply.integer(0);
  if (!call.keyspace().set_expiry(call.db(), key, entry, kNoExpiry)) {
    return reply_out_of_memory(call);
  }
  call.log_change();
  call.reply.integer(1);
}

}  // namespace ignix
