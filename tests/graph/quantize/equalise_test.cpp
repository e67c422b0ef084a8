// A channel that towers over the others costs them bits; its factor moves into the weights.
#include "graph/quantize/equalise.h"

#include "graph/quantize/dialects.h"
#include "graph/quantize/quantize.h"
#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

constexpr int64_t kRows = 32, kChannels = 24, kOutputs = 16;

// x -> normalisation whose channel 5 is forty times the others -> product [-> and the normalised value itself].
std::unique_ptr<Graph> network(bool others_read_it, bool transposed = false) {
  Builder b;
  std::vector<float> scale(kChannels, 1.0f);
  scale[5] = 40;
  Value* x = b.op("LayerNormalization", {b.input("x", {kRows, kChannels}), b.floats({kChannels}, scale),
                                         b.graph.add_constant(random_floats({kChannels}, 1))});
  if (transposed)
    b.output(b.op("Gemm", {x, b.graph.add_constant(random_floats({kOutputs, kChannels}, 2))}, {{"transB", int64_t{1}}}));
  else
    b.output(b.op("MatMul", {x, b.graph.add_constant(random_floats({kChannels, kOutputs}, 2))}));
  b.output(b.op("MatMul", {x, b.graph.add_constant(random_floats({kChannels, 8}, 3))}));
  if (others_read_it) b.output(b.op("Relu", {x}));
  return b.graph.clone();
}

ChannelStatisticsMap statistics_of(const Graph& graph, uint32_t seed = 7) {
  const auto probed = graph.clone();
  const std::vector<std::string> names = values_to_equalise(graph);
  for (const std::string& name : names) probed->add_output(probed->find_value(name), "probe of " + name);
  const std::vector<Tensor> values = run_reference(*probed, random_inputs(*probed, seed));
  ChannelStatisticsMap result;
  for (size_t i = 0; i < names.size(); ++i) {
    const Tensor& t = values[graph.outputs().size() + i];
    result[names[i]].add(t.as<float>(), t.size() / t.shape().back(), t.shape().back());
  }
  return result;
}

double error_energy(const Graph& graph, const Graph& exact, size_t output) {
  const std::vector<Tensor> in = random_inputs(exact, 9);
  const std::vector<float> a = run_reference(graph, in)[output].to_f32(), b = run_reference(exact, in)[output].to_f32();
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  return sum;
}

TEST(Equalise, TheFloatNetworkKeepsItsBits) {
  for (const bool others : {false, true}) {
    const auto graph = network(others, others);
    prepare_for_quantization(*graph);
    const auto before = graph->clone();
    EXPECT_EQ(equalise_channels(*graph, statistics_of(*graph)), 1);
    verify(*graph);
    const std::vector<Tensor> in = random_inputs(*graph, 3);
    const std::vector<Tensor> a = run_reference(*before, in), b = run_reference(*graph, in);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(largest_difference(a[i], b[i]), 0) << i;
  }
}

TEST(Equalise, ANormalisationThatOnlyProductsReadTakesTheFactors) {
  const auto folded = network(false), kept = network(true);
  for (Graph* graph : {folded.get(), kept.get()}) {
    prepare_for_quantization(*graph);
    equalise_channels(*graph, statistics_of(*graph));
  }
  EXPECT_EQ(find_node(*folded, "Mul"), nullptr);
  const Node* mul = find_node(*kept, "Mul");
  ASSERT_NE(mul, nullptr);
  EXPECT_EQ(mul->output()->uses().size(), 2u);  // both products; the Relu reads what it read before
  EXPECT_EQ(find_node(*kept, "Relu")->input(0), mul->input(0));
  const Tensor& factors = mul->input(1)->constant();
  EXPECT_LE(factors.as<float>()[5], 0.125f);
  EXPECT_EQ(factors.as<float>()[4], 1.0f);
}

TEST(Equalise, QuantizedProductsComeCloserToFloat) {
  const auto exact = network(true);
  prepare_for_quantization(*exact);
  const auto even = exact->clone();
  equalise_channels(*even, statistics_of(*even));
  const auto before = quantize_dynamic(*exact), after = quantize_dynamic(*even);
  for (const size_t output : {size_t{0}, size_t{1}})
    EXPECT_LT(error_energy(*after, *exact, output) * 4, error_energy(*before, *exact, output)) << output;
}

TEST(Equalise, EvenChannelsStayAsTheyAre) {
  ChannelStatistics x;
  const Tensor values = random_floats({64, 32}, 5);
  x.add(values.as<float>(), 64, 32);
  const std::vector<float> weights = random_floats({32, 8}, 6).to_f32();
  EXPECT_TRUE(equalising_factors(x, weights).empty());
  x.max[3] = 100;
  const std::vector<float> s = equalising_factors(x, weights);
  ASSERT_EQ(s.size(), 32u);
  EXPECT_GE(s[3], 8.0f);
  for (size_t c = 4; c < s.size(); ++c) EXPECT_LE(s[c], 2.0f);
}

TEST(Equalise, AValueWithoutStatisticsIsNamed) {
  const auto graph = network(true);
  prepare_for_quantization(*graph);
  EXPECT_THROW(equalise_channels(*graph, {}), Error);
}

}  // namespace
}  // namespace octet::graph::test
