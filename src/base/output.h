// What a connection has to send: bytes of its own, with large pieces in between that belong to
// somebody else, who counts those that use them. They are sent from where they are.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <string_view>
#include <utility>

#include "base/array.h"
#include "base/buffer.h"

namespace ignix {

// Bytes that stay as they are until drop(owner) is called, from any thread. With a `lend` the
// kernel may be given their pages instead of a copy, once lend(owner) has been called (any number
// of times): they stay as they are for as long as it needs them.
struct SharedBytes {
  std::string_view bytes;
  void* owner;
  void (*drop)(void* owner);
  void (*lend)(void* owner) = nullptr;
};

class Output {
 public:
  Output() = default;
  ~Output() { drop_pieces(); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  size_t size() const { return own_.size() + shared_bytes_; }
  bool empty() const { return size() == 0; }

  // As in Buffer.
  bool reserve(size_t bytes) { return own_.reserve(bytes); }
  char* room() { return own_.room(); }
  void commit(size_t bytes) { own_.commit(bytes); }
  bool append(std::string_view bytes) { return own_.append(bytes); }

  // Takes over the right to `shared`, also where it is false: there is no memory.
  bool append_shared(const SharedBytes& shared) {
    if (!pieces_.push({shared, passed_ + own_.size()})) {
      shared.drop(shared.owner);
      return false;
    }
    shared_bytes_ += shared.bytes.size();
    can_lend_ = can_lend_ || shared.lend;
    return true;
  }

  // Takes bytes off the front.
  void consume(size_t bytes) {
    if (pieces_.empty()) {
      own_.consume(bytes);
    } else {
      consume_mixed(bytes);
    }
  }
  // Takes them off the front and puts them behind all of `to`; the last one does not stand within a
  // piece. False if there is no memory: then some have gone there.
  bool move_front(size_t bytes, Output& to);
  // Back to an earlier size(), since which nothing has been consumed.
  void truncate(size_t bytes);
  void clear();
  void swap(Output& other);

  // The front as at most `count` pieces, three or more, up to one that can be lent if
  // `only_copied`; returns how many they are. Not for plain output.
  int gather(iovec* into, int count, bool only_copied = false) const;

  // Whether there is, or was a moment ago, a piece that can be lent.
  bool can_lend() const { return can_lend_; }
  // The front, if it is (what is left of) such a piece; else nullptr.
  const SharedBytes* lendable_front() const;

  // Whether all are bytes of its own: data().
  bool is_plain() const { return pieces_.empty(); }
  const char* data() const { return own_.data(); }

  // The memory of its own bytes, to lend it and take it back.
  Buffer& own() { return own_; }

 private:
  struct Piece {
    SharedBytes shared;
    size_t at;  // so many bytes of its own are before it, from the beginning of pieces
  };

  void consume_mixed(size_t bytes);
  void drop_pieces();

  Buffer own_;
  Array<Piece> pieces_;
  size_t first_ = 0;         // those before it are done
  size_t passed_ = 0;        // own bytes consumed since pieces_ was empty
  size_t shared_bytes_ = 0;  // left to send of the pieces
  bool can_lend_ = false;    // one of the pieces can be lent
};

}  // namespace ignix
