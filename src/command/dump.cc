// DUMP and RESTORE: values on their way to another server.
#include "durability/dump.h"

#include <algorithm>

#include "command/access.h"
#include "command/handlers.h"
#include "store/string.h"

namespace ignix {
namespace {

struct RestoreOptions {
  bool replace = false, absolute = false;
  int64_t idle_seconds = -1, frequency = -1;  // -1: not given
};

// The number behind IDLETIME or FREQ.
bool parse_restore_number(Call& call, std::string_view text, bool is_idle, int64_t& value) {
  if (!integer_argument(call, text, value)) return false;
  if (value >= 0 && (is_idle || value <= 255)) return true;
  call.reply.error(is_idle ? "ERR Invalid IDLETIME value, must be >= 0"
                           : "ERR Invalid FREQ value, must be >= 0 and <= 255");
  return false;
}

// IDLETIME and FREQ exclude each other; any option may come again.
bool parse_restore_options(Call& call, RestoreOptions& options) {
  for (size_t i = 4; i < call.word_count; i++) {
    const std::string_view word = call.words[i];
    const bool has_next = i + 1 < call.word_count;
    if (equal_ignoring_case(word, "replace")) {
      options.replace = true;
    } else if (equal_ignoring_case(word, "absttl")) {
      options.absolute = true;
    } else if (has_next && options.frequency < 0 && equal_ignoring_case(word, "idletime")) {
      if (!parse_restore_number(call, call.words[++i], true, options.idle_seconds)) return false;
    } else if (has_next && options.idle_seconds < 0 && equal_ignoring_case(word, "freq")) {
      if (!parse_restore_number(call, call.words[++i], false, options.frequency)) return false;
    } else {
      reply_syntax_error(call);
      return false;
    }
  }
  return true;
}

// The expiry; kNoExpiry for a TTL of 0. One beyond 63 bits wraps around, and so is past: Redis's
// way.
bool parse_restore_ttl(Call& call, bool absolute, int64_t& expiry_ms) {
  int64_t ttl;
  if (!integer_argument(call, call.words[2], ttl)) return false;
  if (ttl < 0) {
    call.reply.error("ERR Invalid TTL value, must be >= 0");
    return false;
  }
  expiry_ms = kNoExpiry;
  if (ttl == 0) return true;
  if (absolute) {
    expiry_ms = ttl;
  } else if (__builtin_add_overflow(ttl, call.env.now_ms, &expiry_ms)) {
    expiry_ms = 0;
  }
  return true;
}

bool read_payload(Call& call, Buffer& value) {
  switch (rdb::read_dump(call.words[3], value)) {
    case rdb::DumpState::kGood:
      return true;
    case rdb::DumpState::kNotOne:
      call.reply.error("ERR DUMP payload version or checksum are wrong");
      return false;
    case rdb::DumpState::kDamaged:
      call.reply.error("ERR Bad data format");
      return false;
    case rdb::DumpState::kNoMemory:
      break;
  }
  reply_out_of_memory(call);
  return false;
}

// The log holds the payload again, with an absolute expiry.
void log_restore(Call& call, const Key& key, int64_t expiry_ms) {
  char number[kIntegerBytesMax];
  const int64_t ttl = expiry_ms == kNoExpiry ? 0 : expiry_ms;
  const std::string_view change[] = {
      "RESTORE",     key.text,  {number, format_integer(ttl, number)},
      call.words[3], "REPLACE", "ABSTTL"};
  call.log_change(change, std::size(change));
}

// What the policy does not ask for is not remembered.
uint32_t restored_clock(const Call& call, const RestoreOptions& options) {
  if (call.env.evict.usage.counts()) {
    return options.frequency < 0 ? call.env.clock & kClockMask
                                 : frequency_clock(call.env.now_ms, uint32_t(options.frequency));
  }
  return clock_before(call.env.now_ms, std::max<int64_t>(0, options.idle_seconds));
}

}  // namespace

void run_dump(Call& call) {
  const Entry* entry = find_for_read(call, call.key(0));
  if (!entry) return call.reply.null();
  StringScratch scratch;
  Buffer payload;
  if (!rdb::put_dump(payload, string_value(*entry, scratch), call.env.rdbcompression)) {
    return reply_out_of_memory(call);
  }
  call.reply.bulk({payload.data(), payload.size()});
}

void run_restore(Call& call) {
  RestoreOptions options;
  int64_t expiry_ms;
  Buffer value;
  if (!parse_restore_options(call, options)) return;
  const Key key = call.key(0);
  if (!options.replace && find_live(call, key)) {
    return call.reply.error("BUSYKEY Target key name already exists.");
  }
  if (!parse_restore_ttl(call, options.absolute, expiry_ms) || !read_payload(call, value)) return;
  if (expiry_ms != kNoExpiry && expiry_ms <= call.env.now_ms) {
    if (find_live(call, key)) delete_key(call, key);
    return call.reply.ok();
  }
  StringScratch scratch;
  StoredValue stored;
  const uint32_t clock = restored_clock(call, options);
  if (!encode_string({value.data(), value.size()}, call.keyspace().blocks(), scratch, stored) ||
      !call.keyspace().put(call.db(), key, stored, expiry_ms, clock)) {
    return reply_out_of_memory(call);
  }
  log_restore(call, key, expiry_ms);
  call.reply.ok();
}

}  // namespace ignix
