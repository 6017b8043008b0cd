// A lock of four bytes for short sections. Waits by spinning first: most are held for tens of
// nanoseconds. Then by yielding the processor and at last by sleeping, so that a holder that was
// preempted gets to run, though it may be a thread that comes behind this one, as the snapshot's
// does: yielding alone leaves it little.
#pragma once

#include <sched.h>
#include <time.h>

#include <atomic>
#include <cstdint>

namespace ignix {

class SpinLock {
 public:
  void lock() {
    if (taken_.exchange(1, std::memory_order_acquire)) [[unlikely]]
      lock_slowly();
  }
  void unlock() { taken_.store(0, std::memory_order_release); }

 private:
  static constexpr int kSpins = 200;
  static constexpr long kSleepNs = 20'000;

  [[gnu::cold, gnu::noinline]] void lock_slowly() {
    spin();
    if (!taken_.exchange(1, std::memory_order_acquire)) return;
    sched_yield();
    while (taken_.exchange(1, std::memory_order_acquire)) {
      const timespec pause = {0, kSleepNs};
      nanosleep(&pause, nullptr);
      spin();
    }
  }

  void spin() {
    for (int i = 0; i < kSpins && taken_.load(std::memory_order_relaxed); i++) {
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("yield");
#endif
    }
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
