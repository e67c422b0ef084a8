// Registers: v0..v3 data, v8 scale, v9 low, v10 high, v15 tail mask. Loop nest: run_loop.h.
#include "kernels/fake_quantize.h"

#include "kernels/jit/run_loop.h"
#include "octet/numerics.h"

namespace octet::kernels {
namespace {

constexpr int kScale = 8, kLow = 9, kHigh = 10;

// Through int32, which has no negative zero.
void generate(VectorEmitter& e) {
  emit_param(e, kScale, 0);
  emit_param(e, kLow, 1);
  emit_param(e, kHigh, 2);
  emit_rows(e, [&] {
    emit_columns(e, 4, [&](int vectors, bool tail) {
      for (int k = 0; k < vectors; ++k) {
        const auto d = e.v(k);
        load_f32(e, k, run::kA, k, tail);
        e.vdivps(d, d, e.v(kScale));
        e.vmaxps(d, d, e.v(kLow));
        e.vminps(d, d, e.v(kHigh));
        e.vcvtps2dq(d, d);
        e.vcvtdq2ps(d, d);
        e.vmulps(d, d, e.v(kScale));
      }
      store_f32(e, vectors, tail);
    });
  });
  emit_return(e);
}

}  // namespace

KernelPtr make_fake_quantize(const Isa& isa, const FakeQuantizeProblem& problem) {
  RunShape shape;
  shape.rows = problem.rows, shape.length = problem.length;
  shape.a_bytes = shape.y_bytes = 4;
  shape.a_stride = 4 * problem.x_outer, shape.y_stride = 4 * problem.y_outer;
  if (isa.id == IsaId::reference)
    return std::make_unique<ReferenceRuns<FakeQuantizeProblem>>("fake quantize reference", problem, shape,
                                                                fake_quantize_reference);
  const RunParam scale{.f = problem.scale}, low{.f = static_cast<float>(problem.least - problem.zero_point)},
      high{.f = static_cast<float>(problem.most - problem.zero_point)};
  return std::make_unique<RunKernel>("fake quantize " + std::string(isa.name), shape,
                                     std::initializer_list<RunParam>{scale, low, high},
                                     vector_code(isa, CodeKey("fake_quantize"), generate));
}

void fake_quantize_reference(const FakeQuantizeProblem& p, const KernelArgs& args) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const float* x = static_cast<const float*>(args.a) + r * p.x_outer;
    float* y = static_cast<float*>(args.y) + r * p.y_outer;
    for (int64_t i = 0; i < p.length; ++i)
      y[i] = numerics::dequantize(numerics::quantize(x[i], p.scale, p.zero_point, p.least, p.most), p.scale, p.zero_point);
  }
}

}  // namespace octet::kernels
