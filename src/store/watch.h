// Watched keys: WATCH. A watch is an entry of its key's stripe, under the stripe's lock, so whoever
// changes the key finds it there: Keyspace calls touch() from whatever changes a key. A stripe in
// which nobody watches has no WatchTable, and the question costs a look at the line that the lock
// is in.
//
// The table is small and of chains: there are as many watches as clients have asked for, and most
// stripes have none.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace ignix {

// Who watches: one for each client.
struct Watcher {
  // A watched key has been touched. Set under the key's stripe's lock, by any thread; cleared by
  // the client's own when it watches nothing.
  std::atomic<bool> touched{false};
};

struct Watch {
  // Its memory is one allocation with the key; nullptr if there is none.
  static Watch* make(Watcher& watcher, int db, uint64_t hash, std::string_view key);
  static void destroy(Watch* watch);

  std::string_view key() const {
    return {reinterpret_cast<const char*>(this) + sizeof(Watch), key_bytes};
  }
  bool is_of(int other_db, uint64_t other_hash, std::string_view other_key) const {
    return hash == other_hash && db == other_db && key() == other_key;
  }
  size_t total_bytes() const { return sizeof(Watch) + key_bytes; }

  uint64_t hash;
  Watcher* watcher;
  Watch* next = nullptr;       // in its chain, under the stripe's lock
  Watch* of_client = nullptr;  // the client's next one; for its own thread
  size_t key_bytes;
  int db;
  // The key was there when it was watched, but its time was over, and it has stayed so: deleting it
  // is no change. Under the stripe's lock.
  bool was_expired = false;
};

class WatchTable {
 public:
  WatchTable() = default;
  WatchTable(const WatchTable&) = delete;
  WatchTable& operator=(const WatchTable&) = delete;

  // False if there is no memory.
  bool add(Watch& watch);
  void remove(Watch& watch);
  bool empty() const { return count_ == 0; }
  // The same client's watch of the key, or nullptr.
  const Watch* find(const Watcher& watcher, int db, uint64_t hash, std::string_view key) const;

  // The key is about to change, or (`gone`) to be deleted.
  void touch(int db, uint64_t hash, std::string_view key, bool gone);

  template <typename Fn>
  void for_each(Fn fn) {
    for (size_t i = 0; i < chain_count_; i++) {
      for (Watch* watch = chains_[i]; watch; watch = watch->next) fn(*watch);
    }
  }

 private:
  // The low bits have chosen the stripe.
  Watch*& chain_of(uint64_t hash) const { return chains_[(hash >> 32) & (chain_count_ - 1)]; }
  bool grow();

  std::unique_ptr<Watch*[]> chains_;
  size_t chain_count_ = 0;  // a power of two
  size_t count_ = 0;
};

// A watched key has changed; or it is deleted.
inline void touch_watch(Watch& watch, bool gone) {
  if (gone && watch.was_expired) {
    watch.was_expired = false;
  } else {
    watch.watcher->touched.store(true, std::memory_order_relaxed);
  }
}

}  // namespace ignix
