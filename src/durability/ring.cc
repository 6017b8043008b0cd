#include "durability/ring.h"

#include <time.h>

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/clock.h"
#include "base/number.h"

namespace ignix {
namespace {

static_assert((kLogRingBytes & (kLogRingBytes - 1)) == 0, "an offset is found by masking");

constexpr std::string_view kMulti = "*1\r\n$5\r\nMULTI\r\n";
constexpr std::string_view kExec = "*1\r\n$4\r\nEXEC\r\n";

size_t header_bytes(size_t number) { return 1 + digit_count(number) + 2; }

// Writes to memory that is there as a whole.
struct Memory {
  char* p;

  void put(std::string_view bytes) {
    if (!bytes.empty()) memcpy(p, bytes.data(), bytes.size());
    p += bytes.size();
  }
  void put_header(char kind, size_t number) {
    *p++ = kind;
    p += format_integer(int64_t(number), p);
    *p++ = '\r';
    *p++ = '\n';
  }
};

size_t command_bytes(const std::string_view* words, size_t count) {
  size_t bytes = header_bytes(count);
  for (size_t i = 0; i < count; i++) bytes += header_bytes(words[i].size()) + words[i].size() + 2;
  return bytes;
}

template <typename Out>
void put_command(Out& out, const std::string_view* words, size_t count) {
  out.put_header('*', count);
  for (size_t i = 0; i < count; i++) {
    out.put_header('$', words[i].size());
    out.put(words[i]);
    out.put("\r\n");
  }
}

// The record that chooses a database.
class Select {
 public:
  explicit Select(int db) : words_{"SELECT", {number_, format_integer(db, number_)}} {}
  Select(const Select&) = delete;
  size_t bytes() const { return command_bytes(words_, 2); }
  template <typename Out>
  void put(Out& out) const {
    put_command(out, words_, 2);
  }

 private:
  char number_[kIntegerBytesMax];
  std::string_view words_[2];
};

// A line that is about to be written, wherever it is now. The compiler believes only of some x86-64
// processors that they have this instruction; the others do nothing.
inline void prefetch_to_write(const char* p) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*p));
#else
  __builtin_prefetch(p, 1);
#endif
}

}  // namespace

// Writes to a part of the ring that crosses its end, or has yet to come free.
class LogRing::Through {
 public:
  Through(LogRing& ring, Writer& writer, uint64_t at) : ring_(ring), writer_(writer), at_(at) {}
  void put(std::string_view bytes) { ring_.write_through(writer_, at_, bytes); }
  void put_header(char kind, size_t number) {
    char text[kIntegerBytesMax + 3];
    Memory memory = {text};
    memory.put_header(kind, number);
    put({text, size_t(memory.p - text)});
  }

 private:
  LogRing& ring_;
  Writer& writer_;
  uint64_t at_;
};

LogRing::~LogRing() {
  while (Aside* const aside = aside_) {
    aside_ = aside->next;
    free(aside);
  }
}

bool LogRing::open(int writers) {
  bytes_.reset(new (std::nothrow) char[kLogRingBytes]);
  writers_.reset(new (std::nothrow) Writer[size_t(writers)]);
  writer_count_ = writers;
  return bytes_ && writers_;
}

size_t LogRing::room() const {
  const uint64_t taken_before = taken();  // first: the tail is never behind it
  const uint64_t used = tail_.load(std::memory_order_relaxed) - taken_before;
  return used < kLogRingBytes ? kLogRingBytes - used : 0;
}

uint64_t LogRing::append(Writer& writer, int db, const std::string_view* words, size_t count,
                         std::string_view formatted) {
  if (writer.in_group) [[unlikely]]
    return add_to_group(writer, db, words, count);
  if (db == 0 && !formatted.empty()) return append_bytes(writer, formatted);
  const Select select(db);
  size_t bytes = command_bytes(words, count);
  if (db) bytes += select.bytes() + kSelectZero.size();
  const Space space = reserve(writer, bytes);
  fill(writer, space, [&](auto& out) {
    if (db) select.put(out);
    put_command(out, words, count);
    if (db) out.put(kSelectZero);
  });
  return commit(writer, space);
}

