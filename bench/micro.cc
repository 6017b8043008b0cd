// What the server's parts cost by themselves, without sockets, threads and the kernel: the parser,
// the hash, the heap and the keyspace. Linked with the server's own objects.
//
// A round makes its keys first and then runs its operations against the clock. The keys of each
// round are others, so that a large keyspace is not in the caches. The figure is the median of the
// rounds.
//
//   micro --keys 10k,1m --filter 'batch 64'

#include <time.h>

#include <algorithm>
#include <memory>

#include "base/hash.h"
#include "flags.h"
#include "keys.h"
#include "resp/parser.h"
#include "store/heap.h"
#include "store/keyspace.h"
#include "store/string.h"

namespace {

constexpr size_t kKeyBytes = 16;
constexpr size_t kValueBytes = 64;
constexpr size_t kPipeline = 64;
constexpr size_t kOperations = 4096 * kPipeline;  // of one round
constexpr uint32_t kClock = 1;                    // of all entries: reading one does not write it
constexpr uint64_t kAbsent = uint64_t{1} << 40;   // key numbers from here on are not stored

struct Options {
  std::string keys = "10k,1m,10m";
  uint64_t rounds = 5;
  std::string filter;
};

// One line of the table.
struct Row {
  std::string what;
  std::string keys = "";
  std::string batch = "";

  std::string name() const {
    std::string text = what;
    if (!keys.empty()) text += ", " + keys + " keys";
    if (!batch.empty()) text += ", batch " + batch;
    return text;
  }
};

// Results go here, so that the compiler cannot leave their making out.
volatile uint64_t sink;

uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * uint64_t{1000000000} + t.tv_nsec;
}

bool wanted(const Options& options, const Row& row) {
  return row.name().find(options.filter) != std::string::npos;
}

void print_header() {
  printf("| operation | keys | batch | ns |\n|---|---|---|---|\n");
  fflush(stdout);
}

// prepare() is not measured; run() does kOperations operations.
template <typename Prepare, typename Run>
void measure(const Options& options, const Row& row, Prepare prepare, Run run) {
  if (!wanted(options, row)) return;
  fprintf(stderr, "%s\n", row.name().c_str());
  std::vector<double> ns;
  for (uint64_t i = 0; i < options.rounds; i++) {
    prepare();
    const uint64_t start = now_ns();
    run();
    ns.push_back(double(now_ns() - start) / kOperations);
  }
  std::nth_element(ns.begin(), ns.begin() + ns.size() / 2, ns.end());
  printf("| %s | %s | %s | %.1f |\n", row.what.c_str(), row.keys.c_str(), row.batch.c_str(),
         ns[ns.size() / 2]);
  fflush(stdout);
}

// ---- parser

std::string multibulk(const std::vector<std::string>& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return text;
}

std::string inline_command(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text + "\r\n";
}

// Parses all commands of a pipeline, as a loop does with what it has received.
void parse_pipeline(const std::string& input, ignix::Parser& parser, ignix::Words& words) {
  const ignix::Parser::Limits limits = {512 << 20};
  for (size_t at = 0; at < input.size(); at += parser.consumed()) {
    const auto status = parser.parse(input.data() + at, input.size() - at, limits, words);
    if (status != ignix::ParseStatus::kCommand) fail("the parser refuses a command");
  }
  sink = sink + words.size();
  words.reset();
}

void measure_parser(const Options& options, const char* what, const std::string& command) {
  std::string input;
  for (size_t i = 0; i < kPipeline; i++) input += command;
  ignix::Parser parser;
  ignix::Words words;
  measure(
      options, {what}, [] {},
      [&] {
        for (size_t i = 0; i < kOperations / kPipeline; i++) parse_pipeline(input, parser, words);
      });
}

void measure_parsers(const Options& options) {
  const std::vector<std::string> get = {"GET", std::string(kKeyBytes, 'k')};
  const std::vector<std::string> set = {"SET", get[1], std::string(kValueBytes, 'v')};
  measure_parser(options, "parse GET", multibulk(get));
  measure_parser(options, "parse SET", multibulk(set));
  measure_parser(options, "parse GET, inline", inline_command(get));
  measure_parser(options, "parse SET, inline", inline_command(set));
}

// ---- hash

void measure_hash(const Options& options, size_t key_bytes) {
  const ignix::HashSecret secret = {1, 2};
  std::string texts(kOperations + key_bytes, 'k');
  Random random{3};
  for (char& c : texts) c = static_cast<char>(random.next());
  measure(
      options, {"hash of " + std::to_string(key_bytes) + " bytes"}, [] {},
      [&] {
        uint64_t sum = 0;
        for (size_t i = 0; i < kOperations; i++) {
          sum += hash_bytes(secret, {texts.data() + i, key_bytes});
        }
        sink = sink + sum;
      });
}

