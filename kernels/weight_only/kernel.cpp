#include "kernels/weight_only/kernel.h"

#include <cassert>
#include <cstddef>
#include <vector>

#include "kernels/prefetch.h"

namespace octet::kernels {
namespace {

constexpr int kDigits = 3;

bool has_vnni(const Isa& isa) { return isa.dot != DotKind::maddubs; }

class Generator {
 public:
  Generator(VectorEmitter& e, const WeightOnlyForm& form) : e_(e), form_(form), vnni_(has_vnni(e.isa())) {
    // As many chains as two vpdpbusd a cycle of latency 5 need: steps take sets of sums in turn. Blocks of one round are
    // short and independent, and the core runs several of them at once.
    constexpr int kChains = 12;
    const auto fits = [&](int sets) {
      return sets * kDigits * form.rows <= kChains && (sets * kDigits + 1) * form.rows + 3 <= e.isa().vector_count;
    };
    while (vnni_ && !form.one_round && fits(2 * sets_)) sets_ *= 2;
    assert((vnni_ ? element() : ones()) < e.isa().vector_count);
  }

  void emit() {
    load_arguments();
    for (int row = 0; row < form_.rows; ++row) e_.zero(total(row));
    if (!vnni_) e_.vmovups(e_.v(ones()), e_.constant_bits(0x00010001u));
    Xbyak::Label block, round;
    e_.L(block);
    begin_sums();
    if (!form_.one_round) e_.mov(e_.rax, field(offsetof(WeightOnlyCall, rounds)));
    e_.L(round);
    emit_round();
    if (!form_.one_round) {
      e_.dec(e_.rax);
      e_.jnz(round, Xbyak::CodeGenerator::T_NEAR);
    }
    emit_join();
    e_.dec(e_.r9);
    e_.jnz(block, Xbyak::CodeGenerator::T_NEAR);
    emit_store();
    e_.vzeroupper();
    e_.ret();
  }

 private:
  int sum(int row, int digit, int set = 0) const { return kDigits * (form_.rows * set + row) + digit; }
  int total(int row) const { return sets_ * kDigits * form_.rows + row; }
  int short_sum(int row, int digit) const { return (kDigits + 1) * form_.rows + sum(row, digit); }  // vpmaddubsw: one set
  int dwords() const { return ((vnni_ ? sets_ * kDigits : 2 * kDigits) + 1) * form_.rows; }
  int weight() const { return dwords() + 1; }
  int element() const { return dwords() + 2; }
  int ones() const { return dwords() + 3; }               // vpmaddubsw
  int halves() const { return form_.bits == 4 ? 2 : 1; }  // steps of four k a dword
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
    e_.mov(e_.rcx, field(offsetof(WeightOnlyCall, owed)));
    e_.mov(e_.r11, field(offsetof(WeightOnlyCall, owed_row)));
    e_.mov(e_.r9, field(offsetof(WeightOnlyCall, blocks)));
  }

  // The first set starts at what x owes the common zero point, the others at 0.
  void begin_sums() {
    const int own = form_.zeros ? 0 : kDigits * form_.rows;
    for (int i = own; i < sets_ * kDigits * form_.rows; ++i) e_.zero(i);
    if (form_.zeros) return;
    e_.mov(e_.rax, e_.rcx);
    for (int row = 0; row < form_.rows; ++row) {
      if (row > 0) e_.add(e_.rax, e_.r11);
      for (int digit = 0; digit < kDigits; ++digit) e_.vpbroadcastd(e_.v(sum(row, digit)), e_.ptr[e_.rax + disp(4 * digit)]);
    }
  }

  // The four weights of every dword times four k of each row; `fresh`: the int16 sums start here.
  void multiply(int w, int step, bool fresh) {
    for (int row = 0; row < form_.rows; ++row)
      for (int digit = 0; digit < kDigits; ++digit) {
        const Xbyak::RegExp at = x_row(row) + disp(4 * (kDigits * step + digit));
        if (vnni_ && e_.zmm()) {
          e_.dot_u8s8(e_.v(sum(row, digit, step % sets_)), e_.v(w), e_.ptr_b[at]);
          continue;
        }
        e_.vpbroadcastd(e_.v(element()), e_.ptr[at]);
        if (vnni_) {
          e_.dot_u8s8(e_.v(sum(row, digit, step % sets_)), e_.v(w), e_.v(element()));
        } else if (fresh) {
          e_.vpmaddubsw(e_.v(short_sum(row, digit)), e_.v(w), e_.v(element()));
        } else {
          e_.vpmaddubsw(e_.v(element()), e_.v(w), e_.v(element()));
          e_.vpaddw(e_.v(short_sum(row, digit)), e_.v(short_sum(row, digit)), e_.v(element()));
        }
      }
  }

  // The int16 sums to int32, times 1, or 16 for upper halves of bytes.
  void carry(bool upper) {
    for (int row = 0; row < form_.rows; ++row)
      for (int digit = 0; digit < kDigits; ++digit) {
        const Xbyak::Xmm t = e_.v(short_sum(row, digit)), acc = e_.v(sum(row, digit));
        if (upper)
          e_.vpmaddwd(t, t, e_.constant_bits(0x00100010u));
        else
          e_.vpmaddwd(t, t, e_.v(ones()));
        e_.vpaddd(acc, acc, t);
      }
  }

  Xbyak::Address mask() { return e_.constant_bits(0x0f0f0f0fu); }
  void lower_half() { e_.bit_and(e_.v(weight()), e_.v(dwords()), mask()); }
  void upper_half() {
    e_.vpsrld(e_.v(weight()), e_.v(dwords()), 4);
    e_.bit_and(e_.v(weight()), e_.v(weight()), mask());
  }

