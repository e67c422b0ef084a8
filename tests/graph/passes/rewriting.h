// What every test of a pass does: evaluate, rewrite, verify, evaluate again.
#pragma once

#include <gtest/gtest.h>

#include "graph/passes/match.h"
#include "graph/passes/pass.h"
#include "graph/passes/passes.h"
#include "tests/graph/builder.h"

namespace octet::graph::test {

inline std::vector<Tensor> random_inputs(const Graph& graph, uint32_t seed = 1) {
  std::vector<Tensor> in;
  for (const Value* v : graph.inputs()) {
    const Shape shape = v->type().shape();
    in.push_back(v->dtype() == DType::f32 ? random_floats(shape, seed++, -2.0f, 2.0f)
                                          : random_bytes(v->dtype(), shape, seed++));
  }
  return in;
}

// Largest difference over all outputs that rewriting makes; the graph is verified behind every step.
inline double difference_after(Graph& graph, const std::vector<int (*)(Graph&)>& passes, uint32_t seed = 1) {
  verify(graph);
  const std::vector<Tensor> in = random_inputs(graph, seed);
  const std::vector<Tensor> before = run_reference(graph, in);
  for (const auto pass : passes) {
    pass(graph);
    infer_types(graph);
    verify(graph);
  }
  const std::vector<Tensor> after = run_reference(graph, in);
  double worst = 0;
  for (size_t i = 0; i < before.size(); ++i) worst = std::max(worst, largest_difference(before[i], after[i]));
  return worst;
}

inline double difference_after_optimize(Graph& graph, uint32_t seed = 1) {
  const std::vector<Tensor> in = random_inputs(graph, seed);
  const std::vector<Tensor> before = run_reference(graph, in);
  optimize(graph);
  const std::vector<Tensor> after = run_reference(graph, in);
  double worst = 0;
  for (size_t i = 0; i < before.size(); ++i) worst = std::max(worst, largest_difference(before[i], after[i]));
  return worst;
}

using Names = std::vector<std::string>;

inline constexpr double kFloatTolerance = 2e-5;

}  // namespace octet::graph::test
