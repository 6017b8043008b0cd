// A server's disk, faulty at the test's will: fails, tears and holds up writes and fsyncs, and
// loses power.
#pragma once

#include <string>
#include <vector>

#include "faulty_disk.h"
#include "random.h"

namespace test {

class FaultyDisk {
 public:
  // Ends the case as skipped where there is no shared object to be loaded.
  FaultyDisk();
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  // For ServerOptions.
  std::vector<std::string> environment() const;

  DiskControl* operator->() { return control_; }
  // Ends a hold, and wakes the calls that wait.
  void release(std::atomic<uint32_t>& hold);

  // Before the server starts: what is in `dir` is on the disk. Only from then on there is a
  // journal.
  void begin(const std::string& dir);

  // What is left of the writes that no fsync has covered.
  enum class Kept {
    kNothing,
    kPrefix,   // the first ones; the last of them torn, perhaps with zeros for what is missing
    kSectors,  // any pieces of any of them, of 512 bytes or of 4096, and zeros between
  };
  // When the server has ended: makes of `dir` what a power failure at that moment could have left.
  // Returns how much of the file `name` was on the disk for certain.
  size_t lose_power(const std::string& dir, const std::string& name, Kept kept, Random& random);

 private:
  DiskControl* control_;
  std::string control_path_, journal_path_, library_path_;
  struct Before {
    std::string name, content;
    uint64_t inode;
  };
  std::vector<Before> before_;
};

}  // namespace test
