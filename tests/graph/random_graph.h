// Random quantized networks, each a pure function of its seed: convolutions of every kind of weights, sums, concatenations,
// splits, pools, moves, element-wise functions, normalisations, with Q/DQ where quantizers put them and where they do not,
// inputs shared by several consumers, several outputs.
//
// The network is run while it grows: every value knows its sample, so that scales fit ranges as a calibration would choose
// them.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "octet/numerics.h"
#include "tests/graph/builder.h"

namespace octet::graph::test {

class RandomGraph {
 public:
  explicit RandomGraph(uint32_t seed) : engine_(seed * 2654435761u + 17) { grow(); }

  Graph& graph() { return b_.graph; }
  const std::vector<Tensor>& inputs() const { return inputs_; }

 private:
  using Longs = std::vector<int64_t>;

  int64_t pick(int64_t lo, int64_t hi) { return lo + static_cast<int64_t>(engine_() % static_cast<uint32_t>(hi - lo + 1)); }
  bool chance(int percent) { return pick(1, 100) <= percent; }
  float real(float lo, float hi) { return lo + (hi - lo) * static_cast<float>(engine_() % 65536) / 65536.0f; }

  // --- nodes that run as they are made
  // ---------------------------------------------------------------------------------------
  Node* node(const std::string& op, const std::vector<Value*>& in, const Attrs& attrs = {}, size_t outputs = 1) {
    Node* n = b_.node(op, in, attrs, outputs);
    std::vector<Tensor> tensors;
    for (const Value* v : n->inputs()) tensors.push_back(!v ? Tensor() : v->is_constant() ? v->constant() : sample_.at(v));
    const std::vector<Tensor> out = evaluate(*n, tensors);
    for (size_t i = 0; i < out.size(); ++i) sample_[n->output(i)] = out[i];
    return n;
  }
  Value* op(const std::string& name, const std::vector<Value*>& in, const Attrs& attrs = {}) {
    return node(name, in, attrs)->output();
  }
  Shape shape(const Value* v) const { return sample_.at(v).shape(); }

  // --- Q and DQ
  // --------------------------------------------------------------------------------------------------------------
  struct Params {
    float scale = 1;
    int zero = 0;
    DType dtype = DType::u8;
  };
  // A grid for the sample, often a little too small or too large.
  Params params_for(Value* v) {
    const std::vector<float> x = sample_.at(v).to_f32();
    const float lo = std::min(0.0f, *std::min_element(x.begin(), x.end())),
                hi = std::max(0.0f, *std::max_element(x.begin(), x.end()));
    Params p;
    p.scale = std::max(1e-3f, (hi - lo) * real(0.7f, 1.3f) / 255.0f);
    p.zero = std::clamp(static_cast<int>(std::lround(-lo / p.scale)), 0, 255);
    if (chance(25)) p.dtype = DType::s8, p.zero -= 128;
    return p;
  }
  Value* zero_point(const Params& p) { return b_.zero_point(p.dtype, p.zero); }
  Value* quantize(Value* v, const Params& p) { return op("QuantizeLinear", {v, b_.scalar(p.scale), zero_point(p)}); }
  Value* dequantize(Value* v, const Params& p) { return op("DequantizeLinear", {v, b_.scalar(p.scale), zero_point(p)}); }
  Value* qdq(Value* v) {
    const Params p = params_for(v);
    return dequantize(quantize(v, p), p);
  }
  Value* maybe_qdq(Value* v, int percent) { return chance(percent) ? qdq(v) : v; }
  Value* sixteen_bits(Value* v) {
    Value* zero = b_.constant<uint16_t>(DType::u16, {}, {32768});
    Value* scale = b_.scalar(params_for(v).scale / 128);
    return op("DequantizeLinear", {op("QuantizeLinear", {v, scale, zero}), scale, zero});
  }

