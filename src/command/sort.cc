// SORT and SORT_RO. What they sort, lists, sets and sorted sets, Ignix has not got yet: so a key is
// missing, and there is nothing to reply or to store, or it is of the wrong type.
#include <algorithm>

#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"

namespace ignix {
namespace {

constexpr std::string_view kStore = "store", kLimit = "limit";

// How many words the option that starts at words[i] takes; 0 if there is none.
size_t option_words(const std::string_view* words, size_t count, size_t i) {
  static constexpr struct {
    std::string_view word;
    size_t takes;
  } kOptions[] = {{"asc", 1},  {"desc", 1}, {"alpha", 1}, {kLimit, 3},
                  {kStore, 2}, {"by", 2},   {"get", 2}};
  for (const auto& option : kOptions) {
    if (i + option.takes <= count && equal_ignoring_case(words[i], option.word)) {
      return option.takes;
    }
  }
  return 0;
}

bool check_options(Call& call, bool may_store) {
  for (size_t i = 2, taken; i < call.word_count; i += taken) {
    const std::string_view* option = &call.words[i];
    int64_t number;
    taken = option_words(call.words, call.word_count, i);
    if (taken == 0 || (!may_store && equal_ignoring_case(*option, kStore))) {
      reply_syntax_error(call);
      return false;
    }
    if (equal_ignoring_case(*option, kLimit) && (!integer_argument(call, option[1], number) ||
                                                 !integer_argument(call, option[2], number))) {
      return false;
    }
  }
  return true;
}

// Whether there is nothing to sort.
bool check_missing(Call& call) {
  const Entry* entry = find_for_read(call, call.key(0));
  if (entry) reply_wrong_type(call);
  return !entry;
}

}  // namespace

// The key to sort, and the last STORE's.
size_t find_sort_key(const std::string_view* words, size_t count, size_t index) {
  if (index == 0) return 1;
  size_t store = 0;
  for (size_t i = 2; i < count && index == 1;) {
    const size_t taken = option_words(words, count, i);
    if (taken && equal_ignoring_case(words[i], kStore)) store = i + 1;
    i += std::max<size_t>(taken, 1);
  }
  return store;
}

void run_sort(Call& call) {
  if (!check_options(call, true) || !check_missing(call)) return;
  const size_t store = find_sort_key(call.words, call.word_count, 1);
  if (!store) return call.reply.array(0);
  delete_key(call, {call.hashes[1], call.words[store]});
  call.reply.integer(0);
}

void run_sort_ro(Call& call) {
  if (check_options(call, false) && check_missing(call)) call.reply.array(0);
}

}  // namespace ignix
