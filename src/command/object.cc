// OBJECT: how a value is stored, and how it has been used.
#include "command/access.h"
#include "command/handlers.h"

namespace ignix {
namespace {

// Redis keeps the text of strings up to this length in the object itself. It says "raw" also of a
// shorter string that APPEND or SETRANGE has changed; here nothing remembers that.
constexpr size_t kEmbstrBytesMax = 44;
constexpr int64_t kSharedIntegers = 10'000;

// Without a key: nil.
const Entry* find_object(Call& call) {
  const Entry* entry = find_for_read(call, call.key(0), Access::kLook);
  if (!entry) call.reply.null();
  return entry;
}

}  // namespace

void run_object_encoding(Call& call) {
  const Entry* entry = find_object(call);
  if (!entry) return;
  if (entry->encoding() == Encoding::kInteger) return call.reply.bulk("int");
  const bool is_short =
      entry->encoding() == Encoding::kEmbedded && entry->stored().size() <= kEmbstrBytesMax;
  call.reply.bulk(is_short ? "embstr" : "raw");
}

// Redis has one object for each small integer, unless every key must have an access clock of its
// own.
void run_object_refcount(Call& call) {
  const Entry* entry = find_object(call);
  if (!entry) return;
  const EvictPolicy policy = call.env.evict.policy;
  const bool own_clocks = call.keyspace().limit_bytes() && (is_lru(policy) || is_lfu(policy));
  const bool shared = entry->encoding() == Encoding::kInteger && entry->integer() >= 0 &&
                      entry->integer() < kSharedIntegers && !own_clocks;
  call.reply.integer(shared ? INT32_MAX : 1);
}

void run_object_idletime(Call& call) {
  const Entry* entry = find_object(call);
  if (!entry) return;
  if (call.env.evict.usage.counts()) {
    return call.reply.error(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when "
        "switching between policies at runtime LRU and LFU data will take some time to adjust.");
  }
  call.reply.integer(idle_seconds(entry->clock(), call.env.now_ms));
}

void run_object_freq(Call& call) {
  const Entry* entry = find_object(call);
  if (!entry) return;
  const Usage& usage = call.env.evict.usage;
  if (!usage.counts()) {
    return call.reply.error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
        "that when switching between policies at runtime LRU and LFU data will take some time to "
        "adjust.");
  }
  call.reply.integer(usage.frequency(entry->clock(), call.env.now_ms));
}

void run_object_help(Call& call) {
  static constexpr const char* kLines[] = {
      "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "ENCODING <key>",
      "    How the key's value is stored.",
      "FREQ <key>",
      "    The logarithmic counter of the key's uses; with an LFU policy only.",
      "IDLETIME <key>",
      "    The seconds since the key was last used; not with an LFU policy.",
      "REFCOUNT <key>",
      "    How many refer to the key's value: 1, or a large number for a small integer.",
      "HELP",
      "    Print this help.",
      nullptr};
  reply_help(call, kLines);
}

}  // namespace ignix
