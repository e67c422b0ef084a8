// LayerNormalization and RMSNormalization. One call of the code takes a block of rows, eight with AVX-512 and four with
// AVX2, whose sums run side by side, since one chain of additions would wait for itself; what is left over goes by smaller
// blocks.
//
//   gather      only where x is quantized or has a residual: v = dequantized x + residual, to sum or to the workspace
//   statistics  all rows, for each column of vectors: row r's 16 virtual lanes in v[r * A ..], A = 16 / lanes
//                 centred: sums -> mean in v8.. -> squares of the differences;  rms: squares
//                 -> mean and inverse of each row to Call::moments
//   apply       row by row: y = fma((v - mean) * inverse, scale, bias), stored and/or quantized (as quantize.cpp does it)
//
// Registers, gather:      v0, v1 data, v4 scratch, v8..v11 scales and zero points of x and the residual, v15 tail mask.
// Registers, statistics:  v0..v7 lanes, v8..v15 means; AVX-512: v16, v17 data, v15 scratch for as long as it is no mean;
//                         AVX2, which has four rows: v12, v13 data, v14 scratch, v15 tail mask.
//                         Rows rsi, rdx, r8, rbx, rbp, r12, r13, r14.
// Registers, apply:       v0..v3 data, v4 scratch, v5 scale, v6 mean, v7 inverse, v8 1 / q_scale, v9 q_scale, v10 zero
//                         point (v8, v9 the range where it is kept), v11 the same in 16-bit lanes, v12 and v13 bounds, v15
//                         tail mask. rsi v, rdx moments, rbx scale, rbp bias, r8 y, r12 q.
#include "kernels/norm.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/jit/run_loop.h"

namespace octet::kernels {
namespace {

using Xbyak::Reg64;

constexpr int kBlocks[] = {8, 4, 1};  // rows of a call
constexpr int kMostRows = kBlocks[0];
const Reg64 kRows[kMostRows] = {run::kA,          run::kB,          run::kY,          Xbyak::util::rbx,
                                Xbyak::util::rbp, Xbyak::util::r12, Xbyak::util::r13, Xbyak::util::r14};
const Reg64 kScaleAt = Xbyak::util::rbx, kBiasAt = Xbyak::util::rbp, kQAt = Xbyak::util::r12;

struct NormForm {
  bool centred, gathers, x_quantized, adds, residual_quantized, biased, gives_y, gives_q, multiplies, bounded, keeps_range;
  int rows;
};

// Parameters of apply; those of gather are scale and zero point of x, then of the residual.
enum Param { kReciprocal, kScale, kZeroPoint, kZeroPointWords, kLeast, kMost, kCount, kEpsilon };

struct Call {
  RunArgs gather, apply;
  const float *scale, *bias;
  uint8_t* q;
  int64_t q_stride;
  float* range;
  struct {
    float mean, inverse;
  } moments[kMostRows];
};

Xbyak::Address field(VectorEmitter& e, size_t offset) { return e.ptr[run::kArgs + (offset - offsetof(Call, apply))]; }
Xbyak::Address apply_param(VectorEmitter& e, int i) { return e.ptr[run::kArgs + offsetof(RunArgs, param) + disp(4 * i)]; }

void emit_gather(VectorEmitter& e, const NormForm& form) {
  constexpr int kX = 0, kResidual = 1, kParams = 8;
  for (int i = 0; i < 4; ++i) emit_param(e, kParams + i, i);
  const auto load = [&](int d, const Reg64& base, bool quantized, int params, bool tail) {
    if (!quantized) return load_f32(e, d, base, 0, tail);
    load_u8(e, d, base, 0, tail);
    e.vpsubd(e.v(d), e.v(d), e.v(params + 1));
    e.vcvtdq2ps(e.v(d), e.v(d));
    e.vmulps(e.v(d), e.v(d), e.v(params));
  };
  emit_rows(e, [&] {
    emit_columns(e, 1, [&](int, bool tail) {
      load(kX, run::kA, form.x_quantized, kParams, tail);
      if (form.adds) {
        load(kResidual, run::kB, form.residual_quantized, kParams + 2, tail);
        e.vaddps(e.v(kX), e.v(kX), e.v(kResidual));
      }
      store_f32(e, 1, tail);
    });
  });
}

class Statistics {
 public:
  Statistics(VectorEmitter& e, const NormForm& form)
      : e_(e), form_(form), lanes_(16 / e.lanes()), data_(e.zmm() ? 16 : 12), scratch_(e.zmm() ? 15 : 14) {}

