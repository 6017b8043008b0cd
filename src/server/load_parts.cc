#include "server/load_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/log.h"
#include "base/number.h"
#include "resp/inline.h"
#include "server/load_log.h"

namespace ignix {
namespace {

constexpr char kDefaultName[] = "appendonly.aof";  // of a Redis's files

struct Part {
  std::string name;
  int64_t sequence = 0;
  char type = 0;  // b: base, i: incremental, h: no longer needed
};

// A line: "file NAME seq NUMBER type LETTER", and perhaps more pairs.
bool parse_line(std::string_view line, Part& part) {
  Words words;
  if (!split_inline(line, words) || words.size() % 2 != 0) return false;
  for (size_t i = 0; i < words.size(); i += 2) {
    if (words[i] == "file") part.name = words[i + 1];
    if (words[i] == "seq" && !parse_integer(words[i + 1], part.sequence)) return false;
    if (words[i] == "type" && words[i + 1].size() == 1) part.type = words[i + 1][0];
  }
  return !part.name.empty() && part.name.find('/') == std::string::npos && part.sequence > 0 &&
         (part.type == 'b' || part.type == 'i' || part.type == 'h');
}

// The base first, then the others in their order.
bool parse_manifest(std::string_view text, std::vector<Part>& parts) {
  int bases = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line[0] == '#') continue;
    Part part;
    if (!parse_line(line, part)) return false;
    bases += part.type == 'b';
    if (part.type != 'h') parts.push_back(part);
  }
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    return a.type != b.type ? a.type == 'b' : a.sequence < b.sequence;
  });
  return bases <= 1;
}

// False with errno.
bool read_all(const std::string& path, std::string& text) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char chunk[4096];
  ssize_t got;
  while ((got = read(fd, chunk, sizeof chunk)) > 0) text.append(chunk, size_t(got));
  const int error = errno;
  close(fd);
  errno = error;
  return got == 0;
}

// Only what was written last may be torn.
bool load_part(Server& server, const std::string& path, bool is_last, std::string& error) {
  LogFile file = {open(path.c_str(), O_RDONLY | O_CLOEXEC), path};
  if (file.fd < 0) {
    error = "cannot read " + file.what() + ": " + strerror(errno);
    return false;
  }
  LogEnd end;
  bool good = load_log_file(server, file, end, error);
  close(file.fd);
  if (!good || !end.torn) return good;
  if (is_last && server.config.aof_load_truncated) {
    log_warning("%s ends within a record: its last bytes, behind byte %llu, are not loaded",
                file.what().c_str(), (unsigned long long)end.good_bytes);
    return true;
  }
  error = file.what() + " ends within a record, behind byte " + std::to_string(end.good_bytes) +
          "; see ignix-check(1)" + (is_last ? ", or --aof-load-truncated yes" : "");
  return false;
}

}  // namespace

bool load_parts(Server& server, bool& found, std::string& error) {
  const std::string directory = server.config.appenddirname + "/";
  std::string text, manifest = directory + server.config.appendfilename + ".manifest";
  found = read_all(manifest, text);
  if (!found && (errno == ENOENT || errno == ENOTDIR)) {
    manifest = directory + kDefaultName + ".manifest";
    found = read_all(manifest, text);
    if (!found && (errno == ENOENT || errno == ENOTDIR)) return true;
  }
  if (!found) {
    error = "cannot read '" + manifest + "': " + strerror(errno);
    return false;
  }
  std::vector<Part> parts;
  if (!parse_manifest(text, parts)) {
    error = "'" + manifest + "' is not the manifest of an append-only file";
    return false;
  }
  for (const Part& part : parts) {
    if (!load_part(server, directory + part.name, &part == &parts.back(), error)) return false;
  }
  return true;
}

}  // namespace ignix
