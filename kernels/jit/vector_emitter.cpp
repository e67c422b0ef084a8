#include "kernels/jit/vector_emitter.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace octet::kernels {

using Xbyak::Address;
using Xbyak::Operand;
using Xbyak::Reg64;
using Xbyak::RegExp;
using Xbyak::Xmm;

VectorEmitter::VectorEmitter(const Isa& target) : Assembler(target) {
  assert(target.vector_bytes == 32 || target.vector_bytes == 64);
  setDefaultJmpNEAR(true);
}

Xmm VectorEmitter::sized(int i, int bytes) {
  return {bytes > 32 ? Operand::ZMM : bytes > 16 ? Operand::YMM : Operand::XMM, i};
}

Address VectorEmitter::constant(float value) { return constant_bits(std::bit_cast<uint32_t>(value)); }
Address VectorEmitter::constant_bits(uint32_t value) { return ptr[rip + constants_[value]]; }
void VectorEmitter::look_up(const Xmm& d, const Xmm& index, std::span<const float, 16> table, const Xmm& upper,
                            const Xmm& t) {
  std::array<float, 16> values;
  std::copy(table.begin(), table.end(), values.begin());
  const Xbyak::RegRip at = rip + tables_[values];
  vpermps(wide(d.getIdx()), wide(index.getIdx()), ptr[at]);
  if (zmm()) return;
  vpermps(wide(t.getIdx()), wide(index.getIdx()), ptr[at + 32]);
  vblendvps(d, d, t, upper);
}
Address VectorEmitter::pack_order() {
  uses_pack_order_ = true;
  return ptr[rip + pack_order_];
}

void VectorEmitter::copy(const Xmm& d, const Xmm& s) {
  if (d.getIdx() != s.getIdx()) vmovaps(d, s);
}

void VectorEmitter::bit_and(const Xmm& d, const Xmm& a, const Operand& b) {
  if (d.isZMM())
    vpandd(d, a, b);
  else
    vandps(d, a, b);
}
void VectorEmitter::bit_or(const Xmm& d, const Xmm& a, const Operand& b) {
  if (d.isZMM())
    vpord(d, a, b);
  else
    vorps(d, a, b);
}
void VectorEmitter::bit_xor(const Xmm& d, const Xmm& a, const Operand& b) {
  if (d.isZMM())
    vpxord(d, a, b);
  else
    vxorps(d, a, b);
}

void VectorEmitter::round(const Xmm& d, const Operand& s) {
  constexpr uint8_t kNearestEvenNoInexact = 8;
  if (d.isZMM())
    vrndscaleps(d, s, kNearestEvenNoInexact);
  else
    vroundps(d, s, kNearestEvenNoInexact);
}

void VectorEmitter::select_less(const Xmm& d, const Xmm& a, const Operand& b, const Xmm& yes, const Xmm& no,
                                const Xmm& mask) {
  if (d.isZMM()) {
    vcmpps(k2, a, b, 1);
    vblendmps(d | k2, no, yes);
  } else {
    vcmpps(mask, a, b, 1);
    vblendvps(d, no, yes, mask);
  }
}

void VectorEmitter::upper_half(const Xmm& d_half, const Xmm& s) {
  if (s.isZMM())
    vextractf64x4(Xbyak::Ymm(d_half.getIdx()), Xbyak::Zmm(s.getIdx()), 1);
  else
    vextractf128(x(d_half.getIdx()), Xbyak::Ymm(s.getIdx()), 1);
}

void VectorEmitter::broadcast(const Xmm& d, const Address& m) { vbroadcastss(d, m); }

void VectorEmitter::join_lanes(int s, int count) {
  for (int i = 1; i < count; ++i) {
    vpslld(v(s + i), v(s + i), static_cast<uint8_t>(32 / count * i));
    bit_or(v(s), v(s), v(s + i));
  }
}

