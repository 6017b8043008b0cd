#include "server/load_rdb.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "durability/rdb_reader.h"
#include "server/load.h"
#include "store/string.h"

namespace ignix {
namespace {

// Entries on their way into the keyspace, a batch at a time, so that its cache misses overlap.
class Inserter {
 public:
  explicit Inserter(Keyspace& keyspace) : keyspace_(keyspace), clock_(access_clock(wall_ms())) {}

  // False if there is no memory.
  bool add(const RdbReader& reader) {
    if (count_ > 0 && (count_ == kBatchCommands || reader.db() != db_) && !flush()) return false;
    db_ = reader.db();
    Item& item = items_[count_];
    item.key.assign(reader.key());
    item.value.assign(reader.value());
    item.expiry_ms = reader.expiry_ms();
    hashes_[count_++] = keyspace_.key(item.key).hash;
    // A few long ones take as much memory as many short ones.
    bytes_ += item.value.size();
    return bytes_ < kBatchBytes || flush();
  }

  bool flush() {
    keyspace_.prefetch(db_, hashes_, count_);
    for (size_t i = 0; i < count_; i++) {
      Item& item = items_[i];
      StringScratch scratch;
      StoredValue stored;
      if (!encode_string(item.value, keyspace_.blocks(), scratch, stored) ||
          !keyspace_.put(db_, {hashes_[i], item.key}, stored, item.expiry_ms, clock_)) {
        return false;
      }
      if (item.value.capacity() > kBatchBytes / 4) std::string().swap(item.value);
    }
    count_ = bytes_ = 0;
    return true;
  }

 private:
  static constexpr size_t kBatchBytes = 1 << 20;
  struct Item {
    std::string key, value;
    int64_t expiry_ms;
  };

  Keyspace& keyspace_;
  const uint32_t clock_;
  int db_ = 0;
  size_t count_ = 0, bytes_ = 0;
  Item items_[kBatchCommands];
  uint64_t hashes_[kBatchCommands];
};

}  // namespace

bool is_rdb(int fd) {
  char magic[5];
  return pread(fd, magic, sizeof magic, 0) == ssize_t(sizeof magic) &&
         memcmp(magic, "REDIS", sizeof magic) == 0;
}

bool load_rdb(Server& server, int fd, uint64_t file_bytes, const std::string& what,
              bool drop_expired, uint64_t& end, std::string& error) {
  const int64_t start_ms = monotonic_ms(), now_ms = wall_ms();
  LoadProgress progress(what, file_bytes);
  RdbReader reader(fd, server.config.rdbchecksum);
  Inserter inserter(server.keyspace);
  uint64_t keys = 0, expired = 0;
  RdbReader::Result result;
  while ((result = reader.next()) == RdbReader::Result::kEntry) {
    if (reader.db() >= server.config.databases) {
      error = what + " has keys in database " + std::to_string(reader.db()) + "; see --databases";
      return false;
    }
    if (drop_expired && reader.expiry_ms() != kNoExpiry && reader.expiry_ms() <= now_ms) {
      expired++;
      continue;
    }
    if (!inserter.add(reader)) break;
    progress.show(++keys, reader.offset());
  }
  if (result == RdbReader::Result::kEntry || !inserter.flush()) {
    error = "out of memory while loading " + what;
    return false;
  }
  if (result != RdbReader::Result::kEnd) {
    error = what + " cannot be loaded: at byte " + std::to_string(reader.offset()) + ": " +
            reader.error() + "; it was left as it is";
    return false;
  }
  end = reader.offset();
  log_notice("loaded %llu keys, %llu bytes, from %s in %lld ms", (unsigned long long)keys,
             (unsigned long long)end, what.c_str(), (long long)(monotonic_ms() - start_ms));
  if (expired) log_notice("%llu keys had expired", (unsigned long long)expired);
  return true;
}

}  // namespace ignix
