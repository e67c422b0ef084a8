// The strip kernel over blocks of 64 channels: every byte of every vpdpbusd works, and nothing is permuted.
//
//   for col block in ow / cols, then the tail columns:        for the tail channels: the same, or `copies` col blocks at
//   once
//     for 64 channels:
//       for group in schedule:                                4 pixels a b c d, 64 bytes each
//         vpunpck{l,h}bw (a, b), (c, d); vpunpck{l,h}wd       4 vectors whose dwords are (a, b, c, d) of one channel
//         for use in group, plane: accumulators[use][q] += vector q * weights[use.tuple][plane][q]
//       epilogue of every pixel
//
// Unpacking and the two saturating packs of a u8 epilogue are each other's inverse, so accumulators stay in interleaved
// order (kernels/jit/epilogue_emitter.h) all the way. Other epilogues see them transposed to channel order.
//
// Up to 16 (32) tail channels would leave three quarters (half) of a vector empty: then each 16 (32) bytes of a vector
// belong to another block of output columns, `cols` apart, loaded by insertion and stored by extraction. The last vector of
// a row is moved left to end with the row; what it computes again is the same.
//
// zmm   0 .. 4*rows*cols-1 accumulators [row][col][q], at most 24 | 24-27 pixels, then data | 28, 29 temporaries | 30, 31
// the range, where one is kept
// rax x of the column block   rbx y   rbp residual   r8 weights   r9, r10 weights, parameters of the 64 channels   rcx
// channel rdx, r11, r12 x, y, residual at the channel   r13 channel blocks left   r14 column blocks left   r15 epilogue
// constants rdi temporary   [rsp] StripArgs
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <numeric>

#include "kernels/depthwise/generator.h"
#include "kernels/jit/assembler.h"
#include "kernels/jit/range_emitter.h"

namespace octet::kernels::depthwise {
namespace {

using Xbyak::Address;
using Xbyak::Label;
using Xbyak::Reg64;
using Xbyak::Xmm;
using Xbyak::Ymm;
using Xbyak::Zmm;

constexpr int kVectors = 4;  // a pixel
constexpr int kFirstData = 24, kFirstRange = 30;

class WideGenerator : public Assembler {
 public:
  WideGenerator(const Isa& isa, const Spec& spec, const Plan& plan) : Assembler(isa), spec_(spec), plan_(plan) { emit(); }

 private:
  int y_bytes() const { return spec_.epilogue.out == DType::u8 ? 1 : 4; }
  int residual_bytes() const {
    const ResidualKind kind = spec_.epilogue.residual;
    return kind == ResidualKind::none ? 0 : kind == ResidualKind::f32 ? 4 : 1;
  }
  // Vectors before tuple t, planes included.
  int64_t vectors_before(size_t t) const {
    return kVectors * std::accumulate(spec_.planes.begin(), spec_.planes.begin() + static_cast<int64_t>(t), int64_t{0});
  }
  int64_t block_bytes() const { return vectors_before(spec_.planes.size()) * kTupleBytes; }
  static constexpr int64_t kParamBytes = kVectors * static_cast<int64_t>(sizeof(ChannelParams));

  Address arg(size_t offset) { return ptr[rdi + offset]; }
  void move(const Reg64& pointer, int64_t bytes) { lea(pointer, at(pointer, bytes)); }
  void next_columns(int cols) {
    move(rax, cols * plan_.window.stride_w * spec_.x_pixel);
    move(rbx, cols * spec_.y_pixel);
    if (residual_bytes() > 0) move(rbp, cols * spec_.r_pixel);
  }

  void emit() {
    const Reg64 saved[] = {rbx, rbp, r12, r13, r14, r15};
    for (const Reg64& r : saved) push(r);
    sub(rsp, 24);
    mov(ptr[rsp], rdi);
    mov(r15, arg(offsetof(StripArgs, constants)));
    if (spec_.epilogue.keeps_range) load_range(*this, range());
    Label tail, done;
    cmp(qword[rdi + offsetof(StripArgs, blocks)], 0);
    je(tail, T_NEAR);
    columns([&](int cols) { whole_blocks(cols); });
    L(tail);
    if (spec_.tail_channels > 0) {
      mov(rdi, ptr[rsp]);
      cmp(qword[rdi + offsetof(StripArgs, tail)], 0);
      je(done, T_NEAR);
      to_tail_channels();
      if (spec_.copies > 1)
        copied_columns();
      else
        columns([&](int cols) { block(cols, spec_.tail_channels, 1); });
    }
    L(done);
    if (spec_.epilogue.keeps_range) store_range(*this, range());
    add(rsp, 24);
    for (size_t i = std::size(saved); i-- > 0;) pop(saved[i]);
    vzeroupper();
    ret();
  }

