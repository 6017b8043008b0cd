#include "net/uring.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

// Newer than the headers of Linux 6.1.
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

namespace ignix {
namespace {

// Many sockets may complete in one turn; what does not fit is kept by the kernel until there is
// room.
constexpr unsigned kCompletionsPerEntry = 8;

char* map(size_t bytes, int fd, off_t offset) {
  const int flags = fd >= 0 ? MAP_SHARED | MAP_POPULATE : MAP_PRIVATE | MAP_ANONYMOUS;
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, fd, offset);
  return p == MAP_FAILED ? nullptr : static_cast<char*>(p);
}

}  // namespace

Uring::~Uring() {
  if (fd_ >= 0) close(fd_);
  if (rings_) munmap(rings_, rings_bytes_);
  if (sqes_) munmap(sqes_, sqes_bytes_);
  if (buffers_) munmap(buffers_, buffers_bytes_);
  if (buffer_ring_) munmap(buffer_ring_, buffer_ring_bytes_);
}

// Completions are worked on only when their thread asks for them, so no interrupt and no other
// thread gets in between. Without the indirection of an array where the kernel can (6.6).
bool Uring::set_up(unsigned entries, io_uring_params& params) {
  for (const unsigned newer : {IORING_SETUP_NO_SQARRAY, 0U}) {
    params = {};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                   IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | newer;
    params.cq_entries = entries * kCompletionsPerEntry;
    fd_ = int(syscall(SYS_io_uring_setup, entries, &params));
    if (fd_ >= 0 || errno != EINVAL) break;
  }
  if (fd_ < 0) return false;
  constexpr unsigned kNeeded = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
  if ((params.features & kNeeded) == kNeeded) return true;
  errno = ENOSYS;
  return false;
}

bool Uring::map_rings(const io_uring_params& params) {
  rings_bytes_ = std::max<size_t>(params.sq_off.array + params.sq_entries * sizeof(uint32_t),
                                  params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
  sqes_bytes_ = params.sq_entries * sizeof(io_uring_sqe);
  rings_ = map(rings_bytes_, fd_, IORING_OFF_SQ_RING);
  sqes_ = reinterpret_cast<io_uring_sqe*>(map(sqes_bytes_, fd_, IORING_OFF_SQES));
  if (!rings_ || !sqes_) return false;
  const auto word = [this](uint32_t offset) {
    return reinterpret_cast<uint32_t*>(rings_ + offset);
  };
  sq_head_ = word(params.sq_off.head);
  sq_tail_ = word(params.sq_off.tail);
  sq_mask_ = *word(params.sq_off.ring_mask);
  sq_entries_ = params.sq_entries;
  if (!(params.flags & IORING_SETUP_NO_SQARRAY)) sq_array_ = word(params.sq_off.array);
  cq_head_ = word(params.cq_off.head);
  cq_tail_ = word(params.cq_off.tail);
  cq_mask_ = *word(params.cq_off.ring_mask);
  cqes_ = reinterpret_cast<io_uring_cqe*>(rings_ + params.cq_off.cqes);
  return true;
}

bool Uring::add_buffers(unsigned count, size_t bytes) {
  buffer_bytes_ = bytes;
  buffers_bytes_ = count * bytes;
  buffer_ring_bytes_ = count * sizeof(io_uring_buf);
  buffers_ = map(buffers_bytes_, -1, 0);
  buffer_ring_ = reinterpret_cast<io_uring_buf_ring*>(map(buffer_ring_bytes_, -1, 0));
  if (!buffers_ || !buffer_ring_) return false;
  io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<uint64_t>(buffer_ring_);
  registration.ring_entries = count;
  if (syscall(SYS_io_uring_register, fd_, IORING_REGISTER_PBUF_RING, &registration, 1) < 0) {
    return false;
  }
  buffer_mask_ = uint16_t(count - 1);
  for (unsigned i = 0; i < count; i++) give_buffer(uint16_t(i));
  return true;
}

bool Uring::open(unsigned entries, unsigned buffers, size_t buffer_bytes) {
  io_uring_params params;
  return set_up(entries, params) && map_rings(params) && add_buffers(buffers, buffer_bytes);
}

bool Uring::enable() {
  return syscall(SYS_io_uring_register, fd_, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) == 0;
}

void Uring::give_buffer(uint16_t index) {
  io_uring_buf& entry = reinterpret_cast<io_uring_buf*>(buffer_ring_)[buffer_tail_ & buffer_mask_];
  entry.addr = reinterpret_cast<uint64_t>(buffers_ + size_t(index) * buffer_bytes_);
  entry.len = uint32_t(buffer_bytes_);
  entry.bid = index;
  __atomic_store_n(&buffer_ring_->tail, ++buffer_tail_, __ATOMIC_RELEASE);
}

io_uring_sqe& Uring::prepare(uint8_t opcode, int fd, uint64_t user_data) {
  const uint32_t tail = *sq_tail_;  // written by us alone
  while (tail - __atomic_load_n(sq_head_, __ATOMIC_ACQUIRE) == sq_entries_) enter(0);
  io_uring_sqe& sqe = sqes_[tail & sq_mask_];
  memset(&sqe, 0, sizeof sqe);
  sqe.opcode = opcode;
  sqe.fd = fd;
  sqe.user_data = user_data;
  if (sq_array_) sq_array_[tail & sq_mask_] = tail & sq_mask_;
  __atomic_store_n(sq_tail_, tail + 1, __ATOMIC_RELEASE);
  prepared_++;
  return sqe;
}

void Uring::enter(int timeout_ms) {
  __kernel_timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1'000'000LL};
  io_uring_getevents_arg argument = {};
  argument.sigmask_sz = _NSIG / 8;
  if (timeout_ms > 0) argument.ts = reinterpret_cast<uint64_t>(&timeout);
  const long submitted =
      syscall(SYS_io_uring_enter, fd_, prepared_, timeout_ms != 0 ? 1 : 0,
              IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof argument);
  // A signal, the timeout, or completions to be taken first: what was not submitted stays prepared.
  if (submitted > 0) prepared_ -= unsigned(submitted);
}

}  // namespace ignix