// ---- heap

struct Place {
  ignix::Ref ref;
  size_t bytes;
};

struct Replacement {
  uint32_t place;
  uint32_t bytes;
};

// Among many places in use, one after the other is freed at random and another allocated.
void measure_heap(const Options& options, const char* what, size_t least, size_t most) {
  if (!wanted(options, {what})) return;
  constexpr size_t kPlaces = 65536;
  auto pool = std::make_unique<ignix::EntryPool>();
  if (!pool->open(size_t{1} << 30, nullptr)) fail("no address space for the heap");
  ignix::EntryHeap heap;
  heap.open(pool.get());
  Random random{5};
  const auto any_size = [&] { return least + random.below(most - least + 1); };
  std::vector<Place> places(kPlaces);
  for (Place& place : places) {
    place.bytes = any_size();
    place.ref = heap.allocate(place.bytes);
  }
  std::vector<Replacement> replacements(kOperations);
  measure(
      options, {what},
      [&] {
        for (Replacement& r : replacements) {
          r = {static_cast<uint32_t>(random.below(kPlaces)), static_cast<uint32_t>(any_size())};
        }
      },
      [&] {
        for (const Replacement& r : replacements) {
          Place& place = places[r.place];
          heap.free(place.ref, place.bytes);
          place = {heap.allocate(r.bytes), r.bytes};
        }
        sink = sink + heap.used_bytes();
      });
}

// ---- keyspace

class KeyspaceBench {
 public:
  KeyspaceBench() : value_(kValueBytes, 'v'), texts_(kOperations * kKeyBytes, '0') {
    if (!keyspace_.open(ignix::kDatabasesDefault, 1)) fail("no address space for the keyspace");
  }

  // Puts keys in until there are `count`.
  void grow(uint64_t count);
  // All kinds of operations; `row` has what is common to them.
  void measure_all(const Options& options, const Row& row, size_t batch);
  static bool wants_any(const Options& options, const Row& row);

 private:
  using Operation = void (KeyspaceBench::*)(const ignix::Key*, size_t);
  struct Kind {
    const char* what;
    Operation operation;
    bool present;  // of keys that are there; else of those that are not
  };
  static const Kind kKinds[4];

  // Spells `count` keys: those with the numbers first, first + 1 ..., or random ones from first up.
  void spell(uint64_t first, size_t count);
  void spell_random(uint64_t first, uint64_t range);

  // Runs the operation on the first `count` keys that have been spelled, `batch` at a time.
  void run(Operation operation, size_t count, size_t batch);
  void prefetch(const ignix::Key* keys, size_t count) const;

  // What is measured, on the keys of one batch. Each takes the lock of its stripe.
  void find(const ignix::Key* keys, size_t count);
  void put(const ignix::Key* keys, size_t count);
  void put_and_erase(const ignix::Key* keys, size_t count);
  bool erase(const ignix::Key& key);

  char* end_of_text(size_t index) { return texts_.data() + (index + 1) * kKeyBytes; }

  ignix::Keyspace keyspace_;
  uint64_t stored_ = 0;
  std::string value_;
  std::string texts_;  // of keys, one behind the other
  KeyFormat format_ = key_format("", kKeyBytes, kAbsent);
  Random random_{7};
};

const KeyspaceBench::Kind KeyspaceBench::kKinds[4] = {
    {"find a present key", &KeyspaceBench::find, true},
    {"find an absent key", &KeyspaceBench::find, false},
    {"put an existing key", &KeyspaceBench::put, true},
    {"put a new key and erase it", &KeyspaceBench::put_and_erase, false},
};

// Whether the keyspace is needed at all.
bool KeyspaceBench::wants_any(const Options& options, const Row& row) {
  return std::any_of(std::begin(kKinds), std::end(kKinds), [&](const Kind& kind) {
    return wanted(options, {kind.what, row.keys, row.batch});
  });
}

void KeyspaceBench::spell(uint64_t first, size_t count) {
  for (size_t i = 0; i < count; i++) format_.write(end_of_text(i), first + i);
}

void KeyspaceBench::spell_random(uint64_t first, uint64_t range) {
  for (size_t i = 0; i < kOperations; i++) {
    format_.write(end_of_text(i), first + random_.below(range));
  }
}

void KeyspaceBench::grow(uint64_t count) {
  if (count > stored_) fprintf(stderr, "filling up to %llu keys\n", (unsigned long long)count);
  while (stored_ < count) {
    const size_t piece = std::min<uint64_t>(kOperations, count - stored_);
    spell(stored_, piece);
    run(&KeyspaceBench::put, piece, kPipeline);
    stored_ += piece;
    while (keyspace_.prepare_some()) continue;
  }
}

