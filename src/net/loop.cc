// The turn of a loop is a batch: receive from every ready connection, parse, run in batches, then
// send, one send for each connection (large values: net/splice.h).
//
// What holds a connection up, besides its client:
//
//     blocked         its next command cannot run: no room in the log, its client must read, or a
//                     snapshot is behind; ends when it is taken from stalled_
//     stalled         on stalled_: it is looked at again at the next turn
//     held            on held_: its replies wait for the log
//     waiting         on waiting_: it has sent WAIT or WAITAOF, and what it has sent since is not
//                     looked at; ends in end_waits(). Its end of file is the end of it
//     reading_paused  nothing more is received: its client must read, or it has sent far ahead of
//                     what was run; ends in finish()
#include "net/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/sched.h"
#include "command/transaction.h"
#include "net/stage.h"

namespace ignix {
namespace {

constexpr int kOverdueCheckMs = 1000;
constexpr int kStopMs = 1000;  // for replies on their way when the server stops

std::string address_text(const sockaddr_storage& at, const std::string& unix_path) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (at.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(at);
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(in.sin_port));
  }
  if (at.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(at);
    inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
    return std::string("[") + text + "]:" + std::to_string(ntohs(in.sin6_port));
  }
  return unix_path + ":0";
}

bool is_loopback(const sockaddr_storage& at) {
  if (at.ss_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in&>(at).sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  const auto& in = reinterpret_cast<const sockaddr_in6&>(at);
  return at.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in.sin6_addr);
}

// A client on this machine is behind no network that could be congested, so the cheapest control
// will do: one that paces what it sends (BBR) sets a timer for each segment.
void set_socket_options(int fd, const sockaddr_storage& peer, int keepalive_seconds) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (is_loopback(peer)) setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
  if (keepalive_seconds <= 0) return;
  int probe_seconds = std::max(1, keepalive_seconds / 3), probes = 3;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive_seconds, sizeof keepalive_seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe_seconds, sizeof probe_seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

// Removes one element; the order does not matter.
void remove_from(std::vector<Connection*>& list, Connection* c) {
  const auto at = std::find(list.begin(), list.end(), c);
  if (at == list.end()) return;
  *at = list.back();
  list.pop_back();
}

}  // namespace

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
  parse_all();
  run_batch();
  log_written();
  finish_all();
  close_killed();
  close_overdue();
  close_all_dead();
  // Behind the closing, which makes room below maxclients.
  adopt_all();
  accept_all();
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

// Whether the deletion of what has expired may be logged, and a snapshot can bear it.
bool Loop::may_expire() const {
  if (server_.loading.active.load(std::memory_order_acquire)) return false;
  if (!server_.config.active_expire.load(std::memory_order_relaxed)) return false;
  if (server_.keyspace.changes_must_wait()) return false;
  return !env_.log || (!env_.log->failure() && env_.log->room() >= kLogSlackBytes);
}

// What has expired is deleted a slice at a time: one after the other while no commands come, with a
// pause between them while they do. Loop 0 does it for all: with a single loop nobody else may.
void Loop::expire() {
  Keyspace& keyspace = server_.keyspace;
  if (index_ != 0) return loops_[0]->wake_before(keyspace.next_expiry_tick());
  if (!expiry_walk_.running && !keyspace.expiry_due()) return;
  int64_t now_us = clock_us(CLOCK_MONOTONIC);
  if (now_us < expire_again_us_ && !(expiry_walk_.running && turn_.ready.empty())) return;
  if (!expiry_walk_.running) expire_started_us_ = now_us;
  const int64_t until_us = now_us + kExpireSliceUs, started_us = now_us;
  const uint64_t log_tail = server_.ring.tail();
  bool more = true, may = true;
  while (more && now_us < until_us && (may = may_expire())) {
    more = keyspace.expire_some(expiry_walk_, env_.now_ms, gone_logger_);
    now_us = clock_us(CLOCK_MONOTONIC);
  }
  status_.expire_us.add(uint64_t(now_us - started_us));
  if (env_.log && server_.ring.tail() != log_tail) server_.aof.notify();
  if (!more) {
    server_.expired_by_last_walk.store(expiry_walk_.deleted, std::memory_order_relaxed);
    expire_again_us_ = now_us + int64_t(expiry_walk_.places / kExpirePlacesPerUs);
  } else if (may) {
    const bool late = now_us - expire_started_us_ > kExpireHurryMs * 1000;
    status_.expire_slices.add(1);
    expire_again_us_ = now_us + (late ? kExpireSliceUs : kExpirePauseUs);
  } else {
    expire_again_us_ = now_us + kExpireRetryMs * 1000;
  }
}

