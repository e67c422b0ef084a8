// Sums to results, row by row: an offset by the sum of the probabilities, one float factor, and u8 as QuantizeLinear rounds.
//
//   v0..v3 data | v4 scratch | v5, v6 range | v8 offset of the row | v9 factor of the row | v10 low | v11 high | v12 zero
//   point | v13 value factor v14 offset a probability | v15 tail mask rsi sums of products  rdx y  r8 rows  r9 sums of
//   probabilities, then constants of the row  rcx elements of the tail  rax r10 scratch
#include <cstddef>

#include "kernels/attention/generators.h"
#include "kernels/jit/run_loop.h"

namespace octet::kernels::attention {
namespace {

constexpr int kScratch = 4, kOffset = 8, kFactor = 9, kLow = 10, kHigh = 11, kZeroPoint = 12, kValue = 13, kEach = 14,
              kMask = 15;

// Offsets and factors of all rows, which are at most lanes(), to the stack; r9 points at the first row's.
void emit_row_constants(VectorEmitter& e) {
  const auto sums = e.v(kOffset), factors = e.v(kFactor);
  e.sub(e.rsp, static_cast<uint32_t>(2 * e.vector_bytes()));
  e.vmovups(sums, e.ptr[e.r9]);
  e.vpmaxsd(factors, sums, e.constant_bits(1));
  e.vcvtdq2ps(factors, factors);
  e.vdivps(factors, e.v(kValue), factors);
  e.vpmulld(sums, sums, e.v(kEach));
  e.vmovups(e.ptr[e.rsp], sums);
  e.vmovups(e.ptr[e.rsp + static_cast<size_t>(e.vector_bytes())], factors);
  e.mov(e.r9, e.rsp);
}

void load_row_constants(VectorEmitter& e) {
  e.vpbroadcastd(e.v(kOffset), e.ptr[e.r9]);
  e.vbroadcastss(e.v(kFactor), e.ptr[e.r9 + static_cast<size_t>(e.vector_bytes())]);
}

enum class Below : uint8_t { real, clamped, packed };  // what lies below the range, and NaN: packs make it 0 as well

void emit_result(VectorEmitter& e, int i, int64_t at, Below below) {
  const auto d = e.v(i);
  e.vpaddd(d, e.v(kOffset), e.ptr[e.rsi + disp(at * e.vector_bytes())]);
  e.vcvtdq2ps(d, d);
  e.vmulps(d, d, e.v(kFactor));
  if (below == Below::real) return;
  if (below == Below::clamped) e.vmaxps(d, d, e.v(kLow));
  e.vminps(d, e.v(kHigh), d);
  e.vcvtps2dq(d, d);
  e.vpaddd(d, d, e.v(kZeroPoint));
}

constexpr RangeVectors kRange{5, 6};

void emit_output(VectorEmitter& e, const Form& form, int64_t value_size, Output output) {
  const bool quantized = output == Output::quantized, in_range = output == Output::real_in_range;
  const auto field = [&](size_t at) { return e.qword[e.rdi + at]; };
  e.mov(e.rsi, field(offsetof(OutputArgs, o)));
  e.mov(e.rdx, field(offsetof(OutputArgs, y)));
  e.mov(e.r8, field(offsetof(OutputArgs, rows)));
  e.mov(e.r9, field(offsetof(OutputArgs, sums)));
  e.broadcast(e.v(kValue), e.ptr[e.rdi + offsetof(OutputArgs, value)]);
  e.broadcast(e.v(kEach), e.ptr[e.rdi + offsetof(OutputArgs, offset)]);
  e.broadcast(e.v(kLow), e.ptr[e.rdi + offsetof(OutputArgs, low)]);
  e.broadcast(e.v(kHigh), e.ptr[e.rdi + offsetof(OutputArgs, high)]);
  e.broadcast(e.v(kZeroPoint), e.ptr[e.rdi + offsetof(OutputArgs, zero_point)]);
  const int64_t whole = value_size / form.lanes, tail = value_size % form.lanes;
  if (tail > 0) {
    e.mov(e.ecx, static_cast<uint32_t>(tail));
    e.begin_tail(e.rcx, kMask, e.rax);
  }
  if (in_range) begin_range(e, kRange);
  emit_row_constants(e);
  Xbyak::Label next;
  e.L(next);
  load_row_constants(e);
  int64_t at = 0;
  const auto to = [&] { return e.rdx + disp(at * form.lanes * (quantized ? 1 : 4)); };
  for (; quantized && at + 4 <= whole; at += 4) {
    for (int i = 0; i < 4; ++i) emit_result(e, i, at + i, Below::packed);
    e.store_u8_x4(to(), 0, kScratch);
  }
  for (; at < whole; ++at) {
    emit_result(e, 0, at, quantized ? Below::clamped : Below::real);
    if (in_range) widen_range(e, kRange, 1, false);
    if (quantized)
      e.store_u8(to(), 0, kScratch);
    else
      e.store(to(), e.v(0));
  }
  if (tail > 0) {
    emit_result(e, 0, at, quantized ? Below::clamped : Below::real);
    if (in_range) widen_range(e, kRange, 1, true);
    if (quantized)
      e.store_u8_tail(to(), 0, kScratch, e.rcx, e.rax, e.r10);
    else
      e.store_tail(to(), 0, e.rcx, e.rax);
  }
  e.add(e.rsi, field(offsetof(OutputArgs, o_row)));
  e.add(e.rdx, field(offsetof(OutputArgs, y_row)));
  e.add(e.r9, 4);
  e.dec(e.r8);
  e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
  e.add(e.rsp, static_cast<uint32_t>(2 * e.vector_bytes()));
  if (in_range) {
    e.mov(e.rax, field(offsetof(OutputArgs, range)));
    end_range(e, kRange, e.rax, kScratch);
  }
  e.vzeroupper();
  e.ret();
}

}  // namespace

std::shared_ptr<const Code> output_code(const Isa& isa, const Form& form, int64_t value_size, Output output) {
  return vector_code(isa, CodeKey("attention output").add(value_size).add(output),
                     [&](VectorEmitter& e) { emit_output(e, form, value_size, output); });
}

}  // namespace octet::kernels::attention
