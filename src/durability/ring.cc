#include "durability/ring.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

#include "base/number.h"

namespace ignix {
namespace {

static_assert((kLogRingBytes & (kLogRingBytes - 1)) == 0, "a place is found by masking");

constexpr std::string_view kSelectZero = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
constexpr std::string_view kMulti = "*1\r\n$5\r\nMULTI\r\n";
constexpr std::string_view kExec = "*1\r\n$4\r\nEXEC\r\n";

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

char* put(char* p, std::string_view bytes) {
  memcpy(p, bytes.data(), bytes.size());
  return p + bytes.size();
}

// The record that chooses a database.
class Select {
 public:
  explicit Select(int db) : words_{"SELECT", {number_, format_integer(db, number_)}} {}
  Select(const Select&) = delete;
  size_t bytes() const { return command_bytes(words_, 2); }
  char* put(char* p) const { return put_command(p, words_, 2); }

 private:
  char number_[kIntegerBytesMax];
  std::string_view words_[2];
};

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
  if (writer.in_group) [[unlikely]]
    return add_to_group(writer, db, words, count);
  const Select select(db);
  size_t bytes = command_bytes(words, count);
  if (db) bytes += select.bytes() + kSelectZero.size();
  Space space = reserve(writer, bytes);
  char* p = space.out;
  if (db) p = select.put(p);
  p = put_command(p, words, count);
  if (db) p = put(p, kSelectZero);
  assert(size_t(p - space.out) == bytes);
  return commit(writer, space);
}

LogRing::Space LogRing::reserve(Writer& writer, size_t bytes) {
  // The reservation releases the announcement: who sees the one sees the other. The announcement
  // itself is a release for the record before, whose "idle" it may hide from the AOF thread.
  writer.announced.store(tail_.load(std::memory_order_relaxed), std::memory_order_release);
  const uint64_t start = tail_.fetch_add(bytes, std::memory_order_seq_cst);
  const size_t place = start & (kLogRingBytes - 1);
  const bool fits = start + bytes - taken() <= kLogRingBytes;
  const bool direct = fits && place + bytes <= kLogRingBytes;
  std::unique_ptr<Aside> aside;
  if (!fits) aside = std::make_unique<Aside>(Aside{start, std::vector<char>(bytes)});
  if (fits && !direct) writer.scratch.resize(bytes);
  char* const out = direct ? bytes_.get() + place
                    : fits ? writer.scratch.data()
                           : aside->bytes.data();
  return {out, bytes, start, fits, direct, std::move(aside)};
}

uint64_t LogRing::commit(Writer& writer, Space& space) {
  if (!space.fits) {
    pthread_mutex_lock(&aside_lock_);
    aside_.push_back(std::move(space.aside));
    aside_count_.store(aside_.size(), std::memory_order_release);
    pthread_mutex_unlock(&aside_lock_);
  } else if (!space.direct) {
    copy_around(space.start, {space.out, space.bytes});
    if (writer.scratch.capacity() > kLogSlackBytes) std::vector<char>().swap(writer.scratch);
  }
  writer.announced.store(Writer::kIdle, std::memory_order_release);
  return space.start + space.bytes;
}

void LogRing::begin_group(Writer& writer) {
  writer.in_group = true;
  writer.group_db = 0;
  writer.group_records = 0;
  writer.group.assign(kMulti.begin(), kMulti.end());
}

uint64_t LogRing::add_to_group(Writer& writer, int db, const std::string_view* words,
                               size_t count) {
  const Select select(db);
  const size_t before = writer.group.size();
  size_t bytes = command_bytes(words, count);
  if (db != writer.group_db) bytes += select.bytes();
  writer.group.resize(before + bytes);
  char* p = writer.group.data() + before;
  if (db != writer.group_db) p = select.put(p);
  p = put_command(p, words, count);
  assert(size_t(p - writer.group.data()) == before + bytes);
  writer.group_db = db;
  writer.group_records++;
  return tail_.load(std::memory_order_relaxed);
}

uint64_t LogRing::end_group(Writer& writer) {
  writer.in_group = false;
  if (writer.group_records == 0) return tail_.load(std::memory_order_relaxed);
  std::vector<char>& group = writer.group;
  if (writer.group_db) group.insert(group.end(), kSelectZero.begin(), kSelectZero.end());
  size_t begin = 0;
  if (writer.group_records == 1) {
    begin = kMulti.size();
  } else {
    group.insert(group.end(), kExec.begin(), kExec.end());
  }
  Space space = reserve(writer, group.size() - begin);
  memcpy(space.out, group.data() + begin, space.bytes);
  const uint64_t end = commit(writer, space);
  if (group.capacity() > kLogSlackBytes) std::vector<char>().swap(group);
  return end;
}

// A record that crosses the end of the ring.
void LogRing::copy_around(uint64_t position, std::string_view bytes) {
  const size_t place = position & (kLogRingBytes - 1);
  const size_t first = kLogRingBytes - place;
  memcpy(bytes_.get() + place, bytes.data(), first);
  memcpy(bytes_.get(), bytes.data() + first, bytes.size() - first);
}

const LogRing::Aside* LogRing::first_aside() const {
  const Aside* first = nullptr;
  for (const auto& aside : aside_) {
    if (!first || aside->position < first->position) first = aside.get();
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
      return std::string_view(aside->bytes.data(), aside->bytes.size())
          .substr(size_t(start - aside->position));
    }
    if (aside) end = std::min(end, aside->position);
  }
  const size_t place = start & (kLogRingBytes - 1);
  return {bytes_.get() + place, std::min(size_t(end - start), kLogRingBytes - place)};
}

void LogRing::take(size_t bytes) {
  const uint64_t taken = taken_.load(std::memory_order_relaxed) + bytes;
  if (aside_count_.load(std::memory_order_acquire)) {
    pthread_mutex_lock(&aside_lock_);
    std::erase_if(aside_, [&](const std::unique_ptr<Aside>& aside) {
      return aside->position + aside->bytes.size() <= taken;
    });
    aside_count_.store(aside_.size(), std::memory_order_release);
    pthread_mutex_unlock(&aside_lock_);
  }
  taken_.store(taken, std::memory_order_release);
}

}  // namespace ignix
