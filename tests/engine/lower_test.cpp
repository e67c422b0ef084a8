// What a plan computes: the reference's bits on every ISA with any number of threads, and through kernels.
#include "engine/lower/lower.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "engine/model.h"
#include "graph/op_def.h"
#include "kernels/epilogue.h"
#include "kernels/isa.h"
#include "octet/octet.h"
#include "tests/engine/equal_bits.h"
#include "tests/graph/builder.h"

namespace octet {
namespace {

using graph::Tensor;
using graph::Value;
using graph::test::Builder;

using Ints = std::vector<int64_t>;

Value* pointwise(Builder& b, Value* x, int64_t out, uint32_t seed) {
  const int64_t in = (*x->type().dims)[1].value;
  return b.op("Conv", {x, b.graph.add_constant(graph::test::random_floats({out, in, 1, 1}, seed))});
}

TEST(LowerFakeQuantize, SixteenBitActivationsRunOnKernels) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        Value* zero = b.constant<uint16_t>(DType::u16, {}, {30000});
        const auto rounded = [&](Value* x, float scale) {
          Value* q = b.op("QuantizeLinear", {x, b.scalar(scale), zero});
          return b.op("DequantizeLinear", {q, b.scalar(scale), zero});
        };
        Value* x = pointwise(b, rounded(b.input("x", {2, 5, 7, 6}), 1e-4f), 9, 1);
        b.output(rounded(b.op("Relu", {rounded(x, 2e-5f)}), 3e-5f));
      },
      graph::test::random_floats({2, 5, 7, 6}, 3), "16-bit activations");
}

struct Transposed {
  int64_t in, out, group;
  Ints kernel, strides, pads, dilations, extra;
};
const Transposed kTransposed[] = {
    {8, 6, 1, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}, {0, 0}},    // U-Net
    {16, 32, 1, {4, 4}, {2, 2}, {1, 1, 1, 1}, {1, 1}, {0, 0}},  // GANs
    {5, 7, 1, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, {1, 1}},    // segmentation
    {3, 17, 1, {3, 5}, {1, 1}, {1, 2, 1, 2}, {1, 1}, {0, 0}},   // stride 1
    {6, 4, 2, {5, 3}, {3, 2}, {2, 0, 1, 1}, {1, 1}, {2, 0}},    // groups, uneven
    {8, 8, 8, {4, 4}, {2, 2}, {1, 1, 1, 1}, {1, 1}, {0, 0}},    // depthwise
    {4, 4, 1, {3, 3}, {2, 3}, {2, 1, 2, 1}, {3, 2}, {0, 1}},    // dilation
};

Value* transposed(Builder& b, Value* x, const Transposed& t, Value* w, Value* bias) {
  return b.op("ConvTranspose", {x, w, bias},
              {{"group", t.group},
               {"strides", t.strides},
               {"pads", t.pads},
               {"dilations", t.dilations},
               {"output_padding", t.extra}});
}

TEST(LowerConvTranspose, RunsAsOneConvolutionAPhase) {
  for (const Transposed& t : kTransposed)
    expect_kernels_with_equal_bits(
        [&](Builder& b) {
          Value* w = b.graph.add_constant(graph::test::random_floats({t.in, t.out / t.group, t.kernel[0], t.kernel[1]}, 1));
          Value* bias = b.graph.add_constant(graph::test::random_floats({t.out}, 2));
          b.output(b.op("Relu", {transposed(b, b.input("x", {2, t.in, 7, 6}), t, w, bias)}));
        },
        graph::test::random_floats({2, t.in, 7, 6}, 3), "ConvTranspose of " + std::to_string(t.in) + " channels");
}

TEST(LowerConvTranspose, InIntegersToo) {
  for (const Transposed& t : kTransposed) {
    if (t.group != 1) continue;
    expect_kernels_with_equal_bits(
        [&](Builder& b) {
          Value* w = b.graph.add_constant(graph::test::random_bytes(DType::s8, {t.in, t.out, t.kernel[0], t.kernel[1]}, 1));
          const std::vector<float> scales(static_cast<size_t>(t.out), 0.01f);
          w = b.op("DequantizeLinear", {w, b.floats({t.out}, scales)}, {{"axis", int64_t{1}}});
          b.output(b.qdq(transposed(b, b.qdq(b.input("x", {1, t.in, 5, 6}), 0.01f, 117), t, w, nullptr), 0.07f, 121));
        },
        graph::test::random_floats({1, t.in, 5, 6}, 3), "u8 ConvTranspose of " + std::to_string(t.in) + " channels");
  }
}