// The ring is larger than a core's cache, so the lines of the records after the next few are asked
// for early. Else each would come from afar, and the next command's lock would wait for them: an
// atomic operation goes behind all stores before it. Of a long record the processor itself sees
// where it goes.
void LogRing::prefetch_ahead(uint64_t start, size_t bytes) const {
  constexpr uint64_t kLine = 64, kAheadBytes = 512;
  const uint64_t from = start + kAheadBytes, end = from + std::min<uint64_t>(bytes, kAheadBytes);
  for (uint64_t at = (from + kLine - 1) & ~(kLine - 1); at < end; at += kLine) {
    prefetch_to_write(bytes_.get() + (at & (kLogRingBytes - 1)));
  }
}

LogRing::Space LogRing::reserve(Writer& writer, size_t bytes) {
  // The reservation releases the announcement: who sees the one sees the other. The announcement
  // itself is a release for the record before, whose "idle" it may hide from the AOF thread.
  uint64_t start = tail_.load(std::memory_order_relaxed);
  writer.announced.store(start, std::memory_order_release);
  if (writer_count_ == 1) {
    // Nobody else moves the tail. An addition would wait for all stores before it.
    tail_.store(start + bytes, std::memory_order_release);
  } else {
    start = tail_.fetch_add(bytes, std::memory_order_seq_cst);
  }
  const size_t offset = start & (kLogRingBytes - 1);
  if (start + bytes - taken() <= kLogRingBytes) {
    prefetch_ahead(start, bytes);
    const bool is_whole = offset + bytes <= kLogRingBytes;
    return {start, bytes, is_whole ? bytes_.get() + offset : nullptr, nullptr};
  }
  Aside* const aside =
      short_of_memory_ ? nullptr : static_cast<Aside*>(malloc(sizeof(Aside) + bytes));
  if (!aside) return {start, bytes, nullptr, nullptr};
  aside->position = start;
  aside->bytes = bytes;
  return {start, bytes, aside->data, aside};
}

template <typename Write>
void LogRing::fill(Writer& writer, const Space& space, Write write) {
  if (space.out) {
    Memory memory = {space.out};
    write(memory);
    assert(size_t(memory.p - space.out) == space.bytes);
  } else {
    Through through(*this, writer, space.start);
    write(through);
  }
}

uint64_t LogRing::commit(Writer& writer, const Space& space) {
  if (space.aside) {
    pthread_mutex_lock(&aside_lock_);
    space.aside->next = aside_;
    aside_ = space.aside;
    aside_count_.fetch_add(1, std::memory_order_release);
    pthread_mutex_unlock(&aside_lock_);
  }
  writer.announced.store(Writer::kIdle, std::memory_order_release);
  return space.start + space.bytes;
}

void LogRing::write_through(Writer& writer, uint64_t& at, std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t offset = at & (kLogRingBytes - 1);
    const size_t count =
        std::min({bytes.size(), wait_for_room(writer, at), kLogRingBytes - offset});
    memcpy(bytes_.get() + offset, bytes.data(), count);
    bytes.remove_prefix(count);
    at += count;
  }
}