  void load_dwords(int group) {
    const int width = e_.vector_bytes();
    e_.load(e_.v(dwords()), e_.r8 + disp(group * width));
    if (group % (64 / width) == 0) e_.prefetcht0(e_.ptr[e_.r8 + disp(group * width) + kStreamAhead]);
  }

  // 15 * 128 * 2 a step: eight fit into int16.
  static constexpr int kStepsInShort = 8;

  // Every step of the round; `half` 0 and 1 for 4 bits, and for the halves of 8 bits one pass each.
  void emit_steps(const std::vector<int>& halves_of_bytes, bool whole_bytes) {
    int step = 0, held = 0;
    const bool upper_only = halves_of_bytes.size() == 1 && halves_of_bytes[0] == 1;
    for (int group = 0; group < form_.groups; ++group) {
      load_dwords(group);
      for (const int half : halves_of_bytes) {
        if (!whole_bytes) half == 0 ? lower_half() : upper_half();
        multiply(whole_bytes ? dwords() : weight(), step++, held == 0);
        if (++held == kStepsInShort && !vnni_) carry(upper_only), held = 0;
      }
    }
    if (held > 0 && !vnni_) carry(upper_only);
  }

  void emit_round() {
    if (form_.bits == 4) {
      emit_steps({0, 1}, false);
    } else if (vnni_) {
      emit_steps({0}, true);
    } else {
      emit_steps({0}, false);
      emit_steps({1}, false);
    }
    e_.add(e_.r8, static_cast<uint32_t>(form_.groups * e_.vector_bytes()));
    e_.add(e_.rsi, static_cast<uint32_t>(form_.groups * halves() * 4 * kDigits));
  }

  void emit_join() {
    const int width = e_.vector_bytes(), zero = dwords(), scale = weight();
    if (form_.zeros) e_.load_u8(e_.v(zero), e_.r8 + disp(width));
    e_.load(e_.v(scale), e_.r8);
    e_.mov(e_.rax, e_.rcx);
    for (int set = 1; set < sets_; ++set)
      for (int i = 0; i < kDigits * form_.rows; ++i) e_.vpaddd(e_.v(i), e_.v(i), e_.v(i + set * kDigits * form_.rows));
    for (int row = 0; row < form_.rows; ++row) {
      if (row > 0) e_.add(e_.rax, e_.r11);
      for (int digit = 0; digit < kDigits; ++digit) {
        const Xbyak::Xmm s = e_.v(sum(row, digit));
        if (form_.zeros) {
          e_.vpbroadcastd(e_.v(element()), e_.ptr[e_.rax + disp(4 * digit)]);
          e_.vpmulld(e_.v(element()), e_.v(element()), e_.v(zero));
          e_.vpaddd(s, s, e_.v(element()));
        }
        e_.vcvtdq2ps(s, s);
      }
      e_.vfmadd231ps(e_.v(sum(row, 0)), e_.v(sum(row, 1)), e_.constant(256.0f));
      e_.vfmadd231ps(e_.v(sum(row, 0)), e_.v(sum(row, 2)), e_.constant(65536.0f));
      e_.broadcast(e_.v(element()), e_.ptr[e_.rax + disp(4 * kDigits)]);
      e_.vmulps(e_.v(sum(row, 0)), e_.v(sum(row, 0)), e_.v(element()));
      e_.vfmadd231ps(e_.v(total(row)), e_.v(sum(row, 0)), e_.v(scale));
    }
    e_.add(e_.r8, static_cast<uint32_t>(width + (form_.zeros ? e_.lanes() : 0)));
    e_.add(e_.rcx, static_cast<uint32_t>(sizeof(DigitBlock)));
  }

  void emit_store() {
    e_.mov(e_.r8, field(offsetof(WeightOnlyCall, y)));
    if (form_.tail) {
      e_.mov(e_.rcx, field(offsetof(WeightOnlyCall, columns)));
      e_.begin_tail(e_.rcx, element(), e_.rax);
    }
    if (form_.bias) e_.mov(e_.rsi, field(offsetof(WeightOnlyCall, bias)));
    for (int row = 0; row < form_.rows; ++row) {
      if (form_.bias) e_.vaddps(e_.v(total(row)), e_.v(total(row)), e_.ptr[e_.rsi]);
      if (form_.tail)
        e_.store_tail(e_.r8, total(row), e_.rcx, e_.rax);
      else
        e_.store(e_.r8, e_.v(total(row)));
      if (row + 1 < form_.rows) e_.add(e_.r8, field(offsetof(WeightOnlyCall, y_row)));
    }
  }

  VectorEmitter& e_;
  const WeightOnlyForm form_;
  const bool vnni_;
  int sets_ = 1;
};

}  // namespace

int weight_only_rows(const Isa& isa) { return isa.zmm() ? (has_vnni(isa) ? 5 : 3) : has_vnni(isa) ? 3 : 1; }

std::shared_ptr<const Code> weight_only_code(const Isa& isa, const WeightOnlyForm& form) {
  CodeKey key("weight only");
  key.add(has_vnni(isa))
      .add(form.rows)
      .add(form.bits)
      .add(form.groups)
      .add(form.one_round)
      .add(form.zeros)
      .add(form.bias)
      .add(form.tail);
  return vector_code(isa, key, [&](VectorEmitter& e) { Generator(e, form).emit(); });
}

}  // namespace octet::kernels
