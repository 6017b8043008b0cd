// The same seeded stream of commands goes to ignix and to redis-server 7.0, and every reply is
// compared byte for byte. A stream is made of batches; a batch is a pipeline on one of a few
// connections, ended by an ECHO that both servers must reach. IGNIX_TEST_COMMANDS sets the number
// of commands of a run.
// The commands: differential_*.cc.
#include "differential.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "client.h"
#include "durability/dump.h"
#include "random.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

constexpr size_t kConnections = 4;
constexpr size_t kInlineLimitBytes = 2000;

}  // namespace

size_t commands_of_run() {
  const char* text = getenv("IGNIX_TEST_COMMANDS");
  return text != nullptr ? strtoull(text, nullptr, 10) : 100'000;
}

namespace {

// ---- deliberate differences ----

bool is_command(const Argv& argv, const char* name, const char* subcommand = nullptr) {
  if (argv.empty() || strcasecmp(argv[0].c_str(), name) != 0) return false;
  return subcommand == nullptr || (argv.size() > 1 && strcasecmp(argv[1].c_str(), subcommand) == 0);
}

bool same_type(const std::string& ignix, const std::string& redis) {
  return !ignix.empty() && !redis.empty() && ignix[0] == redis[0];
}

bool any_answer(const std::string&, const std::string&) { return true; }

// Digits become one '#', and so does the line with a bulk's length: the shape of a reply with
// times.
std::string without_digits(const std::string& reply) {
  std::string out;
  for (char c : reply) {
    if (!isdigit(uint8_t(c)))
      out += c;
    else if (out.empty() || out.back() != '#')
      out += '#';
  }
  return out;
}

bool same_shape(const std::string& ignix, const std::string& redis) {
  return without_digits(ignix) == without_digits(redis);
}

// Times that are measured against each server's own clock differ by what passes until the other is
// asked.
bool near(const std::string& ignix, const std::string& redis, long long tolerance) {
  if (ignix[0] != ':' || redis[0] != ':') return false;
  const long long ours = atoll(ignix.c_str() + 1), theirs = atoll(redis.c_str() + 1);
  return ours >= 0 && theirs >= 0 && llabs(ours - theirs) <= tolerance;
}
bool near_seconds(const std::string& ignix, const std::string& redis) {
  return near(ignix, redis, 30);
}
bool near_ms(const std::string& ignix, const std::string& redis) {
  return near(ignix, redis, 30'000);
}

// Those of the generators that are absolute (future_expiry()) are the same for both.
bool near_or_same_seconds(const std::string& ignix, const std::string& redis) {
  return near_seconds(ignix, redis) && atoll(ignix.c_str() + 1) / 100'000'000 != 98;
}
bool near_or_same_ms(const std::string& ignix, const std::string& redis) {
  return near_ms(ignix, redis) && atoll(ignix.c_str() + 1) / 100'000'000'000 != 98;
}

// Ignix forgets what made a string, and where Redis says of an integer that it is none, or its own,
// that follows from what made it (ignix-commands(7)). But what Redis says of a whole class of
// strings holds here too.
bool same_encoding(const std::string& ignix, const std::string& redis) {
  static const std::string kInt = bulk("int"), kShort = bulk("embstr"), kLong = bulk("raw");
  if (ignix == kInt) return redis == kShort || redis == kLong;
  return ignix == kShort && redis == kLong;
}

// Redis also counts the word of a queued command that became the value: of a string, and of an
// integer that it has not made one (1,020 by INCRBYFLOAT, say).
bool same_refcount(const std::string& ignix, const std::string& redis) {
  if (ignix == ":1\r\n") return redis == ":2\r\n";
  return ignix == ":2147483647\r\n" && (redis == ":1\r\n" || redis == ":2\r\n");
}

// Of what RESTORE says Ignix keeps 72 days at most, Redis something arbitrary if it is more
// than 97. And in Redis all keys with the same small integer are used together. (That a command is
// a use in both: evict.uses_are_those_of_redis.)
bool near_idle_time(const std::string& ignix, const std::string& redis) {
  if (ignix[0] != ':' || redis[0] != ':') return false;
  const long long ours = atoll(ignix.c_str() + 1), theirs = atoll(redis.c_str() + 1);
  return ours > 71 * 86'400 || ours > theirs - 30;
}

std::vector<std::string> sorted(std::vector<std::string> elements) {
  std::sort(elements.begin(), elements.end());
  return elements;
}

bool same_elements(const std::string& ignix, const std::string& redis) {
  return ignix[0] == '*' && redis[0] == '*' &&
         sorted(elements_of(ignix)) == sorted(elements_of(redis));
}

// Errors are the same; what a walk of many steps finds is compared in differential_scan.cc.
bool both_scanned(const std::string& ignix, const std::string& redis) {
  return ignix.starts_with("*2\r\n") && redis.starts_with("*2\r\n");
}

bool both_bulk(const std::string& ignix, const std::string& redis) {
  return ignix[0] == '$' && redis[0] == '$' && ignix[1] != '-' && redis[1] != '-';
}

// A reply of HELLO without what stands after the fields that name the server and the connection.
std::string without_identity(std::string reply) {
  for (const char* field : {"$6\r\nserver\r\n", "$7\r\nversion\r\n", "$2\r\nid\r\n"}) {
    size_t at = reply.find(field);
    if (at == std::string::npos) continue;
    at += strlen(field);
    ReplyScanner scanner;
    scanner.begin(at);
    if (scanner.advance(reply)) reply.erase(at, scanner.end() - at);
  }
  return reply;
}

bool same_hello(const std::string& ignix, const std::string& redis) {
  return without_identity(ignix) == without_identity(redis);
}

// Both are payloads of the same value, however it is compressed.
bool same_dump(const std::string& ours, const std::string& redis) {
  if (ours == redis) return true;
  std::string values[2];
  for (int i = 0; i < 2; i++) {
    const std::string& reply = i == 0 ? ours : redis;
    const size_t start = reply.find('\n') + 1;
    if (reply[0] != '$' || reply.size() < start + 2) return false;
    const std::string_view payload = std::string_view(reply).substr(start);
    ignix::Buffer value;
    if (ignix::rdb::read_dump(payload.substr(0, payload.size() - 2), value) !=
        ignix::rdb::DumpState::kGood) {
      return false;
    }
    values[i].assign(value.data(), value.size());
  }
  return values[0] == values[1];
}

const Difference kDeliberateDifferences[] = {
    {"TIME", nullptr, "the clock goes on", false, same_shape},
    {"TTL", nullptr, "the clock goes on", false, near_seconds},
    {"PTTL", nullptr, "the clock goes on", false, near_ms},
    {"EXPIRETIME", nullptr, "the clock goes on", false, near_or_same_seconds},
    {"PEXPIRETIME", nullptr, "the clock goes on", false, near_or_same_ms},
    {"OBJECT", "ENCODING", "follows from the value alone", false, same_encoding},
    {"OBJECT", "REFCOUNT", "follows from the value alone", false, same_refcount},
    {"OBJECT", "IDLETIME", "each server has its own clock", false, near_idle_time},
    {"KEYS", nullptr, "keys come in any order", false, same_elements},
    {"SCAN", nullptr, "keys come in any order", false, both_scanned},
    {"RANDOMKEY", nullptr, "any key will do", false, both_bulk},
    {"COMMAND", nullptr, "Redis lists its own commands in any order", true, same_type},
    {"CLIENT", "ID", "each server counts its own clients", false, same_type},
    {"CLIENT", "SETINFO", "Redis knows it from 7.2 on; client libraries send it", false,
     any_answer},
    {"DUMP", nullptr, "each server compresses in its own way", false, same_dump},
    {"HELLO", nullptr, "name, version and connection number are the server's own", false,
     same_hello},
};

bool allowed_to_differ(const Argv& argv, const std::string& ignix, const std::string& redis) {
  for (const Difference& d : kDeliberateDifferences)
    if (is_command(argv, d.command, d.subcommand) && (!d.only_alone || argv.size() == 1))
      return d.allowed(ignix, redis);
  return false;
}

// ---- batches ----

struct Command {
  Argv argv;
  bool is_inline = false;
};

struct Batch {
  std::vector<Command> commands;
  std::vector<size_t> answered;  // indices of the commands that get a reply, in order
  bool closes = false;           // the server closes the connection on the way
  bool in_multi = false;         // a transaction goes on at its end
  std::string bytes;
};

// What is known of a connection.
struct Link {
  bool multi = false;              // a MULTI has no EXEC yet
  bool off = false, skip = false;  // CLIENT REPLY
  std::vector<Argv> queued;        // since MULTI
};

std::string inline_form(const Argv& argv, Random& random) {
  std::string line;
  for (const std::string& argument : argv) {
    if (!line.empty()) line += random.one_in(5) ? "  " : " ";
    bool plain = !argument.empty();
    for (char c : argument)
      plain = plain && c > ' ' && c < 127 && c != '"' && c != '\'' && c != '\\';
    if (plain && (line.empty() || !random.one_in(4)))
      line += argument;
    else
      line += quote(argument, SIZE_MAX);
  }
  return line + (random.one_in(3) ? "\n" : "\r\n");
}

bool is_reply_mode(const Argv& argv, const char* mode) {
  return argv.size() == 3 && is_command(argv, "CLIENT", "REPLY") &&
         strcasecmp(argv[2].c_str(), mode) == 0;
}

// What the connection is like behind the command; returns whether it is answered: a reader of
// replies needs to know whose they are.
bool advance(Link& link, const Argv& argv) {
  const bool skipped = std::exchange(link.skip, false);
  if (!link.multi && is_reply_mode(argv, "ON")) {
    link.off = false;
    return true;
  }
  if (!link.multi && is_reply_mode(argv, "OFF")) {
    link.off = true;
  } else if (!link.multi && is_reply_mode(argv, "SKIP")) {
    link.skip = !link.off;
    return false;
  } else if (is_command(argv, "RESET") && argv.size() == 1) {
    link.off = link.multi = false;
  } else if (is_command(argv, "MULTI") && argv.size() == 1) {
    link.multi = true;
  } else if (is_command(argv, "EXEC") || (is_command(argv, "DISCARD") && argv.size() == 1)) {
    link.multi = false;
  }
  return !link.off && !skipped;
}

struct Choice {
  std::vector<const Generator*> by_weight;
};

Argv any_command(Stream& s, const Choice& choice) {
  const Generator& generator = *s.random.pick_from(choice.by_weight);
  Argv argv = {generator.name};
  if (s.random.one_in(4))
    for (char& c : argv[0]) c = char(s.random.one_in(2) ? tolower(c) : toupper(c));
  generator.make(s, &argv);
  if (s.random.one_in(60) && argv.size() > 1) argv.pop_back();
  if (s.random.one_in(80)) argv.push_back(any_value(s));
  if (s.random.one_in(300)) argv.resize(1);
  if (s.random.one_in(50) && !is_command(argv, "CLIENT", "SETINFO")) {
    const char* const how = s.random.one_in(2) ? "GETKEYS" : "GetKeysAndFlags";
    argv.insert(argv.begin(), {"COMMAND", how});
  }
  // Shorter and then longer again: nobody wants to wait for so long.
  if (is_command(argv, "WAIT") && argv.size() == 3 && argv[1] != "0" && argv[1] != "-1" &&
      argv[2] != "1") {
    argv[2] = "1";
  }
  return argv;
}

// A BITFIELD makes the string long enough before it finds that nothing fits (OVERFLOW FAIL), and a
// PFADD may find damage after it has added something. Redis tells neither who watches the key nor
// its log; Ignix tells both, for the key is another one.
bool may_change_for_nothing(const Argv& argv) {
  if (is_command(argv, "PFADD")) return argv.size() > 3;
  return is_command(argv, "BITFIELD") && argv.size() > 1 &&
         std::any_of(argv.begin(), argv.end(),
                     [](const std::string& word) { return strcasecmp(word.c_str(), "FAIL") == 0; });
}

// Within a transaction nobody could tell which replies come of CLIENT REPLY beforehand (see
// differential_transactions.cc); and to Redis SETINFO is an error that ends it.
bool is_unfit_for_multi(const Argv& argv) {
  return is_command(argv, "CLIENT", "REPLY") || is_command(argv, "CLIENT", "SETINFO");
}

// Transactions are to end, and to begin soon behind a WATCH.
Argv next_command(Stream& s, const Choice& choice, const Link& link, const Batch& batch) {
  if (link.multi && s.random.one_in(10)) return {"EXEC"};
  if (link.multi && s.random.one_in(100)) return {"Discard"};
  const bool watched = !batch.commands.empty() && is_command(batch.commands.back().argv, "WATCH");
  if (!link.multi && watched && s.random.one_in(3)) return {"MULTI"};
  Argv argv = any_command(s, choice);
  while (link.multi && is_unfit_for_multi(argv)) argv = any_command(s, choice);
  return argv;
}

bool has_reply_mode(const Batch& batch) {
  for (const Command& command : batch.commands)
    if (is_command(command.argv, "CLIENT", "REPLY")) return true;
  return false;
}

void add_command(Batch* batch, Link& link, Command command) {
  if (!batch->closes && advance(link, command.argv)) {
    batch->answered.push_back(batch->commands.size());
  }
  batch->closes = batch->closes || is_command(command.argv, "QUIT");
  batch->commands.push_back(std::move(command));
}

Batch make_batch(Stream& s, const Choice& choice, size_t limit, const std::string& token,
                 Link& link) {
  Batch batch;
  size_t count = s.random.one_in(3) ? 1 + s.random.below(5) : 1 + s.random.below(100);
  count = std::min(count, limit);
  for (size_t i = 0; i < count; i++) {
    Command command = {next_command(s, choice, link, batch), false};
    // Redis neither answers nor closes when replies are off at a QUIT; nobody wants that.
    if (is_command(command.argv, "QUIT") && has_reply_mode(batch)) continue;
    if (s.random.one_in(15) && !command.argv[0].empty()) {
      std::string line = inline_form(command.argv, s.random);
      command.is_inline = line.size() <= kInlineLimitBytes;
      if (command.is_inline) batch.bytes += line;
    }
    if (!command.is_inline) append_encoded(command.argv, &batch.bytes);
    const Argv argv = command.argv;
    add_command(&batch, link, std::move(command));
    if (!may_change_for_nothing(argv)) continue;
    // Both tell of this one.
    append_encoded({"APPEND", argv[1], ""}, &batch.bytes);
    add_command(&batch, link, {{"APPEND", argv[1], ""}});
  }
  if (link.multi && !batch.closes && (link.off || link.skip || s.random.one_in(2))) {
    append_encoded({"DISCARD"}, &batch.bytes);
    add_command(&batch, link, {{"DISCARD"}});
  }
  batch.in_multi = link.multi && !batch.closes;
  if (batch.in_multi) {
    append_encoded({"MULTI"}, &batch.bytes);  // an error that does no harm
  } else {
    append_encoded({"CLIENT", "REPLY", "ON"}, &batch.bytes);
    append_encoded({"ECHO", token}, &batch.bytes);
    link.off = link.skip = false;
  }
  return batch;
}

std::vector<std::string> read_until(Client& client, const std::string& last) {
  std::vector<std::string> replies;
  while (true) {
    replies.push_back(client.read_reply());
    if (replies.back() == last || replies.back()[0] == '<') return replies;
  }
}

// Within a transaction nothing but their number tells where the replies to the batch end.
std::vector<std::string> read_replies(Client& client, const Batch& batch,
                                      const std::string& token) {
  if (!batch.in_multi) return read_until(client, bulk(token));
  std::vector<std::string> replies;
  while (replies.size() < batch.answered.size() + 1) {
    replies.push_back(client.read_reply());
    if (replies.back()[0] == '<') break;
  }
  return replies;
}

std::string describe(const Command& command) {
  std::string text;
  for (const std::string& argument : command.argv)
    text += (text.empty() ? "" : " ") + quote(argument, 120);
  return text + (command.is_inline ? "   (inline)" : "");
}

// Long replies are shown around the place where they part.
std::string reply_or_none(const std::vector<std::string>& replies, size_t i, size_t parted) {
  constexpr size_t kShown = 400;
  if (i >= replies.size()) return "(no reply)";
  const std::string& reply = replies[i];
  if (parted < kShown / 2 || reply.size() < kShown) return quote(reply, kShown);
  size_t from = parted - kShown / 4;
  return "from byte " + std::to_string(from) + ": " + quote(reply.substr(from, kShown));
}

size_t first_difference(const std::vector<std::string>& a, const std::vector<std::string>& b,
                        size_t i) {
  if (i >= a.size() || i >= b.size()) return 0;
  size_t length = std::min(a[i].size(), b[i].size());
  return size_t(std::mismatch(a[i].begin(), a[i].begin() + ptrdiff_t(length), b[i].begin()).first -
                a[i].begin());
}

std::string environment() {
  const char* commands = getenv("IGNIX_TEST_COMMANDS");
  return commands == nullptr ? "" : "IGNIX_TEST_COMMANDS=" + std::string(commands) + " ";
}

[[noreturn]] void report(const Batch& batch, size_t reply_index, size_t before, const Link& link,
                         const std::vector<std::string>& ignix,
                         const std::vector<std::string>& redis) {
  std::string text = "ignix and redis differ\n  repeat: " + environment() + how_to_repeat() + "\n";
  size_t at = batch.commands.size();
  if (reply_index < batch.answered.size()) at = batch.answered[reply_index];
  for (size_t i = at < 6 ? 0 : at - 6; i < at && i < batch.commands.size(); i++)
    text += "  before:  " + describe(batch.commands[i]) + "\n";
  for (size_t i = 0; i < link.queued.size(); i++) {
    text += "  queued:  " + std::to_string(i) + ": " + describe({link.queued[i]}) + "\n";
  }
  text += "  number:  " + std::to_string(before + at + 1) + " of the stream, " +
          std::to_string(at + 1) + " of a batch of " + std::to_string(batch.commands.size()) + "\n";
  text += "  command: " +
          (at < batch.commands.size() ? describe(batch.commands[at]) : "(end of the batch)");
  size_t parted = first_difference(ignix, redis, reply_index);
  text += "\n  ignix:   " + reply_or_none(ignix, reply_index, parted);
  text += "\n  redis:   " + reply_or_none(redis, reply_index, parted);
  write_file(case_dir() + "/batch", batch.bytes);
  FAIL(text + "\n  the whole batch is in " + case_dir() + "/batch if --keep is given");
}

bool may_be(const Argv& argv, bool dbsize_is_exact, const std::string& ignix,
            const std::string& redis) {
  if (ignix == redis) return ignix != Client::kTimeout;
  if (!dbsize_is_exact && is_command(argv, "DBSIZE") && same_type(ignix, redis)) return true;
  return allowed_to_differ(argv, ignix, redis);
}

// The replies of what was queued may differ as they may elsewhere.
bool may_be_exec(const Link& link, bool dbsize_is_exact, const std::string& ignix,
                 const std::string& redis) {
  const std::vector<std::string> ours = elements_of(ignix), theirs = elements_of(redis);
  if (ours.size() != link.queued.size() || theirs.size() != ours.size()) return false;
  for (size_t i = 0; i < ours.size(); i++) {
    if (!may_be(link.queued[i], dbsize_is_exact, ours[i], theirs[i])) return false;
  }
  return !ours.empty();
}

void compare(const Batch& batch, size_t before, bool dbsize_is_exact, Link& link,
             const std::vector<std::string>& ignix, const std::vector<std::string>& redis) {
  size_t count = std::max(ignix.size(), redis.size());
  for (size_t i = 0; i < count; i++) {
    bool same = i < ignix.size() && i < redis.size() && ignix[i] == redis[i] &&
                ignix[i] != Client::kTimeout;
    if (i < ignix.size() && i < redis.size() && i < batch.answered.size()) {
      const Argv& argv = batch.commands[batch.answered[i]].argv;
      const bool is_exec = is_command(argv, "EXEC");
      same = same || may_be(argv, dbsize_is_exact, ignix[i], redis[i]) ||
             (is_exec && may_be_exec(link, dbsize_is_exact, ignix[i], redis[i]));
      if (!same) report(batch, i, before, link, ignix, redis);
      if (is_exec || is_command(argv, "DISCARD") || is_command(argv, "RESET")) link.queued.clear();
      if (ignix[i] == "+QUEUED\r\n") link.queued.push_back(argv);
    }
    if (!same) report(batch, i, before, link, ignix, redis);
  }
}

// ---- streams ----

struct Pair {
  explicit Pair(const Stream& s)
      : ignix({.program = Program::kIgnix, .arguments = s.arguments, .appendonly = s.killed}),
        redis({.program = Program::kRedis, .arguments = s.arguments}) {}
  Server ignix;
  Server redis;
  Client ignix_clients[kConnections];
  Client redis_clients[kConnections];
  Link links[kConnections];
};

void open_pair(Pair& pair, size_t c, int resp) {
  pair.ignix_clients[c].connect(pair.ignix);
  pair.redis_clients[c].connect(pair.redis);
  pair.links[c] = {};
  if (resp != 3) return;
  CHECK_EQ(pair.ignix_clients[c].command({"HELLO", "3"})[0], '%');
  CHECK_EQ(pair.redis_clients[c].command({"HELLO", "3"})[0], '%');
}

Choice choose_generators(const Stream& s) {
  Choice choice;
  const auto add = [&choice, &s](const Generator* family, unsigned times) {
    const bool focused = family == s.focus;
    if (focused) times *= 10;
    for (; family->name; family++) {
      const bool out =
          std::find(s.without.begin(), s.without.end(), family->name) != s.without.end();
      if (out && !focused) continue;
      for (unsigned i = 0; i < times * family->weight; i++) choice.by_weight.push_back(family);
    }
  };
  for (const Generator* family : {kServerGenerators, kStringGenerators, kKeyGenerators,
                                  kBitmapGenerators, kHyperloglogGenerators}) {
    add(family, 1);
  }
  add(kTransactionGenerators, s.transactions ? 4 : 1);
  return choice;
}

void compare_keyspaces(Pair& pair, const Stream& s, size_t commands) {
  for (int db = 0; db < kDatabases; db++) {
    Batch batch;
    auto add = [&batch](Argv argv) {
      append_encoded(argv, &batch.bytes);
      batch.answered.push_back(batch.commands.size());
      batch.commands.push_back({std::move(argv), false});
    };
    add({"SELECT", std::to_string(db)});
    if (!s.past_expiry) add({"DBSIZE"});
    for (const std::string& key : s.keys) {
      add({"TYPE", key});
      add({"GET", key});
      add({"PEXPIRETIME", key});
    }
    append_encoded({"ECHO", "the end"}, &batch.bytes);
    CHECK(pair.ignix_clients[0].send(batch.bytes));
    CHECK(pair.redis_clients[0].send(batch.bytes));
    compare(batch, commands, true, pair.links[0],
            read_until(pair.ignix_clients[0], bulk("the end")),
            read_until(pair.redis_clients[0], bulk("the end")));
  }
}

// Every reply has been read by now, so nothing may be missing afterwards.
void kill_and_restart(Pair& pair, const Stream& s) {
  pair.ignix.kill9();
  pair.ignix.restart();
  for (size_t c = 0; c < kConnections; c++) open_pair(pair, c, s.resp);
}

void run_stream(Stream& s, size_t commands) {
  need_redis();
  s.keys = make_keys(s.random);
  if (s.transactions) s.keys.resize(12);
  Pair pair(s);
  pair.ignix.start();
  pair.redis.start();
  for (size_t c = 0; c < kConnections; c++) open_pair(pair, c, s.resp);
  const Choice choice = choose_generators(s);
  size_t done = 0;
  for (size_t number = 0; done < commands; number++) {
    size_t c = s.random.below(kConnections);
    std::string token = "end of batch " + std::to_string(number);
    Batch batch = make_batch(s, choice, commands - done, token, pair.links[c]);
    Client& ignix = pair.ignix_clients[c];
    Client& redis = pair.redis_clients[c];
    // A server that closes on the way may do so before all is sent.
    if (!ignix.send(batch.bytes) && !batch.closes) FAIL("ignix does not take the batch");
    if (!redis.send(batch.bytes) && !batch.closes) FAIL("redis does not take the batch");
    compare(batch, done, !s.past_expiry, pair.links[c], read_replies(ignix, batch, token),
            read_replies(redis, batch, token));
    done += batch.commands.size();
    if (batch.closes) open_pair(pair, c, s.resp);
    if (s.killed && s.random.one_in(300)) kill_and_restart(pair, s);
    if (number % 64 == 0) progress("%zu of %zu", done, commands);
  }
  // Connections may be in either protocol by now.
  open_pair(pair, 0, s.resp);
  compare_keyspaces(pair, s, done);
  if (s.killed) {
    kill_and_restart(pair, s);
    compare_keyspaces(pair, s, done);
  }
  CHECK_EQ(pair.ignix.stop(), 0);
}

TEST_LONG(differential, resp2) {
  Stream s(seed());
  run_stream(s, commands_of_run() * 4 / 10);
}

TEST_LONG(differential, resp3) {
  Stream s(seed());
  s.resp = 3;
  s.killed = true;
  run_stream(s, commands_of_run() * 3 / 10);
}

// Keys whose time is over meet every command. When they leave the count of keys is not defined.
TEST_LONG(differential, past_expiry) {
  Stream s(seed());
  s.past_expiry = true;
  s.killed = true;
  run_stream(s, commands_of_run() * 3 / 10);
}

// Transactions that meet one another, on few keys.
void run_transactions(int resp, bool past_expiry) {
  Stream s(seed());
  s.transactions = s.killed = true;
  s.resp = resp;
  s.past_expiry = past_expiry;
  run_stream(s, commands_of_run() * 2 / 10);
}

TEST_LONG(differential, transactions_resp2) { run_transactions(2, false); }
TEST_LONG(differential, transactions_resp3) { run_transactions(3, false); }
TEST_LONG(differential, transactions_past_expiry) { run_transactions(2, true); }

TEST_LONG(differential, big_values) {
  Stream s(seed());
  s.big_values = true;
  s.killed = true;
  run_stream(s, commands_of_run() / 100);
}

void run_hyperloglogs(bool killed) {
  static const char* const kSparseBytes[] = {"0", "20", "100", "3000", "3000", "3000", "16kb"};
  Stream s(seed());
  s.arguments = {"--hll-sparse-max-bytes", s.random.pick(kSparseBytes)};
  s.focus = kHyperloglogGenerators;
  s.without = {"APPEND", "BITFIELD", "BITOP", "SETBIT", "SETRANGE"};  // see mend_end()
  s.killed = killed;
  s.resp = s.random.one_in(2) ? 3 : 2;
  run_stream(s, commands_of_run() * 3 / 10);
}

TEST_LONG(differential, hyperloglog) { run_hyperloglogs(false); }
TEST_LONG(differential, hyperloglog_killed) { run_hyperloglogs(true); }

// ---- what COMMAND says of each command ----

// Without the notes, which are each server's own words.
std::string without_notes(std::string specs) {
  for (size_t at; (at = specs.find(bulk("notes"))) != std::string::npos;) {
    // A map of RESP2, whose number of elements stands right before its first.
    const size_t star = specs.rfind('*', at);
    size_t end = at;
    for (int i = 0; i < 2; i++) {
      ReplyScanner scanner;
      scanner.begin(end);
      CHECK(scanner.advance(specs));
      end = scanner.end();
    }
    const int elements = atoi(specs.c_str() + star + 1) - 2;
    specs.replace(star, end - star, "*" + std::to_string(elements) + "\r\n");
  }
  return specs;
}

// One line for each property that is not as Redis has it. Subcommands are not looked at: they have
// names of their own.
std::string differences_of(const std::string& name, const std::string& ignix,
                           const std::string& redis) {
  static const char* const kProperties[] = {"name", "arity",      "flags", "first key", "last key",
                                            "step", "categories", "tips",  "key specs"};
  std::vector<std::string> ours = elements_of(ignix), theirs = elements_of(redis);
  if (theirs.size() < std::size(kProperties)) return "";  // newer than Redis 7.0
  if (ours.size() != theirs.size()) return name + ": " + quote(ignix) + "\n";
  std::string text;
  for (size_t i = 0; i < std::size(kProperties); i++) {
    ours[i] = without_notes(ours[i]);
    theirs[i] = without_notes(theirs[i]);
    bool same = ours[i] == theirs[i] || (ours[i][0] == '*' && sorted(elements_of(ours[i])) ==
                                                                  sorted(elements_of(theirs[i])));
    if (!same)
      text += name + ", " + kProperties[i] + ": ignix " + quote(ours[i]) + ", redis " +
              quote(theirs[i]) + "\n";
  }
  return text;
}

// Of COMMAND DOCS: what is said of `field`, or nothing.
std::string doc_of(const std::string& docs, const char* field) {
  const std::vector<std::string> doc = elements_of(docs);
  if (doc.size() != 2) return "";
  const std::vector<std::string> fields = elements_of(doc[1]);
  const auto found = std::find(fields.begin(), fields.end(), bulk(field));
  return fields.end() - found > 1 ? found[1] : "";
}

struct BothServers {
  BothServers() {
    need_redis();
    ignix.start();
    redis.start();
  }
  Server ignix{{.program = Program::kIgnix}}, redis{{.program = Program::kRedis}};
};

TEST(differential, command_properties) {
  BothServers servers;
  Client ours(servers.ignix), theirs(servers.redis);
  std::string text;
  const std::vector<std::string> names = elements_of(ours.command({"COMMAND", "LIST"}));
  CHECK(names.size() >= 100);
  for (const std::string& encoded : names) {
    const std::string name = text_of(encoded);
    std::vector<std::string> a = elements_of(ours.command({"COMMAND", "INFO", name}));
    std::vector<std::string> b = elements_of(theirs.command({"COMMAND", "INFO", name}));
    CHECK_EQ(a.size(), 1);
    CHECK_EQ(b.size(), 1);
    text += differences_of(name, a[0], b[0]);
    if (elements_of(b[0]).empty()) continue;  // newer than Redis 7.0
    const std::string docs = ours.command({"COMMAND", "DOCS", name});
    const std::string redis_docs = theirs.command({"COMMAND", "DOCS", name});
    for (const char* field : {"since", "group", "doc_flags", "deprecated_since", "replaced_by"}) {
      const std::string said = doc_of(docs, field), expected = doc_of(redis_docs, field);
      if (said != expected) {
        text +=
            name + ", " + field + ": ignix " + quote(said) + ", redis " + quote(expected) + "\n";
      }
    }
  }
  if (!text.empty()) FAIL(text);
}

// How many changes a command counts as, for the rules of `save`.
TEST(differential, changes_are_counted) {
  BothServers servers;
  Client ours(servers.ignix), theirs(servers.redis);
  const auto changes = [](Client& client) {
    const std::string info = client.command({"INFO", "persistence"}), field = "_since_last_save:";
    return atoll(info.c_str() + info.find(field) + field.size());
  };
  for (const char* line : {"SET a 1",
                           "MSET a 1 b 2 c 3",
                           "MSETNX a 1 z 2",
                           "MSETNX x 1 y 2",
                           "DEL a b nothing",
                           "DEL nothing",
                           "UNLINK c x y",
                           "APPEND a 1",
                           "INCR a",
                           "SETRANGE a 1 b",
                           "SETBIT a 1 1",
                           "EXPIRE a 1000",
                           "PERSIST a",
                           "PERSIST a",
                           "RENAME a b",
                           "COPY b c",
                           "GETDEL c",
                           "GETSET b 1",
                           "PFADD h a b c",
                           "PFADD h a d",
                           "PFADD i",
                           "BITFIELD f SET u8 0 1 SET u8 8 2",
                           "BITFIELD f SET u8 0 1 SET u8 8 3 GET u8 0",
                           "BITFIELD f SET u8 100 0",
                           "SWAPDB 0 1",
                           "SWAPDB 0 1",
                           "MOVE b 1",
                           "MSET a 1 b 2 c 3",
                           "FLUSHDB",
                           "MSET a 1 b 2 c 3",
                           "FLUSHALL"}) {
    const long long ours_before = changes(ours), theirs_before = changes(theirs);
    CHECK(ours.send(std::string(line) + "\r\n") && theirs.send(std::string(line) + "\r\n"));
    CHECK_EQ(ours.read_reply(), theirs.read_reply());
    const long long our_count = changes(ours) - ours_before;
    const long long their_count = changes(theirs) - theirs_before;
    if (our_count != their_count) {
      FAIL(line + (": ignix " + std::to_string(our_count)) + ", redis " +
           std::to_string(their_count));
    }
  }
}

// What the streams do not send, for it would change the servers.
TEST(differential, administration) {
  BothServers servers;
  for (const char* protocol : {"2", "3"}) {
    Client ours(servers.ignix), theirs(servers.redis);
    ours.command({"HELLO", protocol});
    theirs.command({"HELLO", protocol});
    for (const char* line :
         {"CONFIG GET TimeOut", "CONFIG GET time\\out", "CONFIG GET TIMEOUT timeou[t]",
          "CONFIG GET timeou[t] TIMEOUT", "CONFIG GET nosuch", "CONFIG SET timeout 0 databases",
          "CONFIG SET daemonize no nosuch 1", "CONFIG SET daemonize no daemonize no",
          "CONFIG SET timeout 0 daemonize no", "CONFIG SET timeout abc daemonize no",
          "CONFIG SET timeout 0 TIMEOUT 0", "CONFIG SET nosuch 1", "CONFIG SET timeout 0",
          "COMMAND LIST FILTERBY PATTERN config|g*", "COMMAND LIST FILTERBY MODULE none",
          "COMMAND LIST FILTERBY", "COMMAND GETKEYS MSET a 1 b 2", "BITOP NOT d nothing"}) {
      CHECK(ours.send(std::string(line) + "\r\n") && theirs.send(std::string(line) + "\r\n"));
      const std::string our_reply = ours.read_reply(), their_reply = theirs.read_reply();
      if (our_reply != their_reply) {
        FAIL(line + (": ignix " + quote(our_reply)) + ", redis " + quote(their_reply));
      }
    }
    const std::string list = ours.command({"COMMAND", "LIST"});
    CHECK_EQ(list[0], theirs.command({"COMMAND", "LIST"})[0]);
    CHECK(list.find(bulk("config|get")) != std::string::npos);
  }
}

// A container's HELP names it, and each of its subcommands.
TEST(differential, help_of_containers) {
  Server server;
  server.start();
  Client client(server);
  std::map<std::string, std::set<std::string>> containers;
  for (const std::string& name :
       elements_of(client.command({"COMMAND", "LIST", "FILTERBY", "PATTERN", "*|*"}))) {
    std::string text = text_of(name);
    for (char& c : text) c = char(toupper(uint8_t(c)));
    const size_t bar = text.find('|');
    containers[text.substr(0, bar)].insert(text.substr(bar + 1));
  }
  CHECK(containers.size() >= 5);
  for (const auto& [container, subcommands] : containers) {
    const std::vector<std::string> lines = elements_of(client.command({container, "help"}));
    CHECK(lines.size() > 2);
    CHECK(lines[0].starts_with("+" + container + " <subcommand>"));
    std::set<std::string> named;
    for (size_t i = 1; i < lines.size(); i++) {
      if (isupper(uint8_t(lines[i][1])))
        named.insert(lines[i].substr(1, lines[i].find_first_of(" \r") - 1));
    }
    CHECK(named == subcommands);
  }
}

// ---- requests that are not well-formed ----

std::string plausible_requests(Random& random) {
  std::string bytes;
  size_t count = 1 + random.below(4);
  for (size_t i = 0; i < count; i++) {
    switch (random.below(7)) {
      case 0:
        bytes += "PING\r\n";
        break;
      case 1:
        bytes += "SET a \"b c\"\n";
        break;
      case 2:
        bytes += "ECHO 'it\\'s' extra\r\n";
        break;
      case 3:
        append_encoded({"SET", random.letters(2), random.letters(random.below(20))}, &bytes);
        break;
      case 4:
        append_encoded({"GET", random.letters(1)}, &bytes);
        break;
      case 5:
        append_encoded({"MGET", "a", "", "c"}, &bytes);
        break;
      default:
        append_encoded({"ECHO", random.letters(random.below(300))}, &bytes);
        break;
    }
  }
  return bytes;
}

char any_byte_but_zero(Random& random) {
  static const char kBytes[] = {'*', '$', '\r', '\n', '0',  '1', '9',
                                '-', ' ', '"',  '\'', '\\', '+', ':'};
  return random.one_in(2) ? random.pick(kBytes) : char(1 + random.below(255));
}

// Redis reads an inline request as a C string and so waits for ever on a zero byte; it gets none
// here.
void damage(Random& random, std::string* bytes) {
  static const char* const kLines[] = {"*-1\r\n",
                                       "*0\r\n",
                                       "\r\n",
                                       "*1\r\n$-1\r\n",
                                       "*1\r\n$\r\n",
                                       "*\r\n",
                                       "*2147483648\r\n",
                                       "*1\r\n$536870913\r\n",
                                       "*99999999999999999999\r\n",
                                       "*1\r\n$99999999999999999999\r\n",
                                       "* 1\r\n",
                                       "*+1\r\n",
                                       "*1\r\n:4\r\n",
                                       "*01\r\n",
                                       "*1\r\n$04\r\nPING\r\n",
                                       "*1 \r\n",
                                       "*3\r\n$3\r\nSET\r\n",
                                       "SET \"a\r\n",
                                       "SET 'a\r\n",
                                       "\"a\"b\r\n",
                                       "*1\r\n$0\r\n\r\n",
                                       "\n",
                                       "   \r\n",
                                       "*-2147483649\r\n"};
  if (bytes->empty()) return;
  size_t at = random.below(bytes->size());
  switch (random.below(6)) {
    case 0:
      (*bytes)[at] = any_byte_but_zero(random);
      break;
    case 1:
      bytes->erase(at, 1 + random.below(3));
      break;
    case 2:
      bytes->insert(at, 1, any_byte_but_zero(random));
      break;
    case 3:
      bytes->resize(at);
      break;
    case 4:
      bytes->insert(at, random.pick(kLines));
      break;
    default: {
      // At the start of a line, where a request may begin.
      size_t line = bytes->find('\n', at);
      bytes->insert(line == std::string::npos ? 0 : line + 1, random.pick(kLines));
    }
  }
}

std::string whole_answer(const Server& server, const std::string& bytes) {
  Client client(server);
  client.send(bytes);
  client.shut_write();
  return client.read_until_close();
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) count++;
  return count;
}

TEST(differential, damaged_requests) {
  need_redis();
  Random random(seed());
  Server ignix({.program = Program::kIgnix});
  Server redis({.program = Program::kRedis});
  ignix.start();
  redis.start();
  size_t rounds = std::max<size_t>(commands_of_run() / 20, 100);
  for (size_t i = 0; i < rounds; i++) {
    std::string bytes = plausible_requests(random);
    size_t damages = random.below(4);
    for (size_t d = 0; d < damages; d++) damage(random, &bytes);
    std::string of_ignix = whole_answer(ignix, bytes);
    std::string of_redis = whole_answer(redis, bytes);
    if (of_ignix == of_redis) continue;
    if (count_of(of_ignix, "unknown command") > count_of(of_redis, "unknown command")) {
      // Damage has made a name of a command that only Redis has, and it may have changed something.
      whole_answer(ignix, "FLUSHALL\r\n");
      whole_answer(redis, "FLUSHALL\r\n");
      continue;
    }
    FAIL("ignix and redis differ\n  repeat: " + how_to_repeat() +
         "\n  sent:   " + quote(bytes, 4000) + "\n  ignix:  " + quote(of_ignix, 4000) +
         "\n  redis:  " + quote(of_redis, 4000));
  }
  CHECK(ignix.running());
}

}  // namespace
}  // namespace test