void VectorEmitter::narrow_u8(int s, int scratch) {
  if (zmm()) {
    vpmovdb(x(s), v(s));
    return;
  }
  upper_half(x(scratch), v(s));
  vpackusdw(x(s), x(s), x(scratch));
  vpackuswb(x(s), x(s), x(s));
}

void VectorEmitter::store_u8(const RegExp& m, int s, int scratch) {
  narrow_u8(s, scratch);
  store_piece(m, s, lanes());
}

void VectorEmitter::store_u8_x4(const RegExp& m, int s, int scratch) {
  vpackusdw(v(s), v(s), v(s + 1));
  vpackusdw(v(s + 2), v(s + 2), v(s + 3));
  vpackuswb(v(s), v(s), v(s + 2));
  vmovups(v(scratch), pack_order());
  vpermd(wide(s), wide(scratch), v(s));
  store(m, v(s));
}

void VectorEmitter::begin_tail(const Reg64& count, int mask_register, const Reg64& scratch) {
  tail_mask_ = v(mask_register);
  if (zmm()) {
    mov(scratch.cvt32(), imm(-1));
    bzhi(scratch.cvt32(), scratch.cvt32(), count.cvt32());
    kmovw(k1, scratch.cvt32());
    return;
  }
  uses_tail_masks_ = true;  // eight -1, then eight 0; a mask of n lanes starts 8 - n in
  lea(scratch, ptr[rip + tail_masks_]);
  neg(count);
  vmovups(tail_mask_, ptr[scratch + count * 4 + 32]);
  neg(count);
}

void VectorEmitter::load_tail(const Xmm& d, const RegExp& m) {
  if (zmm())
    vmovups(d | k1 | T_z, ptr[m]);
  else
    vmaskmovps(d, tail_mask_, ptr[m]);
}

void VectorEmitter::load_tail_or(const Xmm& d, const RegExp& m, const Xmm& fill) {
  assert(d.getIdx() != fill.getIdx());
  if (zmm()) {
    vmovaps(d, fill);
    vmovups(d | k1, ptr[m]);
  } else {
    vmaskmovps(d, tail_mask_, ptr[m]);
    vblendvps(d, fill, d, tail_mask_);
  }
}

void VectorEmitter::store_tail(const RegExp& m, int s, const Reg64& count, const Reg64& scratch) {
  if (zmm()) {
    vmovups(ptr[m] | k1, v(s));
    return;
  }
  Xbyak::Label two, one, done;
  lea(scratch, ptr[m]);
  test(count.cvt32(), 4);
  jz(two);
  vmovups(ptr[scratch], x(s));
  upper_half(x(s), v(s));
  add(scratch, 16);
  L(two);
  test(count.cvt32(), 2);
  jz(one);
  vmovq(ptr[scratch], x(s));
  vpsrldq(x(s), x(s), 8);
  add(scratch, 8);
  L(one);
  test(count.cvt32(), 1);
  jz(done);
  vmovd(ptr[scratch], x(s));
  L(done);
}

void VectorEmitter::load_u8_tail(int d, const RegExp& m, const Reg64& count, const Reg64& s0, const Reg64& s1) {
  if (zmm()) {
    vpmovzxbd(v(d) | k1 | T_z, ptr[m]);
    return;
  }
  // Last byte, the word before it, the dword before that, shifted together into one quadword.
  Xbyak::Label two, four, done;
  lea(s1, ptr[m]);
  xor_(s0.cvt32(), s0.cvt32());
  test(count.cvt32(), 1);
  jz(two);
  movzx(s0.cvt32(), byte[s1 + count - 1]);
  L(two);
  test(count.cvt32(), 2);
  jz(four);
  Xbyak::Label at_start;
  shl(s0, 16);
  test(count.cvt32(), 4);
  jz(at_start);
  add(s1, 4);
  L(at_start);
  movzx(s1.cvt32(), word[s1]);
  or_(s0, s1);
  lea(s1, ptr[m]);
  L(four);
  test(count.cvt32(), 4);
  jz(done);
  shl(s0, 32);
  mov(s1.cvt32(), ptr[s1]);
  or_(s0, s1);
  L(done);
  vmovq(x(d), s0);
  vpmovzxbd(v(d), x(d));
}

