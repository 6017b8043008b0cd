#include "server/save_rules.h"

#include "base/number.h"
#include "resp/inline.h"

namespace ignix {

bool parse_save_rules(std::string_view text, SaveRules& rules, std::string& error) {
  Words words;
  error = "Invalid save parameters";
  if (!split_inline(text, words)) return false;
  if (words.size() == 1 && words[0].empty()) words.clear();  // save ""
  if (words.size() % 2 != 0 || words.size() / 2 > size_t(kSaveRulesMax)) return false;
  int64_t numbers[2 * kSaveRulesMax];
  for (size_t i = 0; i < words.size(); i++) {
    const int64_t least = i % 2 ? 0 : 1;
    if (!parse_integer(words[i], numbers[i]) || numbers[i] < least) return false;
  }
  const int count = int(words.size() / 2);
  for (int i = 0; i < count; i++) {
    rules.of[i].seconds = numbers[2 * i];
    rules.of[i].changes = numbers[2 * i + 1];
  }
  rules.count.store(count, std::memory_order_release);
  return true;
}

std::string format_save_rules(const SaveRules& rules) {
  std::string text;
  for (int i = 0; i < rules.count; i++) {
    if (i) text += ' ';
    text += std::to_string(rules.of[i].seconds) + " " + std::to_string(rules.of[i].changes);
  }
  return text;
}

}  // namespace ignix