void KeyspaceBench::prefetch(const ignix::Key* keys, size_t count) const {
  uint64_t hashes[kPipeline];
  for (size_t i = 0; i < count; i++) hashes[i] = keys[i].hash;
  keyspace_.prefetch(0, hashes, count);
}

void KeyspaceBench::run(Operation operation, size_t count, size_t batch) {
  ignix::Key keys[kPipeline];
  for (size_t i = 0; i < count; i += batch) {
    const size_t here = std::min(batch, count - i);
    for (size_t j = 0; j < here; j++) {
      keys[j] = keyspace_.key({end_of_text(i + j) - kKeyBytes, kKeyBytes});
    }
    if (batch > 1) prefetch(keys, here);
    (this->*operation)(keys, here);
  }
}

// As GET: the value is copied.
void KeyspaceBench::find(const ignix::Key* keys, size_t count) {
  char copy[kValueBytes] = {};
  for (size_t i = 0; i < count; i++) {
    ignix::SpinGuard guard(keyspace_.stripe_of(keys[i].hash).lock);
    ignix::Entry* entry = keyspace_.find(0, keys[i]);
    if (!entry) continue;
    entry->touch(kClock);
    ignix::StringScratch scratch;
    const std::string_view value = string_value(*entry, scratch);
    memcpy(copy, value.data(), std::min(value.size(), sizeof copy));
    sink = copy[0] + copy[kValueBytes - 1];
  }
}

void KeyspaceBench::put(const ignix::Key* keys, size_t count) {
  for (size_t i = 0; i < count; i++) {
    ignix::SpinGuard guard(keyspace_.stripe_of(keys[i].hash).lock);
    ignix::StringScratch scratch;
    ignix::StoredValue stored;
    if (!encode_string(value_, keyspace_.blocks(), scratch, stored) ||
        !keyspace_.put(0, keys[i], stored, ignix::kNoExpiry, kClock)) {
      fail("out of memory");
    }
  }
}

bool KeyspaceBench::erase(const ignix::Key& key) {
  ignix::SpinGuard guard(keyspace_.stripe_of(key.hash).lock);
  return keyspace_.erase(0, key);
}

void KeyspaceBench::put_and_erase(const ignix::Key* keys, size_t count) {
  put(keys, count);
  for (size_t i = 0; i < count; i++) sink = sink + erase(keys[i]);
}

void KeyspaceBench::measure_all(const Options& options, const Row& row, size_t batch) {
  for (const Kind& kind : kKinds) {
    measure(
        options, {kind.what, row.keys, row.batch},
        [&] { spell_random(kind.present ? 0 : kAbsent, kind.present ? stored_ : kAbsent); },
        [&] { run(kind.operation, kOperations, batch); });
  }
}

struct Size {
  std::string text;
  uint64_t keys;
};

// The sizes of "10k,1m", ascending: a keyspace only grows.
std::vector<Size> sizes_of(const std::string& list) {
  std::vector<Size> sizes;
  for (size_t start = 0; start <= list.size();) {
    const size_t end = std::min(list.find(',', start), list.size());
    const std::string text = list.substr(start, end - start);
    const uint64_t keys = number_of("--keys", text.c_str());
    if (keys == 0 || keys >= kAbsent) fail("--keys: out of range: " + text);
    sizes.push_back({text, keys});
    start = end + 1;
  }
  std::sort(sizes.begin(), sizes.end(),
            [](const Size& a, const Size& b) { return a.keys < b.keys; });
  return sizes;
}

Options parse_options(int argc, char** argv) {
  Options o;
  const Flag flags[] = {
      {"--keys", Flag::kText, &o.keys, "sizes of the keyspace (10k,1m,10m)"},
      {"--rounds", Flag::kNumber, &o.rounds, "the median of so many is printed (5)"},
      {"--filter", Flag::kText, &o.filter,
       "only rows with this in their names, such as 'find' or '1m keys, batch 64'"},
  };
  parse_flags(flags, "Measures the parts of Ignix by themselves. Options:", argc, argv);
  if (o.rounds == 0) fail("--rounds: at least 1");
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse_options(argc, argv);
  const std::vector<Size> sizes = sizes_of(o.keys);
  print_header();
  measure_parsers(o);
  measure_hash(o, 16);
  measure_hash(o, 64);
  measure_heap(o, "heap: free and allocate 88 bytes", 88, 88);
  measure_heap(o, "heap: free and allocate 16 to 1024 bytes", 16, 1024);
  auto bench = std::make_unique<KeyspaceBench>();
  for (const Size& size : sizes) {
    for (size_t batch : {size_t{1}, kPipeline}) {
      const Row row = {"", size.text, std::to_string(batch)};
      if (!KeyspaceBench::wants_any(o, row)) continue;
      bench->grow(size.keys);
      bench->measure_all(o, row, batch);
    }
  }
}