TEST(LowerConvTranspose, OfOneAxis) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        Value* w = b.graph.add_constant(graph::test::random_floats({6, 5, 4}, 1));
        b.output(b.op("ConvTranspose", {b.input("x", {1, 6, 9}), w}, {{"strides", Ints{2}}, {"pads", Ints{1, 1}}}));
      },
      graph::test::random_floats({1, 6, 9}, 3), "ConvTranspose of one axis");
}

// SiLU between Q and DQ is a table: of tile products a stage, before a depthwise convolution, whose halo it shares, too;
// not where something else reads what it was made of.
TEST(LowerConv, TablesBehindTileProductsAreAStage) {
  const auto build = [](bool shared) {
    return [shared](Builder& b) {
      const auto silu = [&](Value* x, float scale, int zero) {
        return b.qdq(b.op("Mul", {x, b.op("Sigmoid", {x})}), scale, zero);
      };
      const auto weights = [&](Ints shape, uint32_t seed) {
        Value* w = b.graph.add_constant(graph::test::random_bytes(DType::s8, shape, seed));
        return b.op("DequantizeLinear", {w, b.scalar(0.003f), b.constant<int8_t>(DType::s8, {}, {0})});
      };
      Value* x = b.qdq(b.input("x", {1, 40, 9, 7}), 0.01f, 117);
      Value* wide = b.qdq(b.op("Conv", {x, weights({72, 40, 1, 1}, 1)}), 0.04f, 130);
      Value* active = silu(wide, 0.03f, 9);
      Value* y =
          b.qdq(b.op("Conv", {active, weights({72, 1, 3, 3}, 2)}, {{"group", int64_t{72}}, {"pads", Ints{1, 1, 1, 1}}}),
                0.02f, 140);
      if (shared) y = b.qdq(b.op("Add", {silu(y, 0.015f, 20), wide}), 0.03f, 120);
      b.output(b.op("Conv", {y, weights({5, 72, 1, 1}, 3)}));
    };
  };
  const Tensor x = graph::test::random_floats({1, 40, 9, 7}, 3);
  for (const bool shared : {false, true})
    expect_kernels_with_equal_bits(build(shared), x, shared ? "a table of a shared value" : "a table");
  if (!kernels::supported(kernels::isa(kernels::IsaId::amx))) GTEST_SKIP() << "amx is not supported here";
  for (const bool shared : {false, true}) {
    Builder b;
    build(shared)(b);
    const Model model = model_from_graph(b.graph.clone(), {"amx", {}});
    Session session(model, {.threads = 1});
    session.set_input("x", x.view());
    session.run();
    const auto steps = session.steps();
    const bool joined = std::any_of(steps.begin(), steps.end(),
                                    [](const StepInfo& s) { return s.kernel.find(", table") != std::string::npos; });
    EXPECT_EQ(joined, !shared && kernels::has_table_stage(kernels::isa(kernels::IsaId::amx)));
  }
}

struct Deep {
  int64_t in, out, group;
  Ints kernel, strides, pads, dilations;
};
const Deep kDeep[] = {
    {3, 8, 1, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1}},  // C3D
    {8, 5, 1, {1, 3, 3}, {1, 2, 2}, {0, 1, 1, 0, 1, 1}, {1, 1, 1}},  // R(2+1)D, in space
    {8, 6, 1, {3, 1, 1}, {2, 1, 1}, {1, 0, 0, 1, 0, 0}, {1, 1, 1}},  // and in time
    {6, 4, 2, {2, 3, 1}, {1, 1, 2}, {1, 0, 0, 0, 1, 0}, {2, 1, 1}},  // groups, dilation, uneven
    {4, 4, 4, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1}},  // depthwise
};

Value* deep(Builder& b, Value* x, const Deep& d, Value* w, Value* bias) {
  return b.op("Conv", {x, w, bias},
              {{"group", d.group}, {"strides", d.strides}, {"pads", d.pads}, {"dilations", d.dilations}});
}

