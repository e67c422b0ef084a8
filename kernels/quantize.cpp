// QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear between f32 and u8, per tensor.
//
// Registers, quantize:   those of quantize_emitter.h, v15 tail mask.
// Registers, dequantize: v0..v3 data, v8 scale, v11 zero point, v15 tail mask.
// Registers, min_max:    v0..v3 data, v4..v7 minima, v8..v11 maxima, v15 tail mask.
// Loop nest: run_loop.h.
#include <algorithm>
#include <cassert>

#include "kernels/jit/quantize_emitter.h"
#include "kernels/reference/reference.h"

namespace octet::kernels {
namespace {

using namespace quantize_registers;

void generate_quantize(VectorEmitter& e, Quotient quotient) {
  emit_quantize_constants(e);
  emit_rows(e, [&] {
    emit_columns(e, 4, [&](int vectors, bool tail) {
      const bool packs = vectors == 4;
      for (int k = 0; k < vectors; ++k) {
        load_f32(e, k, run::kA, k, tail);
        emit_quotient(e, quotient, k, packs);
      }
      if (packs)
        store_u8_saturated(e, run_element(e, run::kY, 1, 0), e.v(kZeroWords), 4);
      else
        store_u8(e, vectors, tail, 4);
    });
  });
  emit_return(e);
}

void generate_dequantize(VectorEmitter& e) {
  emit_param(e, kScale, 0);
  emit_param(e, kZeroPoint, 3);
  emit_rows(e, [&] {
    emit_columns(e, 4, [&](int vectors, bool tail) {
      for (int k = 0; k < vectors; ++k) {
        const auto d = e.v(k);
        load_u8(e, k, run::kA, k, tail);
        e.vpsubd(d, d, e.v(kZeroPoint));
        e.vcvtdq2ps(d, d);
        e.vmulps(d, d, e.v(kScale));
      }
      store_f32(e, vectors, tail);
    });
  });
  emit_return(e);
}

// The zeros a tail load leaves behind are harmless: 0 is part of the range.
void generate_min_max(VectorEmitter& e) {
  constexpr int kMin = 4, kMax = 8;
  for (int k = 0; k < 8; ++k) e.zero(kMin + k);
  emit_rows(e, [&] {
    emit_columns(e, 4, [&](int vectors, bool tail) {
      for (int k = 0; k < vectors; ++k) {
        load_f32(e, k, run::kA, k, tail);
        e.vminps(e.v(kMin + k), e.v(k), e.v(kMin + k));
        e.vmaxps(e.v(kMax + k), e.v(k), e.v(kMax + k));
      }
    });
  });
  const VectorEmitter::Combine min = [&](const auto& d, const auto& a, const auto& b) { e.vminps(d, a, b); };
  const VectorEmitter::Combine max = [&](const auto& d, const auto& a, const auto& b) { e.vmaxps(d, a, b); };
  for (int k = 1; k < 4; ++k) {
    min(e.v(kMin), e.v(kMin), e.v(kMin + k));
    max(e.v(kMax), e.v(kMax), e.v(kMax + k));
  }
  e.reduce(kMin, 0, min);
  e.reduce(kMax, 0, max);
  e.vmovss(e.ptr[run::kY], e.x(kMin));
  e.vmovss(e.ptr[run::kY + 4], e.x(kMax));
  emit_return(e);
}

RunShape run_shape(int64_t rows, int64_t length, int64_t x_outer, int64_t y_outer, int a_bytes, int y_bytes) {
  RunShape shape;
  shape.rows = rows;
  shape.length = length;
  shape.a_bytes = a_bytes;
  shape.y_bytes = y_bytes;
  shape.a_stride = x_outer * a_bytes;
  shape.y_stride = y_outer * y_bytes;
  return shape;
}

std::shared_ptr<const Code> quantize_code(const Isa& isa, Quotient quotient) {
  return vector_code(isa, CodeKey("quantize").add(quotient), [=](VectorEmitter& e) { generate_quantize(e, quotient); });
}

KernelPtr make_run(const Isa& isa, const char* family, const QuantizeProblem& problem, const RunShape& shape,
                   std::shared_ptr<const Code> code) {
  RunParam p[kQuantizeParams];
  set_quantize_params(p, problem.scale, problem.zero_point);
  return std::make_unique<RunKernel>(family + std::string(isa.name), shape,
                                     std::initializer_list<RunParam>{p[0], p[1], p[2], p[3], p[4]}, std::move(code));
}

DynamicParams combined_params(const float* scratch, int parts) {
  float min = 0, max = 0;
  for (int p = 0; p < parts; ++p) {
    min = running_min(scratch[2 * p], min);
    max = running_max(scratch[2 * p + 1], max);
  }
  return dynamic_params(min, max);
}

void publish(const DynamicParams& params, float* scale, uint8_t* zero_point, int part) {
  if (part != 0) return;
  *scale = params.scale;
  *zero_point = static_cast<uint8_t>(params.zero_point);
}

class VectorDynamicQuantize final : public DynamicQuantize {
 public:
  VectorDynamicQuantize(const Isa& isa, const RunShape& shape)
      : shape_(collapse(shape)),
        min_max_(vector_code(isa, CodeKey("min_max"), generate_min_max)),
        quantize_(quantize_code(isa, Quotient::multiply_in_range)),
        divide_(quantize_code(isa, Quotient::divide)) {}

