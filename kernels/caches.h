// Sizes of this machine's caches, in bytes, as one core sees them. What cpuinfo does not know is taken as small.
#pragma once

#include <cstddef>

namespace octet::kernels {

struct Caches {
  size_t first_level = 32 * 1024;
  size_t second_level = 512 * 1024;
};
const Caches& caches();

}  // namespace octet::kernels
