// Threads that put what is loaded into the keyspace, while the loading thread reads on. Each of
// them has stripes of its own, so that the order of changes to a key stays. What is read comes in
// chunks, of which several are under way, so that nobody waits for the slowest at each of them.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <memory>

#include "base/limits.h"

namespace ignix {

class LoadPool {
 public:
  using Task = void (*)(void* context, size_t chunk, int worker);
  // As many threads as there are CPUs for this process; where there is one, or no thread is to be
  // had, run() does the work itself.
  LoadPool(Task task, void* context);
  ~LoadPool();
  LoadPool(const LoadPool&) = delete;

  int workers() const { return workers_; }
  // Who has the stripe of this index.
  int worker_of(uint32_t stripe) const { return int(stripe % uint32_t(workers_)); }

  // How many chunks are filled or looked at, at most. The one to be filled next, from 0: waits
  // until the workers are done with what it held before.
  static constexpr size_t kChunks = 16;
  size_t chunk_to_fill();
  // It is filled: each worker, from 0, does task(context, chunk, worker), when it is done with the
  // chunks before.
  void run();
  // Until all that was to be run is done: then what it has changed is seen.
  void wait();

 private:
  struct Worker {
    LoadPool* pool;
    int number;
    pthread_t thread;
    uint64_t chunks_done;  // under lock_
  };
  static void* run_worker(void* worker);
  // Under lock_: how many chunks all of them are done with.
  uint64_t chunks_done() const;
  void wait_until_done(uint64_t chunks);

  const Task task_;
  void* const context_;
  std::unique_ptr<Worker[]> threads_;
  int workers_ = 1, started_ = 0;
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t given_ = PTHREAD_COND_INITIALIZER, done_ = PTHREAD_COND_INITIALIZER;
  // Under lock_; the count is written by the loading thread alone.
  uint64_t chunks_given_ = 0;
  bool stopping_ = false;
};

}  // namespace ignix
