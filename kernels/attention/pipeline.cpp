// Attention on tiles with the tile unit and the vector units at work at once: one call computes probabilities and outputs of
// one block of 16 rows while the scores and row maxima of the next one come into being. Heads of up to 64, values too.
//
//   for chunk of 64 keys:                 the first one: four tiles of scores, then P of 16 rows
//     for j < 4:
//       next:     scores of 16 keys, one tile, stored some rows later                   tiles 4 sums, 5 Q, 7 K
//       current:  outputs += P of the chunk before . V, one tile of 16 columns          tiles 0..3 sums, 6 P, 7 V
//       current:  P of the chunk, 4 rows
//       next:     maxima over the chunk before, 4 rows (with a mask: scores become floats)
//   the chunk that was left; maxima of 16 rows by a tree of shuffles, all shifts at once
//
// Scores lie [chunk][row][64], P [chunk][row][64 bytes], V [chunk][panel][tile], so that all addresses are constant within a
// chunk.
//
//   rdi args  rsi scores  rdx P  r10 V           of the current block
//   r8 scores  r9 K  r14 starts  rcx mask  r15 bytes between its rows  of the next one
//   rax 64  r12 256  r13 0 (tile strides)  r11 chunks left  rbp maxima and sums  rbx shifts
// While tiles are at work, and 190 cycles beyond, port 5 takes no float multiplications, conversions or maxima (measured: 24
// vmulps beside a tile product 25 cycles, 12 without; additions, integer sums and shuffles are not held up). So scores start
// at 1.5 * 2^23, whose bits are floats one subtraction away from their value, and powers are rounded by the addition of 2^23,
// their byte being the lowest of the sum. Four such vectors become one of P by byte shuffles: byte i of dword d is key
// 16 i + d of the chunk, and V is packed in that order. With a mask a power can be NaN, which only the conversion brings to 0;
// where an exponent is so large that the greatest power may round to more than 255 (`saturates`), it is converted and limited.
// Powers below numerics::kLeastPower come to 0 by vscalefps and the rounding (see probabilities.cpp).
//
//   zmm0..3 data  4..7 scratch  13 exponent or log2 e  14 score factor  15 0  16..19 cubic  20 log2 255  21 -1.5 * 2^23
//   22 2^23  23 first bytes of the dwords  0..12 the trees    k1..k3 bytes 1..3 of every dword
#include <cstddef>

#include "kernels/attention/generators.h"
#include "kernels/jit/epilogue_emitter.h"
#include "kernels/jit/vector_emitter.h"

namespace octet::kernels::attention {
namespace {

using Xbyak::Tmm;
using Xbyak::Xmm;
using Xbyak::Zmm;

constexpr int kScratch = 4, kFactor = 13, kScore = 14, kZero = 15, kCubic = 16, kTop = 20, kCentre = 21, kRound = 22,
              kFirstBytes = 23;
constexpr int64_t kRows = 16, kTile = 1024, kScoreRow = 256, kScoreChunk = kRows * kScoreRow;
constexpr int kSumTile = 4, kQueries = 5, kProbabilities = 6, kOther = 7;

class PipelineEmitter {
 public:
  PipelineEmitter(VectorEmitter& emitter, const Form& form, const PipelineKind& kind)
      : e(emitter),
        panels_(static_cast<int>(form.value_panels)),
        masked_(kind.masked),
        saturates_(kind.saturates),
        limited_(kind.limited),
        current_(kind.current),
        next_(kind.next) {}

  void run() {
    for (const auto& r : {e.rbx, e.rbp, e.r12, e.r13, e.r14, e.r15}) e.push(r);
    begin();
    Xbyak::Label more, end;
    first_chunk();
    advance();
    e.dec(e.r11);
    e.jz(end, Xbyak::CodeGenerator::T_NEAR);
    e.align(32);
    e.L(more);
    chunk();
    advance();
    e.dec(e.r11);
    e.jnz(more, Xbyak::CodeGenerator::T_NEAR);
    e.L(end);
    finish();
    for (const auto& r : {e.r15, e.r14, e.r13, e.r12, e.rbp, e.rbx}) e.pop(r);
    e.vzeroupper();
    e.ret();
  }

 private:
  Xbyak::Address field(size_t at) const { return e.qword[e.rdi + at]; }
  Zmm z(int i) const { return Zmm(i); }

