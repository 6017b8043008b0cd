// The payload of DUMP and RESTORE: a value as RDB has it (durability/rdb.h), by itself.
//
//     type value    as in a file
//     version       of the format, two bytes
//     crc64         of all before, eight bytes; little-endian, as the version
#pragma once

#include <string_view>

#include "base/buffer.h"

namespace ignix::rdb {

// Appends the payload of a string. False if there is no memory.
bool put_dump(Buffer& out, std::string_view value, bool compress);

enum class DumpState {
  kGood,
  kNotOne,   // it is too short, or its version or its checksum are wrong
  kDamaged,  // or of a type that Ignix does not have
  kNoMemory,
};
// The string goes to `value`. Bytes behind it are passed over, as by Redis.
DumpState read_dump(std::string_view payload, Buffer& value);

}  // namespace ignix::rdb