// Until expire() has something to do, for ever: -1. From then on others wake this loop for what
// expires sooner.
int Loop::expire_timeout_ms() {
  Keyspace& keyspace = server_.keyspace;
  const int64_t now_us = clock_us(CLOCK_MONOTONIC);
  if (!expiry_walk_.running && !keyspace.expiry_due()) {
    int64_t next;
    do {
      next = keyspace.next_expiry_tick();
      sleeps_until_tick_.store(next, std::memory_order_seq_cst);
    } while (keyspace.next_expiry_tick() != next);
    if (next == kNeverTick) return -1;
    const int64_t ms = (next << kTickBits) - wall_ms();
    return int(std::clamp<int64_t>(ms, 0, INT32_MAX));
  }
  if (expiry_walk_.running && turn_.ready.empty() && may_expire()) return 0;
  return int(std::max<int64_t>(0, (expire_again_us_ - now_us + 999) / 1000));
}

// Memory is tidied a little at a time, most of it when there is nothing else to do. Any loop that
// runs commands looks after all stripes: the others may be asleep.
void Loop::maintain() {
  const bool idle = turn_.ready.empty();
  const int pause_ms = !maintain_more_ ? kMaintainCheckMs
                       : idle          ? kMaintainIdleMs
                                       : kMaintainBusyMs;
  if (now_mono_ms_ - maintained_ms_ < pause_ms) return;
  if (!maintain_more_ && activity() == activity_maintained_) return;
  activity_maintained_ = activity();
  Keyspace& keyspace = server_.keyspace;
  const int64_t until_us = clock_us(CLOCK_MONOTONIC) + kMaintainBudgetUs;
  // Once around all stripes without finding anything is the end.
  uint32_t idle_stripes = 0;
  while (idle_stripes < keyspace.stripe_count() && clock_us(CLOCK_MONOTONIC) < until_us) {
    if (++maintain_stripe_ >= keyspace.stripe_count()) maintain_stripe_ = 0;
    idle_stripes = keyspace.maintain(maintain_stripe_) ? 0 : idle_stripes + 1;
  }
  maintain_more_ = idle_stripes < keyspace.stripe_count();
  if (make_room()) maintain_more_ = true;
  if (keyspace.maintain_shared(false)) maintain_more_ = true;
  if (pool_.trim()) maintain_more_ = true;
  maintained_ms_ = now_mono_ms_;
}

// Though no command asks for it: maxmemory may have been lowered. Returns whether there is more.
bool Loop::make_room() {
  if (!server_.keyspace.over_limit() || server_.loading.active.load(std::memory_order_acquire)) {
    return false;
  }
  const uint64_t log_tail = server_.ring.tail();
  const bool possible = batch_.room_maker().make_room();
  if (env_.log && server_.ring.tail() != log_tail) server_.aof.notify();
  return possible && server_.keyspace.over_limit();
}

