// The load generator: one thread that keeps many connections busy with one kind of request and
// measures what comes back. It is to cost much less CPU per request than the server it measures:
// requests are copied from templates, replies are only counted, a clock is read once per event.
// It knows RESP and nothing of Ignix.
//
//   load --port 7379 --command get --keys 1m --fill --pipeline 16 --seconds 5 --pid PID

#include <dirent.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

#include <cinttypes>
#include <memory>

#include "flags.h"
#include "histogram.h"
#include "keys.h"
#include "replies.h"
#include "requests.h"
#include "sockets.h"

namespace {

constexpr size_t kReadSize = 256 * 1024;
constexpr uint64_t kSecond = 1000000000;
constexpr uint64_t kStallNs = 20 * kSecond;  // without any reply: the server hangs

struct Options {
  Endpoint server;
  std::string command = "get";
  std::string command_template;
  double get_ratio = 0.9;
  uint64_t multi = 10;
  uint64_t connections = 50;
  uint64_t pipeline = 1;
  uint64_t idle = 0;
  uint64_t keys = 1000000;
  uint64_t key_length = 16;
  std::string prefix;
  uint64_t value_length = 64;
  std::string order = "uniform";
  double zipf_exponent = 0.99;
  uint64_t seed = 1;
  uint64_t requests = 0;
  double seconds = 0;
  double warmup = 0;
  bool fill = false;
  double rate = 0;
  uint64_t pid = 0;
  bool histogram = false;
  bool json = false;
  bool show = false;
};

struct Connection {
  int fd = -1;
  bool wants_write = false;
  uint64_t in_flight = 0;
  uint64_t first = 0;             // where in sent_ns the oldest request in flight stands
  std::vector<uint64_t> sent_ns;  // ring, one place for each request in flight
  ReplyScanner scanner;
  std::vector<char> rest_bytes;  // what the kernel did not take of the last batch
  std::vector<iovec> rest;
  size_t rest_at = 0;
};

// What one run over the connections is to do.
struct Phase {
  const std::vector<Request>* kinds;
  double first_share;  // of requests that are of the first kind; the others are of the second
  KeyStream* keys;
  uint64_t pipeline;
  uint64_t requests;     // 0: no limit
  uint64_t duration_ns;  // 0: no limit
  double interval_ns;    // between two requests; 0: as fast as replies come
};

struct Result {
  uint64_t ops = 0;
  uint64_t unanswered = 0;
  uint64_t elapsed_ns = 0;
  uint64_t server_cpu_ns = 0;
  uint64_t load_cpu_ns = 0;
  uint64_t bytes_in = 0;
  ReplyCounts replies;
  Histogram latency;
};

uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * kSecond + t.tv_nsec;
}

uint64_t own_cpu_ns() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * kSecond + t.tv_nsec;
}

// Time on a CPU of all threads that the process has now, kernel and user together.
uint64_t process_cpu_ns(uint64_t pid) {
  if (!pid) return 0;
  std::string folder = "/proc/" + std::to_string(pid) + "/task";
  DIR* dir = opendir(folder.c_str());
  if (!dir) fail("no process with the id " + std::to_string(pid));
  uint64_t sum = 0;
  while (dirent* entry = readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    FILE* file = fopen((folder + "/" + entry->d_name + "/schedstat").c_str(), "r");
    if (!file) continue;
    uint64_t ns = 0;
    if (fscanf(file, "%" SCNu64, &ns) == 1) sum += ns;
    fclose(file);
  }
  closedir(dir);
  return sum;
}

