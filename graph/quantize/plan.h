// What is to be quantized: the analysis behind quantize_static, which only writes it down.
//
// Values that must share one scale form a group: the data operands and results of transparent operators. A group is demanded
// when one of its values is: by a product, or by an operator that computes on integers because its own result is demanded.
// Every value of a demanded group gets a Q and a DQ; its range is the union of its sources' ranges, a source being a value
// of the group that no transparent operator of the group made.
#pragma once

#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/quantize/quantize.h"

namespace octet::graph {

struct QuantizedProduct {
  Node* node = nullptr;
  int weight_axis = 0;        // of the output channels
  Value* end = nullptr;       // after the operators that are computed together with it
  Value* residual = nullptr;  // the other operand of an Add among them
  Use bias{nullptr, 0};       // where the bias is read: by the product, or of a MatMul by an Add behind it; null node: none
};

struct QuantGroup {
  std::vector<Value*> values;        // in topological order; constants among them
  std::vector<std::string> sources;  // values whose ranges count
  std::vector<Range> known;          // ranges that are known: of constants
};

struct QuantPlan {
  std::vector<QuantizedProduct> products;
  std::vector<QuantGroup> groups;
  int caches = 0;  // attentions over one
};

// Sets `why` of products that stay in float.
QuantPlan make_plan(Graph& graph, const QuantizeOptions& options);

}  // namespace octet::graph
