// Room behind the log's end: whatever a kill or a power failure leaves of the group that was being
// written into it, and of the room that was being made, all that was on the disk before is read,
// and behind it nothing but the first records of the group.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "durability/probe.h"
#include "durability/reader.h"
#include "durability/room.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

using ignix::AofReader;
using ignix::kRoomGroupBytes;
using ignix::kRoomLineBytes;
using ignix::kRoomSectorBytes;
using ignix::RoomFound;
using ignix::RoomTail;
using Result = AofReader::Result;

constexpr size_t kPageBytes = 4096;

std::string record(const std::string& value) {
  return "*2\r\n$3\r\nSET\r\n$" + std::to_string(value.size()) + "\r\n" + value + "\r\n";
}

// Values of all lengths, some of which look much like room, padding or holes.
std::string random_value(Random& random, size_t longest) {
  const size_t bytes = random.below(random.one_in(4) ? longest : 200);
  const char kinds[] = {'#', '\n', '\0', '.', 'x'};
  std::string value(bytes, random.pick(kinds));
  if (random.one_in(2)) {
    for (char& c : value) c = char(random.below(256));
  }
  return value;
}

// Records of `bytes` bytes at most; where each ends, behind `from`, goes into `ends`.
std::string random_records(Random& random, size_t bytes, size_t from, std::vector<size_t>& ends) {
  std::string records;
  for (;;) {
    const std::string next = record(random_value(random, 9000));
    if (records.size() + next.size() > bytes) return records;
    records += next;
    ends.push_back(from + records.size());
  }
}

std::string padding(size_t end) {
  std::string text(ignix::room_padding(end), '\0');
  ignix::put_room_padding(text.data(), text.size());
  return text;
}

std::string room_of(uint64_t number, size_t offset, size_t bytes) {
  std::string text(bytes, '\0');
  ignix::put_room(number, offset, text.data(), bytes);
  return text;
}

void add_room(uint64_t number, size_t bytes, std::string& file) {
  file += padding(file.size());
  const size_t end = (file.size() + bytes + kPageBytes) / kPageBytes * kPageBytes;
  file += room_of(number, file.size(), end - file.size());
}

struct Outcome {
  size_t end;
  RoomTail tail;
  bool zeros;
};

// As the server and ignix-check read a file.
Outcome read_back(const std::string& content) {
  const std::string path = case_dir() + "/file.aof";
  write_file(path, content);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  RoomFound room;
  CHECK(ignix::find_room(fd, content.size(), room));
  AofReader reader(fd);
  if (room.found) reader.limit(room.limit);
  ignix::Words words;
  Result result;
  while ((result = reader.next(words)) == Result::kRecord) words.reset();
  CHECK(result != Result::kFailed);
  const RoomTail tail =
      ignix::judge_room(fd, room, reader.offset(), reader.reached(), content.size());
  const bool zeros =
      result == Result::kDamaged && ignix::ends_in_zeros(fd, reader.offset(), content.size());
  close(fd);
  return {reader.offset(), tail, zeros};
}

void check_end(const Outcome& outcome, const std::vector<size_t>& ends, size_t acknowledged) {
  if (outcome.end < acknowledged) FAIL("an acknowledged record is missing; " + how_to_repeat());
  const bool at_record =
      outcome.end == 0 || std::binary_search(ends.begin(), ends.end(), outcome.end);
  if (!at_record) FAIL("a record was read that was never written; " + how_to_repeat());
}

