// The append-only file: a thread that writes what the log ring holds, another that fsyncs once a
// second, so that a slow fsync holds up no write.
//
// After an fsync that failed nobody knows what of the file is on the disk: the kernel may have
// dropped the pages and call them clean, so that the next fsync succeeds and means nothing. The
// file is not fsynced again then, nor is anything acknowledged that needs it, until another one,
// written from memory, has taken its place. Until then an empty file with its name and
// ".fsync-failed" says so to the next server, if this one ends.
//
// The format is Redis's: commands in RESP, one behind the other (see durability/ring.h for the
// choice of the database). A file is locked (flock) as long as a server has it open.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bell.h"
#include "durability/ring.h"
#include "durability/room.h"

namespace ignix {

enum class FsyncPolicy { kAlways, kEverysec, kNo };

// The file takes the place of the one called `to`. A new name is on the disk only when its
// directory is. If it is not kYes, with errno.
enum class Renamed { kNo, kNotOnDisk, kYes };
Renamed rename_durably(const std::string& from, const std::string& to);

// Has the disk begin with bytes `from` to `until` of a file, and waits for nothing but a place in
// its queue. False, with errno, if it fails: then pages may be lost (space that was promised and is
// not there), of which the next fsync knows nothing. See sync_file_range(2).
bool begin_writeback(int fd, uint64_t from, uint64_t until);

class Aof {
 public:
  ~Aof();

  // Opens or creates the file and locks it. False, and one line in `error`, if that fails; then
  // nothing has changed.
  bool open(const std::string& path, std::string& error);
  int fd() const { return fd_; }
  // Whether the last server's fsync of the file failed: what it reads as may not be on the disk.
  bool is_doubtful() const;
  // Before start(): another file, locked and under the same name by now, instead of the one opened.
  void adopt(int fd);
  const std::string& path() const { return path_; }

  // Starts both threads. Records go behind byte `size_bytes` of the file. `on_progress(context)`
  // is called by the AOF's threads whenever acknowledged(), synced() or the ring's failure() has
  // changed.
  bool start(LogRing* ring, uint64_t size_bytes, FsyncPolicy policy, void (*on_progress)(void*),
             void* context);

  // Writes and fsyncs all that was appended, then ends the threads. False, with a log line, if the
  // file could not take it.
  bool stop();

  // After that: another server may have the file.
  void unlock();

  // Any thread, after appending.
  void notify();

  // Replies to changes whose records end at or below this position of the ring may be sent: they
  // are in the file (and on the disk, with kAlways).
  uint64_t acknowledged() const { return acknowledged_.load(std::memory_order_seq_cst); }

  // Up to this position of the ring all is on the disk, whatever the policy: in this file, or in
  // the one that is about to take its place.
  uint64_t synced() const { return synced_.load(std::memory_order_seq_cst); }
  // Any thread: what ends at or below this position is fsynced as soon as it is in the file.
  void sync_soon(uint64_t position);

  uint64_t size_bytes() const { return size_bytes_.load(std::memory_order_relaxed); }

  // The errno of the fsync that failed, until replace() has put another file in the place of the
  // one it failed for; 0: all is well. Any thread.
  int fsync_failure() const { return failures_[kSyncing].load(std::memory_order_relaxed); }

  // Where in the file the record at a position of the ring stands, or will. Until replace().
  uint64_t offset_of(uint64_t position) const {
    return base_bytes_.load(std::memory_order_relaxed) + position;
  }

  // The file that is open as `fd`, under the name `name`, takes the place of this one, from which
  // what stands from byte `from` on is appended to it; nothing that goes into the log meanwhile is
  // missing. What stands before byte `from` the new file has, whether the old one has it yet or
  // not. Any thread but the log's own, one at a time; waits. The old file is closed, or with
  // `error`, if that fails, the new one: then nothing has changed. It fails if fsync_failure() and
  // the old file had to be read.
  bool replace(int fd, const std::string& name, uint64_t from, std::string& error);
  void set_policy(FsyncPolicy policy) { policy_.store(policy, std::memory_order_relaxed); }
  FsyncPolicy policy() const { return policy_.load(std::memory_order_relaxed); }

 private:
  enum Trouble { kWriting, kSyncing };

  std::string open_locked(const std::string& path);
  std::string mark_path() const;
  void mark_as_doubtful();
  static void* run_writer(void* self);
  static void* run_syncer(void* self);
  void write_loop();
  void sync_loop();
  bool write_some(std::string_view bytes);
  ssize_t append(std::string_view bytes);
  bool prefers_room(size_t bytes);
  void keep_from_room();
  ssize_t write_into_room(std::string_view bytes);
  bool make_room();
  bool drop_room();
  bool sync_file();
  bool acknowledge();
  bool sync();
  bool writeback_is_due() const;
  void start_writeback();
  bool forget_cached(uint64_t end);
  bool sync_is_due() const;
  void wake_syncer();
  const char* switch_to_new_file();
  void skip_to(uint64_t offset);
  void report(Trouble trouble, int error);
  void switch_files();

  std::string path_;
  int fd_ = -1;  // once it runs, under sync_lock_ but for the AOF thread, which alone replaces it
  LogRing* ring_ = nullptr;
  void (*on_progress_)(void*) = nullptr;
  void* context_ = nullptr;
  bool running_ = false;
  pthread_t writer_ = {}, syncer_ = {};

  std::atomic<FsyncPolicy> policy_{FsyncPolicy::kEverysec};
  std::atomic<uint64_t> acknowledged_{0};  // the AOF thread writes these two
  std::atomic<uint64_t> size_bytes_{0};
  // The errno of each Trouble. The AOF thread writes the first, who holds sync_lock_ the second.
  std::atomic<int> failures_[2] = {};
  // Of the file before position 0 of the ring; wraps. Written under sync_lock_.
  std::atomic<uint64_t> base_bytes_{0};
  std::atomic<uint64_t> synced_bytes_{0};  // under sync_lock_
  // Under sync_lock_: so much the disk was told to write, and the pages of so much are given up.
  std::atomic<uint64_t> writeback_bytes_{0};
  uint64_t uncached_bytes_ = 0;
  std::atomic<uint64_t> synced_{0};                        // written under sync_lock_
  std::atomic<uint64_t> sync_wanted_{0};                   // the highest position of sync_soon()
  pthread_mutex_t sync_lock_ = PTHREAD_MUTEX_INITIALIZER;  // held while fd_ is fsynced or replaced

  // replace() makes one and waits; the AOF thread does it.
  struct Switch {
    int fd;
    const std::string& name;
    const uint64_t from;
    uint64_t copied;  // up to here the new file has it
    int old_fd = -1;
    std::string error = {};
    bool done = false;  // under lock_
  };
  std::atomic<Switch*> switch_{nullptr};
  std::atomic<bool> stopping_{false};

  // The AOF thread's, for the room behind the log (durability/room.h):
  uint64_t room_end_ = 0;  // where it ends; 0: there is none
  const uint64_t room_number_ = draw_room_number();
  std::unique_ptr<char[]> room_buffer_;  // a group and its padding, or a piece of room
  int short_groups_ = 0;      // of whole records in a row; below 0: so many more must pass
  uint64_t pieces_seen_ = 0;  // LogRing::pieces()

  Bell bell_;  // the AOF thread waits for it; rung when it has something to do
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t second_, switched_;  // under lock_; all on CLOCK_MONOTONIC
};

}  // namespace ignix
