// How a copy between two stride sets is carried out: a pure function of the problem.
//
// An image copy is four nested loops (n, h, w, c), each a size and two strides. Loops of size 1 go, loops that continue one
// another in both tensors become one, and what is left has one of three forms:
//
//   runs       some loop is contiguous in both: blocks of `run_bytes` moved between strided places (concat, split, halos,
//   phases) transpose  one loop is contiguous in the source and another in the destination (NCHW <-> NHWC) scalar anything
//   else, and transpositions of 2- and 8-byte elements: element by element
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops.h"

namespace octet::kernels {

struct CopyLoop {
  int64_t size = 1, from = 0, to = 0;  // strides in bytes
  bool operator==(const CopyLoop&) const = default;
};

enum class CopyForm : uint8_t { runs, transpose, scalar };

struct CopyPlan {
  CopyForm form = CopyForm::scalar;
  std::vector<CopyLoop> outer;  // outermost first, at most three
  int64_t run_bytes = 0;        // runs
  CopyLoop source_line;         // transpose: the loop contiguous in the source (from == element)
  CopyLoop destination_line;    // transpose: the loop contiguous in the destination (to == element)
};

CopyPlan plan_copy(const CopyProblem& problem);

}  // namespace octet::kernels