class Load {
 public:
  Load(const Options& options, const RequestFormat& format)
      : format_(format), tcp_(options.server.unix_path.empty()), buffer_(kReadSize) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    for (uint64_t i = 0; i < options.connections; i++) add_connection(options.server, i);
    for (uint64_t i = 0; i < options.idle; i++) {
      connect_to(options.server, options.connections + i);
    }
  }

  // Runs one phase to its end: all replies have come, or none came for a long time.
  void run(const Phase& phase, uint64_t pid, Result& result);

 private:
  void add_connection(const Endpoint& server, uint64_t index) {
    auto connection = std::make_unique<Connection>();
    connection->fd = connect_to(server, index);
    epoll_event event = {EPOLLIN, {.ptr = connection.get()}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, connection->fd, &event);
    connections_.push_back(std::move(connection));
  }

  void start_phase(const Phase& phase, Result& result);
  void turn();
  int wait(epoll_event* events, int size);
  void handle_readable(Connection& connection);
  void count_replies(Connection& connection, uint64_t replies);
  void refill(Connection& connection);
  void send_due();
  void send_batch(Connection& connection, uint64_t count);
  void send_parts(Connection& connection, iovec* parts, size_t count);
  void keep_rest(Connection& connection, const iovec* parts, size_t count);
  void watch_writes(Connection& connection, bool on);
  double intended_ns(uint64_t index) const { return start_ns_ + index * phase_->interval_ns; }

  const RequestFormat& format_;
  bool tcp_;
  int epoll_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<char> buffer_;
  Batch batch_;
  Random choice_{7};

  // Of the phase under way.
  const Phase* phase_ = nullptr;
  Result* result_ = nullptr;
  uint64_t start_ns_ = 0;
  uint64_t now_ns_ = 0;
  uint64_t last_reply_ns_ = 0;
  uint64_t issued_ = 0;
  uint64_t left_ = 0;
  uint64_t in_flight_ = 0;
  size_t next_connection_ = 0;
};

void Load::run(const Phase& phase, uint64_t pid, Result& result) {
  uint64_t server_before = process_cpu_ns(pid);
  uint64_t load_before = own_cpu_ns();
  start_phase(phase, result);
  while (left_ || in_flight_) {
    turn();
    if (phase.duration_ns && now_ns_ - start_ns_ >= phase.duration_ns) left_ = 0;
    if (in_flight_ && now_ns_ - last_reply_ns_ > kStallNs) break;
  }
  result.unanswered = in_flight_;
  result.elapsed_ns = last_reply_ns_ - start_ns_;
  result.load_cpu_ns = own_cpu_ns() - load_before;
  result.server_cpu_ns = process_cpu_ns(pid) - server_before;
}

void Load::start_phase(const Phase& phase, Result& result) {
  phase_ = &phase;
  result_ = &result;
  issued_ = 0;
  left_ = phase.requests ? phase.requests : UINT64_MAX;
  batch_.reserve(phase.pipeline, *phase.kinds);
  for (auto& connection : connections_) {
    connection->sent_ns.assign(phase.pipeline, 0);
    connection->first = 0;
  }
  start_ns_ = now_ns_ = last_reply_ns_ = now_ns();
  if (phase.interval_ns > 0) return;
  for (auto& connection : connections_) refill(*connection);
}

// One round: wait, read, and send what follows from the replies or from the clock.
void Load::turn() {
  epoll_event events[256];
  if (phase_->interval_ns > 0) send_due();
  int ready = wait(events, 256);
  now_ns_ = now_ns();
  for (int i = 0; i < ready; i++) {
    auto& connection = *static_cast<Connection*>(events[i].data.ptr);
    if (events[i].events & EPOLLOUT) {
      iovec* parts = connection.rest.data() + connection.rest_at;
      send_parts(connection, parts, connection.rest.size() - connection.rest_at);
    }
    if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) handle_readable(connection);
  }
}

int Load::wait(epoll_event* events, int size) {
  uint64_t timeout = kSecond / 10;
  if (phase_->interval_ns > 0 && left_) {
    double gap = intended_ns(issued_) - now_ns_;
    timeout = gap < 0 ? timeout : std::min<uint64_t>(timeout, gap);
    // A wait that is shorter than a wake-up takes would come too late.
    if (timeout < 20000) timeout = 0;
  }
  timespec t = {0, static_cast<long>(timeout)};
  return epoll_pwait2(epoll_, events, size, &t, nullptr);
}

