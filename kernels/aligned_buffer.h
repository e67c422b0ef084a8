// Owned memory on a cache line's boundary, with kSlack readable bytes behind it. Zeroed, or (for_overwrite) left as the
// system gives it, so that pages never written cost nothing.
//
// Buffers of kSharedBytes and more are cut one behind the other from regions on huge pages: a kernel that walks weights or
// an image with a stride of a row meets a new 4 KiB page at every step, and the first-level TLB holds less than a hundred of
// them. Weights packed in the order of execution therefore also lie in that order. A region goes back to the system with its
// last buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "kernels/layout.h"

namespace octet::kernels {

class AlignedBuffer {
 public:
  static constexpr size_t kSharedBytes = 16 * 1024;

  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) : data_(allocate(bytes + kSlack)), bytes_(bytes) {
    std::memset(data_.get(), 0, bytes + kSlack);
  }

  static AlignedBuffer for_overwrite(size_t bytes) {
    AlignedBuffer buffer;
    buffer.data_.reset(allocate(bytes + kSlack));
    buffer.bytes_ = bytes;
    return buffer;
  }

  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_.get());
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_.get());
  }
  size_t bytes() const { return bytes_; }

 private:
  static std::byte* allocate(size_t bytes);
  static void release(std::byte* data);

  struct Free {
    void operator()(std::byte* p) const { release(p); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t bytes_ = 0;
};

}  // namespace octet::kernels
