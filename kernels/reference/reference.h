// Scalar references that kernels/ops.h does not declare: parts of the work, and helpers shared with the kernels.
#pragma once

#include "kernels/ops.h"
#include "kernels/partition.h"

namespace octet::kernels {

void table_reference(const TableProblem& problem, const KernelArgs& args);

// Output rows [rows.begin, rows.end) of n * oh.
void pool_reference_rows(const PoolProblem& problem, const KernelArgs& args, WorkRange rows);

// The window of one output pixel clipped to the image: rows y0, y0 + dilation_h, ... of which there are `h`, likewise columns;
// `count` is what an average divides by.
struct PoolWindow {
  int64_t y0 = 0, x0 = 0, h = 0, w = 0;
  int64_t count = 0;
  bool operator==(const PoolWindow&) const = default;
};
PoolWindow pool_window(const PoolProblem& problem, int64_t oy, int64_t ox);

// DynamicQuantizeLinear's scale and zero point from the minimum and maximum (0 included) of the input.
struct DynamicParams {
  float scale = 1;
  int32_t zero_point = 0;
};
DynamicParams dynamic_params(float min, float max);
// The smaller and the larger, the running value kept when x is NaN.
inline float running_min(float x, float so_far) { return x < so_far ? x : so_far; }
inline float running_max(float x, float so_far) { return x > so_far ? x : so_far; }

void copy_reference_planes(const CopyProblem& problem, const KernelArgs& args, WorkRange rows);

}  // namespace octet::kernels