void Load::handle_readable(Connection& connection) {
  ReplyScanner& scanner = connection.scanner;
  bool drop = tcp_ && scanner.skip > kReadSize;  // let the kernel throw the payload away
  size_t size = drop ? scanner.skip : buffer_.size();
  ssize_t got = recv(connection.fd, drop ? nullptr : buffer_.data(), size, drop ? MSG_TRUNC : 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    std::string why = got == 0 ? "the server closed a connection" : strerror(errno);
    if (result_->replies.errors) why += "; first error: " + result_->replies.first_error;
    fail(why);
  }
  now_ns_ = now_ns();
  result_->bytes_in += got;
  uint64_t replies =
      drop ? scanner.discard(got) : scanner.feed(buffer_.data(), got, result_->replies);
  if (scanner.broken) fail("the server sent something that is not RESP");
  if (replies) count_replies(connection, replies);
}

void Load::count_replies(Connection& connection, uint64_t replies) {
  if (replies > connection.in_flight) fail("more replies than requests");
  for (uint64_t i = 0; i < replies; i++) {
    uint64_t sent = connection.sent_ns[connection.first];
    if (++connection.first == phase_->pipeline) connection.first = 0;
    result_->latency.add(now_ns_ > sent ? now_ns_ - sent : 0);
  }
  connection.in_flight -= replies;
  in_flight_ -= replies;
  result_->ops += replies;
  last_reply_ns_ = now_ns_;
  bool ready = connection.in_flight == 0 && !connection.wants_write;
  if (ready && phase_->interval_ns == 0) refill(connection);
}

// A whole pipeline at once, when all replies to the one before have come.
void Load::refill(Connection& connection) {
  if (left_) send_batch(connection, std::min(left_, phase_->pipeline));
}

// With a fixed rate: all requests whose time has come, spread over the connections that have
// room. Those that find none wait, and their waiting counts.
void Load::send_due() {
  now_ns_ = now_ns();
  if (!left_ || intended_ns(issued_) > now_ns_) return;
  uint64_t due = static_cast<uint64_t>((now_ns_ - start_ns_) / phase_->interval_ns) + 1 - issued_;
  due = std::min(due, left_);
  uint64_t share = (due + connections_.size() - 1) / connections_.size();
  for (size_t i = 0; i < connections_.size() && due; i++) {
    Connection& connection = *connections_[next_connection_];
    if (++next_connection_ == connections_.size()) next_connection_ = 0;
    if (connection.wants_write) continue;
    uint64_t count = std::min({share, due, phase_->pipeline - connection.in_flight});
    if (!count) continue;
    send_batch(connection, count);
    due -= count;
  }
}

void Load::send_batch(Connection& connection, uint64_t count) {
  const std::vector<Request>& kinds = *phase_->kinds;
  uint64_t place = connection.first + connection.in_flight;
  batch_.clear();
  for (uint64_t i = 0; i < count; i++, place++) {
    bool first = kinds.size() == 1 || choice_.real() < phase_->first_share;
    batch_.add(kinds[first ? 0 : 1], format_, *phase_->keys);
    double sent = phase_->interval_ns > 0 ? intended_ns(issued_ + i) : now_ns_;
    connection.sent_ns[place % phase_->pipeline] = static_cast<uint64_t>(sent);
  }
  batch_.finish();
  connection.in_flight += count;
  in_flight_ += count;
  issued_ += count;
  if (left_ != UINT64_MAX) left_ -= count;
  send_parts(connection, batch_.parts.data(), batch_.parts.size());
}

