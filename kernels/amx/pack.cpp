#include "kernels/amx/pack.h"

#include <algorithm>
#include <cassert>

#include "kernels/amx/amx_conv.h"
#include "kernels/packed_weights.h"

namespace octet::kernels {
namespace amx {
namespace {

// k values in one run of x.
constexpr int64_t kStepBytes = 64;

int64_t steps_of(int64_t run_bytes) { return (run_bytes + kStepBytes - 1) / kStepBytes; }

bool fits_s8(const ConvShape& shape, const ConvWeights& weights) {
  const auto& zero_points = weights.zero_points;
  if (weights.dtype == DType::s8 && std::all_of(zero_points.begin(), zero_points.end(), [](int32_t z) { return z == 0; }))
    return true;
  const IntegerWeightReader reader(shape, weights);
  for (int64_t n = 0; n < shape.oc; ++n)
    for (int64_t i = 0; i < reader.per_channel(); ++i)
      if (const int32_t w = reader.at(n, i); w < -128 || w > 127) return false;
  return true;
}

// Runs of `positions` neighbouring kernel columns.
Form pack_form(const ConvShape& shape, const ConvWeights& weights, int64_t positions) {
  const IntegerWeightReader reader(shape, weights);
  const int64_t channels = shape.ic / shape.groups, columns = shape.oc / shape.groups;
  const int64_t panels = (columns + 15) / 16, run = positions * channels;
  Form form;
  form.needs_touching_pixels = positions > 1;
  for (int64_t ky = 0; ky < shape.kh; ++ky)
    for (int64_t kx = 0; kx < shape.kw; kx += positions)
      for (int64_t byte = 0; byte < run; byte += kStepBytes)
        form.steps.push_back({static_cast<int32_t>(ky), static_cast<int32_t>(kx), static_cast<int32_t>(byte)});
  form.tiles = AlignedBuffer(static_cast<size_t>(shape.groups * panels * form.panel_bytes()));
  for (int64_t n = 0; n < shape.oc; ++n) {
    const int64_t group = n / columns, column = n % columns;
    int8_t* panel = form.tiles.as<int8_t>() + (group * panels + column / 16) * form.panel_bytes() + column % 16 * 4;
    for (const KStep& step : form.steps) {
      for (int64_t k = step.byte; k < std::min(step.byte + kStepBytes, run); ++k) {
        const int64_t c = k % channels, kx = step.kx + k / channels, row = (k - step.byte) / 4;
        panel[row * 64 + k % 4] = static_cast<int8_t>(reader.at(n, (c * shape.kh + step.ky) * shape.kw + kx));
      }
      panel += kTileBytes;
    }
  }
  return form;
}

int64_t stacked_k(const ConvShape& shape) {
  return (shape.kw + shape.stride_w - 1) / shape.stride_w * make_stacks(shape).element;
}

Form pack_stacked(const ConvShape& shape, const ConvWeights& weights) {
  const IntegerWeightReader reader(shape, weights);
  const Stacks stacks = make_stacks(shape);
  const int64_t panels = (shape.oc + 15) / 16;
  Form form;
  form.needs_touching_pixels = true;
  form.stacked_stride = shape.stride_w;
  form.steps.resize(static_cast<size_t>(steps_of(stacked_k(shape))));
  form.tiles = AlignedBuffer(static_cast<size_t>(panels * form.panel_bytes()));
  for (int64_t n = 0; n < shape.oc; ++n) {
    int8_t* panel = form.tiles.as<int8_t>() + n / 16 * form.panel_bytes() + n % 16 * 4;
    for (int64_t i = 0; i < reader.per_channel(); ++i) {
      const int64_t kx = i % shape.kw, ky = i / shape.kw % shape.kh, c = i / (shape.kw * shape.kh);
      const int64_t k = kx / shape.stride_w * stacks.element + ky * stacks.piece + kx % shape.stride_w * shape.ic + c;
      panel[k / 4 * 64 + k % 4] = static_cast<int8_t>(reader.at(n, i));
    }
  }
  return form;
}

}  // namespace
}  // namespace amx

std::shared_ptr<const PackedWeights> pack_amx(const Isa& isa, const ConvShape& shape, const ConvWeights& weights) {
  assert(isa.dot == DotKind::tile);
  const int64_t channels = shape.ic / shape.groups;
  // A tile product takes 16 cycles however little of K it has, and its sums pass through memory: the vector kernels win.
  constexpr int64_t kLeastK = 16;
  if (weights.dtype == DType::f32 || channels * shape.kh * shape.kw <= kLeastK) return nullptr;
  if (!amx::fits_s8(shape, weights)) return nullptr;

  const int64_t by_position = shape.kw * amx::steps_of(channels), by_row = amx::steps_of(shape.kw * channels);
  amx::Packed payload;
  payload.panels = (shape.oc / shape.groups + 15) / 16;
  // More forms cost memory more than once: only for a real gain.
  if (shape.kw > 1 && shape.dilation_w == 1 && shape.groups == 1) {
    const bool stacks = amx::make_stacks(shape).element > 0 && shape.ow >= amx::kTileRows;
    if (stacks && 2 * amx::steps_of(amx::stacked_k(shape)) <= shape.kh * std::min(by_row, by_position))
      payload.forms.push_back(amx::pack_stacked(shape, weights));
    if (4 * by_row <= 3 * by_position) payload.forms.push_back(amx::pack_form(shape, weights, shape.kw));
  }
  payload.forms.push_back(amx::pack_form(shape, weights, 1));

  PackedWeights packed = start_packing(isa, shape, weights);
  packed.kind = PackedKind::amx;
  for (const amx::Form& form : payload.forms) packed.bytes += form.tiles.bytes();
  packed.description = "tiles of 64x16, " + std::to_string(payload.forms.front().steps.size()) + " k steps";
  packed.payload = std::make_shared<const amx::Packed>(std::move(payload));
  return std::make_shared<const PackedWeights>(std::move(packed));
}

}  // namespace octet::kernels
