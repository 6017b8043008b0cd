// A bell that one thread waits for and any thread may ring. Ringing costs an atomic addition, and a
// system call only while somebody waits.
#pragma once

#include <atomic>
#include <cstdint>

namespace ignix {

class Bell {
 public:
  void ring() {
    rings_.fetch_add(1, std::memory_order_release);
    rings_.notify_one();
  }

  // How often it has rung. Take it before looking for work, and give it to wait(): a ring that
  // comes in between is not lost.
  uint32_t rings() const { return rings_.load(std::memory_order_acquire); }
  void wait(uint32_t seen) const { rings_.wait(seen, std::memory_order_acquire); }

 private:
  std::atomic<uint32_t> rings_{0};
};

}  // namespace ignix
