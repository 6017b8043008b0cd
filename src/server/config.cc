#include "server/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>

#include "base/glob.h"
#include "base/number.h"
#include "resp/inline.h"

namespace ignix {
namespace {

enum class Kind {
  kNumber,
  kBytes,
  kOctal,
  kYesNo,
  kChoice,
  kText,
  kWords,
  kOutputLimits,
  kSaveRules
};
using Number = std::atomic<int64_t> Config::*;
using Text = std::string Config::*;

constexpr const char* kPolicyChoices[] = {
    "noeviction",   "allkeys-lru",     "allkeys-lfu",  "allkeys-random", "volatile-lru",
    "volatile-lfu", "volatile-random", "volatile-ttl", nullptr};  // as EvictPolicy
constexpr const char* kFsyncChoices[] = {"always", "everysec", "no", nullptr};
constexpr const char* kFsyncErrorChoices[] = {"rewrite", "stop", nullptr};  // as FsyncErrorChoice
constexpr const char* kIoChoices[] = {"auto", "uring", "epoll", nullptr};   // as IoChoice
constexpr const char* kLevelChoices[] = {"debug",   "verbose", "notice",
                                         "warning", "nothing", nullptr};

struct Directive {
  const char* name;
  Kind kind;
  Number number = nullptr;
  Text text = nullptr;
  int64_t least = 0, most = INT64_MAX;
  const char* const* choices = nullptr;
  bool changeable = false;  // by CONFIG SET
  const char* help = "";
};

// clang-format off: rows, not statements
const Directive kDirectives[] = {
    {.name = "active-expire",
     .kind = Kind::kYesNo,
     .number = &Config::active_expire,
     .changeable = true,
     .help = "delete what has expired though nobody asks for it"},
    {.name = "aof-fsync-error",
     .kind = Kind::kChoice,
     .number = &Config::aof_fsync_error,
     .choices = kFsyncErrorChoices,
     .changeable = true,
     .help = "rewrite the log after an fsync that failed, or stop"},
    {.name = "aof-load-truncated",
     .kind = Kind::kYesNo,
     .number = &Config::aof_load_truncated,
     .help = "start with a log whose last record is torn"},
    {.name = "appenddirname",
     .kind = Kind::kText,
     .text = &Config::appenddirname,
     .help = "directory of a Redis's append-only files, read when there is no other"},
    {.name = "appendfilename",
     .kind = Kind::kText,
     .text = &Config::appendfilename,
     .help = "the append-only file, in --dir"},
    {.name = "appendfsync",
     .kind = Kind::kChoice,
     .number = &Config::appendfsync,
     .choices = kFsyncChoices,
     .changeable = true,
     .help = "always, everysec or no"},
    {.name = "appendonly",
     .kind = Kind::kYesNo,
     .number = &Config::appendonly,
     .help = "log every change to the append-only file"},
    {.name = "auto-aof-rewrite-min-size",
     .kind = Kind::kBytes,
     .number = &Config::aof_rewrite_min_bytes,
     .changeable = true,
     .help = "a smaller log is not rewritten by itself"},
    {.name = "auto-aof-rewrite-percentage",
     .kind = Kind::kNumber,
     .number = &Config::aof_rewrite_percentage,
     .most = INT32_MAX,
     .changeable = true,
     .help = "growth of the log after which it is rewritten; 0: never"},
    {.name = "bind",
     .kind = Kind::kWords,
     .text = &Config::bind,
     .help = "addresses to listen on; '-' in front: if it exists"},
    {.name = "client-output-buffer-limit",
     .kind = Kind::kOutputLimits,
     .changeable = true,
     .help = "class, bytes, bytes and for how many seconds"},
    {.name = "client-query-buffer-limit",
     .kind = Kind::kBytes,
     .number = &Config::query_buffer_bytes,
     .least = 1 << 20,
     .changeable = true,
     .help = "largest command of a client"},
    {.name = "daemonize",
     .kind = Kind::kYesNo,
     .number = &Config::daemonize,
     .help = "run in the background"},
    {.name = "databases",
     .kind = Kind::kNumber,
     .number = &Config::databases,
     .least = 1,
     .most = kDatabasesMax,
     .help = "number of databases"},
    {.name = "dbfilename",
     .kind = Kind::kText,
     .text = &Config::dbfilename,
     .help = "the file of SAVE and BGSAVE, in --dir"},
    {.name = "dir", .kind = Kind::kText, .text = &Config::dir, .help = "directory of the data"},
    {.name = "hll-sparse-max-bytes",
     .kind = Kind::kBytes,
     .number = &Config::hll_sparse_bytes,
     .changeable = true,
     .help = "a longer HyperLogLog is stored dense"},
    {.name = "io",
     .kind = Kind::kChoice,
     .number = &Config::io,
     .choices = kIoChoices,
     .help = "uring, epoll, or auto: what the kernel allows"},
    {.name = "lfu-decay-time",
     .kind = Kind::kNumber,
     .number = &Config::lfu_decay_minutes,
     .most = INT32_MAX,
     .changeable = true,
     .help = "minutes after which a key's frequency falls; 0: never"},
    {.name = "lfu-log-factor",
     .kind = Kind::kNumber,
     .number = &Config::lfu_log_factor,
     .most = INT32_MAX,
     .changeable = true,
     .help = "how slowly a key's frequency grows"},
    {.name = "logfile",
     .kind = Kind::kText,
     .text = &Config::logfile,
     .help = "file for log lines instead of stderr"},
    {.name = "loglevel",
     .kind = Kind::kChoice,
     .number = &Config::loglevel,
     .choices = kLevelChoices,
     .changeable = true,
     .help = "debug, verbose, notice, warning or nothing"},
    {.name = "maxclients",
     .kind = Kind::kNumber,
     .number = &Config::maxclients,
     .least = 1,
     .most = 1 << 20,
     .changeable = true,
     .help = "most clients at a time"},
    {.name = "maxmemory",
     .kind = Kind::kBytes,
     .number = &Config::maxmemory,
     .changeable = true,
     .help = "most memory for data; 0: no limit"},
    {.name = "maxmemory-eviction-tenacity",
     .kind = Kind::kNumber,
     .number = &Config::eviction_tenacity,
     .most = 100,
     .changeable = true,
     .help = "how long a command may evict, 0 to 100"},
    {.name = "maxmemory-policy",
     .kind = Kind::kChoice,
     .number = &Config::maxmemory_policy,
     .choices = kPolicyChoices,
     .changeable = true,
     .help = "what goes when maxmemory is reached"},
    {.name = "maxmemory-samples",
     .kind = Kind::kNumber,
     .number = &Config::maxmemory_samples,
     .least = 1,
     .most = INT32_MAX,
     .changeable = true,
     .help = "keys compared for an eviction, at least"},
    {.name = "pidfile",
     .kind = Kind::kText,
     .text = &Config::pidfile,
     .help = "file for the process number"},
    {.name = "port",
     .kind = Kind::kNumber,
     .number = &Config::port,
     .most = 65535,
     .help = "TCP port; 0: none"},
    {.name = "proto-max-bulk-len",
     .kind = Kind::kBytes,
     .number = &Config::bulk_bytes,
     .least = 1 << 20,
     .most = int64_t(kStringBytesMax),
     .changeable = true,
     .help = "largest word of a command"},
    {.name = "rdbchecksum",
     .kind = Kind::kYesNo,
     .number = &Config::rdbchecksum,
     .help = "RDB files have a checksum, which is checked"},
    {.name = "rdbcompression",
     .kind = Kind::kYesNo,
     .number = &Config::rdbcompression,
     .changeable = true,
     .help = "compress strings in RDB files and for DUMP"},
    {.name = "save",
     .kind = Kind::kSaveRules,
     .changeable = true,
     .help = "seconds and changes, after which BGSAVE comes by itself"},
    {.name = "tcp-backlog",
     .kind = Kind::kNumber,
     .number = &Config::tcp_backlog,
     .least = 1,
     .most = 65535,
     .help = "connections not yet accepted"},
    {.name = "tcp-keepalive",
     .kind = Kind::kNumber,
     .number = &Config::tcp_keepalive,
     .most = INT32_MAX,
     .changeable = true,
     .help = "seconds between probes; 0: none"},
    {.name = "threads",
     .kind = Kind::kNumber,
     .number = &Config::threads,
     .most = kThreadsMax,
     .help = "event loops; 0: one for each CPU"},
    {.name = "timeout",
     .kind = Kind::kNumber,
     .number = &Config::timeout,
     .most = INT32_MAX,
     .changeable = true,
     .help = "seconds after which an idle client is closed; 0: never"},
    {.name = "unixsocket",
     .kind = Kind::kText,
     .text = &Config::unixsocket,
     .help = "path of a Unix socket to listen on"},
    {.name = "unixsocketperm",
     .kind = Kind::kOctal,
     .number = &Config::unixsocketperm,
     .most = 0777,
     .help = "its permissions, octal"},
};

// clang-format on

// redis.conf's directives about what Ignix does not have or does otherwise. They are read over, so
// that an existing file works; a prefix ends with '*'. None is the beginning of a directive that
// there is: a slip in writing that is an error.
constexpr const char* kIgnored[] = {
    "activedefrag",
    "activerehashing",
    "active-defrag-*",
    "active-expire-effort",
    "acllog-max-len",
    "acl-pubsub-default",
    "always-show-logo",
    "aof-rewrite-incremental-fsync",
    "aof-timestamp-enabled",
    "aof-use-rdb-preamble",
    "bio_cpulist",
    "aof_rewrite_cpulist",
    "bgsave_cpulist",
    "server_cpulist",
    "cluster-*",
    "crash-*",
    "disable-thp",
    "dynamic-hz",
    "hash-*",
    "hz",
    "io-threads*",
    "jemalloc-bg-thread",
    "latency-*",
    "lazyfree-*",
    "list-*",
    "locale-collate",
    "lua-time-limit",
    "busy-reply-threshold",
    "maxmemory-clients",
    "min-replicas-*",
    "min-slaves-*",
    "no-appendfsync-on-rewrite",
    "notify-keyspace-events",
    "oom-score-adj*",
    "proc-title-template",
    "protected-mode",
    "rdb-*",
    "repl-*",
    "replica-*",
    "sanitize-dump-payload",
    "set-max-*",
    "set-proc-title",
    "shutdown-*",
    "slave-*",
    "slowlog-*",
    "socket-mark-id",
    "stop-writes-on-bgsave-error",
    "stream-*",
    "supervised",
    "syslog-*",
    "tracking-*",
    "zset-*",
    "enable-*",
    "propagation-error-behavior",
    "ignore-warnings",
};

// Of these, what promises something that does not hold here. Nobody is to rely on it.
constexpr struct {
  const char* name;
  const char* harmless;
} kPromises[] = {
    {"cluster-enabled", "no"}, {"min-replicas-to-write", "0"}, {"min-slaves-to-write", "0"}};

// The same of directives that have no harmless value.
constexpr const char* kRefused[] = {"aclfile",     "include",        "loadmodule", "masterauth",
                                    "masteruser",  "rename-command", "replicaof",  "slaveof",
                                    "requirepass", "tls-*",          "user"};

// Redis's, where there is no log and nothing is said about saving.
constexpr const char* kSaveRulesWithoutLog = "3600 1 300 100 60 10000";

const Directive* find_directive(std::string_view name) {
  if (equal_ignoring_case(name, "backend")) name = "io";  // its name in Ignix 0.3
  for (const Directive& directive : kDirectives) {
    if (equal_ignoring_case(name, directive.name)) return &directive;
  }
  return nullptr;
}

std::string join(const Words& words, size_t first) {
  std::string text;
  for (size_t i = first; i < words.size(); i++) {
    if (i > first) text += ' ';
    text += words[i];
  }
  return text;
}

template <size_t N>
bool is_one_of(const char* const (&patterns)[N], std::string_view name) {
  return std::any_of(std::begin(patterns), std::end(patterns),
                     [&](const char* pattern) { return glob_match(pattern, name, true); });
}

bool is_promise(const Words& words) {
  for (const auto& [name, harmless] : kPromises) {
    if (equal_ignoring_case(words[0], name)) {
      return words.size() != 2 || !equal_ignoring_case(words[1], harmless);
    }
  }
  return false;
}

// Of a directive that Ignix does not have. False, with `error`, if that matters.
bool read_over(const Words& words, std::vector<std::string>& ignored, std::string& error) {
  const std::string name(words[0]);
  if (is_promise(words) || is_one_of(kRefused, name)) {
    error = "'" + join(words, 0) + "' is not supported";
    return false;
  }
  if (!is_one_of(kIgnored, name)) {
    error = "unknown option '" + name + "'";
    return false;
  }
  ignored.push_back(name);
  return true;
}

bool parse_octal(std::string_view text, int64_t& value) {
  if (text.empty() || text.size() > 4) return false;
  value = 0;
  for (char c : text) {
    if (c < '0' || c > '7') return false;
    value = value * 8 + (c - '0');
  }
  return true;
}

// The value as a number, within the directive's bounds. False, with a reason, if it is not one.
bool parse_number(const Directive& directive, std::string_view text, int64_t& value,
                  std::string& reason) {
  switch (directive.kind) {
    case Kind::kYesNo:
      reason = "must be 'yes' or 'no'";
      value = equal_ignoring_case(text, "yes");
      return value || equal_ignoring_case(text, "no");
    case Kind::kChoice:
      reason = "must be one of:";
      for (value = 0; directive.choices[value]; value++) {
        if (equal_ignoring_case(text, directive.choices[value])) return true;
        reason += std::string(" ") + directive.choices[value];
      }
      return false;
    case Kind::kOctal:
      reason = "must be an octal number";
      if (!parse_octal(text, value)) return false;
      break;
    case Kind::kBytes:
      reason = "must be a number of bytes, such as 64mb";
      if (!parse_memory(text, value)) return false;
      break;
    default:
      reason = "must be a whole number";
      if (!parse_integer(text, value)) return false;
  }
  reason = directive.kind == Kind::kOctal ? "must be at most 777"
                                          : "must be between " + std::to_string(directive.least) +
                                                " and " + std::to_string(directive.most);
  return value >= directive.least && value <= directive.most;
}

// One that is not a text.
bool set_value(Config& config, const Directive& directive, std::string_view value,
               std::string& reason) {
  if (directive.kind == Kind::kOutputLimits) {
    return parse_output_limits(value, config.output_limits, reason);
  }
  if (directive.kind == Kind::kSaveRules) {
    return parse_save_rules(value, config.save_rules, reason);
  }
  int64_t number;
  if (!parse_number(directive, value, number, reason)) return false;
  config.*directive.number = number;
  return true;
}

bool set_directive(Config& config, const Directive& directive, std::string_view value,
                   std::string& error) {
  if (directive.text) {
    const bool is_name = directive.text == &Config::appendfilename ||
                         directive.text == &Config::dbfilename ||
                         directive.text == &Config::appenddirname;
    if (is_name && (value.empty() || value.find('/') != std::string_view::npos)) {
      error = "bad value '" + std::string(value) + "' for '" + directive.name +
              "': must be a name, not a path; see --dir";
      return false;
    }
    config.*directive.text = value;
    return true;
  }
  std::string reason;
  if (!set_value(config, directive, value, reason)) {
    error = "bad value '" + std::string(value) + "' for '" + directive.name + "': " + reason;
    return false;
  }
  return true;
}

std::string value_text(const Config& config, const Directive& directive) {
  if (directive.text) return config.*directive.text;
  if (directive.kind == Kind::kOutputLimits) return format_output_limits(config.output_limits);
  if (directive.kind == Kind::kSaveRules) return format_save_rules(config.save_rules);
  const int64_t value = config.*directive.number;
  switch (directive.kind) {
    case Kind::kYesNo:
      return value ? "yes" : "no";
    case Kind::kChoice:
      return directive.choices[value];
    case Kind::kOctal: {
      char octal[16];
      snprintf(octal, sizeof octal, "%o", unsigned(value));
      return octal;
    }
    default:
      return std::to_string(value);
  }
}

// One directive with its values, from wherever.
bool apply(Config& config, const Words& words, std::vector<std::string>& ignored,
           std::string& error) {
  const std::string name(words[0]);
  const Directive* directive = find_directive(name);
  if (!directive) return read_over(words, ignored, error);
  const bool several = directive->kind == Kind::kWords || directive->kind == Kind::kOutputLimits ||
                       directive->kind == Kind::kSaveRules;
  if (words.size() < 2 || (words.size() > 2 && !several)) {
    error = "'" + name + "' takes " + (several ? "values" : "one value");
    return false;
  }
  std::string value = join(words, 1);
  if (directive->kind == Kind::kSaveRules) config.save_was_said = true;
  // Each line of a redis.conf adds to the rules; an empty one takes them away.
  if (directive->kind == Kind::kSaveRules && !value.empty() && config.save_rules.count > 0) {
    value = format_save_rules(config.save_rules) + " " + value;
  }
  return set_directive(config, *directive, value, error);
}

bool read_file(const std::string& path, std::string& text, std::string& error) {
  FILE* file = path == "-" ? stdin : fopen(path.c_str(), "re");
  if (!file) {
    error = "cannot read the config file '" + path + "': " + strerror(errno);
    return false;
  }
  char chunk[4096];
  errno = 0;
  size_t got;
  while (text.size() < kConfigBytesMax && (got = fread(chunk, 1, sizeof chunk, file)) > 0) {
    text.append(chunk, got);
  }
  const int failure = ferror(file) ? errno : 0;
  if (file != stdin) fclose(file);
  if (text.size() >= kConfigBytesMax) {
    error = "the config file '" + path + "' is too large";
    return false;
  }
  if (failure) error = "cannot read the config file '" + path + "': " + strerror(failure);
  return failure == 0;
}

bool apply_file(Config& config, const std::string& path, std::vector<std::string>& ignored,
                std::string& error) {
  std::string text;
  if (!read_file(path, text, error)) return false;
  int line_number = 0;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = std::string_view(text).substr(start, end - start);
    start = end + 1;
    line_number++;
    Words words;
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos || line[first] == '#') continue;
    bool good = split_inline(line, words);
    if (!good) error = "a quote is not closed";
    if (good && words.empty()) continue;
    if (!good || !apply(config, words, ignored, error)) {
      error = path + ":" + std::to_string(line_number) + ": " + error;
      return false;
    }
  }
  config.config_file = path;
  return true;
}

