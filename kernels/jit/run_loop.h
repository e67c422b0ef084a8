// Element-wise kernels: `rows` runs of `length` elements, streams a and b in, y out.
//
// The C++ half (RunShape, RunKernel) splits the work, moves the pointers and calls the code; the emitted half walks rows and
// elements; a family gives only the body for a few vectors.
//
//   emit_rows: for each row                                  rdi args (its pointers advance), rsi a, rdx b, r8 y
//     emit_columns: for i in steps of unroll * lanes  body(unroll, full)        rax i, r9 length
//                   for i in steps of lanes           body(1, full)
//                   the rest                          body(1, tail)             rcx count, r10 and r11 scratch, v15 tail
//                   mask
//
// Vector registers 0..14 belong to the family; it loads constants from RunArgs::param before emit_rows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kernels/jit/vector_emitter.h"
#include "kernels/ops.h"
#include "kernels/partition.h"

namespace octet::kernels {

union RunParam {
  float f;
  int32_t i;
};

struct RunArgs {
  const void* a;
  const void* b;
  void* y;
  int64_t rows, length;
  int64_t a_stride, b_stride, y_stride;  // bytes
  RunParam param[8];
};

namespace run {
inline const Xbyak::Reg64 kArgs = Xbyak::util::rdi, kA = Xbyak::util::rsi, kB = Xbyak::util::rdx, kY = Xbyak::util::r8,
                          kLength = Xbyak::util::r9, kIndex = Xbyak::util::rax, kCount = Xbyak::util::rcx,
                          kScratch0 = Xbyak::util::r10, kScratch1 = Xbyak::util::r11;
inline constexpr int kTailMask = 15;
}  // namespace run

// Broadcasts param[i] to vector d.
void emit_param(VectorEmitter& e, int d, int i);
// Element i + k * lanes of the stream at `base` with elements of `bytes`.
Xbyak::RegExp run_element(const VectorEmitter& e, const Xbyak::Reg64& base, int bytes, int k);
// The loop over rows, and inside it, once or more often, the loop over a row's elements.
void emit_rows(VectorEmitter& e, const std::function<void()>& row);
void emit_columns(VectorEmitter& e, int unroll, const std::function<void(int vectors, bool tail)>& body);
void emit_return(VectorEmitter& e);

// The streams' verbs with the tail flag that body() receives.
void load_f32(VectorEmitter& e, int d, const Xbyak::Reg64& base, int k, bool tail);
void load_u8(VectorEmitter& e, int d, const Xbyak::Reg64& base, int k, bool tail);
// Vectors 0..n-1; overwrites them.
void store_f32(VectorEmitter& e, int vectors, bool tail);
// The least and the greatest of what a kernel stores, for the quantization that follows (KernelArgs::range): in vector
// registers of their own while the kernel runs, 0 at first. A NaN leaves them as they are.
struct RangeVectors {
  int least, most;
};
void begin_range(VectorEmitter& e, const RangeVectors& range);
// Vectors 0..n-1, a tail's lanes behind its end become 0.
void widen_range(VectorEmitter& e, const RangeVectors& range, int vectors, bool tail);
// To the two floats at `to`, which they widen; overwrites the vectors and `scratch`.
void end_range(VectorEmitter& e, const RangeVectors& range, const Xbyak::Reg64& to, int scratch);
// Vectors 0..n-1 of lanes holding 0..255, n = 1 or 4; overwrites them and `scratch`.
void store_u8(VectorEmitter& e, int vectors, bool tail, int scratch);
// Vectors 0..3 of int32 plus the zero point, which `zero_words` holds in 16-bit lanes, saturated to u8; overwrites as
// store_u8.
void store_u8_saturated(VectorEmitter& e, const Xbyak::RegExp& at, const Xbyak::Xmm& zero_words, int scratch);

// Whether a quotient by `scale` can be had from products (quantize.cpp): neither they nor 1 / scale underflow.
inline bool may_multiply_by_reciprocal(float scale) { return scale >= 0x1p-100f && scale <= 0x1p100f; }

struct RunShape {
  int64_t rows = 1, length = 0;
  int64_t a_stride = 0, b_stride = 0, y_stride = 0;  // bytes
  int a_bytes = 0, b_bytes = 0, y_bytes = 0;         // an element; 0: the stream does not move along the run

  // Where the streams of a part begin.
  KernelArgs at(const KernelArgs& args, const RunRange& range) const;
};

// One run instead of many where every stream goes on from row to row.
RunShape collapse(RunShape shape);

class RunKernel final : public Kernel {
 public:
  RunKernel(std::string name, const RunShape& shape, std::initializer_list<RunParam> params,
            std::shared_ptr<const Code> code);
  void run(const KernelArgs& args, int part, int parts) const noexcept override;
  std::string name() const override { return name_; }

 private:
  std::string name_;
  RunShape shape_;
  RunArgs args_{};
  std::shared_ptr<const Code> code_;
};

// The scalar reference over one part: the same problem with fewer rows and columns.
template <class Problem>
class ReferenceRuns final : public Kernel {
 public:
  using Reference = void (*)(const Problem&, const KernelArgs&);
  ReferenceRuns(std::string name, const Problem& problem, const RunShape& shape, Reference reference)
      : name_(std::move(name)), problem_(problem), shape_(shape), reference_(reference) {}
  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const RunRange range = split_runs(shape_.rows, shape_.length, part, parts);
    if (range.empty()) return;
    Problem mine = problem_;
    mine.rows = range.rows.size();
    mine.length = range.columns.size();
    reference_(mine, shape_.at(args, range));
  }
  std::string name() const override { return name_; }

 private:
  std::string name_;
  Problem problem_;
  RunShape shape_;
  Reference reference_;
};

}  // namespace octet::kernels