// Writes all that the kernel takes now and keeps the rest for when it takes more.
void Load::send_parts(Connection& connection, iovec* parts, size_t count) {
  while (count) {
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = std::min<size_t>(count, 1024);
    ssize_t sent = sendmsg(connection.fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) fail(std::string("write: ") + strerror(errno));
    if (sent < 0) break;
    size_t left = sent;
    while (count && left >= parts->iov_len) left -= parts->iov_len, parts++, count--;
    if (left) {
      parts->iov_base = static_cast<char*>(parts->iov_base) + left;
      parts->iov_len -= left;
    }
  }
  if (count) keep_rest(connection, parts, count);
  if ((count != 0) != connection.wants_write) watch_writes(connection, count != 0);
}

// The batch's memory serves the next connection, so its bytes are copied; the shared value is
// not. What is kept already stays where it is.
void Load::keep_rest(Connection& connection, const iovec* parts, size_t count) {
  if (connection.wants_write) {
    connection.rest_at = parts - connection.rest.data();
    return;
  }
  size_t total = 0;
  auto shared = [&](const iovec& part) {
    const char* p = static_cast<const char*>(part.iov_base);
    return p >= format_.value.data() && p < format_.value.data() + format_.value.size();
  };
  for (size_t i = 0; i < count; i++) total += shared(parts[i]) ? 0 : parts[i].iov_len;
  connection.rest_bytes.resize(total);
  connection.rest.assign(parts, parts + count);
  connection.rest_at = 0;
  char* to = connection.rest_bytes.data();
  for (iovec& part : connection.rest) {
    if (shared(part)) continue;
    memcpy(to, part.iov_base, part.iov_len);
    part.iov_base = to;
    to += part.iov_len;
  }
}

void Load::watch_writes(Connection& connection, bool on) {
  connection.wants_write = on;
  epoll_event event = {EPOLLIN, {.ptr = &connection}};
  if (on) event.events |= EPOLLOUT;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
}

Options parse_options(int argc, char** argv) {
  Options o;
  const Flag flags[] = {
      {"--host", Flag::kText, &o.server.host, "IPv4 address of the server [127.0.0.1]"},
      {"--port", Flag::kNumber, &o.server.port, "its port"},
      {"--unix", Flag::kText, &o.server.unix_path, "or the path of its unix socket"},
      {"--command", Flag::kText, &o.command, "get set mixed incr mget mset append ping raw [get]"},
      {"--template", Flag::kText, &o.command_template,
       "for raw: a command with {key} and {value} in it, as 'HSET {key} f {value}'"},
      {"--get-ratio", Flag::kReal, &o.get_ratio, "for mixed: share of GETs, the rest SETs [0.9]"},
      {"--multi", Flag::kNumber, &o.multi, "keys of one MGET or MSET [10]"},
      {"--connections", Flag::kNumber, &o.connections, "that send [50]"},
      {"--pipeline", Flag::kNumber, &o.pipeline, "requests in flight per connection [1]"},
      {"--idle", Flag::kNumber, &o.idle, "further connections that send nothing [0]"},
      {"--keys", Flag::kNumber, &o.keys, "number of different keys [1m]"},
      {"--key-length", Flag::kNumber, &o.key_length, "bytes of every key [16]"},
      {"--prefix", Flag::kText, &o.prefix,
       "what keys start with [key:, for incr cnt:, for append app:]"},
      {"--value-length", Flag::kNumber, &o.value_length, "bytes of every value [64]"},
      {"--order", Flag::kText, &o.order, "uniform, zipf or sequential [uniform]"},
      {"--zipf", Flag::kReal, &o.zipf_exponent, "exponent of zipf [0.99]"},
      {"--seed", Flag::kNumber, &o.seed, "of the choice of keys [1]"},
      {"--fill", Flag::kSwitch, &o.fill, "first SET every key once, in sequence"},
      {"--warmup", Flag::kReal, &o.warmup, "seconds of the same load before measuring [0]"},
      {"--requests", Flag::kNumber, &o.requests, "end after as many"},
      {"--seconds", Flag::kReal, &o.seconds, "end after this time"},
      {"--rate", Flag::kReal, &o.rate,
       "requests per second; latency counts from the time at which each was due"},
      {"--pid", Flag::kNumber, &o.pid, "the server's process: report its CPU time"},
      {"--histogram", Flag::kSwitch, &o.histogram, "print the histogram of latencies"},
      {"--json", Flag::kSwitch, &o.json, "print one line of JSON instead of text"},
      {"--show", Flag::kSwitch, &o.show, "only print the first request and its length"},
  };
  parse_flags(flags, "load: loads a Redis-compatible server and measures it\n", argc, argv);
  if (o.prefix.empty()) {
    // Counters and growing values keep out of the way of the values that --fill sets.
    o.prefix = o.command == "incr" ? "cnt:" : o.command == "append" ? "app:" : "key:";
  }
  return o;
}

