// io_uring by its system calls (io_uring_setup(2), io_uring_enter(2), io_uring_register(2)): one
// ring and one ring of buffers to receive into. Knows nothing of connections.
//
// A ring belongs to one thread, which need not be the one that opens it: enable() is called by the
// thread that uses it, all else afterwards.
#pragma once

#include <linux/io_uring.h>

#include <cstddef>
#include <cstdint>

namespace ignix {

class Uring {
 public:
  Uring() = default;
  ~Uring();
  Uring(const Uring&) = delete;

  // False with errno, also where the kernel is older than 6.1 or a filter refuses the calls.
  // `buffers`, a power of two, of `buffer_bytes` each.
  bool open(unsigned entries, unsigned buffers, size_t buffer_bytes);
  bool enable();

  // An empty entry to fill in. It is submitted with the next enter(), or now if the queue is full.
  io_uring_sqe& prepare(uint8_t opcode, int fd, uint64_t user_data);

  // Submits what is prepared and waits for something to complete, at most `timeout_ms`; -1: for
  // ever, 0: not at all.
  void enter(int timeout_ms);

  // What has completed, in order: fn(const io_uring_cqe&) for each. fn may prepare().
  template <typename Fn>
  void for_each_completed(Fn fn) {
    uint32_t head = *cq_head_;  // written by us alone
    while (head != __atomic_load_n(cq_tail_, __ATOMIC_ACQUIRE)) {
      const io_uring_cqe cqe = cqes_[head & cq_mask_];
      __atomic_store_n(cq_head_, ++head, __ATOMIC_RELEASE);
      fn(cqe);
    }
  }

  // The bytes of a completion that has chosen a buffer; afterwards the kernel may use it again.
  const char* buffer(const io_uring_cqe& cqe) const {
    return buffers_ + size_t(cqe.flags >> IORING_CQE_BUFFER_SHIFT) * buffer_bytes_;
  }
  void give_buffer_back(const io_uring_cqe& cqe) {
    give_buffer(uint16_t(cqe.flags >> IORING_CQE_BUFFER_SHIFT));
  }

 private:
  bool set_up(unsigned entries, io_uring_params& params);
  bool map_rings(const io_uring_params& params);
  bool add_buffers(unsigned count, size_t bytes);
  void give_buffer(uint16_t index);

  int fd_ = -1;
  char* rings_ = nullptr;
  size_t rings_bytes_ = 0, sqes_bytes_ = 0, buffers_bytes_ = 0, buffer_ring_bytes_ = 0;
  io_uring_sqe* sqes_ = nullptr;
  uint32_t *sq_head_ = nullptr, *sq_tail_ = nullptr, *sq_array_ = nullptr;
  uint32_t sq_mask_ = 0, sq_entries_ = 0;
  unsigned prepared_ = 0;  // not submitted yet
  uint32_t *cq_head_ = nullptr, *cq_tail_ = nullptr;
  io_uring_cqe* cqes_ = nullptr;
  uint32_t cq_mask_ = 0;
  char* buffers_ = nullptr;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  size_t buffer_bytes_ = 0;
  uint16_t buffer_mask_ = 0, buffer_tail_ = 0;
};

}  // namespace ignix
