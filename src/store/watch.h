// Watched keys of a stripe: whoever watches one is told when it changes. Few keys are watched at
// any time, so that all that others pay is a look at one pointer. Guarded by the stripe's lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ignix {

struct WatchedKey {
  uint64_t hash;
  int db;
  std::string key;
  std::atomic<bool>* touched;  // the watcher's
};

class WatchList {
 public:
  void add(WatchedKey watched) { keys_.push_back(std::move(watched)); }
  // All that the owner of `touched` watches here.
  void remove(const std::atomic<bool>* touched) {
    std::erase_if(keys_, [touched](const WatchedKey& each) { return each.touched == touched; });
  }
  bool empty() const { return keys_.empty(); }

  void touch(int db, uint64_t hash, std::string_view key) {
    for (const WatchedKey& each : keys_) {
      if (each.hash == hash && each.db == db && each.key == key) each.touched->store(true);
    }
  }
  // fn(const WatchedKey&) for each.
  template <typename Fn>
  void for_each(Fn fn) const {
    for (const WatchedKey& each : keys_) fn(each);
  }

 private:
  std::vector<WatchedKey> keys_;
};

}  // namespace ignix
