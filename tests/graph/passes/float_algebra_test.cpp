// normalise_products, normalise_pools, fold_batch_norm, fold_scale_bias, fold_pad.
#include <functional>

#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

using Ints = std::vector<int64_t>;

Value* random_constant(Builder& b, const Shape& shape, uint32_t seed) {
  return b.graph.add_constant(random_floats(shape, seed));
}

TEST(PromoteHalf, TheInterfaceKeepsItsTypeAndTheInsideIsFloat) {
  Builder b;
  Value* x = b.input("x", {1, 2, 4, 4}, DType::f16);
  Value* w = b.op("Cast", {random_constant(b, {3, 2, 1, 1}, 1)}, {{"to", int64_t{10}}});
  b.output(b.op("Relu", {b.op("Conv", {x, w})}));
  verify(b.graph);
  Tensor in(DType::f16, {1, 2, 4, 4});
  for (int i = 0; i < 32; ++i) in.mutable_as<uint16_t>()[i] = float_to_half(0.1f * static_cast<float>(i) - 1);
  const Tensor before = run_reference(b.graph, std::vector<Tensor>{in})[0];
  optimize(b.graph);
  const Tensor after = run_reference(b.graph, std::vector<Tensor>{in})[0];
  EXPECT_EQ(op_names(b.graph), (Names{"Cast", "octet.Conv", "Cast"}));
  EXPECT_EQ(after.dtype(), DType::f16);
  EXPECT_LE(largest_difference(before, after), 4e-3);
}

TEST(FuseActivations, SpelledOutActivations) {
  const auto relu6 = [](Builder& b, Value* x) {
    return b.op("Clip", {b.op("Add", {x, b.scalar(3)}), b.scalar(0), b.scalar(6)});
  };
  const auto sixth = [](Builder& b, Value* v) { return b.op("Div", {v, b.scalar(6)}); };
  const std::vector<std::pair<std::string, std::function<Value*(Builder&, Value*)>>> cases = {
      {"Swish",
       [](Builder& b, Value* x) {
         return b.op("Mul", {b.op("Sigmoid", {x}), x});
       }},
      {"HardSigmoid", [&](Builder& b, Value* x) { return sixth(b, relu6(b, x)); }},
      {"HardSigmoid",
       [&](Builder& b, Value* x) {
         return b.op("Mul", {b.scalar(1.0f / 6), relu6(b, x)});
       }},
      {"HardSwish",
       [&](Builder& b, Value* x) {
         return b.op("Mul", {x, sixth(b, relu6(b, x))});
       }},
      {"HardSwish",
       [&](Builder& b, Value* x) {
         return sixth(b, b.op("Mul", {x, relu6(b, x)}));
       }},
      {"HardSigmoid",
       [](Builder& b, Value* x) {
         return b.op("Clip",
                     {b.op("Add", {b.op("Mul", {x, b.scalar(1.0f / 6)}), b.scalar(0.5f)}), b.scalar(0), b.scalar(1)});
       }},
      {"Mish",
       [](Builder& b, Value* x) {
         return b.op("Mul", {x, b.op("Tanh", {b.op("Softplus", {x})})});
       }},
  };
  for (const auto& [op, build] : cases) {
    Builder b;
    b.output(build(b, b.input("x", {64})));
    EXPECT_LE(difference_after(b.graph, {fuse_activations}), op == "Swish" ? 0 : kFloatTolerance) << op;
    EXPECT_EQ(op_names(b.graph), Names{op});
  }
}

