#include <cmath>

#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

// A 1x1 convolution over three channels: one sum an output, formulas written out.
struct Case {
  float sx = 0.02f, sy = 0.05f, sr = 0.03f, sm = 0.04f;
  int32_t zx = 120, zy = 30, zr = 140, zm = 90;
  Floats sw{0.01f, 0.03f};
  std::vector<int32_t> zw{0, 3};
  Tensor x = random_bytes(DType::u8, {1, 3, 4, 4}, 1);
  Tensor w = random_bytes(DType::s8, {2, 3, 1, 1}, 2);
  Tensor r = random_bytes(DType::u8, {1, 2, 4, 4}, 3);
  Tensor rf = random_floats({1, 2, 4, 4}, 4, -3, 3);
  Floats bias{0.7f, -0.4f};
  std::vector<int32_t> bias32{500, -900};

  Operand qx() const { return quantized(x, sx, zx); }
  Operand qw() const { return Quantized{w, {sw, zw, 0}}; }
  Operand qr() const { return quantized(r, sr, zr); }
  Operand fb() const { return floats({2}, bias); }
  Operand ib() const { return ints32({2}, bias32); }
  Result u8() const { return {DType::u8, {{sy}, {zy}, -1}}; }

  int32_t acc(int64_t i) const {
    const int64_t n = i / 16, p = i % 16;
    int32_t sum = 0;
    for (int64_t c = 0; c < 3; ++c)
      sum += (int32_t{x.as<uint8_t>()[c * 16 + p]} - zx) * (int32_t{w.as<int8_t>()[n * 3 + c]} - zw[static_cast<size_t>(n)]);
    return sum;
  }
  size_t n(int64_t i) const { return static_cast<size_t>(i / 16); }
  float residual(int64_t i) const { return static_cast<float>(r.as<uint8_t>()[i] - zr); }

  template <class F>
  void expect(const Tensor& y, F formula) const {
    ASSERT_EQ(y.size(), 32);
    for (int64_t i = 0; i < 32; ++i) {
      if (y.dtype() == DType::f32)
        EXPECT_EQ(y.as<float>()[i], static_cast<float>(formula(i))) << i;
      else
        EXPECT_EQ(y.at_s64(i), static_cast<int64_t>(formula(i))) << i;
    }
  }
};

TEST(FusedConv, IntegerSumToInt32) {
  const Case c;
  c.expect(eval("octet.Conv", {c.qx(), c.qw()}, {}, {DType::s32, {}}), [&](int64_t i) { return c.acc(i); });
  c.expect(eval("octet.Conv", {c.qx(), c.qw(), c.ib()}, {}, {DType::s32, {}}),
           [&](int64_t i) { return c.acc(i) + c.bias32[c.n(i)]; });
}

TEST(FusedConv, RawIntegersDefaultToInt32) {
  const Tensor y = eval("octet.Conv", {bytes({1, 1, 1, 2}, {1, 2}), signed_bytes({1, 1, 1, 1}, {-3})});
  EXPECT_EQ(y.dtype(), DType::s32);
  EXPECT_EQ(y.to_s64(), (Ints{-3, -6}));
}

TEST(FusedConv, FloatOutput) {
  const Case c;
  const auto scaled = [&](int64_t i) { return static_cast<float>(c.acc(i)) * (c.sx * c.sw[c.n(i)]); };
  c.expect(eval("octet.Conv", {c.qx(), c.qw()}), scaled);
  c.expect(eval("octet.Conv", {c.qx(), c.qw(), c.fb(), c.qr()}),
           [&](int64_t i) { return (scaled(i) + c.bias[c.n(i)]) + c.residual(i) * c.sr; });
  c.expect(eval("octet.Conv", {c.qx(), c.qw(), c.fb(), c.rf}, {{"act", text("relu")}}), [&](int64_t i) {
    const float v = (scaled(i) + c.bias[c.n(i)]) + c.rf.as<float>()[i];
    return v > 0 ? v : 0.0f;
  });
}

TEST(FusedConv, QuantizedOutput) {
  const Case c;
  const auto store = [&](float v) { return numerics::quantize_scaled(v, c.zy, 0, 255); };
  const auto scaled = [&](int64_t i) { return static_cast<float>(c.acc(i)) * ((c.sx * c.sw[c.n(i)]) / c.sy); };
  c.expect(eval("octet.Conv", {c.qx(), c.qw()}, {}, c.u8()), [&](int64_t i) { return store(scaled(i)); });
  c.expect(eval("octet.Conv", {c.qx(), c.qw(), c.fb()}, {}, c.u8()),
           [&](int64_t i) { return store(scaled(i) + c.bias[c.n(i)] / c.sy); });
  c.expect(eval("octet.Conv", {c.qx(), c.qw(), c.ib()}, {}, c.u8()), [&](int64_t i) {
    return store(static_cast<float>(c.acc(i) + c.bias32[c.n(i)]) * ((c.sx * c.sw[c.n(i)]) / c.sy));
  });
  c.expect(eval("octet.Conv", {c.qx(), c.qw(), kAbsent, c.rf}, {}, c.u8()),
           [&](int64_t i) { return store(scaled(i) + c.rf.as<float>()[i] * (1.0f / c.sy)); });
}

