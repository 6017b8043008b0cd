#include "store/block.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <new>

#include "base/number.h"

namespace ignix {
namespace {

static_assert(kLendBytes >= 4 * kPage, "classes above are whole pages");
// Mappings of this size and more are worth huge pages: fewer faults to fill, fewer pages to free.
constexpr size_t kHugeMapping = 4ULL << 20;
// Unmapped at once up to here (some tens of microseconds), by steps of as much beyond.
constexpr size_t kUnmapAtOnce = kKeptBlockBytesMax;
// So much of free places stays resident in any case.
constexpr size_t kFreeBytesMin = 8ULL << 20;
// So much of given up mappings of up to kUnmapAtOnce stays for the next.
constexpr size_t kKeptBytesMax = 64ULL << 20;
// What nobody needed for so long goes.
constexpr int64_t kKeptPeriodMs = 1000;
// So much may wait to be unmapped; then whoever drops unmaps.
constexpr size_t kDroppedBytesMax = 256ULL << 20;

size_t pages_of(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

bool BlockHeap::open(size_t bytes) {
  slabs_.open(&pool_);
  return pool_.open(bytes, nullptr);
}

size_t BlockHeap::spare_bytes() const {
  return pool_.spare_bytes() + dropped_bytes_.load(std::memory_order_relaxed);
}

// A mapping that was given up lately spares the kernel, and us, the clearing of its pages.
Block* BlockHeap::take_kept(size_t bytes) {
  pthread_mutex_lock(&lock_);
  Block** at = &kept_;
  while (*at && pages_of((*at)->total_bytes()) != pages_of(bytes)) at = &(*at)->next;
  Block* block = *at;
  if (block) {
    *at = block->next;
    kept_bytes_ -= pages_of(bytes);
    dropped_bytes_ -= pages_of(bytes);
    least_kept_bytes_ = std::min(least_kept_bytes_, kept_bytes_);
  }
  pthread_mutex_unlock(&lock_);
  return block;
}

bool BlockHeap::keep(Block* block) {
  const size_t bytes = pages_of(block->total_bytes());
  pthread_mutex_lock(&lock_);
  const bool room = kept_bytes_ + bytes <= std::min(kKeptBytesMax, spare_limit());
  if (room) {
    block->next = kept_;
    kept_ = block;
    kept_bytes_ += bytes;
    dropped_bytes_ += bytes;
  }
  pthread_mutex_unlock(&lock_);
  return room;
}

// While more than `keep_bytes` are kept: one of them waits to be unmapped. The next is for the next
// call: where blocks come and go, they shall not all be unmapped.
void BlockHeap::drop_kept(size_t keep_bytes) {
  pthread_mutex_lock(&lock_);
  if (kept_bytes_ > keep_bytes) {
    Block* block = kept_;
    const size_t bytes = pages_of(block->total_bytes());
    kept_ = block->next;
    kept_bytes_ -= bytes;
    least_kept_bytes_ = std::min(least_kept_bytes_, kept_bytes_);
    unneeded_bytes_ -= std::min(unneeded_bytes_, bytes);
    block->next = dropped_;
    dropped_ = block;
  }
  pthread_mutex_unlock(&lock_);
}

// Of what is kept, how much may be needed again.
size_t BlockHeap::needed_bytes(int64_t now_ms) {
  pthread_mutex_lock(&lock_);
  if (now_ms - period_began_ms_ >= kKeptPeriodMs) {
    period_began_ms_ = now_ms;
    unneeded_bytes_ = least_kept_bytes_;
    least_kept_bytes_ = kept_bytes_;
  }
  const size_t needed = kept_bytes_ - std::min(kept_bytes_, unneeded_bytes_);
  pthread_mutex_unlock(&lock_);
  return needed;
}

Block* BlockHeap::make_mapped(size_t bytes) {
  if (Block* kept = take_kept(bytes)) return new (kept) Block{};
  void* p =
      mmap(nullptr, pages_of(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  if (bytes >= kHugeMapping) {
    // The start stays on small pages: a client may have promised more than it ever sends.
    char* const start = static_cast<char*>(p);
    const size_t small = kHugePage - reinterpret_cast<size_t>(start) % kHugePage;
    madvise(start + small, pages_of(bytes) - small, MADV_HUGEPAGE);
  }
  return new (p) Block{};
}

Block* BlockHeap::make_in_slab(size_t bytes) {
  pthread_mutex_lock(&lock_);
  const Ref ref = slabs_.allocate(bytes);
  pthread_mutex_unlock(&lock_);
  if (!ref) return nullptr;
  Block* block = new (slabs_.at(ref)) Block{};
  block->ref = ref;
  return block;
}

Block* BlockHeap::make(std::string_view bytes) {
  Block* block = make_empty(bytes.size());
  if (!block) return nullptr;
  memcpy(block->data, bytes.data(), bytes.size());
  adopt(block);
  return block;
}

void BlockHeap::adopt(Block* block) {
  if (block->counted) return;
  block->counted = true;
  used_bytes_ += pages_of(block->total_bytes());
  memcpy(block->data + block->length_bytes, "\r\n", kBlockTailBytes);
}

// The length line ends where the bytes begin.
static void write_head(Block* block) {
  char digits[kIntegerBytesMax];
  const size_t count = format_integer(int64_t(block->length_bytes), digits);
  block->head_bytes = uint8_t(count + 3);
  assert(block->head_bytes <= kBlockHeadBytes);
  char* p = block->data - block->head_bytes;
  *p++ = '$';
  memcpy(p, digits, count);
  memcpy(p + count, "\r\n", 2);
}

void Block::set_length(size_t bytes) {
  assert(bytes <= room_bytes);
  length_bytes = bytes;
  write_head(this);
  memcpy(data + bytes, "\r\n", kBlockTailBytes);
}

Block* BlockHeap::make_roomy(size_t bytes, size_t room_bytes) {
  assert(bytes <= room_bytes);
  const size_t total = sizeof(Block) + room_bytes + kBlockTailBytes;
  Block* block = total <= kSlabBlockBytesMax ? make_in_slab(total) : make_mapped(total);
  if (!block) return nullptr;
  block->references.store(1, std::memory_order_relaxed);
  block->length_bytes = bytes;
  block->room_bytes = room_bytes;
  block->heap = this;
  write_head(block);
  return block;
}

void drop_block(Block* block) {
  const uint32_t before = block->references.fetch_sub(1, std::memory_order_acq_rel);
  if (before == 1) block->heap->destroy(block);
  if (before >= kReferencesMax) keep_for_ever(block);
}

void BlockHeap::destroy(Block* block) {
  const size_t total = block->total_bytes();
  const Ref ref = block->ref;
  const bool lent = block->lent.load(std::memory_order_relaxed);
  freed_.fetch_add(1, std::memory_order_relaxed);
  if (block->counted) used_bytes_ -= pages_of(total);
  if (!ref && total <= kUnmapAtOnce) {
    if (lent || !keep(block)) munmap(block, pages_of(total));
    return;
  }
  if (ref && lent) pool_.discard_place(ref, total);  // still ours: no lock needed
  pthread_mutex_lock(&lock_);
  if (ref && !lent) {
    // A free place keeps its pages for the next block, unless much is kept already.
    const size_t free_bytes = slabs_.slab_bytes() - slabs_.used_bytes();
    const size_t keep = std::max(kFreeBytesMin, slabs_.used_bytes() / 8);
    if (free_bytes > std::min(keep, spare_limit())) {
      pool_.discard_tail(ref, total);
    }
  }
  if (ref) {
    slabs_.free(ref, total);
  } else {
    block->next = dropped_;
    dropped_ = block;
    dropped_bytes_ += pages_of(total);
  }
  pthread_mutex_unlock(&lock_);
  const size_t dropped_max = std::min(kDroppedBytesMax, spare_limit());
  while (dropped_bytes_.load(std::memory_order_relaxed) > dropped_max && unmap_some()) continue;
}

// The end of one dropped mapping, or its rest. False if there is none.
bool BlockHeap::unmap_some() {
  pthread_mutex_lock(&lock_);
  Block* block = dropped_;
  if (block) dropped_ = block->next;
  pthread_mutex_unlock(&lock_);
  if (!block) return false;
  const size_t pages = pages_of(block->total_bytes());
  if (pages <= kUnmapAtOnce) {
    munmap(block, pages);
    dropped_bytes_ -= pages;
    return true;
  }
  munmap(reinterpret_cast<char*>(block) + pages - kUnmapAtOnce, kUnmapAtOnce);
  block->room_bytes -= kUnmapAtOnce;
  dropped_bytes_ -= kUnmapAtOnce;
  pthread_mutex_lock(&lock_);
  block->next = dropped_;
  dropped_ = block;
  pthread_mutex_unlock(&lock_);
  return true;
}

bool BlockHeap::release_unneeded(size_t keep_bytes, int64_t now_ms) {
  const size_t needed = needed_bytes(now_ms);
  return release(keep_bytes, std::max(keep_bytes, needed)) || needed > keep_bytes;
}

bool BlockHeap::release(size_t keep_bytes, size_t keep_mapped_bytes) {
  drop_kept(keep_mapped_bytes);
  const bool more = unmap_some();
  return pool_.release(keep_bytes, 1) || more;
}

}  // namespace ignix