void check_options(const Options& o) {
  if (!o.show && !o.server.port && o.server.unix_path.empty()) fail("--port or --unix is needed");
  if (o.server.port > 65535) fail("--port: not a port: " + std::to_string(o.server.port));
  if (!o.connections || !o.pipeline || !o.keys || !o.multi) {
    fail("--connections, --pipeline, --keys and --multi must be above 0");
  }
  if (o.order != "uniform" && o.order != "zipf" && o.order != "sequential") {
    fail("--order: not uniform, zipf or sequential: " + o.order);
  }
  if (o.order == "zipf" && (o.keys > UINT32_MAX || o.zipf_exponent <= 0)) {
    fail("--order zipf: needs --keys below 4294967296 and --zipf above 0");
  }
  if (o.rate < 0 || o.seconds < 0 || o.warmup < 0) fail("--rate and times must not be negative");
}

// The arguments of each kind of request that the command sends.
std::vector<std::vector<std::string>> commands_of(const Options& o) {
  std::vector<std::string> get = {"GET", "{key}"}, set = {"SET", "{key}", "{value}"};
  if (o.command == "get") return {get};
  if (o.command == "set") return {set};
  if (o.command == "mixed") return {get, set};
  if (o.command == "incr") return {{"INCR", "{key}"}};
  if (o.command == "append") return {{"APPEND", "{key}", "{value}"}};
  if (o.command == "ping") return {{"PING"}};
  if (o.command == "raw") {
    std::vector<std::string> words = split_words(o.command_template);
    if (words.empty()) fail("--command raw: needs --template");
    return {words};
  }
  bool mget = o.command == "mget";
  if (!mget && o.command != "mset") fail("--command: unknown: " + o.command);
  std::vector<std::string> words = {mget ? "MGET" : "MSET"};
  for (uint64_t i = 0; i < o.multi; i++) {
    words.push_back("{key}");
    if (!mget) words.push_back("{value}");
  }
  return {words};
}

// Letters that do not repeat soon.
std::string make_value(size_t length) {
  Random random{42};
  std::string value(length, 'x');
  for (char& c : value) c = 'a' + random.below(26);
  return value;
}

double per(double value, double count) { return count > 0 ? value / count : 0; }

