// An event loop: one thread, its own listeners, its own connections. What it shares with the others
// is the server, and its mailbox.
#pragma once

#include <pthread.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/mailbox.h"
#include "command/execute.h"
#include "net/io.h"
#include "server/server.h"

namespace ignix {

class Loop {
 public:
  Loop(Server& server, std::unique_ptr<Loop>* loops, int index);

  // Prepares everything that can fail. False, with a line in `error`.
  bool open(const std::vector<int>& listeners, std::string& error);
  bool start();
  void join() { pthread_join(thread_, nullptr); }

  // Any thread: wakes the loop, to look at what has changed (the server stops, the log got on).
  void wake() { mailbox_.wake(); }
  // Any thread: wakes the loop if it sleeps longer than until this tick (store/deadlines.h).
  void wake_before(int64_t tick) {
    if (tick < sleeps_until_tick_.load(std::memory_order_seq_cst)) wake();
  }
  // Any thread: whether replies wait for the log.
  bool waits_for_log() const { return waits_for_log_.load(std::memory_order_seq_cst); }

  const char* io_name() const { return io_->name(); }

 private:
  static void* run_thread(void* self);
  void run();

  Io* make_io(std::string& error);

  // The steps of a turn.
  void turn();
  int timeout_ms();
  void take_rules();
  void continue_stalled();
  void end_waits();
  void parse_all();
  void watch_clients();
  void run_batch();
  void log_written();
  void let_log_go_first();
  void take_held();
  void finish_all();
  void close_all_dead();
  void adopt_all();
  void tell_status();

  // A connection's part in them.
  void join_turn(Connection& c);
  void parse(Connection& c);
  void expect_large_values(Connection& c);
  void end_slice(Connection& c);
  void fail(Connection& c, const std::string& error);
  void finish(Connection& c);
  void give_back_room(Connection& c);
  bool answer_held(Connection& c);
  void answer(Connection& c);
  bool may_answer(const Connection& c) const;
  void stall(Connection& c);
  void wait_on(Connection& c);
  void end_wait(Connection& c, bool on_disk);

  // accept.cc
  void accept_all();
  void adopt(int fd);
  void refuse(int fd);

  // trouble.cc
  int trouble_timeout_ms() const;
  void end_holds();
  bool tell_of_trouble(Connection& c);

  // large.cc
  void receive_into_block(Connection& c);
  void put_received_back(Connection& c);

  // maintain.cc
  void expire();
  bool may_expire() const;
  int expire_timeout_ms();
  void maintain();
  bool make_room();
  // What may have left memory to be tidied.
  uint64_t activity() {
    return batch_.commands_run() + gone_logger_.count() + server_.keyspace.blocks().freed();
  }

  // close.cc
  static constexpr int kOverdueCheckMs = 1000;
  void close_killed();
  void close_overdue();
  void close_too_long(Connection& c);
  bool over_output_limit(Connection& c, size_t waiting);
  void close_over_limit(Connection& c);
  void close_connection(Connection& c);
  void finish_stop();

  Server& server_;
  std::unique_ptr<Loop>* loops_;  // all of them, by number
  const int index_;
  LoopStatus& status_;
  pthread_t thread_ = {};

  BufferPool pool_;
  std::unique_ptr<Io> io_;
  Turn turn_;
  Mailbox<int> mailbox_;  // descriptors of connections to adopt
  std::vector<int> mail_;
  Env env_;
  Batch batch_;
  Parser::Limits limits_ = {};  // read once for each turn
  size_t query_limit_bytes_ = 0;

  std::vector<Connection*> in_turn_;  // those to be finished at the end of the turn
  std::vector<Connection*> held_;     // their replies wait for the log
  uint64_t acknowledged_seen_ = 0;    // of the log, when held_ was last looked at
  std::vector<Connection*> stalled_;  // they have commands that could not be run yet
  std::vector<Connection*> waiting_;  // they wait, as Session::wait says
  int64_t wait_ends_ms_ = 0;          // not before that, but for those that wait for the disk
  uint64_t synced_seen_ = 0;          // how far the log was on the disk then
  bool sliced_ = false;               // some of them only for the sake of others
  std::vector<Connection*> dead_;     // to be freed at the end of the turn
  uint64_t log_tail_before_ = 0;      // of the turn
  int64_t yield_again_us_ = 0;        // not before: others took the CPU
  int64_t now_mono_ms_ = 0;           // read once for each turn
  int64_t overdue_check_ms_ = 0;      // when clients were last looked at for it
  int64_t maintained_ms_ = 0;         // when maintain() last worked
  uint64_t activity_maintained_ = 0;  // by then
  bool maintain_more_ = false;        // it left work undone
  GoneLogger gone_logger_;
  ExpiryWalk expiry_walk_;                             // loop 0's alone, as what follows
  int64_t expire_again_us_ = 0;                        // not before, by CLOCK_MONOTONIC
  int64_t expire_started_us_ = 0;                      // when it began
  std::atomic<int64_t> sleeps_until_tick_{INT64_MIN};  // it is awake
  uint32_t maintain_stripe_;                           // looked at last; loops start apart
  int64_t accept_again_ms_ = 0;  // accepting is paused until then; 0: it is not
  bool accept_failed_ = false;   // and it has been logged
  std::atomic<bool> waits_for_log_{false};
};

}  // namespace ignix
