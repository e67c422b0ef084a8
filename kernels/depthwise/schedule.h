// The order of work of a depthwise kernel, as data: which input pixels are loaded together, and what they are good for.
//
// A depthwise convolution has one product per input pixel, tap and channel; all the reuse there is lies in the plane. A
// kernel computes a block of rows x cols output pixels, for one vector of channels, with every accumulator in a register.
// Its inputs are loaded in *groups* of `taps` neighbouring pixels, interleaved so that a 32-bit lane holds the same channel
// of all pixels of the group: one instruction then multiplies by `taps` weights and adds. taps is 1 for float, 2 for int16
// (vpmaddwd), 4 for bytes (vpdpbusd). One group serves every output of the block whose window meets it, each with its own
// weight *tuple*:
//
//   3x3, taps 2, a block of 2 x 2, input rows 0..3 and columns 0..3:
//     row 0       groups lie flat   (0,0 0,1) (0,2 0,3)       output (0,0) by (w00,w01), then (w02,-); (0,1) by (-,w00) ..
//     rows 1, 2   groups stand      (1,0 2,0) (1,1 2,1) ..    output (0,0) by (w10,w20), output (1,0) by (w00,w10) ..
//     row 3       groups lie flat
//
// so a tuple may have holes; a pixel that no tuple of a group uses is not read. Kernels, strides and dilations of any size
// give such a schedule. The planner cuts the input rows into bands of 1, 2 or 4 (dynamic programming) and tries all block
// sizes, for the fewest instructions an output over common image widths. With taps = 1 every band is one row and groups go
// from left to right, so every output gets its taps in (kernel row, kernel column) order, which octet/numerics.h fixes for
// float sums. Blocks at the right and bottom edge have schedules of their own, over the same tuples.
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
// (output pixels in a block), and instructions a block may have before it becomes a loop.
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
