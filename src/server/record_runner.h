// Runs the records of an append-only file: those of one key by many threads, each with its own
// stripes, a chunk at a time; all others by the calling thread, in between. So the order of changes
// stays what it was for every key.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "command/execute.h"
#include "server/load_pool.h"
#include "server/server.h"

namespace ignix {

class RecordRunner {
 public:
  explicit RecordRunner(Server& server);

  // Where the next record's words go; then add(). What they point at stays where it is until
  // finish(), unless the buffer that it is in is given to take_buffer().
  Words& record() { return record_; }
  // The record, which starts at byte `offset`, must be a command that changes something, or the
  // choice of a database, and must work. False once one does not. What stands between MULTI and
  // EXEC is run when EXEC has come.
  bool add(uint64_t offset);
  // An empty buffer takes its place.
  void take_buffer(Buffer& full);
  // All records have been run afterwards, but for those of a transaction without its EXEC.
  void finish();
  // The database's table grows to about so many keys, by all threads, before the records that are
  // yet to be run.
  void expect(int db, uint64_t keys);

  // Whether an EXEC is missing; where its MULTI starts.
  bool in_group() const { return in_group_; }
  uint64_t group_offset() const { return group_offset_; }

  int db() const { return own_.session.db; }
  bool failed() const { return failed_; }
  // Of the first record that failed.
  uint64_t failed_offset() const { return failed_offset_; }
  const std::string& what() const { return what_; }
  // It is a command that Ignix does not have: no damage.
  bool lacks_command() const { return lacks_command_; }

 private:
  // One thread's means to run records.
  struct Lane {
    explicit Lane(Server& server);
    void run();

    Env env;
    Batch batch;
    Session session;
    bool failed = false;
    uint64_t failed_offset = 0;
    std::string what;
  };
  struct Item {
    const Command* command;
    uint64_t hash, offset;
    uint32_t first_word, word_count;
    int db;
  };
  struct Expected {
    int db;
    uint64_t keys;
  };
  // A record of a transaction that has not come to its end.
  struct Kept {
    uint64_t offset;
    std::vector<std::string> words;
  };
  // Records of one key each.
  struct Chunk {
    size_t count = 0;
    std::vector<std::string_view> words;
    std::vector<std::vector<Item>> of_worker;
    std::vector<Expected> expected;         // before its records
    std::vector<std::vector<Kept>> groups;  // transactions whose words are among `words`
    Buffer buffer;  // to be kept until this chunk and all before it have been run
  };
  static constexpr size_t kChunkRecords = 16 * 1024;
  static constexpr size_t kBufferBytesKept = 4 << 20;  // larger ones are given up at once

  bool begin_group(uint64_t offset);
  bool run_group(uint64_t offset);
  bool add_change(uint64_t offset);
  bool select();
  void add_narrow(const Command& command, uint64_t offset);
  void dispatch();
  void run_own();
  void expect_in_own(const Expected& expected, int worker);
  static void run_chunk(void* self, size_t number, int worker);
  void fail(uint64_t offset, const std::string& what, bool lacks_command = false);
  bool refuse(uint64_t offset, const Command* command);
  void take_failure(const Lane& lane);
  void wait_for_lanes();

  Keyspace& keyspace_;
  Words record_;
  Lane own_;                                  // for records that are not of one key
  std::vector<std::unique_ptr<Lane>> lanes_;  // of the pool's workers, and theirs until it is idle
  std::atomic<bool> lane_failed_{false};
  Chunk chunks_[LoadPool::kChunks];
  Chunk* open_;  // that is being filled; the pool is at the others
  bool in_group_ = false;
  uint64_t group_offset_ = 0;
  std::vector<Kept> group_;
  bool failed_ = false;
  uint64_t failed_offset_ = 0;
  std::string what_;
  bool lacks_command_ = false;
  LoadPool pool_;  // the last: its threads end before the rest goes
};

}  // namespace ignix
