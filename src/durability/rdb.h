// RDB, Redis's snapshot format, version 10 (Redis 7.0), as it is written here:
//
//     "REDIS0010"
//     FA name value            what wrote it, and such; any number of times
//     FE db  FB keys expiries  a database; the second part is a hint of its size
//     [FC ms]                  of an entry: expiry (ms since 1970, eight bytes);
//     [F8 seconds | F9 byte]   idle time or frequency, where the eviction policy knows one;
//     type key value           type 0: a string
//     ...                      FE may come again, for any database
//     FF crc64                 the end; eight bytes
//
// Lengths: 00xxxxxx; 01xxxxxx and one byte more; 80 and four bytes; 81 and eight, big-endian.
// Strings: a length and the bytes; or C0, C1, C2 and a little-endian integer of 1, 2, 4 bytes; or
// C3, two lengths (compressed, whole) and LZF. Other numbers are little-endian.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/output.h"
#include "store/entry.h"

namespace ignix::rdb {

constexpr int kFormatVersion = 10;
constexpr int kFormatVersionMax = 12;  // that can be read

enum Opcode : uint8_t {
  kSlotInfo = 244,
  kFunction2 = 245,
  kFunctionPreGa = 246,
  kModuleAux = 247,
  kIdle = 248,
  kFreq = 249,
  kAux = 250,
  kResizeDb = 251,
  kExpireMs = 252,
  kExpireSeconds = 253,
  kSelectDb = 254,
  kEof = 255,
};
constexpr uint8_t kTypeString = 0;

// Room that put_text() needs beyond the text's length.
constexpr size_t kTextRoomBytes = 19;
// Writes a string as RDB has it: integers as such; with `compress`, what LZF makes shorter that
// way. Returns where it ends.
char* put_text(char* p, std::string_view text, bool compress);

// Appends parts of a file to an Output. False if there is no memory.
bool put_header(Output& out, bool aof_base, uint64_t used_bytes);
bool put_database(Output& out, int db);
bool put_sizes(Output& out, uint64_t keys, uint64_t expiries);
// What stands before an entry's type.
struct EntryStart {
  int64_t expiry_ms;
  int64_t idle_seconds = -1;  // -1: not told
  int frequency = -1;         // so too
};
// What is in a block goes by reference, and so as it is.
bool put_entry(Output& out, const EntryStart& start, const Entry& entry, bool compress);
// An entry whose value is in a block, compressed if that is worth it. For longer values than should
// be compressed while others wait.
bool put_compressed_entry(Output& out, const EntryStart& start, std::string_view key, Block* value);
// `crc` is that of all before; nullptr: the file has none.
bool put_end(Output& out, const uint64_t* crc);

}  // namespace ignix::rdb
