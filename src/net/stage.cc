#include "net/stage.h"

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/clock.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace ignix {
namespace {

enum Way : unsigned { kStraight, kStaged };

constexpr size_t kMeasuredBytes = 16 * 1024;  // of less, most is the call's own time

#ifdef __SSE2__
// Past the cache.
void store(char* to, const char* from, size_t bytes) {
  constexpr size_t kWord = sizeof(__m128i), kLine = 64;
  const size_t unaligned = std::min(-reinterpret_cast<size_t>(to) % kWord, bytes);
  memcpy(to, from, unaligned);
  size_t at = unaligned;
  for (; at + kLine <= bytes; at += kLine) {
    __m128i words[kLine / kWord];
    memcpy(words, from + at, kLine);
    for (size_t i = 0; i < kLine / kWord; i++) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + at) + i, words[i]);
    }
  }
  _mm_sfence();  // before anybody else is shown them
  memcpy(to + at, from + at, bytes - at);
}
#else
void store(char* to, const char* from, size_t bytes) { memcpy(to, from, bytes); }
#endif

// The connection is readable when so many bytes have come, or when the kernel can hold no more
// (socket(7), SO_RCVLOWAT).
void set_low_water(Connection& c, size_t bytes) {
  const int value = int(bytes);
  if (c.low_water_bytes == value) return;
  if (setsockopt(c.fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value) == 0) {
    c.low_water_bytes = value;
  }
}

}  // namespace

void FasterWay::took(unsigned way, uint32_t time) {
  uint32_t& median = time_[way];
  const uint32_t step = std::max(1u, median / 16);
  if (times_[way] < kFirstTimes) {
    median = times_[way]++ == 0 ? time : std::min(median, time);
  } else if (time > median) {
    median += std::min(step, time - median);
  } else {
    median -= std::min(step, median - time);
  }
}

void clear_low_water(Connection& c) { set_low_water(c, 1); }

ssize_t Stage::receive(Connection& c, size_t room_bytes, bool every_part) {
  if (!stage_) stage_.reset(new (std::nothrow) Bytes);
  size_t all = 0;
  ssize_t got;
  do {
    got = receive_once(c, room_bytes);
    if (got > 0) all += size_t(got);
  } while (got >= ssize_t(kStageBytes) && c.missing_of_block() && all < kReceiveTurnBytes);
  const int error = errno;
  // At the end of a connection there is nothing to wait for.
  set_low_water(
      c, got == 0 || every_part ? 1 : std::clamp<size_t>(c.missing_of_block(), 1, kLowWaterBytes));
  errno = error;
  return all > 0 ? ssize_t(all) : got;
}

// Without memory for the stage, straight into the block.
ssize_t Stage::receive_once(Connection& c, size_t room_bytes) {
  if (!stage_) return receive_by(kStraight, c, room_bytes);
  FasterWay& ways = ways_[std::bit_width(c.received->length_bytes) - 1];
  const unsigned way = ways.choose();
  const int64_t before_ns = clock_ns(CLOCK_MONOTONIC);
  const ssize_t got = receive_by(way, c, room_bytes);
  if (got >= ssize_t(kMeasuredBytes)) {
    const int64_t ns = clock_ns(CLOCK_MONOTONIC) - before_ns;
    ways.took(way, uint32_t(std::min<int64_t>(ns * 1024 / got, UINT32_MAX)));
  }
  return got;
}

ssize_t Stage::receive_by(unsigned way, Connection& c, size_t room_bytes) {
  char* const block = c.received->data + c.received_bytes;
  const size_t missing = c.missing_of_block();
  iovec parts[2] = {{way == kStaged ? stage_->bytes : block, std::min(missing, kStageBytes)},
                    {c.input.room(), room_bytes}};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = parts[0].iov_len == missing ? 2 : 1;
  const ssize_t got = recvmsg(c.fd, &message, MSG_DONTWAIT);
  if (got <= 0) return got;
  const size_t of_block = std::min(size_t(got), parts[0].iov_len);
  if (way == kStaged) store(block, stage_->bytes, of_block);
  c.received_bytes += of_block;
  c.input.commit(size_t(got) - of_block);
  return got;
}

}  // namespace ignix
