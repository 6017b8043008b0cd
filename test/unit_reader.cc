// The reader of append-only files: whole, torn and damaged ones.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "durability/rdb_input.h"
#include "durability/reader.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

using ignix::AofReader;
using ignix::Words;
using Result = ignix::AofReader::Result;
using Record = std::vector<std::string>;

std::string encoded(const Record& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return text;
}

class File {
 public:
  explicit File(const std::string& text) {
    const std::string path = case_dir() + "/file.aof";
    fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd_ >= 0);
    for (size_t at = 0; at < text.size();) {
      const ssize_t written = write(fd_, text.data() + at, text.size() - at);
      CHECK(written > 0);
      at += size_t(written);
    }
  }
  ~File() { close(fd_); }
  File(const File&) = delete;

  int from_start() {
    CHECK_EQ(lseek(fd_, 0, SEEK_SET), 0);
    return fd_;
  }
  void cut(size_t bytes) { CHECK_EQ(ftruncate(fd_, off_t(bytes)), 0); }
  void set(size_t at, char c) { CHECK_EQ(pwrite(fd_, &c, 1, off_t(at)), 1); }

 private:
  int fd_ = -1;
};

struct Outcome {
  Result result = Result::kEnd;
  uint64_t offset = 0;
  std::string error;
  std::vector<Record> records;
};

Outcome read_all(File& file) {
  AofReader reader(file.from_start());
  Outcome outcome;
  Words words;
  while ((outcome.result = reader.next(words)) == Result::kRecord) {
    outcome.records.emplace_back(words.begin(), words.end());
    words.clear();
  }
  outcome.offset = reader.offset();
  outcome.error = reader.error();
  return outcome;
}

Outcome read_text(const std::string& text) {
  File file(text);
  return read_all(file);
}

