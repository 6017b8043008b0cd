#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"

namespace ignix {

HashSecret random_hash_secret() {
  HashSecret secret;
  ssize_t got;
  do {
    got = getrandom(&secret, sizeof secret, 0);
  } while (got < 0 && errno == EINTR);
  if (got != ssize_t(sizeof secret)) {
    log_warning("getrandom(2) gave no seed for the hash table: %s", strerror(errno));
    exit(1);
  }
  return secret;
}

}  // namespace ignix
