// The configuration: directives with redis.conf's names, from a file, the command line and CONFIG
// SET. One table (config.cc) knows them all; the man page lists them.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "server/output_limits.h"
#include "server/save_rules.h"
#include "store/evict.h"

namespace ignix {

enum class IoChoice { kAuto, kUring, kEpoll };
enum class FsyncErrorChoice { kRewrite, kStop };

struct Config {
  // Numbers, sizes in bytes, yes (1) and no (0), and choices by their number in the table. Loops
  // read them at any time; CONFIG SET writes some.
  std::atomic<int64_t> port{7379};
  std::atomic<int64_t> unixsocketperm{0};  // 0: as the umask has it
  std::atomic<int64_t> tcp_backlog{511};
  std::atomic<int64_t> tcp_keepalive{300};
  std::atomic<int64_t> timeout{0};
  std::atomic<int64_t> threads{0};  // 0: one for each CPU that the process may use
  std::atomic<int64_t> databases{kDatabasesDefault};
  std::atomic<int64_t> maxclients{kMaxClientsDefault};
  std::atomic<int64_t> maxmemory{0};
  std::atomic<int64_t> query_buffer_bytes{kQueryBytesDefault};
  std::atomic<int64_t> bulk_bytes{kBulkBytesDefault};
  std::atomic<int64_t> hll_sparse_bytes{kHllSparseBytesDefault};
  std::atomic<int64_t> appendonly{1};
  std::atomic<int64_t> appendfsync{1};
  std::atomic<int64_t> aof_load_truncated{1};
  std::atomic<int64_t> aof_fsync_error{0};   // FsyncErrorChoice
  std::atomic<int64_t> io{0};                // IoChoice
  std::atomic<int64_t> maxmemory_policy{0};  // EvictPolicy
  std::atomic<int64_t> maxmemory_samples{5};
  std::atomic<int64_t> eviction_tenacity{10};
  std::atomic<int64_t> lfu_log_factor{10};
  std::atomic<int64_t> lfu_decay_minutes{1};
  std::atomic<int64_t> active_expire{1};
  std::atomic<int64_t> loglevel{2};
  std::atomic<int64_t> daemonize{0};
  OutputLimits output_limits;
  SaveRules save_rules;
  std::atomic<int64_t> rdbcompression{1};
  std::atomic<int64_t> rdbchecksum{1};
  std::atomic<int64_t> aof_rewrite_percentage{100};
  std::atomic<int64_t> aof_rewrite_min_bytes{64 << 20};

  EvictRules evict_rules(int64_t now_ms) const;

  // Whether clients must be looked at now and then, though nothing comes from them.
  bool watches_clients() const {
    const OutputLimit& limit = output_limits[ClientClass::kNormal];
    return timeout.load(std::memory_order_relaxed) ||
           limit.soft_bytes.load(std::memory_order_relaxed) ||
           limit.hard_bytes.load(std::memory_order_relaxed);
  }

  // Set at start only.
  std::string bind = "127.0.0.1 -::1";
  std::string unixsocket, logfile, pidfile, config_file;
  std::string dir = ".";
  std::string appenddirname = "appendonlydir";
  std::string appendfilename = "ignix.aof";
  std::string dbfilename = "dump.rdb";
  bool save_was_said = false;  // a `save` directive, with rules or without
};

// Reads `argv` and, if it names one, the config file. False, with one line in `error`, on anything
// that is not understood. Directives of redis.conf that have no meaning here are collected in
// `ignored`.
bool load_config(int argc, char** argv, Config& config, std::vector<std::string>& ignored,
                 std::string& error);

// The names and values of all directives that match the pattern.
std::vector<std::pair<std::string, std::string>> config_get(const Config& config,
                                                            std::string_view pattern);

// CONFIG SET of one directive that config_is_changeable(). The effect is the caller's affair.
bool config_set(Config& config, std::string_view name, std::string_view value, std::string& error);
bool config_has(std::string_view name);
// Whether it may change while the server runs.
bool config_is_changeable(std::string_view name);

// --help: a line for each directive.
std::string config_usage();

}  // namespace ignix