// How many bytes may be written at position `at`, one at least. What stands before it is complete.
size_t LogRing::wait_for_room(Writer& writer, uint64_t at) {
  constexpr timespec kPause = {0, 100'000};
  uint64_t end;
  while ((end = taken() + kLogRingBytes) <= at) {
    pieces_.fetch_add(1, std::memory_order_release);  // before anybody can see it
    writer.announced.store(at, std::memory_order_release);
    if (wake_) wake_(wake_context_);
    nanosleep(&kPause, nullptr);
  }
  return size_t(end - at);
}

uint64_t LogRing::append_bytes(Writer& writer, std::string_view bytes) {
  const Space space = reserve(writer, bytes.size());
  fill(writer, space, [&](auto& out) { out.put(bytes); });
  return commit(writer, space);
}

void LogRing::begin_group(Writer& writer) {
  writer.group_db = 0;
  writer.group_records = 0;
  writer.group.clear();
  writer.in_group = writer.group.append(kMulti);
}

uint64_t LogRing::add_to_group(Writer& writer, int db, const std::string_view* words,
                               size_t count) {
  const Select select(db);
  Buffer& group = writer.group;
  size_t bytes = command_bytes(words, count);
  if (db != writer.group_db) bytes += select.bytes();
  const bool is_full = short_of_memory_ && writer.group_records == 2;
  if (is_full || !group.reserve(bytes + kSelectZero.size() + kExec.size())) {
    break_up(writer);
    return append(writer, db, words, count);
  }
  Memory out = {group.room()};
  if (db != writer.group_db) select.put(out);
  put_command(out, words, count);
  assert(size_t(out.p - group.room()) == bytes);
  group.commit(bytes);
  writer.group_db = db;
  writer.group_records++;
  return tail_.load(std::memory_order_relaxed);
}

// Ends the group without MULTI and EXEC; what follows stands for itself. All of it is under the
// same locks, so the order is right; but who reads a file that ends amid it finds only a part.
uint64_t LogRing::break_up(Writer& writer) {
  writer.in_group = false;
  if (writer.group_records == 0) return tail_.load(std::memory_order_relaxed);
  writer.group_records = 0;
  Buffer& group = writer.group;
  if (writer.group_db) group.append(kSelectZero);
  group.consume(kMulti.size());
  const uint64_t end = append_bytes(writer, {group.data(), group.size()});
  group.clear();
  if (group.capacity() > kLogSlackBytes) group.release();
  return end;
}

uint64_t LogRing::end_group(Writer& writer) {
  if (!writer.in_group || writer.group_records < 2) return break_up(writer);
  writer.in_group = false;
  Buffer& group = writer.group;
  if (writer.group_db) group.append(kSelectZero);
  group.append(kExec);
  const uint64_t end = append_bytes(writer, {group.data(), group.size()});
  if (group.capacity() > kLogSlackBytes) group.release();
  return end;
}

const LogRing::Aside* LogRing::first_aside() const {
  const Aside* first = nullptr;
  for (const Aside* aside = aside_; aside; aside = aside->next) {
    if (!first || aside->position < first->position) first = aside;
  }
  return first;
}

std::string_view LogRing::complete() const {
  uint64_t end = tail_.load(std::memory_order_seq_cst);
  for (int i = 0; i < writer_count_; i++) {
    end = std::min(end, writers_[i].announced.load(std::memory_order_acquire));
  }
  const uint64_t start = taken_.load(std::memory_order_relaxed);
  if (end <= start) return {};
  if (aside_count_.load(std::memory_order_acquire)) {
    pthread_mutex_lock(&aside_lock_);
    const Aside* aside = first_aside();
    pthread_mutex_unlock(&aside_lock_);
    // Only this thread removes one, so it stays. Its position may lie behind what is complete.
    if (aside && aside->position <= start) {
      return std::string_view(aside->data, aside->bytes).substr(size_t(start - aside->position));
    }
    if (aside) end = std::min(end, aside->position);
  }
  const size_t offset = start & (kLogRingBytes - 1);
  return {bytes_.get() + offset, std::min(size_t(end - start), kLogRingBytes - offset)};
}

void LogRing::take(size_t bytes) {
  const uint64_t taken = taken_.load(std::memory_order_relaxed) + bytes;
  if (aside_count_.load(std::memory_order_acquire)) {
    pthread_mutex_lock(&aside_lock_);
    for (Aside** at = &aside_; Aside* const aside = *at;) {
      if (aside->position + aside->bytes > taken) {
        at = &aside->next;
        continue;
      }
      *at = aside->next;
      free(aside);
      aside_count_.fetch_sub(1, std::memory_order_release);
    }
    pthread_mutex_unlock(&aside_lock_);
  }
  taken_.store(taken, std::memory_order_release);
}

void LogRing::set_failure(int error) {
  if (!failure()) failing_since_ms_.store(monotonic_ms(), std::memory_order_relaxed);
  failure_.store(error, std::memory_order_release);
}

int64_t LogRing::failing_ms() const {
  if (!failure_.load(std::memory_order_acquire)) return 0;
  return monotonic_ms() - failing_since_ms_.load(std::memory_order_relaxed);
}

}  // namespace ignix
