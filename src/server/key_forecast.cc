#include "server/key_forecast.h"

#include <algorithm>

namespace ignix {

uint64_t KeyForecast::look(uint64_t records, uint64_t offset, uint64_t keys) {
  const double read = double(records - records_), bytes = double(offset - offset_);
  const double added = keys > keys_ ? double(keys - keys_) : 0;
  uint64_t forecast = keys;
  if (read > 0 && bytes > 0 && offset < end_) {
    // Of as many records as are left, so large a share adds a key ...
    const double share = std::min(1.0, added / read);
    double most = double(keys) + share * read / bytes * double(end_ - offset);
    // ... and a smaller one the more keys there are, if they are taken from a number of them.
    if (share < 1) most = std::min(most, double(keys) / (1 - share));
    forecast = std::min(uint64_t(most), std::max(keys * kFactor, kFew));
  }
  due_ = records + std::max({kRecordsLeast, records / 4, forecast - keys});
  records_ = records;
  offset_ = offset;
  keys_ = keys;
  return forecast;
}

}  // namespace ignix
