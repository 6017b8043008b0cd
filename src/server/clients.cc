// CLIENT INFO, CLIENT LIST and CLIENT KILL: who is there.
#include <stdarg.h>
#include <stdio.h>

#include <algorithm>
#include <string>

#include "base/array.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/number.h"
#include "command/access.h"
#include "command/handlers.h"
#include "server/server.h"

namespace ignix {
namespace {

// In Redis's order.
std::string flags_of(const Client& client) {
  std::string flags;
  if (client.shown_queued.load(std::memory_order_relaxed) >= 0) flags += 'x';
  if (client.shown_waiting.load(std::memory_order_relaxed)) flags += 'b';
  if (client.watcher.touched.load(std::memory_order_relaxed)) flags += 'd';
  if (client.local) flags += 'U';
  return flags.empty() ? "N" : flags;
}

// One line, with Redis's fields. Those about what Ignix has not got yet are constant.
std::string describe(Client& client) {
  std::string name, library, version;
  {
    SpinGuard guard(client.names_lock);
    name = client.name;
    library = client.library_name;
    version = client.library_version;
  }
  const int64_t now_ms = monotonic_ms();
  const Command* command = client.last_command.load(std::memory_order_relaxed);
  const uint64_t query = client.query_bytes.load(std::memory_order_relaxed);
  const uint64_t room = client.query_room_bytes.load(std::memory_order_relaxed);
  const uint64_t output = client.output_pending_bytes.load(std::memory_order_relaxed);
  const int64_t queued = client.shown_queued.load(std::memory_order_relaxed);
  const uint64_t queued_bytes = client.shown_queued_bytes.load(std::memory_order_relaxed);
  // Room for the numbers; the names may be of any length.
  std::string line(1024 + name.size() + library.size() + version.size(), '\0');
  const int length = snprintf(
      line.data(), line.size(),
      "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=%d sub=0 psub=0 "
      "ssub=0 multi=%lld qbuf=%llu qbuf-free=%llu argv-mem=0 multi-mem=%llu rbs=0 rbp=0 obl=0 "
      "oll=0 omem=%llu tot-mem=%llu events=r cmd=%s user=default redir=-1 resp=%d "
      "lib-name=%s lib-ver=%s",
      (unsigned long long)client.id, client.address.c_str(), client.local_address.c_str(),
      client.fd, name.c_str(), (long long)((now_ms - client.created_ms) / 1000),
      (long long)((now_ms - client.active_ms.load(std::memory_order_relaxed)) / 1000),
      flags_of(client).c_str(), client.db.load(std::memory_order_relaxed), (long long)queued,
      (unsigned long long)query, (unsigned long long)room, (unsigned long long)queued_bytes,
      (unsigned long long)output,
      (unsigned long long)(sizeof(Client) + query + room + output + queued_bytes),
      command ? command->name : "NULL", client.protocol.load(std::memory_order_relaxed),
      library.c_str(), version.c_str());
  line.resize(size_t(length));
  return line;
}

// What CLIENT LIST was asked for.
struct Filter {
  bool none = false;   // a type of which there are no clients
  Array<int64_t> ids;  // in order; empty: all
};

// `none`: there are no clients of that type. False, and the error is replied, if it is not one.
bool parse_type(Call& call, std::string_view word, bool& none) {
  for (const char* type : {"normal", "master", "slave", "replica", "pubsub"}) {
    if (!equal_ignoring_case(word, type)) continue;
    none = !equal_ignoring_case(type, "normal");
    return true;
  }
  call.reply.errorf("ERR Unknown client type '%.*s'", int(word.size()), word.data());
  return false;
}

bool parse_filter(Call& call, Filter& filter) {
  const auto* words = call.words;
  if (call.word_count == 2) return true;
  if (call.word_count == 4 && equal_ignoring_case(words[2], "type")) {
    return parse_type(call, words[3], filter.none);
  }
  if (call.word_count > 3 && equal_ignoring_case(words[2], "id")) {
    for (size_t i = 3; i < call.word_count; i++) {
      int64_t id;
      if (!parse_integer(words[i], id)) {
        call.reply.error("ERR Invalid client ID");
        return false;
      }
      if (!filter.ids.push(id)) {
        reply_out_of_memory(call);
        return false;
      }
    }
    std::sort(filter.ids.begin(), filter.ids.end());
    return true;
  }
  reply_syntax_error(call);
  return false;
}

}  // namespace

void run_client_info(Call& call) {
  call.reply.verbatim(describe(static_cast<Client&>(call.session)) + "\n");
}

void run_client_list(Call& call) {
  struct Line {
    uint64_t id;
    size_t start, length;  // in `lines`
  };
  Filter filter;
  if (!parse_filter(call, filter)) return;
  Buffer lines, text;
  Array<Line> order;
  bool good = true;
  Server& server = *call.env.server;
  for (int i = 0; i < server.loop_count && !filter.none; i++) {
    server.loops[i].registry.for_each([&](Client& client) {
      const auto& ids = filter.ids;
      if (!ids.empty() && !std::binary_search(ids.begin(), ids.end(), int64_t(client.id))) return;
      const std::string line = describe(client) + "\n";
      good = good && order.push({client.id, lines.size(), line.size()}) && lines.append(line);
    });
  }
  std::sort(order.begin(), order.end(), [](const Line& a, const Line& b) { return a.id < b.id; });
  good = good && text.reserve(lines.size());
  for (size_t i = 0; i < order.size() && good; i++) {
    good = text.append({lines.data() + order[i].start, order[i].length});
  }
  if (!good) return reply_out_of_memory(call);
  call.reply.verbatim({text.data(), text.size()});
}

// ---- CLIENT KILL

namespace {

// Who is meant: a client that fits all that is given.
struct Victims {
  bool none = false;  // a type of which there are no clients
  bool skip_me = true;
  int64_t id = 0;                                                       // 0: any
  const std::string_view *address = nullptr, *local_address = nullptr;  // nullptr: any

