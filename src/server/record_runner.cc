#include "server/record_runner.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/number.h"
#include "base/quote.h"

namespace ignix {

// With a clock at which nothing has expired yet: a record was written when its keys were there.
// What had expired by then was deleted by a record of its own.
RecordRunner::Lane::Lane(Server& server)
    : env{&server.keyspace, nullptr, nullptr, &server}, batch(env) {
  env.clock = server.config.evict_rules(0).usage.fresh_clock(wall_ms());
  env.hll_sparse_bytes = &server.config.hll_sparse_bytes;
  env.replays = true;
}

void RecordRunner::Lane::run() {
  if (failed || batch.empty()) return;
  batch.run_loaded([this](uint64_t offset) {
    if (batch.error_replies() > 0) {
      what.assign(session.output.data(), session.output.size());
      while (!what.empty() && (what.back() == '\n' || what.back() == '\r')) what.pop_back();
      failed = true;
      failed_offset = offset;
      return false;
    }
    session.output.clear();
    return true;
  });
}

RecordRunner::RecordRunner(Server& server)
    : keyspace_(server.keyspace), own_(server), pool_(run_chunk, this) {
  for (int i = 0; i < pool_.workers(); i++) lanes_.push_back(std::make_unique<Lane>(server));
  for (Chunk& chunk : chunks_) chunk.of_worker.resize(size_t(pool_.workers()));
  open_ = &chunks_[pool_.chunk_to_fill()];
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

void RecordRunner::fail(uint64_t offset, const std::string& what, bool lacks_command) {
  if (failed_ && failed_offset_ <= offset) return;
  failed_ = true;
  failed_offset_ = offset;
  what_ = what;
  lacks_command_ = lacks_command;
}

void RecordRunner::take_failure(const Lane& lane) {
  if (lane.failed) fail(lane.failed_offset, lane.what);
}

bool RecordRunner::add(uint64_t offset) {
  const std::string_view name = record_[0];
  if (equal_ignoring_case(name, "multi")) return begin_group(offset);
  if (equal_ignoring_case(name, "exec")) return run_group(offset);
  if (!in_group_) return add_change(offset);
  group_.push_back({offset, {record_.begin(), record_.end()}});
  record_.clear();
  return !failed_;
}

bool RecordRunner::begin_group(uint64_t offset) {
  record_.clear();
  if (in_group_) fail(offset, "a MULTI within a MULTI");
  in_group_ = true;
  group_offset_ = offset;
  return !failed_;
}

bool RecordRunner::run_group(uint64_t offset) {
  record_.clear();
  if (!in_group_) fail(offset, "an EXEC without a MULTI");
  in_group_ = false;
  for (const Kept& kept : group_) {
    if (failed_) break;
    for (const std::string& word : kept.words) record_.push_back(word);
    add_change(kept.offset);
  }
  // Its words are looked at until the chunk has been run.
  open_->groups.push_back(std::move(group_));
  group_.clear();
  return !failed_;
}

// The record is none that changes data, or of a command that there is not.
bool RecordRunner::refuse(uint64_t offset, const Command* command) {
  finish();
  const std::string_view name = record_[0];
  const bool lacking = !command && !name.empty() && std::all_of(name.begin(), name.end(), is_letter);
  std::string what = "the command ";
  append_quoted(what, name, 32);
  if (lacking && record_.size() > 1) {
    what += " (of key ";
    append_quoted(what, record_[1], 64);
    what += ")";
  }
  fail(offset, what + (lacking ? ", which Ignix does not have" : " does not change data"), lacking);
  return false;
}

bool RecordRunner::add_change(uint64_t offset) {
  const std::string_view name = record_[0];
  if (equal_ignoring_case(name, "select") && select()) return !failed_;
  const Command* command = find_command(name);
  if (!command ||
      !((command->flags & (kWrite | kWritesBack)) || std::string_view(command->name) == "select")) {
    return refuse(offset, command);
  }
  if (!(command->flags & kAllKeys) && !command->find_key && command->arity_fits(record_.size()) &&
      command->keys.count(record_.size()) == 1) {
    run_own();
    add_narrow(*command, offset);
  } else {
    if (own_.batch.empty()) {
      dispatch();
      wait_for_lanes();
    }
    const size_t first_word = own_.batch.words().size();
    for (std::string_view word : record_) own_.batch.words().push_back(word);
    own_.batch.add(own_.session, first_word, nullptr, offset);
    if (own_.batch.full()) run_own();
  }
  record_.clear();
  return !failed_;
}

// The log chooses a database for each record that is not of the first: so that ends no chunk. False
// if there is no such database.
bool RecordRunner::select() {
  int64_t db;
  if (record_.size() != 2 || !parse_integer(record_[1], db)) return false;
  if (db < 0 || db >= keyspace_.databases()) return false;
  if (db != own_.session.db) {
    run_own();
    own_.session.db = int(db);
  }
  record_.clear();
  return true;
}

void RecordRunner::add_narrow(const Command& command, uint64_t offset) {
  Chunk& chunk = *open_;
  const uint64_t hash = keyspace_.key(record_[size_t(command.keys.first)]).hash;
  const int worker = pool_.worker_of(keyspace_.stripe_index(hash));
  chunk.of_worker[size_t(worker)].push_back({&command, hash, offset, uint32_t(chunk.words.size()),
                                             uint32_t(record_.size()), own_.session.db});
  chunk.words.insert(chunk.words.end(), record_.begin(), record_.end());
  if (++chunk.count == kChunkRecords) dispatch();
}

// What was added so far is run now, or will be by the pool.
void RecordRunner::dispatch() {
  run_own();
  if (lane_failed_.load(std::memory_order_relaxed)) wait_for_lanes();
  // A chunk without records may still hold what those before it look at.
  if (open_->count == 0 && open_->groups.empty() && open_->buffer.empty() &&
      open_->expected.empty()) {
    return;
  }
  pool_.run();
  open_ = &chunks_[pool_.chunk_to_fill()];
  open_->count = 0;
  open_->words.clear();
  open_->expected.clear();
  open_->groups.clear();
  open_->buffer.clear();
  for (auto& items : open_->of_worker) items.clear();
}

void RecordRunner::take_buffer(Buffer& full) {
  Chunk& chunk = *open_;
  chunk.buffer.swap(full);
  const bool is_large = chunk.buffer.capacity() > kBufferBytesKept;
  dispatch();
  if (!is_large) return;
  pool_.wait();
  chunk.buffer.release();
}

void RecordRunner::wait_for_lanes() {
  pool_.wait();
  for (const auto& lane : lanes_) take_failure(*lane);
}

void RecordRunner::run_own() {
  own_.run();
  take_failure(own_);
}

void RecordRunner::run_chunk(void* self, size_t number, int worker) {
  RecordRunner& runner = *static_cast<RecordRunner*>(self);
  const Chunk& chunk = runner.chunks_[number];
  Lane& lane = *runner.lanes_[size_t(worker)];
  if (lane.failed) return;
  for (const Expected& expected : chunk.expected) runner.expect_in_own(expected, worker);
  Batch& batch = lane.batch;
  for (const Item& item : chunk.of_worker[size_t(worker)]) {
    if (item.db != lane.session.db) {
      lane.run();
      lane.session.db = item.db;
    }
    const size_t first_word = batch.words().size();
    for (uint32_t i = 0; i < item.word_count; i++) {
      batch.words().push_back(chunk.words[item.first_word + i]);
    }
    batch.add_known(lane.session, *item.command, first_word, item.hash, item.offset);
    if (batch.full()) lane.run();
  }
  lane.run();
  if (lane.failed) runner.lane_failed_.store(true, std::memory_order_relaxed);
}

void RecordRunner::expect(int db, uint64_t keys) {
  keyspace_.expect(db, keys);
  open_->expected.push_back({db, keys});
}

// From the last stripe on: see Keyspace::settle().
void RecordRunner::expect_in_own(const Expected& expected, int worker) {
  for (uint32_t i = keyspace_.stripe_count(); i-- > 0;) {
    if (pool_.worker_of(i) == worker) keyspace_.expect(expected.db, expected.keys, i);
  }
}

void RecordRunner::finish() {
  dispatch();
  wait_for_lanes();
}

}  // namespace ignix
