#include "server/persist.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"
#include "server/server.h"

namespace ignix {
namespace {

constexpr int64_t kRetrySeconds = 5;  // after a save by the rules that failed
constexpr int64_t kProgressMs = 5000;

const char* job_name(Persist::Job job) {
  return job == Persist::kSave ? "saving" : "rewriting the append-only file";
}

// A new file, whatever has the name: it could be another name of a file of data.
int make_file(const std::string& name, std::string& error) {
  unlink(name.c_str());
  const int fd = open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) error = "cannot open '" + name + "': " + strerror(errno);
  return fd;
}

bool put_in_place(const std::string& from, const std::string& to, std::string& error) {
  const Renamed renamed = rename_durably(from, to);
  if (renamed == Renamed::kNo) {
    error = "cannot rename '" + from + "' to '" + to + "': " + strerror(errno);
  } else if (renamed == Renamed::kNotOnDisk) {
    error = "cannot fsync the directory of '" + to + "': " + strerror(errno);
  }
  return renamed == Renamed::kYes;
}

}  // namespace

int64_t Persist::now_seconds() { return wall_ms() / 1000; }

uint64_t Persist::changes_since_save() const {
  return server_.total(&LoopStatus::changes) - changes_saved_.load(std::memory_order_relaxed);
}

// ---- one job

SnapshotOptions Persist::snapshot_options() const {
  const Config& config = server_.config;
  return {.rdbcompression = config.rdbcompression != 0,
          .rdbchecksum = config.rdbchecksum != 0,
          .usage = config.evict_rules(wall_ms()).usage};
}

bool Persist::start(Job job, std::string& error) {
  pthread_mutex_lock(&lock_);
  const bool started = start_locked(job, error);
  pthread_mutex_unlock(&lock_);
  if (attention_.load(std::memory_order_acquire)) server_.wake_loop(server_, 0);  // as below
  return started;
}

bool Persist::start_locked(Job job, std::string& error) {
  if (running() != kNone) {
    error = std::string("busy ") + job_name(running());
    return false;
  }
  server_.keyspace.set_shared(true);
  snapshot_ =
      std::make_unique<Snapshot>(server_.keyspace, progress_, snapshot_options(), &cancelled_);
  status_of(job).started_ms = monotonic_ms();
  last_try_time_ = now_seconds();
  finished_ = false;
  running_ = job;
  snapshot_->begin([](void* self) { static_cast<Persist*>(self)->at_instant(); }, this);
  if (pthread_create(&thread_, nullptr, run_thread, this) == 0) return true;
  // The snapshot has begun, so it must end: here, and to nowhere.
  error = "cannot start a thread";
  std::string none;
  snapshot_->write(-1, false, none);
  status_of(job).last_good = false;
  snapshot_.reset();
  running_ = kNone;
  server_.keyspace.set_shared(server_.loop_count > 1);
  return false;
}

void Persist::at_instant() {
  changes_at_instant_ = server_.total(&LoopStatus::changes);
  log_offset_ = server_.aof.offset_of(server_.ring.tail());
}

void* Persist::run_thread(void* self) {
  pthread_setname_np(pthread_self(), "persist");
  static_cast<Persist*>(self)->run();
  return nullptr;
}

void Persist::run() {
  const Job job = running();
  Status& status = status_of(job);
  std::string& error = error_;
  error.clear();
  const bool good_before = status.last_good;
  const bool mends = job == kRewrite && log_must_be_replaced();  // tried once a second
  const bool good = job == kSave ? run_save(error) : run_rewrite(error);
  const int64_t took_ms = monotonic_ms() - status.started_ms;
  status.last_good = good;
  status.last_seconds = took_ms / 1000;
  if (good) {
    status.count++;
    log_notice("%s is done: %llu keys in %lld ms", job_name(job),
               (unsigned long long)progress_.keys_done.load(), (long long)took_ms);
  } else if (mends && !good_before) {
    log_verbose("%s failed again: %s", job_name(job), error.c_str());
  } else {
    log_warning("%s failed: %s", job_name(job), error.c_str());
  }
  finished_.store(true, std::memory_order_release);
  attention_.store(true, std::memory_order_release);
  server_.wake_loop(server_, 0);
}

bool Persist::run_save(std::string& error) {
  const std::string name = "temp-" + std::to_string(getpid()) + ".rdb";
  const int fd = make_file(name, error);
  std::string unused;
  bool good = snapshot_->write(fd, false, fd < 0 ? unused : error) && fd >= 0;
  if (fd >= 0) close(fd);
  if (good && snapshot_->was_flushed()) {
    error = "a database was flushed meanwhile";
    good = false;
  }
  good = good && put_in_place(name, server_.config.dbfilename, error);
  if (!good) {
    if (fd >= 0) unlink(name.c_str());
    return false;
  }
  changes_saved_ = changes_at_instant_;
  last_save_time_ = now_seconds();
  return true;
}

