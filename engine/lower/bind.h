// Binding a kernel of kernels/ops.h to the places of its operands.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/lower/lower.h"
#include "kernels/ops.h"

namespace octet {

// How to walk values of one shape together: one kernel call a block, each of `rows` runs of `length` contiguous elements.
// The longest runs that all places share; plain dense values make a single run.
struct Walk {
  struct Operand {
    std::vector<int64_t> starts;  // bytes from the value's first element, one a block
    int64_t row = 0;              // elements between runs
  };
  int64_t rows = 1, length = 1;
  std::vector<Operand> operands;
  size_t blocks() const { return operands.empty() ? 0 : operands[0].starts.size(); }
};

Walk walk(const Lowering& lowering, const std::vector<const graph::Value*>& values);
// Images pixel by pixel: no block goes beyond a sample, runs are one pixel's channels.
Walk walk_samples(const Lowering& lowering, const std::vector<const graph::Value*>& images);

// Plain values that broadcast to `shape`, walked together: axes that continue one another in all of them are one; the last
// is the run, the one before it the rows, the others make blocks. inner: elements between neighbours in a run, 0 or 1.
struct BroadcastWalk {
  Walk walk;
  std::vector<int64_t> inner;
};
BroadcastWalk broadcast_walk(const Shape& shape, const std::vector<const graph::Value*>& values);

// A step that calls `kernel` for every block. `values` are y, a, [b] as given to walk(); b may be apart (a broadcast operand
// at `b`, the same for all blocks).
StepInfo& add_walk_step(Lowering& lowering, const graph::Node& node, std::shared_ptr<const kernels::Kernel> kernel,
                        const Walk& walk, const std::vector<const graph::Value*>& values,
                        const Location* broadcast_b = nullptr);

}  // namespace octet
