#include "store/watch.h"

#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>

namespace ignix {

Watch* Watch::make(Watcher& watcher, int db, uint64_t hash, std::string_view key) {
  void* const memory = malloc(sizeof(Watch) + key.size());
  if (!memory) return nullptr;
  Watch* const watch = new (memory) Watch{hash, &watcher, nullptr, nullptr, key.size(), db};
  if (!key.empty()) memcpy(static_cast<char*>(memory) + sizeof(Watch), key.data(), key.size());
  return watch;
}

void Watch::destroy(Watch* watch) { free(watch); }

bool WatchTable::grow() {
  constexpr size_t kFirstChains = 8;
  const size_t old_count = chain_count_;
  const size_t count = old_count ? 2 * old_count : kFirstChains;
  std::unique_ptr<Watch*[]> fresh(new (std::nothrow) Watch*[count]());
  if (!fresh) return false;
  fresh.swap(chains_);
  chain_count_ = count;
  for (size_t i = 0; i < old_count; i++) {
    while (Watch* const watch = fresh[i]) {
      fresh[i] = watch->next;
      Watch*& chain = chain_of(watch->hash);
      watch->next = chain;
      chain = watch;
    }
  }
  return true;
}

// Longer chains will do where there is no memory for more of them.
bool WatchTable::add(Watch& watch) {
  if (count_ >= chain_count_ && !grow() && chain_count_ == 0) return false;
  Watch*& chain = chain_of(watch.hash);
  watch.next = chain;
  chain = &watch;
  count_++;
  return true;
}

void WatchTable::remove(Watch& watch) {
  for (Watch** at = &chain_of(watch.hash); *at; at = &(*at)->next) {
    if (*at != &watch) continue;
    *at = watch.next;
    count_--;
    return;
  }
  assert(!"a watch that is not in its stripe");
}

const Watch* WatchTable::find(const Watcher& watcher, int db, uint64_t hash,
                              std::string_view key) const {
  if (count_ == 0) return nullptr;
  for (const Watch* watch = chain_of(hash); watch; watch = watch->next) {
    if (watch->watcher == &watcher && watch->is_of(db, hash, key)) return watch;
  }
  return nullptr;
}

void WatchTable::touch(int db, uint64_t hash, std::string_view key, bool gone) {
  if (count_ == 0) return;
  for (Watch* watch = chain_of(hash); watch; watch = watch->next) {
    if (watch->is_of(db, hash, key)) touch_watch(*watch, gone);
  }
}

}  // namespace ignix