  void to_first_column(size_t count) {
    mov(rdi, ptr[rsp]);
    mov(rax, arg(offsetof(StripArgs, x)));
    mov(rbx, arg(offsetof(StripArgs, y)));
    mov(rbp, arg(offsetof(StripArgs, residual)));
    mov(r14, arg(count));
  }

  template <class F>
  void columns(F body) {
    to_first_column(offsetof(StripArgs, col_blocks));
    Label next, tail;
    test(r14, r14);
    jz(tail, T_NEAR);
    align(16);
    L(next);
    body(spec_.cols);
    next_columns(spec_.cols);
    dec(r14);
    jnz(next, T_NEAR);
    L(tail);
    if (spec_.tail_cols > 0) body(spec_.tail_cols);
  }

  void copied_columns() {
    to_first_column(offsetof(StripArgs, copy_blocks));
    Label next, last, end;
    align(16);
    L(next);
    block(spec_.cols, spec_.tail_channels, spec_.copies);
    dec(r14);
    jz(end, T_NEAR);
    cmp(r14, 1);
    je(last);
    next_columns(spec_.cols * spec_.copies);
    jmp(next, T_NEAR);
    L(last);
    next_columns(spec_.copy_step);
    jmp(next, T_NEAR);
    L(end);
  }

  void whole_blocks(int cols) {
    mov(rdi, ptr[rsp]);
    mov(rcx, arg(offsetof(StripArgs, channel)));
    mov(r9, arg(offsetof(StripArgs, weights)));
    mov(r10, arg(offsetof(StripArgs, params)));
    mov(r13, arg(offsetof(StripArgs, blocks)));
    Label next;
    align(16);
    L(next);
    block(cols, kWideBlockChannels, 1);
    add(rcx, kWideBlockChannels);
    move(r9, block_bytes());
    move(r10, kParamBytes);
    dec(r13);
    jnz(next, T_NEAR);
  }

  void to_tail_channels() {
    mov(r13, arg(offsetof(StripArgs, blocks)));
    imul(rcx, r13, kWideBlockChannels);
    add(rcx, arg(offsetof(StripArgs, channel)));
    imul(r9, r13, static_cast<int>(block_bytes()));
    add(r9, arg(offsetof(StripArgs, weights)));
    imul(r10, r13, static_cast<int>(kParamBytes));
    add(r10, arg(offsetof(StripArgs, params)));
  }

  int accumulator(int r, int c, int q) const { return (r * cols_ + c) * kVectors + q; }
  bool interleaved() const { return spec_.epilogue.interleaved; }

  void block(int cols, int channels, int copies) {
    cols_ = cols;
    channels_ = channels;
    copies_ = copies;
    period_ = wide_period(channels);
    lea(rdx, ptr[rax + rcx]);
    start_all();
    for (const Group& group : plan_.schedule(spec_.rows, cols).groups) {
      load_group(group);
      for (const Use& use : group.uses) {
        const auto tuple = static_cast<size_t>(use.tuple);
        const int64_t first = vectors_before(tuple);
        for (int i = 0; i < spec_.planes[tuple] * kVectors; ++i)
          dot_u8s8(v(accumulator(use.row, use.col, i % kVectors)), v(data_[i % kVectors]),
                   at(r9, (first + i) * kTupleBytes));
      }
    }
    lea(r11, ptr[rbx + rcx * y_bytes()]);
    if (residual_bytes() > 0) lea(r12, ptr[rbp + rcx * residual_bytes()]);
    if (interleaved())
      store_interleaved();
    else
      store_in_order();
  }

  // One load a vector; copies of registers cost no port.
  void start_all() {
    for (int a = 0; a < spec_.rows * cols_ * kVectors; ++a) {
      if (!interleaved())
        zero(a);
      else if (a < kVectors)
        vmovups(v(a), param(offsetof(ChannelParams, int_bias), a));
      else
        vmovaps(v(a), v(a % kVectors));
    }
  }

  void load_pixel(int reg, const Pixel& p) {
    const int64_t from = p.row * spec_.x_row + p.col * spec_.x_pixel;
    const int64_t copy = cols_ * plan_.window.stride_w * spec_.x_pixel;
    if (copies_ == 1) return vmovdqu32(Zmm(reg), at(rdx, from));
    if (period_ == 32) {
      vmovdqu32(Ymm(reg), at(rdx, from));
      return vinserti64x4(Zmm(reg), Zmm(reg), at(rdx, from + copy), 1);
    }
    vmovdqu32(Xmm(reg), at(rdx, from));
    for (int i = 1; i < copies_; ++i) vinserti32x4(Zmm(reg), Zmm(reg), at(rdx, from + i * copy), static_cast<uint8_t>(i));
  }