  void begin() {
    e.mov(e.eax, 64);
    e.mov(e.r12d, static_cast<uint32_t>(kScoreRow));
    e.xor_(e.r13d, e.r13d);
    e.mov(e.r11, field(offsetof(PipelineArgs, chunks)));
    e.broadcast(e.v(kFactor), e.ptr[e.rdi + offsetof(PipelineArgs, exponent)]);
    e.zero(kZero);
    for (int i = 0; i < 4; ++i) e.load_constant(e.v(kCubic + i), numerics::kPowerCubic[i]);
    e.load_constant(e.v(kTop), numerics::kLog2Of255);
    e.load_constant(e.v(kCentre), -0x1.8p23f);
    e.load_constant(e.v(kRound), 0x1p23f);
    const Xmm first_bytes(kFirstBytes);
    e.mov(e.rcx, 0x0404040400000000u);
    e.vmovq(first_bytes, e.rcx);
    e.mov(e.rcx, 0x0c0c0c0c08080808u);
    e.vpinsrq(first_bytes, first_bytes, e.rcx, 1);
    e.vshufi32x4(z(kFirstBytes), z(kFirstBytes), z(kFirstBytes), 0);
    for (int i = 1; i < 4; ++i) {
      e.mov(e.rcx, 0x1111111111111111u << i);
      e.kmovq(Xbyak::Opmask(i), e.rcx);
    }
    if (masked_) {
      e.load_constant(e.v(kFactor), numerics::kLog2E);
      e.broadcast(e.v(kScore), e.ptr[e.rdi + offsetof(PipelineArgs, score)]);
    }
    if (current_) {
      e.mov(e.rsi, field(offsetof(PipelineArgs, scores)));
      e.mov(e.rdx, field(offsetof(PipelineArgs, p)));
      e.mov(e.r10, field(offsetof(PipelineArgs, v)));
      e.mov(e.rbx, field(offsetof(PipelineArgs, shifts)));
      for (int j = 0; j < panels_; ++j) e.tilezero(Tmm(j));
    }
    if (next_) {
      e.mov(e.r8, field(offsetof(PipelineArgs, next_scores)));
      e.mov(e.r9, field(offsetof(PipelineArgs, k)));
      e.mov(e.r14, field(offsetof(PipelineArgs, starts)));
      e.mov(e.rcx, field(offsetof(PipelineArgs, q)));
      e.mov(e.rbp, field(offsetof(PipelineArgs, q_row)));
      e.tileloadd(Tmm(kQueries), e.ptr[e.rcx + e.rbp]);
      if (masked_) {
        e.mov(e.rcx, field(offsetof(PipelineArgs, mask)));
        e.mov(e.r15, field(offsetof(PipelineArgs, mask_row)));
      }
    }
    e.mov(e.rbp, field(offsetof(PipelineArgs, lanes)));
  }

  // rsi, rdx, r8 and the mask stand at the chunk, or, where it says so, one behind the chunk meant.
  // There are no outputs and no maxima yet, and the scores come all at once: 128 keys 76 -> 68 us, 512 level.
  void first_chunk() {
    for (int j = 0; next_ && j < 4; ++j) {
      score_tile(j);
      if (j < 3) store_scores(64 * j);
    }
    for (int row = 0; row < kRows; ++row) {
      if (current_) probabilities(row, true);
      if (next_ && row == 12 + store_row()) store_scores(192);
    }
  }

  void chunk() {
    for (int j = 0; j < 4; ++j) {
      if (next_) score_tile(j);
      if (current_) output_tile(j);
      for (int row = 4 * j; row < 4 * j + 4; ++row) {
        if (current_) probabilities(row, false);
        if (next_ && row == 4 * j + store_row()) store_scores(64 * j);
        if (next_) maximum(row, -kScoreChunk, -256, false);
      }
    }
    if (next_ && masked_) rewind_mask();
  }

  void advance() {
    if (current_) {
      e.add(e.rsi, static_cast<uint32_t>(kScoreChunk));
      e.add(e.rdx, static_cast<uint32_t>(kTile));
    }
    if (next_) {
      e.add(e.r8, static_cast<uint32_t>(kScoreChunk));
      e.add(e.r9, static_cast<uint32_t>(4 * kTile));
      e.add(e.r14, 256);
      if (masked_) e.add(e.rcx, 256);
    }
  }

  void score_tile(int j) {
    e.tileloadd(Tmm(kSumTile), e.ptr[e.r14 + e.r13 + disp(64 * j)]);
    e.tileloadd(Tmm(kOther), e.ptr[e.r9 + e.rax + disp(kTile * j)]);
    e.tdpbusd(Tmm(kSumTile), Tmm(kQueries), Tmm(kOther));
  }
  // The row of a slot behind which its scores are stored: as far from their product as can be, which is waited for, but with a
  // mask not right before maxima, which rewrite scores. Of 512 keys, us: behind row 0, 1, 2, 3 1010 1002 980 941, masked 1124
  // 1094 1084 1308; right behind the product 975 and 1177.
  int store_row() const { return masked_ ? 2 : 3; }
  void store_scores(int64_t at) { e.tilestored(e.ptr[e.r8 + e.r12 + disp(at)], Tmm(kSumTile)); }