std::string Persist::rewrite_name() const { return server_.config.appendfilename + ".rewrite"; }

void Persist::remove_unfinished() const { unlink(rewrite_name().c_str()); }

bool Persist::run_rewrite(std::string& error) {
  const std::string name = rewrite_name();
  const int fd = make_file(name, error);
  std::string unused;
  bool good = snapshot_->write(fd, true, fd < 0 ? unused : error) && fd >= 0;
  if (good && flock(fd, LOCK_EX | LOCK_NB) != 0) {
    error = "cannot lock '" + name + "': " + strerror(errno);
    good = false;
  }
  if (good) {
    good = server_.aof.replace(fd, name, log_offset_, error);  // closes it
  } else if (fd >= 0) {
    close(fd);
  }
  if (good) {
    rewritten_bytes_ = server_.aof.size_bytes();
  } else if (fd >= 0) {
    unlink(name.c_str());
  }
  return good;
}

void Persist::join() {
  pthread_join(thread_, nullptr);
  snapshot_.reset();
  running_.store(kNone, std::memory_order_release);
  server_.keyspace.set_shared(server_.loop_count > 1);
}

bool Persist::save_now(std::string& error) {
  pthread_mutex_lock(&lock_);
  bool good = start_locked(kSave, error);
  if (good) {
    join();
    error = error_;
    good = status(kSave).last_good;
  }
  pthread_mutex_unlock(&lock_);
  // It may have looked while the lock was held, and in vain.
  if (attention_.load(std::memory_order_acquire)) server_.wake_loop(server_, 0);
  return good;
}

bool Persist::write_first_aof(uint64_t& size_bytes, std::string& error) {
  const std::string name = rewrite_name();
  const int fd = make_file(name, error);
  if (fd < 0) return false;
  Snapshot snapshot(server_.keyspace, progress_, snapshot_options());
  snapshot.begin(nullptr, nullptr);
  bool good = snapshot.write(fd, true, error);
  if (!good) error = "cannot write '" + name + "': " + error;
  if (good && flock(fd, LOCK_EX | LOCK_NB) != 0) {
    error = "cannot lock '" + name + "': " + strerror(errno);
    good = false;
  }
  if (good && put_in_place(name, server_.config.appendfilename, error)) {
    server_.aof.adopt(fd);
    size_bytes = progress_.written_bytes;
    return true;
  }
  close(fd);
  unlink(name.c_str());
  return false;
}

// ---- by and by

void Persist::set_loaded() {
  last_save_time_ = last_try_time_ = now_seconds();
  attention_.store(true, std::memory_order_release);
  server_.wake_loop(server_, 0);
}

void Persist::schedule(Job job) {
  scheduled_.fetch_or(bit_of(job));
  attention_.store(true, std::memory_order_release);
}

// A rewrite goes first, as in Redis; then the other one is looked at when it is done.
Persist::Job Persist::take_scheduled() {
  for (const Job job : {kRewrite, kSave}) {
    if (scheduled_.fetch_and(~bit_of(job)) & bit_of(job)) return job;
  }
  return kNone;
}

void Persist::look() {
  // While another loop is at it, for SAVE perhaps, this one looks again at its next turn.
  if (pthread_mutex_trylock(&lock_) != 0) return;
  // What has been asked for by now is seen below; what is asked for later raises it again.
  attention_.exchange(false, std::memory_order_acq_rel);
  if (running() != kNone && finished_.load(std::memory_order_acquire)) join();
  if (running() == kNone) {
    const Job job = take_scheduled();
    std::string error;
    if (job != kNone && !start_locked(job, error)) {
      log_warning("%s failed: %s", job_name(job), error.c_str());
    }
  }
  // Until now the thread that loaded the data took locks as well.
  if (running() == kNone) server_.keyspace.set_shared(server_.loop_count > 1);
  pthread_mutex_unlock(&lock_);
}

bool Persist::rules_ask_for_save() const {
  const SaveRules& rules = server_.config.save_rules;
  const int64_t now = now_seconds();
  if (!status(kSave).last_good && now - last_try_time_ < kRetrySeconds) return false;
  const uint64_t changes = changes_since_save();
  for (int i = 0; i < rules.count.load(std::memory_order_acquire); i++) {
    const SaveRules::Rule& rule = rules.of[i];
    if (changes >= uint64_t(rule.changes) && now - last_save_time_ > rule.seconds) return true;
  }
  return false;
}

bool Persist::rules_ask_for_rewrite() const {
  if (!server_.config.appendonly) return false;
  const uint64_t size = server_.aof.size_bytes();
  const int64_t percent = server_.config.aof_rewrite_percentage;
  if (percent == 0 || int64_t(size) < server_.config.aof_rewrite_min_bytes) return false;
  if (!status(kRewrite).last_good && now_seconds() - last_try_time_ < kRetrySeconds) return false;
  const uint64_t base = std::max<uint64_t>(1, rewritten_bytes());
  return size > base && (size - base) * 100 / base >= uint64_t(percent);
}