  // data_[q]: channels of interleaved cell q. Pixels that repeat another of the group are not read by any tuple.
  void load_group(const Group& group) {
    const Zmm a(kFirstData), b(kFirstData + 1), c(kFirstData + 2), d(kFirstData + 3), t(kFirstData + 4), u(kFirstData + 5);
    const Pixel* p = group.pixels.data();
    const auto pair = [&](const Pixel& first, const Pixel& second, const Zmm& low, const Zmm& high) {
      load_pixel(c.getIdx(), first);
      if (first == second) {
        vpunpcklbw(low, c, c);
        vpunpckhbw(high, c, c);
        return;
      }
      load_pixel(d.getIdx(), second);
      vpunpcklbw(low, c, d);
      vpunpckhbw(high, c, d);
    };
    pair(p[0], p[1], a, b);
    const bool half = p[2] == p[3] && (p[2] == p[0] || p[2] == p[1]);
    if (!half) pair(p[2], p[3], t, u);
    const Zmm &low = half ? a : t, &high = half ? b : u;
    vpunpckhwd(c, a, low);
    vpunpcklwd(a, a, low);
    vpunpckhwd(d, b, high);
    vpunpcklwd(b, b, high);
  }

  EpilogueRegisters epilogue_registers() {
    EpilogueRegisters registers{.params = r10, .constants = r15, .scratch = edi, .temps = {}, .opmask = 1};
    for (int i = kFirstData; i < (spec_.epilogue.keeps_range ? kFirstRange : isa().vector_count); ++i)
      registers.temps.push_back(i);
    if (spec_.epilogue.keeps_range) registers.least = range().least, registers.most = range().most;
    return registers;
  }
  RangeRegisters range() const { return {r15, {}, {kFirstRange}, {kFirstRange + 1}, spec_.epilogue.range_of_most}; }

  Address param(size_t field, int q) {
    return at(r10, q * static_cast<int64_t>(sizeof(ChannelParams)) + static_cast<int64_t>(field));
  }

  void store_interleaved() {
    std::vector<EpilogueCell> cells;
    for (int r = 0; r < spec_.rows; ++r)
      for (int c = 0; c < cols_; ++c)
        for (int q = 0; q < kVectors; ++q) {
          const int copy = q * 16 / period_, first = q * 16 % period_;
          const int valid = copies_ == 1 ? channels_ - 16 * q : copy < copies_ ? channels_ - first : 0;
          const int64_t shift = copies_ == 1 ? 0 : copy * (cols_ * spec_.y_pixel - period_);
          cells.push_back({.reg = accumulator(r, c, q),
                           .column = 16 * q,
                           .valid = std::clamp(valid, 0, 16),
                           .y = {r11, r * spec_.y_row + c * spec_.y_pixel + shift},
                           .residual = {r12, 0}});
        }
    EpilogueForm form = spec_.epilogue;
    if (form.offset_sum) form = emit_offset_values(*this, form, epilogue_registers(), cells);
    emit_epilogue(*this, form, epilogue_registers(), cells);
  }

  // Cell q becomes channels 16q .. 16q+15: a transposition of 128-bit lanes.
  void store_in_order() {
    assert(copies_ == 1);
    std::vector<EpilogueCell> cells;
    for (int r = 0; r < spec_.rows; ++r)
      for (int c = 0; c < cols_; ++c) {
        const auto acc = [&](int q) { return Zmm(accumulator(r, c, q)); };
        const auto t = [](int i) { return Zmm(kFirstData + i); };
        for (int i = 0; i < 2; ++i) {
          vshufi32x4(t(2 * i), acc(2 * i), acc(2 * i + 1), 0x44);
          vshufi32x4(t(2 * i + 1), acc(2 * i), acc(2 * i + 1), 0xee);
        }
        for (int i = 0; i < 2; ++i) {
          vshufi32x4(acc(2 * i), t(i), t(2 + i), 0x88);
          vshufi32x4(acc(2 * i + 1), t(i), t(2 + i), 0xdd);
        }
        for (int q = 0; q < kVectors; ++q)
          cells.push_back({.reg = accumulator(r, c, q),
                           .column = 16 * q,
                           .valid = std::clamp(channels_ - 16 * q, 0, 16),
                           .y = {r11, r * spec_.y_row + c * spec_.y_pixel},
                           .residual = {r12, r * spec_.r_row + c * spec_.r_pixel}});
      }
    emit_epilogue(*this, spec_.epilogue, epilogue_registers(), cells);
  }

  static constexpr int data_[kVectors] = {kFirstData, kFirstData + 2, kFirstData + 1, kFirstData + 3};
  const Spec spec_;
  const Plan& plan_;
  // Of the block being emitted.
  int cols_ = 1, channels_ = 0, copies_ = 1, period_ = 64;
};

}  // namespace

std::unique_ptr<Assembler> generate_wide(const Isa& isa, const Spec& spec, const Plan& plan) {
  assert(isa.zmm() && spec.form == Form::int8 && !spec.spread && !plan.looped);
  return std::make_unique<WideGenerator>(isa, spec, plan);
}

}  // namespace octet::kernels::depthwise
