#include "base/buffer.h"

#include <stdlib.h>

#include <algorithm>
#include <utility>

namespace ignix {

bool Buffer::grow(size_t bytes) {
  const size_t used = size();
  // Sliding the data to the front is enough, and cheap, when the room in front is the larger part.
  if (begin_ >= used && capacity_ - used >= bytes) {
    if (used) memcpy(data_, data_ + begin_, used);
  } else {
    const size_t wanted = std::max({used + bytes, 2 * capacity_, size_t(256)});
    char* fresh;
    if (begin_ == 0) {
      fresh = static_cast<char*>(realloc(data_, wanted));
      if (!fresh) return false;
    } else {
      fresh = static_cast<char*>(malloc(wanted));
      if (!fresh) return false;
      if (used) memcpy(fresh, data_ + begin_, used);
      free(data_);
    }
    data_ = fresh;
    capacity_ = wanted;
  }
  begin_ = 0;
  end_ = used;
  return true;
}

void Buffer::release() {
  free(data_);
  data_ = nullptr;
  begin_ = end_ = capacity_ = 0;
}

void Buffer::swap(Buffer& other) {
  std::swap(data_, other.data_);
  std::swap(begin_, other.begin_);
  std::swap(end_, other.end_);
  std::swap(capacity_, other.capacity_);
}

}  // namespace ignix
