// Snapshots of a keyspace that changes meanwhile, against a map copied at the instant; and the
// parts of the format.
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "base/crc64.h"
#include "base/lzf.h"
#include "durability/rdb_reader.h"
#include "durability/snapshot.h"
#include "random.h"
#include "runner.h"
#include "server.h"
#include "store/string.h"

namespace test {
namespace {

using ignix::Entry;
using ignix::Keyspace;
using ignix::kNoExpiry;
using ignix::RdbReader;

constexpr int kDatabases = 3;

struct Value {
  std::string text;
  int64_t expiry_ms = kNoExpiry;
  bool operator==(const Value&) const = default;
};
using Model = std::map<std::pair<int, std::string>, Value>;

void put(Keyspace& keyspace, int db, const std::string& key, const Value& value) {
  ignix::StringScratch scratch;
  ignix::StoredValue stored;
  CHECK(ignix::encode_string(value.text, keyspace.blocks(), scratch, stored));
  CHECK(keyspace.put(db, keyspace.key(key), stored, value.expiry_ms, 5));
}

// Some change of the keyspace and of its model.
void change(Keyspace& keyspace, Model& model, Random& random) {
  const int db = int(random.below(kDatabases));
  std::string key = "key" + std::to_string(random.below(3'000));
  if (random.one_in(50)) key += std::string(400, 'k');
  if (random.one_in(5)) {
    const ignix::Key found = keyspace.key(key);
    Entry* entry = keyspace.find(db, found);
    if (!entry) return;
    const int64_t expiry_ms = random.one_in(2) ? kNoExpiry : int64_t(1 + random.below(1'000'000));
    CHECK(keyspace.set_expiry(db, found, entry, expiry_ms));
    model[{db, key}].expiry_ms = expiry_ms;
    return;
  }
  if (random.one_in(3)) {
    CHECK_EQ(keyspace.erase(db, keyspace.key(key)), model.erase({db, key}) > 0);
    return;
  }
  Value value;
  if (random.one_in(4)) {
    value.text = std::to_string(int64_t(random.next()) >> random.below(64));
  } else {
    value.text = random.bytes(random.one_in(40) ? random.below(20'000) : random.below(80));
  }
  if (random.one_in(5)) value.expiry_ms = int64_t(1'000'000'000'000 + random.below(1'000'000));
  put(keyspace, db, key, value);
  model[{db, key}] = value;
}

// Collects what is saved; each entry once.
struct Collector : ignix::SnapshotSink {
  Model saved;
  void save(int db, const Entry& entry) override {
    ignix::StringScratch scratch;
    const bool fresh = saved
                           .insert({{db, std::string(entry.key())},
                                    {std::string(string_value(entry, scratch)), entry.expiry_ms()}})
                           .second;
    CHECK(fresh);
  }
  void flushed(int) override {}
};

// Two databases change places, in the keyspace and in its model.
void swap(Keyspace& keyspace, Model& model, int one, int other) {
  keyspace.lock_all();
  keyspace.swap(one, other, 0);
  keyspace.unlock_all();
  Model swapped;
  for (auto& [key, value] : model) {
    const int db = key.first == one ? other : key.first == other ? one : key.first;
    swapped[{db, key.second}] = value;
  }
  model = std::move(swapped);
}

TEST(snapshot, is_the_state_of_one_instant) {
  Random random(seed());
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, 2));
  Model model;
  for (int round = 0; round < 40; round++) {
    for (uint64_t i = random.below(4'000); i > 0; i--) change(keyspace, model, random);
    Collector sink;
    const Model instant = model;
    keyspace.lock_all();
    keyspace.begin_snapshot(&sink);
    keyspace.unlock_all();
    ignix::SnapshotWalk walk;
    const uint64_t pace = 1 + random.below(30);
    do {
      for (uint64_t i = random.below(pace); i > 0; i--) change(keyspace, model, random);
      if (random.one_in(20)) keyspace.maintain(uint32_t(random.below(keyspace.stripe_count())));
      if (round % 2 && random.one_in(60)) {
        swap(keyspace, model, int(random.below(kDatabases)), int(random.below(kDatabases)));
      }
    } while (keyspace.walk_snapshot(walk, sink));
    keyspace.end_snapshot();
    CHECK_EQ(sink.saved.size(), instant.size());
    CHECK(sink.saved == instant);
  }
}

// A copy may outlive a flush, so what it was made from is saved, once.
TEST(snapshot, has_what_was_copied_before_a_flush) {
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, 2));
  put(keyspace, 0, "source", {"text"});
  put(keyspace, 0, "other", {"text"});
  Collector sink;
  keyspace.lock_all();
  keyspace.begin_snapshot(&sink);
  keyspace.unlock_all();
  keyspace.save_as_source(0, keyspace.find(0, keyspace.key("source")));
  keyspace.save_as_source(0, keyspace.find(0, keyspace.key("source")));
  put(keyspace, 1, "copy", {"text"});
  keyspace.lock_all();
  keyspace.flush(0);
  keyspace.unlock_all();
  ignix::SnapshotWalk walk;
  while (keyspace.walk_snapshot(walk, sink)) continue;
  keyspace.end_snapshot();
  const Model expected = {{{0, "source"}, {"text"}}};
  CHECK(sink.saved == expected);
}

std::string file_of(Keyspace& keyspace, const std::string& path) {
  ignix::SnapshotProgress progress;
  ignix::Snapshot snapshot(keyspace, progress);
  snapshot.begin(nullptr, nullptr);
  write_file(path, "");
  FILE* file = fopen(path.c_str(), "w");
  std::string error;
  CHECK(snapshot.write(fileno(file), false, error));
  fclose(file);
  return read_file(path);
}

RdbReader::Result read_all(const std::string& path, Model& model, std::string& error) {
  FILE* file = fopen(path.c_str(), "r");
  RdbReader reader(fileno(file));
  RdbReader::Result result;
  while ((result = reader.next()) == RdbReader::Result::kEntry) {
    model[{reader.db(), std::string(reader.key())}] = {std::string(reader.value()),
                                                       reader.expiry_ms()};
  }
  error = reader.error();
  fclose(file);
  return result;
}

TEST(snapshot, file_comes_back) {
  Random random(seed());
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, 2));
  Model model;
  for (int i = 0; i < 6'000; i++) change(keyspace, model, random);
  const std::string path = fresh_dir("rdb") + "/dump.rdb";
  const std::string bytes = file_of(keyspace, path);
  Model read;
  std::string error;
  CHECK_EQ(read_all(path, read, error), RdbReader::Result::kEnd);
  CHECK(read == model);
  // Cut anywhere, it is not whole.
  for (int i = 0; i < 300; i++) {
    write_file(path, std::string_view(bytes).substr(0, random.below(bytes.size())));
    CHECK_EQ(read_all(path, read, error), RdbReader::Result::kTruncated);
  }
}

// One wrong byte is found out, by the format or at last by the checksum; never more than that.
TEST(snapshot, damage_is_found) {
  Random random(seed());
  Keyspace keyspace;
  CHECK(keyspace.open(kDatabases, 2));
  Model model;
  for (int i = 0; i < 300; i++) change(keyspace, model, random);
  const std::string path = fresh_dir("rdb") + "/dump.rdb";
  const std::string bytes = file_of(keyspace, path);
  for (int i = 0; i < 3'000; i++) {
    std::string damaged = bytes;
    const size_t at = random.below(bytes.size());
    damaged[at] = char(uint8_t(damaged[at]) ^ (1 + random.below(255)));
    write_file(path, damaged);
    Model read;
    std::string error;
    const RdbReader::Result result = read_all(path, read, error);
    if (result == RdbReader::Result::kEnd) {
      // A checksum of zero is none; a version may become another one.
      const bool harmless = at < 9 || at >= bytes.size() - 8;
      if (!harmless) FAIL("byte " + std::to_string(at) + " was not missed");
    } else {
      CHECK(!error.empty());
    }
  }
}

// Bit by bit.
uint64_t plain_crc64(uint64_t crc, std::string_view bytes) {
  for (const char byte : bytes) {
    crc ^= uint8_t(byte);
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x95ac9329ac4bc9b5 : crc >> 1;
  }
  return crc;
}

TEST(snapshot, checksum) {
  CHECK_EQ(ignix::crc64(0, "123456789"), 0xe9c6d914c4b8d9caull);
  Random random(seed());
  const std::string bytes = random.bytes(20'000);
  for (size_t length = 0; length < 600; length++) {
    const std::string_view part = std::string_view(bytes).substr(random.below(64), length);
    const uint64_t before = random.one_in(4) ? 0 : random.next();
    CHECK_EQ(ignix::crc64(before, part), plain_crc64(before, part));
  }
  for (int i = 0; i < 100; i++) {
    const std::string_view all = std::string_view(bytes).substr(0, random.below(bytes.size() + 1));
    const size_t cut = random.below(all.size() + 1);
    CHECK_EQ(ignix::crc64(ignix::crc64(0, all.substr(0, cut)), all.substr(cut)),
             plain_crc64(0, all));
  }
}

TEST(snapshot, lzf) {
  // As a Redis 7.0 has written 100 times "ab".
  const char packed[] =
      "\x02"
      "aba"
      "\xe0\xba\x01\x01"
      "ab";
  std::string out(200, '\0');
  CHECK(ignix::lzf_decompress({packed, sizeof packed - 1}, out.data(), out.size()));
  std::string expected;
  for (int i = 0; i < 100; i++) expected += "ab";
  CHECK_EQ(out, expected);
  CHECK(!ignix::lzf_decompress({packed, sizeof packed - 1}, out.data(), out.size() - 1));
  CHECK(!ignix::lzf_decompress({packed, 5}, out.data(), out.size()));
  // Whatever it is given, it stays within its bounds.
  Random random(seed());
  for (int i = 0; i < 100'000; i++) {
    const std::string bytes = random.bytes(random.below(30));
    std::vector<char> exact(random.below(300));
    ignix::lzf_decompress(bytes, exact.data(), exact.size());
  }
}

}  // namespace
}  // namespace test