  // --- constants
  // -------------------------------------------------------------------------------------------------------------
  Value* weights(const Shape& shape, int axis, std::vector<float>& scales) {
    const bool is_signed = chance(70), per_channel = chance(60);
    const auto channels = shape[static_cast<size_t>(axis)];
    Tensor w(is_signed ? DType::s8 : DType::u8, shape);
    for (int64_t i = 0; i < w.size(); ++i) w.mutable_as<uint8_t>()[i] = static_cast<uint8_t>(engine_() >> 8);
    const float unit = 0.6f / (127.0f * std::sqrt(static_cast<float>(w.size() / channels)));
    const int64_t count = per_channel ? channels : 1;
    std::vector<uint8_t> zeros;
    for (int64_t i = 0; i < count; ++i) {
      scales.push_back(unit * real(0.5f, 1.5f));
      zeros.push_back(is_signed ? static_cast<uint8_t>(chance(80) ? 0 : pick(0, 9)) : static_cast<uint8_t>(pick(120, 136)));
    }
    const Shape s = per_channel ? Shape{count} : Shape{};
    return op("DequantizeLinear",
              {b_.graph.add_constant(std::move(w)), b_.floats(s, scales),
               b_.constant<uint8_t>(is_signed ? DType::s8 : DType::u8, s, zeros)},
              {{"axis", int64_t{axis}}});
  }
  Value* bias(int64_t channels, const Value* x, const std::vector<float>& w_scales) {
    const Node* dq = x->producer();
    const bool dequantized = dq && dq->op_name() == "DequantizeLinear";
    if (chance(25)) return nullptr;
    if (!dequantized || chance(25))
      return b_.graph.add_constant(random_floats({channels}, static_cast<uint32_t>(engine_())));
    std::vector<int32_t> q;
    std::vector<float> scales;
    const float x_scale = dq->input(1)->constant().as<float>()[0] * (chance(15) ? 1.7f : 1.0f);  // now and then not sx·sw
    for (int64_t i = 0; i < channels; ++i) {
      scales.push_back(x_scale * w_scales[w_scales.size() == 1 ? 0 : static_cast<size_t>(i)]);
      q.push_back(static_cast<int32_t>(real(-1, 1) / scales.back()));
    }
    return op("DequantizeLinear", {b_.constant<int32_t>(DType::s32, {channels}, q), b_.floats({channels}, scales)},
              {{"axis", int64_t{0}}});
  }

  // --- layers: float values in, a float value out
  // ------------------------------------------------------------------------------
  Value* any() { return pool_[static_cast<size_t>(pick(0, static_cast<int64_t>(pool_.size()) - 1))]; }
  Value* recent() {
    const auto n = static_cast<int64_t>(pool_.size());
    return pool_[static_cast<size_t>(pick(std::max<int64_t>(0, n - 3), n - 1))];
  }

  Value* activation(Value* v) {
    switch (pick(0, 9)) {
      case 0:
      case 1:
      case 2: return op("Relu", {v});
      case 3: return op("Clip", {v, b_.scalar(0), b_.scalar(real(0.5f, 6))});
      case 4: return op("LeakyRelu", {v}, {{"alpha", 0.125f}});
      case 5: return op("Sigmoid", {v});
      case 6: return op("Mul", {v, op("Sigmoid", {v})});
      case 7: return op("HardSwish", {v});
      default: return v;
    }
  }

  Value* conv(Value* x) {
    const Shape s = shape(x);
    const int64_t k = chance(50) ? 1 : 3, in = s[1];
    const bool depthwise = chance(20), grouped = !depthwise && in % 2 == 0 && chance(15);
    const int64_t group = depthwise ? in : grouped ? 2 : 1, out = depthwise ? in : 2 * pick(1, 5);
    std::vector<float> scales;
    Value* w = weights({out, in / group, k, k}, 0, scales);
    const int64_t pad = k == 3 && chance(70) ? 1 : 0, stride = chance(20) ? 2 : 1;
    if (s[2] + 2 * pad < k || s[3] + 2 * pad < k) return x;
    return op("Conv", {x, w, bias(out, x, scales)},
              {{"kernel_shape", Longs{k, k}}, {"pads", Longs(4, pad)}, {"strides", Longs(2, stride)}, {"group", group}});
  }

