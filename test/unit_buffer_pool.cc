// Buffers that a loop's connections share.
#include <vector>

#include "base/limits.h"
#include "net/io.h"
#include "runner.h"

namespace test {
namespace {

// As a turn does with so many connections.
void use(ignix::BufferPool& pool, size_t buffers) {
  std::vector<ignix::Buffer> used(buffers);
  for (ignix::Buffer& buffer : used) CHECK(pool.lend(buffer));
  for (ignix::Buffer& buffer : used) pool.take_back(buffer);
}

}  // namespace

// As long as turns need them they stay; then all but a few go, without being asked for once more.
TEST(buffer_pool, keeps_what_is_needed) {
  ignix::BufferPool pool;
  for (int turn = 0; turn < 20; turn++) {
    use(pool, 500);
    CHECK(pool.trim());
  }
  int calls = 0;
  while (pool.trim()) CHECK(++calls < 20);
  CHECK(calls > 0);
  use(pool, ignix::kSpareBuffers);
  CHECK(!pool.trim());
}

}  // namespace test