  void emit() {
    e_.mov(run::kLength, field(e_, offsetof(Call, apply) + offsetof(RunArgs, length)));
    e_.mov(kRows[0], field(e_, offsetof(Call, apply) + offsetof(RunArgs, a)));
    e_.mov(run::kScratch0, field(e_, offsetof(Call, apply) + offsetof(RunArgs, a_stride)));
    for (int r = 1; r < form_.rows; ++r) e_.lea(kRows[r], e_.ptr[kRows[r - 1] + run::kScratch0]);
    if (form_.centred) {
      sums(false);
      for (int r = 0; r < form_.rows; ++r) {
        mean_of_lanes(r);
        e_.vmovss(moment(r, 0), VectorEmitter::x(acc(r)));
        e_.vbroadcastss(e_.v(kMean + r), VectorEmitter::x(acc(r)));
      }
    }
    sums(true);
    for (int r = 0; r < form_.rows; ++r) {
      const auto v = VectorEmitter::x(acc(r)), one = VectorEmitter::x(scratch_);
      mean_of_lanes(r);
      e_.vaddss(v, v, apply_param(e_, kEpsilon));
      e_.vsqrtss(v, v, v);
      e_.vmovss(one, e_.constant(1.0f));
      e_.vdivss(v, one, v);
      e_.vmovss(moment(r, 4), v);
    }
  }

 private:
  static constexpr int kMean = 8;

  int acc(int row) const { return row * lanes_; }
  Xbyak::Address moment(int row, size_t at) {
    return field(e_, offsetof(Call, moments) + static_cast<size_t>(row) * sizeof(Call::moments[0]) + at);
  }

  void sums(bool squares) {
    for (int r = 0; r < form_.rows * lanes_; ++r) e_.zero(r);
    emit_columns(e_, 2, [&](int vectors, bool tail) {
      for (int k = 0; k < vectors; ++k)
        for (int r = 0; r < form_.rows; ++r) {
          const auto sum = e_.v(acc(r) + k % lanes_), d = e_.v(data_ + r % 2);
          load_f32(e_, data_ + r % 2, kRows[r], k, tail);
          if (!squares) {
            e_.vaddps(sum, sum, d);
            continue;
          }
          if (form_.centred) {
            e_.vsubps(d, d, e_.v(kMean + r));
            if (tail) e_.clear_beyond_tail(d);
          }
          e_.vfmadd231ps(sum, d, d);
        }
      if (vectors % lanes_ != 0)  // the next vector goes to the other half of the lanes
        for (int r = 0; r < form_.rows; ++r) {
          e_.vmovaps(e_.v(scratch_), e_.v(acc(r)));
          e_.vmovaps(e_.v(acc(r)), e_.v(acc(r) + 1));
          e_.vmovaps(e_.v(acc(r) + 1), e_.v(scratch_));
        }
    });
  }

  // Lane 0 of the row's register: its 16 lanes added up, by the number of elements.
  void mean_of_lanes(int row) {
    const int a = acc(row);
    if (lanes_ == 2) e_.vaddps(e_.v(a), e_.v(a), e_.v(a + 1));
    e_.reduce(a, scratch_, [&](const auto& d, const auto& x, const auto& y) { e_.vaddps(d, x, y); });
    e_.vdivss(VectorEmitter::x(a), VectorEmitter::x(a), apply_param(e_, kCount));
  }