  Value* binary(Value* a) {
    Value* b = nullptr;
    for (int tries = 0; tries < 8 && !b; ++tries)
      if (Value* v = any(); v != a && shape(v) == shape(a)) b = v;
    static const char* const kOps[] = {"Add", "Add", "Add", "Mul", "Sub"};
    if (!b && chance(50)) return op("Mul", {a, op("GlobalAveragePool", {a})});  // a gate per channel
    if (!b) return op(kOps[pick(0, 4)], {a, b_.scalar(real(0.25f, 2))});
    return op(kOps[pick(0, 4)], {a, b});
  }

  Value* concat(Value* a) {
    std::vector<Value*> parts{a};
    const Shape s = shape(a);
    for (int tries = 0; tries < 8 && parts.size() < 3; ++tries) {
      Value* v = any();
      const Shape t = shape(v);
      if (t[2] == s[2] && t[3] == s[3] && t[1] + s[1] <= 16) parts.push_back(v);
    }
    return op("Concat", parts, {{"axis", int64_t{1}}});
  }

  Value* split(Value* v) {
    const int64_t c = shape(v)[1];
    if (c < 2) return v;
    const int64_t first = pick(1, c - 1);
    Node* n = node("Split", {v, b_.ints({first, c - first})}, {{"axis", int64_t{1}}}, 2);
    pool_.push_back(n->output(0));
    return n->output(1);
  }

  Value* pool(Value* v) {
    const Shape s = shape(v);
    const int64_t k = std::min<int64_t>({pick(2, 3), s[2], s[3]});
    const Attrs attrs{
        {"kernel_shape", Longs{k, k}}, {"strides", Longs(2, pick(1, 2))}, {"pads", Longs(4, k == 3 && chance(40) ? 1 : 0)}};
    return op(chance(50) ? "MaxPool" : "AveragePool", {v}, attrs);
  }

  Value* shuffle(Value* v) {
    const Shape s = shape(v);
    if (s[1] % 2 != 0) return v;
    v = op("Reshape", {v, b_.ints({s[0], 2, s[1] / 2, s[2], s[3]})});
    v = op("Transpose", {v}, {{"perm", Longs{0, 2, 1, 3, 4}}});
    return op("Reshape", {v, b_.ints({s[0], s[1], s[2], s[3]})});
  }

  Value* move(Value* v) {
    const Shape s = shape(v);
    switch (pick(0, 6)) {
      case 0: return op("Slice", {v, b_.ints({0}), b_.ints({pick(1, s[1])}), b_.ints({1})});
      case 1:
        return s[2] > 10 ? v
                         : op("Pad", {v, b_.ints({0, 0, 1, 0, 0, 0, 1, 1}), chance(30) ? b_.scalar(real(-1, 1)) : nullptr});
      case 2: return op("Transpose", {v}, {{"perm", Longs{0, 1, 3, 2}}});
      case 3: return shuffle(v);
      case 4:
        if (s[2] > 6 || s[3] > 6) return v;
        return op("Resize", {v, nullptr, b_.floats({4}, {1, 1, 2, 2})},
                  {{"mode", std::string("nearest")},
                   {"nearest_mode", std::string("floor")},
                   {"coordinate_transformation_mode", std::string("asymmetric")}});
      case 5: return op("Gather", {v, b_.ints({s[1] - 1, 0})}, {{"axis", int64_t{1}}});
      default:
        return maybe_qdq(op("Transpose", {maybe_qdq(op("Transpose", {v}, {{"perm", Longs{0, 2, 3, 1}}}), 50)},
                            {{"perm", Longs{0, 3, 1, 2}}}),
                         50);
    }
  }