// Each exporter groups the factors of a GELU in its own way.
TEST(FuseActivations, GelusOfEverySpelling) {
  const auto one_plus_erf = [](Builder& b, Value* x, bool divide) {
    Value* v = divide ? b.op("Div", {x, b.scalar(std::sqrt(2.0f))}) : b.op("Mul", {x, b.scalar(std::sqrt(0.5f))});
    return b.op("Add", {b.op("Erf", {v}), b.floats({1}, {1})});
  };
  const auto one_plus_tanh = [](Builder& b, Value* x, Value* cube) {
    Value* v = b.op("Add", {x, b.op("Mul", {cube, b.scalar(0.044715f)})});
    return b.op("Add", {b.op("Tanh", {b.op("Mul", {v, b.scalar(0.7978845608f)})}), b.scalar(1)});
  };
  const std::vector<std::pair<std::string, std::function<Value*(Builder&, Value*)>>> cases = {
      {"none",
       [&](Builder& b, Value* x) {
         return b.op("Mul", {b.op("Mul", {x, one_plus_erf(b, x, true)}), b.scalar(0.5f)});
       }},
      {"none",
       [&](Builder& b, Value* x) {
         return b.op("Mul", {b.op("Mul", {b.scalar(0.5f), x}), one_plus_erf(b, x, false)});
       }},
      {"none",
       [&](Builder& b, Value* x) {
         return b.op("Div", {b.op("Mul", {one_plus_erf(b, x, false), x}), b.scalar(2)});
       }},
      {"tanh",
       [&](Builder& b, Value* x) {
         Value* t = one_plus_tanh(b, x, b.op("Pow", {x, b.scalar(3)}));
         return b.op("Mul", {b.op("Mul", {x, b.scalar(0.5f)}), t});
       }},
      {"tanh",
       [&](Builder& b, Value* x) {
         Value* t = one_plus_tanh(b, x, b.op("Mul", {x, b.op("Mul", {x, x})}));
         return b.op("Mul", {x, b.op("Mul", {b.scalar(0.5f), t})});
       }},
  };
  for (const auto& [form, build] : cases) {
    Builder b;
    b.output(build(b, b.input("x", {2, 32})));
    EXPECT_LE(difference_after(b.graph, {fuse_activations}), kFloatTolerance) << form;
    EXPECT_EQ(op_names(b.graph), Names{"Gelu"}) << form;
    EXPECT_EQ(b.graph.nodes().front()->attr("approximate", "none"), form);
  }
}

TEST(FuseActivations, AnExpressionThatIsNearlyOneStays) {
  Builder b;
  Value* x = b.input("x", {64});
  b.output(b.op("Mul", {x, b.op("Sigmoid", {b.op("Mul", {x, b.scalar(1.001f)})})}));
  b.output(b.op("Mul", {x, b.op("Sigmoid", {b.op("Mul", {x, b.input("slope", {64})})})}));
  EXPECT_EQ(fuse_activations(b.graph), 0);
}

TEST(FuseNormalisations, LayerNormOfEverySpelling) {
  const auto mean = [](Builder& b, Value* v) { return b.op("ReduceMean", {v, b.ints({-1})}, {{"keepdims", int64_t{1}}}); };
  for (int form = 0; form < 4; ++form) {
    Builder b;
    Value* x = b.input("x", {2, 5, 12});
    Value* d = b.op("Sub", {x, mean(b, x)});
    Value* square = form % 2 ? b.op("Mul", {d, d}) : b.op("Pow", {d, b.scalar(2)});
    Value* sum = b.op("Add", {mean(b, square), b.scalar(1e-5f)});
    Value* y = nullptr;
    if (form == 0) y = b.op("Div", {d, b.op("Sqrt", {sum})});
    if (form == 1) y = b.op("Mul", {b.op("Reciprocal", {b.op("Sqrt", {sum})}), d});
    if (form == 2) y = b.op("Mul", {d, b.op("Div", {b.scalar(1), b.op("Sqrt", {sum})})});
    if (form == 3) y = b.op("Mul", {d, b.op("Pow", {sum, b.scalar(-0.5f)})});
    y = b.op("Mul", {b.graph.add_constant(random_floats({12}, 1)), y});
    b.output(b.op("Add", {y, b.graph.add_constant(random_floats({1, 1, 12}, 2))}));
    EXPECT_LE(difference_after(b.graph, {fuse_normalisations}), kFloatTolerance) << form;
    EXPECT_EQ(op_names(b.graph), Names{"LayerNormalization"}) << form;
  }
}

TEST(FuseNormalisations, RmsNormAndAScaleOfAnotherShape) {
  Builder b;
  Value* x = b.input("x", {2, 12});
  Value* sum = b.op("Add", {b.op("ReduceMean", {b.op("Pow", {x, b.scalar(2)}), b.ints({1})}), b.scalar(1e-6f)});
  Value* y = b.op("Mul", {x, b.op("Div", {b.scalar(1), b.op("Sqrt", {sum})})});
  b.output(b.op("Mul", {b.graph.add_constant(random_floats({2, 1}, 1)), y}));
  EXPECT_LE(difference_after(b.graph, {fuse_normalisations}), kFloatTolerance);
  EXPECT_EQ(op_names(b.graph), (Names{"RMSNormalization", "Mul"}));
}