// Stalled connections wait for the log, whose progress wakes the loop, or for the next turn.
int Loop::timeout_ms() {
  constexpr int kStalledMs = 1, kForEver = INT32_MAX;
  int ms = kForEver;
  if (!stalled_.empty()) ms = sliced_ ? 0 : kStalledMs;
  if (accept_again_ms_) ms = std::min(ms, kAcceptRetryMs);
  if (!waiting_.empty()) {
    ms = int(std::clamp<int64_t>(wait_ends_ms_ - monotonic_ms(), 0, ms));
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

// Each connection goes to the loop with the fewest, this one where it is one of them.
void Loop::accept_all() {
  for (int fd : turn_.accepted) {
    status_.connections.add(1);
    if (server_.client_count() >= server_.config.maxclients.load(std::memory_order_relaxed)) {
      refuse(fd);
      continue;
    }
    int target = index_;
    for (int i = 0; i < server_.loop_count; i++) {
      if (server_.loops[i].clients.load(std::memory_order_relaxed) <
          server_.loops[target].clients.load(std::memory_order_relaxed)) {
        target = i;
      }
    }
    server_.loops[target].clients.fetch_add(1, std::memory_order_relaxed);
    if (target == index_) {
      adopt(fd);
    } else {
      loops_[target]->mailbox_.post(fd);
    }
  }
  // Without descriptors the listener would be ready for ever: look again a little later.
  if (turn_.accept_error) {
    if (!accept_again_ms_) {
      if (!accept_failed_) {
        log_warning("cannot accept connections: %s; trying again every %d ms",
                    strerror(turn_.accept_error), kAcceptRetryMs);
      }
      accept_failed_ = true;
      io_->pause_accepting(true);
    }
    accept_again_ms_ = monotonic_ms() + kAcceptRetryMs;
  } else if (accept_again_ms_ && monotonic_ms() >= accept_again_ms_) {
    accept_again_ms_ = 0;
    io_->pause_accepting(false);
  } else if (!turn_.accepted.empty()) {
    accept_failed_ = false;
  }
}

void Loop::refuse(int fd) {
  static constexpr char kText[] = "-ERR max number of clients reached\r\n";
  [[maybe_unused]] ssize_t sent = send(fd, kText, sizeof kText - 1, MSG_NOSIGNAL);
  close(fd);
  status_.rejected.add(1);
}

void Loop::adopt(int fd) {
  Connection* c = new (std::nothrow) Connection;
  if (!c) {
    close(fd);
    status_.clients.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  sockaddr_storage peer = {}, local = {};
  socklen_t length = sizeof peer;
  getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length);
  length = sizeof local;
  getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length);
  c->local = local.ss_family == AF_UNIX;
  if (!c->local) set_socket_options(fd, peer, int(server_.config.tcp_keepalive.load()));
  c->fd = fd;
  c->loop = index_;
  c->id = server_.next_client_id.fetch_add(1, std::memory_order_relaxed);
  c->address = address_text(peer, server_.config.unixsocket);
  c->local_address = address_text(local, server_.config.unixsocket);
  c->created_ms = monotonic_ms();
  c->active_ms = c->created_ms;
  status_.registry.add(*c);
  if (!io_->add(*c)) {
    log_warning("cannot watch a connection: %s", strerror(errno));
    close_connection(*c);
  }
}

void Loop::join_turn(Connection& c) {
  if (c.in_turn) return;
  c.in_turn = true;
  in_turn_.push_back(&c);
}

// Those that have waited for room in the log, or for their client to read, go first.
void Loop::continue_stalled() {
  sliced_ = false;
  std::vector<Connection*> waiting;
  waiting.swap(stalled_);
  for (Connection* c : waiting) {
    c->stalled = c->blocked = false;
    join_turn(*c);
  }
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
  env_.output_room_bytes =
      int64_t(kOutputBytesAllClients) - int64_t(server_.total(&LoopStatus::output_pending_bytes));
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

// What has come of a long word moves to a block of its length, and the rest is received there.
void Loop::receive_into_block(Connection& c) {
  const size_t length = c.parser.open_word_bytes();
  const size_t start = c.parser.open_word_start();
  // Behind others of this turn it has to wait: they may still be refused, and come again.
  if (c.received || c.parsed > 0 || length < kReceiveBlockBytes) return;
  const size_t here = c.input.size() - std::min(start, c.input.size());
  if (here + kReceiveBlockBytes / 2 > length) return;
  if (start + length > query_limit_bytes_) return;  // let it come that far
  Block* block = server_.keyspace.blocks().make_empty(length);
  if (!block) return;
  if (!c.parser.divert(block->data)) return drop_block(block);
  memcpy(block->data, c.input.data() + start, here);
  c.input.truncate(start);
  c.received = block;
  c.received_bytes = here;
  c.received_at = start;
  c.careful = kCarefulReads;
  io_->change_receive(c);
}

void Loop::drop_received(Connection& c) {
  drop_block(c.received);
  c.received = nullptr;
}

// The command, the first of the input, could not be run: its word joins the others again.
void Loop::put_received_back(Connection& c) {
  Buffer whole;
  const size_t at = c.received_at;
  const std::string_view word = {c.received->data, c.received_bytes};
  if (!whole.append({c.input.data(), at}) || !whole.append(word) ||
      !whole.append({c.input.data() + at, c.input.size() - at})) {
    c.broken = true;
  }
  c.input.swap(whole);
  drop_received(c);
}

void Loop::parse(Connection& c) {
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
    batch_.add(c, first_word, &c, start, c.parser.canonical(batch_.words().data() + first_word));
    if (batch_.full() || c.received) run_batch();
    if (c.received && !c.blocked) drop_received(c);
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

// What has been parsed before it is run and answered, as far as the client still takes it.
void Loop::close_too_long(Connection& c) {
  log_warning(
      "closing client %llu (%s): its command, or its transaction, is longer than "
      "client-query-buffer-limit",
      (unsigned long long)c.id, c.address.c_str());
  run_batch();
  c.close_after_reply = true;
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
  if (server_.ring.tail() != log_tail_before_) server_.aof.notify();
  if (held_.empty()) return;
  std::vector<Connection*> held;
  held.swap(held_);
  for (Connection* c : held) {
    c->held = false;
    join_turn(*c);
  }
}

void Loop::finish_all() {
  for (size_t i = 0; i < in_turn_.size(); i++) finish(*in_turn_[i]);
  in_turn_.clear();
  // The flag is raised before the log is looked at once more: its thread sees the flag, or we see
  // its progress.
  waits_for_log_.store(!held_.empty() || !waiting_.empty(), std::memory_order_seq_cst);
  const bool disk_got_on = !waiting_.empty() && server_.aof.synced() != synced_seen_;
  if (disk_got_on ||
      std::any_of(held_.begin(), held_.end(), [this](Connection* c) { return may_answer(*c); })) {
    wake();
  }
}

bool Loop::may_answer(const Connection& c) const {
  return !env_.log || c.log_position <= server_.aof.acknowledged();
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
  }
  if (c.output_cut && !c.broken) return close_over_limit(c);
  const size_t sending_before = c.sending.size();
  if (!c.output.empty() && !c.broken && (!c.awaits_writable || c.writable)) answer(c);
  c.writable = false;
  c.active_ms.store(now_mono_ms_, std::memory_order_relaxed);
  if (c.reading_paused && !c.stalled && c.unsent_bytes() <= kOutputBytesPauseScarce) {
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
  status_.output_pending_bytes.add(pending - c.output_bytes.load(std::memory_order_relaxed));
  c.output_bytes.store(pending, std::memory_order_relaxed);
}

void Loop::answer(Connection& c) {
  if (may_answer(c)) {
    io_->send(c);
    if (c.output.empty()) pool_.take_back(c.output.own());
    return;
  }
  io_->await_writable(c, false);
  if (c.held) return;
  c.held = true;
  held_.push_back(&c);
}

void Loop::close_connection(Connection& c) {
  if (c.held) remove_from(held_, &c);
  if (c.stalled) remove_from(stalled_, &c);
  if (c.waiting) remove_from(waiting_, &c);
  c.held = c.stalled = c.waiting = false;
  drop_transaction(env_, c);
  status_.output_pending_bytes.add(0 - c.output_bytes.load(std::memory_order_relaxed));
  status_.registry.remove(c);
  io_->remove(c);
  close(c.fd);
  status_.clients.fetch_sub(1, std::memory_order_relaxed);
  dead_.push_back(&c);
}

// client-output-buffer-limit, with so many bytes waiting.
bool Loop::over_output_limit(Connection& c, size_t waiting) {
  const OutputLimit& limit = server_.config.output_limits[ClientClass::kNormal];
  const int64_t bytes = int64_t(waiting);
  const int64_t hard = limit.hard_bytes.load(std::memory_order_relaxed);
  const int64_t soft = limit.soft_bytes.load(std::memory_order_relaxed);
  if (soft == 0 || bytes <= soft) {
    c.much_output_since_ms = 0;
  } else if (c.much_output_since_ms == 0) {
    c.much_output_since_ms = now_mono_ms_;
  }
  const bool too_long =
      c.much_output_since_ms && now_mono_ms_ - c.much_output_since_ms > limit.soft_seconds * 1000;
  return too_long || (hard > 0 && bytes > hard);
}

void Loop::close_over_limit(Connection& c) {
  log_warning("closing client %llu (%s): %lld bytes of replies, client-output-buffer-limit",
              (unsigned long long)c.id, c.address.c_str(), (long long)c.unsent_bytes());
  close_connection(c);
}

void Loop::close_killed() {
  if (!status_.kills.load(std::memory_order_relaxed)) return;
  status_.kills.exchange(false, std::memory_order_acquire);
  std::vector<Connection*> killed;
  status_.registry.for_each([&](Client& client) {
    if (client.killed.load(std::memory_order_relaxed)) {
      killed.push_back(static_cast<Connection*>(&client));
    }
  });
  for (Connection* c : killed) close_connection(*c);
}

// Once a second.
void Loop::close_overdue() {
  if (!server_.config.watches_clients() || now_mono_ms_ - overdue_check_ms_ < kOverdueCheckMs)
    return;
  overdue_check_ms_ = now_mono_ms_;
  const int64_t timeout_ms = server_.config.timeout.load(std::memory_order_relaxed) * 1000;
  std::vector<Connection*> idle, over_limit;
  status_.registry.for_each([&](Client& client) {
    Connection& c = static_cast<Connection&>(client);
    const int64_t idle_ms = now_mono_ms_ - c.active_ms.load(std::memory_order_relaxed);
    if (timeout_ms && idle_ms > timeout_ms && !c.is_waiting()) {
      idle.push_back(&c);
    } else if (over_output_limit(c, c.unsent_bytes())) {
      over_limit.push_back(&c);
    }
  });
  for (Connection* c : idle) close_connection(*c);
  for (Connection* c : over_limit) close_over_limit(*c);
}

void Loop::close_all_dead() {
  std::erase_if(dead_, [](Connection* c) {
    if (c->requests) return false;
    delete c;
    return true;
  });
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

// No more commands; what has been answered is sent, if the log and the clients take it in time.
void Loop::finish_stop() {
  const int64_t until_ms = monotonic_ms() + kStopMs;
  io_->pause_accepting(true);
  std::vector<Connection*> open;
  status_.registry.for_each([&](Client& c) { open.push_back(static_cast<Connection*>(&c)); });
  for (Connection* c : open) io_->pause_reading(*c, true);
  while (monotonic_ms() < until_ms) {
    bool waiting = false;
    for (Connection* c : open) {
      if (!c->broken && !c->output.empty() && may_answer(*c)) io_->send(*c);
      waiting = waiting || (!c->broken && c->unsent_bytes() > 0);
    }
    if (!waiting) break;
    turn_.ready.clear();
    turn_.mail = false;
    waits_for_log_.store(true, std::memory_order_seq_cst);
    io_->wait(10, turn_);
    if (turn_.mail) mailbox_.take(mail_);
  }
  for (Connection* c : open) close_connection(*c);
  io_->wait(0, turn_);  // whatever was asked of the kernel last
  close_all_dead();
}

}  // namespace ignix
