#include "kernels/weight_only/kernel.h"

#include <cassert>
#include <cstddef>

namespace octet::kernels {
namespace {

class Generator {
 public:
  Generator(VectorEmitter& e, const WeightOnlyForm& form) : e_(e), form_(form) { assert(element() < e.isa().vector_count); }

  void emit() {
    load_arguments();
    for (int row = 0; row < form_.rows; ++row) e_.zero(sum(row));
    Xbyak::Label block, round;
    e_.L(block);
    for (int i = 0; i < 4 * form_.rows; ++i) e_.zero(i);
    e_.mov(e_.rax, field(offsetof(WeightOnlyCall, rounds)));
    e_.L(round);
    emit_round();
    e_.dec(e_.rax);
    e_.jnz(round, Xbyak::CodeGenerator::T_NEAR);
    emit_join();
    e_.dec(e_.r9);
    e_.jnz(block, Xbyak::CodeGenerator::T_NEAR);
    emit_store();
    e_.vzeroupper();
    e_.ret();
  }

 private:
  int chain(int row, int c) const { return 4 * row + c; }
  int sum(int row) const { return 4 * form_.rows + row; }
  int dwords() const { return 5 * form_.rows; }
  int weight() const { return dwords() + 1; }
  int element() const { return dwords() + 2; }
  int per_dword() const { return 32 / form_.bits; }
  Xbyak::Address field(size_t at) const { return e_.qword[e_.rdi + at]; }
  // Row `row` of x, whose rows lie rdx apart.
  Xbyak::RegExp x_row(int row) const {
    switch (row) {
      case 0: return e_.rsi;
      case 1: return e_.rsi + e_.rdx;
      case 2: return e_.rsi + e_.rdx * 2;
      case 3: return e_.rsi + e_.r10;
      default: return e_.rsi + e_.rdx * 4;
    }
  }

  void load_arguments() {
    e_.mov(e_.rsi, field(offsetof(WeightOnlyCall, x)));
    e_.mov(e_.rdx, field(offsetof(WeightOnlyCall, x_row)));
    e_.lea(e_.r10, e_.ptr[e_.rdx + e_.rdx * 2]);
    e_.mov(e_.r8, field(offsetof(WeightOnlyCall, b)));
    e_.mov(e_.rcx, field(offsetof(WeightOnlyCall, sums)));
    e_.mov(e_.r11, field(offsetof(WeightOnlyCall, sums_row)));
    e_.mov(e_.r9, field(offsetof(WeightOnlyCall, blocks)));
  }

  void multiply(int k, int c) {
    for (int row = 0; row < form_.rows; ++row) {
      const Xbyak::RegExp at = x_row(row) + disp(4 * k);
      if (e_.zmm()) {
        e_.vfmadd231ps(e_.v(chain(row, c)), e_.v(weight()), e_.ptr_b[at]);
      } else {
        e_.vbroadcastss(e_.v(element()), e_.ptr[at]);
        e_.vfmadd231ps(e_.v(chain(row, c)), e_.v(weight()), e_.v(element()));
      }
    }
  }

  void emit_round() {
    const int width = e_.vector_bytes();
    const uint32_t low = (1u << form_.bits) - 1;
    constexpr int kAhead = 2048;  // bytes of weights fetched before their use
    for (int g = 0; g < form_.groups; ++g) {
      e_.load(e_.v(dwords()), e_.r8 + disp(g * width));
      if (g % (64 / width) == 0) e_.prefetcht0(e_.ptr[e_.r8 + disp(g * width + kAhead)]);
      for (int half = 0; half < (form_.bits == 4 ? 2 : 1); ++half) {
        if (half == 1) e_.vpsrld(e_.v(dwords()), e_.v(dwords()), 16);
        for (int c = 0; c < 4; ++c) {
          if (form_.bits == 8 && c == 3)
            e_.vpsrld(e_.v(weight()), e_.v(dwords()), 24);
          else
            e_.bit_and(e_.v(weight()), e_.v(dwords()), e_.constant_bits(low << (form_.bits * c)));
          e_.vcvtdq2ps(e_.v(weight()), e_.v(weight()));
          multiply(g * per_dword() + 4 * half + c, c);
        }
      }
    }
    e_.add(e_.r8, static_cast<uint32_t>(form_.groups * width));
    e_.add(e_.rsi, static_cast<uint32_t>(form_.groups * per_dword() * 4));
  }

  // s = fma(chain1, 1/u1, chain0) + fma(chain3, 1/u3, chain2 / u2), less zero * block sum; y = fma(s, scale, y).
  void emit_join() {
    const auto inverse = [&](int c) { return e_.constant(1.0f / weight_unit(form_.bits, c)); };
    const int width = e_.vector_bytes(), zero = dwords(), scale = weight();
    if (form_.zeros) {
      e_.load_u8(e_.v(zero), e_.r8 + disp(width));
      e_.vcvtdq2ps(e_.v(zero), e_.v(zero));
    } else {
      e_.load_constant(e_.v(zero), static_cast<float>(1 << (form_.bits - 1)));
    }
    e_.load(e_.v(scale), e_.r8);
    e_.mov(e_.rax, e_.rcx);
    for (int row = 0; row < form_.rows; ++row) {
      const Xbyak::Xmm c0 = e_.v(chain(row, 0)), c1 = e_.v(chain(row, 1)), c2 = e_.v(chain(row, 2)),
                       c3 = e_.v(chain(row, 3));
      e_.vfmadd231ps(c0, c1, inverse(1));
      e_.vmulps(c2, c2, inverse(2));
      e_.vfmadd231ps(c2, c3, inverse(3));
      e_.vaddps(c0, c0, c2);
      if (row > 0) e_.add(e_.rax, e_.r11);
      e_.broadcast(c1, e_.ptr[e_.rax]);
      e_.vfnmadd231ps(c0, c1, e_.v(zero));
      e_.vfmadd231ps(e_.v(sum(row)), c0, e_.v(scale));
    }
    e_.add(e_.r8, static_cast<uint32_t>(width + (form_.zeros ? e_.lanes() : 0)));
    e_.add(e_.rcx, 4);
  }

  void emit_store() {
    e_.mov(e_.r8, field(offsetof(WeightOnlyCall, y)));
    const int mask = element();
    if (form_.tail) {
      e_.mov(e_.rcx, field(offsetof(WeightOnlyCall, columns)));
      e_.begin_tail(e_.rcx, mask, e_.rax);
    }
    if (form_.bias) e_.mov(e_.rsi, field(offsetof(WeightOnlyCall, bias)));
    for (int row = 0; row < form_.rows; ++row) {
      if (form_.bias) e_.vaddps(e_.v(sum(row)), e_.v(sum(row)), e_.ptr[e_.rsi]);
      if (form_.tail)
        e_.store_tail(e_.r8, sum(row), e_.rcx, e_.rax);
      else
        e_.store(e_.r8, e_.v(sum(row)));
      if (row + 1 < form_.rows) e_.add(e_.r8, field(offsetof(WeightOnlyCall, y_row)));
    }
  }

  VectorEmitter& e_;
  const WeightOnlyForm form_;
};

}  // namespace

int weight_only_rows(const Isa& isa) { return isa.zmm() ? 5 : 2; }

std::shared_ptr<const Code> weight_only_code(const Isa& isa, const WeightOnlyForm& form) {
  CodeKey key("weight only");
  key.add(form.rows).add(form.bits).add(form.groups).add(form.zeros).add(form.bias).add(form.tail);
  return vector_code(isa, key, [&](VectorEmitter& e) { Generator(e, form).emit(); });
}

}  // namespace octet::kernels
