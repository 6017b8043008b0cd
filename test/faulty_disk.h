// What a test and the server under test share when the server's disk is a faulty one: a mapped file
// by which the test rules the disk, and the journal in which the disk writes down what it was
// asked. test/faulty_disk.cc is the disk, test/disk.h the test's side.
#pragma once

#include <atomic>
#include <cstdint>

namespace test {

// All zeros: the disk has no fault. Both sides change it at any time.
struct DiskControl {
  std::atomic<int32_t> write_error;    // errno of every write to a file
  std::atomic<int32_t> sync_error;     // errno of fsync and fdatasync ...
  std::atomic<int32_t> sync_failures;  // ... so many times; -1: for ever
  std::atomic<uint32_t> torn;          // 1: a write takes a part of what it is given
  std::atomic<uint64_t> random;        // state for the length of that part

  // While these are 1, calls wait (futex): pwrite, by which the log is written, writev, by which
  // snapshots are, and every fsync.
  std::atomic<uint32_t> hold_pwrites, hold_writevs, hold_syncs;
  std::atomic<uint32_t> pwrites_held, writevs_held, syncs_held;  // calls that wait now

  std::atomic<uint64_t> torn_writes, failed_writes, failed_syncs, syncs;  // so far
  std::atomic<uint64_t> begun_bytes;     // that it was told to write, by sync_file_range ...
  std::atomic<uint32_t> begin_delay_ms;  // ... which takes so long ...
  std::atomic<int32_t> begin_error;      // ... and fails with this errno
  std::atomic<uint64_t> given_up_end;    // the page cache before that was, by posix_fadvise
};

// A journal is these, each followed by `bytes` bytes.
struct DiskRecord {
  enum Kind : uint32_t {
    kCreate,      // the bytes: the name of a file that is new, or empty again
    kOpen,        // the bytes: the name of a file that was there
    kWrite,       // the bytes: what was written at `offset`
    kTruncate,    // to `offset` bytes
    kRename,      // the bytes: the old name, a zero, the new name
    kSyncBegin,   // `offset`: a number of this call
    kSyncEnd,     // it has succeeded
    kSyncFailed,  // it has failed
  };
  Kind kind;
  uint32_t bytes;
  uint64_t inode;  // 0: the directory
  uint64_t offset;
};

}  // namespace test
