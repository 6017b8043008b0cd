// Saving and rewriting: SAVE, BGSAVE, BGREWRITEAOF and the rules by which they start by themselves.
// One job at a time, on a thread of its own.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "durability/snapshot.h"

namespace ignix {

struct Server;

class Persist {
 public:
  enum Job { kNone, kSave, kRewrite };

  explicit Persist(Server& server) : server_(server) {}

  Job running() const { return running_.load(std::memory_order_acquire); }
  bool is_scheduled(Job job) const {
    return scheduled_.load(std::memory_order_relaxed) & bit_of(job);
  }
  bool any_scheduled() const { return scheduled_.load(std::memory_order_relaxed) != 0; }

  // A loop, which holds no lock, while nothing is running. False, with `error`, if there is no
  // thread to be had.
  bool start(Job job, std::string& error);
  // The same, and waits for it. The loop's clients wait as well. Also the main thread, while there
  // are no loops.
  bool save_now(std::string& error);
  // Makes the keyspace the beginning of the append-only file, which is open and not yet started.
  // The loading thread.
  bool write_first_aof(uint64_t& size_bytes, std::string& error);
  // What that has left, if the process ends meanwhile.
  void remove_unfinished() const;
  // To be started when nothing is running. Any thread.
  void schedule(Job job);

  // Loop 0, at each turn: ends what is done, starts what is due.
  void attend() {
    if (attention_.load(std::memory_order_acquire)) look();
  }
  // The main thread, once a second: whether a job is due by the rules of the configuration. Then
  // loop 0 is to be woken.
  bool check_rules();
  // What is running, and what is started from here on, is given up. Any thread.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  // The main thread, when the loops have ended: the end of that. Then there may be a last save.
  void stop();

  uint64_t changes_since_save() const;

  // For INFO. Seconds since 1970; durations in seconds, -1: never.
  struct Status {
    std::atomic<int64_t> last_seconds{-1}, started_ms{0};
    std::atomic<bool> last_good{true};
    std::atomic<uint64_t> count{0};
  };
  const Status& status(Job job) const { return status_[job == kRewrite]; }
  int64_t last_save_time() const { return last_save_time_.load(std::memory_order_relaxed); }
  uint64_t rewritten_bytes() const { return rewritten_bytes_.load(std::memory_order_relaxed); }
  void set_rewritten_bytes(uint64_t bytes) { rewritten_bytes_ = bytes; }
  const SnapshotProgress& progress() const { return progress_; }
  // The data is loaded. The loops run.
  void set_loaded();

 private:
  std::string rewrite_name() const;
  static constexpr unsigned bit_of(Job job) { return 1u << job; }
  static int64_t now_seconds();
  static void* run_thread(void* self);
  void run();
  bool run_save(std::string& error);
  bool run_rewrite(std::string& error);
  void at_instant();
  SnapshotOptions snapshot_options() const;
  bool start_locked(Job job, std::string& error);
  Job take_scheduled();
  void look();
  void join();
  bool rules_ask_for_save() const;
  bool rules_ask_for_rewrite() const;
  bool log_must_be_replaced() const;
  void show_progress();
  Status& status_of(Job job) { return status_[job == kRewrite]; }

  Server& server_;
  std::atomic<Job> running_{kNone};
  std::atomic<unsigned> scheduled_{0};                // bit_of() those that are
  std::atomic<bool> attention_{false};                // there is something for look()
  std::atomic<bool> finished_{false};                 // the thread is done, and waits to be joined
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;  // held while a job starts or is ended
  pthread_t thread_ = {};
  std::unique_ptr<Snapshot> snapshot_;  // of the running job; made and dropped under lock_
  std::string error_;                   // why it failed; its thread's, until that has ended
  std::atomic<bool> cancelled_{false};
  SnapshotProgress progress_;
  // Written at the instant, for the job's thread.
  uint64_t log_offset_ = 0;  // of the append-only file
  uint64_t changes_at_instant_ = 0;
  std::atomic<uint64_t> changes_saved_{0};
  std::atomic<int64_t> last_save_time_{0}, last_try_time_{0};
  std::atomic<uint64_t> rewritten_bytes_{0};  // of the append-only file, when it was last new
  Status status_[2];
  int64_t progress_ms_ = 0;  // the main thread's: when it was last logged
};

}  // namespace ignix
