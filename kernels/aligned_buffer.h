// Owned memory on a cache line's boundary, with kSlack readable bytes behind it. Zeroed, or (for_overwrite) left as the system
// gives it, so that pages never written cost nothing.
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
  // What spans whole huge pages asks for them.
  static std::byte* allocate(size_t bytes);

  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t bytes_ = 0;
};

}  // namespace octet::kernels
