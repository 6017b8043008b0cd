// Random keys of a database, each with the same chance: RANDOMKEY, and what else wants a sample.
//
// A draw is a stripe, a bucket and a rank in it, each by chance, and finds a key there or nothing.
// All ranks have the same chance, so all keys have; a database of the usual density has one in
// seven ranks taken. Where most are empty, because there are few keys or have been many more, the
// keys are counted and one is picked by its number.
#pragma once

#include "base/random.h"
#include "store/keyspace.h"

namespace ignix {

struct Draw {
  uint32_t stripe, bucket;
};

// Without a lock.
Draw draw_bucket(const Keyspace& keyspace, int db, RandomNumbers& random);

// Under the lock of the draw's stripe: the key, or nullptr.
Entry* draw_entry(const Keyspace& keyspace, int db, Draw draw, RandomNumbers& random);

// Under the stripe's lock: looks through some buckets from number `bucket` on, which it moves, for
// the key number `rank`, which it counts down. nullptr if it is further on, or `bucket` is at the
// end.
Entry* find_ranked(const Keyspace& keyspace, int db, uint32_t stripe, uint32_t& bucket,
                   uint64_t& rank);

}  // namespace ignix