void print_text(const Options& o, const Result& r, const Result& filled, size_t wire_bytes) {
  const Histogram& h = r.latency;
  if (filled.ops) {
    printf("fill        %" PRIu64 " keys in %.2f s: %.0f a second, %.0f ns of server CPU each\n",
           filled.ops, filled.elapsed_ns / 1e9, per(filled.ops, filled.elapsed_ns / 1e9),
           per(filled.server_cpu_ns, filled.ops));
  }
  printf("requests    %" PRIu64 " in %.3f s: %.0f a second\n", r.ops, r.elapsed_ns / 1e9,
         per(r.ops, r.elapsed_ns / 1e9));
  printf("bytes       %zu a request, %.1f a reply\n", wire_bytes, per(r.bytes_in, r.ops));
  printf("errors      %" PRIu64 "%s%s\n", r.replies.errors, r.replies.errors ? ", first: " : "",
         r.replies.first_error.c_str());
  printf("misses      %" PRIu64 "\n", r.replies.misses);
  if (r.unanswered) printf("unanswered  %" PRIu64 "\n", r.unanswered);
  printf("latency us  mean %.1f  p50 %.1f  p99 %.1f  p99.9 %.1f  max %.1f\n",
         per(h.sum_ns, h.total) / 1e3, h.percentile_ns(0.5) / 1e3, h.percentile_ns(0.99) / 1e3,
         h.percentile_ns(0.999) / 1e3, h.max_ns / 1e3);
  if (o.pid) {
    printf("server CPU  %.0f ns a request, %.2f cores\n", per(r.server_cpu_ns, r.ops),
           per(r.server_cpu_ns, r.elapsed_ns));
  }
  printf("load CPU    %.0f ns a request, %.2f cores\n", per(r.load_cpu_ns, r.ops),
         per(r.load_cpu_ns, r.elapsed_ns));
}

void print_histogram(const Histogram& h) {
  uint64_t seen = 0;
  printf("%14s %12s %9s %9s\n", "up to us", "requests", "%", "sum %");
  for (int exponent = 0; exponent <= Histogram::kMaxExponent; exponent++) {
    uint64_t count = h.count_in_octave(exponent);
    seen += count;
    if (!count) continue;
    printf("%14.3f %12" PRIu64 " %9.4f %9.4f ", (uint64_t{2} << exponent) / 1e3, count,
           100.0 * count / h.total, 100.0 * seen / h.total);
    for (uint64_t i = 0; i < 40 * count / h.total; i++) putchar('#');
    putchar('\n');
  }
}

void print_json_text(const char* name, const std::string& text) {
  printf(",\"%s\":\"", name);
  for (unsigned char c : text) {
    if (c == '"' || c == '\\')
      printf("\\%c", c);
    else if (c < 32 || c > 126)
      printf("\\u%04x", c);
    else
      putchar(c);
  }
  putchar('"');
}

void print_json(const Options& o, const Result& r, const Result& filled, size_t wire_bytes) {
  const Histogram& h = r.latency;
  double seconds = r.elapsed_ns / 1e9;
  printf("{\"ops\":%" PRIu64 ",\"seconds\":%.6f,\"ops_per_s\":%.1f,\"errors\":%" PRIu64
         ",\"misses\":%" PRIu64 ",\"unanswered\":%" PRIu64,
         r.ops, seconds, per(r.ops, seconds), r.replies.errors, r.replies.misses, r.unanswered);
  print_json_text("first_error", r.replies.first_error);
  printf(",\"mean_us\":%.3f,\"p50_us\":%.3f,\"p99_us\":%.3f,\"p999_us\":%.3f,\"max_us\":%.3f",
         per(h.sum_ns, h.total) / 1e3, h.percentile_ns(0.5) / 1e3, h.percentile_ns(0.99) / 1e3,
         h.percentile_ns(0.999) / 1e3, h.max_ns / 1e3);
  printf(",\"server_cpu_ns_per_op\":%.2f,\"server_cores\":%.4f", per(r.server_cpu_ns, r.ops),
         per(r.server_cpu_ns, r.elapsed_ns));
  printf(",\"load_cpu_ns_per_op\":%.2f,\"load_cores\":%.4f", per(r.load_cpu_ns, r.ops),
         per(r.load_cpu_ns, r.elapsed_ns));
  printf(",\"request_bytes\":%zu,\"reply_bytes\":%.2f", wire_bytes, per(r.bytes_in, r.ops));
  printf(",\"fill_ops\":%" PRIu64 ",\"fill_seconds\":%.6f,\"fill_errors\":%" PRIu64
         ",\"fill_cpu_ns_per_op\":%.2f",
         filled.ops, filled.elapsed_ns / 1e9, filled.replies.errors,
         per(filled.server_cpu_ns, filled.ops));
  if (o.histogram) {
    // Pairs: the upper end in ns of a power of two, and how many requests lie below it.
    const char* separator = ",\"histogram\":[";
    for (int exponent = 0; exponent <= Histogram::kMaxExponent; exponent++) {
      uint64_t count = h.count_in_octave(exponent);
      if (!count) continue;
      printf("%s[%" PRIu64 ",%" PRIu64 "]", separator, uint64_t{2} << exponent, count);
      separator = ",";
    }
    printf("%s]", h.total ? "" : ",\"histogram\":[");
  }
  printf("}\n");
}

