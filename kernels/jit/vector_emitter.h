// The verbs that vector generators are written in, over an Isa value.
//
// A generator never asks which ISA it emits for: it asks for registers of the ISA's width (v(i)), for lanes() 32-bit lanes,
// and for the verbs below. Where AVX2 and AVX-512 spell an operation differently (bitwise operations, rounding, narrowing,
// tails) the verb knows. Registers 0..15 exist at both widths and are the only ones used.
//
// Tails. A tail is the last 1..lanes()-1 elements of a run. begin_tail(count) makes its mask (k1 on AVX-512; on AVX2 a lane
// mask in a vector register), after which the *_tail verbs read and write exactly `count` elements, never a byte more:
// AVX-512 by masked moves, AVX2 by vmaskmovps for loads and by 4/2/1 element pieces for stores. A tail load leaves zero in
// the other lanes.
//
//   run of 21 floats, AVX2:   |v v v v v v v v|v v v v v v v v|t t t t t|
//                                 lanes()          lanes()      count
//
// Where the number of bytes is known when code is made, cover() (pieces.h) names the moves instead and nothing is masked.
//
// constant(x) is a 64-byte copy of x behind the code, so that it serves as a memory operand at either width.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "kernels/jit/assembler.h"
#include "kernels/jit/cache.h"

namespace octet::kernels {

// xbyak takes displacements and immediates unsigned.
constexpr size_t disp(int64_t bytes) { return static_cast<size_t>(bytes); }
constexpr uint32_t imm(int value) { return static_cast<uint32_t>(value); }

class VectorEmitter : public Assembler {
 public:
  explicit VectorEmitter(const Isa& target);

  bool zmm() const { return isa().zmm(); }

  // v(i) for the mnemonics that xbyak declares over Ymm.
  Xbyak::Ymm wide(int i) const { return zmm() ? Xbyak::Ymm(i, Xbyak::Operand::ZMM, 512) : Xbyak::Ymm(i); }
  // Half a vector.
  Xbyak::Xmm h(int i) const { return {zmm() ? Xbyak::Operand::YMM : Xbyak::Operand::XMM, i}; }
  static Xbyak::Xmm x(int i) { return {Xbyak::Operand::XMM, i}; }
  static Xbyak::Ymm y(int i) { return Xbyak::Ymm(i); }
  // The narrowest register of 16 bytes or more that holds `bytes`.
  static Xbyak::Xmm sized(int i, int bytes);

  Xbyak::Address constant(float value);
  Xbyak::Address constant_bits(uint32_t value);
  void load_constant(const Xbyak::Xmm& d, float value) { vmovups(d, constant(value)); }
  // d = table[index % 16], lane by lane. AVX2 looks up both halves: `upper` has bit 3 of the index for a sign, `t` is
  // scratch.
  void look_up(const Xbyak::Xmm& d, const Xbyak::Xmm& index, std::span<const float, 16> table, const Xbyak::Xmm& upper,
               const Xbyak::Xmm& t);
  // The order vpermd restores after packing four vectors of 32-bit lanes to bytes within 128-bit halves.
  Xbyak::Address pack_order();

  void copy(const Xbyak::Xmm& d, const Xbyak::Xmm& s);
  void bit_and(const Xbyak::Xmm& d, const Xbyak::Xmm& a, const Xbyak::Operand& b);
  void bit_or(const Xbyak::Xmm& d, const Xbyak::Xmm& a, const Xbyak::Operand& b);
  void bit_xor(const Xbyak::Xmm& d, const Xbyak::Xmm& a, const Xbyak::Operand& b);
  void round(const Xbyak::Xmm& d, const Xbyak::Operand& s);  // half to even
  // d = a < b ? yes : no, all f32 lanes. d may be `no`. AVX2 takes `mask` as scratch, AVX-512 k2.
  void select_less(const Xbyak::Xmm& d, const Xbyak::Xmm& a, const Xbyak::Operand& b, const Xbyak::Xmm& yes,
                   const Xbyak::Xmm& no, const Xbyak::Xmm& mask);
  // The upper half of s.
  void upper_half(const Xbyak::Xmm& d_half, const Xbyak::Xmm& s);