bool is_option(const char* word) { return word[0] == '-' && word[1] == '-' && word[2] != '\0'; }

}  // namespace

bool load_config(int argc, char** argv, Config& config, std::vector<std::string>& ignored,
                 std::string& error) {
  int i = 1;
  if (i < argc && !is_option(argv[i]) && !apply_file(config, argv[i++], ignored, error)) {
    return false;
  }
  while (i < argc) {
    if (!is_option(argv[i])) {
      error = "unexpected argument '" + std::string(argv[i]) + "'";
      return false;
    }
    Words words;
    words.push_back(argv[i++] + 2);
    // --name=value is taken as well.
    const size_t equals = words[0].find('=');
    if (equals != std::string_view::npos) {
      words.push_back(words[0].substr(equals + 1));
      words[0] = words[0].substr(0, equals);
    }
    while (i < argc && !is_option(argv[i])) words.push_back(argv[i++]);
    if (!apply(config, words, ignored, error)) return false;
  }
  if (!config.appendonly && !config.save_was_said) {
    return parse_save_rules(kSaveRulesWithoutLog, config.save_rules, error);
  }
  return true;
}

std::vector<std::pair<std::string, std::string>> config_get(const Config& config,
                                                            std::string_view pattern) {
  std::vector<std::pair<std::string, std::string>> found;
  for (const Directive& directive : kDirectives) {
    if (glob_match(pattern, directive.name, true)) {
      found.emplace_back(directive.name, value_text(config, directive));
    }
  }
  return found;
}

