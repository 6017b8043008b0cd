// A client as the server's administration sees it: CLIENT LIST and the limits. What it takes to
// talk to it is in net/connection.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/lock.h"
#include "command/session.h"

namespace ignix {

struct Client : Session {
  // Fixed before the client is registered.
  int fd = -1;
  int loop = 0;        // the number of its loop
  bool local = false;  // came by the Unix socket
  std::string address, local_address;
  int64_t created_ms = 0;  // CLOCK_MONOTONIC

  std::atomic<bool> killed{false};  // by CLIENT KILL on any thread: its loop is to close it

  // The owning loop writes them at the end of each turn, CLIENT LIST on another loop reads.
  std::atomic<uint64_t> query_bytes{0}, query_room_bytes{0}, output_pending_bytes{0};

  Client* next = nullptr;  // in its loop's registry, under the registry's lock
  Client* previous = nullptr;
};

// The clients of one loop. The loop adds and removes; anyone may look.
class ClientRegistry {
 public:
  void add(Client& client) {
    SpinGuard guard(lock_);
    client.next = first_;
    if (first_) first_->previous = &client;
    first_ = &client;
  }
  void remove(Client& client) {
    SpinGuard guard(lock_);
    (client.previous ? client.previous->next : first_) = client.next;
    if (client.next) client.next->previous = client.previous;
  }
  // fn(Client&) for each, under the registry's lock: they stay until it returns.
  template <typename Fn>
  void for_each(Fn fn) {
    SpinGuard guard(lock_);
    for (Client* client = first_; client; client = client->next) fn(*client);
  }

 private:
  SpinLock lock_;
  Client* first_ = nullptr;  // under lock_
};

}  // namespace ignix
