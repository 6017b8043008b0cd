// How many keys there will be when a log has been read, guessed while it is read: so the table
// takes its buckets a few times at once instead of one by one (Keyspace::expect).
#pragma once

#include <cstdint>

namespace ignix {

class KeyForecast {
 public:
  // The log goes from byte `offset` to byte `end`; so many keys are there before it.
  KeyForecast(uint64_t offset, uint64_t end, uint64_t keys)
      : end_(end), offset_(offset), keys_(keys) {}

  // Whether there is anything new to be said after so many records.
  bool is_due(uint64_t records) const { return records >= due_; }
  // There are `keys`, of all databases, after so many records, the last of which stands at byte
  // `offset`. Returns how many there will be, at most kFactor times as many, or kFew: a log may
  // change the keys that it has made for ever after, and buckets for keys that never come are
  // memory lost until it is read.
  uint64_t look(uint64_t records, uint64_t offset, uint64_t keys);

  static constexpr uint64_t kRecordsLeast = 32 * 1024;  // from one look to the next
  static constexpr uint64_t kFactor = 4;
  static constexpr uint64_t kFew = 4 << 20;  // 40 MB of buckets

 private:
  const uint64_t end_;
  uint64_t due_ = kRecordsLeast;
  uint64_t records_ = 0, offset_, keys_;  // at the last look
};

}  // namespace ignix
