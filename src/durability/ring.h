// The log ring: what the commands change, on its way to the file. Any number of loops append, each
// while it holds the locks of the stripes that it changes, so the order of the records is the order
// of the changes for every key. One thread, the AOF's, takes the bytes out.
//
// Positions count the bytes since the start and never wrap; a position's offset in the ring is its
// remainder. A writer announces a lower bound of what it is about to reserve, reserves with one
// fetch_add (the only writer: with a store), copies, and withdraws the announcement. Everything
// below the tail and below all announcements is complete. No lock is taken, and the ring holds
// nothing but the bytes of the file.
//
// A record for which there is no room, because it is longer than the ring or because the disk is
// slow, is kept aside, at its position in the order. So appending never waits: it is done under the
// locks of stripes. What keeps the memory bounded is that commands are only admitted while there is
// room (command/execute.cc). Only where there is no memory for that, the writer waits, locks and
// all, and writes the record piece by piece as its room in the ring comes free: a change that has
// been made is never missing.
//
// The records are RESP commands, as in Redis's AOF, and are for database 0 unless they stand
// between a SELECT and a SELECT 0, which are appended with them as one. What a transaction has
// changed stands between MULTI and EXEC.
//
// Weighed, and not done. Records copied straight into a mapping of the file: a page fault for every
// 4 KB costs three times what pwrite does. A ring in a mapped file, which outlives a killed
// process, so that a reply need not wait for the write: a store into a page that was on the disk
// already asks the file system, and may so wait for the disk under the locks of stripes; and tmpfs,
// where it does not, ends with the container.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/buffer.h"
#include "base/limits.h"

namespace ignix {

// The record behind which records are for database 0 again.
constexpr std::string_view kSelectZero = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";

class LogRing {
 public:
  // One for each thread that appends. Its owner writes it, the AOF thread reads it.
  struct alignas(64) Writer {
    static constexpr uint64_t kIdle = UINT64_MAX;
    std::atomic<uint64_t> announced{kIdle};
    // The owner's.
    bool in_group = false;
    int group_db = 0;  // which the group has selected so far
    size_t group_records = 0;
    Buffer group;  // with MULTI before its records
  };

  ~LogRing();

  // False if there is no memory.
  bool open(int writers);
  // `wake(context)` is called while a writer waits for the AOF thread. Before anything is appended.
  void on_wait(void (*wake)(void*), void* context) {
    wake_ = wake;
    wake_context_ = context;
  }
  Writer& writer(int index) { return writers_[index]; }

  // For tests: as if there were no memory for what is kept aside and for groups.
  void be_short_of_memory() { short_of_memory_ = true; }

  // Appends one command; returns the position behind it. `formatted`: the same command in RESP, if
  // the caller has it: a copy takes a fifth of the time.
  uint64_t append(Writer& writer, int db, const std::string_view* words, size_t count,
                  std::string_view formatted = {});

  // What the writer appends from here on is kept, until end_group() appends all of it as one,
  // between MULTI and EXEC: who reads the file finds all of it or nothing. One record alone needs
  // no MULTI, and none is nothing. end_group() returns the position behind; append() meanwhile one
  // before. Where there is no memory for all of it, it is appended in parts.
  void begin_group(Writer& writer);
  uint64_t end_group(Writer& writer);

  // Bytes that still fit into the ring, as far as known; `kLogRingBytes` at most.
  size_t room() const;
  // The errno of what keeps the log from reaching the disk; 0: all is well. While it is set,
  // changes are refused.
  int failure() const { return failure_.load(std::memory_order_relaxed); }
  // For how long it has been set; 0: it is not.
  int64_t failing_ms() const;
  // Any thread, one at a time.
  void set_failure(int error);

  uint64_t tail() const { return tail_.load(std::memory_order_seq_cst); }

  // The AOF thread: the complete bytes from `taken()` on, up to the end of the ring; empty if there
  // are none. Then take() gives their room back. They end behind a record, unless they do at the
  // end of the ring, or pieces() has changed.
  std::string_view complete() const;
  // How many pieces there have been of records for which there was neither room nor memory.
  uint64_t pieces() const { return pieces_.load(std::memory_order_acquire); }
  void take(size_t bytes);
  uint64_t taken() const { return taken_.load(std::memory_order_acquire); }

 private:
  struct Aside {
    uint64_t position;
    size_t bytes;
    Aside* next;
    char data[];
  };

  // Where the bytes of one record, or of several, are written before they are committed.
  struct Space {
    uint64_t start;
    size_t bytes;
    char* out;     // nullptr: by write_through()
    Aside* aside;  // nullptr: in the ring
  };
  class Through;
  void prefetch_ahead(uint64_t start, size_t bytes) const;
  Space reserve(Writer& writer, size_t bytes);
  template <typename Write>
  void fill(Writer& writer, const Space& space, Write write);
  uint64_t commit(Writer& writer, const Space& space);
  uint64_t append_bytes(Writer& writer, std::string_view bytes);
  uint64_t add_to_group(Writer& writer, int db, const std::string_view* words, size_t count);
  uint64_t break_up(Writer& writer);
  void write_through(Writer& writer, uint64_t& at, std::string_view bytes);
  size_t wait_for_room(Writer& writer, uint64_t at);
  // The record kept aside with the lowest position, or nullptr. aside_lock_ is held.
  const Aside* first_aside() const;

  std::unique_ptr<char[]> bytes_;
  std::unique_ptr<Writer[]> writers_;
  int writer_count_ = 0;
  void (*wake_)(void*) = nullptr;
  void* wake_context_ = nullptr;
  bool short_of_memory_ = false;
  std::atomic<int> failure_{0};  // the AOF's threads write it, and since when it is set
  std::atomic<int64_t> failing_since_ms_{0};
  std::atomic<uint64_t> pieces_{0};  // writers
  mutable pthread_mutex_t aside_lock_ = PTHREAD_MUTEX_INITIALIZER;
  Aside* aside_ = nullptr;                      // under aside_lock_
  std::atomic<size_t> aside_count_{0};          // written under aside_lock_
  alignas(64) std::atomic<uint64_t> tail_{0};   // writers
  alignas(64) std::atomic<uint64_t> taken_{0};  // the AOF thread writes it
};

}  // namespace ignix