TEST(LowerConv, OverThreeAxes) {
  for (const Deep& d : kDeep)
    expect_kernels_with_equal_bits(
        [&](Builder& b) {
          Value* w = b.graph.add_constant(
              graph::test::random_floats({d.out, d.in / d.group, d.kernel[0], d.kernel[1], d.kernel[2]}, 1));
          Value* bias = b.graph.add_constant(graph::test::random_floats({d.out}, 2));
          b.output(b.op("Relu", {deep(b, b.input("x", {2, d.in, 5, 6, 7}), d, w, bias)}));
        },
        graph::test::random_floats({2, d.in, 5, 6, 7}, 3), "Conv over three axes of " + std::to_string(d.in) + " channels");
}

TEST(LowerConv, OverThreeAxesInIntegersWithAResidual) {
  for (const Deep& d : kDeep)
    expect_kernels_with_equal_bits(
        [&](Builder& b) {
          Value* w = b.weights({d.out, d.in / d.group, d.kernel[0], d.kernel[1], d.kernel[2]}, 1,
                               std::vector<float>(static_cast<size_t>(d.out), 0.01f));
          Value* x = b.qdq(b.input("x", {1, d.in, 5, 6, 7}), 0.01f, 117);
          Value* y = b.qdq(deep(b, x, d, w, nullptr), 0.05f, 121);
          if (d.in == d.out) y = b.qdq(b.op("Add", {y, x}), 0.05f, 119);
          b.output(y);
        },
        graph::test::random_floats({1, d.in, 5, 6, 7}, 3),
        "u8 Conv over three axes of " + std::to_string(d.in) + " channels");
}

TEST(LowerMove, SplitsAndSlicesOfImagesStayChannelsLast) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        Value* x = pointwise(b, b.input("x", {2, 4, 5, 6}), 20, 1);
        graph::Node* split = b.node("Split", {x, b.ints({7, 13})}, {{"axis", int64_t{1}}}, 2);
        Value* rows = b.op("Slice", {split->output(1), b.ints({1}), b.ints({100}), b.ints({2}), b.ints({2})});
        Value* back = b.op("Slice", {rows, b.ints({-1}), b.ints({-100}), b.ints({3}), b.ints({-2})});
        b.output(b.op("Flatten", {pointwise(b, back, 3, 2)}));
        b.output(b.op("Flatten", {pointwise(b, split->output(0), 3, 3)}));
      },
      graph::test::random_floats({2, 4, 5, 6}, 3), "Split and Slice");
}

Value* shuffled(Builder& b, Value* x, int64_t groups) {
  const Shape s = x->type().shape();
  Value* y = b.op("Reshape", {x, b.ints({s[0], groups, s[1] / groups, s[2], s[3]})});
  return b.op("Reshape", {b.op("Transpose", {y}, {{"perm", Ints{0, 2, 1, 3, 4}}}), b.ints(s)});
}

TEST(LowerMove, AShuffleOfChannelsIsAnInterleave) {
  for (const auto& [groups, channels] : {std::pair{2, 6}, {2, 32}, {2, 116}, {2, 700}, {3, 24}})
    for (const bool quantized : {false, true})
      expect_kernels_with_equal_bits(
          [&, groups = groups, channels = channels](Builder& b) {
            Value* x = pointwise(b, b.input("x", {2, 4, 3, 5}), channels, 1);
            if (quantized) x = b.qdq(x, 0.02f, 120);
            Value* y = shuffled(b, x, groups);
            if (quantized) y = b.qdq(y, 0.02f, 120);
            b.output(b.op("Flatten", {pointwise(b, y, 3, 2)}));
          },
          graph::test::random_floats({2, 4, 3, 5}, 3), "a shuffle of " + std::to_string(channels) + " channels");
}

TEST(LowerMove, AConcatenationThatGrowsCopiesNothing) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        Value* a = pointwise(b, b.input("x", {1, 4, 3, 5}), 24, 1);
        std::vector<Value*> features{a};
        for (uint32_t i = 0; i < 3; ++i) {
          Value* all = features.size() == 1 ? a : b.op("Concat", features, {{"axis", int64_t{1}}});
          features.push_back(pointwise(b, b.op("Relu", {all}), 8, 10 + i));
        }
        b.output(b.op("Flatten", {pointwise(b, b.op("Concat", features, {{"axis", int64_t{1}}}), 4, 2)}));
      },
      graph::test::random_floats({1, 4, 3, 5}, 3), "DenseNet's concatenations");
}

