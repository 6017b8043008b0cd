// The heap of entries and its pool of slabs.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "random.h"
#include "runner.h"
#include "store/heap.h"

namespace test {
namespace {

using ignix::EntryClasses;
using ignix::EntryHeap;
using ignix::EntryPool;
using ignix::kEntryBytesMax;
using ignix::Ref;

constexpr size_t kMemoryBytes = size_t(1) << 30;
constexpr unsigned kHeapClasses = EntryClasses::kCount;
constexpr size_t kSlabBytes = EntryPool::kSlabBytes;

unsigned heap_class(size_t bytes) { return EntryClasses::of(bytes); }
size_t heap_class_bytes(unsigned size_class) { return EntryClasses::bytes(size_class); }

TEST(heap, classes) {
  CHECK_EQ(heap_class(1), 0u);
  CHECK_EQ(heap_class(kEntryBytesMax), kHeapClasses - 1);
  for (unsigned i = 0; i < kHeapClasses; i++) {
    CHECK_EQ(heap_class_bytes(i) % 8, 0);
    if (i) CHECK(heap_class_bytes(i) > heap_class_bytes(i - 1));
    CHECK_EQ(heap_class(heap_class_bytes(i)), i);
  }
  for (size_t bytes = 1; bytes <= kEntryBytesMax; bytes++) {
    const unsigned size_class = heap_class(bytes);
    CHECK(size_class < kHeapClasses);
    CHECK(heap_class_bytes(size_class) >= bytes);
    if (size_class) CHECK(heap_class_bytes(size_class - 1) < bytes);
    // What is lost to rounding: 7 bytes or an eighth.
    CHECK(heap_class_bytes(size_class) - bytes <= (bytes <= 128 ? 7 : bytes / 8));
  }
}

struct Piece {
  Ref ref;
  std::string bytes;
};

// What is in use, by place, so that an overlap shows.
struct Model {
  std::map<Ref, size_t> places;
  size_t used_bytes = 0;

