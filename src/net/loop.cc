// The turn of a loop is a batch: receive from every ready connection, parse, run in batches, then
// send, one send for each connection, and one before where replies have waited for the log (large
// values: net/large.cc, net/splice.h). New connections: net/accept.cc; how connections end:
// net/close.cc; what a loop does besides: net/maintain.cc.
//
// What holds a connection up, besides its client:
//
//     blocked         its next command cannot run: no room in the log, its client must read, or a
//                     snapshot is behind; ends when it is taken from stalled_
//     stalled         on stalled_: it is looked at again at the next turn
//     held            on held_: its replies wait for the log. If it has changed much since the
//                     first of them, its next command waits as well. Ends when the log has come
//                     so far, or is in trouble for long: net/trouble.cc
//     waiting         on waiting_: it has sent WAIT or WAITAOF, and what it has sent since is not
//                     looked at; ends in end_waits(). Its end of file is the end of it
//     reading_paused  nothing more is received: its client must read, or it has sent far ahead of
//                     what was run; ends in finish()
#include "net/loop.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/sched.h"
#include "net/stage.h"

namespace ignix {

Loop::Loop(Server& server, std::unique_ptr<Loop>* loops, int index)
    : server_(server),
      loops_(loops),
      index_(index),
      status_(server.loops[index]),
      env_{&server.keyspace, nullptr, nullptr, &server},
      batch_(env_),
      gone_logger_(env_),
      maintain_stripe_(uint32_t(index) * server.keyspace.stripe_count() /
                       uint32_t(server.loop_count)) {}

bool Loop::open(const std::vector<int>& listeners, std::string& error) {
  io_.reset(make_io(error));
  if (!io_) return false;
  bool opened = mailbox_.open() && io_->watch_mailbox(mailbox_.event_fd());
  for (int fd : listeners) opened = opened && io_->watch_listener(fd);
  if (!opened) error = std::string("cannot prepare an event loop: ") + strerror(errno);
  env_.loading = &server_.loading.active;
  env_.hll_sparse_bytes = &server_.config.hll_sparse_bytes;
  if (server_.config.appendonly) {
    env_.log = &server_.ring;
    env_.writer = &server_.ring.writer(index_);
  }
  return opened;
}

// What --io asks for; `auto`: io_uring, until the kernel refuses it to a loop.
Io* Loop::make_io(std::string& error) {
  const IoChoice choice = IoChoice(server_.config.io.load());
  if (choice != IoChoice::kEpoll) {
    Io* io = make_uring_io(pool_, error);
    if (io || choice == IoChoice::kUring) return io;
    log_notice("%s; using epoll", error.c_str());
    server_.config.io = int64_t(IoChoice::kEpoll);
  }
  return make_epoll_io(pool_, error);
}

bool Loop::start() {
  if (pthread_create(&thread_, nullptr, run_thread, this) != 0) return false;
  pthread_setname_np(thread_, ("loop-" + std::to_string(index_)).c_str());
  return true;
}

void* Loop::run_thread(void* self) {
  static_cast<Loop*>(self)->run();
  return nullptr;
}

void Loop::run() {
  take_short_slices();
  while (!server_.stopping.load(std::memory_order_acquire)) turn();
  finish_stop();
}

void Loop::turn() {
  turn_.accepted.clear();
  turn_.ready.clear();
  turn_.mail = false;
  turn_.accept_error = 0;
  io_->wait(timeout_ms(), turn_);
  if (index_ == 0) sleeps_until_tick_.store(INT64_MIN, std::memory_order_relaxed);
  // Before anything that a wake-up may be about: it is consumed here.
  if (turn_.mail) mailbox_.take(mail_);
  env_.now_ms = wall_ms();
  server_.keyspace.set_time(env_.now_ms);
  take_rules();
  env_.rdbcompression = server_.config.rdbcompression;
  now_mono_ms_ = monotonic_ms();
  continue_stalled();
  end_waits();
  end_holds();
  parse_all();
  run_batch();
  log_written();
  finish_all();
  close_killed();
  close_overdue();
  // Behind the closing, which makes room below maxclients.
  adopt_all();
  accept_all();
  close_all_dead();
  expire();
  maintain();
  tell_status();
  if (index_ == 0) server_.persist.attend();
}

// What maxmemory-policy and its like are, as of this turn, and how much a client may have to read.
void Loop::take_rules() {
  env_.evict = server_.config.evict_rules(env_.now_ms);
  env_.evict_tenacity = int(server_.config.eviction_tenacity.load(std::memory_order_relaxed));
  env_.clock = env_.evict.usage.fresh_clock(env_.now_ms);
  env_.output_bytes_max =
      server_.config.output_limits[ClientClass::kNormal].hard_bytes.load(std::memory_order_relaxed);
}

// Stalled connections wait for the log, whose progress wakes the loop, or for the next turn.
int Loop::timeout_ms() {
  constexpr int kStalledMs = 1, kForEver = kWaitMsMax + 1;
  int ms = kForEver;
  if (!stalled_.empty()) ms = sliced_ ? 0 : kStalledMs;
  if (!held_.empty() && env_.log->failure()) ms = std::min(ms, trouble_timeout_ms());
  if (accept_again_ms_) ms = std::min(ms, kAcceptRetryMs);
  if (!waiting_.empty()) {
    const int64_t left_ms = wait_ends_ms_ - monotonic_ms();
    ms = std::min(ms, int(std::clamp<int64_t>(left_ms, 0, kWaitMsMax)));
  }
  if (server_.config.watches_clients()) ms = std::min(ms, kOverdueCheckMs);
  if (index_ == 0) {
    const int expire_ms = expire_timeout_ms();
    if (expire_ms >= 0) ms = std::min(ms, expire_ms);
  }
  if (maintain_more_) {
    ms = std::min(ms, kMaintainIdleMs);
  } else if (activity() != activity_maintained_) {
    ms = std::min(ms, kMaintainCheckMs);
  }
  return ms == kForEver ? -1 : ms;
}

void Loop::adopt_all() {
  for (int fd : mail_) adopt(fd);
  mail_.clear();
}

void Loop::join_turn(Connection& c) {
  if (c.in_turn) return;
  c.in_turn = true;
  in_turn_.push_back(&c);
}

// Those that have waited for room in the log, or for their client to read, go first.
void Loop::continue_stalled() {
  sliced_ = false;
  for (Connection* c : stalled_) {
    c->stalled = c->blocked = false;
    join_turn(*c);
  }
  stalled_.clear();
}

// Looks at those that wait only if for one of them it can be over.
void Loop::end_waits() {
  if (waiting_.empty()) return;
  const uint64_t synced = server_.aof.synced();
  if (synced == synced_seen_ && now_mono_ms_ < wait_ends_ms_) return;
  synced_seen_ = synced;
  std::vector<Connection*> waiting;
  waiting.swap(waiting_);
  for (Connection* c : waiting) {
    const bool on_disk = env_.log && c->log_position <= synced;
    c->waiting = false;
    if (now_mono_ms_ >= c->wait.until_ms || (c->wait.for_disk && on_disk)) {
      end_wait(*c, on_disk);
    } else {
      wait_on(*c);
    }
  }
}

void Loop::wait_on(Connection& c) {
  if (c.waiting) return;
  wait_ends_ms_ = waiting_.empty() ? c.wait.until_ms : std::min(wait_ends_ms_, c.wait.until_ms);
  c.waiting = true;
  c.shown_waiting.store(true, std::memory_order_relaxed);
  waiting_.push_back(&c);
}

// The reply, and what the client has sent since.
void Loop::end_wait(Connection& c, bool on_disk) {
  const Wait wait = std::exchange(c.wait, {});
  c.shown_waiting.store(false, std::memory_order_relaxed);
  c.blocked = false;
  if (wait.heard) {
    pool_.lend(c.output.own());
    Reply reply(c.output, c.protocol.load(std::memory_order_relaxed));
    wait.reply(reply, on_disk);
    if (reply.failed()) c.close_after_reply = true;
  }
  join_turn(c);
}

void Loop::parse_all() {
  limits_.bulk_bytes = env_.string_bytes_max =
      server_.config.bulk_bytes.load(std::memory_order_relaxed);
  query_limit_bytes_ = size_t(server_.config.query_buffer_bytes.load(std::memory_order_relaxed));
  watch_clients();
  log_tail_before_ = server_.ring.tail();
  // All loops look at once, and each may use its part.
  env_.output_room_bytes = (int64_t(kOutputBytesAllClients) -
                            int64_t(server_.total(&LoopStatus::output_pending_bytes))) /
                           server_.loop_count;
  for (Connection* c : turn_.ready) join_turn(*c);
  for (size_t i = 0; i < in_turn_.size(); i++) parse(*in_turn_[i]);
}

// Who is amid a large value was not looked at for every part of it: it counts as active now.
void Loop::watch_clients() {
  const bool watches = server_.config.watches_clients();
  if (watches == io_->watches_clients()) return;
  io_->watch_clients(watches);
  if (!watches) return;
  status_.registry.for_each([&](Client& client) {
    Connection& c = static_cast<Connection&>(client);
    if (c.missing_of_block() == 0) return;
    clear_low_water(c);
    c.active_ms.store(now_mono_ms_, std::memory_order_relaxed);
  });
}

// Others have their turn before the rest of a deep pipeline, of which no more is received meanwhile
// than is worth it.
void Loop::end_slice(Connection& c) {
  stall(c);
  sliced_ = true;
  if (c.input.size() - c.parsed > kStalledInputBytes) io_->pause_reading(c, true);
}

// A long command has been copied together. The next one shall not be.
void Loop::expect_large_values(Connection& c) {
  const bool was_careful = c.careful > 0;
  c.careful = kCarefulReads;
  if (!was_careful) io_->change_receive(c);
}

// Replies that wait for the log go before more changes are made, if they can. Without that they
// would wait for ever while the client goes on sending. False if it has run too far ahead of them.
bool Loop::answer_held(Connection& c) {
  if (may_answer(c)) {
    if (!c.broken && !c.awaits_writable) answer(c);
    return true;
  }
  if (c.log_position - c.held_from <= kHeldLogBytes) return true;
  if (c.input.size() - c.parsed > kStalledInputBytes) io_->pause_reading(c, true);
  return false;
}

void Loop::parse(Connection& c) {
  if (c.held_from && !c.close_after_reply && !c.is_waiting() && !answer_held(c)) return;
  if (c.output.empty() || may_answer(c)) c.change_replies.clear();
  while (!c.broken && !c.close_after_reply && !c.blocked && !c.is_waiting() &&
         c.missing_of_block() == 0) {
    const size_t first_word = batch_.words().size();
    const ParseStatus status = c.parser.parse(c.input.data() + c.parsed, c.input.size() - c.parsed,
                                              limits_, batch_.words());
    if (status == ParseStatus::kIncomplete) {
      receive_into_block(c);
      break;
    }
    if (status == ParseStatus::kError) {
      run_batch();
      if (c.is_waiting()) {
        c.parser.reset();  // the same error will be found then
      } else if (!c.blocked && !c.close_after_reply) {
        fail(c, c.parser.error());
      }
      return;
    }
    if (c.parser.consumed() > query_limit_bytes_) {
      batch_.words().truncate(first_word);
      return close_too_long(c);
    }
    const size_t start = c.parsed;
    c.parsed += c.parser.consumed();
    if (c.parser.consumed() >= kReceiveBlockBytes) expect_large_values(c);
    pool_.lend(c.output.own());  // if there is no memory, the reply finds out
    batch_.add(c, first_word, &c, start, c.parser.is_canonical());
    if (batch_.full() || c.received) run_batch();
    if (c.received && !c.blocked) c.drop_received();
    if (c.parsed >= kSliceBytes && c.parsed < c.input.size() && !c.blocked) {
      end_slice(c);
      break;
    }
  }
  if (c.close_after_reply) c.parsed = c.input.size();  // nobody looks at it any more
  const size_t in_block = c.received ? c.received_bytes : 0;
  const size_t open = c.input.size() - c.parsed + c.parser.held_bytes() + in_block + c.kept_bytes();
  const bool is_read_on = (!c.blocked && !c.stalled) || c.is_waiting();
  if (is_read_on && open > query_limit_bytes_) close_too_long(c);
}

void Loop::fail(Connection& c, const std::string& error) {
  if (c.hears()) {
    Reply reply(c.output, c.protocol.load(std::memory_order_relaxed));
    reply.errorf("ERR %s", error.c_str());
  }
  log_verbose("protocol error from client %llu (%s): %s", (unsigned long long)c.id,
              c.address.c_str(), error.c_str());
  c.close_after_reply = true;
}

void Loop::run_batch() {
  if (batch_.empty()) return batch_.words().reset();
  batch_.run([this](void* tag, size_t input_offset) {
    // Not run: it is parsed again when the log has room, or the client has read.
    Connection& c = *static_cast<Connection*>(tag);
    c.parsed = input_offset;
    c.parser.reset();
    if (c.received) put_received_back(c);
    if (c.is_waiting()) return;
    const bool for_output = batch_.output_full(c);
    if (!for_output) stall(c);
    if (for_output || c.input.size() > kStalledInputBytes) io_->pause_reading(c, true);
  });
}

void Loop::stall(Connection& c) {
  if (c.stalled) return;
  c.stalled = true;
  stalled_.push_back(&c);
}

// One wake-up of the AOF thread for all that the turn has changed; and the replies whose changes
// are in the file by now.
void Loop::log_written() {
  if (!env_.log) return;
  if (server_.ring.tail() != log_tail_before_) {
    server_.aof.notify();
    let_log_go_first();
  }
  take_held();
}

// If the AOF thread is to run on this CPU, it does so now: else the loop would hold all replies and
// sleep, only to be woken by it. But where others run here, who keep the CPU for longer than that
// thread would, they get no more than their share.
void Loop::let_log_go_first() {
  const int64_t now_us = clock_us(CLOCK_MONOTONIC);
  if (now_us < yield_again_us_) return;
  sched_yield();
  const int64_t back_us = clock_us(CLOCK_MONOTONIC);
  if (back_us - now_us > kYieldUsMax) yield_again_us_ = back_us + kYieldPauseUs;
}

// Looks at them only if the log has got on since it last did: there may be many, and many turns
// before it does.
void Loop::take_held() {
  const uint64_t acknowledged = server_.aof.acknowledged();
  if (acknowledged == acknowledged_seen_) return;
  acknowledged_seen_ = acknowledged;
  std::erase_if(held_, [this, acknowledged](Connection* c) {
    if (c->log_position > acknowledged) return false;
    c->held = false;
    join_turn(*c);
    return true;
  });
}

void Loop::finish_all() {
  do {
    for (size_t i = 0; i < in_turn_.size(); i++) finish(*in_turn_[i]);
    in_turn_.clear();
    // The flag is raised before the log is looked at once more: its thread sees the flag, or we see
    // its progress.
    waits_for_log_.store(!held_.empty() || !waiting_.empty(), std::memory_order_seq_cst);
    take_held();
  } while (!in_turn_.empty());
  if (!waiting_.empty() && server_.aof.synced() != synced_seen_) wake();
}

bool Loop::may_answer(const Connection& c) const {
  return !env_.log || c.log_position <= server_.aof.acknowledged() ||
         c.log_position == c.told_position;
}

// The end of a connection's part in the turn: the input that has been run is dropped, the replies
// are sent or held, and what has ended is closed.
void Loop::finish(Connection& c) {
  c.in_turn = false;
  c.input.consume(c.parsed);
  c.parsed = 0;
  if (c.input.empty()) {
    pool_.take_back(c.input);
  } else {
    c.input.compact();
    if (c.input.capacity() > kSpareBufferBytesMax) give_back_room(c);
  }
  if (c.output_cut && !c.broken) return close_over_limit(c);
  const size_t sending_before = c.sending.size();
  const bool was_held = c.held_from;
  if (!c.output.empty() && !c.broken && (!c.awaits_writable || c.writable)) answer(c);
  if (c.output.empty()) pool_.take_back(c.output.own());
  // It may have commands that were not to be run yet.
  if (was_held && !c.held_from && !c.input.empty()) {
    stall(c);
    sliced_ = true;
  }
  c.writable = false;
  c.active_ms.store(now_mono_ms_, std::memory_order_relaxed);
  if (c.reading_paused && !c.stalled && !c.held && c.unsent_bytes() <= kOutputBytesPauseScarce) {
    // What was received before the pause is run first; only then more is received.
    if (c.blocked && !c.is_waiting()) {
      stall(c);
    } else {
      io_->pause_reading(c, false);
    }
  }
  if (c.is_waiting()) wait_on(c);
  const bool done = c.close_after_reply || (c.at_eof && !c.stalled && !c.reading_paused);
  if (c.broken || (done && c.unsent_bytes() == 0)) return close_connection(c);
  // What the kernel was given just now may be with the client already.
  const size_t waiting = c.output.size() + (sending_before ? c.sending.size() : 0);
  if ((waiting > 0 || c.much_output_since_ms) && over_output_limit(c, waiting)) {
    return close_over_limit(c);
  }
  const size_t sending = c.sending.size() > kSmallSendBytes ? c.sending.size() : 0;
  const size_t pending = c.output.size() + sending;
  c.sending_bytes = sending;
  c.query_bytes.store(c.input.size(), std::memory_order_relaxed);
  c.query_room_bytes.store(c.input.capacity() - c.input.size(), std::memory_order_relaxed);
  status_.output_pending_bytes.add(pending -
                                   c.output_pending_bytes.load(std::memory_order_relaxed));
  c.output_pending_bytes.store(pending, std::memory_order_relaxed);
}

// A short rest of much input does not keep its memory.
void Loop::give_back_room(Connection& c) {
  Buffer rest;
  if (c.input.size() > kReadBytes || !pool_.lend(rest) ||
      !rest.append({c.input.data(), c.input.size()})) {
    return pool_.take_back(rest);
  }
  c.input.swap(rest);
}

void Loop::answer(Connection& c) {
  if (may_answer(c)) {
    c.held_from = 0;
    return io_->send(c);
  }
  if (!c.held_from) c.held_from = c.log_position;
  io_->await_writable(c, false);
  if (c.held) return;
  c.held = true;
  held_.push_back(&c);
}

void Loop::tell_status() {
  status_.commands.set(batch_.commands_run());
  status_.changes.set(env_.changes);
  status_.waiting.set(waiting_.size());
  status_.errors.set(batch_.error_replies());
  status_.reads.set(io_->reads);
  status_.writes.set(io_->writes);
  status_.input_bytes.set(io_->input_bytes);
  status_.output_bytes.set(io_->output_bytes);
}

}  // namespace ignix