TEST(FuseNormalisations, AMeanOverOtherAxesStays) {
  Builder b;
  Value* x = b.input("x", {2, 5, 12});
  Value* d = b.op("Sub", {x, b.op("ReduceMean", {x, b.ints({1})})});
  Value* sum = b.op("Add", {b.op("ReduceMean", {b.op("Mul", {d, d}), b.ints({1})}), b.scalar(1e-5f)});
  b.output(b.op("Div", {d, b.op("Sqrt", {sum})}));
  EXPECT_EQ(fuse_normalisations(b.graph), 0);
}

TEST(FuseActivations, AGateUsedElsewhereOrOfAnotherValueStays) {
  Builder b;
  Value* x = b.input("x", {64});
  Value* gate = b.op("Sigmoid", {x});
  b.output(b.op("Mul", {x, gate}));
  b.output(gate);
  b.output(b.op("Mul", {b.input("y", {64}), b.op("Sigmoid", {x})}));
  EXPECT_EQ(fuse_activations(b.graph), 0);
}

TEST(NormaliseProducts, ConvGetsExplicitAttributes) {
  for (const char* mode : {"SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"}) {
    Builder b;
    Value* x = b.input("x", {2, 4, 7, 6});
    Value* y = b.op("Conv", {x, random_constant(b, {6, 2, 3, 2}, 1), random_constant(b, {6}, 2)},
                    {{"auto_pad", std::string(mode)}, {"strides", Ints{2, 1}}, {"group", int64_t{2}}});
    const std::string name = y->name();
    b.output(y);
    EXPECT_EQ(difference_after(b.graph, {normalise_products}), 0) << mode;
    EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
    EXPECT_NE(b.graph.find_value(name), nullptr) << "the output kept its name";
    EXPECT_EQ(b.graph.nodes().front()->ints("pads").size(), 4u);
  }
}

TEST(NormaliseProducts, SameUpperPutsTheOddPixelBehind) {
  Builder b;
  b.output(b.op("Conv", {b.input("x", {1, 1, 4, 4}), random_constant(b, {1, 1, 2, 2}, 1)},
                {{"auto_pad", std::string("SAME_UPPER")}}));
  normalise_products(b.graph);
  EXPECT_EQ(b.graph.nodes().front()->ints("pads"), (Ints{0, 0, 1, 1}));
}

TEST(NormaliseProducts, AConvolutionOverTimeBecomesOneOverARow) {
  Builder b;
  b.output(b.op("Conv", {b.input("x", {2, 3, 9}), random_constant(b, {4, 3, 3}, 1)},
                {{"pads", Ints{1, 1}}, {"dilations", Ints{2}}}));
  EXPECT_EQ(difference_after(b.graph, {normalise_products}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"Unsqueeze", "octet.Conv", "Squeeze"}));
}

TEST(NormaliseProducts, WeightsThatChangeAreDeclinedWithASentence) {
  Builder b;
  b.output(b.op("Conv", {b.input("x", {1, 1, 4, 4}), b.input("w", {1, 1, 2, 2})}));
  EXPECT_EQ(normalise_products(b.graph), 0);
  EXPECT_NE(b.graph.nodes().front()->why.find("weights are not float32 constants"), std::string::npos);
}

TEST(NormaliseProducts, GemmForms) {
  for (const int64_t trans_a : {0, 1})
    for (const int64_t trans_b : {0, 1})
      for (const Shape& c : {Shape{}, Shape{5}, Shape{1, 5}, Shape{3, 5}, Shape{3, 1}}) {
        Builder b;
        Value* x = b.input("x", trans_a ? Shape{4, 3} : Shape{3, 4});
        Value* w = random_constant(b, trans_b ? Shape{5, 4} : Shape{4, 5}, 1);
        b.output(b.op("Gemm", {x, w, random_constant(b, c, 2)},
                      {{"transA", trans_a},
                       {"transB", trans_b},
                       {"alpha", c == Shape{5} ? 0.5f : 1.0f},
                       {"beta", c == Shape{5} ? 2.0f : 1.0f}}));
        EXPECT_LE(difference_after(b.graph, {normalise_products}), kFloatTolerance);
        EXPECT_NE(find_node(b.graph, "octet.Gemm"), nullptr);
        EXPECT_EQ(find_node(b.graph, "Add") != nullptr, c == Shape({3, 5}) || c == Shape({3, 1}));
      }
}