  VectorEmitter& e_;
  const NormForm form_;
  const int lanes_;  // vectors that make up 16 lanes
  const int data_, scratch_;
};

class Apply {
 public:
  Apply(VectorEmitter& e, const NormForm& form) : e_(e), form_(form) {}

  void emit() {
    e_.mov(kScaleAt, field(e_, offsetof(Call, scale)));
    if (form_.biased) e_.mov(kBiasAt, field(e_, offsetof(Call, bias)));
    if (form_.gives_q) {
      e_.mov(kQAt, field(e_, offsetof(Call, q)));
      for (int i = kReciprocal; i <= kMost; ++i) emit_param(e_, kConstants + i, i);
    }
    if (form_.keeps_range) begin_range(e_, kRange);
    emit_rows(e_, [&] {
      if (form_.centred) e_.broadcast(e_.v(kMean), e_.ptr[run::kB]);
      e_.broadcast(e_.v(kInverse), e_.ptr[run::kB + 4]);
      emit_columns(e_, 4, [&](int vectors, bool tail) {
        for (int k = 0; k < vectors; ++k) normalise(k, tail);
        if (form_.keeps_range) widen_range(e_, kRange, vectors, tail);
        if (form_.gives_y) store(vectors, tail);
        if (form_.gives_q) quantize(vectors, tail);
      });
      if (form_.gives_q) e_.add(kQAt, field(e_, offsetof(Call, q_stride)));
    });
    if (!form_.keeps_range) return;
    e_.mov(run::kScratch0, field(e_, offsetof(Call, range)));
    end_range(e_, kRange, run::kScratch0, kScratch);
  }

 private:
  static constexpr int kScratch = 4, kFactor = 5, kMean = 6, kInverse = 7, kConstants = 8;
  static constexpr RangeVectors kRange{8, 9};

  void normalise(int k, bool tail) {
    const auto d = e_.v(k);
    load_f32(e_, k, run::kA, k, tail);
    if (form_.centred) e_.vsubps(d, d, e_.v(kMean));
    e_.vmulps(d, d, e_.v(kInverse));
    load_f32(e_, kFactor, kScaleAt, k, tail);
    if (form_.biased) {
      load_f32(e_, kScratch, kBiasAt, k, tail);
      e_.vfmadd213ps(d, e_.v(kFactor), e_.v(kScratch));
    } else {
      e_.vmulps(d, d, e_.v(kFactor));
    }
  }

  void store(int vectors, bool tail) {
    if (tail && form_.gives_q) {  // the store of a tail overwrites
      e_.vmovaps(e_.v(kScratch), e_.v(0));
      e_.store_tail(run_element(e_, run::kY, 4, 0), kScratch, run::kCount, run::kScratch0);
    } else {
      store_f32(e_, vectors, tail);
    }
  }

  // As in quantize.cpp, but that what is far beyond a byte is clamped once, and the rest by the saturation of the narrowing:
  // a quotient to within int32, or where it is a product, its dividend to within 1000 quanta. Where no result is so far
  // beyond, a NaN is all that is left, and converts to the least integer.
  void quantize(int vectors, bool tail) {
    const auto constant = [&](Param p) { return e_.v(kConstants + p); };
    for (int k = 0; k < vectors; ++k) {
      const auto d = e_.v(k), q = e_.v(kScratch);
      if (!form_.multiplies) e_.vdivps(d, d, constant(kScale));
      if (!form_.bounded) {
        e_.vmaxps(d, d, constant(kLeast));  // a NaN becomes the bound
        e_.vminps(d, d, constant(kMost));
      }
      if (form_.multiplies) {
        e_.vmulps(q, d, constant(kReciprocal));
        e_.vfnmadd231ps(d, q, constant(kScale));
        e_.vfmadd213ps(d, constant(kReciprocal), q);
      }
      e_.vcvtps2dq(d, d);
    }
    const Xbyak::RegExp at = run_element(e_, kQAt, 1, 0);
    if (vectors == 4) return store_u8_saturated(e_, at, e_.v(kConstants + kZeroPointWords), kScratch);
    const auto d = e_.v(0);
    e_.vpaddd(d, d, constant(kZeroPoint));
    e_.vpmaxsd(d, d, e_.constant_bits(0));
    e_.vpminsd(d, d, e_.constant_bits(255));
    if (tail)
      e_.store_u8_tail(at, 0, kScratch, run::kCount, run::kScratch0, run::kScratch1);
    else
      e_.store_u8(at, 0, kScratch);
  }

