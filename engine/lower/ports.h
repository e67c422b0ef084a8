// How a step that evaluates an operator gets at its values, wherever they lie: in the arena (dense or as an image), in a
// slot of the frame, or constant.
#pragma once

#include <vector>

#include "engine/lower/lower.h"
#include "graph/tensor.h"
#include "kernels/ops.h"

namespace octet {

class Port {
 public:
  // `value` may be null: an absent operand.
  static Port to_read(const Lowering& lowering, const graph::Value* value);
  static Port to_write(const Lowering& lowering, const graph::Value* value);

  // Shares the arena's memory where the value lies dense there.
  graph::Tensor read(const RunContext& context) const;
  // Throws Error naming the node where the tensor is not what the plan expects. What goes into a slot must own its memory.
  void write(const graph::Node& node, size_t output, graph::Tensor tensor, const RunContext& context) const;
  bool in_slot() const { return slot_ >= 0; }

 private:
  static Port make(const Lowering& lowering, const graph::Value* value, bool writes);

  bool present_ = false;
  int slot_ = -1;
  graph::Tensor constant_;  // defined for constants
  DType dtype_ = DType::undefined;
  Shape shape_;
  size_t bytes_ = 0;
  Location at_;
  bool strided_ = false;
  kernels::CopyProblem copy_;
};

std::vector<Port> ports_to_read(const Lowering& lowering, const graph::Node& node);
std::vector<Port> ports_to_write(const Lowering& lowering, const graph::Node& node);
std::vector<graph::Tensor> read_all(const std::vector<Port>& ports, const RunContext& context);

}  // namespace octet