  Value* norm(Value* v) {
    const auto constant = [&](float lo, float hi) {
      return b_.graph.add_constant(random_floats({shape(v)[3]}, static_cast<uint32_t>(engine_()), lo, hi));
    };
    for (int tries = 0; tries < 4; ++tries)
      if (Value* r = any(); r != v && shape(r) == shape(v)) {
        v = op("Add", {v, r});
        if (chance(30)) pool_.push_back(v);
        break;
      }
    const Attrs attrs{{"epsilon", 0.1f}};  // so that a rounding does not grow much
    if (chance(50)) return op("RMSNormalization", {v, constant(0.5f, 1.5f)}, attrs);
    return op("LayerNormalization", {v, constant(0.5f, 1.5f), chance(80) ? constant(-0.5f, 0.5f) : nullptr}, attrs);
  }

  Value* in_float(Value* v) {
    switch (pick(0, 4)) {
      case 0: return op("Softmax", {v}, {{"axis", int64_t{-1}}});
      case 2: return op("Gelu", {v});
      case 3:
      case 4: return norm(v);
      case 1: return sixteen_bits(v);
      default: return op("Exp", {op("Neg", {op("Abs", {v})})});
    }
  }

  void layer() {
    Value* v = recent();
    const int64_t kind = pick(0, 99);
    if (kind < 35)
      v = activation(maybe_qdq(conv(maybe_qdq(v, 60)), 20));
    else if (kind < 55)
      v = chance(60) ? op("Relu", {binary(v)}) : binary(v);
    else if (kind < 65)
      v = concat(v);
    else if (kind < 72)
      v = split(v);
    else if (kind < 80)
      v = pool(v);
    else if (kind < 90)
      v = move(v);
    else if (kind < 95)
      v = activation(v);
    else
      v = in_float(v);
    v = maybe_qdq(v, 80);
    if (chance(5)) v = qdq(v);  // two in a row
    pool_.push_back(v);
  }

  Value* head(Value* v) {
    v = op("Flatten", {chance(50) ? qdq(op("GlobalAveragePool", {v})) : v}, {{"axis", int64_t{1}}});
    std::vector<float> scales;
    const int64_t k = shape(v)[1];
    v = maybe_qdq(v, 70);
    Value* w = weights({5, k}, 0, scales);
    return op("Gemm", {v, w, bias(5, v, scales)}, {{"transB", int64_t{1}}});
  }

  void grow() {
    const Shape s{1, 2 * pick(1, 4), pick(5, 9), pick(5, 9)};
    if (chance(70)) {
      Value* x = b_.input("x", s);
      inputs_.push_back(random_floats(s, static_cast<uint32_t>(engine_()), -2, 2));
      sample_[x] = inputs_.back();
      pool_.push_back(qdq(x));
    } else {
      const DType dtype = chance(50) ? DType::u8 : DType::s8;
      Value* x = b_.input("x", s, dtype);
      inputs_.push_back(random_bytes(dtype, s, static_cast<uint32_t>(engine_())));
      sample_[x] = inputs_.back();
      pool_.push_back(dequantize(x, {0.02f, dtype == DType::u8 ? 120 : -4, dtype}));
    }
    const int64_t layers = pick(4, 12);
    for (int64_t i = 0; i < layers; ++i) layer();
    const auto add_output = [&](Value* v) {
      if (!b_.graph.is_output(v)) b_.output(v);
    };
    add_output(chance(40) ? head(pool_.back()) : pool_.back());
    for (int64_t i = pick(0, 2); i > 0; --i) {
      Value* v = any();
      add_output(chance(40) ? quantize(v, params_for(v)) : v);
    }
  }

  Builder b_;
  std::mt19937 engine_;
  std::map<const Value*, Tensor> sample_;
  std::vector<Value*> pool_;  // float32, rank 4
  std::vector<Tensor> inputs_;
};

}  // namespace octet::graph::test
