#include "durability/dump.h"

#include <cstring>

#include "base/crc64.h"
#include "durability/rdb.h"
#include "durability/rdb_input.h"

namespace ignix::rdb {
namespace {

struct Footer {
  uint16_t version;
  uint64_t crc;
};
constexpr size_t kCrcBytes = 8, kFooterBytes = 2 + kCrcBytes;

}  // namespace

bool put_dump(Buffer& out, std::string_view value, bool compress) {
  if (!out.reserve(1 + value.size() + kTextRoomBytes + kFooterBytes)) return false;
  char* const start = out.room();
  char* p = start;
  *p++ = char(kTypeString);
  p = put_text(p, value, compress);
  const uint16_t version = kFormatVersion;
  memcpy(p, &version, sizeof version);
  p += sizeof version;
  const uint64_t crc = crc64(0, {start, size_t(p - start)});
  memcpy(p, &crc, kCrcBytes);
  out.commit(size_t(p + kCrcBytes - start));
  return true;
}

DumpState read_dump(std::string_view payload, Buffer& value) {
  if (payload.size() < kFooterBytes) return DumpState::kNotOne;
  Footer footer;
  const std::string_view body = payload.substr(0, payload.size() - kFooterBytes);
  memcpy(&footer.version, body.end(), sizeof footer.version);
  memcpy(&footer.crc, body.end() + sizeof footer.version, kCrcBytes);
  if (footer.version > kFormatVersionMax ||
      footer.crc != crc64(0, payload.substr(0, payload.size() - kCrcBytes))) {
    return DumpState::kNotOne;
  }
  RdbInput in(body);
  uint8_t type;
  if (in.take_number(type) && type == kTypeString && in.take_string(value)) return DumpState::kGood;
  return in.fault() == RdbInput::Fault::kFailed ? DumpState::kNoMemory : DumpState::kDamaged;
}

}  // namespace ignix::rdb
