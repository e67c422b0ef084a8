// expand_qlinear, canonical_quantization, normalise_dynamic: three dialects, one form.
#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

using Ints = std::vector<int64_t>;

TEST(CanonicalQuantization, SignedActivationsBecomeUnsigned) {
  Builder b;
  Value* x = b.op("Relu", {b.qdq(b.input("x", {64}), 0.02f, -5, DType::s8)});
  b.output(x);
  EXPECT_EQ(difference_after(b.graph, {canonical_quantization}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"QuantizeLinear", "DequantizeLinear", "Relu"}));
  EXPECT_EQ(to_string(b.graph.nodes().front()->output()->type()), "uint8[64] q(0.02,123)");
}

TEST(CanonicalQuantization, SignedInputsAndOutputsKeepTheirTypeBehindATable) {
  Builder b;
  Value* x = b.op("Sigmoid", {b.dq(b.input("x", {300}, DType::s8), 0.02f, 7)});
  b.output(b.q(x, 1.0f / 256, -128, DType::s8));
  EXPECT_EQ(difference_after(b.graph, {canonical_quantization}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Table", "DequantizeLinear", "Sigmoid", "QuantizeLinear", "octet.Table"}));
  EXPECT_EQ(b.graph.outputs()[0]->dtype(), DType::s8);
  EXPECT_EQ(b.graph.inputs()[0]->dtype(), DType::s8);
}

TEST(CanonicalQuantization, MovesOfIntegersBecomeMovesOfReals) {
  Builder b;
  Value* q = b.q(b.input("x", {1, 2, 3, 4}), 0.02f, -5, DType::s8);
  Value* moved = b.op("Reshape", {q, b.ints({6, 4})});
  moved = b.op("Pad", {moved, b.ints({1, 0, 0, 2}), b.zero_point(DType::s8, -5)});
  b.output(b.op("Relu", {b.dq(moved, 0.02f, -5)}));
  b.output(b.op("Transpose", {b.q(b.input("y", {3, 5}), 0.1f, 3)}, {{"perm", Ints{1, 0}}}));
  EXPECT_EQ(difference_after(b.graph, {canonical_quantization}), 0);
  EXPECT_EQ(op_names(b.graph),
            (Names{"QuantizeLinear", "DequantizeLinear", "Reshape", "Pad", "Relu", "Transpose", "QuantizeLinear"}));
  EXPECT_EQ(find_node(b.graph, "Pad")->input(2)->constant().to_f32(), std::vector<float>{0.0f});
}

TEST(CanonicalQuantization, AClampOfIntegersIsOneOfRealsAndJoinsTheProductBeforeIt) {
  Builder b;
  Value* x = b.dq(b.input("x", {1, 3, 4, 4}, DType::u8), 0.02f, 128);
  Value* w = b.weights({2, 3, 1, 1}, 1, {0.01f, 0.02f});
  Value* q = b.q(b.op("Conv", {x, w}), 0.1f, -20, DType::s8);
  q = b.op("Clip", {q, b.zero_point(DType::s8, -20), b.zero_point(DType::s8, 90)});
  b.output(b.dq(q, 0.1f, -20));
  EXPECT_LE(difference_after_optimize(b.graph), 0.1001);  // one quantum: a tie
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Conv", "DequantizeLinear"}));
  EXPECT_EQ(find_node(b.graph, "octet.Conv")->attr("act", ""), "clip");
}

TEST(ExpandQlinear, AScaleWhoseRealsOverflowKeepsTheOperator) {
  Builder b;
  // (1 - mask) * lowest float32, as a static quantizer leaves it.
  Value* x = b.input("x", {64}, DType::s8);
  Value *zero = b.zero_point(DType::s8, 0), *one = b.scalar(1.0f);
  Value* lowest = b.constant<int8_t>(DType::s8, {}, {-127});
  b.output(b.op("com.microsoft.QLinearMul", {x, one, zero, lowest, b.scalar(2.6793887e36f), zero, one, zero}));
  EXPECT_EQ(difference_after_optimize(b.graph), 0);
  const Tensor none(DType::s8, {64});
  EXPECT_EQ(run_reference(b.graph, std::vector<Tensor>{none})[0].to_f32(), std::vector<float>(64, 0.0f));
}

TEST(CanonicalQuantization, TwoReadingsOfOneValueGetATypeEach) {
  Builder b;
  Value* q = b.q(b.input("x", {64}), 0.02f, 128);
  b.output(b.op("Add", {b.dq(q, 0.02f, 128), b.dq(q, 0.5f, 3)}));
  EXPECT_EQ(difference_after(b.graph, {canonical_quantization}), 0);
  Node* table = find_node(b.graph, "octet.Table");
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(to_string(table->output()->type()), "uint8[64] q(0.5,3)");
  EXPECT_EQ(to_string(q->type()), "uint8[64] q(0.02,128)");
}

TEST(CanonicalQuantization, SixteenBitsAreDeclinedWithASentence) {
  Builder b;
  Value* zero = b.constant<uint16_t>(DType::u16, {}, {100});
  Value* q = b.op("QuantizeLinear", {b.input("x", {4}), b.scalar(0.1f), zero});
  b.output(b.op("DequantizeLinear", {q, b.scalar(0.1f), zero}));
  canonical_quantization(b.graph);
  EXPECT_EQ(q->producer()->why, "it quantizes to uint16; expected 8-bit integers");
}

struct QLinear : Builder {
  std::vector<Value*> params(float scale, int zero, DType dtype = DType::u8) {
    return {scalar(scale), zero_point(dtype, zero)};
  }
};

TEST(ExpandQLinear, AConvolutionKeepsEveryInteger) {
  for (const DType activation : {DType::u8, DType::s8}) {
    QLinear b;
    Value* w = b.graph.add_constant(random_bytes(DType::s8, {6, 3, 3, 3}, 5));
    Value* w_zero = b.constant<uint8_t>(DType::s8, {6}, {0, 0, 0, 0, 0, 0});
    Value* bias = b.constant<int32_t>(DType::s32, {6}, {100, -200, 3000, 0, 5, -7000});
    const int x_zero = activation == DType::u8 ? 131 : 3, y_zero = activation == DType::u8 ? 120 : -8;
    b.output(b.op("QLinearConv",
                  {b.input("x", {1, 3, 6, 6}, activation), b.scalar(0.02f), b.zero_point(activation, x_zero), w,
                   b.floats({6}, {0.01f, 0.02f, 0.015f, 0.005f, 0.03f, 0.01f}), w_zero, b.scalar(0.37f),
                   b.zero_point(activation, y_zero), bias},
                  {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}}));
    EXPECT_EQ(difference_after_optimize(b.graph), 0);
    const Names conv = activation == DType::u8 ? Names{"octet.Conv"} : Names{"octet.Table", "octet.Conv", "octet.Table"};
    EXPECT_EQ(op_names(b.graph), conv);
  }
}

TEST(ExpandQLinear, AMatrixProductWithUnsignedWeights) {
  QLinear b;
  Value* w = b.graph.add_constant(random_bytes(DType::u8, {16, 5}, 5));
  b.output(
      b.op("QLinearMatMul", {b.input("x", {4, 16}, DType::u8), b.scalar(0.02f), b.zero_point(DType::u8, 100), w,
                             b.scalar(0.01f), b.zero_point(DType::u8, 117), b.scalar(0.3f), b.zero_point(DType::u8, 128)}));
  EXPECT_EQ(difference_after_optimize(b.graph), 0);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Gemm"});
  EXPECT_EQ(b.graph.nodes().front()->input(kW)->dtype(), DType::s8);
}

TEST(ExpandQLinear, TheOtherOperators) {
  QLinear b;
  Value* x = b.input("x", {1, 4, 6, 6}, DType::u8);
  Value* y = b.input("y", {1, 4, 6, 6}, DType::u8);
  const auto with = [&](std::initializer_list<std::vector<Value*>> groups) {
    std::vector<Value*> all;
    for (const auto& g : groups) all.insert(all.end(), g.begin(), g.end());
    return all;
  };
  const auto p1 = b.params(0.02f, 100), p2 = b.params(0.03f, 128), p3 = b.params(0.05f, 120), unit = b.params(1.0f / 256, 0);
  Value* sum = b.op("com.microsoft.QLinearAdd", with({{x}, p1, {y}, p2, p3}));
  Value* scaled = b.op("com.microsoft.QLinearMul", with({{sum}, p3, {x}, p1, p2}));
  Value* gate = b.op("com.microsoft.QLinearSigmoid", with({{scaled}, p2, unit}));
  Value* leaky = b.op("com.microsoft.QLinearLeakyRelu", with({{gate}, unit, p1}), {{"alpha", 0.1f}});
  Value* both = b.op("com.microsoft.QLinearConcat", with({p3, {leaky}, p1, {sum}, p3}), {{"axis", int64_t{1}}});
  b.output(b.op("com.microsoft.QLinearGlobalAveragePool", with({{both}, p3, p2})));
  EXPECT_LE(difference_after_optimize(b.graph), 1);
  EXPECT_EQ(op_names(b.graph), (Names{"Add", "Mul", "octet.Table", "Concat", "GlobalAveragePool"}));
  for (const auto& n : b.graph.nodes()) EXPECT_NE(n->output()->quant(), nullptr) << n->name();
}

TEST(ExpandQLinear, ASoftmaxIsQuantizedAtItsBorders) {
  QLinear b;
  b.output(b.op("com.microsoft.QLinearSoftmax",
                {b.input("x", {2, 8}, DType::u8), b.scalar(0.1f), b.zero_point(DType::u8, 100), b.scalar(1.0f / 256),
                 b.zero_point(DType::u8, 0)},
                {{"axis", int64_t{1}}, {"opset", int64_t{12}}}));
  EXPECT_EQ(difference_after_optimize(b.graph), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"DequantizeLinear", "Softmax", "QuantizeLinear"}));
}

