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
    // Who waits has said so before the kernel compares the number of rings: one of both is seen.
    if (waits_.load(std::memory_order_seq_cst) && waits_.exchange(false)) futex(FUTEX_WAKE, 1);
  }

  // How often it has rung. Take it before looking for work, and give it to wait(): a ring that
  // comes in between is not lost. wait() may also return without a ring.
  uint32_t rings() const { return rings_.load(std::memory_order_seq_cst); }
  void wait(uint32_t seen) {
    waits_.store(true, std::memory_order_seq_cst);
    if (rings() == seen) futex(FUTEX_WAIT, seen);
    waits_.store(false, std::memory_order_relaxed);
  }

 private:
  void futex(int operation, uint32_t value) {
    static_assert(sizeof rings_ == 4);
    syscall(SYS_futex, &rings_, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
  }

  std::atomic<uint32_t> rings_{0};
  std::atomic<bool> waits_{false};  // written by the one that waits, taken back by who rings
};

}  // namespace ignix
