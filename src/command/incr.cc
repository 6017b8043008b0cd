// INCR and its kin: strings as numbers.
#include <cmath>

#include "base/number.h"
#include "command/handlers.h"
#include "command/string_access.h"

namespace ignix {
namespace {

// The text stays an integer: the log holds the command, whose effect is exact.
void add_integer(Call& call, int64_t addend) {
  const Key key = call.key(0);
  Entry* entry = find_live(call, key);
  if (!check_type(call, entry, Type::kString)) return;
  int64_t value = 0;
  if (entry && !string_integer(*entry, value)) {
    call.reply.error("ERR value is not an integer or out of range");
    return;
  }
  if (__builtin_add_overflow(value, addend, &value)) {
    call.reply.error("ERR increment or decrement would overflow");
    return;
  }
  StringScratch scratch;
  const StoredValue sum = encode_integer(value, scratch);
  const bool stored = entry ? call.keyspace().replace(call.db(), key, entry, sum,
                                                      entry->expiry_ms(), call.env.clock)
                            : call.keyspace().put(call.db(), key, sum, kNoExpiry, call.env.clock);
  if (!stored) return reply_out_of_memory(call);
  call.log_change();
  call.reply.integer(value);
}

}  // namespace

void run_incr(Call& call) { add_integer(call, 1); }
void run_decr(Call& call) { add_integer(call, -1); }

void run_incrby(Call& call) {
  int64_t addend;
  if (integer_argument(call, call.words[2], addend)) add_integer(call, addend);
}

void run_decrby(Call& call) {
  int64_t subtrahend;
  if (!integer_argument(call, call.words[2], subtrahend)) return;
  if (subtrahend == INT64_MIN) return call.reply.error("ERR decrement would overflow");
  add_integer(call, -subtrahend);
}

// The log holds the sum: how floats are added is this machine's affair.
void run_incrbyfloat(Call& call) {
  const Key key = call.key(0);
  Entry* entry = find_live(call, key);
  if (!check_type(call, entry, Type::kString)) return;
  StringScratch scratch;
  long double value = 0, addend;
  if ((entry && !parse_long_double(string_value(*entry, scratch), value)) ||
      !parse_long_double(call.words[2], addend)) {
    return call.reply.error("ERR value is not a valid float");
  }
  value += addend;
  if (std::isnan(value) || std::isinf(value)) {
    return call.reply.error("ERR increment would produce NaN or Infinity");
  }
  char text[kLongDoubleBytesMax];
  const std::string_view sum = {text, format_long_double(value, text)};
  const int64_t expiry_ms = entry ? entry->expiry_ms() : kNoExpiry;
  if (!store_string(call, key, sum, expiry_ms)) return reply_out_of_memory(call);
  log_set(call, key, sum, expiry_ms);
  call.reply.bulk(sum);
}

}  // namespace ignix
