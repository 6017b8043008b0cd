#include "durability/rdb_reader.h"

#include <string.h>

#include <algorithm>

#include "base/limits.h"
#include "base/quote.h"
#include "durability/rdb.h"

namespace ignix {
namespace {

// "" for what is not a type.
std::string_view type_name(uint8_t type) {
  static constexpr std::string_view kNames[] = {
      "string", "list",       "set",  "sorted set", "hash",       "sorted set", "module", "module",
      "",       "hash",       "list", "set",        "sorted set", "hash",       "list",   "stream",
      "hash",   "sorted set", "list", "stream",     "set",        "stream"};
  return type < std::size(kNames) ? kNames[type] : "";
}

}  // namespace

bool RdbReader::foreign(std::string what) {
  foreign_ = true;
  return in_.damaged(std::move(what) + ", which Ignix does not have");
}

RdbReader::Result RdbReader::stopped() const {
  if (foreign_) return Result::kForeign;
  switch (in_.fault()) {
    case RdbInput::Fault::kTruncated:
      return Result::kTruncated;
    case RdbInput::Fault::kDamaged:
      return Result::kDamaged;
    case RdbInput::Fault::kFailed:
      return Result::kFailed;
    default:
      return Result::kEnd;
  }
}

bool RdbReader::take_header() {
  char magic[9];
  if (!in_.take(magic, sizeof magic)) return false;
  int64_t version;
  if (memcmp(magic, "REDIS", 5) != 0 ||
      !std::all_of(magic + 5, magic + 9, [](char c) { return c >= '0' && c <= '9'; })) {
    return in_.damaged("it does not begin as an RDB file does");
  }
  version =
      (magic[5] - '0') * 1000 + (magic[6] - '0') * 100 + (magic[7] - '0') * 10 + magic[8] - '0';
  if (version < 1 || version > rdb::kFormatVersionMax) {
    return foreign("version " + std::to_string(version) + " of the format");
  }
  version_ = int(version);
  started_ = true;
  return true;
}

// Of all that is told about the file, whether it is the base of an append-only file; older ones say
// "aof-preamble".
bool RdbReader::take_aux() {
  if (!in_.take_string(key_) || !in_.take_string(value_)) return false;
  if (key() == "aof-base" || key() == "aof-preamble") aof_base_ = value() == "1";
  return true;
}

// 0 for a checksum: the file was written without.
bool RdbReader::take_end() {
  const uint64_t crc = in_.crc();
  uint64_t stored = 0;
  if (version_ >= 5 && !in_.take_number(stored)) return false;
  if (check_checksum_ && stored != 0 && stored != crc) {
    wrong_checksum_ = true;
    return in_.damaged("the checksum is wrong");
  }
  at_end_ = true;
  return false;
}

// All but entries. False when next() is to return stopped().
bool RdbReader::take_opcode(uint8_t opcode) {
  uint64_t number, other;
  uint32_t seconds;
  uint8_t byte;
  switch (opcode) {
    case rdb::kExpireMs:
      if (!in_.take_number(expiry_ms_)) return false;
      if (expiry_ms_ < kNoExpiry) expiry_ms_ = 0;  // as far gone as can be
      return true;
    case rdb::kExpireSeconds:
      if (!in_.take_number(seconds)) return false;
      expiry_ms_ = int64_t(seconds) * 1000;
      return true;
    case rdb::kFreq:
      if (!in_.take_number(byte)) return false;
      frequency_ = byte;
      return true;
    case rdb::kIdle:
      if (!in_.take_length(number)) return false;
      idle_seconds_ = int64_t(std::min<uint64_t>(number, INT32_MAX));
      return true;
    case rdb::kSelectDb:
      if (!in_.take_length(number)) return false;
      if (number >= uint64_t(kDatabasesMax))
        return in_.damaged("database " + std::to_string(number));
      db_ = int(number);
      expected_keys_ = 0;
      return true;
    case rdb::kResizeDb:
      return in_.take_length(expected_keys_) && in_.take_length(other);
    case rdb::kSlotInfo:
      return in_.take_length(number) && in_.take_length(other) && in_.take_length(other);
    case rdb::kAux:
      return take_aux();
    case rdb::kFunction2:
    case rdb::kFunctionPreGa:
      return foreign("a library of functions");
    case rdb::kModuleAux:
      return foreign("data of a module");
    case rdb::kEof:
      return take_end();
  }
  return false;  // there is no other from kSlotInfo on
}

// Says which key it is, if that can be read.
bool RdbReader::refuse_type(uint8_t type) {
  std::string what = "type " + std::to_string(type);
  if (type_name(type).empty()) return in_.damaged(what + ", which is none");
  if (!in_.take_string(key_)) return false;
  std::string name;
  append_quoted(name, key().substr(0, 64), 64);
  name.front() = name.back() = '\'';
  return foreign(what + " (" + std::string(type_name(type)) + ") of key " + name);
}

RdbReader::Result RdbReader::next() {
  if (at_end_) return Result::kEnd;
  if (!started_ && !take_header()) return stopped();
  expiry_ms_ = kNoExpiry;
  idle_seconds_ = -1;
  frequency_ = -1;
  for (;;) {
    uint8_t opcode;
    entry_offset_ = in_.offset();
    if (!in_.take_number(opcode)) return stopped();
    if (opcode == rdb::kTypeString) break;
    if (opcode < rdb::kSlotInfo) {
      refuse_type(opcode);
      return stopped();
    }
    if (!take_opcode(opcode)) return stopped();
  }
  if (!in_.take_string(key_) || !in_.take_string(value_)) return stopped();
  return Result::kEntry;
}

}  // namespace ignix
