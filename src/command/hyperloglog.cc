// HyperLogLogs: PFADD, PFCOUNT, PFMERGE. What their bytes are: store/hyperloglog.h.
#include "store/hyperloglog.h"

#include "command/access.h"
#include "command/handlers.h"
#include "store/string.h"

namespace ignix {
namespace {

void reply_damaged(Call& call) { call.reply.error("INVALIDOBJ Corrupted HLL object detected"); }

// The bytes of an entry, valid as long as it and `scratch` are; none of no entry. False, and the
// error is replied, if it is no HyperLogLog.
bool hyperloglog_of(Call& call, const Entry* entry, StringScratch& scratch,
                    std::string_view& bytes) {
  if (!check_type(call, entry, Type::kString)) return false;
  if (!entry) return true;
  bytes = string_value(*entry, scratch);
  if (hll::has_form(bytes)) return true;
  call.reply.error("WRONGTYPE Key is not a valid HyperLogLog string value.");
  return false;
}

hll::Draft draft_for(const Call& call) {
  return hll::Draft(uint64_t(call.env.hll_sparse_bytes->load(std::memory_order_relaxed)),
                    call.env.replays);
}

// False if there is no memory.
bool store(Call& call, const Key& key, Entry* old, std::string_view bytes) {
  StringScratch scratch;
  StoredValue value;
  if (!encode_string(bytes, call.keyspace().blocks(), scratch, value)) return false;
  const int db = call.db();
  return old ? call.keyspace().replace(db, key, old, value, old->expiry_ms(), call.env.clock)
             : call.keyspace().put(db, key, value, kNoExpiry, call.env.clock);
}

static_assert(hll::kDenseBytes > kEntryBytesMax);  // a dense one is always in a block

// The words from number `first` on are added.
void add_to_dense(Call& call, const Key& key, Entry* entry, size_t first) {
  char* const bytes = change_block(call.keyspace(), call.db(), key, entry, call.env.clock);
  if (!bytes) return reply_out_of_memory(call);
  uint64_t raised = 0;
  for (size_t i = first; i < call.word_count; i++) {
    raised += hll::raise_dense(bytes, hll::mark_of(call.words[i]));
  }
  call.log_change(raised);
  call.reply.integer(1);
}

// In damaged bytes an element's register may be missing. As in Redis, those before it have been
// added then; the log has what came of it, for PFADD would fail again when it is read.
void log_partial_add(Call& call, const Key& key, std::string_view bytes) {
  const std::string_view change[] = {"SET", key.text, bytes, "KEEPTTL"};
  call.log_change(change, 4);
}

// The same for a sparse one, or none yet.
void add_to_sparse(Call& call, const Key& key, Entry* entry, std::string_view bytes, size_t first) {
  using State = hll::Draft::State;
  hll::Draft draft = draft_for(call);
  State state = entry ? draft.copy(bytes) : draft.make_empty();
  size_t i = first;
  for (; i < call.word_count && state == State::kGood; i++) {
    state = draft.raise(hll::mark_of(call.words[i]));
  }
  if (state == State::kDamaged && i == first + 1) return reply_damaged(call);
  if (state == State::kGood) draft.outdate();
  if (state == State::kNoMemory || !store(call, key, entry, draft.bytes())) {
    return reply_out_of_memory(call);
  }
  if (state == State::kDamaged) {
    log_partial_add(call, key, draft.bytes());
    return reply_damaged(call);
  }
  call.log_change(draft.raised() + !entry);
  call.reply.integer(1);
}

}  // namespace

// The bytes are copied and changed only if there is an element that is not in them.
void run_pfadd(Call& call) {
  const Key key = call.key(0);
  Entry* const entry = find_live(call, key);
  StringScratch scratch;
  std::string_view bytes;
  if (!hyperloglog_of(call, entry, scratch, bytes)) return;
  size_t first = 2;
  if (entry) {
    while (first < call.word_count && hll::contains(bytes, hll::mark_of(call.words[first]))) {
      first++;
    }
    if (first == call.word_count) return call.reply.integer(0);
    if (hll::is_dense(bytes)) return add_to_dense(call, key, entry, first);
  }
  add_to_sparse(call, key, entry, bytes, first);
}

namespace {

// The estimate is kept in the header, so that it need not be made again; that is a change, and the
// log has it. But reading does not depend on a log that works, nor on memory: without, the estimate
// is told and not kept.
void keep_estimate(Call& call, const Key& key, Entry* entry, uint64_t cardinality) {
  if (call.env.log && call.env.log->failure()) return;
  char number[hll::kCardinalityBytes];
  hll::format_estimate(cardinality, number);
  if (patch_string(call.keyspace(), call.db(), key, entry, hll::kCardinalityOffset,
                   {number, sizeof number}, call.env.clock)) {
    call.log_change();
  }
}

void count_one(Call& call) {
  const Key key = call.key(0);
  Entry* const entry = find_for_read(call, key);
  StringScratch scratch;
  std::string_view bytes;
  if (!hyperloglog_of(call, entry, scratch, bytes)) return;
  uint64_t cardinality = 0;
  if (entry && !hll::stored_estimate(bytes, cardinality)) {
    if (!hll::estimate(bytes, cardinality)) return reply_damaged(call);
    keep_estimate(call, key, entry, cardinality);
  }
  call.reply.integer(int64_t(cardinality));
}

// The highest ranks that the registers of any key have, and whether there is a dense one among
// them.
struct Union {
  uint8_t ranks[hll::kRegisters] = {};
  bool dense = false;
};

// Of all keys. False, and the error is replied, if one is no HyperLogLog or damaged.
bool unite_all(Call& call, Union& all) {
  const bool is_logged = call.command.flags & kWrite;
  for (size_t i = 0; i + 1 < call.word_count; i++) {
    Entry* const entry = find_for_read(call, call.key(i));
    StringScratch scratch;
    std::string_view bytes;
    if (!hyperloglog_of(call, entry, scratch, bytes)) return false;
    if (!entry) continue;
    all.dense |= hll::is_dense(bytes);
    if (!hll::unite(bytes, all.ranks)) {
      reply_damaged(call);
      return false;
    }
    if (is_logged) call.keyspace().save_as_source(call.db(), entry);
  }
  return true;
}

}  // namespace

void run_pfcount(Call& call) {
  if (call.word_count == 2) return count_one(call);
  Union all;
  if (unite_all(call, all)) call.reply.integer(int64_t(hll::estimate(all.ranks)));
}

namespace {

void raise_all(char* dense, const Union& all) {
  for (uint32_t i = 0; i < hll::kRegisters; i++) hll::raise_dense(dense, {i, all.ranks[i]});
}

// Makes a draft of the destination's bytes, if there are any, and of the union. It is of use if
// kGood.
hll::Draft::State merge(hll::Draft& draft, std::string_view bytes, const Union& all) {
  using State = hll::Draft::State;
  State state = bytes.empty() ? draft.make_empty() : draft.copy(bytes);
  if (state == State::kGood && all.dense) state = draft.make_dense();
  for (uint32_t i = 0; i < hll::kRegisters && state == State::kGood; i++) {
    if (all.ranks[i] > 0) state = draft.raise({i, all.ranks[i]});
  }
  if (state == State::kGood) draft.outdate();
  return state;
}

}  // namespace

// The destination is one of the sources.
void run_pfmerge(Call& call) {
  Union all;
  if (!unite_all(call, all)) return;
  const Key key = call.key(0);
  Entry* const entry = find_live(call, key);
  StringScratch scratch;
  std::string_view bytes;
  if (!hyperloglog_of(call, entry, scratch, bytes)) return;
  if (entry && hll::is_dense(bytes)) {
    char* const dense = change_block(call.keyspace(), call.db(), key, entry, call.env.clock);
    if (!dense) return reply_out_of_memory(call);
    raise_all(dense, all);
    hll::outdate_estimate(dense);
  } else {
    hll::Draft draft = draft_for(call);
    if (merge(draft, bytes, all) != hll::Draft::State::kGood ||
        !store(call, key, entry, draft.bytes())) {
      return reply_out_of_memory(call);
    }
  }
  call.log_change();
  call.reply.ok();
}

}  // namespace ignix
