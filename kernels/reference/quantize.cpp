#include "kernels/ops.h"
#include "kernels/reference/reference.h"
#include "octet/numerics.h"

namespace octet::kernels {

void quantize_reference(const QuantizeProblem& problem, const KernelArgs& args) {
  for (int64_t r = 0; r < problem.rows; ++r) {
    const float* x = static_cast<const float*>(args.a) + r * problem.x_outer;
    uint8_t* y = static_cast<uint8_t*>(args.y) + r * problem.y_outer;
    for (int64_t i = 0; i < problem.length; ++i)
      y[i] = static_cast<uint8_t>(numerics::quantize(x[i], problem.scale, problem.zero_point, 0, 255));
  }
}

void quantize_pixels_reference(const QuantizePixelsProblem& problem, const KernelArgs& args) {
  const int64_t plane = problem.h * problem.w;
  for (int64_t i = 0; i < problem.n * plane * 3; ++i) {
    const int64_t image = i / (3 * plane), channel = i / plane % 3, row = i % plane / problem.w, column = i % problem.w;
    static_cast<uint8_t*>(args.y)[image * problem.y.image + row * problem.y.row + column * problem.y.pixel + channel] =
        static_cast<uint8_t>(
            numerics::quantize(static_cast<const float*>(args.a)[i], problem.scale, problem.zero_point, 0, 255));
  }
}

void dequantize_reference(const QuantizeProblem& problem, const KernelArgs& args) {
  for (int64_t r = 0; r < problem.rows; ++r) {
    const uint8_t* x = static_cast<const uint8_t*>(args.a) + r * problem.x_outer;
    float* y = static_cast<float*>(args.y) + r * problem.y_outer;
    for (int64_t i = 0; i < problem.length; ++i) y[i] = numerics::dequantize(x[i], problem.scale, problem.zero_point);
  }
}

// ONNX: scale = (max - min) / 255, zero point = saturate(round(0 - min / scale)). A range of nothing but zeros has scale 1,
// as in ONNX Runtime.
DynamicParams dynamic_params(float min, float max) {
  const float width = (max - min) / 255.0f;
  const float scale = width > 0.0f ? width : 1.0f;
  return {scale, numerics::quantize_scaled(0.0f - min / scale, 0, 0, 255)};
}

}  // namespace octet::kernels
