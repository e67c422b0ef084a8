// The order of work of a depthwise kernel, as data: which input pixels are loaded together, and what they are good for.
//
// A depthwise convolution has one product per input pixel, tap and channel; all the reuse there is lies in the plane. A kernel
// computes a block of rows x cols output pixels (for 16 channels) with every accumulator in a register. Its inputs are loaded in
// *groups* of `taps` neighbouring pixels, interleaved so that one 32-bit lane holds the same channel of all pixels of a group:
// one instruction then multiplies by `taps` weights and adds. taps is 1 for float, 2 for int16 (vpmaddwd), 4 for bytes (vpdpbusd).
// One group serves every output of the block whose window meets it, each with its own weight *tuple*:
//
//   3x3, taps 2, a block of 2 x 1, vertical groups (input rows 0..3):     column 0        column 1   ...
//     group of input rows 0,1:  output row 0 by (w00,w10), output row 1 by (-,w00)
//     group of input rows 2,3:  output row 0 by (w20,-),   output row 1 by (w10,w20)
//
// so a tuple may have holes; a pixel that no tuple of a group uses is not read. Kernels, strides and dilations of any size give
// such a schedule; the planner searches block sizes and both directions for the fewest instructions an output. Groups are in
// row-major order, so with taps = 1 every output gets its taps in (kernel row, kernel column) order: the order that
// octet/numerics.h fixes for float sums. Blocks at the right and bottom edge have schedules of their own, over the same tuples.
//
// A kernel too large to unroll (say 31x31) is a loop over tuples of consecutive taps, one group for every output pixel.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace octet::kernels::depthwise {

struct Window {
  int kh = 1, kw = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  bool operator==(const Window&) const = default;
};

inline constexpr int kMaxTaps = 4;
inline constexpr int kHole = -1;

using Tuple = std::array<int, kMaxTaps>;  // kernel positions kh * kw_count + kw, or kHole

struct Pixel {
  int row = 0, col = 0;  // relative to the window of the block's first output
  bool operator==(const Pixel&) const = default;
};

struct Use {
  int row = 0, col = 0;  // output pixel in the block
  int tuple = 0;         // index into Plan::tuples
};

struct Group {
  std::array<Pixel, kMaxTaps> pixels;  // one that no tuple reads repeats another of the group
  std::vector<Use> uses;
};

struct Schedule {
  int rows = 1, cols = 1;
  std::vector<Group> groups;
};

// What the target charges: instructions to load and interleave one group, instructions of one use, accumulators it can hold
// (output pixels in a block), and instructions a block may have before it is a loop instead.
struct Costs {
  int group = 1, use = 1, accumulators = 1, max_instructions = 1500;
};

struct Plan {
  Window window;
  int taps = 1;
  int rows = 1, cols = 1;  // largest block
  bool looped = false;     // no schedules; tuple t covers kernel positions t * taps ..
  std::vector<Tuple> tuples;
  std::vector<Schedule> schedules;  // of a block of r x c at [(r - 1) * cols + c - 1]

  const Schedule& schedule(int r, int c) const { return schedules[static_cast<size_t>((r - 1) * cols + c - 1)]; }
};

Plan make_plan(const Window& window, int taps, const Costs& costs);

}  // namespace octet::kernels::depthwise
