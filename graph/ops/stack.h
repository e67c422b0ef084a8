// What the iterations of a loop give, collected into one tensor.
#pragma once

#include <string>
#include <vector>

#include "graph/op_def.h"

namespace octet::graph::ops {

// Tensors of one type and shape, put together along a new axis, in the order of the iterations or against it.
class Stack {
 public:
  void add(const EvalContext& ctx, const Tensor& t);
  // `like`: the type of the output, for the shape of no iterations at all.
  Tensor take(const Type& like, size_t axis, bool reverse) const;

 private:
  DType dtype_ = DType::undefined;
  Shape shape_;
  int64_t count_ = 0;
  std::vector<std::byte> bytes_;
  std::vector<std::string> strings_;
};

}  // namespace octet::graph::ops
