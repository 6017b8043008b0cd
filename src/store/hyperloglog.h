// HyperLogLogs: about how many different elements have been seen, in 12 KB at most. They are
// strings, and these are the bytes, the same as Redis's:
//
//     bytes 0-3    "HYLL"
//     byte 4       0: dense, 1: sparse
//     bytes 5-7    0
//     bytes 8-15   the estimate when it was last made, little-endian; with the top bit set, the
//                  registers have changed since
//     then         the 16384 registers
//
// An element's hash says which register it belongs to, and its rank there: how many bits, from the
// low end, stand up to the first that is set. A register keeps the highest rank it has seen, 0 to
// 51. Rank r is met once in 2^r elements, so the registers' ranks tell the number of elements
// (Flajolet et al., "HyperLogLog", 2007); how to tell it best: see estimate().
//
// Dense registers take 6 bits each, from the low bits of the first byte on. Sparse ones are runs of
// registers with the same rank, one behind the other:
//
//     00nnnnnn            n+1 registers of rank 0         "zeros"
//     01nnnnnn nnnnnnnn   the same, for longer runs       "long zeros"; the high byte comes first
//     1rrrrrnn            n+1 registers of rank r+1       "value"
//
// Where runs are split and joined, and when sparse becomes dense, is part of the format here: both
// servers make the same bytes of the same commands.
//
// A HyperLogLog may have been written to by any command on strings. Nothing here trusts it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/buffer.h"
#include "base/limits.h"

namespace ignix::hll {

constexpr size_t kHeaderBytes = 16;
constexpr size_t kCardinalityOffset = 8, kCardinalityBytes = 8;  // the estimate, in the header
constexpr uint32_t kRegisters = 1 << 14;
constexpr size_t kDenseBytes = kHeaderBytes + kRegisters * 6 / 8;

// What an element means: register `index` is `rank` at least.
struct Mark {
  uint32_t index;
  uint8_t rank;
};
Mark mark_of(std::string_view element);

// Whether the header is one, and a dense one has the right length. From here on `bytes` must be
// such.
bool has_form(std::string_view bytes);
bool is_dense(std::string_view bytes);

// The estimate of the header; false if the registers have changed since.
bool stored_estimate(std::string_view bytes, uint64_t& cardinality);
void format_estimate(uint64_t cardinality, char out[kCardinalityBytes]);
void outdate_estimate(char* bytes);

// From the registers. False if they are damaged.
bool estimate(std::string_view bytes, uint64_t& cardinality);
uint64_t estimate(const uint8_t ranks[kRegisters]);

// Raises each of `ranks` to what the register has. False if the registers are damaged; some may
// have been raised then.
bool unite(std::string_view bytes, uint8_t ranks[kRegisters]);

// Whether the mark changes nothing. False if its register is missing, in damaged bytes.
bool contains(std::string_view bytes, Mark mark);

// Of a dense one, in place, and outdates the stored estimate if that changes anything. Returns
// whether it did.
bool raise_dense(char* bytes, Mark mark);

// A copy that is changed, and may change its length.
class Draft {
 public:
  enum class State { kGood, kDamaged, kNoMemory };

  // A sparse one becomes dense before it gets longer than `sparse_bytes_max`. One that cannot, for
  // it is damaged, may stay as it is if it `stays_damaged`.
  explicit Draft(uint64_t sparse_bytes_max, bool stays_damaged = false)
      : sparse_bytes_max_(std::min<uint64_t>(sparse_bytes_max, kStringBytesMax)),
        stays_damaged_(stays_damaged) {}

  // One of these first. Without elements; its stored estimate is 0.
  State make_empty();
  State copy(std::string_view bytes);

  // Ascending marks are found faster. If it is not kGood, the mark has changed nothing.
  State raise(Mark mark);
  State make_dense();
  void outdate() { outdate_estimate(buffer_.data()); }

  // How many registers have been raised.
  uint64_t raised() const { return raised_; }

  std::string_view bytes() const { return {buffer_.data(), buffer_.size() - 1}; }

 private:
  // Where a run starts, and with which register. `before`: where the run before it does, 0 if there
  // is none.
  struct Spot {
    size_t at = kHeaderBytes;
    uint32_t first = 0;
    size_t before = 0;
  };

  std::string_view with_zero() const { return {buffer_.data(), buffer_.size()}; }
  bool find(uint32_t index, Spot& spot);
  void replace(size_t at, size_t old_bytes, const uint8_t* runs, size_t runs_bytes);
  void join_values(size_t at);

  const uint64_t sparse_bytes_max_;
  const bool stays_damaged_;
  uint64_t raised_ = 0;
  Buffer buffer_;  // with one byte behind, zero, which takes up what is too long in damaged bytes
  Spot hint_;      // where find() may start: nothing before it has changed since it was there
};

}  // namespace ignix::hll
