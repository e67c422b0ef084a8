#include "kernels/jit/transpose_emitter.h"

#include <bit>
#include <cassert>
#include <cstddef>

namespace octet::kernels {
namespace {

using Xbyak::RegExp;

// n bytes, 1..16, to the low bytes of xmm d; the others are zero.
void load_bytes16(VectorEmitter& e, int d, const RegExp& m, int n) {
  const auto x = e.x(d);
  if (n == 16) {
    e.vmovups(x, e.ptr[m]);
    return;
  }
  int at = 0;
  if (n & 8) {
    e.vmovq(x, e.ptr[m]);
    at = 8;
  } else {
    e.vpxor(x, x, x);
  }
  if (n & 4) e.vpinsrd(x, x, e.ptr[m + disp(at)], static_cast<uint8_t>(at / 4)), at += 4;
  if (n & 2) e.vpinsrw(x, x, e.ptr[m + disp(at)], static_cast<uint8_t>(at / 2)), at += 2;
  if (n & 1) e.vpinsrb(x, x, e.ptr[m + disp(at)], static_cast<uint8_t>(at));
}

// n bytes, 1..32, to register d (ymm when more than 16).
void load_bytes(VectorEmitter& e, int d, int scratch, const RegExp& m, int n) {
  if (n == 32) {
    e.vmovups(e.y(d), e.ptr[m]);
    return;
  }
  load_bytes16(e, d, m, n < 16 ? n : 16);
  if (n <= 16) return;
  load_bytes16(e, scratch, m + 16, n - 16);
  e.vinsertf128(e.y(d), e.y(d), e.x(scratch), 1);
}

// n bytes of xmm s from byte `base` on.
void store_bytes16(VectorEmitter& e, const RegExp& m, int s, int base, int n) {
  const auto x = e.x(s);
  if (n == 16) {
    e.vmovups(e.ptr[m], x);
    return;
  }
  int at = 0;
  if (n & 8) {
    if (base == 0)
      e.vmovq(e.ptr[m], x);
    else
      e.vmovhps(e.ptr[m], x);
    at = 8;
  }
  const auto index = [&](int size) { return static_cast<uint8_t>((base + at) / size); };
  if (n & 4) {
    if (index(4) == 0)
      e.vmovd(e.ptr[m + disp(at)], x);
    else
      e.vpextrd(e.ptr[m + disp(at)], x, index(4));
    at += 4;
  }
  if (n & 2) e.vpextrw(e.ptr[m + disp(at)], x, index(2)), at += 2;
  if (n & 1) e.vpextrb(e.ptr[m + disp(at)], x, index(1));
}

class TransposeGenerator {
 public:
  TransposeGenerator(VectorEmitter& emitter, const TransposeForm& form) : e(emitter), form_(form) {}

  void generate() {
    Xbyak::Label block, tile, rest, done;
    const int width = transpose_tile_width(form_.element);
    e.mov(e.r8, field(offsetof(TransposeCall, x_stride)));
    e.lea(e.r9, e.ptr[e.r8 + e.r8 * 2]);
    e.lea(e.r10, e.ptr[e.r8 + e.r8 * 4]);
    e.lea(e.r11, e.ptr[e.r9 + e.r8 * 4]);
    if (packs_triples()) {  // bytes 0 1 2, 4 5 6, 8 9 10, 12 13 14
      e.mov(e.rax, uint64_t{0x0908060504020100});
      e.vmovq(e.x(kTriples), e.rax);
      e.mov(e.rax, uint64_t{0x808080800e0d0c0a});
      e.vpinsrq(e.x(kTriples), e.x(kTriples), e.rax, 1);
    }
    e.mov(e.rax, field(offsetof(TransposeCall, y_stride)));
    e.L(block);
    e.mov(e.rsi, field(offsetof(TransposeCall, x)));
    e.mov(e.rdx, field(offsetof(TransposeCall, y)));
    e.mov(e.rcx, field(offsetof(TransposeCall, tiles)));
    e.test(e.rcx, e.rcx);
    e.jz(rest);
    e.L(tile);
    one_tile(width);
    e.add(e.rsi, imm(width * form_.element));
    e.dec(e.rcx);
    e.jnz(tile);
    e.L(rest);
    if (form_.rest > 0) {
      e.cmp(e.dword[e.rdi + offsetof(TransposeCall, with_rest)], 0);
      e.jz(done);
      one_tile(form_.rest);
    }
    e.L(done);
    e.imul(e.rcx, e.r8, form_.a_count);
    e.add(e.qword[e.rdi + offsetof(TransposeCall, x)], e.rcx);
    e.add(e.qword[e.rdi + offsetof(TransposeCall, y)], imm(form_.a_count * form_.element));
    e.dec(e.qword[e.rdi + offsetof(TransposeCall, blocks)]);
    e.jnz(block);
    e.vzeroupper();
    e.ret();
  }

 private:
  Xbyak::Address field(size_t at) const { return e.ptr[e.rdi + at]; }

