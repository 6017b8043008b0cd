// CONFIG, TIME and SHUTDOWN.
#include <pthread.h>

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/libc_heap.h"
#include "base/log.h"
#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"
#include "server/open_files.h"
#include "server/server.h"

namespace ignix {
namespace {

void take_effect(Server& server) {
  set_log_level(LogLevel(server.config.loglevel.load()));
  // What was acknowledged is loaded, whatever the limit is.
  if (!server.loading.active) {
    server.keyspace.set_limit_bytes(uint64_t(server.config.maxmemory.load()));
  }
  server.aof.set_policy(FsyncPolicy(server.config.appendfsync.load()));
}

void reply_config_error(Call& call, std::string_view name, const std::string& reason) {
  call.reply.errorf("ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                    int(name.size()), name.data(), reason.c_str());
}

}  // namespace

// A name that is no pattern is told as it was asked for.
void run_config_get(Call& call) {
  struct Less {
    bool operator()(const std::string& a, const std::string& b) const {
      return strcasecmp(a.c_str(), b.c_str()) < 0;
    }
  };
  std::map<std::string, std::string, Less> found;
  for (size_t i = 2; i < call.word_count; i++) {
    const std::string_view word = call.words[i];
    const bool is_pattern = word.find_first_of("[*?") != std::string_view::npos;
    if (!is_pattern && !config_has(word)) continue;
    for (auto& [name, value] : config_get(call.env.server->config, word)) {
      found.emplace(is_pattern ? name : std::string(word), value);
    }
  }
  call.reply.map(int64_t(found.size()));
  for (const auto& [name, value] : found) {
    call.reply.bulk(name);
    call.reply.bulk(value);
  }
}

using Values = std::vector<std::pair<std::string, std::string>>;

static void put_back(Config& config, const Values& before) {
  std::string none;
  for (const auto& [name, value] : before) config_set(config, name, value, none);
}

// False, with the reply, if a name or value cannot be right, whatever the others are.
static bool may_be_set(Call& call) {
  const auto refused = [&](std::string_view name, const char* reason) {
    reply_config_error(call, name, reason);
    return false;
  };
  for (size_t i = 2; i < call.word_count; i += 2) {
    if (!config_has(call.words[i])) {
      call.reply.errorf("ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                        int(call.words[i].size()), call.words[i].data());
      return false;
    }
    if (!config_is_changeable(call.words[i])) {
      return refused(call.words[i], "can't set immutable config");
    }
    if (call.words[i + 1].size() > kConfigBytesMax) {
      return refused(call.words[i], "the value is too long");
    }
    for (size_t j = 2; j < i; j += 2) {
      if (!equal_ignoring_case(call.words[i], call.words[j])) continue;
      return refused(call.words[i], "duplicate parameter");
    }
  }
  return true;
}

static void set_directives(Call& call) {
  if (!may_be_set(call)) return;
  Config& config = call.env.server->config;
  Values before;
  const int64_t clients_before = config.maxclients;
  for (size_t i = 2; i < call.word_count; i += 2) {
    const auto old = config_get(config, call.words[i]);
    std::string error;
    if (!config_set(config, call.words[i], call.words[i + 1], error)) {
      put_back(config, before);
      return reply_config_error(call, old.front().first, error);
    }
    before.insert(before.end(), old.begin(), old.end());
  }
  if (config.maxclients > clients_before) {
    const int64_t possible = descriptors_for_clients(config);
    if (possible < config.maxclients) {
      put_back(config, before);
      return reply_config_error(call, "maxclients",
                                "The operating system is not able to handle the specified number "
                                "of clients, try with " +
                                    std::to_string(possible));
    }
  }
  take_effect(*call.env.server);
  call.reply.ok();
}

// All or nothing: what was set before one that fails is put back. One loop at a time.
void run_config_set(Call& call) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  if (call.word_count % 2) return reply_syntax_error(call);
  pthread_mutex_lock(&lock);
  set_directives(call);
  pthread_mutex_unlock(&lock);
}

void run_config_resetstat(Call& call) {
  Server& server = *call.env.server;
  Server::Baseline& base = server.baseline;
  base.commands = server.total(&LoopStatus::commands);
  base.errors = server.total(&LoopStatus::errors);
  base.connections = server.total(&LoopStatus::connections);
  base.rejected = server.total(&LoopStatus::rejected);
  base.input = server.total(&LoopStatus::input_bytes);
  base.output = server.total(&LoopStatus::output_bytes);
  base.reads = server.total(&LoopStatus::reads);
  base.writes = server.total(&LoopStatus::writes);
  base.expire_slices = server.total(&LoopStatus::expire_slices);
  base.expire_us = server.total(&LoopStatus::expire_us);
  const Server::KeyspaceCounts counts = server.keyspace_counts();
  base.hits = counts.hits;
  base.misses = counts.misses;
  base.expired = counts.expired;
  base.evicted = counts.evicted;
  call.reply.ok();
}

void run_config_help(Call& call) {
  static constexpr const char* kLines[] = {
      "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "GET <pattern> [<pattern> ...]",
      "    The directives whose names match, and their values.",
      "RESETSTAT",
      "    Set the counters of INFO to zero.",
      "SET <directive> <value> [<directive> <value> ...]",
      "    Change directives, all or none.",
      "HELP",
      "    Print this help.",
      nullptr};
  reply_help(call, kLines);
}

void run_time(Call& call) {
  const int64_t now_us = wall_us();
  call.reply.array(2);
  call.reply.bulk_integer(now_us / 1000000);
  call.reply.bulk_integer(now_us % 1000000);
}

// Tidies at once what the loops would tidy by and by.
void run_memory_purge(Call& call) {
  Keyspace& keyspace = call.keyspace();
  for (uint32_t i = 0; i < keyspace.stripe_count(); i++) {
    while (keyspace.maintain(i, true)) continue;
  }
  while (keyspace.purge_shared()) continue;
  give_heap_back();
  call.reply.ok();
}

void run_memory_usage(Call& call) {
  int64_t samples;
  for (size_t i = 3; i < call.word_count; i += 2) {
    if (!equal_ignoring_case(call.words[i], "samples") || i + 1 == call.word_count) {
      return reply_syntax_error(call);
    }
    if (!integer_argument(call, call.words[i + 1], samples)) return;
    if (samples < 0) return reply_syntax_error(call);
  }
  const Entry* entry = find_live(call, call.key(0), Access::kLook);
  if (!entry) return call.reply.null();
  call.reply.integer(int64_t(call.keyspace().memory_bytes(*entry)));
}

void run_memory_help(Call& call) {
  static constexpr const char* kLines[] = {
      "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "PURGE",
      "    Gather what deletions have scattered, and give free memory back to the system.",
      "USAGE <key> [SAMPLES <count>]",
      "    The bytes that a key and its value take.",
      "HELP",
      "    Print this help.",
      nullptr};
  reply_help(call, kLines);
}

// The log is always written and fsynced before the server ends, so NOW changes nothing; NOSAVE and
// FORCE also matter where the log cannot be written. SAVE and NOSAVE are about the RDB file.
void run_shutdown(Call& call) {
  bool save = false, nosave = false, abort = false, force = false, now = false;
  for (size_t i = 1; i < call.word_count; i++) {
    const std::string_view word = call.words[i];
    if (equal_ignoring_case(word, "save")) {
      save = true;
    } else if (equal_ignoring_case(word, "nosave")) {
      nosave = true;
    } else if (equal_ignoring_case(word, "abort")) {
      abort = true;
    } else if (equal_ignoring_case(word, "now")) {
      now = true;
    } else if (equal_ignoring_case(word, "force")) {
      force = true;
    } else {
      return reply_syntax_error(call);
    }
  }
  if ((save && nosave) || (abort && (save || nosave || force || now)))
    return reply_syntax_error(call);
  if (abort) return call.reply.error("ERR No shutdown in progress.");
  const auto id = (unsigned long long)call.session.id;
  if (call.env.server->ring.failure() && !nosave && !force) {
    log_warning(
        "SHUTDOWN of client %llu is refused, for the append-only file cannot be written; with "
        "NOSAVE or FORCE the server stops all the same",
        id);
    return call.reply.error("ERR Errors trying to SHUTDOWN. Check logs.");
  }
  using SaveAtEnd = Server::SaveAtEnd;
  call.env.server->save_at_end = save     ? SaveAtEnd::kYes
                                 : nosave ? SaveAtEnd::kNo
                                          : SaveAtEnd::kByRules;
  log_notice("SHUTDOWN was sent by client %llu, stopping", id);
  call.session.close_after_reply = true;
  call.env.server->request_stop();
}

}  // namespace ignix
