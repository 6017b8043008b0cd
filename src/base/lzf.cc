#include "base/lzf.h"

#include <cstdint>
#include <cstring>

namespace ignix {

// A control byte below 32: as many literals, and one. Else its upper three bits are the length of a
// match less two (7: a byte more follows), its lower five and the next byte the distance less one.
bool lzf_decompress(std::string_view in, char* out, size_t out_bytes) {
  const uint8_t* p = reinterpret_cast<const uint8_t*>(in.data());
  const uint8_t* const end = p + in.size();
  size_t at = 0;
  while (p < end) {
    const size_t control = *p++;
    if (control < 32) {
      const size_t count = control + 1;
      if (size_t(end - p) < count || out_bytes - at < count) return false;
      memcpy(out + at, p, count);
      p += count;
      at += count;
      continue;
    }
    size_t count = control >> 5;
    if (count == 7) {
      if (p == end) return false;
      count += *p++;
    }
    if (p == end) return false;
    const size_t distance = ((control & 31) << 8 | *p++) + 1;
    count += 2;
    if (distance > at || out_bytes - at < count) return false;
    // Byte by byte: a match may reach into what it is writing.
    for (; count > 0; count--, at++) out[at] = out[at - distance];
  }
  return at == out_bytes;
}

}  // namespace ignix
