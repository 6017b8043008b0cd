// The room behind the log's end (durability/room.h): when it is made, used and given back. All that
// is the AOF thread's.
#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <utility>

#include "base/area.h"
#include "durability/aof.h"

namespace ignix {

// Room is written once more than records are: it pays where the length of a group is small beside
// the cost of an fsync.
bool Aof::prefers_room(size_t bytes) {
  const uint64_t pieces = ring_->pieces();
  const bool whole = std::exchange(pieces_seen_, pieces) == pieces &&
                     (ring_->taken() + bytes) % kLogRingBytes != 0;
  if (!whole || policy() != FsyncPolicy::kAlways || bytes > kRoomGroupBytes || fsync_failure()) {
    keep_from_room();
    return false;
  }
  if (short_groups_ < kRoomAfterGroups) {
    short_groups_++;
    return false;
  }
  // A whole sector of room is always left, by which it is known.
  const uint64_t needed = size_bytes() + bytes + kRoomLineBytes + 2 * kRoomSectorBytes;
  if (room_end_ >= needed || make_room()) return true;
  short_groups_ = -kRoomRetryGroups;
  return false;
}

// For the next few groups.
void Aof::keep_from_room() { short_groups_ = std::min(short_groups_, 0); }

// All of `bytes`, which are whole records, or nothing: of a group that is in the file in part, the
// rest shall not be fsynced later. -1 with errno; then there is no room.
ssize_t Aof::write_into_room(std::string_view bytes) {
  char* const start = room_buffer_.get();
  memcpy(start, bytes.data(), bytes.size());
  char* const end =
      put_room_padding(start + bytes.size(), room_padding(size_bytes() + bytes.size()));
  uint64_t at = size_bytes();
  assert(at + size_t(end - start) + kRoomSectorBytes <= room_end_);
  for (const char* rest = start; rest < end;) {
    const ssize_t written = pwrite(fd_, rest, size_t(end - rest), off_t(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = written < 0 ? errno : ENOSPC;
      keep_from_room();
      drop_room();  // else append() does
      errno = error;
      return -1;
    }
    rest += written;
    at += uint64_t(written);
  }
  return ssize_t(bytes.size());
}

// Behind the room that is left, or behind the records, all of which are on the disk. False if it
// cannot be had.
bool Aof::make_room() {
  static_assert(kRoomGroupBytes % kRoomLineBytes == 0);
  if (!room_buffer_) room_buffer_.reset(new (std::nothrow) char[kRoomGroupBytes + kRoomLineBytes]);
  char* const start = room_buffer_.get();
  if (!start) return false;
  uint64_t at = room_end_ ? room_end_ : size_bytes();
  char* lines = room_end_ ? start : put_room_padding(start, room_padding(at));
  room_end_ = (at + kRoomBytes) / kPage * kPage;  // from now on there may be some
  bool good = true;
  while (good && at < room_end_) {
    const uint64_t lines_at = at + uint64_t(lines - start);
    const size_t lines_bytes = size_t(std::min<uint64_t>(room_end_ - lines_at, kRoomGroupBytes));
    const size_t bytes = size_t(put_room(room_number_, lines_at, lines, lines_bytes) - start);
    good = pwrite(fd_, start, bytes, off_t(at)) == ssize_t(bytes);
    at += bytes;
    lines = start;
  }
  return good && sync_file();
}

// The file ends behind its records again. False, with errno, if that fails.
bool Aof::drop_room() {
  if (ftruncate(fd_, off_t(size_bytes())) != 0) return false;
  room_end_ = 0;
  // Else a power failure could leave room, and anywhere in it what was written behind the records.
  sync_file();
  return true;
}

}  // namespace ignix
