#include "kernels/caches.h"

#include <cpuinfo.h>

namespace octet::kernels {

const Caches& caches() {
  static const Caches found = [] {
    Caches c;
    if (!cpuinfo_initialize()) return c;
    if (cpuinfo_get_l1d_caches_count() > 0) c.first_level = cpuinfo_get_l1d_cache(0)->size;
    if (cpuinfo_get_l2_caches_count() > 0) c.second_level = cpuinfo_get_l2_cache(0)->size;
    return c;
  }();
  return found;
}

}  // namespace octet::kernels