TEST(LowerResize, NearestAndLinear) {
  struct Case {
    const char *mode, *coordinates;
    Shape sizes;
  };
  const Case cases[] = {{"nearest", "asymmetric", {2, 12, 14, 10}},       {"nearest", "half_pixel", {2, 12, 5, 13}},
                        {"linear", "half_pixel", {2, 12, 14, 10}},        {"linear", "align_corners", {2, 12, 9, 3}},
                        {"linear", "pytorch_half_pixel", {2, 12, 7, 11}}, {"linear", "half_pixel", {2, 12, 21, 5}}};
  for (const Case& c : cases)
    for (const bool quantized : {false, true}) {
      expect_kernels_with_equal_bits(
          [&](Builder& b) {
            Value* x = pointwise(b, b.input("x", {2, 4, 7, 5}), 12, 1);
            if (quantized) x = b.qdq(x, 0.02f, 120);
            Value* y = b.op("Resize", {x, nullptr, nullptr, b.ints(c.sizes)},
                            {{"mode", std::string(c.mode)},
                             {"coordinate_transformation_mode", std::string(c.coordinates)},
                             {"nearest_mode", std::string("floor")}});
            if (quantized) y = b.qdq(y, 0.02f, 120);
            b.output(b.op("Flatten", {pointwise(b, y, 3, 2)}));
          },
          graph::test::random_floats({2, 4, 7, 5}, 3), std::string(c.mode) + " " + c.coordinates);
    }
}

TEST(LowerMatmul, OfValuesThatBothChange) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        Value* x = b.input("x", {2, 3, 9, 20});
        Value* keys = b.op("Transpose", {x}, {{"perm", Ints{0, 1, 3, 2}}});
        Value* scores = b.op("Softmax", {b.op("MatMul", {x, keys})}, {{"axis", int64_t{-1}}});
        b.output(b.op("MatMul", {scores, b.op("Slice", {x, b.ints({0}), b.ints({1}), b.ints({1})})}));
      },
      graph::test::random_floats({2, 3, 9, 20}, 3), "attention");
}

TEST(LowerQuantize, RowsOf64PixelsAndMoreAreTurnedByTheQuantization) {
  const auto turns = [](int64_t channels, int64_t width) {
    Builder b;
    return quantizes_to_pixels(*b.q(b.input("x", {1, channels, 5, width}), 0.02f, 120)->producer());
  };
  EXPECT_TRUE(turns(3, 64) && turns(3, 70));
  EXPECT_FALSE(turns(3, 63) || turns(4, 64));
}

// Several images, and a pool that wants a halo.
TEST(LowerQuantize, ColourImagesBecomePixels) {
  for (const int64_t width : {63, 64, 70})
    expect_kernels_with_equal_bits(
        [&](Builder& b) {
          Value* x = b.qdq(b.input("x", {2, 3, 5, width}), 0.02f, 120);
          b.output(b.op("MaxPool", {x}, {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}}));
        },
        graph::test::random_floats({2, 3, 5, width}, 3, -3, 3), "a colour image " + std::to_string(width) + " wide");
}

// A gate a channel and sample: squeeze and excitation.
TEST(LowerBinary, AGateAChannelOfEverySample) {
  for (const int64_t batch : {1, 3})
    for (const bool quantized : {false, true})
      expect_kernels_with_equal_bits(
          [&](Builder& b) {
            Value* x = pointwise(b, b.input("x", {batch, 4, 3, 5}), 37, 1);
            if (quantized) x = b.qdq(x, 0.02f, 120);
            Value* gate = b.op("GlobalAveragePool", {x});
            if (quantized) gate = b.qdq(gate, 0.01f, 110);
            gate = pointwise(b, gate, 37, 2);
            if (quantized) gate = b.qdq(gate, 0.03f, 100);
            Value* y = b.op("Mul", {x, gate});
            if (quantized) y = b.qdq(y, 0.03f, 128);
            b.output(b.op("Flatten", {pointwise(b, y, 3, 4)}));
          },
          graph::test::random_floats({batch, 4, 3, 5}, 3), "a gate a channel of " + std::to_string(batch) + " samples");
}

}  // namespace
}  // namespace octet
