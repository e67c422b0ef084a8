// Scalar references that kernels/ops.h does not declare: parts of the work, and helpers shared with the kernels.
#pragma once

#include "kernels/ops.h"
#include "kernels/partition.h"

namespace octet::kernels {

void table_reference(const TableProblem& problem, const KernelArgs& args);

// Output rows [rows.begin, rows.end) of n * oh.
void pool_reference_rows(const PoolProblem& problem, const KernelArgs& args, WorkRange rows);

// DynamicQuantizeLinear's scale and zero point from the minimum and maximum (0 included) of the input.
struct DynamicParams {
  float scale = 1;
  int32_t zero_point = 0;
};
DynamicParams dynamic_params(float min, float max);
// The smaller and the larger, the running value kept when x is NaN.
inline float running_min(float x, float so_far) { return x < so_far ? x : so_far; }
inline float running_max(float x, float so_far) { return x > so_far ? x : so_far; }

// Rows [rows.begin, rows.end) of n * h.
void copy_reference_rows(const CopyProblem& problem, const KernelArgs& args, WorkRange rows);

}  // namespace octet::kernels
