// Letters from any thread to one loop. The loop sleeps on the event descriptor together with its
// sockets; a letter wakes it. The descriptor stays readable from the first wake on and is to be
// watched for edges: every write is one (epoll(7), EPOLLET), so nobody need read it.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/lock.h"

namespace ignix {

template <typename Letter>
class Mailbox {
 public:
  // False, with errno set, if the kernel gives no descriptor.
  bool open() {
    event_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return event_fd_ >= 0;
  }
  ~Mailbox() {
    if (event_fd_ >= 0) close(event_fd_);
  }

  int event_fd() const { return event_fd_; }

  // Any thread.
  void post(Letter letter) {
    {
      SpinGuard guard(lock_);
      letters_.push_back(letter);
    }
    wake();
  }

  // Any thread. Many wakes before the next take() cost one system call.
  void wake() {
    if (woken_.exchange(true, std::memory_order_acq_rel)) return;
    const uint64_t one = 1;  // it takes for ever to fill the counter
    [[maybe_unused]] ssize_t written = write(event_fd_, &one, sizeof one);
  }

  // The owner only: empties the box into `letters` (which is cleared first). A wake that comes
  // before this returns may be consumed by it: do what one asks for only afterwards.
  void take(std::vector<Letter>& letters) {
    letters.clear();
    // Before the box is emptied, so that a letter posted from now on wakes again.
    woken_.exchange(false, std::memory_order_acq_rel);
    SpinGuard guard(lock_);
    letters.swap(letters_);
  }

 private:
  int event_fd_ = -1;
  std::atomic<bool> woken_{false};
  SpinLock lock_;
  std::vector<Letter> letters_;  // under lock_
};

}  // namespace ignix
