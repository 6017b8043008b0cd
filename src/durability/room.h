// Room behind the end of the log, for appendfsync always. An fsync of a file that has become longer
// brings its new length to the disk as well: a second write, or a commit of the file system's
// journal. An fsync of bytes that were on the disk before and are only different now is one write.
// So the file is made longer ahead of its records, by lines that say nothing:
//
//     the records | ####…#\n | #ignix room 0123456789abcdef 00000000000004c0 …\n | … up to the end
//                   padding    of 64 bytes, at multiples of 64
//
// Each group of whole records overwrites a part of it, with padding behind it, and is fsynced
// before the next is written. Redis 7 and redis-check-aof skip lines that begin with '#', so the
// file is an append-only file at every moment. A clean stop cuts the room off.
//
// What a kill or a power failure leaves of the group that was being written: any of its sectors may
// be missing, and what was there before stands in their place. Nothing of it was acknowledged. It
// shows in one of three ways, all within a group's length of the room that is left behind it (a
// whole sector of room always is):
//
//   - The first sector is the old one: padding or room stands where a record would start.
//   - Another one is: a whole sector of room stands before what was written behind it. Its lines
//     hold a number that is drawn at random for each run of the server, and their own offset, so no
//     value looks like it.
//   - The write was cut off amid a line: what stands before the lines that are left is neither the
//     end of a record nor padding, and the record in which it ends is none. (A kill ends a write
//     between two pages, which looks like a sector that is missing.)
//
// Anything else is damage, as it is where there is no room.
//
// Who copies the file while it is being written may find room where a record would start, and
// behind it what was written there later. There the log ended when that was read; where a whole
// record begins behind the room, it is damage all the same, lest it be cut off. But who reads
// between the pages of a group that is being written, or a file system that lets him, may find old
// room in the middle of a long value, and be none the wiser.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/limits.h"

namespace ignix {

constexpr size_t kRoomLineBytes = 64;
constexpr size_t kRoomSectorBytes = 512;  // no disk writes a part of one

uint64_t draw_room_number();

// Writes `bytes` bytes of room that will stand at byte `offset` of the file, both multiples of a
// line's. Returns where they end.
char* put_room(uint64_t number, uint64_t offset, char* out, size_t bytes);

// How much padding there is behind records that end at byte `end` of the file: up to a line, so in
// one sector.
size_t room_padding(uint64_t end);
// Writes so much padding; returns where it ends.
char* put_room_padding(char* out, size_t bytes);

// How a file ends that may have room.
struct RoomFound {
  bool found = false;
  bool cut = false;    // neither a record nor padding ends before the lines at the end
  uint64_t start = 0;  // of the sectors at the end that are room; the file's end: there is none
  uint64_t lines = 0;  // of the lines at the end that are
  uint64_t limit = 0;  // records stand before this byte, if they are whole
};

// False, with errno, if the file cannot be read.
bool find_room(int fd, uint64_t file_bytes, RoomFound& room);

// What stands behind the last record before the limit, which ends at byte `offset`.
enum class RoomTail {
  kRoom,     // nothing but room, perhaps with zeros in it, which a power failure has left
  kTorn,     // a part of a group, or room and what was written there later
  kNone,     // something else
  kUnknown,  // it cannot be read: errno
};
// `reached`: AofReader::reached().
RoomTail judge_room(int fd, const RoomFound& room, uint64_t offset, uint64_t reached,
                    uint64_t file_bytes);

}  // namespace ignix
