#include "kernels/jit/run_loop.h"

#include <cassert>
#include <cstddef>

namespace octet::kernels {

using Xbyak::Label;
using Xbyak::Reg64;
using Xbyak::RegExp;

void emit_param(VectorEmitter& e, int d, int i) {
  e.broadcast(e.v(d), e.ptr[run::kArgs + offsetof(RunArgs, param) + disp(4 * i)]);
}

RegExp run_element(const VectorEmitter& e, const Reg64& base, int bytes, int k) {
  return base + run::kIndex * bytes + disp(k * e.lanes() * bytes);
}

void emit_columns(VectorEmitter& e, int unroll, const std::function<void(int, bool)>& body) {
  using namespace run;
  Label wide, narrow, tail, done;
  e.xor_(kIndex.cvt32(), kIndex.cvt32());
  const auto loop = [&](Label& begin, Label& end, int vectors) {
    e.L(begin);
    e.lea(kScratch0, e.ptr[kIndex + disp(vectors * e.lanes())]);
    e.cmp(kScratch0, kLength);
    e.jg(end);
    body(vectors, false);
    e.add(kIndex, imm(vectors * e.lanes()));
    e.jmp(begin);
  };
  if (unroll > 1) loop(wide, narrow, unroll);
  loop(narrow, tail, 1);
  e.L(tail);
  e.mov(kCount, kLength);
  e.sub(kCount, kIndex);
  e.jz(done);
  e.begin_tail(kCount, kTailMask, kScratch0);
  body(1, true);
  e.L(done);
}

void emit_rows(VectorEmitter& e, const std::function<void()>& row) {
  using namespace run;
  Label begin;
  const auto field = [&](size_t at) { return e.qword[kArgs + at]; };
  const auto advance = [&](size_t stride, size_t pointer) {
    e.mov(kScratch0, field(stride));
    e.add(field(pointer), kScratch0);
  };
  e.mov(kLength, field(offsetof(RunArgs, length)));
  e.L(begin);
  e.mov(kA, field(offsetof(RunArgs, a)));
  e.mov(kB, field(offsetof(RunArgs, b)));
  e.mov(kY, field(offsetof(RunArgs, y)));
  row();
  advance(offsetof(RunArgs, a_stride), offsetof(RunArgs, a));
  advance(offsetof(RunArgs, b_stride), offsetof(RunArgs, b));
  advance(offsetof(RunArgs, y_stride), offsetof(RunArgs, y));
  e.dec(field(offsetof(RunArgs, rows)));
  e.jnz(begin);
}

void emit_return(VectorEmitter& e) {
  e.vzeroupper();
  e.ret();
}

void load_f32(VectorEmitter& e, int d, const Reg64& base, int k, bool tail) {
  const RegExp at = run_element(e, base, 4, k);
  if (tail)
    e.load_tail(e.v(d), at);
  else
    e.load(e.v(d), at);
}

void load_u8(VectorEmitter& e, int d, const Reg64& base, int k, bool tail) {
  const RegExp at = run_element(e, base, 1, k);
  if (tail)
    e.load_u8_tail(d, at, run::kCount, run::kScratch0, run::kScratch1);
  else
    e.load_u8(e.v(d), at);
}

void store_f32(VectorEmitter& e, int vectors, bool tail) {
  for (int k = 0; k < vectors; ++k) {
    const RegExp at = run_element(e, run::kY, 4, k);
    if (tail)
      e.store_tail(at, k, run::kCount, run::kScratch0);
    else
      e.store(at, e.v(k));
  }
}

void begin_range(VectorEmitter& e, const RangeVectors& range) {
  e.zero(range.least);
  e.zero(range.most);
}

void widen_range(VectorEmitter& e, const RangeVectors& range, int vectors, bool tail) {
  for (int k = 0; k < vectors; ++k) {
    if (tail) e.clear_beyond_tail(e.v(k));
    e.vminps(e.v(range.least), e.v(k), e.v(range.least));
    e.vmaxps(e.v(range.most), e.v(k), e.v(range.most));
  }
}

void end_range(VectorEmitter& e, const RangeVectors& range, const Reg64& to, int scratch) {
  e.reduce(range.least, scratch, [&](const auto& d, const auto& a, const auto& b) { e.vminps(d, a, b); });
  e.reduce(range.most, scratch, [&](const auto& d, const auto& a, const auto& b) { e.vmaxps(d, a, b); });
  e.vminss(e.x(range.least), e.x(range.least), e.ptr[to]);
  e.vmaxss(e.x(range.most), e.x(range.most), e.ptr[to + 4]);
  e.vmovss(e.ptr[to], e.x(range.least));
  e.vmovss(e.ptr[to + 4], e.x(range.most));
}

void store_u8(VectorEmitter& e, int vectors, bool tail, int scratch) {
  assert(vectors == 1 || vectors == 4);
  const RegExp at = run_element(e, run::kY, 1, 0);
  if (vectors == 4)
    e.store_u8_x4(at, 0, scratch);
  else if (tail)
    e.store_u8_tail(at, 0, scratch, run::kCount, run::kScratch0, run::kScratch1);
  else
    e.store_u8(at, 0, scratch);
}

void store_u8_saturated(VectorEmitter& e, const RegExp& at, const Xbyak::Xmm& zero_words, int scratch) {
  for (const int k : {0, 2}) {
    e.vpackssdw(e.v(k), e.v(k), e.v(k + 1));
    e.vpaddsw(e.v(k), e.v(k), zero_words);
  }
  e.vpackuswb(e.v(0), e.v(0), e.v(2));
  e.vmovups(e.v(scratch), e.pack_order());
  e.vpermd(e.wide(0), e.wide(scratch), e.v(0));
  e.store(at, e.v(0));
}

KernelArgs RunShape::at(const KernelArgs& args, const RunRange& range) const {
  const auto moved = [&](const void* p, int64_t stride, int bytes) -> const void* {
    return p ? static_cast<const uint8_t*>(p) + range.rows.begin * stride + range.columns.begin * bytes : nullptr;
  };
  return {moved(args.a, a_stride, a_bytes), moved(args.b, b_stride, b_bytes),
          static_cast<uint8_t*>(args.y) + range.rows.begin * y_stride + range.columns.begin * y_bytes};
}

RunShape collapse(RunShape shape) {
  const auto dense = [&](int64_t stride, int bytes) { return stride == shape.length * bytes; };
  if (shape.rows > 1 && dense(shape.a_stride, shape.a_bytes) && dense(shape.b_stride, shape.b_bytes) &&
      dense(shape.y_stride, shape.y_bytes)) {
    shape.length *= shape.rows;
    shape.rows = 1;
  }
  return shape;
}

RunKernel::RunKernel(std::string name, const RunShape& shape, std::initializer_list<RunParam> params,
                     std::shared_ptr<const Code> code)
    : name_(std::move(name)), shape_(collapse(shape)), code_(std::move(code)) {
  assert(params.size() <= std::size(args_.param));
  std::copy(params.begin(), params.end(), args_.param);
  args_.a_stride = shape_.a_stride;
  args_.b_stride = shape_.b_stride;
  args_.y_stride = shape_.y_stride;
}

void RunKernel::run(const KernelArgs& args, int part, int parts) const noexcept {
  const RunRange range = split_runs(shape_.rows, shape_.length, part, parts);
  if (range.empty()) return;
  const KernelArgs mine = shape_.at(args, range);
  RunArgs call = args_;
  call.a = mine.a;
  call.b = mine.b;
  call.y = mine.y;
  call.rows = range.rows.size();
  call.length = range.columns.size();
  code_->entry<void (*)(RunArgs*)>()(&call);
}

}  // namespace octet::kernels
