#include "server/server.h"

#include <signal.h>

namespace ignix {

int64_t Server::client_count() const {
  int64_t count = 0;
  for (int i = 0; i < loop_count; i++) count += loops[i].clients.load(std::memory_order_relaxed);
  return count;
}

uint64_t Server::total(Counter LoopStatus::*counter) const {
  uint64_t sum = 0;
  for (int i = 0; i < loop_count; i++) sum += (loops[i].*counter).get();
  return sum;
}

Server::KeyspaceCounts Server::keyspace_counts() {
  KeyspaceCounts counts;
  for (uint32_t i = 0; i < keyspace.stripe_count(); i++) {
    Stripe& stripe = keyspace.stripe(i);
    StripeGuard guard(keyspace, stripe);
    counts.hits += stripe.hits;
    counts.misses += stripe.misses;
    counts.expired += stripe.expired;
    counts.evicted += stripe.evicted;
  }
  return counts;
}

void Server::request_stop() {
  stop_requested = true;
  pthread_kill(main_thread, SIGTERM);
}

}  // namespace ignix
