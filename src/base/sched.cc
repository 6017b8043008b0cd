#include "base/sched.h"

#include <linux/sched.h>
#include <linux/sched/types.h>  // not with sched.h: both define sched_param
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

namespace ignix {
namespace {

constexpr uint64_t kShortSliceNs = 100'000;  // the least that Linux grants
constexpr int64_t kGiveWayUs = 100;

}  // namespace

void take_short_slices() {
  sched_attr attributes = {};
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.sched_policy != SCHED_NORMAL) return;  // as the administrator wants it
  attributes.sched_runtime = kShortSliceNs;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void GiveWay::now_and_then() {
  const int64_t now_us = clock_us(CLOCK_MONOTONIC);
  if (now_us - last_us_ < kGiveWayUs) return;
  syscall(SYS_sched_yield);
  last_us_ = now_us;
}

}  // namespace ignix
