// ignix-check: says whether a file of data is whole, shows what it holds, cuts off a damaged end.
// Only the formats are looked at; what the commands would do is the server's to know.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <string>
#include <string_view>

#include "base/descriptors.h"
#include "base/number.h"
#include "base/quote.h"
#include "base/version.h"
#include "durability/probe.h"
#include "durability/rdb_reader.h"
#include "durability/reader.h"
#include "durability/ring.h"
#include "durability/room.h"

namespace {

using namespace ignix;

constexpr size_t kShownBytes = 100;  // of a word

enum ExitStatus { kExitWhole = 0, kExitDamaged = 1, kExitTrouble = 2 };

struct Options {
  bool fix = false, yes = false, dump = false;
};

// What a look at a file has found.
struct Findings {
  enum class State {
    kWhole,
    kTorn,        // the last bytes are not a whole record
    kHalfGroup,   // they are a MULTI without its EXEC
    kZeros,       // they are zeros
    kDamaged,     // at damage_offset
    kForeign,     // what stands there cannot be read, but may be right
    kUnreadable,  // the file cannot be read
  };
  State state = State::kWhole;
  bool has_rdb = false, has_records = false;
  bool aof_base = false;  // the RDB part says that it is one of an append-only file
  uint64_t keys = 0, records = 0;
  uint64_t file_bytes = 0;
  uint64_t good_bytes = 0;  // up to here records are whole
  bool has_room = false;    // behind them, for more
  uint64_t room_bytes = 0;  // at the file's end
  uint64_t damage_offset = 0;
  std::string what;

  void set(State new_state, uint64_t offset, std::string text) {
    state = new_state;
    damage_offset = offset;
    what = std::move(text);
  }
  bool is_aof() const { return has_records || aof_base; }
  // Neither format, as far as can be told.
  bool is_strange() const {
    return state == State::kDamaged && !has_rdb && good_bytes == 0 && damage_offset == 0;
  }
  uint64_t lost_bytes() const { return file_bytes - room_bytes - good_bytes; }
};

using State = Findings::State;

__attribute__((format(printf, 2, 3))) int complain(const std::string& path, const char* format,
                                                   ...) {
  va_list arguments;
  va_start(arguments, format);
  fflush(stdout);  // what was said before comes first
  fprintf(stderr, "ignix-check: '%s': ", path.c_str());
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  return kExitTrouble;
}

std::string where_text(uint64_t offset, int db) {
  return std::to_string(offset) + " " + std::to_string(db);
}

void append_word(std::string& line, std::string_view word) {
  line += ' ';
  append_quoted(line, word, kShownBytes);
}

void print_line(std::string& line) {
  line += '\n';
  fwrite(line.data(), 1, line.size(), stdout);
}

// What the records say about databases and groups, from one to the next.
class Sequence {
 public:
  // False, with a text in `error`, for a record that cannot stand where it does.
  bool add(const Words& words, uint64_t offset, std::string& error) {
    const std::string_view name = words[0];
    if (equal_ignoring_case(name, "select")) {
      int64_t db;
      if (words.size() != 2 || !parse_integer(words[1], db) || db < 0 || db > INT32_MAX) {
        error = "a SELECT of no database";
        return false;
      }
      db_ = int(db);
    } else if (equal_ignoring_case(name, "multi")) {
      if (in_group_) error = "a MULTI within another";
      if (in_group_) return false;
      in_group_ = true;
      group_offset_ = offset;
    } else if (equal_ignoring_case(name, "exec")) {
      if (!in_group_) error = "an EXEC without MULTI";
      if (!in_group_) return false;
      in_group_ = false;
    }
    return true;
  }

  int db() const { return db_; }
  bool in_group() const { return in_group_; }
  // Where whole records, and whole groups, end, if a record would start at `offset`.
  uint64_t good_end(uint64_t offset) const { return in_group_ ? group_offset_ : offset; }

