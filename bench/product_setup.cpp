#include "bench/product_setup.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "kernels/packed_weights.h"

namespace octet::bench {

using namespace kernels;

std::vector<int8_t> gaussian_weights(const ConvShape& s) {
  const size_t per_channel = static_cast<size_t>(s.ic / s.groups * s.kh * s.kw);
  std::vector<int8_t> weights(static_cast<size_t>(s.oc) * per_channel);
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> channel(per_channel);
  for (size_t n = 0; n < static_cast<size_t>(s.oc); ++n) {
    float largest = 1e-6f;
    for (float& w : channel) largest = std::max(largest, std::fabs(w = normal(random)));
    for (size_t i = 0; i < per_channel; ++i)
      weights[n * per_channel + i] = static_cast<int8_t>(std::lround(channel[i] / largest * 127.0f));
  }
  return weights;
}

ProductSetup::ProductSetup(const Isa& isa, const ConvShape& shape, DType x, ResidualKind residual) {
  const int64_t element = x == DType::f32 ? 4 : 1;
  ConvProblem problem;
  problem.shape = shape;
  problem.x_dtype = x;
  const int64_t halo = shape.pad_left, width = shape.iw + 2 * halo, height = shape.ih + 2 * shape.pad_top;
  problem.x = {shape.ic * element, width * shape.ic * element, height * width * shape.ic * element};
  problem.y = {shape.oc * element, shape.ow * shape.oc * element, shape.oh * shape.ow * shape.oc * element};
  Epilogue& e = problem.epilogue;
  e.out = x;
  const bool adds = residual != ResidualKind::none;
  if (adds) {
    problem.residual = problem.y;
    e.residual = x == DType::f32 ? ResidualKind::f32 : residual;
    e.residual_scale = 0.5f;
    e.residual_zero_point = 12;
    e.mid_scale = 0.5f;
    e.mid_zero_point = 128;
  }
  const size_t oc = static_cast<size_t>(shape.oc);
  const int64_t k = shape.ic / shape.groups * shape.kh * shape.kw;
  if (x == DType::u8) {
    e.zero_point = e.lo = 5;
    e.scale.assign(oc, 3.0f / (255.0f * 30.0f * std::sqrt(static_cast<float>(k))));
  } else {
    e.bias.assign(oc, 0.1f);
    e.act = ActKind::clamp;
    e.act_hi = 1e30f;
  }

  const std::vector<int8_t> bytes = gaussian_weights(shape);
  std::vector<float> floats(bytes.begin(), bytes.end());
  const std::vector<int32_t> bias(x == DType::u8 ? oc : 0, 17);
  ConvWeights weights;
  weights.data = x == DType::u8 ? static_cast<const void*>(bytes.data()) : floats.data();
  weights.dtype = x == DType::u8 ? DType::s8 : DType::f32;
  weights.bias = bias;
  weights.x_zero_point = 3;
  packed_ = pack_weights(isa, shape, weights);
  std::string reason;
  conv_ = make_conv(isa, problem, packed_, 1, &reason);
  if (!conv_) throw std::runtime_error(reason);

  x_ = AlignedBuffer(static_cast<size_t>(shape.n * problem.x.image) + 128);
  y_ = AlignedBuffer(static_cast<size_t>(shape.n * problem.y.image));
  residual_ = AlignedBuffer(adds ? y_.bytes() : 0);
  workspace_ = AlignedBuffer(conv_->workspace_bytes());
  std::mt19937 random(11);
  for (size_t i = 0; i < x_.bytes() / 4; ++i) {
    if (x == DType::u8)
      x_.as<uint32_t>()[i] = static_cast<uint32_t>(random());
    else
      x_.as<float>()[i] = static_cast<float>(random() & 1023) / 1024.0f;
  }
  args_.x = x_.as<uint8_t>() + 64 + shape.pad_top * problem.x.row + halo * problem.x.pixel;
  args_.y = y_.as<uint8_t>();
  args_.residual = adds ? residual_.as<uint8_t>() : nullptr;
  args_.workspace = workspace_.as<uint8_t>();
  const int64_t pixels = shape.n * shape.ih * shape.iw * shape.ic, outputs = shape.n * shape.oh * shape.ow * shape.oc;
  bytes_ = static_cast<double>(element * (pixels + shape.oc * k + outputs * (adds ? 2 : 1)));
  operations_ = 2.0 * static_cast<double>(shape.n * shape.oh * shape.ow * shape.oc * k);
}

}  // namespace octet::bench