  RegExp source_line(int a) const {
    const RegExp lines[] = {e.rsi,         e.rsi + e.r8,     e.rsi + e.r8 * 2, e.rsi + e.r9, e.rsi + e.r8 * 4,
                            e.rsi + e.r10, e.rsi + e.r9 * 2, e.rsi + e.r11};
    return lines[a];
  }

  void one_tile(int width) {
    for (int a = 0; a < form_.a_count; ++a) load_bytes(e, a, 8, source_line(a), width * form_.element);
    if (form_.element == 4)
      words(width);
    else
      bytes(width);
  }

  void words(int width) {
    for (int i = 0; i < 8; i += 2) {
      e.vunpcklps(e.y(8 + i), e.y(i), e.y(i + 1));
      e.vunpckhps(e.y(9 + i), e.y(i), e.y(i + 1));
    }
    for (int half = 0; half < 8; half += 4)  // lines 0-3, then 4-7: registers half+j hold columns j and j + 4
      for (int j = 0; j < 4; j += 2) {
        const auto upper = e.y(8 + half + j / 2), lower = e.y(10 + half + j / 2);
        e.vunpcklpd(e.y(half + j), upper, lower);
        e.vunpckhpd(e.y(half + j + 1), upper, lower);
      }
    for (int b = 0; b < width; ++b) {
      const int j = b % 4, d = 8;
      if (form_.a_count <= 4) {
        if (b < 4) {
          store_line(j, 0, b, width);
        } else {
          e.vextractf128(e.x(d), e.y(j), 1);
          store_line(d, 0, b, width);
        }
      } else {
        e.vperm2f128(e.y(d), e.y(j), e.y(4 + j), b < 4 ? 0x20 : 0x31);
        store_line(d, 0, b, width);
      }
    }
  }

  void bytes(int width) {
    using V = VectorEmitter;
    using Op = void (V::*)(const Xbyak::Xmm&, const Xbyak::Xmm&, const Xbyak::Operand&);
    const auto pair = [&](Op low, Op high, int from, int other, int to) {
      (e.*low)(e.x(to), e.x(from), e.x(other));
      (e.*high)(e.x(to + 1), e.x(from), e.x(other));
    };
    const int lines = form_.a_count <= 4 ? 4 : 8;
    for (int i = 0; i < lines; i += 2)
      pair(&V::vpunpcklbw, &V::vpunpckhbw, i, i + 1, 8 + i);  // 8: columns 0-7, 9: 8-15 of lines i, i+1
    for (int half = 0; half < lines / 4; ++half)              // lines 0-3 to registers 0..3, 4-7 to 4..7, four columns each
      for (int side = 0; side < 2; ++side)
        pair(&V::vpunpcklwd, &V::vpunpckhwd, 8 + 4 * half + side, 10 + 4 * half + side, 4 * half + 2 * side);
    if (packs_triples() && width % 4 == 0) {
      for (int b = 0; b < width; b += 4) store_triples(b / 4, b + 4 == width);
      return;
    }
    if (form_.a_count <= 4) {
      for (int b = 0; b < width; ++b) store_line(b / 4, b % 4 * 4, b, width);
      return;
    }
    for (int i = 0; i < 4; ++i) pair(&V::vpunpckldq, &V::vpunpckhdq, i, 4 + i, 8 + 2 * i);  // two columns each
    for (int b = 0; b < width; ++b) store_line(8 + b / 2, b % 2 * 8, b, width);
  }

  // The pixels of a colour image: four columns of three bytes are moved together.
  bool packs_triples() const { return form_.element == 1 && form_.a_count == 3 && form_.dense; }
  static constexpr int kTriples = 15;

  void store_triples(int s, bool last) {
    e.vpshufb(e.x(s), e.x(s), e.x(kTriples));
    if (last)
      store_bytes16(e, e.rdx, s, 0, 12);
    else
      e.vmovups(e.ptr[e.rdx], e.x(s));
    e.add(e.rdx, 12);
  }

  // Column b from byte `base` of register s; y moves on by a line.
  void store_line(int s, int base, int b, int width) {
    const int exact = form_.a_count * form_.element;
    const int spilled = static_cast<int>(std::bit_ceil(static_cast<unsigned>(exact)));
    const bool spill = form_.dense && b * exact + spilled <= width * exact;
    const int n = spill ? spilled : exact;
    if (n == 32) {
      e.vmovups(e.ptr[e.rdx], e.y(s));
    } else {
      store_bytes16(e, e.rdx, s, base, n < 16 ? n : 16);
      if (n > 16) {
        e.vextractf128(e.x(s), e.y(s), 1);
        store_bytes16(e, e.rdx + 16, s, 0, n - 16);
      }
    }
    e.add(e.rdx, e.rax);
  }

  VectorEmitter& e;
  TransposeForm form_;
};

}  // namespace

void emit_transpose(VectorEmitter& e, const TransposeForm& form) {
  assert(form.element == 4 || form.element == 1);
  assert(form.a_count >= 1 && form.a_count <= kTransposeLines && form.rest < transpose_tile_width(form.element));
  TransposeGenerator(e, form).generate();
}

}  // namespace octet::kernels
