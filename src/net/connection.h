// A connection: a client, and what it takes to talk to it. Used by its loop alone, but for what
// Client says.
#pragma once

#include <sys/socket.h>

#include <memory>

#include "base/buffer.h"
#include "base/limits.h"
#include "base/output.h"
#include "resp/parser.h"
#include "server/client.h"
#include "store/block.h"

namespace ignix {

struct Gathered {
  msghdr message;
  iovec pieces[kSendPieces];
};

struct Connection : Client {
  ~Connection() {
    if (received) drop_received();
  }

  Buffer input;       // received and not yet run; holds no memory while it is empty
  size_t parsed = 0;  // of the input: already in the batch, or run
  Parser parser;

  // A long word of the command being received goes into the block that may become its value:
  // Client::received, of which, with its line end, so much has come, and which stands behind
  // so many bytes of the input.
  size_t received_bytes = 0, received_at = 0;
  size_t missing_of_block() const {
    return received ? received->length_bytes + kBlockTailBytes - received_bytes : 0;
  }

  void drop_received() {
    drop_block(received);
    received = nullptr;
  }

  // It sends large values: so many times it is received from in small steps, until it is known
  // where the rest belongs.
  unsigned careful = 0;
  int low_water_bytes = 1;  // before it is readable

  int64_t much_output_since_ms = 0;  // its output is past the soft limit since then; 0: it is not

  bool at_eof = false;           // the client sends nothing more; it may still read
  bool broken = false;           // no byte goes in or out any more
  bool in_turn = false;          // on the loop's list of this turn
  bool held = false;             // on the loop's list of replies that wait for the log
  uint64_t held_from = 0;        // the log position since which replies wait for it; 0: none do
  uint64_t told_position = 0;    // of the log: for what is before, no reply waits (net/trouble.cc)
  bool stalled = false;          // on the loop's list of those with commands that cannot run yet
  bool waiting = false;          // on the loop's list of those that wait (Session::wait)
  bool reading_paused = false;   // nothing is received: see net/loop.cc
  bool awaits_writable = false;  // the kernel took a part of the output, or (io_uring) is at it
  bool writable = false;         // and can take more now

  bool hung_up = false;  // epoll's alone: both directions are shut, and it is not watched

  // io_uring's alone.
  Output sending;                      // in the hands of the kernel
  std::unique_ptr<Gathered> gathered;  // `sending` as the kernel sees it, if it has shared pieces
  unsigned requests = 0;               // of this connection, not completed: it must not be freed
  bool receiving = false;              // one of them receives, or
  bool polled = false;                 // tells when there is something to receive
  bool to_receive = false;             // the next one is to be made
  bool closed = false;
  bool watched = false;  // by UringIo's epoll

  size_t unsent_bytes() const { return output.size() + sending.size(); }
};

}  // namespace ignix
