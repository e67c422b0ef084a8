// Convolution from its formula: no packing, no JIT, no reading of halos (taps outside the image are the padding value).
#include <cassert>
#include <cmath>

#include "kernels/conv.h"
#include "kernels/packed_weights.h"
#include "kernels/reference/reference.h"

namespace octet::kernels {
namespace {

struct Pixel {
  int64_t n, y, x;
};

const uint8_t* address(const void* base, const ImageLayout& layout, const Pixel& p) {
  return static_cast<const uint8_t*>(base) + p.n * layout.image + p.y * layout.row + p.x * layout.pixel;
}

// Calls tap(x, i) for every tap of one output, in the order of sums: kernel row, kernel column, channel. x points at the
// input element, or is null in the padding; i is the weight's index in [ic/groups][kh][kw].
template <class F>
void for_each_tap(const ConvProblem& problem, const void* x, const Pixel& out, int64_t group, int64_t element, F tap) {
  const ConvShape& s = problem.shape;
  const int64_t channels = s.ic / s.groups;
  for (int64_t ky = 0; ky < s.kh; ++ky)
    for (int64_t kx = 0; kx < s.kw; ++kx) {
      const Pixel in{out.n, out.y * s.stride_h + ky * s.dilation_h - s.pad_top,
                     out.x * s.stride_w + kx * s.dilation_w - s.pad_left};
      const bool inside = in.y >= 0 && in.y < s.ih && in.x >= 0 && in.x < s.iw;
      const uint8_t* base = inside ? address(x, problem.x, in) + group * channels * element : nullptr;
      for (int64_t c = 0; c < channels; ++c) tap(inside ? base + c * element : nullptr, (c * s.kh + ky) * s.kw + kx);
    }
}

int32_t integer_sum(const ConvProblem& problem, const ConvWeights& weights, const IntegerWeightReader& reader,
                    const ConvArgs& args, const Pixel& out, int64_t n) {
  const int64_t group = n / (problem.shape.oc / problem.shape.groups);
  const int32_t zero = weights.x_zero_point_at_run ? args.x_zero_point : weights.x_zero_point;
  uint32_t sum = weights.bias.empty() ? 0 : static_cast<uint32_t>(weights.bias[static_cast<size_t>(n)]);
  for_each_tap(problem, args.x, out, group, 1, [&](const uint8_t* x, int64_t i) {
    if (x) sum += static_cast<uint32_t>((*x - zero) * reader.at(n, i));
  });
  return static_cast<int32_t>(sum);
}

float float_sum(const ConvProblem& problem, const float* weights, const ConvArgs& args, const Pixel& out, int64_t n) {
  const ConvShape& s = problem.shape;
  const float* w = weights + n * (s.ic / s.groups) * s.kh * s.kw;
  float sum = 0;
  for_each_tap(problem, args.x, out, n / (s.oc / s.groups), 4, [&](const uint8_t* x, int64_t i) {
    sum = std::fma(x ? *reinterpret_cast<const float*>(x) : 0.0f, w[i], sum);
  });
  return sum;
}

}  // namespace

void conv_reference(const ConvProblem& problem, const ConvWeights& weights, const ConvArgs& args) {
  const ConvShape& s = problem.shape;
  const Epilogue& epilogue = problem.epilogue;
  const int64_t y_size = static_cast<int64_t>(size_of(epilogue.out));
  const int64_t r_size = epilogue.residual == ResidualKind::f32 ? 4 : 1;
  const bool is_float = weights.dtype == DType::f32;
  assert(is_float == (problem.x_dtype == DType::f32));
  const IntegerWeightReader reader(s, weights);
  for (int64_t image = 0; image < s.n; ++image)
    for (int64_t oy = 0; oy < s.oh; ++oy)
      for (int64_t ox = 0; ox < s.ow; ++ox) {
        const Pixel out{image, oy, ox};
        uint8_t* y = static_cast<uint8_t*>(args.y) + image * problem.y.image + oy * problem.y.row + ox * problem.y.pixel;
        const uint8_t* residual =
            epilogue.residual == ResidualKind::none ? nullptr : address(args.residual, problem.residual, out);
        for (int64_t n = 0; n < s.oc; ++n) {
          const void* r = residual ? residual + n * r_size : nullptr;
          if (is_float)
            apply_reference(epilogue, float_sum(problem, static_cast<const float*>(weights.data), args, out, n), n, r,
                            y + n * y_size);
          else
            apply_reference(epilogue, integer_sum(problem, weights, reader, args, out, n), n, args.x_scale, r,
                            y + n * y_size);
          if (!epilogue.keeps_range || !args.range) continue;
          float stored = 0;
          if (epilogue.out == DType::f32)
            stored = *reinterpret_cast<const float*>(y + n * y_size);
          else
            apply_reference(with_values(epilogue), integer_sum(problem, weights, reader, args, out, n), n, args.x_scale, r,
                            &stored);
          if (!epilogue.range_of_most) args.range[0] = running_min(stored, args.range[0]);
          args.range[1] = running_max(stored, args.range[1]);
        }
      }
}

}  // namespace octet::kernels