// Once a second, as often as the rules are checked, until it has been done.
bool Persist::log_must_be_replaced() const {
  return server_.config.appendonly && server_.aof.fsync_failure() != 0;
}

bool Persist::check_rules() {
  show_progress();
  if (running() != kNone || any_scheduled()) return false;
  const bool mends = log_must_be_replaced();
  const Job due = mends                     ? kRewrite
                  : rules_ask_for_save()    ? kSave
                  : rules_ask_for_rewrite() ? kRewrite
                                            : kNone;
  if (due == kNone) return false;
  if (mends) {
    log_verbose("rewriting the append-only file, for its fsync has failed");
  } else if (due == kSave) {
    log_notice("%llu changes: saving", (unsigned long long)changes_since_save());
  } else {
    log_notice("the append-only file has grown to %llu bytes: rewriting it",
               (unsigned long long)server_.aof.size_bytes());
  }
  schedule(due);
  return true;
}

void Persist::show_progress() {
  const Job job = running();
  if (job == kNone) {
    progress_ms_ = monotonic_ms();
    return;
  }
  if (monotonic_ms() - progress_ms_ < kProgressMs) return;
  progress_ms_ = monotonic_ms();
  log_notice("%s: %llu of %llu keys", job_name(job), (unsigned long long)progress_.keys_done.load(),
             (unsigned long long)progress_.keys_total.load());
}

void Persist::stop() {
  pthread_mutex_lock(&lock_);
  cancel();
  if (running() != kNone) join();
  cancelled_ = false;
  pthread_mutex_unlock(&lock_);
}

// ---- commands

namespace {

// Within a transaction a job is only scheduled, as in Redis: its instant is to be one between
// commands, and who starts it holds no lock.
void schedule_in_transaction(Call& call, Persist::Job job, const char* scheduled) {
  call.env.server->persist.schedule(job);
  call.env.server->wake_loop(*call.env.server, 0);
  call.reply.simple(scheduled);
}

constexpr const char* kSaving = "ERR Background save already in progress";
constexpr const char* kRewriting = "ERR Background append only file rewriting already in progress";

void start_or_fail(Call& call, Persist::Job job, const char* done) {
  std::string error;
  Persist& persist = call.env.server->persist;
  if (persist.start(job, error)) return call.reply.simple(done);
  // Another loop was faster.
  if (persist.running() == Persist::kSave) return call.reply.error(kSaving);
  if (persist.running() == Persist::kRewrite) return call.reply.error(kRewriting);
  call.reply.errorf("ERR %s", error.c_str());
}

}  // namespace

void run_save(Call& call) {
  Persist& persist = call.env.server->persist;
  if (persist.running() == Persist::kSave) return call.reply.error(kSaving);
  if (persist.running() == Persist::kRewrite) return call.reply.error(kRewriting);
  std::string error;
  if (!persist.save_now(error)) return call.reply.errorf("ERR %s", error.c_str());
  call.reply.ok();
}

void run_bgsave(Call& call) {
  Persist& persist = call.env.server->persist;
  const bool schedule = call.word_count == 2 && equal_ignoring_case(call.words[1], "schedule");
  if (call.word_count > 1 && !schedule) return reply_syntax_error(call);
  if (persist.running() == Persist::kSave) return call.reply.error(kSaving);
  if (call.env.in_transaction) {
    return schedule_in_transaction(call, Persist::kSave, "Background saving scheduled");
  }
  if (persist.running() == Persist::kNone) {
    return start_or_fail(call, Persist::kSave, "Background saving started");
  }
  if (!schedule) {
    return call.reply.error(
        "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE "
        "in "
        "order to schedule a BGSAVE whenever possible.");
  }
  persist.schedule(Persist::kSave);
  call.reply.simple("Background saving scheduled");
}

void run_lastsave(Call& call) { call.reply.integer(call.env.server->persist.last_save_time()); }

void run_bgrewriteaof(Call& call) {
  Server& server = *call.env.server;
  if (!server.config.appendonly) {
    return call.reply.error("ERR There is no append-only file: appendonly is no");
  }
  if (server.persist.running() == Persist::kRewrite) {
    return call.reply.error(kRewriting);
  }
  if (call.env.in_transaction) {
    return schedule_in_transaction(call, Persist::kRewrite,
                                   "Background append only file rewriting scheduled");
  }
  if (server.persist.running() == Persist::kNone) {
    return start_or_fail(call, Persist::kRewrite, "Background append only file rewriting started");
  }
  server.persist.schedule(Persist::kRewrite);
  call.reply.simple("Background append only file rewriting scheduled");
}

}  // namespace ignix
