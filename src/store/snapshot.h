// Snapshots: all databases as they are at one instant, written while they go on changing, without a
// second process and without a copy of all.
//
// Each entry carries one bit, its epoch. At the instant, with all stripes locked, the keyspace's
// epoch flips: every entry there is has the other one now. A walk over the buckets, from the first
// to the last and one stripe at a time, saves those entries and flips them; who changes or deletes
// one before the walk has come to it saves it first. What is new has the new epoch and is passed
// over. So each entry of the instant is saved once, and when the walk is done all have the same
// epoch again.
//
// Buckets split while the walk goes on: entries only move upwards, to where it has yet to come.
// They are not joined meanwhile. A flush takes away what was not saved: the records of before it
// change nothing that outlives it, and where they take something from an entry that they do not
// change, it was saved for that (Keyspace::save_as_source()). Databases that are swapped keep the
// number that they had at the instant. A walk that has begun must be finished, if only for the
// epochs.
#pragma once

#include <cstdint>

#include "store/entry.h"

namespace ignix {

class SnapshotSink {
 public:
  virtual ~SnapshotSink() = default;
  // An entry as it was at the instant, and in which database. The lock of its stripe is held: be
  // quick; hold its blocks (hold_block) instead of copying them.
  virtual void save(int db, const Entry& entry) = 0;
  // Entries of the database that had not been saved are gone. All stripes are locked.
  virtual void flushed(int db) = 0;
};

// How far a walk has come.
struct SnapshotWalk {
  int db = 0;  // by its number at the instant
  uint32_t stripe = 0, bucket = 0;
};

}  // namespace ignix
