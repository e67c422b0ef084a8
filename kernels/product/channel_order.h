// The order of a tensor's channels that makes the weights which read them cheap to add exactly (bins.h).
//
// A group of four channels costs most where two neighbours, of which vpmaddubsw makes one sum, are large with the same sign
// in any column of a panel. Which channels are neighbours is free as long as all who read and write the tensor agree:
//
//   channels   0 1 2 3 4 5 …      pairs are chosen first (1), then pairs of pairs that are heavy in the same panels (2)
//      (1)    0─4   1─3   2─5 …   a channel takes the best of the next few that are left
//      (2)    0 4 2 5 │ 1 3 … …
//
// Greedy, deterministic, and a heuristic only: any order gives the same sums.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/isa.h"

namespace octet::kernels {

// Weights [outputs][channels][taps] that read the tensor; output_order[i] is the output that lies at place i, empty: in
// order.
struct ChannelUse {
  const int8_t* weights = nullptr;
  int64_t outputs = 0, taps = 1;
  std::span<const int64_t> output_order;
};

// Columns of a panel of weights whose cost depends on the order of channels; 0 on an ISA where it does not.
int ordered_columns(const Isa& isa);

// order[i] is the channel to lie at place i. `within_panels`: a channel stays among the `columns` it was with. `channels`
// that are no multiple of 4 stay as they are.
std::vector<int64_t> order_channels(std::span<const ChannelUse> uses, int64_t channels, int columns, bool within_panels);

}  // namespace octet::kernels
