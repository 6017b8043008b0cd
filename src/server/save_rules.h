// `save`: after how many seconds, with at least how many changes, the data are saved by themselves.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace ignix {

constexpr int kSaveRulesMax = 16;

struct SaveRules {
  struct Rule {
    std::atomic<int64_t> seconds{0}, changes{0};
  };
  std::atomic<int> count{0};
  Rule of[kSaveRulesMax];
};

// Reads `seconds changes`, any number of times; an empty text is no rule. False, with Redis's words
// in `error`, if it is not that: then nothing has changed.
bool parse_save_rules(std::string_view text, SaveRules& rules, std::string& error);
std::string format_save_rules(const SaveRules& rules);

}  // namespace ignix
