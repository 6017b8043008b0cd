#include "base/limits.h"
#include "net/io.h"

namespace ignix {

bool BufferPool::lend(Buffer& buffer) {
  if (buffer.capacity()) return true;
  if (spare_.empty()) return buffer.reserve(kReadBytes);
  buffer.swap(spare_.back());
  spare_.pop_back();
  return true;
}

void BufferPool::take_back(Buffer& buffer) {
  if (!buffer.capacity()) return;
  if (spare_.size() < kSpareBuffers && buffer.capacity() <= kSpareBufferBytesMax) {
    buffer.clear();
    spare_.emplace_back().swap(buffer);
  } else {
    buffer.release();
  }
}

}  // namespace ignix
