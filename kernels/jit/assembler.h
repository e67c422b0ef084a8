// The assembler every generator writes with: xbyak plus the ISA as a value.
//
// xbyak registers carry their width at run time, so one generator serves 32- and 64-byte vectors: `v(i)` is the i-th vector
// register of the ISA's width, and most AVX mnemonics choose VEX or EVEX by it. The verbs below are the few places where the
// two encodings have different names or where ISAs differ in how a thing is done.
#pragma once

#include <xbyak/xbyak.h>

#include <cassert>
#include <cstdint>

#include "kernels/isa.h"

namespace octet::kernels {

class Assembler : public Xbyak::CodeGenerator {
 public:
  explicit Assembler(const Isa& target) : CodeGenerator(4096, Xbyak::AutoGrow), isa_(target) {}

  const Isa& isa() const { return isa_; }
  int vector_bytes() const { return isa_.vector_bytes; }
  int lanes() const { return isa_.lanes(); }

  Xbyak::Xmm v(int i) const {
    assert(i >= 0 && i < isa_.vector_count);
    return isa_.zmm() ? Xbyak::Xmm(Xbyak::Zmm(i)) : Xbyak::Xmm(Xbyak::Ymm(i));
  }

  // Memory at base + displacement (+ index), in bytes; the displacement must fit 32 bits.
  Xbyak::Address at(const Xbyak::Reg64& base, int64_t displacement) const {
    return ptr[base + static_cast<size_t>(displacement)];
  }
  Xbyak::Address at(const Xbyak::Reg64& base, const Xbyak::Reg64& index, int64_t displacement) const {
    return ptr[base + index + static_cast<size_t>(displacement)];
  }

  void zero(int i) { exclusive_or(v(i), v(i), v(i)); }
  void exclusive_or(const Xbyak::Xmm& d, const Xbyak::Xmm& a, const Xbyak::Operand& b) {
    if (isa_.zmm())
      vpxord(d, a, b);
    else
      vpxor(d, a, b);
  }
  // d += u8 quadruples of a times s8 quadruples of b, per 32-bit lane.
  void dot_u8s8(const Xbyak::Xmm& d, const Xbyak::Xmm& a, const Xbyak::Operand& b) {
    vpdpbusd(d, a, b, isa_.zmm() ? Xbyak::EvexEncoding : Xbyak::VexEncoding);
  }
  void permute_dwords(const Xbyak::Xmm& d, const Xbyak::Xmm& order, const Xbyak::Xmm& a) {
    if (isa_.zmm())
      vpermd(Xbyak::Zmm(d.getIdx()), Xbyak::Zmm(order.getIdx()), Xbyak::Zmm(a.getIdx()));
    else
      vpermd(Xbyak::Ymm(d.getIdx()), Xbyak::Ymm(order.getIdx()), Xbyak::Ymm(a.getIdx()));
  }
  void broadcast_constant(int i, uint32_t value, const Xbyak::Reg32& scratch) {
    mov(scratch, value);
    vmovd(Xbyak::Xmm(i), scratch);
    vpbroadcastd(v(i), Xbyak::Xmm(i));
  }

 private:
  const Isa& isa_;
};

}  // namespace octet::kernels
