// One network in every dialect: the same integers, whatever it is written in.
#include "graph/quantize/dialects.h"

#include "graph/quantize/quantize.h"
#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

using Longs = std::vector<int64_t>;

// conv, relu, maxpool; a residual add; a concat with a pool; sigmoid gate; a head with a bias.
std::unique_ptr<Graph> network() {
  Builder b;
  const auto weights = [&](const Shape& shape, uint32_t seed) {
    return b.graph.add_constant(random_floats(shape, seed, -0.3f, 0.3f));
  };
  const auto conv = [&](Value* x, int64_t out, uint32_t seed) {
    const int64_t in = x->type().shape()[1];
    return b.op("Conv", {x, weights({out, in, 3, 3}, seed), b.graph.add_constant(random_floats({out}, seed + 1))},
                {{"pads", Longs{1, 1, 1, 1}}, {"kernel_shape", Longs{3, 3}}});
  };
  Value* x = b.op("Relu", {conv(b.input("x", {1, 3, 8, 8}), 8, 1)});
  x = b.op("MaxPool", {x}, {{"kernel_shape", Longs{2, 2}}, {"strides", Longs{2, 2}}});
  Value* y = conv(b.op("Clip", {conv(x, 8, 3), b.scalar(0), b.scalar(6)}), 8, 5);
  x = b.op("Relu", {b.op("Add", {x, y})});
  x = b.op("Concat", {x, conv(x, 4, 7)}, {{"axis", int64_t{1}}});
  x = b.op("Mul", {conv(x, 6, 9), b.op("Sigmoid", {conv(x, 6, 11)})});
  x = b.op("Flatten", {b.op("GlobalAveragePool", {x})}, {{"axis", int64_t{1}}});
  x = b.op("Gemm", {x, weights({5, 6}, 13), b.graph.add_constant(random_floats({5}, 14))}, {{"transB", int64_t{1}}});
  b.output(x);
  return b.graph.clone();
}

// A transformer's block of rank 3: MatMul with bias.
std::unique_ptr<Graph> rows() {
  Builder b;
  Value* x = b.input("x", {2, 4, 8});
  x = b.op("MatMul", {x, b.graph.add_constant(random_floats({8, 12}, 1))});
  x = b.op("Add", {x, b.graph.add_constant(random_floats({12}, 2))});
  x = b.op("MatMul", {b.op("Relu", {x}), b.graph.add_constant(random_floats({12, 5}, 3))});
  b.output(b.op("Add", {x, b.graph.add_constant(random_floats({5}, 4))}));
  return b.graph.clone();
}

std::unique_ptr<Graph> quantized(Graph& graph) {
  prepare_for_quantization(graph);
  const auto run = graph.clone();
  const std::vector<std::string> names = values_to_calibrate(graph);
  for (const std::string& name : names) run->add_output(run->find_value(name), "calibrated_" + name);
  const std::vector<Tensor> values = run_reference(*run, random_inputs(*run, 5));
  Ranges ranges;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::vector<float> v = values[graph.outputs().size() + i].to_f32();
    ranges[names[i]] = {*std::min_element(v.begin(), v.end()), *std::max_element(v.begin(), v.end())};
  }
  return quantize_static(graph, ranges, {QuantStyle::portable});
}

std::vector<std::string> optimized_types(Graph& graph) {
  optimize(graph);
  std::vector<std::string> types;
  for (const auto& n : graph.nodes()) types.push_back(std::string(n->op_name()) + " " + to_string(n->output()->type()));
  return types;
}

void expect_equal_integers(const Graph& a, const Graph& b) {
  const std::vector<Tensor> in = random_inputs(a, 9);
  EXPECT_EQ(largest_difference(run_reference(a, in)[0], run_reference(b, in)[0]), 0);
}

TEST(Dialects, QLinearHasAnOperatorForEveryQuantizedOne) {
  const auto qdq = quantized(*network());
  to_qlinear(*qdq);
  EXPECT_EQ(op_names(*qdq),
            (Names{"QuantizeLinear", "QLinearConv", "MaxPool", "QLinearConv", "QLinearConv", "com.microsoft.QLinearAdd",
                   "Clip", "QLinearConv", "Concat", "QLinearConv", "QLinearConv", "com.microsoft.QLinearSigmoid",
                   "com.microsoft.QLinearMul", "com.microsoft.QLinearGlobalAveragePool", "Flatten", "com.microsoft.QGemm",
                   "DequantizeLinear"}));
}

TEST(Dialects, QdqAndQLinearAreOneGraphForOctet) {
  const auto qdq = quantized(*network());
  const auto qlinear = qdq->clone();
  to_qlinear(*qlinear);
  EXPECT_EQ(optimized_types(*qdq), optimized_types(*qlinear));
  expect_equal_integers(*qdq, *qlinear);
}

TEST(Dialects, SignedActivationsAreTheSameIntegersShifted) {
  const auto qdq = quantized(*network());
  const auto s8 = qdq->clone();
  to_signed_activations(*s8);
  for (const auto& n : s8->nodes())
    EXPECT_TRUE(n->op_name() != "QuantizeLinear" || n->output()->dtype() == DType::s8) << n->name();
  const auto qlinear = s8->clone();
  to_qlinear(*qlinear);
  EXPECT_EQ(find_node(*qlinear, "QLinearConv")->output()->dtype(), DType::s8);
  EXPECT_EQ(optimized_types(*qdq), optimized_types(*s8));
  EXPECT_EQ(optimized_types(*qdq), optimized_types(*qlinear));
  expect_equal_integers(*qdq, *s8);
  expect_equal_integers(*qdq, *qlinear);
}

TEST(Dialects, AMatMulWithABiasIsAGemmOfRows) {
  const auto qdq = quantized(*rows());
  const auto qlinear = qdq->clone();
  to_qlinear(*qlinear);
  EXPECT_EQ(op_names(*qlinear), (Names{"QuantizeLinear", "Reshape", "com.microsoft.QGemm", "Reshape", "Reshape",
                                       "com.microsoft.QGemm", "Reshape", "DequantizeLinear"}));
  EXPECT_EQ(optimized_types(*qdq), optimized_types(*qlinear));
  expect_equal_integers(*qdq, *qlinear);
  EXPECT_EQ(find_node(*qdq, "octet.Gemm")->input(kBias)->dtype(), DType::s32);
}

TEST(Dialects, DynamicQuantizesEveryTensorOnce) {
  const auto graph = network();
  prepare_for_quantization(*graph);
  const auto dynamic = quantize_dynamic(*graph);
  const std::vector<Tensor> in = random_inputs(*graph, 9);
  const Tensor exact = run_reference(*graph, in)[0], before = run_reference(*dynamic, in)[0];
  EXPECT_LT(largest_difference(exact, before), 0.1);
  optimize(*dynamic);
  Names names = op_names(*dynamic);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::count(names.begin(), names.end(), "octet.Conv"), 6);
  EXPECT_EQ(std::count(names.begin(), names.end(), "DynamicQuantizeLinear"), 6);  // the last two convolutions share theirs
  EXPECT_EQ(std::count(names.begin(), names.end(), "Mul"), 1);
  EXPECT_EQ(largest_difference(run_reference(*dynamic, in)[0], before), 0);
}

}  // namespace
}  // namespace octet::graph::test