  VectorEmitter& e_;
  const NormForm form_;
};

void generate(VectorEmitter& e, const NormForm& form) {
  using namespace Xbyak::util;
  for (const Reg64& saved : {rbx, rbp, r12, r13, r14}) e.push(saved);
  if (form.gathers) emit_gather(e, form);
  e.add(run::kArgs, imm(static_cast<int>(offsetof(Call, apply))));
  Statistics(e, form).emit();
  Apply(e, form).emit();
  for (const Reg64& saved : {r14, r13, r12, rbp, rbx}) e.pop(saved);
  emit_return(e);
}

std::shared_ptr<const Code> norm_code(const Isa& isa, NormForm form, int rows) {
  form.rows = rows;
  CodeKey key("norm");
  for (const bool flag : {form.centred, form.gathers, form.x_quantized, form.adds, form.residual_quantized, form.biased,
                          form.gives_y, form.gives_q, form.multiplies, form.bounded, form.keeps_range})
    key.add(flag);
  return vector_code(isa, key.add(rows), [&](VectorEmitter& e) { generate(e, form); });
}

class VectorNorm final : public Norm {
 public:
  VectorNorm(const Isa& isa, const NormProblem& p)
      : name_("norm " + std::string(isa.name)), p_(p), gathers_(p.x.quantized || p.adds) {
    assert(!p.keeps_range || (p.gives_y && !p.gives_q));
    const NormForm form{p.centred,
                        gathers_,
                        p.x.quantized,
                        p.adds,
                        p.adds && p.residual.quantized,
                        p.biased,
                        p.gives_y,
                        p.gives_q,
                        may_multiply_by_reciprocal(p.q_scale),
                        p.bounded,
                        p.keeps_range,
                        0};
    for (const int rows : kBlocks)
      if (isa.zmm() || rows < kMostRows) blocks_.push_back({rows, norm_code(isa, form, rows)});
    RunParam* g = call_.gather.param;
    g[0].f = p.x.scale, g[1].i = p.x.zero_point, g[2].f = p.residual.scale, g[3].i = p.residual.zero_point;
    RunParam* a = call_.apply.param;
    a[kReciprocal].f = 1.0f / p.q_scale;
    a[kScale].f = p.q_scale;
    a[kZeroPoint].i = p.q_zero_point;
    a[kZeroPointWords].i = p.q_zero_point * 0x10001;  // as two int16
    a[kMost].f = form.multiplies ? 1000.0f * p.q_scale : 1e9f;
    a[kLeast].f = -a[kMost].f;
    a[kCount].f = static_cast<float>(p.length);
    a[kEpsilon].f = p.epsilon;
    const int64_t floats = p.length * 4;
    call_.gather.length = call_.apply.length = p.length;
    call_.gather.a_stride = p.x.quantized ? p.length : floats;
    call_.gather.b_stride = !p.adds ? 0 : p.residual.quantized ? p.length : floats;
    call_.gather.y_stride = call_.apply.a_stride = floats;
    call_.apply.b_stride = sizeof call_.moments[0];
    call_.apply.y_stride = p.gives_y ? floats : 0;
    call_.q_stride = p.length;
  }

