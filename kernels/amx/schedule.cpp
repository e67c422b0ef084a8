#include "kernels/amx/schedule.h"

#include <algorithm>

namespace octet::kernels::amx {

Schedule make_schedule(int tiles, int accumulators, int k_steps, int units) {
  constexpr int kSpread = 64;  // further apart, a block's parameters are only fetched earlier than they are needed
  Schedule s;
  s.slots = tiles * k_steps;
  const int first = s.slots + accumulators - 1;  // slots since the block's own first
  const bool wraps = s.slots <= 2 * tiles;
  const int span = wraps ? s.slots : std::min(s.slots - tiles, kSpread);
  for (int i = 0; i < units; ++i) {
    const int slot = first + i * span / units;
    s.units.push_back({slot % s.slots, slot / s.slots});
  }
  s.setup_slot = first % s.slots;
  s.setup_stage = first / s.slots;
  s.last_stage = s.units.empty() ? 1 : s.units.back().stage;
  s.two_buffers = s.last_stage > 1 || (!s.units.empty() && s.units.back().slot == s.slots - 1);
  return s;
}

}  // namespace octet::kernels::amx
