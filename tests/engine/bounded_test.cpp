// Products whose quantization is foreseen (engine/lower/bounded.h): the bits are those of the reference whether their values
// reach the bounds or not, in whatever order inputs come.
#include "engine/lower/bounded.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "engine/model.h"
#include "graph/quantize/dialects.h"
#include "graph/quantize/quantize.h"
#include "kernels/isa.h"
#include "octet/octet.h"
#include "tests/graph/builder.h"

namespace octet {
namespace {

using graph::Tensor;
using graph::Value;
using Longs = std::vector<int64_t>;

// An inverted bottleneck with clamps from `low` to 6.
std::unique_ptr<graph::Graph> network(float low) {
  graph::test::Builder b;
  const auto conv = [&](Value* x, int64_t out, int64_t kernel, int64_t group, uint32_t seed) {
    const int64_t in = x->type().shape()[1] / group;
    Value* w = b.graph.add_constant(graph::test::random_floats({out, in, kernel, kernel}, seed, -0.5f, 0.5f));
    return b.op("Conv", {x, w, b.graph.add_constant(graph::test::random_floats({out}, seed + 1, -0.1f, 0.1f))},
                {{"kernel_shape", Longs(2, kernel)}, {"pads", Longs(4, kernel / 2)}, {"group", group}});
  };
  const auto clamp = [&](Value* x) { return b.op("Clip", {x, b.scalar(low), b.scalar(6.0f)}); };
  Value* x = clamp(conv(b.input("x", {1, 8, 9, 7}), 96, 1, 1, 1));
  x = clamp(conv(x, 96, 3, 96, 3));
  b.output(conv(x, 8, 1, 1, 5));
  const auto g = b.graph.clone();
  graph::prepare_for_quantization(*g);
  return graph::quantize_dynamic(*g);
}

Tensor input(float size) { return graph::test::random_floats({1, 8, 9, 7}, 11, -size, size); }

std::vector<float> run(Session& session, const Tensor& x) {
  session.set_input("x", x.view());
  session.run();
  const TensorView y = session.output(0);
  const auto* values = static_cast<const float*>(y.data);
  return {values, values + element_count(y.shape)};
}

TEST(Bounded, TheReferencesBitsWhetherBoundsAreReachedOrNot) {
  for (const float low : {0.0f, -2.0f, 0.5f}) {
    std::map<float, std::vector<float>> want;
    const Model reference = model_from_graph(network(low), {"reference", {}});
    for (const float size : {0.0f, 0.01f, 1.0f, 100.0f}) {
      Session session(reference, {.threads = 1});
      want[size] = run(session, input(size));
    }
    for (const kernels::Isa& isa : kernels::all_isas()) {
      if (!kernels::supported(isa) || isa.id == kernels::IsaId::reference) continue;
      const Model model = model_from_graph(network(low), {std::string(isa.name), {}});
      for (const int threads : {1, 3}) {
        Session session(model, {.threads = threads});
        for (const float size : {100.0f, 100.0f, 0.01f, 100.0f, 1.0f, 0.0f, 100.0f})
          EXPECT_EQ(run(session, input(size)), want[size]) << isa.name << ", clamps from " << low << ", inputs of " << size;
        for (int i = 0; i < kRunsToWait; ++i) run(session, input(100.0f));
        EXPECT_EQ(run(session, input(100.0f)), want[100.0f]) << isa.name << ", tried again";
      }
    }
  }
}

TEST(Bounded, BothProductsAreDoneAtTheirBounds) {
  const Model model = model_from_graph(network(0), {"avx2", {}});
  Session session(model, {.threads = 1, .profile = true});
  run(session, input(100));
  const auto count = [&](std::string_view words) {
    const auto steps = session.steps();
    return std::count_if(steps.begin(), steps.end(),
                         [&](const StepInfo& s) { return s.kernel.find(words) != std::string::npos; });
  };
  EXPECT_EQ(count("at its bounds"), 2);
  EXPECT_EQ(count("eval"), 0);
}

TEST(Bounded, ARunThatMissesTheBoundsIsFollowedBySomeThatDoNotTry) {
  EXPECT_TRUE(tries_bounds(0));
  EXPECT_EQ(next_state(0, true), 0);
  int32_t state = next_state(0, false);
  for (int i = 0; i < kRunsToWait; ++i) {
    EXPECT_FALSE(tries_bounds(state)) << i;
    state = next_state(state, false);
  }
  EXPECT_TRUE(tries_bounds(state));
  EXPECT_TRUE(tries_bounds(-7) && tries_bounds(1 << 20)) << "whatever the arena held";
}

}  // namespace
}  // namespace octet
