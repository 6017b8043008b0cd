#include "durability/room.h"

#include <errno.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include "base/clock.h"

namespace ignix {
namespace {

constexpr std::string_view kName = "#ignix room ";
constexpr size_t kDigits = 16;

// The room that is left when more is made, the new room, and what rounding adds.
constexpr uint64_t kRoomBytesMost = kRoomGroupBytes + kRoomBytes + 16 * 1024;
// A group, and the sectors in which it begins and ends.
constexpr uint64_t kGroupReach = kRoomGroupBytes + 2 * kRoomSectorBytes;
// A line whose beginning is a record's, and a length that is none because of that.
constexpr uint64_t kCutReach = 2 * kRoomLineBytes;

// False, with errno, if not all of it can be read; 0: the file ends before that.
bool read_whole(int fd, char* into, size_t bytes, uint64_t from) {
  while (bytes > 0) {
    const ssize_t got = pread(fd, into, bytes, off_t(from));
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = 0;
    if (got <= 0) return false;
    into += got;
    from += uint64_t(got);
    bytes -= size_t(got);
  }
  return true;
}

char* put_digits(uint64_t number, char* out) {
  for (int shift = 64 - 4; shift >= 0; shift -= 4) {
    *out++ = "0123456789abcdef"[number >> shift & 15];
  }
  return out;
}

// What is no number gives one all the same.
uint64_t parse_digits(const char* digits) {
  uint64_t number = 0;
  for (size_t i = 0; i < kDigits; i++) {
    const char c = digits[i];
    number = number << 4 | uint64_t(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return number;
}

// The number in a line, or in what may be one.
uint64_t number_in(const char* line) { return parse_digits(line + kName.size()); }

struct Sector {
  char bytes[kRoomSectorBytes];

  Sector() = default;
  Sector(uint64_t number, uint64_t offset) { put_room(number, offset, bytes, sizeof bytes); }
  bool operator==(const Sector& other) const {
    return memcmp(bytes, other.bytes, sizeof bytes) == 0;
  }
};

// Whether a line of room begins with these bytes, which stand at byte `offset` of the file.
bool is_room(const char* bytes, size_t count, uint64_t offset) {
  char line[kRoomLineBytes] = {};
  memcpy(line, bytes, std::min(count, sizeof line));
  put_room(number_in(line), offset, line, sizeof line);
  // Where the line is cut off within its number, that was read wrongly.
  const size_t known = count < sizeof line ? std::min(count, kName.size()) : sizeof line;
  return memcmp(bytes, line, known) == 0;
}

// What may be padding or, after a power failure, a hole.
bool is_padding_or_zero(char c) { return c == '#' || c == '\n' || c == 0; }

bool is_zeros(const char* bytes, size_t count) {
  return std::all_of(bytes, bytes + count, [](char c) { return c == 0; });
}

// Byte by byte up to the first line, then line by line; the last line may be cut off.
bool is_only_room(const char* bytes, size_t count, uint64_t offset) {
  size_t at = std::min(count, room_padding(offset));
  if (!std::all_of(bytes, bytes + at, is_padding_or_zero)) return false;
  for (; at < count; at += kRoomLineBytes) {
    const size_t here = std::min(kRoomLineBytes, count - at);
    if (!is_room(bytes + at, here, offset + at) && !is_zeros(bytes + at, here)) return false;
  }
  return !is_zeros(bytes, count);  // zeros alone may be what is left of a record
}

// Whether padding or a line begins there. No record does so, and no byte that has changed in one
// makes it do so.
bool begins_with_room(const char* bytes, size_t count) {
  const std::string_view text(bytes, count);
  return text.starts_with("##") || text.starts_with("#\n") || text.starts_with(kName);
}

// Whether these bytes, far from the file's end, are room that was copied before its place was
// written: the log ended there. Where a record begins behind it, it did not.
bool is_copied_room(const char* bytes, size_t count, uint64_t offset) {
  char padding[kRoomLineBytes];
  size_t at = room_padding(offset);
  put_room_padding(padding, at);
  if (count < at || memcmp(bytes, padding, at) != 0) return false;
  const size_t first_line = at;
  while (count - at >= kRoomLineBytes && is_room(bytes + at, kRoomLineBytes, offset + at)) {
    at += kRoomLineBytes;
  }
  // Padding may stand at the end of what was copied; of one byte it may be a '*' that was damaged.
  const bool ends_part = first_line > 1 && (offset + at) % kRoomSectorBytes == 0;
  return (at > first_line || ends_part) && (at == count || bytes[at] != '*');
}

}  // namespace

uint64_t draw_room_number() {
  uint64_t number;
  if (getrandom(&number, sizeof number, 0) == ssize_t(sizeof number)) return number;
  return uint64_t(clock_us(CLOCK_REALTIME)) * 0x9e3779b97f4a7c15;
}

char* put_room(uint64_t number, uint64_t offset, char* out, size_t bytes) {
  assert(offset % kRoomLineBytes == 0 && bytes % kRoomLineBytes == 0);
  for (const uint64_t end = offset + bytes; offset < end; offset += kRoomLineBytes) {
    char* const line = out;
    memset(line, '.', kRoomLineBytes);
    memcpy(line, kName.data(), kName.size());
    char* const behind_number = put_digits(number, line + kName.size());
    *behind_number = ' ';
    *put_digits(offset, behind_number + 1) = ' ';
    out += kRoomLineBytes;
    out[-1] = '\n';
  }
  return out;
}

size_t room_padding(uint64_t end) { return size_t(-end % kRoomLineBytes); }

// Of one byte the '#' stands in front of the line behind it.
char* put_room_padding(char* out, size_t bytes) {
  memset(out, '#', bytes);
  if (bytes > 1) out[bytes - 1] = '\n';
  return out + bytes;
}

bool find_room(int fd, uint64_t file_bytes, RoomFound& room) {
  room = {false, false, file_bytes, file_bytes, file_bytes};
  if (file_bytes < kRoomSectorBytes || file_bytes % kRoomSectorBytes != 0) return true;
  Sector sector;
  uint64_t at = file_bytes - sizeof sector;
  if (!read_whole(fd, sector.bytes, sizeof sector, at)) return errno == 0;
  const uint64_t number = number_in(sector.bytes);
  if (!(sector == Sector(number, at))) return true;
  RoomFound found = {true, false, at, at, at};
  while (at > 0 && found.start - at < kGroupReach) {
    at -= sizeof sector;
    if (!read_whole(fd, sector.bytes, sizeof sector, at)) return errno == 0;
    if (sector == Sector(number, at)) {
      found.limit = at;
      if (at + sizeof sector == found.start) found.start = found.lines = at;
    } else if (at + sizeof sector == found.start) {
      const char* line = sector.bytes + sizeof sector;
      while ((line -= kRoomLineBytes) > sector.bytes &&
             is_room(line, kRoomLineBytes, at + uint64_t(line - sector.bytes))) {
        found.lines -= kRoomLineBytes;
      }
      const std::string_view end(line + kRoomLineBytes - 2, 2);
      found.cut = end != "\r\n" && end != "#\n" && end != "\n#";
    }
  }
  room = found;
  return true;
}

RoomTail judge_room(int fd, const RoomFound& room, uint64_t offset, uint64_t reached,
                    uint64_t file_bytes) {
  if (offset >= file_bytes) return RoomTail::kNone;
  const uint64_t left = file_bytes - offset;
  const size_t count = size_t(std::min(left, kRoomBytesMost));
  const std::unique_ptr<char[]> bytes(new (std::nothrow) char[count]);
  if (!bytes) errno = ENOMEM;
  if (!bytes || !read_whole(fd, bytes.get(), count, offset)) {
    return errno ? RoomTail::kUnknown : RoomTail::kNone;
  }
  if (count == left && is_only_room(bytes.get(), count, offset)) return RoomTail::kRoom;
  const bool is_near = room.found && offset + kGroupReach >= room.start;
  if (!is_near) {
    return is_copied_room(bytes.get(), count, offset) ? RoomTail::kTorn : RoomTail::kNone;
  }
  const bool is_missing = reached >= room.limit;
  const bool is_cut = room.cut && reached + kCutReach >= room.lines;
  // A single byte of padding, at the end of an old sector.
  const bool is_old = (offset + 1) % kRoomSectorBytes == 0 && bytes[0] == '#';
  const bool is_torn = begins_with_room(bytes.get(), count) || is_missing || is_cut || is_old;
  return is_torn ? RoomTail::kTorn : RoomTail::kNone;
}

}  // namespace ignix