TEST(ExpandDynamic, FusedProductsOfOneInputShareItsQuantization) {
  Builder b;
  Value* x = b.input("x", {2, 3, 8});
  const auto product = [&](uint32_t seed) {
    Value* w = b.graph.add_constant(random_bytes(DType::s8, {8, 4}, seed), "w" + std::to_string(seed));
    return b.op("com.microsoft.DynamicQuantizeMatMul",
                {x, w, b.floats({4}, {0.01f, 0.02f, 0.03f, 0.04f}), nullptr, b.floats({4}, {1, -2, 3, 0.5f})});
  };
  b.output(product(1));
  b.output(product(2));
  EXPECT_EQ(difference_after_optimize(b.graph), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"DynamicQuantizeLinear", "octet.Gemm", "octet.Gemm"}));
}

TEST(ExpandDynamic, AProductOfConstantScalesIsStatic) {
  Builder b;
  Value* w = b.graph.add_constant(random_bytes(DType::u8, {8, 4}, 3), "w");
  b.output(b.op("com.microsoft.MatMulIntegerToFloat",
                {b.input("x", {2, 8}, DType::u8), w, b.scalar(0.1f), b.scalar(0.02f), b.zero_point(DType::u8, 7),
                 b.zero_point(DType::u8, 128), b.floats({4}, {1, -2, 3, 0.5f})}));
  EXPECT_EQ(difference_after_optimize(b.graph), 0);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Gemm"});
}

