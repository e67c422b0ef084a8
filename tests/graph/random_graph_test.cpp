// What optimization may do to integers, on 200 random graphs.
//
//   folding     Every integer of the optimized graph is the nearest one to the real number that the unoptimized graph
//   computes from
//               the same integers (both walk in step: where both have a quantized value of one name, the optimized graph's
//               integers go on in both). So a tie of float32 may fall either way once, at the node folded, and nothing else
//               may move.
//   fusion      After folding nothing moves at all: with and without the passes that only fuse, the outputs are the same
//   bytes. dialects    The operator-oriented spelling of the graph optimizes to the same bytes.
#include "tests/graph/random_graph.h"

#include <cstring>

#include "graph/passes/match.h"
#include "graph/quantize/dialects.h"
#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

constexpr uint32_t kGraphs = 200;

using Values = std::map<std::string, std::pair<const Value*, Tensor>>;

Values run_all(const Graph& graph, const std::vector<Tensor>& inputs) {
  Values values;
  for (size_t i = 0; i < inputs.size(); ++i) values[graph.inputs()[i]->name()] = {graph.inputs()[i], inputs[i]};
  for (const auto& node : graph.nodes()) {
    std::vector<Tensor> in;
    for (const Value* v : node->inputs())
      in.push_back(!v ? Tensor() : v->is_constant() ? v->constant() : values.at(v->name()).second);
    const std::vector<Tensor> out = evaluate(*node, in);
    for (size_t i = 0; i < out.size(); ++i) values[node->output(i)->name()] = {node->output(i), out[i]};
  }
  return values;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.as<std::byte>(), b.as<std::byte>(), a.bytes()) == 0;
}

std::unique_ptr<Graph> optimized(const Graph& graph, const std::vector<std::string>& disabled = {}) {
  auto copy = graph.clone();
  PassOptions options;
  options.disabled = disabled;
  optimize(*copy, options);
  return copy;
}

// Float32 rounding of the unoptimized graph, in quanta: of the value itself, and of the terms that cancelled in it.
constexpr double kRelative = 2e-5, kAbsolute = 2e-3;

struct Walk {
  int compared = 0, ties = 0;
};

// The integers of `fast` at the Q `q` of the unoptimized graph, which has computed `reals`; returns them as q's own type.
Tensor expect_nearest(const Quantize& q, const Tensor& reals, const Value& value, const Tensor& fast, Walk& walk) {
  const double scale = static_cast<double>(q.params.scale[0]);
  const int lo = q.dtype == DType::s8 ? -128 : 0, zero = q.params.zero_point[0], fast_zero = value.quant()->zero_point[0];
  EXPECT_EQ(value.quant()->scale[0], q.params.scale[0]) << value.name();
  EXPECT_EQ(fast.shape(), reals.shape()) << value.name();
  Tensor own(q.dtype, fast.shape());
  for (int64_t i = 0; i < fast.size(); ++i) {
    const double exact = static_cast<double>(reals.as<float>()[i]) / scale;
    const double wanted = std::clamp(exact, static_cast<double>(lo - zero), static_cast<double>(lo + 255 - zero));
    const auto quantum = static_cast<double>(fast.at_s64(i) - fast_zero);
    const double off = std::fabs(quantum - wanted);
    if (off > 0.5) ++walk.ties;
    if (off > 0.5 + kAbsolute + kRelative * std::fabs(exact)) {
      ADD_FAILURE() << value.name() << "[" << i << "] is " << quantum << " quanta where the unoptimized graph has " << exact;
      return own;
    }
    own.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(fast.at_s64(i) - fast_zero + zero);
  }
  ++walk.compared;
  return own;
}

Walk expect_folding(const Graph& graph, const Graph& folded, const std::vector<Tensor>& inputs) {
  const Values fast = run_all(folded, inputs);
  std::map<const Value*, Tensor> slow;
  for (size_t i = 0; i < inputs.size(); ++i) slow[graph.inputs()[i]] = inputs[i];
  Walk walk;
  for (const auto& node : graph.nodes()) {
    std::vector<Tensor> in;
    for (const Value* v : node->inputs()) in.push_back(!v ? Tensor() : v->is_constant() ? v->constant() : slow.at(v));
    const std::vector<Tensor> out = evaluate(*node, in);
    for (size_t i = 0; i < out.size(); ++i) slow[node->output(i)] = out[i];
    const std::optional<Quantize> q = as_quantize(node.get());
    const auto it = fast.find(node->output()->name());
    if (!q || it == fast.end() || !it->second.first->quant() || size_of(it->second.first->dtype()) != 1) continue;
    slow[node->output()] = expect_nearest(*q, in[0], *it->second.first, it->second.second, walk);
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const Tensor &want = slow.at(graph.outputs()[i]), &got = fast.at(folded.outputs()[i]->name()).second;
    if (want.dtype() != DType::f32) continue;
    const double largest = [&] {
      double m = 1;
      for (const float v : want.to_f32()) m = std::max(m, std::fabs(static_cast<double>(v)));
      return m;
    }();
    EXPECT_LE(largest_difference(want, got), 2e-5 * largest) << "output " << i;
  }
  return walk;
}

void expect_same_outputs(const Graph& a, const Graph& b, const std::vector<Tensor>& inputs, const char* what) {
  const std::vector<Tensor> x = run_reference(a, inputs), y = run_reference(b, inputs);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_TRUE(same_bytes(x[i], y[i])) << what << ", output " << i;
}

TEST(RandomGraphs, OptimizedAndUnoptimizedComputeTheSame) {
  Walk all;
  size_t integers = 0, nodes = 0;
  for (uint32_t seed = 0; seed < kGraphs && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomGraph random(seed);
    const std::vector<Tensor>& inputs = random.inputs();
    const auto folded = optimized(random.graph(), {"fuse_residual", "merge_tables", "fuse_norms"});
    const Walk walk = expect_folding(random.graph(), *folded, inputs);
    all.compared += walk.compared;
    all.ties += walk.ties;
    const auto fused = optimized(random.graph());
    expect_same_outputs(*folded, *fused, inputs, "fusion");
    const auto qlinear = random.graph().clone();
    to_qlinear(*qlinear);
    expect_same_outputs(*fused, *optimized(*qlinear), inputs, "dialects");
    for (const auto& node : fused->nodes()) {
      ++nodes;
      integers += node->output()->quant() ? 1 : 0;
    }
  }
  // The comparison must have had something to compare.
  EXPECT_GT(all.compared, 4 * static_cast<int>(kGraphs));
  EXPECT_GT(integers, nodes / 2);
  RecordProperty("compared", all.compared);
  RecordProperty("ties", all.ties);
}

}  // namespace
}  // namespace octet::graph::test
