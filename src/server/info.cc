// INFO: text in Redis's sections, with the fields that clients and monitors read, and Ignix's own.
#include <stdio.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/clock.h"
#include "base/number.h"
#include "base/version.h"
#include "command/handlers.h"
#include "server/server.h"

namespace ignix {
namespace {

class Text {
 public:
  void section(const char* name) {
    if (!text_.empty()) text_ += "\r\n";
    text_ += std::string("# ") + name + "\r\n";
  }
  void field(const char* name, std::string_view value) {
    text_ += name;
    text_ += ':';
    text_ += value;
    text_ += "\r\n";
  }
  void field(const char* name, uint64_t value) { field(name, std::to_string(value)); }
  void field_bytes(const char* name, uint64_t bytes) {
    static constexpr const char* kUnits[] = {"B", "K", "M", "G", "T"};
    field(name, bytes);
    double value = double(bytes);
    int unit = 0;
    for (; value >= 1024 && unit < 4; unit++) value /= 1024;
    char human[32];
    snprintf(human, sizeof human, unit ? "%.2f%s" : "%.0f%s", value, kUnits[unit]);
    field((std::string(name) + "_human").c_str(), human);
  }
  void field_seconds(const char* name, const timeval& time) {
    char text[48];
    snprintf(text, sizeof text, "%lld.%06ld", (long long)time.tv_sec, long(time.tv_usec));
    field(name, text);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

uint64_t resident_bytes() {
  uint64_t pages = 0, resident = 0;
  if (FILE* file = fopen("/proc/self/statm", "re")) {
    if (fscanf(file, "%lu %lu", &pages, &resident) != 2) resident = 0;
    fclose(file);
  }
  return resident * uint64_t(sysconf(_SC_PAGESIZE));
}

void server_section(Text& text, Server& server) {
  utsname system;
  uname(&system);
  const int64_t up_seconds = (monotonic_ms() - server.started_ms) / 1000;
  text.field("redis_version", kRedisVersion);
  text.field("ignix_version", kVersion);
  text.field("redis_git_sha1", "00000000");
  text.field("redis_git_dirty", uint64_t(0));
  text.field("redis_mode", "standalone");
  text.field("os", std::string(system.sysname) + " " + system.release + " " + system.machine);
  text.field("arch_bits", uint64_t(8 * sizeof(void*)));
  text.field("multiplexing_api", server.io_name);
  text.field("process_id", uint64_t(getpid()));
  text.field("run_id", server.run_id);
  text.field("tcp_port", uint64_t(server.config.port.load()));
  text.field("server_time_usec", uint64_t(wall_us()));
  text.field("uptime_in_seconds", uint64_t(up_seconds));
  text.field("uptime_in_days", uint64_t(up_seconds / 86400));
  text.field("threads", uint64_t(server.loop_count));
  text.field("executable", server.executable);
  text.field("config_file", server.config.config_file);
}

void clients_section(Text& text, Server& server) {
  text.field("connected_clients", uint64_t(server.client_count()));
  text.field("maxclients", uint64_t(server.config.maxclients.load()));
  text.field("blocked_clients", server.total(&LoopStatus::waiting));
  text.field("output_pending_bytes", server.total(&LoopStatus::output_pending_bytes));
}

void memory_section(Text& text, Server& server) {
  struct sysinfo machine;
  const uint64_t total = sysinfo(&machine) == 0 ? uint64_t(machine.totalram) * machine.mem_unit : 0;
  const uint64_t used = server.keyspace.used_bytes();
  server.note_memory(used);
  text.field_bytes("used_memory", used);
  text.field_bytes("used_memory_rss", resident_bytes());
  text.field_bytes("used_memory_peak", server.peak_memory_bytes);
  text.field_bytes("total_system_memory", total);
  text.field_bytes("used_memory_held", server.keyspace.held_bytes());
  text.field_bytes("maxmemory", uint64_t(server.config.maxmemory.load()));
  for (const auto& [name, value] : config_get(server.config, "maxmemory-policy")) {
    text.field("maxmemory_policy", value);
  }
  text.field("mem_allocator", "ignix");
}

void job_fields(Text& text, const Persist& persist, Persist::Job job, const char* in_progress,
                const char* last_status, const char* last_seconds, const char* current_seconds) {
  const Persist::Status& status = persist.status(job);
  const bool runs = persist.running() == job;
  text.field(in_progress, uint64_t(runs));
  text.field(last_status, status.last_good ? "ok" : "err");
  text.field(last_seconds, std::to_string(status.last_seconds));
  text.field(current_seconds,
             std::to_string(runs ? (monotonic_ms() - status.started_ms) / 1000 : -1));
}

void loading_fields(Text& text, const Server& server) {
  const Server::Loading& loading = server.loading;
  const uint64_t total = std::max<uint64_t>(1, loading.total_bytes);
  const uint64_t loaded = std::min<uint64_t>(total, loading.loaded_bytes);
  const uint64_t passed_ms = uint64_t(std::max<int64_t>(1, wall_ms() - loading.started_ms));
  text.field("loading_start_time", uint64_t(loading.started_ms / 1000));
  text.field("loading_total_bytes", total);
  text.field("loading_loaded_bytes", loaded);
  char percent[16];
  snprintf(percent, sizeof percent, "%.2f", 100.0 * double(loaded) / double(total));
  text.field("loading_loaded_perc", percent);
  text.field("loading_eta_seconds",
             loaded ? uint64_t(double(total - loaded) * double(passed_ms) / double(loaded) / 1000)
                    : uint64_t(1));
}

void persistence_section(Text& text, Server& server) {
  const bool enabled = server.config.appendonly.load();
  const Persist& persist = server.persist;
  const Persist::Job running = persist.running();
  text.field("loading", uint64_t(server.loading.active.load()));
  text.field("async_loading", uint64_t(0));
  text.field("current_save_keys_processed", running ? persist.progress().keys_done.load() : 0);
  text.field("current_save_keys_total", running ? persist.progress().keys_total.load() : 0);
  text.field("rdb_changes_since_last_save", persist.changes_since_save());
  job_fields(text, persist, Persist::kSave, "rdb_bgsave_in_progress", "rdb_last_bgsave_status",
             "rdb_last_bgsave_time_sec", "rdb_current_bgsave_time_sec");
  text.field("rdb_last_save_time", uint64_t(persist.last_save_time()));
  text.field("rdb_saves", persist.status(Persist::kSave).count);
  text.field("aof_enabled", uint64_t(enabled));
  job_fields(text, persist, Persist::kRewrite, "aof_rewrite_in_progress",
             "aof_last_bgrewrite_status", "aof_last_rewrite_time_sec",
             "aof_current_rewrite_time_sec");
  text.field("aof_rewrite_scheduled", uint64_t(persist.is_scheduled(Persist::kRewrite)));
  text.field("aof_rewrites", persist.status(Persist::kRewrite).count);
  text.field("aof_last_write_status", server.ring.failure() ? "err" : "ok");
  text.field("aof_last_fsync_status", server.aof.fsync_failure() ? "err" : "ok");
  if (server.loading.active) loading_fields(text, server);
  if (!enabled) return;
  text.field("aof_current_size", server.aof.size_bytes());
  text.field("aof_base_size", persist.rewritten_bytes());
  const uint64_t taken = server.ring.taken();  // before the tail, which it follows
  text.field("aof_buffer_length", server.ring.tail() - taken);
}

// A RESETSTAT of another loop may have come after the counter was read.
uint64_t since(uint64_t count, const std::atomic<uint64_t>& base) {
  const uint64_t before = base;
  return count > before ? count - before : 0;
}

// Stale are keys that have expired and are still there: what the last walk over them has found.
void expiry_fields(Text& text, Server& server) {
  const uint64_t stale = server.expired_by_last_walk;
  uint64_t expiries = 0;
  server.keyspace.lock_all();
  for (int db = 0; db < server.keyspace.databases(); db++) {
    expiries += server.keyspace.expiry_count(db);
  }
  server.keyspace.unlock_all();
  char percent[16];
  snprintf(percent, sizeof percent, "%.2f",
           100 * double(stale) / double(std::max<uint64_t>(1, stale + expiries)));
  text.field("expired_stale_perc", percent);
  text.field("expired_time_cap_reached_count",
             since(server.total(&LoopStatus::expire_slices), server.baseline.expire_slices));
  text.field("expire_cycle_cpu_milliseconds",
             since(server.total(&LoopStatus::expire_us), server.baseline.expire_us) / 1000);
}

void stats_section(Text& text, Server& server) {
  const Server::Baseline& base = server.baseline;
  const Server::KeyspaceCounts counts = server.keyspace_counts();
  text.field("total_connections_received",
             since(server.total(&LoopStatus::connections), base.connections));
  text.field("total_commands_processed", since(server.total(&LoopStatus::commands), base.commands));
  text.field("instantaneous_ops_per_sec", server.commands_per_second);
  text.field("total_net_input_bytes", since(server.total(&LoopStatus::input_bytes), base.input));
  text.field("total_net_output_bytes", since(server.total(&LoopStatus::output_bytes), base.output));
  char rate[32];
  snprintf(rate, sizeof rate, "%.2f", double(server.input_per_second) / 1024);
  text.field("instantaneous_input_kbps", rate);
  snprintf(rate, sizeof rate, "%.2f", double(server.output_per_second) / 1024);
  text.field("instantaneous_output_kbps", rate);
  text.field("rejected_connections", since(server.total(&LoopStatus::rejected), base.rejected));
  text.field("evicted_keys", since(counts.evicted, base.evicted));
  text.field("expired_keys", since(counts.expired, base.expired));
  expiry_fields(text, server);
  text.field("keyspace_hits", since(counts.hits, base.hits));
  text.field("keyspace_misses", since(counts.misses, base.misses));
  text.field("total_error_replies", since(server.total(&LoopStatus::errors), base.errors));
  text.field("total_reads_processed", since(server.total(&LoopStatus::reads), base.reads));
  text.field("total_writes_processed", since(server.total(&LoopStatus::writes), base.writes));
}

void replication_section(Text& text, Server&) {
  text.field("role", "master");
  text.field("connected_slaves", uint64_t(0));
}

void cpu_section(Text& text, Server&) {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  text.field_seconds("used_cpu_sys", usage.ru_stime);
  text.field_seconds("used_cpu_user", usage.ru_utime);
}

void cluster_section(Text& text, Server&) { text.field("cluster_enabled", uint64_t(0)); }

void keyspace_section(Text& text, Server& server) {
  Keyspace& keyspace = server.keyspace;
  keyspace.lock_all();
  for (int db = 0; db < keyspace.databases(); db++) {
    const uint64_t keys = keyspace.key_count(db);
    if (!keys) continue;
    char value[96];
    snprintf(value, sizeof value, "keys=%llu,expires=%llu,avg_ttl=0", (unsigned long long)keys,
             (unsigned long long)keyspace.expiry_count(db));
    text.field(("db" + std::to_string(db)).c_str(), value);
  }
  keyspace.unlock_all();
}

constexpr struct {
  const char *name, *title;
  void (*write)(Text&, Server&);
} kSections[] = {
    {"server", "Server", server_section},
    {"clients", "Clients", clients_section},
    {"memory", "Memory", memory_section},
    {"persistence", "Persistence", persistence_section},
    {"stats", "Stats", stats_section},
    {"replication", "Replication", replication_section},
    {"cpu", "CPU", cpu_section},
    {"cluster", "Cluster", cluster_section},
    {"keyspace", "Keyspace", keyspace_section},
};

bool is_everything(std::string_view word) {
  for (const char* all : {"all", "default", "everything"}) {
    if (equal_ignoring_case(word, all)) return true;
  }
  return false;
}

}  // namespace

void run_info(Call& call) {
  Text text;
  for (const auto& section : kSections) {
    bool wanted = call.word_count == 1;
    for (size_t i = 1; i < call.word_count; i++) {
      if (is_everything(call.words[i]) || equal_ignoring_case(call.words[i], section.name)) {
        wanted = true;
      }
    }
    if (!wanted) continue;
    text.section(section.title);
    section.write(text, *call.env.server);
  }
  call.reply.verbatim(text.text());
}

}  // namespace ignix