  // Of the chunk before rdx.
  void output_tile(int j) {
    if (j == 0) e.tileloadd(Tmm(kProbabilities), e.ptr[e.rdx + e.rax + disp(-kTile)]);
    if (j < panels_) {
      e.tileloadd(Tmm(kOther), e.ptr[e.r10 + e.rax + disp(kTile * j)]);
      e.tdpbusd(Tmm(j), Tmm(kProbabilities), Tmm(kOther));
    }
    if (j == 3) e.add(e.r10, static_cast<uint32_t>(kTile * panels_));
  }

  void probabilities(int row, bool first) {
    for (int i = 0; i < 4; ++i) {
      const Xmm t = e.v(i), f = e.v(kScratch + i % 2 * 2), p = e.v(kScratch + i % 2 * 2 + 1);
      const auto at = e.ptr[e.rsi + disp(row * kScoreRow + 64 * i)];
      const auto shift = e.ptr_b[e.rbx + disp(4 * row)];
      if (masked_) {
        e.vmovups(t, at);
        e.vsubps(t, t, shift);
        e.vfmadd213ps(t, e.v(kFactor), e.v(kTop));
      } else {
        e.vaddps(t, e.v(kCentre), at);
        e.vfmadd213ps(t, e.v(kFactor), shift);
      }
      constexpr uint8_t kFloor = 1 | 8;
      e.vreduceps(f, t, kFloor);
      e.vmovaps(p, e.v(kCubic));
      for (int k = 1; k < 4; ++k) e.vfmadd213ps(p, f, e.v(kCubic + k));
      e.vscalefps(t, p, t);
      round(t);
    }
    for (int i = 1; i < 4; ++i) e.vpshufb(z(0) | Xbyak::Opmask(i), z(i), z(kFirstBytes));
    e.vmovups(e.ptr[e.rdx + disp(row * 64)], e.v(0));
    e.vpsadbw(e.v(1), e.v(0), e.v(kZero));
    const auto sum = e.ptr[e.rbp + disp(kTile + row * 64)];
    if (!first) e.vpaddd(e.v(1), e.v(1), sum);
    e.vmovups(sum, e.v(1));
  }

  // To a whole number of 0..255 in the first byte.
  void round(const Xmm& t) {
    if (masked_ || saturates_)
      e.vcvtps2dq(t, t);
    else
      e.vaddps(t, t, e.v(kRound));
    if (saturates_) e.vpminsd(t, t, e.constant_bits(255));
  }

  // Of a chunk that lies `back` bytes from r8, its mask `mask_back` from rcx.
  void maximum(int row, int64_t back, int64_t mask_back, bool limited) {
    const auto most = e.ptr[e.rbp + disp(row * 64)];
    for (int i = 0; i < 4; ++i) {
      const Xmm x = e.v(i);
      const auto at = e.ptr[e.r8 + disp(back + row * kScoreRow + 64 * i)];
      if (masked_) {
        e.vaddps(x, e.v(kCentre), at);
        e.vfmadd213ps(x, e.v(kScore), e.ptr[e.rcx + disp(mask_back + 64 * i)]);
        e.vmovups(at, x);
      } else {
        e.vmovups(x, at);
        if (limited) e.vpminsd(x, x, e.ptr[e.rsi + disp(64 * i)]);
      }
    }
    const auto greater = [&](const Xmm& d, const Xmm& a, const Xbyak::Operand& b) {
      masked_ ? e.vmaxps(d, a, b) : e.vpmaxsd(d, a, b);
    };
    if (masked_) {  // NaN keeps the running maximum
      e.vmovups(e.v(kScratch), most);
      for (int i = 0; i < 4; ++i) greater(e.v(kScratch), e.v(i), e.v(kScratch));
      e.vmovups(most, e.v(kScratch));
      e.add(e.rcx, e.r15);
    } else {
      greater(e.v(0), e.v(0), e.v(1));
      greater(e.v(2), e.v(2), e.v(3));
      greater(e.v(0), e.v(0), e.v(2));
      greater(e.v(0), e.v(0), most);
      e.vmovups(most, e.v(0));
    }
  }

  void rewind_mask() {
    e.shl(e.r15, 4);
    e.sub(e.rcx, e.r15);
    e.shr(e.r15, 4);
  }

