// Strings as bitmaps: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP.
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bits.h"
#include "base/number.h"
#include "command/bits_access.h"
#include "command/handlers.h"

namespace ignix {

bool bit_offset_argument(Call& call, std::string_view text, unsigned width, uint64_t& offset) {
  const bool multiple = width && text.starts_with('#');
  if (multiple) text.remove_prefix(1);
  int64_t number;
  if (parse_integer(text, number)) {
    if (multiple) number = int64_t(uint64_t(number) * width);
    offset = uint64_t(number);
    if (number >= 0 && number >> 3 < call.env.string_bytes_max) return true;
  }
  call.reply.error("ERR bit offset is not an integer or out of range");
  return false;
}

void run_setbit(Call& call) {
  static constexpr const char* kNoBit = "ERR bit is not an integer or out of range";
  uint64_t offset;
  int64_t bit;
  if (!bit_offset_argument(call, call.words[2], 0, offset)) return;
  if (!parse_integer(call.words[3], bit) || (bit & ~1)) return call.reply.error(kNoBit);
  const Key key = call.key(0);
  Entry* entry = find_live(call, key);
  if (!check_type(call, entry, Type::kString)) return;
  StringScratch scratch;
  const std::string_view bytes = bytes_of(entry, scratch);
  const bool old = get_bits(bytes, offset, 1);
  if (offset / 8 >= bytes.size() || old != (bit == 1)) {
    char byte = offset / 8 < bytes.size() ? bytes[offset / 8] : '\0';
    set_bits(&byte, offset % 8, 1, uint64_t(bit));
    if (!patch_string(call.keyspace(), call.db(), key, entry, offset / 8, {&byte, 1},
                      call.env.clock)) {
      return reply_out_of_memory(call);
    }
    call.log_change();
  }
  call.reply.integer(old);
}

void run_getbit(Call& call) {
  uint64_t offset;
  if (!bit_offset_argument(call, call.words[2], 0, offset)) return;
  const Entry* entry = find_for_read(call, call.key(0));
  if (!check_type(call, entry, Type::kString)) return;
  StringScratch scratch;
  call.reply.integer(int64_t(get_bits(bytes_of(entry, scratch), offset, 1)));
}

namespace {

// Bits from `first` to `last`; none if first > last.
struct BitRange {
  int64_t first, last;
};

// A word that says what the numbers of a range count. False, and the error is replied, if it is
// neither.
bool parse_unit(Call& call, std::string_view text, bool& bits) {
  bits = equal_ignoring_case(text, "bit");
  if (bits || equal_ignoring_case(text, "byte")) return true;
  reply_syntax_error(call);
  return false;
}

// Negative numbers count from the end of `length` bytes.
BitRange range_within(int64_t start, int64_t end, bool bits, size_t length) {
  const int64_t total = int64_t(length) * (bits ? 8 : 1);
  if (start < 0) start = std::max<int64_t>(start + total, 0);
  if (end < 0) end = std::max<int64_t>(end + total, 0);
  end = std::min(end, total - 1);
  if (start > end) return {1, 0};
  return bits ? BitRange{start, end} : BitRange{8 * start, 8 * end + 7};
}

uint64_t count_in(std::string_view bytes, BitRange range) {
  if (range.first > range.last) return 0;
  const size_t first = size_t(range.first / 8), last = size_t(range.last / 8);
  const unsigned before = unsigned(range.first % 8), behind = 7 - unsigned(range.last % 8);
  const uint64_t count = count_bits(bytes.substr(first, last - first + 1));
  const auto beside = [bytes](uint64_t at, unsigned width) {
    return width ? uint64_t(std::popcount(get_bits(bytes, at, width))) : 0;
  };
  return count - beside(8 * first, before) - beside(uint64_t(range.last) + 1, behind);
}

// The first bit in the range that is `bit`; -1: none. Bits beside whole bytes are looked at one by
// one.
int64_t find_in(std::string_view bytes, BitRange range, bool bit) {
  int64_t at = range.first;
  for (; at <= range.last && at % 8; at++) {
    if (get_bits(bytes, uint64_t(at), 1) == bit) return at;
  }
  const int64_t whole = (range.last + 1 - at) / 8;
  if (whole > 0) {
    const int64_t found = find_bit(bytes.substr(size_t(at / 8), size_t(whole)), bit);
    if (found >= 0) return at + found;
    at += 8 * whole;
  }
  for (; at <= range.last; at++) {
    if (get_bits(bytes, uint64_t(at), 1) == bit) return at;
  }
  return -1;
}

}  // namespace

void run_bitcount(Call& call) {
  const Entry* entry = find_for_read(call, call.key(0));
  if (!entry) return call.reply.integer(0);
  if (!check_type(call, entry, Type::kString)) return;
  StringScratch scratch;
  const std::string_view bytes = bytes_of(entry, scratch);
  int64_t start = 0, end = -1;
  bool bits = false;
  if (call.word_count == 3 || call.word_count > 5) return reply_syntax_error(call);
  if (call.word_count > 3) {
    if (!integer_argument(call, call.words[2], start)) return;
    if (!integer_argument(call, call.words[3], end)) return;
    if (start < 0 && end < 0 && start > end) return call.reply.integer(0);
    if (call.word_count == 5 && !parse_unit(call, call.words[4], bits)) return;
  }
  call.reply.integer(int64_t(count_in(bytes, range_within(start, end, bits, bytes.size()))));
}

// A string without an end given counts as if zeros followed it for ever.
void run_bitpos(Call& call) {
  int64_t bit, start = 0, end = -1;
  bool bits = false;
  if (!integer_argument(call, call.words[2], bit)) return;
  if (bit != 0 && bit != 1) return call.reply.error("ERR The bit argument must be 1 or 0.");
  const Entry* entry = find_for_read(call, call.key(0));
  if (!entry) return call.reply.integer(bit ? -1 : 0);
  if (!check_type(call, entry, Type::kString)) return;
  StringScratch scratch;
  const std::string_view bytes = bytes_of(entry, scratch);
  if (call.word_count > 6) return reply_syntax_error(call);
  if (call.word_count > 3 && !integer_argument(call, call.words[3], start)) return;
  if (call.word_count == 6 && !parse_unit(call, call.words[5], bits)) return;
  if (call.word_count > 4 && !integer_argument(call, call.words[4], end)) return;
  const BitRange range = range_within(start, end, bits, bytes.size());
  if (range.first > range.last) return call.reply.integer(-1);
  const int64_t found = find_in(bytes, range, bit);
  const bool endless = call.word_count < 5;
  call.reply.integer(found < 0 && !bit && endless ? range.last + 1 : found);
}

namespace {

enum class BitOperation { kAnd, kOr, kXor, kNot };

bool parse_operation(std::string_view text, BitOperation& operation) {
  static constexpr std::string_view kNames[] = {"and", "or", "xor", "not"};
  for (int i = 0; i < 4; i++) {
    operation = BitOperation(i);
    if (equal_ignoring_case(text, kNames[i])) return true;
  }
  return false;
}

template <typename Operation>
void combine_bytes(char* to, std::string_view with, Operation operation) {
  for (size_t i = 0; i < with.size(); i++) to[i] = char(operation(to[i], with[i]));
}

// `to` has `length` bytes, as many as the longest; what `with` lacks is zeros.
void combine(BitOperation operation, char* to, size_t length, std::string_view with) {
  switch (operation) {
    case BitOperation::kAnd:
      combine_bytes(to, with, [](char a, char b) { return a & b; });
      memset(to + with.size(), 0, length - with.size());
      break;
    case BitOperation::kOr:
      combine_bytes(to, with, [](char a, char b) { return a | b; });
      break;
    case BitOperation::kXor:
      combine_bytes(to, with, [](char a, char b) { return a ^ b; });
      break;
    case BitOperation::kNot:
      break;
  }
}

// The bytes of all sources as one string of `length` bytes, in a block that is handed over; nullptr
// if there is no memory.
Block* combined(Call& call, BitOperation operation, size_t length) {
  Block* block = call.keyspace().blocks().make_empty(length);
  if (!block) return nullptr;
  for (size_t i = 3; i < call.word_count; i++) {
    StringScratch scratch;
    Entry* const entry = find_live(call, call.key(i - 2), Access::kLook);  // it was used before
    if (entry) call.keyspace().save_as_source(call.db(), entry);
    const std::string_view source = bytes_of(entry, scratch);
    if (i > 3) {
      combine(operation, block->data, length, source);
      continue;
    }
    if (!source.empty()) memcpy(block->data, source.data(), source.size());
    memset(block->data + source.size(), 0, length - source.size());
  }
  if (operation == BitOperation::kNot) {
    for (size_t i = 0; i < length; i++) block->data[i] = char(~block->data[i]);
  }
  return block;
}

// A long one stays in its block, which is held once more; a short one is copied out of it.
bool store_result(Call& call, const Key& to, Block* block) {
  StringScratch scratch;
  StoredValue value;
  if (block->length_bytes >= kReceiveBlockBytes) {
    hold_block(block);
    call.keyspace().blocks().adopt(block);
    value = block_value(block, scratch);
  } else if (!encode_string(block->view(), call.keyspace().blocks(), scratch, value)) {
    return false;
  }
  return call.keyspace().put(call.db(), to, value, kNoExpiry, call.env.clock);
}

}  // namespace

// The log has the question: the answer may be of half a gigabyte, and a transaction may have many
// of them.
void run_bitop(Call& call) {
  BitOperation operation;
  if (!parse_operation(call.words[1], operation)) return reply_syntax_error(call);
  if (operation == BitOperation::kNot && call.word_count != 4) {
    return call.reply.error("ERR BITOP NOT must be called with a single source key.");
  }
  size_t length = 0;
  for (size_t i = 3; i < call.word_count; i++) {
    StringScratch scratch;
    const Entry* source = find_for_read(call, call.key(i - 2));
    if (!check_type(call, source, Type::kString)) return;
    length = std::max(length, bytes_of(source, scratch).size());
  }
  const Key to = call.key(0);
  if (length == 0) {
    if (find_live(call, to)) delete_key(call, to);
    return call.reply.integer(0);
  }
  find_live(call, to);  // an expired one goes by a record of its own
  Block* block = combined(call, operation, length);
  const bool made = block && store_result(call, to, block);
  if (made) call.log_change();
  if (block) drop_block(block);
  made ? call.reply.integer(int64_t(length)) : reply_out_of_memory(call);
}

}  // namespace ignix
