// Large values go straight into the block that becomes the value. The command is not complete then,
// and may still be refused: its word is then put back.
#include <string.h>

#include <algorithm>

#include "net/loop.h"

namespace ignix {

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
  c.drop_received();
}

}  // namespace ignix
