// The log ring: what is appended comes out byte for byte, whatever its size and whoever appends.
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "durability/ring.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

using ignix::kLogRingBytes;
using ignix::LogRing;

std::string encoded(const std::vector<std::string>& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return text;
}

std::string record_of(int db, const std::vector<std::string>& words) {
  if (db == 0) return encoded(words);
  return encoded({"SELECT", std::to_string(db)}) + encoded(words) + encoded({"SELECT", "0"});
}

uint64_t append(LogRing& ring, int writer, int db, const std::vector<std::string>& words) {
  const std::vector<std::string_view> views(words.begin(), words.end());
  return ring.append(ring.writer(writer), db, views.data(), views.size());
}

// Everything that is complete now.
std::string drain(LogRing& ring) {
  std::string out;
  for (;;) {
    const std::string_view bytes = ring.complete();
    if (bytes.empty()) return out;
    out += bytes;
    ring.take(bytes.size());
  }
}

TEST(ring, records_are_redis_commands) {
  LogRing ring;
  CHECK(ring.open(1));
  CHECK_EQ(ring.complete(), "");
  CHECK_EQ(ring.room(), kLogRingBytes);
  const uint64_t end = append(ring, 0, 0, {"SET", "key", "value"});
  CHECK_EQ(end, 33);
  CHECK_EQ(ring.tail(), end);
  CHECK_EQ(ring.room(), kLogRingBytes - end);
  CHECK_EQ(ring.taken(), 0);
  CHECK_EQ(ring.complete(), "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n");
  ring.take(10);  // a short write
  CHECK_EQ(ring.taken(), 10);
  CHECK_EQ(ring.complete(), "T\r\n$3\r\nkey\r\n$5\r\nvalue\r\n");
  ring.take(23);
  CHECK_EQ(ring.complete(), "");
  CHECK_EQ(ring.room(), kLogRingBytes);
}

TEST(ring, other_databases_are_selected_and_left) {
  LogRing ring;
  CHECK(ring.open(1));
  const std::string want =
      "*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"
      "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
  CHECK_EQ(append(ring, 0, 5, {"DEL", "k"}), want.size());
  CHECK_EQ(drain(ring), want);
  append(ring, 0, 1023, {"DEL", "k"});
  append(ring, 0, 0, {"DEL", "k"});
  CHECK_EQ(drain(ring), record_of(1023, {"DEL", "k"}) + record_of(0, {"DEL", "k"}));
}

