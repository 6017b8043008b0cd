// The server as a whole: what the loops share, and what its administration needs to see of them.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "command/call.h"
#include "durability/aof.h"
#include "durability/ring.h"
#include "server/client.h"
#include "server/config.h"
#include "server/persist.h"
#include "store/keyspace.h"

namespace ignix {

// A counter that one thread writes and any may read.
class Counter {
 public:
  void add(uint64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// What a loop tells of itself.
struct alignas(64) LoopStatus {
  std::atomic<int64_t> clients{0};  // also those handed to it and not yet taken over
  Counter changes;                  // made by this loop since the start
  Counter waiting;                  // clients of WAIT and WAITAOF
  Counter commands, errors, connections, rejected, input_bytes, output_bytes, reads, writes;
  Counter expire_us, expire_slices;  // time taken by active expiry; how often it had to go on later
  Counter output_pending_bytes;      // replies not taken by their clients
  ClientRegistry registry;
  std::atomic<bool> kills{false};  // some of them are killed, since the loop last looked
};

struct Server {
  Config config;
  Keyspace keyspace;
  LogRing ring;
  Aof aof;
  Persist persist{*this};
  std::unique_ptr<LoopStatus[]> loops;
  int loop_count = 0;

  std::atomic<uint64_t> next_client_id{1};
  std::atomic<bool> stopping{false};
  std::atomic<bool> stop_requested{false};  // by request_stop()
  enum class SaveAtEnd { kByRules, kYes, kNo };
  std::atomic<SaveAtEnd> save_at_end{SaveAtEnd::kByRules};
  pthread_t main_thread = {};

  // Set before the loops start.
  int64_t started_ms = 0;  // CLOCK_MONOTONIC
  std::string run_id;      // 40 hexadecimal digits, another one each time
  std::string executable;
  const char* io_name = "";  // of the loops' back end

  // While the data is loaded, by a thread of its own, the loops run the few commands that do not
  // look at it.
  struct Loading {
    std::atomic<bool> active{true};
    std::atomic<int64_t> started_ms{0};  // CLOCK_REALTIME
    std::atomic<uint64_t> total_bytes{0}, loaded_bytes{0};
  } loading;

  // The main thread writes it once a second.
  std::atomic<uint64_t> commands_per_second{0}, input_per_second{0}, output_per_second{0};
  std::atomic<uint64_t> expired_by_last_walk{0};  // loop 0 writes it
  std::atomic<uint64_t> peak_memory_bytes{0};     // by note_memory()

  // CONFIG RESETSTAT notes the counters; INFO shows what has come since.
  struct Baseline {
    std::atomic<uint64_t> commands{0}, errors{0}, connections{0}, rejected{0}, input{0}, output{0},
        reads{0}, writes{0}, hits{0}, misses{0}, expired{0}, evicted{0}, expire_slices{0},
        expire_us{0};
  } baseline;

  int64_t client_count() const;
  // A counter over all loops.
  uint64_t total(Counter LoopStatus::*counter) const;
  struct KeyspaceCounts {
    uint64_t hits = 0, misses = 0, expired = 0, evicted = 0;
  };
  KeyspaceCounts keyspace_counts();

  // So much the store holds or uses now. The main thread once a second, and INFO.
  void note_memory(uint64_t bytes) {
    uint64_t peak = peak_memory_bytes.load(std::memory_order_relaxed);
    while (bytes > peak && !peak_memory_bytes.compare_exchange_weak(peak, bytes)) continue;
  }

  // Wakes a loop, from any thread; set before the loops start.
  void (*wake_loop)(Server&, int number) = nullptr;

  // Any thread: the main thread stops everything, in order.
  void request_stop();
};

}  // namespace ignix