TEST(FusedConv, ResidualWithOneRounding) {
  const Case c;
  c.expect(eval("octet.Conv", {c.qx(), c.qw(), c.fb(), c.qr()}, {}, c.u8()), [&](int64_t i) {
    const float v = std::fma(static_cast<float>(c.acc(i)), (c.sx * c.sw[c.n(i)]) / c.sy, c.residual(i) * (c.sr / c.sy));
    return numerics::quantize_scaled(v + c.bias[c.n(i)] / c.sy, c.zy, 0, 255);
  });
}

TEST(FusedConv, ResidualWithTwoRoundings) {
  const Case c;
  const Attrs mid{{"mid_scale", c.sm}, {"mid_zero_point", number(c.zm)}};
  c.expect(eval("octet.Conv", {c.qx(), c.qw(), c.fb(), c.qr()}, mid, c.u8()), [&](int64_t i) {
    const float sum = static_cast<float>(c.acc(i)) * ((c.sx * c.sw[c.n(i)]) / c.sm) + c.bias[c.n(i)] / c.sm;
    const int32_t q = numerics::quantize_scaled(sum, c.zm, 0, 255);
    return numerics::quantize_scaled(std::fma(static_cast<float>(q - c.zm), c.sm / c.sy, c.residual(i) * (c.sr / c.sy)),
                                     c.zy, 0, 255);
  });
}

// Two roundings are what the unfused nodes give: QLinearConv, then Add of quantized values.
TEST(FusedConv, TwoRoundingsEqualTheUnfusedNodes) {
  const Case c;
  const Tensor mid = eval("octet.Conv", {c.qx(), c.qw(), c.ib()}, {}, {DType::u8, {{c.sm}, {c.zm}, -1}});
  const Tensor sum = eval("Add", {quantized(mid, c.sm, c.zm), c.qr()}, {{"act", text("relu")}}, c.u8());
  const Attrs attrs{{"mid_scale", c.sm}, {"mid_zero_point", number(c.zm)}, {"act", text("relu")}};
  EXPECT_EQ(eval("octet.Conv", {c.qx(), c.qw(), c.ib(), c.qr()}, attrs, c.u8()).to_s64(), sum.to_s64());
}

TEST(FusedConv, ActivationsOnQuanta) {
  const Case c;
  const auto scaled = [&](int64_t i) { return static_cast<float>(c.acc(i)) * ((c.sx * c.sw[c.n(i)]) / c.sy); };
  const auto store = [&](float v) { return numerics::quantize_scaled(v, c.zy, 0, 255); };
  c.expect(eval("octet.Conv", {c.qx(), c.qw()}, {{"act", text("relu")}}, c.u8()),
           [&](int64_t i) { return std::max(c.zy, store(scaled(i))); });
  c.expect(eval("octet.Conv", {c.qx(), c.qw()}, {{"act", text("clip")}, {"act_min", 0.0f}, {"act_max", 6.0f}}, c.u8()),
           [&](int64_t i) {
             return std::min(std::max(store(scaled(i)), numerics::quantize(0, c.sy, c.zy, 0, 255)),
                             numerics::quantize(6, c.sy, c.zy, 0, 255));
           });
  c.expect(eval("octet.Conv", {c.qx(), c.qw()}, {{"act", text("leaky_relu")}, {"alpha", 0.1f}}, c.u8()), [&](int64_t i) {
    const float v = scaled(i);
    return store(v < 0 ? v * 0.1f : v);
  });
}

TEST(FusedConv, DynamicScaleAndZeroPointAreInputs) {
  const Case c;
  c.expect(eval("octet.Conv", {c.x, c.qw(), c.fb(), kAbsent, floats({}, {c.sx}), bytes({}, {120})}),
           [&](int64_t i) { return static_cast<float>(c.acc(i)) * (c.sx * c.sw[c.n(i)]) + c.bias[c.n(i)]; });
}

TEST(FusedConv, FloatIsConvWithItsEpilogue) {
  const Tensor x = random_floats({2, 4, 6, 5}, 5), w = random_floats({6, 2, 3, 3}, 6), b = random_floats({6}, 7);
  const Attrs window{
      {"pads", ints({1, 0, 1, 2})}, {"strides", ints({2, 1})}, {"dilations", ints({1, 2})}, {"group", number(2)}};
  Attrs relu = window;
  relu.emplace_back("act", text("relu"));
  const Tensor plain = eval("Conv", {x, w, b}, window);
  const Tensor r = random_floats(plain.shape(), 8);
  EXPECT_EQ(eval("octet.Conv", {x, w, b, r}, relu).to_f32(), eval("Relu", {eval("Add", {plain, r})}).to_f32());
}

