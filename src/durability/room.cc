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
constexpr size_t kLines = kRoomSectorBytes / kRoomLineBytes;

// The room that is left when more is made, the new room, and what rounding adds.
constexpr uint64_t kRoomBytesMost = kRoomGroupBytes + kRoomBytes + 16 * 1024;
// A group, and the sectors in which it begins and ends.
constexpr uint64_t kGroupReach = kRoomGroupBytes + 2 * kRoomSectorBytes;

// False, with errno, if not all of it can be read.
bool read_whole(int fd, char* into, size_t bytes, uint64_t from) {
  while (bytes > 0) {
    const ssize_t got = pread(fd, into, bytes, off_t(from));
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = EIO;
    if (got <= 0) return false;
    into += got;
    from += uint64_t(got);
    bytes -= size_t(got);
  }
  return true;
}

bool is_room(const char* line) {
  return memcmp(line, kName.data(), kName.size()) == 0 && line[kRoomLineBytes - 1] == '\n';
}

struct Sector {
  char bytes[kRoomSectorBytes];

  bool is_room() const {
    if (!ignix::is_room(bytes)) return false;
    for (size_t i = 1; i < kLines; i++) {
      if (memcmp(bytes + i * kRoomLineBytes, bytes, kRoomLineBytes) != 0) return false;
    }
    return true;
  }
  bool operator==(const Sector& other) const {
    return memcmp(bytes, other.bytes, sizeof bytes) == 0;
  }
};

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
    const bool named = memcmp(bytes + at, kName.data(), std::min(here, kName.size())) == 0;
    if (!named && !is_zeros(bytes + at, here)) return false;
  }
  return !is_zeros(bytes, count);  // zeros alone may be what is left of a record
}

}  // namespace

RoomLine RoomLine::make() {
  uint64_t number;
  if (getrandom(&number, sizeof number, 0) != ssize_t(sizeof number)) {
    number = uint64_t(clock_us(CLOCK_REALTIME)) * 0x9e3779b97f4a7c15;
  }
  RoomLine line;
  memset(line.text, '.', sizeof line.text);
  memcpy(line.text, kName.data(), kName.size());
  char* const digits = line.text + kName.size();
  for (int i = 0; i < 16; i++) digits[i] = "0123456789abcdef"[number >> (4 * i) & 15];
  digits[16] = ' ';
  line.text[kRoomLineBytes - 1] = '\n';
  return line;
}

char* put_room(const RoomLine& line, char* out, size_t bytes) {
  assert(bytes % kRoomLineBytes == 0);
  for (char* const end = out + bytes; out < end; out += kRoomLineBytes) {
    memcpy(out, line.text, kRoomLineBytes);
  }
  return out;
}

size_t room_padding(uint64_t end) {
  const size_t bytes = size_t(-end % kRoomLineBytes);
  return bytes == 1 ? kRoomPaddingMax : bytes;
}

char* put_room_padding(char* out, size_t bytes) {
  if (bytes == 0) return out;
  memset(out, '#', bytes - 1);
  out[bytes - 1] = '\n';
  return out + bytes;
}

bool find_room(int fd, uint64_t file_bytes, RoomFound& room) {
  room = {false, file_bytes, file_bytes};
  Sector last, sector;
  if (file_bytes < sizeof last || file_bytes % sizeof last != 0) return true;
  room.start = file_bytes - sizeof last;
  if (!read_whole(fd, last.bytes, sizeof last, room.start)) return false;
  if (!last.is_room()) {
    room.start = file_bytes;
    return true;
  }
  room.found = true;
  room.limit = room.start;
  for (uint64_t at = room.start; at > 0 && room.start - at < kGroupReach;) {
    at -= sizeof sector;
    if (!read_whole(fd, sector.bytes, sizeof sector, at)) return false;
    if (!(sector == last)) continue;
    room.limit = at;
    if (at + sizeof sector == room.start) room.start = at;
  }
  return true;
}

RoomTail judge_room(int fd, const RoomFound& room, uint64_t offset, uint64_t file_bytes) {
  if (offset < file_bytes && file_bytes - offset <= kRoomBytesMost) {
    const size_t count = size_t(file_bytes - offset);
    const std::unique_ptr<char[]> bytes(new (std::nothrow) char[count]);
    if (!bytes || !read_whole(fd, bytes.get(), count, offset)) return RoomTail::kUnknown;
    if (is_only_room(bytes.get(), count, offset)) return RoomTail::kRoom;
  }
  const bool is_near = room.found && offset + kGroupReach >= room.start;
  return is_near ? RoomTail::kTorn : RoomTail::kNone;
}

}  // namespace ignix