TEST(NormaliseProducts, MatMulByAConstantMatrixAndItsBias) {
  Builder b;
  Value* x = b.input("x", {2, 3, 4});
  b.output(b.op("Add", {random_constant(b, {5}, 2), b.op("MatMul", {x, random_constant(b, {4, 5}, 1)})}));
  EXPECT_LE(difference_after(b.graph, {normalise_products, fold_scale_bias}), kFloatTolerance);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Gemm"});
  EXPECT_EQ(b.graph.nodes().front()->input(kW)->constant().shape(), (Shape{5, 4}));
}

TEST(NormaliseProducts, AProductOfTwoActivationsIsDeclined) {
  Builder b;
  b.output(b.op("MatMul", {b.input("x", {2, 3, 4}), b.input("y", {2, 4, 3})}));
  EXPECT_EQ(normalise_products(b.graph), 0);
  EXPECT_NE(b.graph.nodes().front()->why.find("change at run time"), std::string::npos);
}

TEST(NormalisePools, MeansOverWholeImages) {
  for (const int64_t keep : {0, 1}) {
    Builder b;
    b.output(b.op("ReduceMean", {b.input("x", {2, 3, 4, 5}), b.ints({-1, 2})}, {{"keepdims", keep}}));
    EXPECT_LE(difference_after(b.graph, {normalise_pools}), kFloatTolerance);
    EXPECT_EQ(op_names(b.graph), keep ? Names{"GlobalAveragePool"} : (Names{"GlobalAveragePool", "Squeeze"}));
  }
  Builder b;
  b.output(b.op("AveragePool", {b.input("x", {2, 3, 4, 5})}, {{"kernel_shape", Ints{4, 5}}, {"strides", Ints{4, 5}}}));
  EXPECT_EQ(difference_after(b.graph, {normalise_pools}), 0);
  EXPECT_EQ(op_names(b.graph), Names{"GlobalAveragePool"});
}

TEST(NormalisePools, AMeanOverChannelsIsNone) {
  Builder b;
  b.output(b.op("ReduceMean", {b.input("x", {2, 3, 4, 5}), b.ints({1, 2})}));
  EXPECT_EQ(normalise_pools(b.graph), 0);
}

Value* batch_norm(Builder& b, Value* x, int64_t channels) {
  Value* variance = b.graph.add_constant(random_floats({channels}, 14, 0.5f, 2.0f));
  return b.op("BatchNormalization",
              {x, random_constant(b, {channels}, 11), random_constant(b, {channels}, 12), random_constant(b, {channels}, 13),
               variance},
              {{"epsilon", 1e-3f}});
}

TEST(FoldBatchNorm, IntoAConvolution) {
  for (const bool bias : {false, true}) {
    Builder b;
    Value* y =
        b.op("Conv",
             {b.input("x", {1, 4, 5, 5}), random_constant(b, {6, 2, 3, 3}, 1), bias ? random_constant(b, {6}, 2) : nullptr},
             {{"group", int64_t{2}}});
    b.output(batch_norm(b, y, 6));
    EXPECT_LE(difference_after(b.graph, {normalise_products, fold_batch_norm}), kFloatTolerance);
    EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
  }
}

TEST(FoldBatchNorm, IntoAGroupedTransposedConvolution) {
  Builder b;
  Value* y = b.op("ConvTranspose", {b.input("x", {1, 4, 3, 3}), random_constant(b, {4, 3, 2, 2}, 1)},
                  {{"group", int64_t{2}}, {"strides", Ints{2, 2}}});
  b.output(batch_norm(b, y, 6));
  EXPECT_LE(difference_after(b.graph, {fold_batch_norm}), kFloatTolerance);
  EXPECT_EQ(op_names(b.graph), Names{"ConvTranspose"});
}

TEST(FoldBatchNorm, AloneItMultipliesAndAdds) {
  Builder b;
  b.output(batch_norm(b, b.input("x", {2, 3, 4}), 3));
  EXPECT_LE(difference_after(b.graph, {fold_batch_norm}), kFloatTolerance);
  EXPECT_EQ(op_names(b.graph), (Names{"Mul", "Add"}));
}

TEST(FoldBatchNorm, AProductUsedElsewhereIsNotChanged) {
  Builder b;
  Value* y = b.op("Conv", {b.input("x", {1, 2, 3, 3}), random_constant(b, {3, 2, 1, 1}, 1)});
  b.output(batch_norm(b, y, 3));
  b.output(y);
  EXPECT_LE(difference_after(b.graph, {normalise_products, fold_batch_norm}), kFloatTolerance);
  EXPECT_EQ(op_names(b.graph), (Names{"octet.Conv", "octet.Conv"}));
}