const std::vector<Record> kRecords = {{"SELECT", "z"},
                                      {"SET", "key", "value"},
                                      {"DEL", "k"},
                                      {"SET", "", ""},
                                      {"SET", "a long enough key", std::string(118, 'x')},
                                      {"MULTI"},
                                      {"MSET", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"},
                                      {"EXEC"},
                                      {"SET", "lines", "a\r\nb\r\n"},
                                      {"PEXPIREAT", "k", "soon"}};

struct Text {
  std::string bytes;
  std::vector<size_t> starts;  // of the records, and the end
};

Text text_of(const std::vector<Record>& records) {
  Text text;
  for (const Record& record : records) {
    text.starts.push_back(text.bytes.size());
    text.bytes += encoded(record);
  }
  text.starts.push_back(text.bytes.size());
  return text;
}

TEST(reader, good_files) {
  Outcome outcome = read_text("");
  CHECK_EQ(outcome.result, Result::kEnd);
  CHECK_EQ(outcome.offset, 0);
  const Text text = text_of(kRecords);
  outcome = read_text(text.bytes);
  CHECK_EQ(outcome.result, Result::kEnd);
  CHECK_EQ(outcome.offset, text.bytes.size());
  CHECK(outcome.records == kRecords);
}

TEST(reader, offsets_are_starts_of_records) {
  const Text text = text_of(kRecords);
  File file(text.bytes);
  AofReader reader(file.from_start());
  Words words;
  for (size_t i = 0; i < kRecords.size(); i++) {
    CHECK_EQ(reader.next(words), Result::kRecord);
    CHECK_EQ(reader.offset(), text.starts[i]);
  }
  CHECK_EQ(reader.next(words), Result::kEnd);
  CHECK_EQ(reader.offset(), text.bytes.size());
  CHECK_EQ(reader.next(words), Result::kEnd);
}

// Larger than what is read at once, with records across the borders.
TEST(reader, long_files_and_records) {
  Random random(seed());
  std::vector<Record> records;
  size_t bytes = 0;
  while (bytes < 9'000'000) {
    Record record = {"SET", random.letters(10)};
    record.push_back(random.one_in(200) ? std::string(random.below(3'000'000), 'v')
                                        : random.bytes(random.below(2'000)));
    bytes += record[2].size() + 40;
    records.push_back(std::move(record));
  }
  records.push_back(Record(100'000, "word"));
  const Outcome outcome = read_text(text_of(records).bytes);
  CHECK_EQ(outcome.result, Result::kEnd);
  CHECK(outcome.records == records);
}

TEST(reader, every_truncation) {
  const Text text = text_of(kRecords);
  File file(text.bytes);
  size_t record = kRecords.size();  // the one that is cut
  for (size_t bytes = text.bytes.size() + 1; bytes-- > 0;) {
    if (record > 0 && bytes < text.starts[record]) record--;
    file.cut(bytes);
    const Outcome outcome = read_all(file);
    CHECK_EQ(outcome.result, bytes == text.starts[record] ? Result::kEnd : Result::kTruncated);
    CHECK_EQ(outcome.offset, text.starts[record]);
    CHECK_EQ(outcome.records.size(), record);
  }
}

// The bytes that are not part of a word.
std::vector<std::pair<size_t, size_t>> structure_of(const Text& text) {
  std::vector<std::pair<size_t, size_t>> places;  // place, record
  for (size_t r = 0; r < kRecords.size(); r++) {
    size_t at = text.starts[r];
    const auto take = [&](size_t bytes) {
      while (bytes-- > 0) places.push_back({at++, r});
    };
    take(std::to_string(kRecords[r].size()).size() + 3);
    for (const std::string& word : kRecords[r]) {
      take(std::to_string(word.size()).size() + 3);
      at += word.size();
      take(2);
    }
  }
  return places;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Every other byte in the place of each byte of structure.
TEST(reader, every_damage_to_the_structure) {
  const Text text = text_of(kRecords);
  File file(text.bytes);
  const int step = slowness() > 1 ? 7 : 1;
  for (const auto& [place, record] : structure_of(text)) {
    const char right = text.bytes[place];
    for (int c = 0; c < 256; c += is_digit(char(c)) ? 1 : step) {
      if (char(c) == right) continue;
      file.set(place, char(c));
      const Outcome outcome = read_all(file);
      const std::string where = "byte " + std::to_string(place) + " is " + std::to_string(c);
      if (is_digit(right) && is_digit(char(c))) {
        // Another number: the damage may show later, or the file seem to end too early, or another
        // file make sense by chance. It is never the same.
        if (outcome.records == kRecords) FAIL(where);
        CHECK(outcome.offset >= text.starts[record]);
      } else {
        if (outcome.result != Result::kDamaged) FAIL(where);
        CHECK_EQ(outcome.offset, text.starts[record]);
        CHECK(!outcome.error.empty());
      }
      CHECK(outcome.records.size() >= record);
      for (size_t i = 0; i < record; i++) CHECK(outcome.records[i] == kRecords[i]);
    }
    file.set(place, right);
  }
}

TEST(reader, words_are_any_bytes) {
  Random random(seed());
  std::vector<Record> records;
  for (int i = 0; i < 300; i++) {
    Record record;
    for (uint64_t n = 1 + random.below(5); n-- > 0;) {
      record.push_back(random.bytes(random.below(300)));
    }
    records.push_back(std::move(record));
  }
  CHECK(read_text(text_of(records).bytes).records == records);
}

TEST(reader, numbers_that_are_none) {
  const std::string good = encoded({"PING"});
  for (const char* text : {"*0\r\n",
                           "*-1\r\n",
                           "*\r\n",
                           "*01\r\n$1\r\nx\r\n",
                           "*+1\r\n$1\r\nx\r\n",
                           "* 1\r\n",
                           "*1 \r\n",
                           "*1\n",
                           "*2147483648\r\n",
                           "*9223372036854775808\r\n",
                           "*99999999999999999999\r\n",
                           "*99999999999999999999999999999999999999999999\r\n",
                           "*1\r\n$-1\r\n",
                           "*1\r\n$\r\n",
                           "*1\r\n$01\r\nx\r\n",
                           "*1\r\n$536870921\r\n",
                           "*1\r\n$9223372036854775807\r\n",
                           "*1\r\n$9223372036854775808\r\n",
                           "*1\r\n$18446744073709551615\r\n",
                           "*1\r\n$99999999999999999999999999999999999999999999\r\n",
                           "PING\r\n",
                           "$4\r\nPING\r\n",
                           "\r\n",
                           "\n",
                           "REDIS0011",
                           "*1\r\n:4\r\n",
                           "*1\r\n$1\r\nxx\r\n",
                           "*1\r\n$1\r\nx\n\r"}) {
    const Outcome outcome = read_text(good + text);
    if (outcome.result != Result::kDamaged) FAIL(quote(text));
    CHECK_EQ(outcome.offset, good.size());
    CHECK_EQ(outcome.records.size(), 1);
    CHECK(!outcome.error.empty());
  }
}

// Numbers within the limits, and nothing behind them: no memory is taken for what is not there.
TEST(reader, promises_that_are_not_kept) {
  for (const char* text : {"*1\r\n$536870912\r\n", "*2147483647\r\n", "*2147483647\r\n$1\r\nx\r\n",
                           "*2\r\n$3\r\nSET\r\n$536870912\r\nshort\r\n", "*1\r\n$536870920\r\n"}) {
    const Outcome outcome = read_text(text);
    CHECK_EQ(outcome.result, Result::kTruncated);
    CHECK_EQ(outcome.offset, 0);
  }
}

// As long as BITFIELD can make one; one byte more is damage. Only the length is there.
TEST(reader, longest_string_of_a_dump) {
  using Fault = ignix::RdbInput::Fault;
  for (const auto& [last_byte, fault] :
       {std::pair{'\x08', Fault::kTruncated}, std::pair{'\x09', Fault::kDamaged}}) {
    const std::string length = {'\x80', '\x20', '\0', '\0', last_byte};
    ignix::RdbInput in(length);
    ignix::Buffer string;
    CHECK(!in.take_string(string));
    CHECK(in.fault() == fault);
  }
}

TEST(reader, random_bytes) {
  Random random(seed());
  const std::string good = text_of(kRecords).bytes;
  for (int i = 0; i < 1'500; i++) {
    std::string text = good;
    for (uint64_t n = 1 + random.below(4); n-- > 0;) {
      const size_t at = random.below(text.size());
      switch (random.below(4)) {
        case 0:
          text[at] = char(random.next());
          break;
        case 1:
          text.erase(at, 1 + random.below(20));
          break;
        case 2:
          text.insert(at, random.bytes(1 + random.below(5)));
          break;
        default:
          text.insert(at, std::string(1, "*$0123456789\r\n-"[random.below(15)]));
      }
    }
    const Outcome outcome = read_text(text);
    CHECK(outcome.result != Result::kFailed && outcome.result != Result::kRecord);
    CHECK(outcome.offset <= text.size());
    if (outcome.result == Result::kEnd) CHECK_EQ(outcome.offset, text.size());
  }
}

TEST(reader, a_descriptor_that_cannot_be_read) {
  AofReader closed(-1);
  Words words;
  CHECK_EQ(closed.next(words), Result::kFailed);
  CHECK(!closed.error().empty());
  const int directory = open(case_dir().c_str(), O_RDONLY | O_CLOEXEC);
  AofReader reader(directory);
  CHECK_EQ(reader.next(words), Result::kFailed);
  close(directory);
}

// A pipe gives what it has in pieces.
TEST(reader, short_reads) {
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  const Text text = text_of(kRecords);
  AofReader reader(fds[0]);
  Words words;
  CHECK_EQ(write(fds[1], text.bytes.data(), text.bytes.size()), text.bytes.size());
  close(fds[1]);
  for (const Record& record : kRecords) {
    CHECK_EQ(reader.next(words), Result::kRecord);
    CHECK(Record(words.begin(), words.end()) == record);
    words.clear();
  }
  CHECK_EQ(reader.next(words), Result::kEnd);
  close(fds[0]);
}

}  // namespace
}  // namespace test
