#include "server/load_pool.h"

#include <algorithm>
#include <new>

#include "base/cpus.h"

namespace ignix {

LoadPool::LoadPool(Task task, void* context) : task_(task), context_(context) {
  const int wanted = std::min(usable_cpus(), kThreadsMax);
  if (wanted > 1) threads_.reset(new (std::nothrow) Worker[size_t(wanted)]);
  if (!threads_) return;
  // Those that start ask for the lock first: by then it is known how many there are.
  pthread_mutex_lock(&lock_);
  while (started_ < wanted) {
    Worker& worker = threads_[started_];
    worker.pool = this;
    worker.number = started_;
    worker.chunks_done = 0;
    if (pthread_create(&worker.thread, nullptr, run_worker, &worker) != 0) break;
    pthread_setname_np(worker.thread, "load-worker");
    started_++;
  }
  workers_ = std::max(1, started_);
  pthread_mutex_unlock(&lock_);
}

LoadPool::~LoadPool() {
  wait();
  pthread_mutex_lock(&lock_);
  stopping_ = true;
  pthread_cond_broadcast(&given_);
  pthread_mutex_unlock(&lock_);
  for (int i = 0; i < started_; i++) pthread_join(threads_[i].thread, nullptr);
}

void* LoadPool::run_worker(void* it) {
  Worker& worker = *static_cast<Worker*>(it);
  LoadPool& pool = *worker.pool;
  pthread_mutex_lock(&pool.lock_);
  for (;;) {
    while (pool.chunks_given_ == worker.chunks_done && !pool.stopping_) {
      pthread_cond_wait(&pool.given_, &pool.lock_);
    }
    if (pool.stopping_) break;
    const size_t chunk = worker.chunks_done % kChunks;
    pthread_mutex_unlock(&pool.lock_);
    pool.task_(pool.context_, chunk, worker.number);
    pthread_mutex_lock(&pool.lock_);
    worker.chunks_done++;
    pthread_cond_signal(&pool.done_);
  }
  pthread_mutex_unlock(&pool.lock_);
  return nullptr;
}

uint64_t LoadPool::chunks_done() const {
  uint64_t least = chunks_given_;
  for (int i = 0; i < started_; i++) least = std::min(least, threads_[i].chunks_done);
  return least;
}

void LoadPool::wait_until_done(uint64_t chunks) {
  pthread_mutex_lock(&lock_);
  while (chunks_done() < chunks) pthread_cond_wait(&done_, &lock_);
  pthread_mutex_unlock(&lock_);
}

size_t LoadPool::chunk_to_fill() {
  if (chunks_given_ >= kChunks) wait_until_done(chunks_given_ - kChunks + 1);
  return chunks_given_ % kChunks;
}

void LoadPool::run() {
  if (started_ == 0) task_(context_, chunks_given_ % kChunks, 0);
  pthread_mutex_lock(&lock_);
  chunks_given_++;
  pthread_cond_broadcast(&given_);
  pthread_mutex_unlock(&lock_);
}

void LoadPool::wait() { wait_until_done(chunks_given_); }

}  // namespace ignix
