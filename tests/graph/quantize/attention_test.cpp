// The quantizer and attention: queries, keys and values become u8; those that come from a cache on request.
#include <gtest/gtest.h>

#include "graph/passes/pass.h"
#include "graph/quantize/dialects.h"
#include "graph/quantize/quantize.h"
#include "tests/graph/builder.h"

namespace octet::graph::test {
namespace {

constexpr int64_t kTokens = 6, kHeads = 2, kSize = 4, kWidth = kHeads * kSize;
using Ints = std::vector<int64_t>;

struct Net {
  Builder b;

  Value* linear(Value* x, const std::string& name) {
    Value* w = b.graph.add_constant(random_floats({kWidth, kWidth}, static_cast<uint32_t>(name.size() + 1)), name);
    return b.op("MatMul", {x, w});
  }
  Value* heads(Value* x, const Ints& perm) {
    return b.op("Transpose", {b.op("Reshape", {x, b.ints({0, kTokens, kHeads, kSize})})}, {{"perm", perm}});
  }
  // Self attention with a product behind it; `keys` makes of the keys, [1, heads, tokens, size], what is attended to.
  Net(Value* (*keys)(Builder&, Value*)) {
    Value* x = b.input("x", {1, kTokens, kWidth});
    Value* q = b.op("Mul", {heads(linear(x, "q"), {0, 2, 1, 3}), b.scalar(0.5f)});
    Value* k = keys(b, heads(linear(x, "kk"), {0, 2, 1, 3}));
    Value* v = keys(b, heads(linear(x, "vvv"), {0, 2, 1, 3}));
    Value* s = b.op("MatMul", {q, b.op("Transpose", {k}, {{"perm", Ints{0, 1, 3, 2}}})});
    Value* y = b.op("MatMul", {b.op("Softmax", {s}, {{"axis", int64_t{-1}}}), v});
    y = b.op("Reshape", {b.op("Transpose", {y}, {{"perm", Ints{0, 2, 1, 3}}}), b.ints({0, kTokens, kWidth})});
    b.output(linear(y, "oooo"));
    prepare_for_quantization(b.graph);
  }
  std::unique_ptr<Graph> quantized(QuantStyle style, QuantScope scope = QuantScope::products) const {
    Ranges ranges;
    for (const std::string& name : values_to_calibrate(b.graph, scope)) ranges[name] = {-4, 4};
    return quantize_static(b.graph, ranges, {style, scope});
  }
};

Value* as_they_are(Builder&, Value* keys) { return keys; }
Value* behind_a_cache(Builder& b, Value* keys) {
  return b.op("Concat", {b.input("past" + std::to_string(b.count), {1, kHeads, 3, kSize}), keys}, {{"axis", int64_t{2}}});
}

TEST(QuantizeAttention, OperandsAndResultAreBytesInEitherStyle) {
  for (const QuantStyle style : {QuantStyle::fused, QuantStyle::portable}) {
    const Net net(as_they_are);
    const std::unique_ptr<Graph> g = net.quantized(style);
    const std::vector<Tensor> in{random_floats({1, kTokens, kWidth}, 3, -1, 1)};
    const Tensor wanted = run_reference(net.b.graph, in)[0];
    EXPECT_LE(largest_difference(run_reference(*g, in)[0], wanted), 0.3);
    optimize(*g);
    const Node* node = find_node(*g, "octet.Attention");
    ASSERT_NE(node, nullptr) << print(*g);
    EXPECT_EQ(node->output()->dtype(), DType::u8);
    EXPECT_EQ(node->attr("scale", 0.0f), 0.5f);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(node->input(i)->producer()->op_name(), "octet.Gemm") << "operand " << i;
    EXPECT_EQ(find_node(*g, "octet.Table"), nullptr) << "the scale of the queries goes into the attention";
    EXPECT_LE(largest_difference(run_reference(*g, in)[0], wanted), 0.3);
  }
}

TEST(QuantizeAttention, ACacheStaysInFloat) {
  const Net net(behind_a_cache);
  for (const bool dynamic : {false, true}) {
    const std::unique_ptr<Graph> g = dynamic ? quantize_dynamic(net.b.graph) : net.quantized(QuantStyle::fused);
    optimize(*g);
    EXPECT_EQ(find_node(*g, "octet.Attention"), nullptr);
    EXPECT_NE(find_node(*g, "Softmax"), nullptr);
  }
}

TEST(QuantizeAttention, ACacheIsQuantizedOnRequest) {
  const Net net(behind_a_cache);
  for (const QuantScope scope : {QuantScope::caches, QuantScope::products_and_caches})
    for (const QuantStyle style : {QuantStyle::fused, QuantStyle::portable}) {
      const std::unique_ptr<Graph> g = net.quantized(style, scope);
      const Shape past{1, kHeads, 3, kSize};
      const std::vector<Tensor> in{random_floats({1, kTokens, kWidth}, 3, -1, 1), random_floats(past, 4),
                                   random_floats(past, 5)};
      const Tensor wanted = run_reference(net.b.graph, in)[0];
      EXPECT_LE(largest_difference(run_reference(*g, in)[0], wanted), 0.3);
      optimize(*g);
      const Node* node = find_node(*g, "octet.Attention");
      ASSERT_NE(node, nullptr) << print(*g);
      for (const size_t i : {size_t{1}, size_t{2}}) {
        const Node* join = node->input(i)->producer();
        ASSERT_EQ(join->op_name(), "Concat") << print(*g);
        EXPECT_EQ(join->output()->dtype(), DType::u8);
        EXPECT_EQ(join->input(0)->producer()->op_name(), "QuantizeLinear") << "of the past";
      }
      const Node* product = find_node(*g, "octet.Gemm");
      ASSERT_NE(product, nullptr);
      EXPECT_EQ(product->input(1)->dtype(), scope == QuantScope::caches ? DType::f32 : DType::s8);
      EXPECT_LE(largest_difference(run_reference(*g, in)[0], wanted), 0.3);
    }
}

TEST(QuantizeAttention, NewRowsAloneDecideTheScaleOfACache) {
  const Net net(behind_a_cache);
  const std::vector<std::string> names = values_to_calibrate(net.b.graph, QuantScope::caches);
  EXPECT_EQ(names.size(), 3u) << "queries, new keys, new values";
  for (const std::string& name : names) EXPECT_EQ(name.find("past"), std::string::npos) << name;
}

TEST(QuantizeAttention, WithoutACacheThereIsNoneToQuantize) {
  const Net net(as_they_are);
  EXPECT_THROW(net.quantized(QuantStyle::fused, QuantScope::caches), Error);
  EXPECT_THROW(net.quantized(QuantStyle::fused, QuantScope::products_and_caches), Error);
}

TEST(QuantizeAttention, TheDynamicDialectQuantizesItsOperandsAtRunTime) {
  const Net net(as_they_are);
  const std::unique_ptr<Graph> g = quantize_dynamic(net.b.graph);
  verify(*g);
  const std::vector<Tensor> in{random_floats({1, kTokens, kWidth}, 3, -1, 1)};
  const Tensor wanted = run_reference(net.b.graph, in)[0];
  EXPECT_LE(largest_difference(run_reference(*g, in)[0], wanted), 0.1);
  optimize(*g);
  const Node* node = find_node(*g, "octet.Attention");
  ASSERT_NE(node, nullptr) << print(*g);
  EXPECT_EQ(node->output()->dtype(), DType::f32);
  EXPECT_EQ(node->attr("scale", 0.0f), 0.5f);
  for (size_t i = 0; i < 3; ++i) {
    const Node* quantize = node->input(i)->producer();
    ASSERT_EQ(quantize->op_name(), "DynamicQuantizeLinear") << "operand " << i;
    EXPECT_EQ(quantize->input(0)->producer()->op_name(), "octet.Gemm") << "operand " << i;
  }
  EXPECT_EQ(node->input(4), node->input(0)->producer()->output(1));
  EXPECT_EQ(find_node(*g, "DequantizeLinear"), nullptr);
  EXPECT_LE(largest_difference(run_reference(*g, in)[0], wanted), 0.1);
}

TEST(QuantizeAttention, OperandsThatAreWantedElsewhereStayInFloat) {
  Net net(as_they_are);
  for (const auto& n : net.b.graph.nodes())
    if (n->op_name() == "Softmax") net.b.output(n->input(0)->producer()->input(1));  // the keys, transposed
  const std::unique_ptr<Graph> g = quantize_dynamic(net.b.graph);
  EXPECT_EQ(find_node(*g, "DequantizeLinear"), nullptr) << print(*g);
}

}  // namespace
}  // namespace octet::graph::test