  void run(const NormArgs& args, int part, int parts) const noexcept override {
    const WorkRange rows = split_work(p_.rows, part, parts);
    if (p_.length == 0) return;
    Call call = call_;
    call.scale = args.scale;
    call.bias = args.bias;
    call.range = args.range;
    for (int64_t r = rows.begin; r < rows.end;) {
      const Block* block = blocks_.data();
      while (block->rows > rows.end - r) ++block;
      const int64_t count = block->rows;
      const auto at = [&](const void* p, int64_t bytes) { return static_cast<const uint8_t*>(p) + r * p_.length * bytes; };
      call.gather.rows = call.apply.rows = count;
      float* gathered = p_.gives_sum ? args.sum + r * p_.length : static_cast<float*>(args.workspace);
      if (gathers_) {
        call.gather.a = at(args.x, p_.x.quantized ? 1 : 4);
        call.gather.b = p_.adds ? at(args.residual, p_.residual.quantized ? 1 : 4) : nullptr;
        call.gather.y = gathered;
      }
      call.apply.a = gathers_ ? static_cast<const void*>(gathered) : at(args.x, 4);
      call.apply.b = call.moments;
      call.apply.y = p_.gives_y ? args.y + r * p_.length : nullptr;
      call.q = p_.gives_q ? args.q + r * p_.length : nullptr;
      block->code->entry<void (*)(Call*)>()(&call);
      r += count;
    }
  }
  std::string name() const override { return name_; }
  size_t workspace_bytes() const override {
    return gathers_ && !p_.gives_sum ? static_cast<size_t>(p_.length) * kMostRows * sizeof(float) : 0;
  }

 private:
  struct Block {
    int rows;
    std::shared_ptr<const Code> code;
  };

  std::string name_;
  NormProblem p_;
  bool gathers_;
  Call call_{};
  std::vector<Block> blocks_;
};

class ReferenceNorm final : public Norm {
 public:
  explicit ReferenceNorm(const NormProblem& problem) : p_(problem) {}
  void run(const NormArgs& args, int part, int parts) const noexcept override {
    const WorkRange rows = split_work(p_.rows, part, parts);
    NormProblem mine = p_;
    mine.rows = rows.size();
    const int64_t first = rows.begin * p_.length;
    const auto operand = [&](const void* p, bool quantized) -> const void* {
      return p ? static_cast<const uint8_t*>(p) + first * (quantized ? 1 : 4) : nullptr;
    };
    norm_reference(mine, {operand(args.x, p_.x.quantized), operand(args.residual, p_.residual.quantized), args.scale,
                          args.bias, args.y ? args.y + first : nullptr, args.q ? args.q + first : nullptr,
                          args.sum ? args.sum + first : nullptr, nullptr, args.range});
  }
  std::string name() const override { return "norm reference"; }
  size_t workspace_bytes() const override { return 0; }

 private:
  NormProblem p_;
};

}  // namespace

bool norm_is_bounded(const NormProblem& problem, const float* scale, const float* bias) {
  if (!(problem.epsilon >= 1e-30f)) return false;  // a variance of 0 would give an infinity
  float factor = 0, offset = 0;                    // a NaN does no harm: its results are NaN either way
  for (int64_t i = 0; i < problem.length; ++i) {
    factor = std::max(factor, std::fabs(scale[i]));
    if (bias) offset = std::max(offset, std::fabs(bias[i]));
  }
  return std::sqrt(static_cast<float>(problem.length)) * factor + offset <= 1e7f * problem.q_scale;
}

std::unique_ptr<Norm> make_norm(const Isa& isa, const NormProblem& problem) {
  if (isa.id == IsaId::reference) return std::make_unique<ReferenceNorm>(problem);
  return std::make_unique<VectorNorm>(isa, problem);
}

}  // namespace octet::kernels
