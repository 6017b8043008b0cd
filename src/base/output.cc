#include "base/output.h"

#include <algorithm>
#include <cassert>

namespace ignix {
namespace {

constexpr size_t kDonePiecesMax = 256;  // kept until the others are done as well

}  // namespace

void Output::consume_mixed(size_t bytes) {
  while (bytes > 0 && first_ < pieces_.size()) {
    Piece& piece = pieces_[first_];
    const size_t own = std::min(bytes, piece.at - passed_);
    own_.consume(own);
    passed_ += own;
    bytes -= own;
    if (piece.at > passed_) return;
    const size_t shared = std::min(bytes, piece.shared.bytes.size());
    piece.shared.bytes.remove_prefix(shared);
    shared_bytes_ -= shared;
    bytes -= shared;
    if (!piece.shared.bytes.empty()) return;
    piece.shared.drop(piece.shared.owner);
    first_++;
  }
  if (first_ == pieces_.size()) {
    drop_pieces();
  } else if (first_ >= kDonePiecesMax) {
    pieces_.remove_front(first_);
    first_ = 0;
  }
  own_.consume(bytes);
}

bool Output::move_front(size_t bytes, Output& to) {
  while (bytes > 0) {
    const size_t own = is_plain() ? own_.size() : pieces_[first_].at - passed_;
    if (const size_t copied = std::min(bytes, own)) {
      if (!to.append({own_.data(), copied})) return false;
      consume(copied);
      bytes -= copied;
      continue;
    }
    const SharedBytes& shared = pieces_[first_].shared;
    assert(shared.bytes.size() <= bytes);
    if (!to.pieces_.push({shared, to.passed_ + to.own_.size()})) return false;
    to.shared_bytes_ += shared.bytes.size();
    to.can_lend_ = to.can_lend_ || shared.lend;
    shared_bytes_ -= shared.bytes.size();
    bytes -= shared.bytes.size();
    if (++first_ == pieces_.size()) drop_pieces();
  }
  return true;
}

// All that are left; what has been freed by then is before first_.
void Output::drop_pieces() {
  for (; first_ < pieces_.size(); first_++) {
    pieces_[first_].shared.drop(pieces_[first_].shared.owner);
  }
  pieces_.release();
  first_ = passed_ = shared_bytes_ = 0;
  can_lend_ = false;
}

void Output::truncate(size_t bytes) {
  while (pieces_.size() > first_ && size() > bytes) {
    const Piece& last = pieces_.back();
    const size_t own_before = last.at - passed_;
    // Own bytes behind the last piece go first.
    const size_t without_tail = own_before + shared_bytes_;
    if (without_tail <= bytes) break;
    own_.truncate(own_before);
    shared_bytes_ -= last.shared.bytes.size();
    last.shared.drop(last.shared.owner);
    pieces_.truncate(pieces_.size() - 1);
  }
  own_.truncate(bytes - shared_bytes_);
  if (pieces_.size() == first_) drop_pieces();
}

void Output::clear() {
  drop_pieces();
  own_.clear();
}

void Output::swap(Output& other) {
  own_.swap(other.own_);
  pieces_.swap(other.pieces_);
  std::swap(first_, other.first_);
  std::swap(passed_, other.passed_);
  std::swap(shared_bytes_, other.shared_bytes_);
  std::swap(can_lend_, other.can_lend_);
}

const SharedBytes* Output::lendable_front() const {
  if (first_ == pieces_.size() || pieces_[first_].at > passed_) return nullptr;
  const SharedBytes& shared = pieces_[first_].shared;
  return shared.lend ? &shared : nullptr;
}

int Output::gather(iovec* into, int count, bool only_copied) const {
  int used = 0;
  size_t own_from = 0;
  const auto add = [&](const char* data, size_t bytes) {
    if (bytes > 0) into[used++] = {const_cast<char*>(data), bytes};
  };
  for (size_t i = first_; i < pieces_.size() && used + 2 < count; i++) {
    const size_t own_to = pieces_[i].at - passed_;
    add(own_.data() + own_from, own_to - own_from);
    if (only_copied && pieces_[i].shared.lend) return used;
    add(pieces_[i].shared.bytes.data(), pieces_[i].shared.bytes.size());
    own_from = own_to;
    if (i + 1 < pieces_.size()) continue;
    add(own_.data() + own_from, own_.size() - own_from);
  }
  return used;
}

}  // namespace ignix