void show_request(const Request& request) {
  for (unsigned char c : request.bytes) {
    if (c == '\r')
      printf("\\r");
    else if (c == '\n')
      printf("\\n");
    else
      putchar(c);
  }
  printf("\n%zu bytes%s\n", request.wire_bytes,
         request.value_cuts.empty() ? "" : " with the value, which is not shown");
}

RequestFormat make_format(const Options& o) {
  RequestFormat format = {key_format(o.prefix, o.key_length, o.keys), make_value(o.value_length)};
  if (!format.key.length) fail("--key-length: too short for that many --keys");
  return format;
}

void run_fill(Load& load, const Options& o, const RequestFormat& format, Result& result) {
  std::vector<Request> kinds = {format.build({"SET", "{key}", "{value}"})};
  KeyStream keys(KeyStream::kSequential, o.keys, 0, 0);
  // Deep enough to be quick, but not a heap of large values.
  uint64_t pipeline = o.value_length < RequestFormat::kLargeValue ? 64 : 1;
  load.run({&kinds, 1, &keys, pipeline, o.keys, 0, 0}, o.pid, result);
  if (result.replies.errors) fail("error while filling: " + result.replies.first_error);
  if (result.unanswered) fail("the server stopped answering while filling");
}

}  // namespace

int main(int argc, char** argv) {
  Options o = parse_options(argc, argv);
  check_options(o);
  RequestFormat format = make_format(o);
  std::vector<Request> kinds;
  for (const auto& args : commands_of(o)) kinds.push_back(format.build(args));
  if (o.show) {
    for (const Request& kind : kinds) show_request(kind);
    return 0;
  }
  raise_descriptor_limit();
  prctl(PR_SET_TIMERSLACK, 1);

  Load load(o, format);
  auto filled = std::make_unique<Result>();
  auto warm = std::make_unique<Result>();
  auto result = std::make_unique<Result>();
  if (o.fill) run_fill(load, o, format, *filled);
  auto order = o.order == "zipf"         ? KeyStream::kZipf
               : o.order == "sequential" ? KeyStream::kSequential
                                         : KeyStream::kUniform;
  KeyStream keys(order, o.keys, o.zipf_exponent, o.seed);
  uint64_t duration_ns = static_cast<uint64_t>(o.seconds * kSecond);
  double interval_ns = o.rate > 0 ? kSecond / o.rate : 0;
  Phase phase = {&kinds, o.get_ratio, &keys, o.pipeline, o.requests, duration_ns, interval_ns};
  if (o.warmup > 0) {
    Phase before = phase;
    before.requests = 0;
    before.duration_ns = static_cast<uint64_t>(o.warmup * kSecond);
    load.run(before, o.pid, *warm);
  }
  if (o.requests || duration_ns) load.run(phase, o.pid, *result);

  size_t wire_bytes = kinds[0].wire_bytes;
  if (o.json)
    print_json(o, *result, *filled, wire_bytes);
  else
    print_text(o, *result, *filled, wire_bytes);
  if (o.histogram && !o.json && result->latency.total) print_histogram(result->latency);
  return result->replies.errors || result->unanswered ? 1 : 0;
}
