#include "durability/ring.h"

#include <sched.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

#include "base/number.h"

namespace ignix {
namespace {

static_assert((kLogRingBytes & (kLogRingBytes - 1)) == 0, "a place is found by masking");

constexpr std::string_view kSelectZero = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";

size_t header_bytes(size_t number) { return 1 + digit_count(number) + 2; }

char* put_header(char* p, char kind, size_t number) {
  *p++ = kind;
  p += format_integer(int64_t(number), p);
  *p++ = '\r';
  *p++ = '\n';
  return p;
}

char* put_word(char* p, std::string_view word) {
  p = put_header(p, '$', word.size());
  if (!word.empty()) memcpy(p, word.data(), word.size());
  p += word.size();
  *p++ = '\r';
  *p++ = '\n';
  return p;
}

size_t command_bytes(const std::string_view* words, size_t count) {
  size_t bytes = header_bytes(count);
  for (size_t i = 0; i < count; i++) bytes += header_bytes(words[i].size()) + words[i].size() + 2;
  return bytes;
}

char* put_command(char* p, const std::string_view* words, size_t count) {
  p = put_header(p, '*', count);
  for (size_t i = 0; i < count; i++) p = put_word(p, words[i]);
  return p;
}

}  // namespace

bool LogRing::open(int writers) {
  bytes_.reset(new (std::nothrow) char[kLogRingBytes]);
  writers_.reset(new (std::nothrow) Writer[size_t(writers)]);
  writer_count_ = writers;
  return bytes_ && writers_;
}

size_t LogRing::room() const {
  const uint64_t used = tail_.load(std::memory_order_relaxed) - taken();
  return used < kLogRingBytes ? kLogRingBytes - used : 0;
}

uint64_t LogRing::append(Writer& writer, int db, const std::string_view* words, size_t count) {
  char number[kIntegerBytesMax];
  const std::string_view select[] = {"SELECT", {number, format_integer(db, number)}};
  size_t bytes = command_bytes(words, count);
  if (db) bytes += command_bytes(select, 2) + kSelectZero.size();

  // The reservation releases the announcement: who sees the one sees the other. The announcement
  // itself is a release for the record before, whose "idle" it may hide from the AOF thread.
  writer.announced.store(tail_.load(std::memory_order_relaxed), std::memory_order_release);
  const uint64_t start = tail_.fetch_add(bytes, std::memory_order_seq_cst);
  const size_t place = start & (kLogRingBytes - 1);
  const bool direct = place + bytes <= kLogRingBytes && start + bytes - taken() <= kLogRingBytes;
  if (!direct) writer.scratch.resize(bytes);
  char* const out = direct ? bytes_.get() + place : writer.scratch.data();
  char* p = out;
  if (db) p = put_command(p, select, 2);
  p = put_command(p, words, count);
  if (db) {
    memcpy(p, kSelectZero.data(), kSelectZero.size());
    p += kSelectZero.size();
  }
  assert(size_t(p - out) == bytes);
  if (!direct) {
    copy_in(writer, start, {out, bytes});
    if (writer.scratch.capacity() > kLogSlackBytes) std::vector<char>().swap(writer.scratch);
  }
  writer.announced.store(Writer::kIdle, std::memory_order_release);
  return start + bytes;
}

// In pieces: as far as there is room, around the end of the ring. What has been copied is
// announced as complete, so that the AOF thread can make room for the rest.
void LogRing::copy_in(Writer& writer, uint64_t position, std::string_view bytes) {
  // The announcement may lie below other records that wait for room as well: no longer.
  writer.announced.store(position, std::memory_order_release);
  while (!bytes.empty()) {
    const uint64_t used = position - taken();
    if (used >= kLogRingBytes) {
      sched_yield();
      continue;
    }
    const size_t place = position & (kLogRingBytes - 1);
    const size_t piece =
        std::min({bytes.size(), size_t(kLogRingBytes - used), kLogRingBytes - place});
    memcpy(bytes_.get() + place, bytes.data(), piece);
    bytes.remove_prefix(piece);
    position += piece;
    writer.announced.store(position, std::memory_order_release);
  }
}

std::string_view LogRing::complete() const {
  uint64_t end = tail_.load(std::memory_order_seq_cst);
  for (int i = 0; i < writer_count_; i++) {
    end = std::min(end, writers_[i].announced.load(std::memory_order_acquire));
  }
  const uint64_t start = taken_.load(std::memory_order_relaxed);
  if (end <= start) return {};
  const size_t place = start & (kLogRingBytes - 1);
  return {bytes_.get() + place, std::min(size_t(end - start), kLogRingBytes - place)};
}

void LogRing::take(size_t bytes) {
  taken_.store(taken_.load(std::memory_order_relaxed) + bytes, std::memory_order_release);
}

}  // namespace ignix
