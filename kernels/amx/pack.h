// Weights as AMX tiles.
//
// K is a list of *runs*: bytes of x that lie together, one a kernel position (its channels), or, where pixels touch and
// columns are not dilated, one a kernel row (kw * ic bytes; a 7x7 kernel over 3 channels is 7 runs of 21 bytes, not 49 of
// 3). Each run is cut into *k steps* of 64 bytes, the last padded: x is read on there, and meets zero weights.
//
//   panel (16 output channels) = one tile a k step, in order:  16 rows of 64 bytes, row r = [16 channels][4], k = 4r..4r+3
//
// Where runs are so short that most of their steps is padding (kernels over 3 channels), K is *stacked*: in the order of the
// stacks of gather.h, 7x7 over 3 channels with stride 2 is 4 elements of 48 bytes, 3 steps instead of 7.
//
// A step's place is (kernel row, kernel column, byte), so packed weights do not depend on the image.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/amx/blocking.h"

namespace octet::kernels::amx {

struct KStep {
  int32_t ky = 0, kx = 0, byte = 0;  // byte: from channel 0 of the group at that position
};

struct Form {
  bool needs_touching_pixels = false;
  int64_t stacked_stride = 0;  // stride_w of the stacks when K is stacked; 0: it is not
  std::vector<KStep> steps;    // stacked: only their number counts
  AlignedBuffer tiles;         // [groups][panels][steps][1024]
  int64_t panel_bytes() const { return static_cast<int64_t>(steps.size()) * kTileBytes; }
};

struct Packed {
  int64_t panels = 1;       // of a group
  std::vector<Form> forms;  // the first whose condition holds is used; the last has none
};

}  // namespace octet::kernels::amx
