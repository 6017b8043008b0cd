// A bell that one thread waits for and any thread may ring. Ringing costs an atomic addition, and a
// system call only for the first ring that finds somebody waiting. futex(2).
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace ignix {

class Bell {
 public:
  void ring() {
    rings_.fetch_add(1, std::memory_order_seq_cst);
    // Who waits says so before it looks at the rings for the last time: one of both is seen.
    if (waits_.load(std::memory_order_seq_cst) && waits_.exchange(0)) futex(FUTEX_WAKE, 1);
  }

  // How often it has rung. Take it before looking for work, and give it to wait(): a ring that
  // comes in between is not lost. wait() may also return without a ring.
  uint32_t rings() const { return rings_.load(std::memory_order_seq_cst); }
  void wait(uint32_t seen) {
    waits_.store(1, std::memory_order_seq_cst);
    if (rings() == seen) futex(FUTEX_WAIT, 1);
    waits_.store(0, std::memory_order_relaxed);
  }

 private:
  // On `waits_`: a ring that was late and takes this back before the kernel looks ends the wait.
  void futex(int operation, uint32_t value) {
    static_assert(sizeof waits_ == 4);
    syscall(SYS_futex, &waits_, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
  }

  std::atomic<uint32_t> rings_{0};
  std::atomic<uint32_t> waits_{0};  // 1: written by who waits; 0: by that, or by who wakes it
};

}  // namespace ignix