TEST(FusedConv, IntegerWindowEqualsConvInteger) {
  const Tensor x = random_bytes(DType::u8, {2, 4, 6, 5}, 5), w = random_bytes(DType::s8, {6, 2, 3, 3}, 6);
  const Attrs window{
      {"pads", ints({1, 0, 1, 2})}, {"strides", ints({2, 1})}, {"dilations", ints({1, 2})}, {"group", number(2)}};
  EXPECT_EQ(eval("octet.Conv", {quantized(x, 1, 77), w}, window, {DType::s32, {}}).to_s64(),
            eval("ConvInteger", {x, w, bytes({}, {77})}, window).to_s64());
}

TEST(FusedGemm, RowsOfAnyLeadingShapeAgainstWeightsByOutput) {
  const Tensor x = random_floats({2, 3, 5}, 1), w = random_floats({4, 5}, 2), b = random_floats({4}, 3);
  const Tensor y = eval("octet.Gemm", {x, w, b});
  EXPECT_EQ(y.shape(), (Shape{2, 3, 4}));
  EXPECT_EQ(y.to_f32(), eval("Gemm", {x.reshaped({6, 5}), w, b}, {{"transB", number(1)}}).to_f32());
}

TEST(FusedGemm, IntegerFormsEqualAPointwiseConv) {
  const Case c;
  const Tensor rows = eval("Transpose", {c.x.reshaped({3, 16})});
  const Quantized w{c.w.reshaped({2, 3}), {c.sw, c.zw, 0}};
  for (const Result& result : {Result{DType::s32, {}}, Result{DType::f32, {}}, c.u8()}) {
    const Operand bias = result.dtype == DType::s32 ? c.ib() : c.fb();
    const Tensor y = eval("octet.Gemm", {quantized(rows, c.sx, c.zx), w, bias}, {}, result);
    const Tensor conv = eval("octet.Conv", {c.qx(), c.qw(), bias}, {}, result);
    EXPECT_EQ(eval("Transpose", {y}).to_f32(), conv.to_f32());
  }
}

TEST(Fused, Refusals) {
  const Case c;
  EXPECT_EQ(refusal("octet.Gemm", {floats({2, 3}, Floats(6)), floats({4, 5}, Floats(20))}),
            "test.onnx: node 'n' (octet.Gemm): inner dimensions of x and w disagree: 3 and 5");
  EXPECT_EQ(message_of([&] {
              eval("octet.Conv", {floats({1, 3, 1, 1}, Floats(3)), floats({2, 3, 1, 1}, Floats(6))}, {}, c.u8());
            }),
            "test.onnx: node 'n' (octet.Conv): the output is uint8, which these inputs cannot give");
}

TEST(Fused, InferenceKeepsWhatThePassDecided) {
  const Case c;
  Graph g;
  Node* n = detail::build(g, "octet.Conv", {c.qx(), c.qw()}, {}, 1, c.u8());
  EXPECT_EQ(n->output()->dtype(), DType::u8);
  ASSERT_NE(n->output()->quant(), nullptr);
  EXPECT_EQ(n->output()->quant()->scale[0], c.sy);
  EXPECT_EQ(inferred("octet.Gemm", {dims(DType::f32, {"B", "T", "5"}), floats({4, 5}, Floats(20))}),
            to_string(dims(DType::f32, {"B", "T", "4"})));
}

TEST(Table, LooksEveryByteUp) {
  std::vector<uint8_t> table(256);
  for (size_t i = 0; i < 256; ++i) table[i] = static_cast<uint8_t>(255 - i);
  EXPECT_EQ(eval("octet.Table", {bytes({3}, {0, 7, 255}), bytes({256}, table)}, {}, {DType::u8, {{1}, {0}, -1}}).to_s64(),
            (Ints{255, 248, 0}));
  EXPECT_NE(refusal("octet.Table", {bytes({1}, {0}), bytes({2}, {0, 1})}), "");
  // The byte is the index and the table's type the result's: a flip of the sign bit turns int8 into uint8.
  for (size_t i = 0; i < 256; ++i) table[i] = static_cast<uint8_t>(i ^ 128);
  const Tensor y = eval("octet.Table", {signed_bytes({3}, {-128, 0, 127}), bytes({256}, table)});
  EXPECT_EQ(y.dtype(), DType::u8);
  EXPECT_EQ(y.to_s64(), (Ints{0, 128, 255}));
  EXPECT_EQ(eval("octet.Reorder", {floats({1, 2, 1, 1}, {1, 2})}).to_f32(), (Floats{1, 2}));
}

}  // namespace
}  // namespace octet::graph::test
