// How connections end: by themselves, by CLIENT KILL, by a limit, with the server.
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "command/transaction.h"
#include "net/loop.h"

namespace ignix {
namespace {

constexpr int kStopMs = 1000;  // for replies on their way when the server stops

// Removes one element; the order does not matter.
void remove_from(std::vector<Connection*>& list, Connection* c) {
  const auto at = std::find(list.begin(), list.end(), c);
  if (at == list.end()) return;
  *at = list.back();
  list.pop_back();
}

}  // namespace

void Loop::close_connection(Connection& c) {
  if (c.held) remove_from(held_, &c);
  if (c.stalled) remove_from(stalled_, &c);
  if (c.waiting) remove_from(waiting_, &c);
  c.held = c.stalled = c.waiting = false;
  drop_transaction(env_, c);
  status_.output_pending_bytes.add(0 - c.output_pending_bytes.load(std::memory_order_relaxed));
  status_.registry.remove(c);
  io_->remove(c);
  status_.clients.fetch_sub(1, std::memory_order_relaxed);
  dead_.push_back(&c);
}

// The descriptor is closed as late as the memory is freed: a request that the kernel has yet to see
// names it by its number, which would be another client's by then.
void Loop::close_all_dead() {
  std::erase_if(dead_, [](Connection* c) {
    if (c->requests) return false;
    close(c->fd);
    delete c;
    return true;
  });
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
    if (timeout_ms && idle_ms > timeout_ms && !c.is_waiting() && !c.held) {
      idle.push_back(&c);
    } else if (over_output_limit(c, c.unsent_bytes())) {
      over_limit.push_back(&c);
    }
  });
  for (Connection* c : idle) close_connection(*c);
  for (Connection* c : over_limit) close_over_limit(*c);
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