// DynamicQuantizeLinear, ConvInteger, Cast, Mul, Add, Clip, as ONNX Runtime's dynamic quantizer writes them.
TEST(NormaliseDynamic, AConvolutionWithItsBiasAndActivation) {
  Builder b;
  Node* dynamic = b.node("DynamicQuantizeLinear", {b.input("x", {1, 3, 6, 6})}, {}, 3);
  Value* w = b.graph.add_constant(random_bytes(DType::s8, {4, 3, 3, 3}, 3), "w");
  Value* scale = b.op("Mul", {dynamic->output(1), b.scalar(0.0028556f)});
  Value* sum = b.op("ConvInteger", {dynamic->output(0), w, dynamic->output(2), b.zero_point(DType::s8, 0)},
                    {{"pads", Ints{1, 1, 1, 1}}});
  Value* real = b.op("Mul", {b.op("Cast", {sum}, {{"to", int64_t{1}}}), scale});
  Value* biased = b.op("Add", {real, b.floats({1, 4, 1, 1}, {0.5f, -1, 0.25f, 2})});
  b.output(b.op("Clip", {biased, b.scalar(0), b.scalar(6)}));
  EXPECT_EQ(difference_after_optimize(b.graph), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"DynamicQuantizeLinear", "octet.Conv"}));
  Node* conv = find_node(b.graph, "octet.Conv");
  EXPECT_EQ(conv->input(kXScale), dynamic->output(1));
  EXPECT_EQ(conv->input(kXZeroPoint), dynamic->output(2));
  EXPECT_EQ(conv->input(kW)->quant()->scale, std::vector<float>{0.0028556f});
  EXPECT_EQ(conv->attr("act", ""), "clip");
}

