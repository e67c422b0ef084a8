// The activation that a quantized result carries (attributes act, act_min, act_max, alpha of fused nodes and of Add, Sub,
// Mul): relu and clip are a clamp in quanta, which gives what clamping before the rounding would.
#pragma once

#include <algorithm>

#include "graph/ops/helpers.h"
#include "octet/numerics_functions.h"

namespace octet::graph::ops {

struct Act {
  enum class Kind : uint8_t { none, relu, clip, leaky_relu, gelu } kind = Kind::none;
  float min = 0, max = 0, alpha = 0;

  float apply(float v) const {
    switch (kind) {
      case Kind::relu: return 0.0f > v ? 0.0f : v;
      case Kind::clip: v = min > v ? min : v; return max < v ? max : v;
      case Kind::leaky_relu: return v < 0.0f ? v * alpha : v;
      case Kind::gelu: return numerics::gelu(v);  // of float32 results only
      case Kind::none: break;
    }
    return v;
  }
};

template <class Ctx>
Act act_of(const Ctx& ctx) {
  const Node& node = ctx.node();
  const std::string name = node.attr("act", "");
  Act act;
  if (name.empty()) return act;
  if (name == "relu") {
    act.kind = Act::Kind::relu;
  } else if (name == "clip") {
    act.kind = Act::Kind::clip;
    act.min = node.attr("act_min", -3.402823466e+38f);
    act.max = node.attr("act_max", 3.402823466e+38f);
  } else if (name == "leaky_relu") {
    act.kind = Act::Kind::leaky_relu;
    act.alpha = node.attr("alpha", 0.01f);
  } else if (name == "gelu") {
    if (node.output()->dtype() == DType::u8) fail(ctx, "act is 'gelu' on an 8-bit output");
    act.kind = Act::Kind::gelu;
  } else {
    fail(ctx, "act is '" + name + "'; expected relu, clip, leaky_relu or gelu");
  }
  return act;
}

// A quantized result: scale, zero point, range of the type, and the clamp in quanta.
struct QuantStore {
  float scale = 1;
  int32_t zero_point = 0;
  QuantRange range;
  int32_t lo = 0, hi = 255;

  QuantStore(const QuantParams& quant, DType dtype, const Act& act = {})
      : QuantStore(quant.scale[0], quant.zero_point[0], dtype, act) {}
  QuantStore(float s, int32_t zp, DType dtype, const Act& act = {})
      : scale(s), zero_point(zp), range(quant_range(dtype)), lo(range.lo), hi(range.hi) {
    if (act.kind == Act::Kind::relu) lo = zero_point;
    if (act.kind == Act::Kind::clip) {
      lo = numerics::quantize(act.min, scale, zero_point, range.lo, range.hi);
      hi = numerics::quantize(act.max, scale, zero_point, range.lo, range.hi);
    }
  }
  // v is in quanta, not yet rounded, the zero point not yet added.
  int32_t operator()(float v) const {
    const int32_t q = numerics::quantize_scaled(v, zero_point, range.lo, range.hi);
    return std::min(std::max(q, lo), hi);
  }
};

// Elements of an 8-bit tensor, signed or not.
inline int32_t quantum(const Tensor& t, int64_t i) {
  return t.dtype() == DType::s8 ? int32_t{t.as<int8_t>()[i]} : int32_t{t.as<uint8_t>()[i]};
}

}  // namespace octet::graph::ops
