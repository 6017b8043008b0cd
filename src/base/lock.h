// A lock of four bytes for sections of some tens of nanoseconds. Spins, then yields the processor,
// so that a holder that was preempted gets to run.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>

namespace ignix {

class SpinLock {
 public:
  void lock() {
    while (taken_.exchange(1, std::memory_order_acquire)) wait();
  }
  void unlock() { taken_.store(0, std::memory_order_release); }

 private:
  static constexpr int kSpins = 200;

  void wait() {
    for (int i = 0; i < kSpins; i++) {
      if (!taken_.load(std::memory_order_relaxed)) return;
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("yield");
#endif
    }
    sched_yield();
  }

  std::atomic<uint32_t> taken_{0};
};

class SpinGuard {
 public:
  explicit SpinGuard(SpinLock& lock) : lock_(lock) { lock_.lock(); }
  ~SpinGuard() { lock_.unlock(); }
  SpinGuard(const SpinGuard&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace ignix
