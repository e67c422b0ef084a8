// What an epilogue's emission is decided by, before there is code: its form, its constants, its channels' parameters.
#include <algorithm>
#include <cmath>

#include "kernels/jit/epilogue_emitter.h"

#include <cstddef>

namespace octet::kernels {
namespace {

template <class T, size_t N>
void fill(T (&vector)[N], T value) {
  std::fill(std::begin(vector), std::end(vector), value);
}

}  // namespace

EpilogueForm make_epilogue_form(const Epilogue& e, bool float_sum, bool add_int_bias, bool clamp_first) {
  EpilogueForm form;
  form.float_sum = float_sum;
  form.add_int_bias = add_int_bias && !float_sum;
  form.out = e.out;
  if (e.out == DType::s32) return form;
  form.bias = !e.bias.empty();
  form.residual = e.residual;
  form.residual_zero_point =
      (e.residual == ResidualKind::u8_once || e.residual == ResidualKind::u8_twice) && e.residual_zero_point != 0;
  form.act = e.act;
  form.keeps_range = e.keeps_range;
  form.range_of_most = e.keeps_range && e.range_of_most;
  form.of_values = e.out == DType::u8 && e.y_scale != 0;
  if (form.of_values) {
    form.zero_point = e.zero_point != 0;
  } else if (e.out == DType::u8) {
    form.clamp_first = clamp_first;
    form.adds_lo = e.zero_point != 0 && e.lo == e.zero_point;
    form.zero_point = e.zero_point != 0 && !form.adds_lo;
    form.lo = e.lo != 0 && !form.adds_lo;
    form.hi = e.hi != 255;
  }
  form.table = !e.table.empty();
  return form;
}

void add_to_key(CodeKey& key, const EpilogueForm& f) {
  key.add(f.float_sum)
      .add(f.add_int_bias)
      .add(f.offset_sum)
      .add(f.centred_sum)
      .add(f.bias)
      .add(f.residual_zero_point)
      .add(f.clamp_first)
      .add(f.zero_point);
  key.add(f.of_values).add(f.lo).add(f.hi).add(f.adds_lo).add(f.out).add(f.residual).add(f.act).add(f.interleaved);
  key.add(f.keeps_range).add(f.range_of_most).add(f.table);
}

bool must_clamp_first(const Epilogue& e, std::span<const int64_t> bound) {
  if (e.out != DType::u8 || e.y_scale != 0) return false;
  constexpr double kSafe = 2147483648.0 * 0.999;
  double extra = 0;
  if (e.residual != ResidualKind::none) extra = 255.0 * std::fabs(static_cast<double>(e.residual_scale));
  const double gain = e.act == ActKind::leaky_relu ? std::max(1.0, std::fabs(static_cast<double>(e.alpha))) : 1.0;
  for (size_t n = 0; n < bound.size(); ++n) {
    double v = static_cast<double>(bound[n]) * std::fabs(static_cast<double>(e.scale[n]));
    if (e.residual == ResidualKind::u8_twice) v = 255.0 * std::fabs(static_cast<double>(e.mid_scale));
    if (!e.bias.empty()) v += std::fabs(static_cast<double>(e.bias[n]));
    if (!((v + extra) * gain < kSafe)) return true;  // also when NaN
  }
  return false;
}

bool offset_sum_is_exact(const Epilogue& e, std::span<const int64_t> bound) {
  if (e.y_scale != 0) return false;
  if (e.out != DType::u8 || !e.bias.empty() || e.residual != ResidualKind::none || e.act != ActKind::none) return false;
  if (e.lo < e.zero_point || must_clamp_first(e, bound)) return false;
  // Sums of 2^23 and more are floats no longer whole, but where they saturate anyway that does not show, up to the bits of
  // infinity (0x7f800000 - kSumOffset = 0x34800000).
  constexpr int64_t kExact = int64_t{1} << 23, kFinite = 0x34000000;
  for (size_t n = 0; n < bound.size(); ++n) {
    if (!(e.scale[n] >= 0.0f)) return false;
    const bool saturates = bound[n] < kFinite && e.scale[n] * static_cast<float>(kExact) >= 256.0f;
    if (bound[n] >= kExact && !saturates) return false;
  }
  return true;
}

bool centred_sum_is_exact(const Epilogue& e, std::span<const int64_t> bound) {
  if (e.out == DType::s32 || offset_sum_is_exact(e, bound)) return false;
  constexpr int64_t kBound = int64_t{1} << 22;
  return std::all_of(bound.begin(), bound.end(), [](int64_t b) { return b < kBound; });
}

EpilogueConstants make_epilogue_constants(const Isa& isa, const Epilogue& e) {
  EpilogueConstants k;
  fill(k.residual_scale, e.residual_scale);
  fill(k.residual_zero_point, e.residual_zero_point);
  fill(k.mid_scale, e.mid_scale);
  fill(k.mid_low, static_cast<float>(0 - e.mid_zero_point));
  fill(k.mid_high, static_cast<float>(255 - e.mid_zero_point));
  fill(k.act_lo, e.act_lo);
  fill(k.act_hi, e.act_hi);
  fill(k.alpha, e.alpha);
  fill(k.low, static_cast<float>(e.lo - e.zero_point));
  fill(k.high, static_cast<float>(e.hi - e.zero_point));
  fill(k.zero_point, static_cast<int16_t>(e.zero_point));
  fill(k.lo, static_cast<uint8_t>(e.lo));
  fill(k.hi, static_cast<uint8_t>(e.hi));
  fill(k.zero, 0.0f);
  constexpr float kOffset = 8388608.0f;
  fill(k.sum_offset, kOffset);
  fill(k.round_offset, 1.5f * kOffset);
  fill(k.minus_round_offset, -1.5f * kOffset);
  fill(k.y_scale, e.y_scale);
  fill(k.y_reciprocal, e.y_scale == 0 ? 0.0f : 1.0f / e.y_scale);
  fill(k.offset_residual, kOffset + static_cast<float>(e.residual_zero_point));
  fill(k.minus_offset_times_scale, -kOffset * e.residual_scale);
  fill(k.table, uint8_t{0});
  std::copy(e.table.begin(), e.table.end(), k.table);
  for (int i = 0; i < 64; ++i) k.residual_shuffle[i] = static_cast<uint8_t>(i / 16 * 4 + i % 16 / 4);
  const int per_cell = isa.zmm() ? 4 : 2;  // dwords of a packed cell, one from each 128-bit lane
  for (int i = 0; i < 16; ++i) k.pack_order[i] = i % per_cell * 4 + i / per_cell % 4;
  return k;
}

void fill_channel_params(const Epilogue& e, std::span<const int32_t> int_bias, int64_t first, int64_t channels,
                         ChannelParams* records) {
  std::fill_n(records, (channels + 15) / 16, ChannelParams{});
  for (int64_t i = 0; i < channels; ++i) {
    ChannelParams& record = records[i / 16];
    const size_t n = static_cast<size_t>(first + i);
    if (!int_bias.empty()) record.int_bias[i % 16] = int_bias[n];
    if (!e.scale.empty()) record.scale[i % 16] = e.scale[n];
    if (!e.bias.empty()) record.bias[i % 16] = e.bias[n];
  }
}

void make_offset_params(std::span<ChannelParams> records) {
  for (ChannelParams& record : records)
    for (size_t i = 0; i < 16; ++i) {
      record.int_bias[i] = static_cast<int32_t>(static_cast<uint32_t>(record.int_bias[i]) + kSumOffset);
      record.bias[i] = -0x1p23f * record.scale[i];
    }
}

void make_centred_params(std::span<ChannelParams> records) {
  for (ChannelParams& record : records)
    for (int32_t& bias : record.int_bias) bias = static_cast<int32_t>(static_cast<uint32_t>(bias) + kSumCentre);
}

std::vector<size_t> cell_constants(const EpilogueForm& form, bool wide_residuals) {
  std::vector<size_t> used;
  if (form.out != DType::u8) return used;
  if (form.of_values)
    return {offsetof(EpilogueConstants, y_reciprocal), offsetof(EpilogueConstants, y_scale),
            offsetof(EpilogueConstants, zero_point)};
  if (form.centred_sum && !form.add_int_bias) used.push_back(offsetof(EpilogueConstants, minus_round_offset));
  if ((form.centred_sum && form.add_int_bias) || form.residual == ResidualKind::u8_twice)
    used.push_back(offsetof(EpilogueConstants, round_offset));
  if (form.residual == ResidualKind::u8_twice)
    used.insert(used.end(), {offsetof(EpilogueConstants, mid_low), offsetof(EpilogueConstants, mid_high),
                             offsetof(EpilogueConstants, mid_scale)});
  if (form.residual == ResidualKind::u8_once || form.residual == ResidualKind::u8_twice) {
    if (wide_residuals) {
      used.push_back(form.residual_zero_point ? offsetof(EpilogueConstants, offset_residual)
                                              : offsetof(EpilogueConstants, minus_offset_times_scale));
    } else {
      if (form.residual_zero_point) used.push_back(offsetof(EpilogueConstants, residual_zero_point));
      used.push_back(offsetof(EpilogueConstants, residual_scale));
    }
  }
  if (form.clamp_first) used.insert(used.end(), {offsetof(EpilogueConstants, low), offsetof(EpilogueConstants, high)});
  if (form.zero_point) used.push_back(offsetof(EpilogueConstants, zero_point));
  if (form.adds_lo || (form.lo && !form.clamp_first)) used.push_back(offsetof(EpilogueConstants, lo));
  if (form.hi && !form.clamp_first) used.push_back(offsetof(EpilogueConstants, hi));
  return used;
}

}  // namespace octet::kernels