TEST(FoldBatchNorm, AloneOnAnImageItIsADepthwiseConvolution) {
  Builder b;
  b.output(batch_norm(b, b.input("x", {2, 3, 4, 5}), 3));
  EXPECT_LE(difference_after(b.graph, {fold_batch_norm}), kFloatTolerance);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
}

TEST(FoldScaleBias, AChainOfConstantsPerChannel) {
  Builder b;
  Value* y = b.op("Conv", {b.input("x", {1, 2, 4, 4}), random_constant(b, {3, 2, 3, 3}, 1)});
  y = b.op("Add", {y, random_constant(b, {1, 3, 1, 1}, 2)});
  y = b.op("Mul", {random_constant(b, {3, 1, 1}, 3), y});
  y = b.op("Sub", {b.scalar(0.5f), y});
  y = b.op("Div", {y, b.scalar(4.0f)});
  b.output(b.op("Sub", {y, random_constant(b, {3, 1, 1}, 4)}));
  EXPECT_LE(difference_after(b.graph, {normalise_products, fold_scale_bias}), kFloatTolerance);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
}

TEST(FoldScaleBias, AConstantPerPixelOrAReciprocalStays) {
  Builder b;
  Value* y = b.op("Conv", {b.input("x", {1, 2, 3, 3}), random_constant(b, {3, 2, 1, 1}, 1)});
  y = b.op("Add", {y, random_constant(b, {1, 3}, 2)});
  b.output(b.op("Div", {b.scalar(1.0f), y}));
  normalise_products(b.graph);
  EXPECT_EQ(fold_scale_bias(b.graph), 0);
}

TEST(FoldPad, ZerosGoIntoAConvolution) {
  Builder b;
  Value* x = b.op("Pad", {b.input("x", {1, 2, 4, 4}), b.ints({0, 0, 1, 2, 0, 0, 3, 0})});
  b.output(b.op("Conv", {x, random_constant(b, {3, 2, 3, 3}, 1)}, {{"pads", Ints{1, 0, 0, 1}}}));
  EXPECT_EQ(difference_after(b.graph, {normalise_products, fold_pad}), 0);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
  EXPECT_EQ(b.graph.nodes().front()->ints("pads"), (Ints{2, 2, 3, 1}));
}

TEST(FoldPad, PoolsTakeWhatTheyWouldPadWith) {
  const Attrs window{{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}};
  for (const char* pool : {"AveragePool", "MaxPool"}) {
    Builder b;
    Value* value = std::string(pool) == "MaxPool" ? b.scalar(-INFINITY) : b.scalar(0.0f);
    Value* x = b.op("Pad", {b.input("x", {1, 2, 5, 5}), b.ints({0, 0, 1, 1, 0, 0, 1, 1}), value});
    b.output(b.op(pool, {x}, window));
    EXPECT_LE(difference_after(b.graph, {fold_pad}), kFloatTolerance) << pool;
    EXPECT_EQ(op_names(b.graph), Names{pool});
  }
}

TEST(Square, IsAProductWithTheSameBits) {
  Builder b;
  b.output(b.op("Pow", {b.input("x", {3, 50}), b.scalar(2)}));
  EXPECT_EQ(difference_after(b.graph, {square}), 0);
  EXPECT_EQ(op_names(b.graph), Names{"Mul"});
}

TEST(FoldPad, OtherValuesAndChannelsAreDeclined) {
  for (const bool channels : {false, true}) {
    Builder b;
    Value* x = b.op(
        "Pad", {b.input("x", {1, 2, 4, 4}), channels ? b.ints({0, 1, 0, 0, 0, 0, 0, 0}) : b.ints({0, 0, 1, 1, 0, 0, 1, 1}),
                b.scalar(channels ? 0.0f : 1.0f)});
    b.output(b.op("Conv", {x, random_constant(b, {3, channels ? 3 : 2, 3, 3}, 1)}));
    normalise_products(b.graph);
    EXPECT_EQ(fold_pad(b.graph), 0);
    EXPECT_FALSE(find_node(b.graph, "Pad")->why.empty());
  }
}

}  // namespace
}  // namespace octet::graph::test
