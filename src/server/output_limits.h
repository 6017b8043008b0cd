// client-output-buffer-limit: for each class of clients, how many bytes of replies may wait to be
// sent before the client is closed.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace ignix {

enum class ClientClass { kNormal, kReplica, kPubsub };
constexpr int kClientClasses = 3;

struct OutputLimit {
  std::atomic<int64_t> hard_bytes{0};  // closed at once; 0: no limit
  std::atomic<int64_t> soft_bytes{0};  // closed when there have been more for soft_seconds; 0: none
  std::atomic<int64_t> soft_seconds{0};
};

struct OutputLimits {
  OutputLimit of[kClientClasses] = {{0, 0, 0}, {256 << 20, 64 << 20, 60}, {32 << 20, 8 << 20, 60}};

  const OutputLimit& operator[](ClientClass c) const { return of[int(c)]; }
};

// Reads `class hard soft seconds`, any number of times; the other classes stay as they are. False,
// with Redis's words in `error`, if it is not that: then nothing has changed.
bool parse_output_limits(std::string_view text, OutputLimits& limits, std::string& error);
std::string format_output_limits(const OutputLimits& limits);

}  // namespace ignix
