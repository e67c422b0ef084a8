#include "kernels/epilogue.h"

#include <xbyak/xbyak_util.h>

#include <algorithm>
#include <cassert>
#include <cmath>

#include "octet/numerics_functions.h"

namespace octet::kernels {
namespace {

float at(const std::vector<float>& values, int64_t n) { return values[static_cast<size_t>(n)]; }

float residual_term(const Epilogue& e, const void* residual) {
  const int32_t r = *static_cast<const uint8_t*>(residual);
  return static_cast<float>(r - e.residual_zero_point) * e.residual_scale;
}

float activate(const Epilogue& e, float v) {
  switch (e.act) {
    case ActKind::none: return v;
    case ActKind::clamp: v = e.act_lo > v ? e.act_lo : v; return e.act_hi < v ? e.act_hi : v;
    case ActKind::leaky_relu: return v < 0 ? v * e.alpha : v;
    case ActKind::gelu: return numerics::gelu(v);
  }
  return v;
}

void store_u8(const Epilogue& e, float v, void* y) {
  const int32_t q = e.y_scale != 0 ? numerics::quantize(v, e.y_scale, e.zero_point, 0, 255)
                                   : numerics::quantize_scaled(v, e.zero_point, e.lo, e.hi);
  *static_cast<uint8_t*>(y) = e.table.empty() ? static_cast<uint8_t>(q) : e.table[static_cast<size_t>(q)];
}

// The quotient comes from products (jit/epilogue_emitter.h), which neither overflow nor underflow between bounds of this
// size.
std::string unsupported_quantization(const Epilogue& e) {
  constexpr float kQuanta = 512;
  if (e.residual != ResidualKind::none || (e.act != ActKind::clamp && e.act != ActKind::none))
    return "values that are quantized have no residual, and no activation but a clamp";
  if (!(e.y_scale >= 0x1p-100f && e.y_scale <= 0x1p100f)) return "the scale is outside 2^-100 to 2^100";
  if (e.act == ActKind::clamp && !(std::fabs(e.act_lo) <= kQuanta * e.y_scale && std::fabs(e.act_hi) <= kQuanta * e.y_scale))
    return "the clamp is too wide for the scale";
  if (e.zero_point < 0 || e.zero_point > 255 || e.lo != 0 || e.hi != 255)
    return "zero point outside 0..255, or a clamp in quanta";
  return {};
}

}  // namespace

float largest_x_scale(const Epilogue& e, std::span<const int64_t> bound) {
  double largest = 0x1p100;
  for (size_t n = 0; n < bound.size(); ++n) {
    const double room =
        0x1p30 * static_cast<double>(e.y_scale) - (e.bias.empty() ? 0.0 : std::fabs(static_cast<double>(e.bias[n])));
    const double of_one = static_cast<double>(bound[n]) * std::fabs(static_cast<double>(e.scale[n]));
    if (!(room > 0) || !std::isfinite(of_one)) return 0;
    if (of_one > 0) largest = std::min(largest, room / of_one);
  }
  return static_cast<float>(largest * 0.999);
}

bool has_table_stage(const Isa& isa) {
  return isa.id == IsaId::reference || (isa.zmm() && Xbyak::util::Cpu().has(Xbyak::util::Cpu::tAVX512_VBMI));
}

Epilogue with_values(Epilogue e) {
  e.out = DType::f32;
  e.y_scale = 0;
  e.table.clear();
  return e;
}

std::string unsupported_reason(const Epilogue& e, bool float_sum) {
  if (e.act == ActKind::gelu && e.out != DType::f32) return "an 8-bit output has its GELU in a table";
  if (e.keeps_range && e.out != DType::f32 && e.y_scale == 0) return "a range is kept of float32 values only";
  if (!e.table.empty() && (e.out != DType::u8 || e.table.size() != 256)) return "a table is for 8-bit outputs, of 256 bytes";
  if (float_sum) {
    if (e.out != DType::f32) return "a float product stores float32 only";
    if (e.residual == ResidualKind::u8_once || e.residual == ResidualKind::u8_twice)
      return "a float product takes a float32 residual only";
    return {};
  }
  switch (e.out) {
    case DType::s32:
      if (e.residual != ResidualKind::none || e.act != ActKind::none || !e.bias.empty())
        return "an int32 output has no epilogue stages";
      return {};
    case DType::f32:
      if (e.residual == ResidualKind::u8_twice) return "two roundings need an 8-bit output";
      return {};
    case DType::u8:
      if (e.y_scale != 0) return unsupported_quantization(e);
      if (e.residual == ResidualKind::f32) return "an 8-bit output takes an 8-bit residual only";
      if (e.act == ActKind::clamp) return "a clamp on an 8-bit output is given in quanta (lo, hi)";
      if (e.zero_point < 0 || e.zero_point > 255 || e.lo < 0 || e.hi > 255 || e.lo > e.hi)
        return "zero point or clamp outside 0..255";
      return {};
    default: return "output type " + std::string(to_string(e.out)) + " is not float32, uint8 or int32";
  }
}

void apply_reference(const Epilogue& e, int32_t sum, int64_t n, float x_scale, const void* residual, void* y) {
  if (e.out == DType::s32) {
    *static_cast<int32_t*>(y) = sum;
    return;
  }
  const float scale = at(e.scale, n) * x_scale;
  float v = 0;
  if (e.out == DType::u8 && e.residual == ResidualKind::u8_once) {
    v = std::fma(static_cast<float>(sum), scale, residual_term(e, residual));
    if (!e.bias.empty()) v += at(e.bias, n);
  } else {
    v = static_cast<float>(sum) * scale;
    if (!e.bias.empty()) v += at(e.bias, n);
    switch (e.residual) {
      case ResidualKind::none: break;
      case ResidualKind::f32: v += *static_cast<const float*>(residual); break;
      case ResidualKind::u8_once: v += residual_term(e, residual); break;
      case ResidualKind::u8_twice: {
        const int32_t c = numerics::quantize_scaled(v, e.mid_zero_point, 0, 255);
        v = std::fma(static_cast<float>(c - e.mid_zero_point), e.mid_scale, residual_term(e, residual));
        break;
      }
    }
  }
  v = activate(e, v);
  if (e.out == DType::u8)
    store_u8(e, v, y);
  else
    *static_cast<float*>(y) = v;
}

void apply_reference(const Epilogue& e, float sum, int64_t n, const void* residual, void* y) {
  assert(e.out == DType::f32);
  if (!e.bias.empty()) sum += at(e.bias, n);
  if (e.residual == ResidualKind::f32) sum += *static_cast<const float*>(residual);
  *static_cast<float*>(y) = activate(e, sum);
}

}  // namespace octet::kernels
