#include "server/open_files.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/limits.h"

namespace ignix {

int64_t own_descriptors(const Config& config) {
  const int64_t listeners =
      std::count(config.bind.begin(), config.bind.end(), ' ') + 1 + !config.unixsocket.empty();
  return kReservedDescriptors + (kDescriptorsPerLoop + listeners) * config.threads.load();
}

int64_t descriptors_for_clients(const Config& config) {
  const int64_t own = own_descriptors(config);
  const rlim_t wanted = rlim_t(own + config.maxclients);
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) limit = {1024, 1024};
  if (limit.rlim_cur < wanted) {
    rlimit raised = limit;
    raised.rlim_cur = std::min(wanted, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return int64_t(std::min<rlim_t>(limit.rlim_cur, INT64_MAX)) - own;
}

}  // namespace ignix
