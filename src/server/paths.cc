#include "server/paths.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <iterator>

namespace ignix {
namespace {

// The path of the directory, with no links, and the name.
std::string resolved(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  char* real = realpath(directory.c_str(), nullptr);
  const std::string found = (real ? real : directory) + ("/" + path.substr(slash + 1));
  free(real);
  return found;
}

bool is_same_file(const std::string& a, const std::string& b) {
  struct stat of_a, of_b;
  if (stat(a.c_str(), &of_a) == 0 && stat(b.c_str(), &of_b) == 0) {
    return of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
  }
  return resolved(a) == resolved(b);
}

}  // namespace

bool paths_differ(const Config& config, std::string& error) {
  struct Path {
    const char* directive;
    std::string path;
  };
  const std::string& log = config.appendfilename;
  const Path paths[] = {{"appendfilename", log},
                        {"appendfilename", log + ".rewrite"},
                        {"appendfilename", log + ".fsync-failed"},
                        {"dbfilename", config.dbfilename},
                        {"pidfile", config.pidfile},
                        {"logfile", config.logfile},
                        {"unixsocket", config.unixsocket}};
  for (const Path& a : paths) {
    for (const Path* b = &a + 1; b != std::end(paths); b++) {
      if (a.path.empty() || b->path.empty() || !strcmp(a.directive, b->directive)) continue;
      if (!is_same_file(a.path, b->path)) continue;
      error = std::string(b->directive) + " is '" + b->path + "', a file that " + a.directive +
              " needs";
      return false;
    }
  }
  return true;
}

}  // namespace ignix
