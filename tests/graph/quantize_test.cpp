// Static quantization: where Q and DQ are put, with which parameters, and that the result computes nearly the same.
#include "graph/quantize/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "graph/eval.h"
#include "graph/op_def.h"
#include "graph/quantize/parameters.h"

namespace octet::graph {
namespace {

// A small network, layer by layer, with random weights.
struct Net {
  std::unique_ptr<Graph> graph = std::make_unique<Graph>();
  std::mt19937 random{7};

  Tensor noise(const Shape& shape, float deviation) {
    std::normal_distribution<float> normal(0, deviation);
    Tensor t(DType::f32, shape);
    for (int64_t i = 0; i < t.size(); ++i) t.mutable_as<float>()[i] = normal(random);
    return t;
  }
  Value* input(const Shape& shape) { return graph->add_input("x", Type::known(DType::f32, shape)); }
  Value* node(std::string_view op, std::vector<Value*> inputs, const std::string& name,
              const std::vector<std::pair<std::string, Attribute>>& attrs = {}) {
    Node* n = graph->add_node(op, std::move(inputs), 1, name);
    for (const auto& [key, value] : attrs) n->set_attr(key, value);
    graph->rename(n->output(), name);
    infer_types(*graph, *n);
    return n->output();
  }
  Value* conv(Value* x, int64_t out, int64_t kernel, const std::string& name, int64_t group = 1) {
    const int64_t in = x->type().shape()[1] / group;
    Value* w = graph->add_constant(
        noise({out, in, kernel, kernel}, 1.4f / std::sqrt(static_cast<float>(in * kernel * kernel))), name + ".w");
    Value* b = graph->add_constant(noise({out}, 0.1f), name + ".b");
    return node("Conv", {x, w, b}, name,
                {{"kernel_shape", std::vector<int64_t>{kernel, kernel}},
                 {"pads", std::vector<int64_t>(4, kernel / 2)},
                 {"group", group}});
  }
  Value* scalar(float v, const std::string& name) { return graph->add_constant(Tensor::scalar(v), name); }
  std::unique_ptr<Graph> finish(Value* y) {
    graph->add_output(y, "y");
    verify(*graph);
    return std::move(graph);
  }
};

Ranges calibrate(const Graph& graph, std::span<const Tensor> inputs) {
  const std::unique_ptr<Graph> copy = graph.clone();
  const std::vector<std::string> names = values_to_calibrate(*copy);
  std::set<std::string> known(copy->output_names().begin(), copy->output_names().end());
  const size_t before = copy->outputs().size();
  for (const std::string& name : names) copy->add_output(copy->find_value(name), "calibrated_" + name);
  const std::vector<Tensor> values = run_reference(*copy, inputs);
  Ranges ranges;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::vector<float> v = values[before + i].to_f32();
    ranges[names[i]] = {*std::min_element(v.begin(), v.end()), *std::max_element(v.begin(), v.end())};
  }
  return ranges;
}

std::vector<Tensor> sample(const Graph& graph) {
  Net net;
  std::vector<Tensor> inputs;
  for (const Value* v : graph.inputs()) inputs.push_back(net.noise(v->type().shape(), 1));
  return inputs;
}

std::unique_ptr<Graph> quantized(const Graph& graph, QuantStyle style = QuantStyle::fused) {
  auto q = quantize_static(graph, calibrate(graph, sample(graph)), {.style = style});
  verify(*q);
  return q;
}

// Signal to quantization noise, in dB.
double sqnr(const Graph& reference, const Graph& quantized_graph) {
  const std::vector<Tensor> inputs = sample(reference);
  const std::vector<float> a = run_reference(reference, inputs)[0].to_f32(),
                           b = run_reference(quantized_graph, inputs)[0].to_f32();
  EXPECT_EQ(a.size(), b.size());
  double signal = 0, noise = 1e-30;
  for (size_t i = 0; i < a.size(); ++i) {
    signal += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    noise += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  }
  return 10 * std::log10(signal / noise);
}

size_t count(const Graph& graph, std::string_view op) {
  size_t n = 0;
  for (const auto& node : graph.nodes()) n += node->op_name() == op;
  return n;
}
bool has_quantize(const Graph& g, const std::string& value) { return g.find_value(value + "_quantized") != nullptr; }
float scale_of(const Graph& g, const std::string& value) {
  return g.find_value(value + "_scale")->constant().as<float>()[0];
}

std::string sole_consumer_op(const Graph& g, const std::string& value) {
  const Value* v = g.find_value(value);
  return v->uses().size() == 1 ? std::string(v->uses()[0].node->op_name()) : "none";
}

TEST(QuantParameters, activations) {
  EXPECT_EQ(activation_params({0, 255}).scale, 1);
  EXPECT_EQ(activation_params({0, 255}).zero_point, 0);
  EXPECT_EQ(activation_params({-128, 127}).zero_point, 128);
  EXPECT_EQ(activation_params({2, 255}).scale, 1) << "0 is always in the range";
  EXPECT_EQ(activation_params({-255, -3}).zero_point, 255);
  EXPECT_EQ(activation_params({0, 0}).scale, 1);
  EXPECT_EQ(activation_params({-1e-30f, 1e-30f}).scale, 1) << "nothing but denormals ahead";
  EXPECT_LE(255 * activation_params({0, 6}).scale, 6.0f);
  EXPECT_NEAR(activation_params({0, 6}).scale, 6.0f / 255, 1e-8);
}

TEST(QuantParameters, weights_are_symmetric_narrow_and_per_channel) {
  const Tensor w = Tensor::of<float>(DType::f32, {2, 2}, {1, -2, 0.5f, 0.25f});
  const WeightParams rows = quantize_weights(w, 0, {}, 1);
  EXPECT_EQ(rows.scale, (std::vector<float>{2.0f / 127, 0.5f / 127}));
  EXPECT_EQ(rows.integers.to_s64(), (std::vector<int64_t>{64, -127, 127, 64}));
  const WeightParams columns = quantize_weights(w, 1, {}, 1);
  EXPECT_EQ(columns.scale, (std::vector<float>{1.0f / 127, 2.0f / 127}));
  EXPECT_EQ(columns.integers.to_s64(), (std::vector<int64_t>{127, -127, 64, 16}));
}

TEST(QuantParameters, a_channel_dwarfed_by_its_bias_gets_a_coarser_scale) {
  const Tensor w = Tensor::of<float>(DType::f32, {3, 1}, {1e-12f, 1, 0});
  const std::vector<float> bias{100, 100, 0};
  const WeightParams p = quantize_weights(w, 0, bias, 0.01f);
  const std::vector<float> scales = bias_scales(0.01f, p.scale);
  const Tensor q = quantize_bias(bias, scales);
  for (int64_t n = 0; n < 2; ++n) {
    EXPECT_LE(std::abs(q.at_s64(n)), 1 << 30);
    EXPECT_NEAR(static_cast<float>(q.at_s64(n)) * scales[static_cast<size_t>(n)], 100, 1e-3);
  }
  EXPECT_EQ(p.scale[1], 1.0f / 127) << "the others keep theirs";
  EXPECT_EQ(p.scale[2], 1) << "a channel of zeros";
  EXPECT_TRUE(sum_fits(25088));
  EXPECT_FALSE(sum_fits(70000));
}

TEST(Quantize, one_rounding_after_a_product_and_its_activation) {
  Net net;
  Value* a = net.node("Relu", {net.conv(net.input({1, 3, 8, 8}), 8, 3, "a")}, "a.relu");
  const auto g = net.finish(net.conv(a, 4, 1, "b"));
  for (const QuantStyle style : {QuantStyle::fused, QuantStyle::portable}) {
    const auto q = quantized(*g, style);
    EXPECT_TRUE(has_quantize(*q, "x"));
    EXPECT_FALSE(has_quantize(*q, "a"));
    EXPECT_TRUE(has_quantize(*q, "a.relu"));
    EXPECT_EQ(q->find_value("a.w_quantized")->dtype(), DType::s8);
    EXPECT_EQ(q->find_value("a.b_quantized")->dtype(), DType::s32);
    EXPECT_EQ(q->find_value("a.w_dequantized")->producer()->attr("axis", int64_t{1}), 0);
    EXPECT_EQ(q->find_value("a.w"), nullptr) << "the float weights are gone";
    EXPECT_EQ(q->find_value("a.relu_zero_point")->constant().at_s64(0), 0);
    EXPECT_GT(sqnr(*g, *q), 30);
  }
}

TEST(Quantize, outputs_stay_float) {
  Net net;
  const auto g = net.finish(net.conv(net.input({1, 3, 8, 8}), 4, 3, "a"));
  const auto fused = quantized(*g);
  EXPECT_FALSE(has_quantize(*fused, "a")) << "nobody asks for integers";
  EXPECT_EQ(fused->outputs()[0]->producer()->op_name(), "Conv");
  const auto portable = quantized(*g, QuantStyle::portable);
  EXPECT_TRUE(has_quantize(*portable, "a"));
  EXPECT_EQ(portable->outputs()[0]->producer()->op_name(), "DequantizeLinear");
  EXPECT_EQ(portable->output_names()[0], "y");
}

// x → stem ─┬─ c1 → relu → c2 ─ Add → relu → tail
//           └──────────────────┘
std::unique_ptr<Graph> residual_net() {
  Net net;
  Value* stem = net.node("Relu", {net.conv(net.input({1, 3, 8, 8}), 8, 3, "stem")}, "stem.relu");
  Value* c1 = net.node("Relu", {net.conv(stem, 8, 3, "c1")}, "c1.relu");
  Value* sum = net.node("Add", {stem, net.conv(c1, 8, 3, "c2")}, "sum");
  return net.finish(net.conv(net.node("Relu", {sum}, "sum.relu"), 4, 1, "tail"));
}

TEST(Quantize, a_residual_sum_is_part_of_the_product) {
  const auto g = residual_net();
  const auto q = quantized(*g);
  EXPECT_FALSE(has_quantize(*q, "c2"));
  EXPECT_FALSE(has_quantize(*q, "sum"));
  EXPECT_TRUE(has_quantize(*q, "sum.relu"));
  EXPECT_EQ(count(*q, "QuantizeLinear"), 4u) << "x, stem, c1 and the sum";
  EXPECT_GT(sqnr(*g, *q), 25);
}

TEST(Quantize, portable_style_rounds_before_the_sum_too) {
  const auto g = residual_net();
  const auto q = quantized(*g, QuantStyle::portable);
  EXPECT_TRUE(has_quantize(*q, "c2"));
  EXPECT_FALSE(has_quantize(*q, "sum"));
  EXPECT_EQ(count(*q, "QuantizeLinear"), 6u);
  EXPECT_GT(sqnr(*g, *q), 25);
}

TEST(Quantize, the_later_of_two_products_takes_their_sum) {
  Net net;
  Value* x = net.input({1, 3, 8, 8});
  Value *a = net.conv(x, 8, 3, "a"), *b = net.conv(x, 8, 1, "b");
  const auto g = net.finish(net.conv(net.node("Add", {a, b}, "sum"), 4, 1, "tail"));
  const auto q = quantized(*g);
  EXPECT_TRUE(has_quantize(*q, "a"));
  EXPECT_FALSE(has_quantize(*q, "b"));
  EXPECT_EQ(sole_consumer_op(*q, "b"), "Add");
}

TEST(Quantize, joined_values_share_one_range) {
  Net net;
  Value* x = net.input({1, 3, 8, 8});
  Value* a = net.node("Relu", {net.conv(x, 4, 1, "a")}, "a.relu");
  Value* b = net.node("Relu", {net.conv(x, 4, 3, "b")}, "b.relu");
  Value* joined = net.node("Concat", {a, b}, "joined", {{"axis", int64_t{1}}});
  Value* pooled = net.node("MaxPool", {joined}, "pooled",
                           {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  const auto g = net.finish(net.conv(pooled, 4, 1, "tail"));
  const Ranges ranges = calibrate(*g, sample(*g));
  EXPECT_FALSE(ranges.contains("joined"));
  EXPECT_FALSE(ranges.contains("pooled"));
  const auto q = quantized(*g);
  const float top = std::max(ranges.at("a.relu").max, ranges.at("b.relu").max);
  for (const char* name : {"a.relu", "b.relu", "joined", "pooled"})
    EXPECT_EQ(scale_of(*q, name), activation_params({0, top}).scale);
  EXPECT_GT(sqnr(*g, *q), 25);
}

TEST(Quantize, constants_that_are_joined_are_quantized_on_the_same_grid) {
  Net net;
  Value* x = net.node("Relu", {net.conv(net.input({1, 3, 4, 4}), 2, 1, "a")}, "a.relu");
  Value* token =
      net.graph->add_constant(Tensor::of<float>(DType::f32, {1, 1, 4, 4}, std::vector<float>(16, 50.0f)), "token");
  const auto g = net.finish(net.conv(net.node("Concat", {x, token}, "joined", {{"axis", int64_t{1}}}), 4, 1, "tail"));
  const auto q = quantized(*g);
  EXPECT_EQ(scale_of(*q, "joined"), activation_params({0, 50}).scale);
  EXPECT_EQ(q->find_value("token_quantized")->constant().at_s64(0), 255);
}

TEST(Quantize, the_tail_before_an_output_stays_float) {
  Net net;
  Value* c = net.conv(net.input({1, 3, 8, 8}), 10, 3, "c");
  Value* pooled = net.node("GlobalAveragePool", {c}, "pooled");
  Value* flat = net.node("Flatten", {pooled}, "flat", {{"axis", int64_t{1}}});
  const auto g = net.finish(net.node("Softmax", {flat}, "probabilities", {{"axis", int64_t{1}}}));
  EXPECT_EQ(count(*quantized(*g), "QuantizeLinear"), 1u) << "the input only";
  const auto portable = quantized(*g, QuantStyle::portable);
  EXPECT_TRUE(has_quantize(*portable, "c"));
  EXPECT_TRUE(has_quantize(*portable, "pooled"));
}

TEST(Quantize, an_average_before_a_product_is_quantized) {
  Net net;
  Value* c = net.node("Relu", {net.conv(net.input({1, 3, 8, 8}), 8, 3, "c")}, "c.relu");
  Value* flat = net.node("Flatten", {net.node("GlobalAveragePool", {c}, "pooled")}, "flat", {{"axis", int64_t{1}}});
  Value* w = net.graph->add_constant(net.noise({10, 8}, 0.5f), "fc.w");
  const auto g = net.finish(net.node("Gemm", {flat, w}, "fc", {{"transB", int64_t{1}}}));
  const auto q = quantized(*g);
  for (const char* name : {"c.relu", "pooled", "flat"}) EXPECT_TRUE(has_quantize(*q, name)) << name;
  EXPECT_EQ(scale_of(*q, "pooled"), scale_of(*q, "flat"));
  EXPECT_GT(sqnr(*g, *q), 25);
}

// x·sigmoid(x) and hard-swish spelled out are each one table.
TEST(Quantize, an_element_wise_function_of_one_value_is_rounded_once) {
  Net net;
  Value* a = net.conv(net.input({1, 3, 8, 8}), 8, 3, "a");
  Value* silu = net.node("Mul", {a, net.node("Sigmoid", {a}, "gate")}, "silu");
  Value* b = net.conv(silu, 8, 1, "b");
  Value* shifted = net.node(
      "Clip", {net.node("Add", {b, net.scalar(3, "three")}, "shift"), net.scalar(0, "low"), net.scalar(6, "six")}, "clip");
  Value* swish = net.node("Div", {net.node("Mul", {b, shifted}, "product"), net.scalar(6, "sixth")}, "swish");
  const auto g = net.finish(net.conv(swish, 4, 1, "tail"));
  const auto q = quantized(*g);
  for (const char* name : {"x", "a", "silu", "b", "swish"}) EXPECT_TRUE(has_quantize(*q, name)) << name;
  EXPECT_EQ(count(*q, "QuantizeLinear"), 5u);
  EXPECT_GT(sqnr(*g, *q), 25);
  const auto portable = quantized(*g, QuantStyle::portable);
  EXPECT_TRUE(has_quantize(*portable, "gate"));
}

TEST(Quantize, a_product_of_two_activations_is_computed_on_quanta) {
  Net net;
  Value* x = net.node("Relu", {net.conv(net.input({1, 3, 8, 8}), 8, 3, "a")}, "a.relu");
  Value* squeeze = net.node("Sigmoid", {net.conv(net.node("GlobalAveragePool", {x}, "pool"), 8, 1, "se")}, "gate");
  const auto g = net.finish(net.conv(net.node("Mul", {x, squeeze}, "scaled"), 4, 1, "tail"));
  const auto q = quantized(*g);
  for (const char* name : {"a.relu", "pool", "se", "gate", "scaled"}) EXPECT_TRUE(has_quantize(*q, name)) << name;
  EXPECT_GT(sqnr(*g, *q), 25);
}

TEST(Quantize, a_clamp_of_its_own_narrows_the_grid_before_it) {
  Net net;
  Value* x = net.input({1, 3, 8, 8});
  Value* joined = net.node("Concat", {net.conv(x, 4, 1, "a"), net.conv(x, 4, 3, "b")}, "joined", {{"axis", int64_t{1}}});
  const auto g = net.finish(net.conv(net.node("Relu", {joined}, "relu"), 4, 1, "tail"));
  const auto q = quantized(*g);
  EXPECT_TRUE(has_quantize(*q, "joined"));
  EXPECT_TRUE(has_quantize(*q, "relu"));
  Net alone;
  Value* sum = alone.node("LayerNormalization",
                          {alone.input({1, 4, 6}), alone.graph->add_constant(alone.noise({6}, 1), "g")}, "norm");
  Value* w = alone.graph->add_constant(alone.noise({6, 5}, 0.5f), "w");
  const auto h = alone.finish(alone.node("MatMul", {alone.node("Relu", {sum}, "relu"), w}, "fc"));
  const auto r = quantized(*h);
  EXPECT_EQ(scale_of(*r, "norm"), scale_of(*r, "relu"));
  EXPECT_EQ(r->find_value("norm_zero_point")->constant().at_s64(0), 0);
}

TEST(Quantize, matmul_keeps_its_bias_and_its_axis) {
  Net net;
  Value* x = net.input({2, 5, 16});
  Value* w = net.graph->add_constant(net.noise({16, 12}, 0.3f), "w");
  Value* h = net.node("Add", {net.node("MatMul", {x, w}, "h"), net.graph->add_constant(net.noise({12}, 1), "b")}, "h.bias");
  Value* v = net.graph->add_constant(net.noise({12, 4}, 0.3f), "v");
  const auto g = net.finish(net.node("MatMul", {net.node("Gelu", {h}, "gelu"), v}, "out"));
  const auto q = quantized(*g);
  EXPECT_EQ(q->find_value("w_dequantized")->producer()->attr("axis", int64_t{0}), 1);
  EXPECT_FALSE(has_quantize(*q, "h"));
  EXPECT_TRUE(has_quantize(*q, "h.bias"));
  EXPECT_TRUE(has_quantize(*q, "gelu"));
  EXPECT_GT(sqnr(*g, *q), 30);
}

TEST(Quantize, products_that_stay_float_say_why) {
  Net net;
  Value* x = net.input({2, 4, 4});
  Value* w = net.graph->add_constant(net.noise({4, 4}, 0.5f), "w");
  const auto g = net.finish(net.node("MatMul", {x, net.node("MatMul", {x, w}, "projected")}, "scores"));
  const auto q = quantized(*g);
  EXPECT_EQ(q->find_value("scores")->producer()->why,
            "it multiplies two values that change at run time; only constant weights are quantized");
}

TEST(Quantize, a_graph_whose_products_all_stay_float_is_refused) {
  Net net;
  Value* x = net.input({2, 4, 4});
  const auto g = net.finish(
      net.node("MatMul", {x, net.node("Transpose", {x}, "t", {{"perm", std::vector<int64_t>{0, 2, 1}}})}, "gram"));
  try {
    quantize_static(*g, {});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
    EXPECT_EQ(std::string(e.what()),
              ": node 'gram' (MatMul): cannot be quantized, like every product of the graph: it multiplies two values that "
              "change at "
              "run time; only constant weights are quantized");
  }
}

TEST(Quantize, unusable_ranges_are_refused_by_name) {
  Net net;
  const auto g = net.finish(net.conv(net.input({1, 3, 8, 8}), 4, 3, "a"));
  const auto error = [&](const Ranges& ranges) {
    try {
      quantize_static(*g, ranges);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error({{"x", {-1, 1}}}), "no error");
  EXPECT_EQ(error({}), ": value 'x': has no range; expected one for each value to calibrate");
  EXPECT_EQ(error({{"x", {1, -1}}}), ": value 'x': has the range [1.000000, -1.000000], expected finite numbers in order");
  EXPECT_NE(error({{"x", {0, std::numeric_limits<float>::infinity()}}}), "no error");
  const auto q = quantized(*g);
  EXPECT_THROW(prepare_for_quantization(*q), Error);
}

TEST(Prepare, folds_and_returns_to_onnx_operators) {
  Net net;
  Value* x = net.input({2, 3, 8, 8});
  Value* c = net.conv(x, 8, 3, "c");
  std::vector<Value*> bn{c};
  for (const char* name : {"scale", "shift", "mean"}) bn.push_back(net.graph->add_constant(net.noise({8}, 1), name));
  bn.push_back(net.graph->add_constant(Tensor::of<float>(DType::f32, {8}, std::vector<float>(8, 2.0f)), "var"));
  Value* y = net.node("Relu", {net.node("BatchNormalization", bn, "bn")}, "relu");
  Value* axes = net.graph->add_constant(Tensor::of_s64({2, 3}), "axes");
  y = net.node("ReduceMean", {y, axes}, "mean_hw", {{"keepdims", int64_t{0}}});
  Value* w = net.graph->add_constant(net.noise({8, 5}, 1), "w");
  y = net.node("Add", {net.node("MatMul", {y, w}, "fc"), net.graph->add_constant(net.noise({5}, 1), "b")}, "fc.bias");
  const auto g = net.finish(y);
  const auto prepared = g->clone();
  prepare_for_quantization(*prepared);
  verify(*prepared);
  EXPECT_EQ(count(*prepared, "BatchNormalization"), 0u);
  EXPECT_EQ(count(*prepared, "GlobalAveragePool"), 1u);
  EXPECT_EQ(count(*prepared, "Gemm"), 1u) << "MatMul and Add of a matrix";
  EXPECT_EQ(count(*prepared, "Conv"), 1u);
  for (const auto& node : prepared->nodes()) EXPECT_FALSE(node->op_name().starts_with("octet.")) << node->op_name();
  EXPECT_GT(sqnr(*g, *prepared), 100);
  EXPECT_GT(sqnr(*g, *quantized(*prepared)), 25);
}

TEST(Prepare, half_precision_becomes_float_inside) {
  Net net;
  Value* x = net.graph->add_input("x", Type::known(DType::f16, {1, 4}));
  Tensor w(DType::f16, {3, 4});
  for (int i = 0; i < 12; ++i) w.mutable_as<uint16_t>()[i] = float_to_half(static_cast<float>(i) - 6);
  Value* fc = net.node("Gemm", {x, net.graph->add_constant(w, "w")}, "fc", {{"transB", int64_t{1}}});
  const auto g = net.finish(net.node("Relu", {fc}, "relu"));
  const auto prepared = g->clone();
  prepare_for_quantization(*prepared);
  verify(*prepared);
  EXPECT_EQ(prepared->inputs()[0]->dtype(), DType::f16);
  EXPECT_EQ(prepared->outputs()[0]->dtype(), DType::f16);
  EXPECT_EQ(prepared->find_value("fc")->dtype(), DType::f32);
  const std::vector<Tensor> in{Tensor::of<uint16_t>(DType::f16, {1, 4}, std::vector<uint16_t>(4, float_to_half(0.5f)))};
  const std::vector<float> expected = run_reference(*g, in)[0].to_f32();
  EXPECT_EQ(run_reference(*prepared, in)[0].to_f32(), expected);
  const std::vector<std::string> names = values_to_calibrate(*prepared);
  Ranges ranges;
  for (const std::string& name : names) ranges[name] = {0, 8};
  const std::vector<float> y = run_reference(*quantize_static(*prepared, ranges), in)[0].to_f32();
  for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected[i], 0.2);
}

}  // namespace
}  // namespace octet::graph