  void finish() {
    if (current_) {
      if (limited_) drop_missing_keys();
    }
    if (next_ && limited_) e.mov(e.rsi, field(offsetof(PipelineArgs, limit)));
    for (int j = 0; j < 4; ++j) {
      if (current_) output_tile(j);
      for (int row = 4 * j; next_ && row < 4 * j + 4; ++row) maximum(row, -kScoreChunk, -256, limited_);
    }
    if (next_) {
      tree(0, [&](const Xmm& d, const Xmm& a, const Xmm& b) { masked_ ? e.vmaxps(d, a, b) : e.vpmaxsd(d, a, b); });
      if (!masked_) {
        e.vpsubd(z(0), z(0), e.constant_bits(kSumCentre));
        e.vcvtdq2ps(z(0), z(0));
        e.vmovaps(z(1), e.v(kTop));
        e.vfnmadd231ps(z(1), z(0), z(kFactor));
        e.vmovaps(z(0), z(1));
      }
      e.mov(e.rcx, field(offsetof(PipelineArgs, next_shifts)));
      e.vmovups(e.ptr[e.rcx], z(0));
    }
    if (current_) {
      tree(kTile, [&](const Xmm& d, const Xmm& a, const Xmm& b) { e.vpaddd(d, a, b); });
      e.mov(e.rcx, field(offsetof(PipelineArgs, sums)));
      e.vmovups(e.ptr[e.rcx], z(0));
      e.mov(e.rcx, field(offsetof(PipelineArgs, o)));
      e.mov(e.r12, field(offsetof(PipelineArgs, o_row)));
      for (int j = 0; j < panels_; ++j) e.tilestored(e.ptr[e.rcx + e.r12 + disp(64 * j)], Tmm(j));
    }
    if (next_) reset_maxima();
  }

  // P of the last chunk, and its part of the sums, without keys that there are not.
  void drop_missing_keys() {
    e.mov(e.rcx, field(offsetof(PipelineArgs, keep)));
    e.vmovups(z(2), e.ptr[e.rcx]);
    for (int row = 0; row < kRows; ++row) {
      const auto at = e.ptr[e.rdx + disp(row * 64 - kTile)], sum = e.ptr[e.rbp + disp(kTile + row * 64)];
      e.vpandnd(z(0), z(2), at);  // what goes
      e.vpandd(z(1), z(2), at);
      e.vmovups(at, z(1));
      e.vpsadbw(z(0), z(0), z(kZero));
      e.vmovups(z(1), sum);
      e.vpsubd(z(1), z(1), z(0));
      e.vmovups(sum, z(1));
    }
  }

  void reset_maxima() {
    e.vmovups(z(0), masked_ ? e.constant_bits(0xff800000u) : e.constant_bits(0x80000000u));
    for (int row = 0; row < kRows; ++row) e.vmovups(e.ptr[e.rbp + disp(row * 64)], z(0));
  }

  // Lane r of zmm0 = all lanes of row r, the rows lying 64 bytes apart from rbp + at. Two rows become one vector of half
  // sums each, four a vector of quarters, and the 128-bit lanes follow.
  template <class Op>
  void tree(int64_t at, const Op& op) {
    for (int quad = 0; quad < 4; ++quad) {
      const int base = quad;  // result
      for (int pair = 0; pair < 2; ++pair) {
        const auto row = [&](int r) { return e.ptr[e.rbp + disp(at + (4 * quad + 2 * pair + r) * 64)]; };
        const int a = 5 + 3 * pair, low = a + 1, high = a + 2;
        e.vmovups(z(a), row(0));
        e.vpunpckldq(z(low), z(a), row(1));
        e.vpunpckhdq(z(high), z(a), row(1));
        op(z(a), z(low), z(high));
      }
      e.vpunpcklqdq(z(11), z(5), z(8));
      e.vpunpckhqdq(z(12), z(5), z(8));
      op(z(base), z(11), z(12));
    }
    const auto join = [&](int d, int a, int b) {
      e.vshufi32x4(z(11), z(a), z(b), 0x88);
      e.vshufi32x4(z(12), z(a), z(b), 0xdd);
      op(z(d), z(11), z(12));
    };
    join(0, 0, 1);
    join(2, 2, 3);
    join(0, 0, 2);
  }

  VectorEmitter& e;
  const int panels_;
  const bool masked_, saturates_, limited_, current_, next_;
};

}  // namespace

std::shared_ptr<const Code> pipeline_code(const Isa& isa, const Form& form, const PipelineKind& kind) {
  CodeKey key("attention pipeline");
  key.add(form.value_panels).add(kind.masked).add(kind.saturates).add(kind.limited).add(kind.current).add(kind.next);
  return vector_code(isa, key, [&](VectorEmitter& e) { PipelineEmitter(e, form, kind).run(); });
}

}  // namespace octet::kernels::attention
