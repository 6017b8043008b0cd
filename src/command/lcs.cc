// LCS: what two strings have in common, in order.
//
// Dynamic programming over all pairs of prefixes, four bytes each: the limit on the table is
// proto-max-bulk-len, as in Redis. Of several longest ones the answer is Redis's, which walks back
// from the ends and, where both ways are as good, shortens the second string.
#include <algorithm>
#include <memory>
#include <new>

#include "base/array.h"
#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"
#include "store/string.h"

namespace ignix {
namespace {

struct LcsOptions {
  bool length_only = false, ranges = false, with_length = false;
  int64_t min_length = 0;
};

bool parse_options(Call& call, LcsOptions& options) {
  for (size_t i = 3; i < call.word_count; i++) {
    const std::string_view word = call.words[i];
    if (equal_ignoring_case(word, "idx")) {
      options.ranges = true;
    } else if (equal_ignoring_case(word, "len")) {
      options.length_only = true;
    } else if (equal_ignoring_case(word, "withmatchlen")) {
      options.with_length = true;
    } else if (equal_ignoring_case(word, "minmatchlen") && i + 1 < call.word_count) {
      if (!integer_argument(call, call.words[++i], options.min_length)) return false;
      options.min_length = std::max<int64_t>(options.min_length, 0);
    } else {
      reply_syntax_error(call);
      return false;
    }
  }
  if (!options.ranges || !options.length_only) return true;
  call.reply.error("ERR If you want both the length and indexes, please just use IDX.");
  return false;
}

// The lengths of the longest common subsequences of all prefixes.
class LcsTable {
 public:
  bool make(std::string_view a, std::string_view b) {
    row_ = b.size() + 1;
    lengths_.reset(new (std::nothrow) uint32_t[(a.size() + 1) * row_]);
    if (!lengths_) return false;
    for (size_t i = 0; i <= a.size(); i++) at(i, 0) = 0;
    for (size_t j = 0; j <= b.size(); j++) at(0, j) = 0;
    for (size_t i = 1; i <= a.size(); i++) {
      for (size_t j = 1; j <= b.size(); j++) {
        at(i, j) =
            a[i - 1] == b[j - 1] ? at(i - 1, j - 1) + 1 : std::max(at(i - 1, j), at(i, j - 1));
      }
    }
    return true;
  }
  uint32_t& at(size_t i, size_t j) { return lengths_[i * row_ + j]; }

 private:
  std::unique_ptr<uint32_t[]> lengths_;
  size_t row_ = 0;
};

// A run of bytes that both strings have; the ends are of the last byte.
struct Match {
  size_t a_start, a_end, b_start, b_end;
  size_t length() const { return a_end - a_start + 1; }
};

// From the ends to the starts. `common` gets the subsequence, `matches` its runs, the last first.
// False if there is no memory.
bool walk_back(LcsTable& table, std::string_view a, std::string_view b, Array<char>& common,
               Array<Match>& matches) {
  size_t i = a.size(), j = b.size();
  size_t left = table.at(i, j);
  if (!common.resize(left)) return false;
  bool in_run = false;
  while (i > 0 && j > 0) {
    if (a[i - 1] == b[j - 1]) {
      common[--left] = a[i - 1];
      i--, j--;
      if (in_run) {
        matches.back().a_start = i;
        matches.back().b_start = j;
      } else if (!matches.push({i, i, j, j})) {
        return false;
      }
      in_run = true;
    } else {
      table.at(i - 1, j) > table.at(i, j - 1) ? i-- : j--;
      in_run = false;
    }
  }
  return true;
}

void reply_range(Call& call, size_t start, size_t end) {
  call.reply.array(2);
  call.reply.integer(int64_t(start));
  call.reply.integer(int64_t(end));
}

void reply_matches(Call& call, const LcsOptions& options, const Array<Match>& matches,
                   size_t length) {
  const auto is_wanted = [&](const Match& match) {
    return int64_t(match.length()) >= options.min_length;
  };
  call.reply.map(2);
  call.reply.bulk("matches");
  call.reply.array(std::count_if(matches.begin(), matches.end(), is_wanted));
  for (const Match& match : matches) {
    if (!is_wanted(match)) continue;
    call.reply.array(2 + options.with_length);
    reply_range(call, match.a_start, match.a_end);
    reply_range(call, match.b_start, match.b_end);
    if (options.with_length) call.reply.integer(int64_t(match.length()));
  }
  call.reply.bulk("len");
  call.reply.integer(int64_t(length));
}

}  // namespace

void run_lcs(Call& call) {
  StringScratch scratch[2];
  std::string_view text[2];
  for (size_t i = 0; i < 2; i++) {
    const Entry* entry = find_for_read(call, call.key(i));
    if (entry && entry->type() != Type::kString) {
      return call.reply.error("ERR The specified keys must contain string values");
    }
    if (entry) text[i] = string_value(*entry, scratch[i]);
  }
  LcsOptions options;
  if (!parse_options(call, options)) return;
  const auto cells = static_cast<unsigned __int128>(text[0].size() + 1) * (text[1].size() + 1);
  if (cells * sizeof(uint32_t) > uint64_t(call.env.string_bytes_max)) {
    return call.reply.error(
        "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
  }
  constexpr const char* kNoMemory =
      "ERR Insufficient memory, failed allocating transient memory for LCS";
  LcsTable table;
  if (!table.make(text[0], text[1])) return call.reply.error(kNoMemory);
  const size_t length = table.at(text[0].size(), text[1].size());
  if (options.length_only) return call.reply.integer(int64_t(length));
  Array<char> common;
  Array<Match> matches;
  if (!walk_back(table, text[0], text[1], common, matches)) return call.reply.error(kNoMemory);
  if (options.ranges) return reply_matches(call, options, matches, length);
  call.reply.bulk({common.data(), common.size()});
}

}  // namespace ignix
