// What a loop needs of the kernel, as an interface with a back end for each way to get it. A loop
// calls wait() once a turn; everything is received before anything is run, and sent after, but what
// has waited for the log.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "net/connection.h"

namespace ignix {

// What wait() has found.
struct Turn {
  std::vector<int> accepted;       // new connections' descriptors, non-blocking
  std::vector<Connection*> ready;  // have received something, their end, or an error, or
                                   // can be sent to again
  int accept_error = 0;            // errno of an accept that failed for want of descriptors
  bool mail = false;               // the mailbox was rung
};

class Io {
 public:
  virtual ~Io() = default;

  virtual const char* name() const = 0;

  // They are watched from now on, the mailbox's event descriptor for edges: nobody reads it. False
  // with errno.
  virtual bool watch_listener(int fd) = 0;
  virtual bool watch_mailbox(int fd) = 0;

  // Accepting stops, or goes on.
  virtual void pause_accepting(bool paused) = 0;

  // Receives from now on. False with errno.
  virtual bool add(Connection& connection) = 0;
  // The connection is to be received from otherwise than before: there is a block to receive into
  // (Connection::missing_of_block()), or it has become `careful`.
  virtual void change_receive(Connection& connection) = 0;
  // Before the descriptor is closed. The connection may be freed when `requests` is 0.
  virtual void remove(Connection& connection) = 0;
  // Whether the connection is received from.
  virtual void pause_reading(Connection& connection, bool paused) = 0;

  // Sleeps until something happens or `timeout_ms` have passed (-1: for ever), then receives.
  virtual void wait(int timeout_ms, Turn& turn) = 0;

  // Sends the output, which is not empty, as much as the kernel takes and a turn allows. If that
  // was not all, the connection awaits the kernel: it is on Turn::ready, and `writable`, when there
  // is room again. Sets `broken` if the client is gone; the loop closes it then.
  virtual void send(Connection& connection) = 0;
  virtual void await_writable(Connection& connection, bool awaits) = 0;

  // Whether it matters how requests of clients get on: a connection is then on Turn::ready whenever
  // a part of one has gone in or out.
  void watch_clients(bool watch) { watches_clients_ = watch; }
  bool watches_clients() const { return watches_clients_; }

  unsigned long reads = 0, writes = 0, input_bytes = 0, output_bytes = 0;

 protected:
  bool watches_clients_ = false;
};

// Buffers for input, shared by a loop's connections: a connection has one only while it has input.
class BufferPool {
 public:
  // Makes sure that `buffer` has memory for a read. False if there is none.
  bool lend(Buffer& buffer);
  // Takes the memory of an empty buffer back.
  void take_back(Buffer& buffer);
  // Frees some of what nobody has needed since the last call. Returns whether more are kept
  // than a loop keeps that needs none.
  bool trim();

 private:
  std::vector<Buffer> spare_;
  size_t unused_ = 0;  // of them, since the last trim()
};

// The caller owns it. nullptr, with a line in `error`, if the kernel refuses.
Io* make_epoll_io(BufferPool& pool, std::string& error);
Io* make_uring_io(BufferPool& pool, std::string& error);

}  // namespace ignix
