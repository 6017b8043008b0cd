// Looking at all keys, or at any: SCAN, KEYS, RANDOMKEY. Stripes are locked one at a time, for as
// long as it takes to look at one bucket.
//
// What has expired is not found, and is deleted when it is met.
#include "store/scan.h"

#include <vector>

#include "base/buffer.h"
#include "base/glob.h"
#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"
#include "store/sample.h"

namespace ignix {
namespace {

constexpr int64_t kCountDefault = 10;
constexpr int64_t kBucketsPerKey = 10;  // looked at, at most, for each key of COUNT
constexpr int kDraws = 100, kRanked = 10;

// Copies of keys that have expired, to be deleted when their bucket has been looked at. Where there
// is no memory, one stays for somebody else to delete.
class ExpiredKeys {
 public:
  void add(std::string_view key) {
    const size_t bytes = key.size();
    if (!keys_.reserve(sizeof bytes + bytes)) return;
    keys_.append({reinterpret_cast<const char*>(&bytes), sizeof bytes});
    keys_.append(key);
  }
  void delete_all(Call& call) {
    while (!keys_.empty()) {
      size_t bytes;
      memcpy(&bytes, keys_.data(), sizeof bytes);
      keys_.consume(sizeof bytes);
      delete_expired(call, call.db(), call.keyspace().key({keys_.data(), bytes}));
      keys_.consume(bytes);
    }
  }

 private:
  Buffer keys_;  // the length of each before it
};

// One step of a walk: visit(Entry&) for each key of a bucket.
template <typename Visit>
void walk_step(Call& call, ScanCursor& cursor, Visit visit) {
  StripeGuard guard(call.keyspace(), call.keyspace().stripe(cursor.stripe));
  ExpiredKeys expired;
  scan_step(call.keyspace(), call.db(), cursor, [&](Entry& entry) {
    if (entry.expired(call.env.now_ms)) {
      expired.add(entry.key());
    } else {
      visit(entry);
    }
  });
  expired.delete_all(call);
}

// A list of keys whose length is known at its end.
class KeyList {
 public:
  explicit KeyList(Call& call) : call_(call), keys_(bytes_, call.reply.protocol()) {}
  void add(std::string_view key) {
    keys_.bulk(key);
    count_++;
  }
  bool failed() const { return keys_.failed(); }
  void reply() {
    call_.reply.array(count_);
    call_.reply.raw({bytes_.data(), bytes_.size()});
  }