  void add(Ref ref, size_t bytes) {
    const size_t units = heap_class_bytes(heap_class(bytes)) / 8;
    const auto next = places.lower_bound(ref);
    CHECK(next == places.end() || ref + units <= next->first);
    if (next != places.begin()) {
      const auto before = std::prev(next);
      CHECK(before->first + before->second <= ref);
    }
    // No place reaches over the end of its slab.
    CHECK_EQ(ref * 8 / kSlabBytes, ((ref + units) * 8 - 1) / kSlabBytes);
    places[ref] = units;
    used_bytes += units * 8;
  }
  void remove(Ref ref) {
    used_bytes -= places[ref] * 8;
    places.erase(ref);
  }
};

size_t random_size(Random& random) {
  return random.one_in(3) ? 1 + random.below(kEntryBytesMax) : 1 + random.below(160);
}

std::string contents(const EntryHeap& heap, const Piece& piece) {
  return std::string(heap.at(piece.ref), piece.bytes.size());
}

TEST(heap, random_against_a_model) {
  Random random(seed());
  EntryPool pool;
  CHECK(pool.open(kMemoryBytes, nullptr));
  EntryHeap heap;
  heap.open(&pool);
  std::vector<Piece> pieces;
  Model model;
  size_t most = 0;
  for (int i = 0; i < 200'000; i++) {
    // Grows, shrinks to little, and grows again.
    const bool growing = i / 40'000 % 2 == 0;
    if (pieces.empty() || random.below(100) < (growing ? 70u : 30u)) {
      Piece piece{0, random.letters(random_size(random))};
      piece.ref = heap.allocate(piece.bytes.size());
      CHECK(piece.ref != 0);
      CHECK_EQ(reinterpret_cast<uintptr_t>(heap.at(piece.ref)) % 8, 0);
      model.add(piece.ref, piece.bytes.size());
      memcpy(heap.at(piece.ref), piece.bytes.data(), piece.bytes.size());
      pieces.push_back(std::move(piece));
    } else {
      Piece& piece = pieces[random.below(pieces.size())];
      CHECK(contents(heap, piece) == piece.bytes);
      heap.free(piece.ref, piece.bytes.size());
      model.remove(piece.ref);
      std::swap(piece, pieces.back());
      pieces.pop_back();
    }
    CHECK_EQ(heap.used_bytes(), model.used_bytes);
    most = std::max(most, pieces.size());
  }
  CHECK(most > 10'000);
  for (const Piece& piece : pieces) {
    CHECK(contents(heap, piece) == piece.bytes);
    heap.free(piece.ref, piece.bytes.size());
  }
  CHECK_EQ(heap.used_bytes(), 0);
  // One slab of a class may stay.
  CHECK(pool.taken_bytes() <= kHeapClasses * kSlabBytes);
}

// Any size of the same class frees a place.
TEST(heap, free_by_another_size_of_the_class) {
  EntryPool pool;
  CHECK(pool.open(kMemoryBytes, nullptr));
  EntryHeap heap;
  heap.open(&pool);
  const Ref ref = heap.allocate(129);
  CHECK_EQ(heap.used_bytes(), 144);
  heap.free(ref, 144);
  CHECK_EQ(heap.used_bytes(), 0);
  CHECK_EQ(heap.allocate(140), ref);
}

// Slabs that one class has emptied serve another, and are not taken anew from the machine.
TEST(heap, empty_slabs_go_back) {
  EntryPool pool;
  CHECK(pool.open(kMemoryBytes, nullptr));
  EntryHeap heap;
  heap.open(&pool);
  CHECK_EQ(pool.taken_bytes(), 0);
  size_t peak = 0;
  for (size_t bytes : {4096, 8, 100, 1000, 16, 3000, 64, 4096}) {
    std::vector<Ref> refs;
    for (size_t used = 0; used < (4u << 20); used += bytes) refs.push_back(heap.allocate(bytes));
    CHECK(pool.taken_bytes() >= 4u << 20);
    // Some slack: places that do not divide a slab, and the slabs kept by other classes.
    CHECK(pool.taken_bytes() <= (5u << 20));
    peak = std::max(peak, pool.taken_bytes());
    for (size_t i = 0; i < refs.size(); i += 2) heap.free(refs[i], bytes);
    for (size_t i = 1; i < refs.size(); i += 2) heap.free(refs[i], bytes);
    CHECK(pool.taken_bytes() <= kHeapClasses * kSlabBytes);
  }
  CHECK_EQ(heap.used_bytes(), 0);
  // The next slab that was never used stands right behind the highest that was.
  Ref highest = 0;
  for (size_t used = 0; used < peak; used += kSlabBytes) {
    for (int i = 0; i < 4; i++) highest = std::max(highest, heap.allocate(4096));
  }
  CHECK(highest * 8 <= peak + (kHeapClasses + 2) * kSlabBytes);
}

TEST(heap, many_heaps_on_one_pool) {
  constexpr size_t kHeaps = 64;
  Random random(seed());
  EntryPool pool;
  CHECK(pool.open(kMemoryBytes, nullptr));
  std::vector<EntryHeap> heaps(kHeaps);
  for (EntryHeap& heap : heaps) heap.open(&pool);
  struct Owned {
    size_t heap;
    Piece piece;
  };
  std::vector<Owned> all;
  Model model;
  for (int i = 0; i < 60'000; i++) {
    if (all.empty() || !random.one_in(3)) {
      Owned owned{random.below(kHeaps), {0, random.letters(random_size(random))}};
      owned.piece.ref = heaps[owned.heap].allocate(owned.piece.bytes.size());
      CHECK(owned.piece.ref != 0);
      model.add(owned.piece.ref, owned.piece.bytes.size());
      memcpy(heaps[owned.heap].at(owned.piece.ref), owned.piece.bytes.data(),
             owned.piece.bytes.size());
      all.push_back(std::move(owned));
    } else {
      Owned& owned = all[random.below(all.size())];
      CHECK(contents(heaps[owned.heap], owned.piece) == owned.piece.bytes);
      heaps[owned.heap].free(owned.piece.ref, owned.piece.bytes.size());
      model.remove(owned.piece.ref);
      std::swap(owned, all.back());
      all.pop_back();
    }
  }
  size_t used = 0;
  for (const EntryHeap& heap : heaps) used += heap.used_bytes();
  CHECK_EQ(used, model.used_bytes);
  for (const Owned& owned : all) {
    CHECK(contents(heaps[owned.heap], owned.piece) == owned.piece.bytes);
    heaps[owned.heap].free(owned.piece.ref, owned.piece.bytes.size());
  }
  for (const EntryHeap& heap : heaps) CHECK_EQ(heap.used_bytes(), 0);
  CHECK(pool.taken_bytes() <= kHeaps * kHeapClasses * kSlabBytes);
}

}  // namespace
}  // namespace test
