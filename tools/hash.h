// FNV-1a with 64 bits (Fowler, Noll, Vo): enough to tell apart outputs that differ in one bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace octet::tools {

class Hash {
 public:
  void add(const void* data, size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (size_t i = 0; i < bytes; ++i) state_ = (state_ ^ p[i]) * 0x100000001b3u;
  }
  uint64_t value() const { return state_; }
  std::string hex() const {
    std::string text(16, '0');
    for (size_t i = 0; i < 16; ++i) text[15 - i] = "0123456789abcdef"[(state_ >> (4 * i)) & 15];
    return text;
  }

 private:
  uint64_t state_ = 0xcbf29ce484222325u;
};

}  // namespace octet::tools