 private:
  Call& call_;
  Output bytes_;
  Reply keys_;
  int64_t count_ = 0;
};

// A pattern that consists of a star fits even the empty key, which no other does.
bool fits(std::string_view pattern, std::string_view key) {
  return pattern == "*" || glob_match(pattern, key, false);
}

// As strtoul(3) reads it, without spaces: a number, or nothing, which is 0.
bool parse_cursor(std::string_view text, uint64_t& number) {
  text = text.substr(0, text.find('\0'));
  number = 0;
  if (text.empty()) return true;
  const bool negative = text[0] == '-';
  if (negative || text[0] == '+') text.remove_prefix(1);
  if (text.empty()) return false;
  for (char c : text) {
    if (c < '0' || c > '9' || __builtin_mul_overflow(number, 10, &number) ||
        __builtin_add_overflow(number, uint64_t(c - '0'), &number)) {
      return false;
    }
  }
  if (negative) number = 0 - number;
  return true;
}

struct ScanOptions {
  int64_t count = kCountDefault;
  std::string_view pattern = "*";
  const std::string_view* type = nullptr;  // none that there is: no key fits
};

bool parse_scan_options(Call& call, ScanOptions& options) {
  for (size_t i = 2; i < call.word_count; i += 2) {
    const std::string_view word = call.words[i];
    const std::string_view* value = i + 1 < call.word_count ? &call.words[i + 1] : nullptr;
    if (value && equal_ignoring_case(word, "count")) {
      if (!integer_argument(call, *value, options.count)) return false;
      if (options.count > 0) continue;
    } else if (value && equal_ignoring_case(word, "match")) {
      options.pattern = *value;
      continue;
    } else if (value && equal_ignoring_case(word, "type")) {
      options.type = value;
      continue;
    }
    reply_syntax_error(call);
    return false;
  }
  return true;
}

bool fits(const ScanOptions& options, const Entry& entry) {
  if (!fits(options.pattern, entry.key())) return false;
  if (!options.type) return true;
  const std::string_view type = options.type->substr(0, options.type->find('\0'));
  return equal_ignoring_case(type, type_name(entry.type()));
}

// ---- RANDOMKEY

// Replies with the key if it is live; else deletes it. Returns whether there is a reply.
bool reply_if_live(Call& call, const Entry* entry) {
  if (!entry) return false;
  const std::string_view key = entry->key();
  if (!entry->expired(call.env.now_ms)) {
    call.reply.bulk(key);
    return true;
  }
  delete_expired(call, call.db(), call.keyspace().key(key));
  return false;
}

bool reply_drawn(Call& call) {
  const Draw draw = draw_bucket(call.keyspace(), call.db(), call.env.random);
  StripeGuard guard(call.keyspace(), call.keyspace().stripe(draw.stripe));
  return reply_if_live(call, draw_entry(call.keyspace(), call.db(), draw, call.env.random));
}

// By its number among all keys. `any` tells whether there are keys.
bool reply_ranked(Call& call, bool& any) {
  Keyspace& keyspace = call.keyspace();
  std::vector<uint64_t> counts(keyspace.stripe_count());
  uint64_t total = 0;
  for (uint32_t i = 0; i < keyspace.stripe_count(); i++) {
    StripeGuard guard(keyspace, keyspace.stripe(i));
    total += counts[i] = keyspace.key_count(call.db(), i);
  }
  any = total > 0;
  if (!any) return false;
  uint64_t rank = call.env.random.below(total);
  uint32_t stripe = 0;
  while (rank >= counts[stripe]) rank -= counts[stripe++];
  for (uint32_t bucket = 0;;) {
    StripeGuard guard(keyspace, keyspace.stripe(stripe));
    const uint32_t before = bucket;
    const Entry* entry = find_ranked(keyspace, call.db(), stripe, bucket, rank);
    if (entry || bucket == before) return reply_if_live(call, entry);
  }
}

// The next one from somewhere on: where nearly all have expired.
bool reply_next(Call& call) {
  const uint64_t number = call.env.random.below(uint64_t(call.keyspace().stripe_count()) << 32);
  const ScanCursor start = ScanCursor::from_number(number);
  bool replied = false;
  const auto visit = [&](const Entry& entry) {
    if (!replied) call.reply.bulk(entry.key());
    replied = true;
  };
  // Once around.
  for (ScanCursor at = start; !replied && !at.at_end(call.keyspace());) walk_step(call, at, visit);
  for (ScanCursor at; !replied && !at.at_end(call.keyspace()) && at.stripe <= start.stripe;) {
    walk_step(call, at, visit);
  }
  return replied;
}

}  // namespace

// Redis has one key in a bucket at best, where Ignix has six or seven; looking at an empty stripe
// is next to nothing. So a small database is always done with in one call.
void run_scan(Call& call) {
  uint64_t number;
  ScanOptions options;
  if (!parse_cursor(call.words[1], number)) return call.reply.error("ERR invalid cursor");
  if (!parse_scan_options(call, options)) return;
  const Keyspace& keyspace = call.keyspace();
  ScanCursor cursor = ScanCursor::from_number(number);
  KeyList list(call);
  int64_t seen = 0, steps_left;
  if (__builtin_mul_overflow(options.count, kBucketsPerKey, &steps_left) ||
      __builtin_add_overflow(steps_left, int64_t(keyspace.stripe_count()), &steps_left)) {
    steps_left = INT64_MAX;
  }
  while (seen < options.count && steps_left-- > 0 && !cursor.at_end(keyspace)) {
    walk_step(call, cursor, [&](const Entry& entry) {
      seen++;
      if (fits(options, entry)) list.add(entry.key());
    });
  }
  if (list.failed()) return reply_out_of_memory(call);
  call.reply.array(2);
  call.reply.bulk_integer(int64_t(cursor.number(keyspace)));
  list.reply();
}

// Not one instant's keys, if others change them meanwhile; but each that is there all the time,
// once.
void run_keys(Call& call) {
  KeyList list(call);
  for (ScanCursor cursor; !cursor.at_end(call.keyspace());) {
    walk_step(call, cursor, [&](const Entry& entry) {
      if (fits(call.words[1], entry.key())) list.add(entry.key());
    });
  }
  if (list.failed()) return reply_out_of_memory(call);
  list.reply();
}

void run_randomkey(Call& call) {
  for (int i = 0; i < kDraws; i++) {
    if (reply_drawn(call)) return;
  }
  bool any = true;
  for (int i = 0; i < kRanked && any; i++) {
    if (reply_ranked(call, any)) return;
  }
  if (!any || !reply_next(call)) call.reply.null();
}

}  // namespace ignix