bool config_set(Config& config, std::string_view name, std::string_view value, std::string& error) {
  return set_value(config, *find_directive(name), value, error);
}

bool config_has(std::string_view name) { return find_directive(name); }

bool config_is_changeable(std::string_view name) {
  const Directive* directive = find_directive(name);
  return directive && directive->changeable;
}

EvictRules Config::evict_rules(int64_t now_ms) const {
  const auto value = [](const std::atomic<int64_t>& of) {
    return of.load(std::memory_order_relaxed);
  };
  EvictRules rules;
  rules.policy = EvictPolicy(value(maxmemory_policy));
  rules.samples = unsigned(value(maxmemory_samples));
  rules.usage.kind = is_lfu(rules.policy)   ? Usage::Kind::kFrequency
                     : is_lru(rules.policy) ? Usage::Kind::kRecency
                                            : Usage::Kind::kLazy;
  rules.usage.log_factor = uint32_t(value(lfu_log_factor));
  rules.usage.decay_minutes = uint32_t(value(lfu_decay_minutes));
  rules.now_ms = now_ms;
  return rules;
}

std::string config_usage() {
  std::string text;
  const Config defaults;
  for (const Directive& directive : kDirectives) {
    char line[160];
    snprintf(line, sizeof line, "  --%-28s %s [%s]\n", directive.name, directive.help,
             value_text(defaults, directive).c_str());
    text += line;
  }
  return text;
}

}  // namespace ignix
