#include "durability/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc64.h"
#include "durability/aof.h"

namespace ignix {
namespace {

constexpr size_t kWriteBytes = 64 * 1024;  // of the walk, at a time: a step, see GiveWay
constexpr int kWritePieces = 64;
constexpr size_t kWriteAtOnceBytes = 256 * 1024;  // of a long value: so it is more than one step
constexpr uint64_t kStartWritingBytes = 16ULL << 20;  // so that the fsync at the end is a short one

// Cuts the pieces off behind so many bytes; returns how many there are then.
int first_bytes(iovec* pieces, int count, size_t bytes) {
  for (int i = 0; i < count; i++) {
    if (pieces[i].iov_len >= bytes) {
      pieces[i].iov_len = bytes;
      return i + 1;
    }
    bytes -= pieces[i].iov_len;
  }
  return count;
}

}  // namespace

rdb::EntryStart Snapshot::start_of(const Entry& entry) const {
  rdb::EntryStart start = {entry.expiry_ms()};
  if (options_.usage.kind == Usage::Kind::kRecency) {
    start.idle_seconds = idle_seconds(entry.clock(), wall_ms());
  } else if (options_.usage.counts()) {
    start.frequency = int(options_.usage.frequency(entry.clock(), wall_ms()));
  }
  return start;
}

void Snapshot::Sink::name_database(int db) {
  if (db != last_db && !rdb::put_database(out, db)) failed = true;
  last_db = db;
}

void Snapshot::Sink::hold(int db, const Entry& entry) {
  HeldEntry one = {db, owner.start_of(entry), entry.block(), entry.key_block(), 0};
  if (!one.key_block) one.key_bytes = entry.stored_key().size();
  const bool keeps_key = one.key_block || held_keys.append(entry.stored_key());
  if (!keeps_key || !held.push(one)) {
    failed = true;
    return;
  }
  hold_block(one.value);
  if (one.key_block) hold_block(one.key_block);
  held_bytes += one.value->length_bytes;
}

void Snapshot::Sink::append(int db, const Entry& entry) {
  owner.progress_.keys_done.fetch_add(1, std::memory_order_relaxed);
  Block* const value = entry.encoding() == Encoding::kBlock ? entry.block() : nullptr;
  if (value && owner.options_.rdbcompression && value->length_bytes <= kCompressBytesMax) {
    hold(db, entry);
    return;
  }
  name_database(db);
  if (!rdb::put_entry(out, owner.start_of(entry), entry, owner.options_.rdbcompression))
    failed = true;
}

bool Snapshot::Sink::put_held(int fd) {
  const char* keys = held_keys.data();
  for (const HeldEntry& entry : held) {
    const std::string_view key =
        entry.key_block ? entry.key_block->view() : std::string_view(keys, entry.key_bytes);
    name_database(entry.db);
    if (!rdb::put_compressed_entry(out, entry.start, key, entry.value)) failed = true;
    if (out.size() >= kWriteBytes && !owner.flush(fd, out)) return false;
    owner.give_way_.now_and_then();
    keys += entry.key_bytes;
  }
  clear_held();
  return true;
}

void Snapshot::Sink::clear_held() {
  for (const HeldEntry& entry : held) {
    drop_block(entry.value);
    if (entry.key_block) drop_block(entry.key_block);
  }
  held.clear();
  held_keys.clear();
  held_bytes = 0;
}

void Snapshot::Sink::swap_held(Sink& other) {
  held.swap(other.held);
  held_keys.swap(other.held_keys);
  std::swap(held_bytes, other.held_bytes);
}

void Snapshot::Sink::clear() {
  out.clear();
  clear_held();
}

void Snapshot::Sink::save(int db, const Entry& entry) { append(db, entry); }

void Snapshot::ChangedSink::save(int db, const Entry& entry) {
  pthread_mutex_lock(&lock);
  append(db, entry);
  if (out.size() + held_bytes > kSnapshotBehindBytes) owner.keyspace_.make_changes_wait(true);
  pthread_mutex_unlock(&lock);
}

void Snapshot::begin(void (*at_instant)(void*), void* context) {
  keyspace_.lock_all();
  uint64_t total = 0;
  for (int db = 0; db < keyspace_.databases(); db++) {
    sizes_.push_back({keyspace_.key_count(db), keyspace_.expiry_count(db)});
    total += sizes_.back().keys;
  }
  progress_.keys_total = total;
  progress_.keys_done = progress_.written_bytes = 0;
  keyspace_.begin_snapshot(&changed_);
  if (at_instant) at_instant(context);
  keyspace_.unlock_all();
}

bool Snapshot::write(int fd, bool aof_base, std::string& error) {
  bool done = write_header(fd, aof_base) && write_all(fd);
  if (!done) {
    // The walk goes on to its end, so that all entries have the same epoch again.
    struct Nowhere : SnapshotSink {
      void save(int, const Entry&) override {}
      void flushed(int) override {}
    } nowhere;
    SnapshotWalk walk;
    walked_.clear();
    do {
      pthread_mutex_lock(&changed_.lock);
      changed_.clear();
      pthread_mutex_unlock(&changed_.lock);
      keyspace_.make_changes_wait(false);
      give_way_.now_and_then();
    } while (keyspace_.walk_snapshot(walk, nowhere));
  }
  keyspace_.end_snapshot();
  keyspace_.make_changes_wait(false);
  done = done && finish(fd);
  error = error_;
  return done;
}

bool Snapshot::write_header(int fd, bool aof_base) {
  return rdb::put_header(walked_.out, aof_base, keyspace_.held_bytes()) ? flush(fd, walked_.out)
                                                                        : fail("out of memory");
}

bool Snapshot::write_all(int fd) {
  SnapshotWalk walk;
  int sized_db = -1;
  do {
    // Sizes are hints, and stand once for each database, where its walk begins.
    if (walk.db != sized_db && walk.db < int(sizes_.size()) && sizes_[size_t(walk.db)].keys) {
      const Sizes& sizes = sizes_[size_t(walk.db)];
      if (!rdb::put_database(walked_.out, walk.db) ||
          !rdb::put_sizes(walked_.out, sizes.keys, sizes.expiries)) {
        return fail("out of memory");
      }
      walked_.last_db = walk.db;
    }
    sized_db = walk.db;
    if (walked_.out.size() >= kWriteBytes && !flush(fd, walked_.out)) return false;
    if (!take_changed(fd)) return false;
    give_way_.now_and_then();
    if (cancelled_ && cancelled_->load(std::memory_order_relaxed)) return fail("cancelled");
  } while (keyspace_.walk_snapshot(walk, walked_));
  return true;
}

// What the loops have saved goes to the file between two steps of the walk.
bool Snapshot::take_changed(int fd) {
  Output taken;
  if (!walked_.put_held(fd)) return false;
  pthread_mutex_lock(&changed_.lock);
  taken.swap(changed_.out);
  walked_.swap_held(changed_);  // whose place none have
  changed_.last_db = -1;
  const bool failed = changed_.failed;
  pthread_mutex_unlock(&changed_.lock);
  if (failed || walked_.failed) return fail("out of memory");
  if (taken.empty() && walked_.held.empty()) return true;
  // The walk's own are for the database that was named before them.
  if (!flush(fd, walked_.out) || !flush(fd, taken)) return false;
  walked_.last_db = -1;
  if (!walked_.put_held(fd)) return false;
  keyspace_.make_changes_wait(false);
  return true;
}

bool Snapshot::flush(int fd, Output& out) {
  while (!out.empty()) {
    iovec pieces[kWritePieces];
    int count = 1;
    if (out.is_plain()) {
      pieces[0] = {const_cast<char*>(out.data()), out.size()};
    } else {
      count = out.gather(pieces, kWritePieces);
    }
    count = first_bytes(pieces, count, kWriteAtOnceBytes);
    const ssize_t written = writev(fd, pieces, count);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail(written < 0 ? strerror(errno) : "the disk takes nothing");
    size_t left = size_t(written);
    for (int i = 0; i < count && left > 0 && options_.rdbchecksum; i++) {
      const size_t here = std::min(left, pieces[i].iov_len);
      crc_ = crc64(crc_, {static_cast<const char*>(pieces[i].iov_base), here});
      left -= here;
    }
    out.consume(size_t(written));
    progress_.written_bytes += uint64_t(written);
    give_way_.now_and_then();
  }
  const uint64_t end = progress_.written_bytes;
  if (end - started_writing_ >= kStartWritingBytes) {
    if (!begin_writeback(fd, started_writing_, end)) return fail(strerror(errno));
    started_writing_ = end;
  }
  return true;
}

bool Snapshot::finish(int fd) {
  if (!take_changed(fd) || !flush(fd, walked_.out)) return false;
  if (walked_.failed) return fail("out of memory");
  if (!rdb::put_end(walked_.out, options_.rdbchecksum ? &crc_ : nullptr))
    return fail("out of memory");
  return flush(fd, walked_.out) && (fsync(fd) == 0 || fail(strerror(errno)));
}

bool Snapshot::fail(const char* what) {
  error_ = what;
  return false;
}

}  // namespace ignix
