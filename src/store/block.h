// Blocks: values, and keys, that are too long for an entry. They are counted, so that a reply can
// be sent from one while the key goes on, and may be dropped by any thread.
//
// Up to 1 MB a block is a place in a slab of 2 MB; beyond it is a mapping of its own. A large block
// is given back to the kernel by and by, since unmapping half a gigabyte takes milliseconds.
//
// Around its bytes stand the length line and the line end of a bulk string, so that a reply is one
// run of memory. The bytes of a value never change while anybody else has a reference: a reply, or
// a snapshot, may be under way. Whoever has the only one, under the stripe's lock, may change them,
// and their number within the block's room (set_length). A string that grows again and again is
// given room for a quarter more each time, so that appending costs the same for a long one as for a
// short.
//
// The pages of a block may be lent to the kernel, which then sends from them long after the last
// reference is gone. Lent bytes are never written again: their pages are unmapped, and live on in
// the kernel as long as it needs them.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <string_view>

#include "base/output.h"
#include "store/heap.h"

namespace ignix {

class BlockHeap;

// Mappings of up to so many bytes may be kept for the next block, with what is in them.
constexpr size_t kKeptBlockBytesMax = 4ULL << 20;

// Room behind a block's bytes, for the line end, and before them, for "$", the length and a line
// end.
constexpr size_t kBlockTailBytes = 2;
constexpr size_t kBlockHeadBytes = 16;

struct Block {
  std::atomic<uint32_t> references;
  bool counted;                       // in used_bytes()
  std::atomic<bool> lent;             // set by whoever holds a reference
  std::atomic<uint8_t> copied_sends;  // several keys may share it: COPY
  uint8_t head_bytes;                 // the last so many of `head` are the length line
  uint64_t length_bytes;
  uint64_t room_bytes;  // that length_bytes may become
  BlockHeap* heap;
  Ref ref;      // its place in the slabs; 0: a mapping of its own
  Block* next;  // in the heap's list of those to be unmapped
  char head[kBlockHeadBytes];
  char data[];

  std::string_view view() const { return {data, length_bytes}; }
  // As a bulk string, with its length line and line end. Of blocks that are values only.
  std::string_view bulk() const {
    return {data - head_bytes, head_bytes + length_bytes + kBlockTailBytes};
  }
  size_t total_bytes() const { return sizeof(Block) + room_bytes + kBlockTailBytes; }
  // Whether its bytes may be changed by who has a reference, and its stripe's lock.
  bool is_own() const {
    return references.load(std::memory_order_acquire) == 1 && !lent.load(std::memory_order_relaxed);
  }
  // Writes length line and line end; the bytes are the caller's affair.
  void set_length(size_t bytes);
  // Whether it has its pages for itself, so that they can be lent.
  bool can_lend() const { return total_bytes() > kLendBytes; }
  // Asked each time it is sent. Whoever overwrites a lent value pays for new pages what a few
  // copies cost: so a value is copied that often before it is lent, and one that is overwritten as
  // often as it is read is never lent.
  bool worth_lending() {
    if (!can_lend()) return false;
    if (copied_sends.load(std::memory_order_relaxed) >= kCopiesBeforeLending) return true;
    copied_sends.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
};

// From so many references on they are no longer counted, and the block stays for ever: else the
// count could come round to 0 while somebody has the block.
constexpr uint32_t kReferencesMax = 1u << 31;
inline void keep_for_ever(Block* block) {
  block->references.store(kReferencesMax / 2 * 3, std::memory_order_relaxed);
}

// Takes one more reference, to be given up with drop_block().
inline void hold_block(Block* block) {
  const uint32_t before = block->references.fetch_add(1, std::memory_order_relaxed);
  if (before >= kReferencesMax) keep_for_ever(block);
}
// Gives one reference up. The last one frees the block, and may take the kernel some tens of
// microseconds; more only where more than 256 MB wait to be unmapped, or as much as maxmemory
// leaves.
void drop_block(Block* block);

// `bytes`, which are some of the block's, for an Output, which holds one more reference until they
// are sent. If it `may_lend`, the kernel may be given their pages.
inline SharedBytes share_block(Block* block, std::string_view bytes, bool may_lend) {
  hold_block(block);
  const auto drop = [](void* held) { drop_block(static_cast<Block*>(held)); };
  const auto lend = [](void* held) { static_cast<Block*>(held)->lent.store(true); };
  return {bytes, block, drop, may_lend ? +lend : nullptr};
}

class BlockHeap {
 public:
  // False if address space cannot be reserved.
  bool open(size_t bytes);

  // A block with one reference, filled with `bytes`; nullptr if there is no memory.
  Block* make(std::string_view bytes);
  // The same, to be filled by the caller. It does not count as used, and is no value, until adopt()
  // is called: its length is only what a client has promised. What is in it may be a former
  // value's: of mappings beyond kKeptBlockBytesMax, zeros.
  Block* make_empty(size_t bytes) { return make_roomy(bytes, bytes); }
  // The same, which may become longer.
  Block* make_roomy(size_t bytes, size_t room_bytes);
  // By whoever has filled it, before anybody else sees it. Writes the line end.
  void adopt(Block* block);

  // Bytes of blocks in use, whole pages.
  size_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }
  // What is held beyond that: mappings that are kept for reuse or not yet unmapped, spare slabs.
  size_t spare_bytes() const;
  // How often one was freed.
  uint64_t freed() const { return freed_.load(std::memory_order_relaxed); }

  // So many bytes at most are held beyond those in use, about; SIZE_MAX: as many as are worth it.
  void set_spare_limit(size_t bytes) { spare_limit_.store(bytes, std::memory_order_relaxed); }

  // Gives memory back, a few megabytes a call: of dropped blocks, and where there are more than
  // `keep_bytes` of them, spare slabs and mappings kept for reuse. Returns whether there is more.
  bool release_some(size_t keep_bytes) { return release(keep_bytes, keep_bytes); }
  // The same, but of the mappings kept for reuse only those that nobody has needed for a second:
  // while there are others, there is more, later.
  bool release_unneeded(size_t keep_bytes, int64_t now_ms);

 private:
  friend void drop_block(Block* block);

  Block* make_mapped(size_t bytes);
  Block* take_kept(size_t bytes);
  bool keep(Block* block);
  void drop_kept(size_t keep_bytes);
  size_t needed_bytes(int64_t now_ms);
  bool release(size_t keep_bytes, size_t keep_mapped_bytes);
  Block* make_in_slab(size_t bytes);
  void destroy(Block* block);
  bool unmap_some();

  SlabPool<BlockClasses> pool_;
  size_t spare_limit() const { return spare_limit_.load(std::memory_order_relaxed); }

  // dropped_bytes_: of mappings that nobody uses, those kept for reuse included.
  std::atomic<size_t> used_bytes_{0}, dropped_bytes_{0}, spare_limit_{SIZE_MAX};
  std::atomic<uint64_t> freed_{0};
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  Heap<BlockClasses> slabs_;  // under lock_
  Block* dropped_ = nullptr;  // under lock_: mappings to be given back
  Block* kept_ = nullptr;     // under lock_: small mappings, for the next block of their length
  size_t kept_bytes_ = 0;     // under lock_
  // Under lock_: kept all through the last period; all through this one, so far; its begin.
  size_t unneeded_bytes_ = 0, least_kept_bytes_ = 0;
  int64_t period_began_ms_ = 0;
};

}  // namespace ignix