 private:
  int db_ = 0;
  bool in_group_ = false;
  uint64_t group_offset_ = 0;
};

void dump_record(const Words& words, uint64_t offset, int db) {
  std::string line = where_text(offset, db);
  for (const std::string_view word : words) append_word(line, word);
  print_line(line);
}

void dump_entry(const RdbReader& reader) {
  std::string line = where_text(reader.entry_offset(), reader.db());
  append_word(line, reader.key());
  append_word(line, reader.value());
  if (reader.expiry_ms() != kNoExpiry) line += " PXAT " + std::to_string(reader.expiry_ms());
  print_line(line);
}

// False where there is nothing to look at behind it.
bool check_rdb(int fd, const Options& options, Findings& findings) {
  findings.has_rdb = true;
  RdbReader reader(fd);
  RdbReader::Result result;
  while ((result = reader.next()) == RdbReader::Result::kEntry) {
    findings.keys++;
    if (options.dump) dump_entry(reader);
  }
  findings.aof_base = reader.aof_base();
  switch (result) {
    case RdbReader::Result::kEntry:
    case RdbReader::Result::kEnd:
      findings.good_bytes = reader.offset();
      return true;
    case RdbReader::Result::kTruncated:
      findings.set(State::kTorn, reader.offset(), reader.error());
      break;
    case RdbReader::Result::kDamaged:
      findings.set(State::kDamaged, reader.offset(), reader.error());
      break;
    case RdbReader::Result::kForeign:
      findings.set(State::kForeign, reader.offset(), reader.error());
      break;
    case RdbReader::Result::kFailed:
      findings.set(State::kUnreadable, reader.offset(), reader.error());
      break;
  }
  return false;
}

bool begins_with_zero(int fd) {
  char first;
  return pread(fd, &first, 1, 0) == 1 && first == 0;
}

// What stands at the reader's offset, where its records end.
void judge_end(int fd, const RoomFound& room, const AofReader& reader, AofReader::Result result,
               bool in_group, Findings& findings) {
  const uint64_t offset = reader.offset();
  const RoomTail tail = judge_room(fd, room, offset, reader.reached(), findings.file_bytes);
  if (tail == RoomTail::kUnknown) {
    findings.set(State::kUnreadable, offset, std::string("read failed: ") + strerror(errno));
    return;
  }
  if (tail != RoomTail::kNone && result != AofReader::Result::kFailed) {
    findings.has_room = tail == RoomTail::kRoom;
    if (tail == RoomTail::kTorn) findings.state = State::kTorn;
    if (in_group) findings.state = State::kHalfGroup;
    return;
  }
  switch (result) {
    case AofReader::Result::kRecord:
    case AofReader::Result::kEnd:
      if (in_group) findings.state = State::kHalfGroup;
      return;
    case AofReader::Result::kTruncated:
      findings.state = in_group ? State::kHalfGroup : State::kTorn;
      return;
    case AofReader::Result::kDamaged:
      errno = 0;
      if (offset == 0 && begins_with_zero(fd)) {
        findings.set(State::kDamaged, 0, "a zero byte");
      } else if (ends_in_zeros(fd, offset, findings.file_bytes)) {
        findings.state = in_group ? State::kHalfGroup : State::kZeros;
      } else if (errno != 0) {
        findings.set(State::kUnreadable, offset, std::string("read failed: ") + strerror(errno));
      } else {
        findings.set(State::kDamaged, offset, reader.error());
      }
      return;
    case AofReader::Result::kFailed:
      findings.set(State::kUnreadable, offset, reader.error());
  }
}

// False, with errno set, if it cannot be told.
bool find_length(int fd, uint64_t& bytes) {
  struct stat file;
  if (fstat(fd, &file) != 0) return false;
  bytes = uint64_t(file.st_size);
  return true;
}

// The records from findings.good_bytes on, where the descriptor stands. False as find_length().
bool check_records(int fd, const Options& options, Findings& findings) {
  findings.has_records = true;
  AofReader reader(fd, findings.good_bytes);
  RoomFound room;
  if (!find_room(fd, findings.file_bytes, room)) return false;
  if (room.found) reader.limit(std::max(findings.good_bytes, room.limit));
  AofReader::Result result;
  Sequence sequence;
  Words words;
  std::string error;
  while ((result = reader.next(words)) == AofReader::Result::kRecord) {
    if (!sequence.add(words, reader.offset(), error)) break;
    findings.records++;
    if (options.dump) dump_record(words, reader.offset(), sequence.db());
    words.reset();
  }
  findings.good_bytes = sequence.good_end(reader.offset());
  // A running server may have made it longer, or shorter.
  if (!find_length(fd, findings.file_bytes)) return false;
  findings.file_bytes = std::max(findings.file_bytes, reader.offset());
  if (room.found) {
    findings.room_bytes = findings.file_bytes - std::min(findings.file_bytes, room.lines);
  }
  if (error.empty()) {
    judge_end(fd, room, reader, result, sequence.in_group(), findings);
  } else {
    findings.set(State::kDamaged, reader.offset(), error);
  }
  return true;
}

// False, with errno set, if the file's length cannot be told.
bool check(int fd, const Options& options, Findings& findings) {
  if (!find_length(fd, findings.file_bytes)) return false;
  if (is_rdb(fd)) {
    if (!check_rdb(fd, options, findings)) return true;
    if (findings.good_bytes >= findings.file_bytes) return true;
    if (lseek(fd, off_t(findings.good_bytes), SEEK_SET) < 0) return false;
  }
  return check_records(fd, options, findings);
}

std::string count_text(uint64_t count, const char* thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

std::string kind_text(const Findings& findings) {
  const std::string keys = count_text(findings.keys, "key");
  const std::string records = count_text(findings.records, "record");
  if (!findings.has_rdb) return "append-only file, " + records;
  if (!findings.is_aof()) return "RDB file, " + keys;
  return "append-only file that begins as an RDB file, " + keys + " and " + records;
}

std::string torn_text(const Findings& findings, const char* what) {
  return "torn at byte " + std::to_string(findings.good_bytes) + ": " + what + ", " +
         count_text(findings.lost_bytes(), "byte");
}

std::string damage_text(const Findings& findings) {
  std::string text =
      "damaged at byte " + std::to_string(findings.damage_offset) + ": " + findings.what;
  if (findings.has_records) {
    text += "; the last whole record ends at byte " + std::to_string(findings.good_bytes) + ", " +
            count_text(findings.lost_bytes(), "byte") + " before the " +
            (findings.room_bytes ? "room at the end" : "end");
  }
  return text;
}

std::string state_text(const Findings& findings) {
  const std::string where = "byte " + std::to_string(findings.damage_offset);
  switch (findings.state) {
    case State::kWhole:
      if (!findings.has_room) return "whole";
      return "whole, with room for more behind byte " + std::to_string(findings.good_bytes);
    case State::kTorn:
      if (findings.has_records) return torn_text(findings, "not a whole record");
      return "torn: it ends within what starts at " + where;
    case State::kHalfGroup:
      return torn_text(findings, "a MULTI without EXEC");
    case State::kZeros:
      return torn_text(findings, "zeros to the end");
    case State::kDamaged:
      return damage_text(findings);
    case State::kForeign:
      return "cannot be read from " + where + " on: " + findings.what;
    case State::kUnreadable:
      break;
  }
  return "at " + where + ": " + findings.what;
}

std::string report_text(const Findings& findings) {
  if (findings.is_strange()) {
    return "neither an append-only file nor an RDB file, or damaged at byte 0: " + findings.what;
  }
  return kind_text(findings) + ", " + count_text(findings.file_bytes, "byte") + ": " +
         state_text(findings);
}

ExitStatus status_of(const Findings& findings) {
  if (findings.state == State::kWhole) return kExitWhole;
  const bool readable = findings.state != State::kForeign && findings.state != State::kUnreadable;
  return readable ? kExitDamaged : kExitTrouble;
}

// A line from the standard input; nothing but y is yes.
bool ask(const char* question) {
  fputs(question, stdout);
  fflush(stdout);
  std::string line;
  for (int c; (c = getchar()) != EOF && c != '\n';) line += char(c);
  if (!isatty(STDIN_FILENO)) putchar('\n');
  return line == "y" || line == "Y";
}

// Of a log of which nothing is left a record stays that changes nothing: an empty one is none, and
// the server would load an older RDB file in its place.
bool cut(int fd, uint64_t bytes) {
  if (bytes == 0) {
    bytes = kSelectZero.size();
    if (pwrite(fd, kSelectZero.data(), bytes, 0) != ssize_t(bytes)) return false;
  }
  while (ftruncate(fd, off_t(bytes)) != 0) {
    if (errno != EINTR) return false;
  }
  while (fsync(fd) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

int fix(int fd, const std::string& path, const Options& options, const Findings& findings) {
  if (!findings.has_records || findings.is_strange()) {
    complain(path, "only the records of an append-only file can be cut; it was left as it is");
    return kExitDamaged;
  }
  const std::string lost = count_text(findings.lost_bytes(), "byte");
  printf("%s: to be cut off behind byte %llu: %s\n", path.c_str(),
         (unsigned long long)findings.good_bytes, lost.c_str());
  if (findings.state == State::kDamaged) {
    printf("%s: the damage is not at the end: all that stands behind it is lost as well\n",
           path.c_str());
  }
  if (!options.yes && !ask("Cut it off? [y/N] ")) {
    printf("%s: left as it is\n", path.c_str());
    return kExitDamaged;
  }
  if (!cut(fd, findings.good_bytes)) return complain(path, "cannot cut it: %s", strerror(errno));
  printf("%s: cut off: %s\n", path.c_str(), lost.c_str());
  return kExitWhole;
}

int check_open_file(int fd, const std::string& path, const Options& options) {
  Findings findings;
  if (!check(fd, options, findings)) return complain(path, "cannot read it: %s", strerror(errno));
  const ExitStatus status = status_of(findings);
  const std::string text = report_text(findings);
  if (status == kExitTrouble || (options.dump && status != kExitWhole)) {
    complain(path, "%s", text.c_str());
  } else if (!options.dump) {
    printf("%s: %s\n", path.c_str(), text.c_str());
  }
  return options.fix && status == kExitDamaged ? fix(fd, path, options, findings) : status;
}

// Does not wait for what is no file, such as a pipe.
int run(const std::string& path, const Options& options) {
  const int fd =
      open(path.c_str(), (options.fix ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return complain(path, "cannot open it: %s", strerror(errno));
  struct stat file;
  int status;
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) {
    status = complain(path, "not a regular file");
  } else if (options.fix && flock(fd, LOCK_EX | LOCK_NB) != 0) {
    status = complain(path, "cannot lock it: %s",
                      errno == EWOULDBLOCK ? "a running Ignix uses it" : strerror(errno));
  } else {
    status = check_open_file(fd, path, options);
  }
  close(fd);
  return status;
}

constexpr char kUsage[] =
    "Usage: ignix-check [--dump | --fix [--yes]] FILE ...\n\n"
    "Says whether append-only files and RDB files, Ignix's or Redis's, are whole. See\n"
    "ignix-check(1).\n\n"
    "  --dump         print what the files hold, a line for each record or key\n"
    "  --fix          cut an append-only file behind its last whole record, after asking\n"
    "  --yes          do not ask\n"
    "  -h, --help     print this\n"
    "  -v, --version  print the version\n";

int refuse(const std::string& what) {
  fprintf(stderr, "ignix-check: %s; see ignix-check --help\n", what.c_str());
  return kExitTrouble;
}

// The exit status, or -1 to go on with the files from argv[first] on.
int parse_options(int argc, char** argv, Options& options, int& first) {
  for (first = 1; first < argc; first++) {
    const std::string_view word = argv[first];
    if (word.size() < 2 || word[0] != '-') break;
    if (word == "--") {
      first++;
      break;
    }
    if (word == "--fix") {
      options.fix = true;
    } else if (word == "--yes") {
      options.yes = true;
    } else if (word == "--dump") {
      options.dump = true;
    } else if (word == "--help" || word == "-h") {
      fputs(kUsage, stdout);
      return kExitWhole;
    } else if (word == "--version" || word == "-v") {
      printf("ignix-check %s\n", kVersion);
      return kExitWhole;
    } else {
      return refuse("unknown option '" + std::string(word) + "'");
    }
  }
  if (options.fix && options.dump) return refuse("--fix and --dump do not go together");
  if (options.yes && !options.fix) return refuse("--yes is for --fix only");
  if (first == argc) return refuse("no file is named");
  return -1;
}

[[noreturn]] void out_of_memory() {
  static constexpr char kText[] = "ignix-check: out of memory\n";
  if (write(STDERR_FILENO, kText, sizeof kText - 1) < 0) _exit(kExitTrouble);
  _exit(kExitTrouble);
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_descriptors();
  std::set_new_handler(out_of_memory);
  Options options;
  int first;
  int status = parse_options(argc, argv, options, first);
  if (status < 0) {
    status = kExitWhole;
    for (int i = first; i < argc; i++) status = std::max(status, run(argv[i], options));
  }
  if (fflush(stdout) != 0 || ferror(stdout)) {
    fprintf(stderr, "ignix-check: cannot write to the standard output\n");
    return kExitTrouble;
  }
  return status;
}
