// A walk over a database in small steps, between which anything may happen to it: SCAN and KEYS.
//
// A key's *point* is 32 bits of its hash, those behind the bits that choose the stripe, in reverse
// order: the bit that a table of two buckets looks at is the first, and so on. A table looks at no
// more than the first 30 of them. A bucket that has come out of L splits holds the keys that agree
// in the first L bits, and all of them: those whose points are in a run of 2^(32-L) numbers. The
// runs of a table's buckets lie side by side and cover all points, always: a split cuts a run into
// halves, a join makes two such halves one. This is the order of Redis's reversed-bits cursor.
//
// A cursor is a stripe and a point. What it says is: of the stripes before this one, and of the
// points below this one, all has been visited. A step visits what is left, from the cursor on, of
// the run that the cursor is in, and goes on to the run's end. Runs have no gaps and the points of
// a stripe are finite, so the walk ends; and a key never changes its stripe or its point, whatever
// splits, joins and flushes do with its bucket. So a key that is there from the beginning of a walk
// to its end is visited when the cursor passes it, which it does once: it is visited exactly once
// (Redis promises at least once). A key that comes or goes meanwhile is visited or not. Any number
// is a cursor: one that comes from elsewhere starts a walk somewhere in the middle.
#pragma once

#include <cstdint>

#include "store/keyspace.h"

namespace ignix {

struct ScanCursor {
  uint32_t stripe = 0;
  uint32_t point = 0;

  // For clients: 0 is the beginning, and stands for the end as well.
  static ScanCursor from_number(uint64_t number) {
    return {uint32_t(number >> 32), uint32_t(number)};
  }
  uint64_t number(const Keyspace& keyspace) const {
    return at_end(keyspace) ? 0 : uint64_t(stripe) << 32 | point;
  }
  bool at_end(const Keyspace& keyspace) const { return stripe >= keyspace.stripe_count(); }
};

// Visits the keys of one bucket: fn(Entry&), which must not change the stripe; and moves the cursor
// behind them. The lock of the cursor's stripe is held, and it is not at its end.
template <typename Fn>
void scan_step(Keyspace& keyspace, int db, ScanCursor& cursor, Fn fn) {
  const Table table = keyspace.table_of(db, cursor.stripe);
  if (table.buckets() > 0) {
    const Table::Run run = table.run_of(cursor.point);
    // Two buckets have been joined since the last step if the run begins below the cursor.
    const bool seen_some = run.first < cursor.point;
    table.for_each_in(run.bucket, [&](Ref ref) { __builtin_prefetch(keyspace.entry_at(ref)); });
    table.for_each_in(run.bucket, [&](Ref ref) {
      Entry& entry = *keyspace.entry_at(ref);
      if (!seen_some || table.point_of(keyspace.key(entry.key()).hash) >= cursor.point) fn(entry);
    });
    if (run.last < UINT32_MAX) {
      cursor.point = run.last + 1;
      return;
    }
  }
  cursor.point = 0;
  cursor.stripe++;
}

}  // namespace ignix