// Some bytes of `after` instead of those of `before`, at which a disk would write them.
std::string torn(Random& random, const std::string& before, const std::string& after, size_t from,
                 size_t to) {
  std::string content = before;
  if (random.one_in(3)) {  // killed amid the write
    size_t end = from + random.below(to - from + 1);
    if (random.one_in(2)) end = std::max(from, end / kPageBytes * kPageBytes);
    // What is left of a line at its very end, or of padding, may be the end of a record as well. No
    // kernel stops there.
    const bool is_unclear = end % kRoomLineBytes % (kRoomLineBytes - 1) == 0 ||
                            end / kRoomLineBytes == from / kRoomLineBytes;
    if (end % kPageBytes != 0 && is_unclear) end = to;
    return content.replace(from, end - from, after, from, end - from);
  }
  const size_t unit = random.one_in(2) ? kRoomSectorBytes : kPageBytes;
  for (size_t at = from / unit * unit; at < to; at += unit) {
    if (random.one_in(2)) content.replace(at, unit, after, at, unit);
  }
  return content;
}

TEST(room, what_is_left_of_a_group) {
  Random random(seed());
  for (int round = 0; round < 3000; round++) {
    const uint64_t number = ignix::draw_room_number();
    std::vector<size_t> ends;
    std::string file = random_records(random, random.below(40'000), 0, ends);
    size_t acknowledged = file.size();
    add_room(number, 2 * kRoomGroupBytes + 2 * kPageBytes, file);
    // A few groups before.
    size_t at = acknowledged;
    for (uint64_t groups = random.below(3); groups > 0; groups--) {
      const std::string group = random_records(random, 3000, at, ends);
      file.replace(at, group.size(), group);
      at = acknowledged = at + group.size();
      file.replace(at, padding(at).size(), padding(at));
    }
    const std::string group = random_records(random, kRoomGroupBytes, at, ends);
    const std::string written = group + padding(at + group.size());
    std::string after = file;
    after.replace(at, written.size(), written);
    CHECK_EQ(after.size(), file.size());
    const std::string content = torn(random, file, after, at, at + written.size());
    const Outcome outcome = read_back(content);
    check_end(outcome, ends, acknowledged);
    if (content.compare(0, outcome.end, after, 0, outcome.end) != 0) {
      FAIL("a record was read that is not what was written; " + how_to_repeat());
    }
    if (outcome.tail == RoomTail::kNone) FAIL("does not start; " + how_to_repeat());
    if (content == after && (outcome.tail != RoomTail::kRoom || outcome.end != at + group.size())) {
      FAIL("calls a whole file torn; " + how_to_repeat());
    }
  }
}

// Before it is fsynced: parts of it may be zeros, or missing at the end.
TEST(room, that_was_being_made) {
  Random random(seed());
  for (int round = 0; round < 2000; round++) {
    const uint64_t number = ignix::draw_room_number();
    std::vector<size_t> ends;
    std::string file = random_records(random, 1000 + random.below(40'000), 0, ends);
    const size_t acknowledged = file.size();
    if (random.one_in(2)) add_room(number, 1 + random.below(kRoomGroupBytes), file);
    const size_t from = file.size();
    add_room(number, ignix::kRoomBytes, file);
    const uint64_t kept = 1 + random.below(100);
    for (size_t at = from; at < file.size();) {
      const size_t next = std::min(file.size(), (at / kRoomSectorBytes + 1) * kRoomSectorBytes);
      if (!random.one_in(kept)) std::fill(file.begin() + long(at), file.begin() + long(next), '\0');
      at = next;
    }
    if (random.one_in(2)) {
      const size_t end = from + random.below(file.size() - from + 1);
      file.resize(random.one_in(2) ? end
                                   : std::max(from, end / kRoomSectorBytes * kRoomSectorBytes));
    }
    const Outcome outcome = read_back(file);
    CHECK_EQ(outcome.end, acknowledged);
    const bool is_whole = acknowledged == file.size();
    if (!is_whole && outcome.tail == RoomTail::kNone && !outcome.zeros) {
      FAIL("does not start; " + how_to_repeat());
    }
  }
}

// A copy whose parts were read at different times.
TEST(room, a_copy_of_a_file_that_was_being_written) {
  Random random(seed());
  for (int round = 0; round < 500; round++) {
    const uint64_t number = ignix::draw_room_number();
    std::vector<size_t> ends;
    std::string before = random_records(random, random.below(40'000), 0, ends);
    const size_t end = before.size();
    add_room(number, ignix::kRoomBytes, before);
    std::string after = before;
    const std::string more = random_records(random, random.below(ignix::kRoomBytes), end, ends);
    after.replace(end, more.size(), more);
    after.replace(end + more.size(), padding(end + more.size()).size(), padding(end + more.size()));
    if (random.one_in(2)) after += random_records(random, 20'000, after.size(), ends);
    const size_t first = random.below(before.size() / kPageBytes) * kPageBytes;
    const std::string copy = before.substr(0, first) + after.substr(first);
    const Outcome outcome = read_back(copy);
    check_end(outcome, ends, end);
    // Padding may end where the later part begins; and where a record begins behind room, that was
    // not the log's end.
    size_t behind = (size_t(outcome.end) + kRoomLineBytes - 1) / kRoomLineBytes * kRoomLineBytes;
    while (copy.compare(behind, 12, "#ignix room ") == 0) behind += kRoomLineBytes;
    const bool shows =
        (first < end || first >= end + 2 * kRoomLineBytes) && copy.substr(behind, 1) != "*";
    if (shows && outcome.tail == RoomTail::kNone && outcome.end != after.size()) {
      FAIL("does not start; " + how_to_repeat());
    }
  }
}

// Room excuses no damage of what stands before it, up to the very last record; but for a '#' that
// looks like the end of an old sector.
TEST(room, damage_before_it) {
  Random random(seed());
  for (int round = 0; round < 1000; round++) {
    std::vector<size_t> ends;
    std::string file = random_records(random, 1000 + random.below(60'000), 0, ends);
    if (ends.size() < 2) continue;
    add_room(ignix::draw_room_number(), ignix::kRoomBytes, file);
    const size_t last = ends[ends.size() - 2];
    const size_t at =
        last - 1 - random.below(std::min<size_t>(last, random.one_in(2) ? 200 : last));
    const char kinds[] = {'#', '\0', '$', '+', '\n'};
    file[at] = random.pick(kinds);
    if (file[at] == '#' && (at + 1) % kRoomSectorBytes == 0) continue;
    const Outcome outcome = read_back(file);
    if (outcome.end > at) continue;  // within a value
    const bool is_refused = outcome.tail == RoomTail::kNone && !outcome.zeros;
    if (!is_refused) {
      FAIL("damage at byte " + std::to_string(at) + " is excused; " + how_to_repeat());
    }
  }
}

// Without room, and with what is none.
TEST(room, files_without) {
  const uint64_t number = ignix::draw_room_number();
  const std::string a = record("a");
  CHECK(read_back("").tail == RoomTail::kNone);
  CHECK(read_back(a).tail == RoomTail::kNone);
  CHECK(read_back(a + std::string(5000, '\0')).tail == RoomTail::kNone);
  CHECK(read_back(a + "#TS:123\r\n").tail == RoomTail::kNone);
  CHECK(read_back(a + padding(a.size())).tail == RoomTail::kRoom);
  std::string whole = a;
  add_room(number, 10'000, whole);
  CHECK(read_back(whole).tail == RoomTail::kRoom);
  // What is behind room elsewhere than near the end is not cut off, if it begins a record.
  CHECK(read_back(whole + a).tail == RoomTail::kNone);
  CHECK(read_back(whole + a.substr(1)).tail == RoomTail::kTorn);
  for (const char* comment : {"##\n", "## a comment\n", "#\n", "#ignix room of one's own\n"}) {
    CHECK(read_back(a + comment + a).tail == RoomTail::kNone);
    CHECK(read_back(a + comment + std::string(100'000, 'x')).tail == RoomTail::kNone);
    CHECK(read_back(comment + a + a + a).tail == RoomTail::kNone);
  }
  CHECK(read_back(whole + room_of(number, whole.size(), 4096)).tail == RoomTail::kRoom);
}

}  // namespace
}  // namespace test
