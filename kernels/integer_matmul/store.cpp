// Sums to results, row by row.
//
//   v0 data | v4 scratch | v8 term of the row | v9 scale | v10 low | v11 high | v12 zero point | v13 sign | v15 tail mask
//   rsi sums  rdx y  r8 rows left  r9 row terms | rbx sums, r12 column terms, r13 y along the row  r11 vectors left
//   rcx elements of the tail  rax r10 scratch
#include <cstddef>

#include "kernels/integer_matmul/generators.h"
#include "kernels/jit/vector_emitter.h"

namespace octet::kernels::integer_matmul {
namespace {

constexpr int kData = 0, kScratch = 4, kRow = 8, kScale = 9, kLow = 10, kHigh = 11, kZeroPoint = 12, kSign = 13, kMask = 15;

bool is_byte(DType y) { return y == DType::u8 || y == DType::s8; }

// Signed bytes are made 128 greater, for the packs, and then turned.
void emit_result(VectorEmitter& e, DType y) {
  const auto d = e.v(kData);
  e.vpaddd(d, e.v(kRow), e.ptr[e.rbx]);
  e.vpaddd(d, d, e.ptr[e.r12]);
  if (y == DType::s32) return;
  e.vcvtdq2ps(d, d);
  e.vmulps(d, d, e.v(kScale));
  if (y == DType::f32) return;
  e.vmaxps(d, d, e.v(kLow));
  e.vminps(d, d, e.v(kHigh));
  e.vcvtps2dq(d, d);
  e.vpaddd(d, d, e.v(kZeroPoint));
  if (y == DType::s8) e.bit_xor(d, d, e.v(kSign));
}

void emit_store(VectorEmitter& e, DType y, int64_t tail) {
  const auto field = [&](size_t at) { return e.qword[e.rdi + at]; };
  for (const Xbyak::Reg64& r : {e.rbx, e.r12, e.r13}) e.push(r);
  e.mov(e.rsi, field(offsetof(StoreArgs, sums)));
  e.mov(e.rdx, field(offsetof(StoreArgs, y)));
  e.mov(e.r8, field(offsetof(StoreArgs, rows)));
  e.mov(e.r9, field(offsetof(StoreArgs, row_terms)));
  e.broadcast(e.v(kScale), e.ptr[e.rdi + offsetof(StoreArgs, scale)]);
  e.broadcast(e.v(kLow), e.ptr[e.rdi + offsetof(StoreArgs, low)]);
  e.broadcast(e.v(kHigh), e.ptr[e.rdi + offsetof(StoreArgs, high)]);
  e.broadcast(e.v(kZeroPoint), e.ptr[e.rdi + offsetof(StoreArgs, zero_point)]);
  if (y == DType::s8) e.vmovups(e.v(kSign), e.constant_bits(0x80));
  if (tail > 0) {
    e.mov(e.ecx, static_cast<uint32_t>(tail));
    e.begin_tail(e.rcx, kMask, e.rax);
  }
  Xbyak::Label row, next, last;
  e.L(row);
  e.broadcast(e.v(kRow), e.ptr[e.r9]);
  e.mov(e.rbx, e.rsi);
  e.mov(e.r12, field(offsetof(StoreArgs, column_terms)));
  e.mov(e.r13, e.rdx);
  e.mov(e.r11, field(offsetof(StoreArgs, whole)));
  e.test(e.r11, e.r11);
  e.jz(last, Xbyak::CodeGenerator::T_NEAR);
  e.L(next);
  emit_result(e, y);
  if (is_byte(y))
    e.store_u8(e.r13, kData, kScratch);
  else
    e.store(e.r13, e.v(kData));
  e.add(e.rbx, imm(e.vector_bytes()));
  e.add(e.r12, imm(e.vector_bytes()));
  e.add(e.r13, imm(is_byte(y) ? e.lanes() : e.vector_bytes()));
  e.dec(e.r11);
  e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
  e.L(last);
  if (tail > 0) {
    emit_result(e, y);
    if (is_byte(y))
      e.store_u8_tail(e.r13, kData, kScratch, e.rcx, e.rax, e.r10);
    else
      e.store_tail(e.r13, kData, e.rcx, e.rax);
  }
  e.add(e.rsi, field(offsetof(StoreArgs, sums_row)));
  e.add(e.rdx, field(offsetof(StoreArgs, y_row)));
  e.add(e.r9, 4);
  e.dec(e.r8);
  e.jnz(row, Xbyak::CodeGenerator::T_NEAR);
  for (const Xbyak::Reg64& r : {e.r13, e.r12, e.rbx}) e.pop(r);
  e.vzeroupper();
  e.ret();
}

}  // namespace

std::shared_ptr<const Code> store_code(const Isa& isa, DType y, int64_t tail) {
  return vector_code(isa, CodeKey("integer matmul store").add(y).add(tail),
                     [&](VectorEmitter& e) { emit_store(e, y, tail); });
}

}  // namespace octet::kernels::integer_matmul