TEST(NormaliseDynamic, AMatrixProductWithAScalePerColumn) {
  Builder b;
  Node* dynamic = b.node("DynamicQuantizeLinear", {b.input("x", {2, 3, 8})}, {}, 3);
  Value* w = b.graph.add_constant(random_bytes(DType::u8, {8, 4}, 3), "w");
  Value* zeros = b.constant<uint8_t>(DType::u8, {4}, {100, 120, 128, 140});
  Value* scale = b.op("Mul", {b.floats({4}, {0.01f, 0.02f, 0.03f, 0.04f}), dynamic->output(1)});
  Value* sum = b.op("MatMulInteger", {dynamic->output(0), w, dynamic->output(2), zeros});
  b.output(b.op("Mul", {scale, b.op("Cast", {sum}, {{"to", int64_t{1}}})}));
  EXPECT_EQ(difference_after_optimize(b.graph), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"DynamicQuantizeLinear", "octet.Gemm"}));
}

TEST(NormaliseDynamic, TheGeluBehindAProductGoesIntoIt) {
  Builder b;
  Node* dynamic = b.node("DynamicQuantizeLinear", {b.input("x", {2, 3, 8})}, {}, 3);
  Value* w = b.graph.add_constant(random_bytes(DType::s8, {8, 4}, 3), "w");
  Value* sum = b.op("MatMulInteger", {dynamic->output(0), w, dynamic->output(2)});
  Value* scale = b.op("Mul", {dynamic->output(1), b.scalar(0.01f)});
  b.output(b.op("Gelu", {b.op("Mul", {b.op("Cast", {sum}, {{"to", int64_t{1}}}), scale})}));
  EXPECT_EQ(difference_after_optimize(b.graph), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"DynamicQuantizeLinear", "octet.Gemm"}));
  EXPECT_EQ(find_node(b.graph, "octet.Gemm")->attr("act", ""), "gelu");
}

TEST(NormaliseDynamic, ABareConvIntegerSaysWhatIsMissing) {
  Builder b;
  b.output(b.op("ConvInteger",
                {b.input("x", {1, 1, 4, 4}, DType::u8), b.graph.add_constant(random_bytes(DType::s8, {1, 1, 2, 2}, 1))}));
  EXPECT_EQ(normalise_dynamic(b.graph), 0);
  EXPECT_EQ(b.graph.nodes().front()->why, "no Cast and Mul by its scales behind it");
}

}  // namespace
}  // namespace octet::graph::test
