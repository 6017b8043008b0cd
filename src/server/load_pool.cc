#include "server/load_pool.h"

#include <algorithm>
#include <new>

#include "base/cpus.h"

namespace ignix {

LoadPool::LoadPool() {
  const int wanted = std::min(usable_cpus(), kThreadsMax);
  if (wanted > 1) threads_.reset(new (std::nothrow) Worker[size_t(wanted)]);
  if (!threads_) return;
  // Those that start ask for the lock first: by then it is known how many there are.
  pthread_mutex_lock(&lock_);
  while (started_ < wanted) {
    Worker& worker = threads_[started_];
    worker.pool = this;
    worker.number = started_;
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
  pthread_cond_broadcast(&begun_);
  pthread_mutex_unlock(&lock_);
  for (int i = 0; i < started_; i++) pthread_join(threads_[i].thread, nullptr);
}

void* LoadPool::run_worker(void* worker) {
  const int number = static_cast<Worker*>(worker)->number;
  LoadPool& pool = *static_cast<Worker*>(worker)->pool;
  uint64_t round = 0;
  pthread_mutex_lock(&pool.lock_);
  for (;;) {
    while (pool.round_ == round && !pool.stopping_) pthread_cond_wait(&pool.begun_, &pool.lock_);
    if (pool.stopping_) break;
    round = pool.round_;
    pthread_mutex_unlock(&pool.lock_);
    pool.task_(pool.context_, number);
    pthread_mutex_lock(&pool.lock_);
    if (--pool.busy_ == 0) pthread_cond_signal(&pool.done_);
  }
  pthread_mutex_unlock(&pool.lock_);
  return nullptr;
}

void LoadPool::run(void (*task)(void*, int), void* context) {
  if (started_ == 0) return task(context, 0);
  wait();
  pthread_mutex_lock(&lock_);
  task_ = task;
  context_ = context;
  busy_ = started_;
  round_++;
  pthread_cond_broadcast(&begun_);
  pthread_mutex_unlock(&lock_);
}

void LoadPool::wait() {
  pthread_mutex_lock(&lock_);
  while (busy_ > 0) pthread_cond_wait(&done_, &lock_);
  pthread_mutex_unlock(&lock_);
}

}  // namespace ignix
