// Writes the keyspace, as it is at one instant, to a file in RDB's format (durability/rdb.h), while
// it goes on changing (store/snapshot.h).
//
// One thread walks and writes; the loops hand it what they are about to change. When they do that
// faster than the disk takes it, they stop changing things for a while:
// Keyspace::changes_must_wait. Where they share its CPU it goes in steps of some 100 us and lets
// them through between two, so that their clients do not wait; when they always want the CPU, half
// of it is its own.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/array.h"
#include "base/output.h"
#include "base/sched.h"
#include "durability/rdb.h"
#include "store/keyspace.h"
#include "store/usage.h"

namespace ignix {

// For others to look at, from any thread.
struct SnapshotProgress {
  std::atomic<uint64_t> keys_total{0}, keys_done{0}, written_bytes{0};
};

struct SnapshotOptions {
  bool rdbcompression = true, rdbchecksum = true;  // as in redis.conf
  Usage usage = {};  // how entries' use is remembered; it is written where the policy needs it
};

class Snapshot {
 public:
  // While `cancelled`, if there is one, is true, write() gives up soon, with an error.
  Snapshot(Keyspace& keyspace, SnapshotProgress& progress, SnapshotOptions options = {},
           const std::atomic<bool>* cancelled = nullptr)
      : keyspace_(keyspace),
        progress_(progress),
        options_(options),
        cancelled_(cancelled),
        changed_(*this),
        walked_(*this) {}

  // The instant. `at_instant(context)` is called while all stripes are locked. Before it,
  // Keyspace::set_shared(true). write() must follow, on any thread.
  void begin(void (*at_instant)(void*), void* context);

  // Writes all of it to `fd`, an empty file, and brings it to the disk. False, with `error`, if
  // that fails; the snapshot is over in any case.
  bool write(int fd, bool aof_base, std::string& error);

  // Whether a flush took entries away that should have been saved. Any thread.
  bool was_flushed() const { return flushed_.load(std::memory_order_relaxed); }

 private:
  // One with a long value, to be compressed by the snapshot's thread, since that takes longer than
  // a stripe should be locked.
  struct HeldEntry {
    int db;
    rdb::EntryStart start;
    Block* value;      // with a reference
    Block* key_block;  // of a long key; with a reference
    size_t key_bytes;  // of another one, in held_keys
  };
  // Encodes entries one behind the other, each database named before its first.
  struct Sink : SnapshotSink {
    explicit Sink(Snapshot& the_owner) : owner(the_owner) {}
    ~Sink() override { clear(); }
    void save(int db, const Entry& entry) override;
    void flushed(int) override { owner.flushed_.store(true, std::memory_order_relaxed); }
    void append(int db, const Entry& entry);
    void hold(int db, const Entry& entry);
    void name_database(int db);
    bool put_held(int fd);  // encodes them; writes what becomes much
    void swap_held(Sink& other);
    void clear_held();
    void clear();

    Snapshot& owner;
    Output out;
    Array<HeldEntry> held;
    Buffer held_keys;  // one behind the other
    size_t held_bytes = 0;
    int last_db = -1;
    bool failed = false;  // out of memory
  };
  // What is about to change comes from any loop.
  struct ChangedSink : Sink {
    using Sink::Sink;
    void save(int db, const Entry& entry) override;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;  // guards the rest
  };
  struct Sizes {
    uint64_t keys, expiries;
  };

  rdb::EntryStart start_of(const Entry& entry) const;
  bool write_header(int fd, bool aof_base);
  bool write_all(int fd);
  bool take_changed(int fd);
  bool flush(int fd, Output& out);
  bool finish(int fd);
  bool fail(const char* what);

  Keyspace& keyspace_;
  SnapshotProgress& progress_;
  const SnapshotOptions options_;
  const std::atomic<bool>* const cancelled_;
  ChangedSink changed_;
  Sink walked_;
  std::vector<Sizes> sizes_;  // of the databases at the instant
  std::string error_;         // of write(); empty: none
  uint64_t crc_ = 0;
  GiveWay give_way_;
  uint64_t started_writing_ = 0;  // the kernel has been told to write up to here
  std::atomic<bool> flushed_{false};
};

}  // namespace ignix
