// Which of two ways to receive is taken.
#include <cstdint>

#include "net/stage.h"
#include "random.h"
#include "runner.h"

namespace test {
namespace {

// Of `count` times, how often way 1 is taken, when they take so long, and each 20th ten times that.
int taken(ignix::FasterWay& ways, Random& random, int count, uint32_t time_0, uint32_t time_1) {
  int taken = 0;
  for (int i = 0; i < count; i++) {
    const unsigned way = ways.choose();
    CHECK(way <= 1);
    taken += int(way);
    const uint32_t time = way ? time_1 : time_0;
    const uint32_t near = time - time / 4 + uint32_t(random.below(time / 2 + 1));
    ways.took(way, random.one_in(20) ? 10 * time : near);
  }
  return taken;
}

TEST(stage, takes_the_faster_way) {
  Random random(seed());
  ignix::FasterWay ways;
  taken(ways, random, 1600, 100, 200);  // the first three may all be such
  CHECK(taken(ways, random, 1600, 100, 200) < 240);
  taken(ways, random, 1600, 200, 100);  // finds out
  CHECK(taken(ways, random, 1600, 200, 100) > 1360);
  taken(ways, random, 1600, 60, 100);
  CHECK(taken(ways, random, 1600, 60, 100) < 240);
}

// An interruption while a way is first timed does not keep it from being taken.
TEST(stage, first_time_may_be_long) {
  ignix::FasterWay ways;
  int taken = 0;
  for (int i = 0; i < 100; i++) {
    const unsigned way = ways.choose();
    taken += int(way);
    ways.took(way, i == 0 ? 10000 : way ? 200 : 100);
  }
  CHECK(taken < 25);  // until it is tried again, and then now and then
}

TEST(stage, any_time_is_taken) {
  ignix::FasterWay ways;
  for (const uint32_t time : {0u, 1u, UINT32_MAX, 0u, UINT32_MAX, UINT32_MAX, 5u}) {
    for (int i = 0; i < 100; i++) {
      const unsigned way = ways.choose();
      CHECK(way <= 1);
      ways.took(way, time);
    }
  }
}

}  // namespace
}  // namespace test
