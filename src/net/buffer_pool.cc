#include <algorithm>

#include "base/limits.h"
#include "net/io.h"

namespace ignix {

bool BufferPool::lend(Buffer& buffer) {
  if (buffer.capacity()) return true;
  if (spare_.empty()) return buffer.reserve(kReadBytes);
  buffer.swap(spare_.back());
  spare_.pop_back();
  unused_ = std::min(unused_, spare_.size());
  return true;
}

void BufferPool::take_back(Buffer& buffer) {
  if (!buffer.capacity()) return;
  if (buffer.capacity() <= kSpareBufferBytesMax) {
    buffer.clear();
    spare_.emplace_back().swap(buffer);
  } else {
    buffer.release();
  }
}

bool BufferPool::trim() {
  const size_t surplus = unused_ > kSpareBuffers ? unused_ - kSpareBuffers : 0;
  spare_.resize(spare_.size() - (surplus + 1) / 2);
  unused_ = spare_.size();
  return spare_.size() > kSpareBuffers;
}

}  // namespace ignix