  void min_max(const float* x, float* scratch, int part, int parts) const noexcept override {
    scratch[2 * part] = scratch[2 * part + 1] = 0;
    const RunRange mine = split_runs(shape_.rows, shape_.length, part, parts);
    if (mine.empty()) return;
    RunArgs call{};
    bind(call, x, nullptr, mine);
    call.y = scratch + 2 * part;
    call.y_stride = 0;
    min_max_->entry<void (*)(RunArgs*)>()(&call);
  }

  void apply(const float* x, const float* scratch, uint8_t* y, float* scale, uint8_t* zero_point, int part,
             int parts) const noexcept override {
    const DynamicParams params = combined_params(scratch, parts);
    publish(params, scale, zero_point, part);
    const RunRange mine = split_runs(shape_.rows, shape_.length, part, parts);
    if (mine.empty()) return;
    const Code& code = may_multiply_by_reciprocal(params.scale) ? *quantize_ : *divide_;
    // Backwards: what was stored last is still in the cache, and so will be the beginning, where the next operator begins.
    constexpr int64_t kChunk = 8192;
    const bool by_rows = mine.rows.size() > 1;
    const WorkRange all = by_rows ? mine.rows : mine.columns;
    const int64_t step = by_rows ? std::max<int64_t>(1, kChunk / mine.columns.size()) : kChunk;
    for (int64_t first = all.begin + (all.size() - 1) / step * step; first >= all.begin; first -= step) {
      const WorkRange chunk{first, std::min(first + step, all.end)};
      RunArgs call{};
      bind(call, x, y, by_rows ? RunRange{chunk, mine.columns} : RunRange{mine.rows, chunk});
      set_quantize_params(call.param, params.scale, params.zero_point);
      code.entry<void (*)(RunArgs*)>()(&call);
    }
  }

 private:
  void bind(RunArgs& call, const float* x, uint8_t* y, const RunRange& range) const {
    const KernelArgs mine = shape_.at({x, nullptr, y}, range);
    call.a = mine.a;
    call.y = mine.y;
    call.rows = range.rows.size();
    call.length = range.columns.size();
    call.a_stride = shape_.a_stride;
    call.y_stride = shape_.y_stride;
  }

  RunShape shape_;
  std::shared_ptr<const Code> min_max_, quantize_, divide_;
};

class ReferenceDynamicQuantize final : public DynamicQuantize {
 public:
  ReferenceDynamicQuantize(const DynamicQuantizeProblem& problem, const RunShape& shape)
      : problem_(problem), shape_(shape) {}

  void min_max(const float* x, float* scratch, int part, int parts) const noexcept override {
    const RunRange range = split_runs(problem_.rows, problem_.length, part, parts);
    float min = 0, max = 0;
    for (int64_t r = range.rows.begin; r < range.rows.end; ++r)
      for (int64_t i = range.columns.begin; i < range.columns.end; ++i) {
        min = running_min(x[r * problem_.x_outer + i], min);
        max = running_max(x[r * problem_.x_outer + i], max);
      }
    scratch[2 * part] = min;
    scratch[2 * part + 1] = max;
  }

  void apply(const float* x, const float* scratch, uint8_t* y, float* scale, uint8_t* zero_point, int part,
             int parts) const noexcept override {
    const DynamicParams params = combined_params(scratch, parts);
    publish(params, scale, zero_point, part);
    const RunRange range = split_runs(problem_.rows, problem_.length, part, parts);
    if (range.empty()) return;
    const QuantizeProblem mine{range.rows.size(), range.columns.size(), problem_.x_outer,
                               problem_.y_outer,  params.scale,         params.zero_point};
    quantize_reference(mine, shape_.at({x, nullptr, y}, range));
  }

 private:
  DynamicQuantizeProblem problem_;
  RunShape shape_;
};

}  // namespace

KernelPtr make_quantize(const Isa& isa, const QuantizeProblem& problem) {
  const RunShape shape = run_shape(problem.rows, problem.length, problem.x_outer, problem.y_outer, 4, 1);
  if (isa.id == IsaId::reference)
    return std::make_unique<ReferenceRuns<QuantizeProblem>>("quantize reference", problem, shape, quantize_reference);
  return make_run(isa, "quantize ", problem, shape, quantize_code(isa, quotient_by(problem.scale)));
}

KernelPtr make_dequantize(const Isa& isa, const QuantizeProblem& problem) {
  const RunShape shape = run_shape(problem.rows, problem.length, problem.x_outer, problem.y_outer, 1, 4);
  if (isa.id == IsaId::reference)
    return std::make_unique<ReferenceRuns<QuantizeProblem>>("dequantize reference", problem, shape, dequantize_reference);
  return make_run(isa, "dequantize ", problem, shape, vector_code(isa, CodeKey("dequantize"), generate_dequantize));
}

std::unique_ptr<DynamicQuantize> make_dynamic_quantize(const Isa& isa, const DynamicQuantizeProblem& problem) {
  const RunShape shape = run_shape(problem.rows, problem.length, problem.x_outer, problem.y_outer, 4, 1);
  if (isa.id == IsaId::reference) return std::make_unique<ReferenceDynamicQuantize>(problem, shape);
  return std::make_unique<VectorDynamicQuantize>(isa, shape);
}

}  // namespace octet::kernels
