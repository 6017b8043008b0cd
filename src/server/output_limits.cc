#include "server/output_limits.h"

#include "base/number.h"
#include "resp/inline.h"

namespace ignix {
namespace {

constexpr const char* kClassNames[kClientClasses] = {"normal", "slave", "pubsub"};

// -1 if there is no such class.
int class_named(std::string_view name) {
  if (equal_ignoring_case(name, "replica")) return int(ClientClass::kReplica);
  for (int i = 0; i < kClientClasses; i++) {
    if (equal_ignoring_case(name, kClassNames[i])) return i;
  }
  return -1;
}

}  // namespace

bool parse_output_limits(std::string_view text, OutputLimits& limits, std::string& error) {
  Words words;
  if (!split_inline(text, words) || words.size() % 4 != 0) {
    error = "Wrong number of arguments in buffer limit configuration.";
    return false;
  }
  // First whether all of it is good, then for good.
  for (const bool store : {false, true}) {
    for (size_t i = 0; i < words.size(); i += 4) {
      const int index = class_named(words[i]);
      int64_t hard, soft, seconds;
      if (index < 0) {
        error = "Invalid client class specified in buffer limit configuration.";
        return false;
      }
      if (!parse_memory(words[i + 1], hard) || !parse_memory(words[i + 2], soft) ||
          !parse_integer(words[i + 3], seconds) || seconds < 0 || seconds > INT32_MAX) {
        error = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        return false;
      }
      if (!store) continue;
      limits.of[index].hard_bytes = hard;
      limits.of[index].soft_bytes = soft;
      limits.of[index].soft_seconds = seconds;
    }
  }
  return true;
}

std::string format_output_limits(const OutputLimits& limits) {
  std::string text;
  for (int i = 0; i < kClientClasses; i++) {
    const OutputLimit& limit = limits.of[i];
    if (i) text += ' ';
    text += std::string(kClassNames[i]) + " " + std::to_string(limit.hard_bytes) + " " +
            std::to_string(limit.soft_bytes) + " " + std::to_string(limit.soft_seconds);
  }
  return text;
}

}  // namespace ignix
