// Memory made ready ahead of growth.
//
// On paper: a command that touches fresh memory waits for the kernel to clear a page. For 4 KB that
// is a microsecond; for 2 MB it is half a millisecond, three on a virtual machine whose host has
// yet to find the memory, and more when the kernel must compact first. So loops are given small
// pages, or huge ones that somebody else has waited for: this thread, which sleeps until a region
// of the heap or of a table is nearly used up. What the loops have filled meanwhile on small pages
// is collapsed into huge ones when it is full.
//
// The kernel clears a huge page in one go: no priority makes it let a loop pass on the same CPU. So
// the thread works only while there is a CPU to spare; a server that has one CPU alone, and is
// busy, grows on small pages and gets its huge ones when it has time. While the data is loaded
// there is no client to be held up: then huge pages are made at once, which spares the small ones.
#include <time.h>

#include <algorithm>

#include "base/clock.h"
#include "base/cpus.h"
#include "store/keyspace.h"

namespace ignix {
namespace {

constexpr int64_t kWindowMs = 10;      // the least to measure over, and to work for
constexpr int64_t kWindowMsMax = 100;  // what was longer ago says nothing
constexpr int64_t kBusyMs = 50;        // until another look
constexpr double kSpareCpus = 0.9;

void sleep_ms(int64_t ms) {
  const timespec time = {ms / 1000, ms % 1000 * 1'000'000};
  nanosleep(&time, nullptr);
}

// Tells whether the process's other threads leave a CPU free.
class SpareCpu {
 public:
  SpareCpu() { start(); }

  // From the time since the last call, if that was short; else watches for a moment.
  bool look() {
    const int64_t passed_ms = monotonic_ms() - since_ms_;
    if (passed_ms > kWindowMsMax) start();
    if (passed_ms < kWindowMs || passed_ms > kWindowMsMax) sleep_ms(kWindowMs);
    const int64_t used_us = others_us() - used_before_us_;
    const int64_t window_us = (monotonic_ms() - since_ms_) * 1000;
    start();
    return double(used_us) <= (cpus_ - kSpareCpus) * double(window_us);
  }

 private:
  static int64_t others_us() {
    return clock_us(CLOCK_PROCESS_CPUTIME_ID) - clock_us(CLOCK_THREAD_CPUTIME_ID);
  }
  void start() {
    since_ms_ = monotonic_ms();
    used_before_us_ = others_us();
  }

  const int cpus_ = usable_cpus();
  int64_t since_ms_, used_before_us_;
};

}  // namespace

bool Keyspace::prepare_some() { return prepare_growth() || pool_.collapse_region(); }

bool Keyspace::prepare_growth() {
  // Near the limit there will be no growth.
  const uint64_t limit = limit_bytes();
  if (limit && held_bytes() + 2 * kHugePage > limit) return false;
  if (pool_.ready_region()) return true;
  const size_t row_bytes = size_t(stripe_count_) * sizeof(Bucket);
  for (int db = 0; db < databases_; db++) {
    TableAreas* areas = areas_[db].load(std::memory_order_acquire);
    if (areas && areas->prepare_some(row_bytes)) return true;
  }
  return false;
}

void Keyspace::run_ahead() {
  SpareCpu spare_cpu;
  for (;;) {
    const uint32_t rings = bell_.rings();
    if (stop_ahead_.load(std::memory_order_acquire)) return;
    const bool hurry = hurry_.load(std::memory_order_acquire);
    if (!hurry && !spare_cpu.look()) {
      sleep_ms(kBusyMs);
      continue;
    }
    const int64_t until_ms = monotonic_ms() + kWindowMs;
    bool more;
    do {
      more = hurry ? prepare_growth() : prepare_some();
    } while (more && monotonic_ms() < until_ms);
    if (!more) bell_.wait(rings);
  }
}

void Keyspace::set_hurry(bool hurry) {
  hurry_.store(hurry, std::memory_order_release);
  bell_.ring();
}

void Keyspace::stop_ahead() {
  stop_ahead_.store(true, std::memory_order_release);
  bell_.ring();
}

}  // namespace ignix