  // All lanes of the float or int32 at `m`.
  void broadcast(const Xbyak::Xmm& d, const Xbyak::Address& m);
  void load(const Xbyak::Xmm& d, const Xbyak::RegExp& m) { vmovups(d, ptr[m]); }
  void store(const Xbyak::RegExp& m, const Xbyak::Xmm& s) { vmovups(ptr[m], s); }
  // lanes() bytes, zero-extended to 32 bits.
  void load_u8(const Xbyak::Xmm& d, const Xbyak::RegExp& m) { vpmovzxbd(d, ptr[m]); }
  // 32-bit lanes of v(s) .. v(s + count - 1) that hold no more than 32 / count bits, side by side in v(s); the others are
  // overwritten.
  void join_lanes(int s, int count);
  // 32-bit lanes holding 0..255 to lanes() bytes; s and its scratch are overwritten.
  void narrow_u8(int s, int scratch);
  void store_u8(const Xbyak::RegExp& m, int s, int scratch);
  // Four vectors s, s+1, s+2, s+3 of such lanes to 4 * lanes() bytes; they and `scratch` are overwritten.
  void store_u8_x4(const Xbyak::RegExp& m, int s, int scratch);

  // Tails: `count` elements, 1 <= count < lanes(), in a register that keeps its value; mask_register is AVX2's.
  void begin_tail(const Xbyak::Reg64& count, int mask_register, const Xbyak::Reg64& scratch);
  void load_tail(const Xbyak::Xmm& d, const Xbyak::RegExp& m);
  // As load_tail with the lanes of `fill` in the lanes beyond the tail; d is not fill.
  void load_tail_or(const Xbyak::Xmm& d, const Xbyak::RegExp& m, const Xbyak::Xmm& fill);
  void store_tail(const Xbyak::RegExp& m, int s, const Xbyak::Reg64& count,
                  const Xbyak::Reg64& scratch);  // s is overwritten
  void load_u8_tail(int d, const Xbyak::RegExp& m, const Xbyak::Reg64& count, const Xbyak::Reg64& s0,
                    const Xbyak::Reg64& s1);
  // Overwrites s and scratch.
  void store_u8_tail(const Xbyak::RegExp& m, int s, int scratch, const Xbyak::Reg64& count, const Xbyak::Reg64& s0,
                     const Xbyak::Reg64& s1);
  // Zero in the lanes beyond the tail.
  void clear_beyond_tail(const Xbyak::Xmm& d);

  // Lane 0 of d becomes all lanes combined by op(d, a, b), halving: 16 (or 8), 4, 2, 1; lane i takes lane i + width.
  using Combine = std::function<void(const Xbyak::Xmm& d, const Xbyak::Xmm& a, const Xbyak::Xmm& b)>;
  void reduce(int d, int scratch, const Combine& op);

  // Moves of a size known now: 1, 2, 4, 8, 16, 32 or 64 bytes into register d of sized(d, bytes); the rest of it is zero.
  void load_piece(int d, const Xbyak::RegExp& m, int bytes);
  void store_piece(const Xbyak::RegExp& m, int s, int bytes);

  // Writes the constants behind the code; the last thing a generator does.
  void finish();

 private:
  Xbyak::Xmm tail_mask_;
  std::map<uint32_t, Xbyak::Label> constants_;
  std::map<std::array<float, 16>, Xbyak::Label> tables_;
  Xbyak::Label pack_order_, tail_masks_;
  bool uses_pack_order_ = false, uses_tail_masks_ = false;
};

// The code that generate(VectorEmitter&) writes for this vector width, from the cache when `key` was met before.
template <class Generate>
std::shared_ptr<const Code> vector_code(const Isa& isa, CodeKey key, Generate generate) {
  return cached_code(key.add(isa.vector_bytes), [&] {
    auto emitter = std::make_unique<VectorEmitter>(isa);
    generate(*emitter);
    emitter->finish();
    return emitter;
  });
}

}  // namespace octet::kernels