TEST(ring, any_bytes_and_lengths) {
  Random random(seed());
  LogRing ring;
  CHECK(ring.open(1));
  uint64_t position = 0;
  for (size_t length : {0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10000, 99999, 100000, 999999}) {
    for (int db : {0, 5, 10}) {
      const std::vector<std::string> words = {"SET", random.bytes(length), "", random.bytes(7)};
      position += record_of(db, words).size();
      CHECK_EQ(append(ring, 0, db, words), position);
      CHECK(drain(ring) == record_of(db, words));
    }
  }
  const std::vector<std::string> many(12'345, "w");
  append(ring, 0, 0, many);
  CHECK(drain(ring) == record_of(0, many));
}

TEST(ring, groups) {
  LogRing ring;
  CHECK(ring.open(2));
  const std::string multi = encoded({"MULTI"}), exec = encoded({"EXEC"});
  const std::string a = encoded({"DEL", "a"}), b = encoded({"DEL", "b"});
  const auto group = [&](const std::vector<int>& databases) {
    ring.begin_group(ring.writer(0));
    for (size_t i = 0; i < databases.size(); i++) {
      const uint64_t tail = ring.tail();
      CHECK(append(ring, 0, databases[i], {"DEL", i % 2 ? "b" : "a"}) <= tail);
      CHECK_EQ(ring.tail(), tail);
      CHECK_EQ(ring.complete(), "");
    }
    const uint64_t end = ring.end_group(ring.writer(0));
    CHECK_EQ(end, ring.tail());
    return drain(ring);
  };
  const auto select = [](int db) { return encoded({"SELECT", std::to_string(db)}); };
  CHECK_EQ(group({}), "");
  CHECK_EQ(group({0}), a);
  CHECK_EQ(group({7}), select(7) + a + select(0));
  CHECK_EQ(group({0, 0}), multi + a + b + exec);
  CHECK_EQ(group({7, 7}), multi + select(7) + a + b + select(0) + exec);
  CHECK_EQ(group({0, 7}), multi + a + select(7) + b + select(0) + exec);
  CHECK_EQ(group({7, 0, 3}),
           multi + select(7) + a + select(0) + b + select(3) + a + select(0) + exec);
  // Others append meanwhile, before it: it comes when it is whole.
  ring.begin_group(ring.writer(0));
  append(ring, 0, 0, {"DEL", "a"});
  append(ring, 1, 0, {"DEL", "x"});
  append(ring, 0, 0, {"DEL", "b"});
  CHECK_EQ(drain(ring), encoded({"DEL", "x"}));
  ring.end_group(ring.writer(0));
  CHECK_EQ(drain(ring), multi + a + b + exec);
}

// Longer than the ring, across its end, and small ones in between.
TEST(ring, long_groups) {
  Random random(seed());
  LogRing ring;
  CHECK(ring.open(1));
  for (int round = 0; round < 30; round++) {
    const size_t bytes =
        random.one_in(4) ? kLogRingBytes + random.below(1'000'000) : random.below(kLogRingBytes);
    std::string want = encoded({"MULTI"});
    ring.begin_group(ring.writer(0));
    for (int i = 0; i < 2 || want.size() < bytes; i++) {
      const std::vector<std::string> words = {"SET", "k", random.letters(random.below(300'000))};
      append(ring, 0, 0, words);
      want += encoded(words);
    }
    ring.end_group(ring.writer(0));
    append(ring, 0, 0, {"DEL", "k"});
    CHECK(drain(ring) == want + encoded({"EXEC"}) + encoded({"DEL", "k"}));
  }
}

// Three times around the ring, in records and takes of random sizes.
TEST(ring, wraps_around) {
  Random random(seed());
  LogRing ring;
  CHECK(ring.open(1));
  std::string want;  // appended, not yet taken
  uint64_t total = 0;
  while (total < 3 * kLogRingBytes) {
    const int db = random.one_in(4) ? 5 : 0;
    const size_t length = random.one_in(50) ? random.below(1'000'000) : random.below(30'000);
    const std::vector<std::string> words = {"SET", random.letters(10), random.letters(length)};
    const std::string record = record_of(db, words);
    if (record.size() <= ring.room()) {
      total += record.size();
      CHECK_EQ(append(ring, 0, db, words), total);
      want += record;
    }
    CHECK_EQ(ring.room(), kLogRingBytes - want.size());
    while (random.one_in(2) || ring.room() < 1'100'000) {
      const std::string_view bytes = ring.complete();
      if (bytes.empty()) break;
      const size_t taken = 1 + random.below(bytes.size());
      CHECK(bytes == std::string_view(want).substr(0, bytes.size()));
      ring.take(taken);
      want.erase(0, taken);
    }
  }
  CHECK(drain(ring) == want);
}

TEST(ring, failure_is_set_and_cleared) {
  LogRing ring;
  CHECK(ring.open(1));
  CHECK_EQ(ring.failure(), 0);
  ring.set_failure(28);
  CHECK_EQ(ring.failure(), 28);
  ring.set_failure(0);
  CHECK_EQ(ring.failure(), 0);
}

// ---- with threads ----

struct Consumer {
  LogRing& ring;
  std::atomic<uint64_t> end{UINT64_MAX};  // where to stop, once it is known
  std::string text = {};
  pthread_t thread = {};

  static void* run(void* self) {
    Consumer& consumer = *static_cast<Consumer*>(self);
    while (consumer.ring.taken() < consumer.end.load()) {
      const std::string_view bytes = consumer.ring.complete();
      if (bytes.empty()) sched_yield();
      consumer.text += bytes;
      consumer.ring.take(bytes.size());
    }
    return nullptr;
  }
  void start() { CHECK_EQ(pthread_create(&thread, nullptr, run, this), 0); }
  void stop_at(uint64_t position) {
    end.store(position);
    pthread_join(thread, nullptr);
  }
};

void append_long_records(bool short_of_memory) {
  Random random(seed());
  LogRing ring;
  CHECK(ring.open(1));
  if (short_of_memory) ring.be_short_of_memory();
  Consumer consumer{ring};
  consumer.start();
  std::string want;
  const int64_t around = int64_t(kLogRingBytes);
  for (int64_t length : {around - 64, around, around + 1, int64_t(1), 2 * around + 77}) {
    const std::vector<std::string> words = {"SET", "k",
                                            std::string(size_t(length), char('a' + length % 26))};
    const int db = random.one_in(2) ? 5 : 0;
    want += record_of(db, words);
    CHECK_EQ(append(ring, 0, db, words), want.size());
  }
  consumer.stop_at(want.size());
  CHECK(consumer.text == want);
}

TEST(ring, records_longer_than_the_ring) { append_long_records(false); }
TEST(ring, records_longer_than_the_ring_without_memory) { append_long_records(true); }

// Without memory for all of a group, its records come one by one.
TEST(ring, groups_without_memory) {
  LogRing ring;
  CHECK(ring.open(1));
  ring.be_short_of_memory();
  const std::string a = encoded({"DEL", "a"}), select = encoded({"SELECT", "7"}),
                    zero = encoded({"SELECT", "0"});
  for (int records : {0, 1, 2, 3, 4}) {
    for (int db : {0, 7}) {
      std::string want, record = db ? select + a + zero : a;
      ring.begin_group(ring.writer(0));
      for (int i = 0; i < records; i++) {
        append(ring, 0, db, {"DEL", "a"});
        want += record;
      }
      const uint64_t end = ring.end_group(ring.writer(0));
      CHECK_EQ(end, ring.tail());
      if (records == 2) {
        want = encoded({"MULTI"}) + (db ? select + a + a + zero : a + a) + encoded({"EXEC"});
      }
      if (records > 2 && db) {
        want = select + a + a + zero;
        for (int i = 2; i < records; i++) want += record;
      }
      CHECK_EQ(drain(ring), want);
    }
  }
}

// A value that can be checked from its writer and number alone.
std::string value_of(int writer, uint64_t number, bool long_ones) {
  Random random(uint64_t(writer) << 32 | number);
  size_t length = random.below(800);
  if (random.one_in(100)) length = random.below(60'000);
  if (long_ones && number % 400 == 399) length = kLogRingBytes / 2 + random.below(kLogRingBytes);
  return std::string(length, char('a' + random.below(26))) + random.letters(8);
}

struct Appender {
  LogRing& ring;
  int index;
  uint64_t records;
  uint64_t bytes = 0;
  pthread_t thread = {};

  static int db_of(uint64_t number) { return number % 5 == 0 ? 5 : 0; }
  static std::vector<std::string> words_of(int writer, uint64_t number) {
    return {"SET", std::to_string(writer) + ":" + std::to_string(number),
            value_of(writer, number, true)};
  }
  static void* run(void* self) {
    Appender& appender = *static_cast<Appender*>(self);
    uint64_t last = 0;
    for (uint64_t number = 0; number < appender.records; number++) {
      const std::vector<std::string> words = words_of(appender.index, number);
      const int db = db_of(number);
      const uint64_t end = append(appender.ring, appender.index, db, words);
      const size_t length = record_of(db, words).size();
      CHECK(end >= last + length);
      last = end;
      appender.bytes += length;
    }
    return nullptr;
  }
};

void append_by(int writers, bool short_of_memory) {
  const uint64_t records = 8'000 / uint64_t(writers);
  LogRing ring;
  CHECK(ring.open(writers));
  if (short_of_memory) ring.be_short_of_memory();
  Consumer consumer{ring};
  consumer.start();
  std::vector<Appender> appenders;
  for (int i = 0; i < writers; i++) appenders.push_back({ring, i, records});
  for (Appender& a : appenders) CHECK_EQ(pthread_create(&a.thread, nullptr, Appender::run, &a), 0);
  uint64_t total = 0;
  for (Appender& a : appenders) {
    pthread_join(a.thread, nullptr);
    total += a.bytes;
  }
  CHECK_EQ(ring.tail(), total);
  consumer.stop_at(total);
  CHECK_EQ(consumer.text.size(), total);

  // Every record begins where one ended, and is the next one of its writer.
  std::string_view left = consumer.text;
  std::vector<uint64_t> next(static_cast<size_t>(writers));
  while (!left.empty()) {
    const size_t key_at = left.find("\r\nSET\r\n$");
    CHECK(key_at < 60);
    const size_t number_at = left.find('\n', key_at + 7) + 1;
    const int writer = left[number_at] - '0';
    CHECK(writer >= 0 && writer < writers);
    const uint64_t number = next[size_t(writer)]++;
    const std::string want = record_of(Appender::db_of(number), Appender::words_of(writer, number));
    CHECK(left.substr(0, want.size()) == want);
    left.remove_prefix(want.size());
  }
  for (uint64_t count : next) CHECK_EQ(count, records);
}

TEST(ring, four_writers_keep_their_order) { append_by(4, false); }
TEST(ring, four_writers_keep_their_order_without_memory) { append_by(4, true); }
// It moves the tail by other means.
TEST(ring, one_writer_keeps_its_order) { append_by(1, false); }
TEST(ring, one_writer_keeps_its_order_without_memory) { append_by(1, true); }

// One thread appends short records all the time, another one now and then a record longer than the
// ring. The short record that is reserved right behind a long one has been announced at a place
// before it, and waits for room: it must not hold back the bytes of the long one meanwhile.
struct Short {
  LogRing& ring;
  std::atomic<uint64_t> appended{0};
  std::atomic<bool> stopping{false};

  static void* run(void* self) {
    Short& s = *static_cast<Short*>(self);
    const std::string_view words[] = {"PING"};
    while (!s.stopping.load(std::memory_order_relaxed)) {
      // As commands are admitted: while there is room.
      if (s.ring.room() < 1024) {
        sched_yield();
        continue;
      }
      s.ring.append(s.ring.writer(1), 0, words, 1);
      s.appended.fetch_add(1, std::memory_order_relaxed);
    }
    return nullptr;
  }
};

struct Emptier {
  LogRing& ring;
  std::atomic<uint64_t> end{UINT64_MAX};

  static void* run(void* self) {
    Emptier& emptier = *static_cast<Emptier*>(self);
    while (emptier.ring.taken() < emptier.end.load()) {
      const size_t bytes = emptier.ring.complete().size();
      if (!bytes) sched_yield();
      emptier.ring.take(bytes);
    }
    return nullptr;
  }
};

TEST(ring, long_records_amid_short_ones) {
  LogRing ring;
  CHECK(ring.open(2));
  Short shorts{ring};
  Emptier emptier{ring};
  pthread_t short_thread, emptier_thread;
  CHECK_EQ(pthread_create(&short_thread, nullptr, Short::run, &shorts), 0);
  CHECK_EQ(pthread_create(&emptier_thread, nullptr, Emptier::run, &emptier), 0);
  const std::string value(kLogRingBytes + 100, 'x');
  const std::string_view words[] = {value};
  const int rounds = slowness() > 1 ? 40 : 100;
  for (int i = 0; i < rounds; i++) {
    const uint64_t before = shorts.appended.load();
    while (shorts.appended.load() < before + 1000 || ring.room() < kLogRingBytes / 2) sched_yield();
    ring.append(ring.writer(0), 0, words, 1);
    progress("%d of %d", i + 1, rounds);
  }
  shorts.stopping.store(true);
  pthread_join(short_thread, nullptr);
  emptier.end.store(ring.tail());
  pthread_join(emptier_thread, nullptr);
  CHECK_EQ(ring.taken(), ring.tail());
}

}  // namespace
}  // namespace test
