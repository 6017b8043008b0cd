// Threads that put what is loaded into the keyspace, while the loading thread reads on. Each of
// them has stripes of its own, so that the order of changes to a key stays.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <memory>

#include "base/limits.h"

namespace ignix {

class LoadPool {
 public:
  // As many threads as there are CPUs for this process; where there is one, or no thread is to be
  // had, run() does the work itself.
  LoadPool();
  ~LoadPool();
  LoadPool(const LoadPool&) = delete;

  int workers() const { return workers_; }
  // Who has the stripe of this index.
  int worker_of(uint32_t stripe) const { return int(stripe % uint32_t(workers_)); }

  // Waits for the task before. Then each worker, from 0, does task(context, worker).
  void run(void (*task)(void* context, int worker), void* context);
  // Until the last task is done: then all that it has changed is seen.
  void wait();

 private:
  struct Worker {
    LoadPool* pool;
    int number;
    pthread_t thread;
  };
  static void* run_worker(void* worker);

  std::unique_ptr<Worker[]> threads_;
  int workers_ = 1, started_ = 0;
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t begun_ = PTHREAD_COND_INITIALIZER, done_ = PTHREAD_COND_INITIALIZER;
  // Under lock_.
  void (*task_)(void*, int) = nullptr;
  void* context_ = nullptr;
  uint64_t round_ = 0;
  int busy_ = 0;
  bool stopping_ = false;
};

}  // namespace ignix
