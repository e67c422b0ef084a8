// The dynamic dialect on kernels: several samples, halos whose value is known at run time, activations shared by two
// products.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/model.h"
#include "graph/quantize/dialects.h"
#include "graph/quantize/quantize.h"
#include "kernels/isa.h"
#include "octet/octet.h"
#include "tests/graph/builder.h"

namespace octet {
namespace {

using graph::Value;
using Longs = std::vector<int64_t>;

std::unique_ptr<graph::Graph> network(int64_t batch) {
  graph::test::Builder b;
  const auto conv = [&](Value* x, int64_t out, int64_t group, uint32_t seed) {
    const int64_t in = x->type().shape()[1] / group;
    Value* w = b.graph.add_constant(graph::test::random_floats({out, in, 3, 3}, seed, -0.4f, 0.4f));
    return b.op("Conv", {x, w, b.graph.add_constant(graph::test::random_floats({out}, seed + 1))},
                {{"kernel_shape", Longs{3, 3}}, {"pads", Longs(4, 1)}, {"group", group}});
  };
  Value* x = b.op("Relu", {conv(b.input("x", {batch, 3, 9, 7}), 16, 1, 1)});
  x = b.op("Add", {conv(x, 16, 16, 3), conv(x, 16, 1, 5)});
  x = b.op("Flatten", {b.op("GlobalAveragePool", {x})}, {{"axis", int64_t{1}}});
  b.output(b.op("Gemm", {x, b.graph.add_constant(graph::test::random_floats({5, 16}, 7))}, {{"transB", int64_t{1}}}));
  const auto g = b.graph.clone();
  graph::prepare_for_quantization(*g);
  return graph::quantize_dynamic(*g);
}

std::vector<float> run(int64_t batch, const std::string& isa, int threads, std::vector<StepInfo>* steps = nullptr) {
  const Model model = model_from_graph(network(batch), {isa, {}});
  Session session(model, {threads, true});
  const graph::Tensor x = graph::test::random_floats({batch, 3, 9, 7}, 11, -2, 2);
  session.set_input("x", x.view());
  session.run();
  if (steps) *steps = session.steps();
  const TensorView y = session.output(0);
  const auto* values = static_cast<const float*>(y.data);
  return {values, values + element_count(y.shape)};
}

TEST(DynamicQuantization, EveryIsaGivesTheReferencesBits) {
  for (const int64_t batch : {1, 3}) {
    const std::vector<float> want = run(batch, "reference", 1);
    for (const kernels::Isa& isa : kernels::all_isas()) {
      if (!kernels::supported(isa)) continue;
      for (const int threads : {1, 2})
        EXPECT_EQ(run(batch, std::string(isa.name), threads), want) << isa.name << ", batch " << batch;
    }
  }
}

TEST(DynamicQuantization, AnActivationIsQuantizedOnceAndOnKernels) {
  std::vector<StepInfo> steps;
  run(3, "avx2", 1, &steps);
  const auto count = [&](const char* kernel) {
    return std::count_if(steps.begin(), steps.end(), [&](const StepInfo& s) { return s.kernel == kernel; });
  };
  EXPECT_EQ(count("min max"), 2) << "of the input and the pooled image; a product finds the range of what it stores";
  EXPECT_EQ(count("quantize dynamic"), 3);
  EXPECT_EQ(count("eval"), 0);
}

}  // namespace
}  // namespace octet