  bool fit(const Client& client) const {
    return (id == 0 || uint64_t(id) == client.id) && (!address || *address == client.address) &&
           (!local_address || *local_address == client.local_address);
  }
};

bool parse_victims(Call& call, Victims& victims) {
  for (size_t i = 2; i < call.word_count; i += 2) {
    if (i + 1 == call.word_count) {
      reply_syntax_error(call);
      return false;
    }
    const std::string_view option = call.words[i];
    const std::string_view& value = call.words[i + 1];
    if (equal_ignoring_case(option, "id")) {
      if (!parse_integer(value, victims.id) || victims.id <= 0) {
        call.reply.error("ERR client-id should be greater than 0");
        return false;
      }
    } else if (equal_ignoring_case(option, "type")) {
      if (!parse_type(call, value, victims.none)) return false;
    } else if (equal_ignoring_case(option, "addr")) {
      victims.address = &value;
    } else if (equal_ignoring_case(option, "laddr")) {
      victims.local_address = &value;
    } else if (equal_ignoring_case(option, "user")) {
      if (value != "default") {
        call.reply.errorf("ERR No such user '%.*s'", int(value.size()), value.data());
        return false;
      }
    } else if (equal_ignoring_case(option, "skipme") &&
               (equal_ignoring_case(value, "yes") || equal_ignoring_case(value, "no"))) {
      victims.skip_me = equal_ignoring_case(value, "yes");
    } else {
      reply_syntax_error(call);
      return false;
    }
  }
  return true;
}

// Each loop closes its own, at the end of its turn. Who kills itself hears of it first.
int64_t kill_all(Call& call, const Victims& victims) {
  Server& server = *call.env.server;
  int64_t killed = 0;
  for (int i = 0; i < server.loop_count && !victims.none; i++) {
    bool some = false;
    server.loops[i].registry.for_each([&](Client& client) {
      if (!victims.fit(client)) return;
      if (&client != &call.session) {
        if (client.killed.exchange(true, std::memory_order_relaxed)) return;
        some = true;
      } else if (victims.skip_me) {
        return;
      } else {
        call.session.close_after_reply = true;
      }
      killed++;
    });
    if (!some) continue;
    server.loops[i].kills.store(true, std::memory_order_release);
    server.wake_loop(server, i);
  }
  return killed;
}

}  // namespace

void run_client_kill(Call& call) {
  Victims victims;
  if (call.word_count > 3) {
    if (parse_victims(call, victims)) call.reply.integer(kill_all(call, victims));
    return;
  }
  victims.address = &call.words[2];
  victims.skip_me = false;
  if (kill_all(call, victims) == 0) return call.reply.error("ERR No such client");
  call.reply.ok();
}

}  // namespace ignix