void VectorEmitter::store_u8_tail(const RegExp& m, int s, int scratch, const Reg64& count, const Reg64& s0,
                                  const Reg64& s1) {
  if (zmm()) {
    vpmovdb(ptr[m] | k1, v(s));
    return;
  }
  Xbyak::Label two, one, done;
  lea(s1, ptr[m]);
  narrow_u8(s, scratch);
  vmovq(s0, x(s));
  test(count.cvt32(), 4);
  jz(two);
  mov(ptr[s1], s0.cvt32());
  shr(s0, 32);
  add(s1, 4);
  L(two);
  test(count.cvt32(), 2);
  jz(one);
  mov(ptr[s1], s0.cvt16());
  shr(s0, 16);
  add(s1, 2);
  L(one);
  test(count.cvt32(), 1);
  jz(done);
  mov(ptr[s1], s0.cvt8());
  L(done);
}

void VectorEmitter::clear_beyond_tail(const Xmm& d) {
  if (zmm())
    vmovaps(d | k1 | T_z, d);
  else
    vandps(d, d, tail_mask_);
}

void VectorEmitter::reduce(int d, int scratch, const Combine& op) {
  if (zmm()) {
    upper_half(y(scratch), v(d));
    op(y(d), y(d), y(scratch));
  }
  upper_half(x(scratch), y(d));
  op(x(d), x(d), x(scratch));
  vmovhlps(x(scratch), x(d), x(d));
  op(x(d), x(d), x(scratch));
  vmovshdup(x(scratch), x(d));
  op(x(d), x(d), x(scratch));
}

void VectorEmitter::load_piece(int d, const RegExp& m, int bytes) {
  switch (bytes) {
    case 64:
    case 32:
    case 16: vmovups(sized(d, bytes), ptr[m]); break;
    case 8: vmovq(x(d), ptr[m]); break;
    case 4: vmovd(x(d), ptr[m]); break;
    case 2:
      vpxor(x(d), x(d), x(d));
      vpinsrw(x(d), x(d), ptr[m], 0);
      break;
    default:
      assert(bytes == 1);
      vpxor(x(d), x(d), x(d));
      vpinsrb(x(d), x(d), ptr[m], 0);
  }
}

void VectorEmitter::store_piece(const RegExp& m, int s, int bytes) {
  switch (bytes) {
    case 64:
    case 32:
    case 16: vmovups(ptr[m], sized(s, bytes)); break;
    case 8: vmovq(ptr[m], x(s)); break;
    case 4: vmovd(ptr[m], x(s)); break;
    case 2: vpextrw(ptr[m], x(s), 0); break;
    default: assert(bytes == 1); vpextrb(ptr[m], x(s), 0);
  }
}

void VectorEmitter::finish() {
  if (uses_tail_masks_) {
    align(64);
    L(tail_masks_);
    for (int i = 0; i < 16; ++i) dd(i < 8 ? 0xffffffffu : 0u);
  }
  if (uses_pack_order_) {
    align(64);
    L(pack_order_);
    const int parts = lanes() / 4;  // dword j of vector s+k lies at 4 * j + k after packing
    for (int k = 0; k < 4; ++k)
      for (int j = 0; j < parts; ++j) dd(static_cast<uint32_t>(4 * j + k));
  }
  for (auto& [values, label] : tables_) {
    align(64);
    L(label);
    for (const float value : values) dd(std::bit_cast<uint32_t>(value));
  }
  for (auto& [value, label] : constants_) {
    align(64);
    L(label);
    for (int i = 0; i < 16; ++i) dd(value);
  }
}

}  // namespace octet::kernels
