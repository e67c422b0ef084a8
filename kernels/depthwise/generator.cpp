// Loop nest of a strip (a block is rows x cols output pixels):
//
//   for col block in ow / cols, then the tail columns:
//     for 16 channels, then the tail channels:
//       for vector of the 16 channels:                       2 ymm or 1 zmm
//         accumulators[rows][cols] = 0, or the int32 bias
//         for group in schedule:                             unrolled; or a loop over tuples, a group for every pixel
//           data = interleave(pixels of the group)
//           for use in group: accumulators[use] += data * weights[use.tuple]
//         epilogue of every pixel
//
// Interleaving the bytes of pixels a b c d:
//   f32    data = a
//   int16  ymm: unpack bytes of a, b: (a0 b0 a1 b1 ..), extend to words: lane = (a, b).   zmm: extend to dwords: a | b << 16
//   int8   unpack bytes, unpack words: lane = (a, b, c, d)
// so lanes are in channel order and the epilogue is the one of every other product.
//
// vectors   0 .. rows*cols-1 accumulators | data | temporaries (at least 2: the epilogue's)
// rax x of the column block   rbx y   rbp residual   r8 weights   r9, r10 weights, parameters of the 16 channels
// rcx channel   rdx, rsi x at the channel (rsi: of the second vector)   r11, r12 y, residual at the channel; while summing
// in a loop: tuple, tap offsets   r13 channel blocks left   r14 column blocks left   r15 epilogue constants
// rdi temporary   [rsp] StripArgs
#include "kernels/depthwise/generator.h"

#include <algorithm>
#include <cassert>
#include <cstddef>

#include "kernels/jit/assembler.h"

namespace octet::kernels::depthwise {
namespace {

using Xbyak::Address;
using Xbyak::Label;
using Xbyak::Reg64;
using Xbyak::Xmm;

class Generator : public Assembler {
 public:
  Generator(const Isa& isa, const Spec& spec, const Plan& plan) : Assembler(isa), spec_(spec), plan_(plan) { emit(); }

 private:
  bool zmm() const { return isa().zmm(); }
  int x_bytes() const { return spec_.form == Form::f32 ? 4 : 1; }
  int y_bytes() const { return spec_.epilogue.out == DType::u8 ? 1 : 4; }
  int residual_bytes() const {
    const ResidualKind kind = spec_.epilogue.residual;
    return kind == ResidualKind::none ? 0 : kind == ResidualKind::f32 ? 4 : 1;
  }
  int accumulator(int r, int c) const { return r * block_cols_ + c; }
  Xmm data(int i = 0) const { return v(free_ + i); }
  int header() const { return spec_.spread ? kHeaderBytes : 0; }

  void emit() {
    using namespace Xbyak::util;
    for (const Reg64& r : {rbx, rbp, r12, r13, r14, r15}) push(r);
    sub(rsp, 24);
    mov(ptr[rsp], rdi);
    mov(rax, arg(offsetof(StripArgs, x)));
    mov(rbx, arg(offsetof(StripArgs, y)));
    mov(rbp, arg(offsetof(StripArgs, residual)));
    mov(r8, arg(offsetof(StripArgs, weights)));
    mov(r14, arg(offsetof(StripArgs, col_blocks)));
    mov(r15, arg(offsetof(StripArgs, constants)));
    Label next, tail;
    test(r14, r14);
    jz(tail, T_NEAR);
    align(16);
    L(next);
    all_channels(spec_.cols);
    move(rax, spec_.cols * plan_.window.stride_w * spec_.x_pixel);
    move(rbx, spec_.cols * spec_.y_pixel);
    if (residual_bytes() > 0) move(rbp, spec_.cols * spec_.r_pixel);
    dec(r14);
    jnz(next, T_NEAR);
    L(tail);
    if (spec_.tail_cols > 0) all_channels(spec_.tail_cols);
    add(rsp, 24);
    for (const Reg64& r : {r15, r14, r13, r12, rbp, rbx}) pop(r);
    vzeroupper();
    ret();
  }

  // xbyak takes displacements as size_t.
  Address at(const Xbyak::RegExp& base, int64_t displacement) { return ptr[base + static_cast<size_t>(displacement)]; }
  Address arg(size_t offset) { return ptr[rdi + offset]; }
  void move(const Reg64& pointer, int64_t bytes) { lea(pointer, at(pointer, bytes)); }

  void all_channels(int cols) {
    mov(rdi, ptr[rsp]);
    mov(rcx, arg(offsetof(StripArgs, channel)));
    mov(r13, arg(offsetof(StripArgs, blocks)));
    mov(r10, arg(offsetof(StripArgs, params)));
    mov(r9, r8);
    Label next, tail, done;
    test(r13, r13);
    jz(tail, T_NEAR);
    align(16);
    L(next);
    block(cols, kBlockChannels);
    add(rcx, kBlockChannels);
    move(r9, header() + static_cast<int64_t>(plan_.tuples.size()) * kTupleBytes);
    add(r10, sizeof(ChannelParams));
    dec(r13);
    jnz(next, T_NEAR);
    L(tail);
    if (spec_.tail_channels > 0) {
      mov(rdi, ptr[rsp]);
      cmp(qword[rdi + offsetof(StripArgs, tail)], 0);
      je(done, T_NEAR);
      block(cols, spec_.tail_channels);
    }
    L(done);
  }

  void block(int cols, int channels) {
    block_cols_ = cols;
    free_ = spec_.rows * cols;
    if (spec_.spread) {
      movsxd(rdx, dword[r9 + kHeaderOffset]);
      movsxd(rsi, dword[r9 + kHeaderOffset + 4]);
      lea(rdx, at(rax + rdx * x_bytes(), 0));
      lea(rsi, ptr[rax + rsi * x_bytes()]);
    } else {
      lea(rdx, ptr[rax + rcx * x_bytes()]);
    }
    for (vector_ = 0; vector_ * lanes() < channels; ++vector_) {
      if (plan_.looped)
        looped();
      else
        unrolled(plan_.schedule(spec_.rows, cols));
      epilogue(std::min(lanes(), channels - vector_ * lanes()));
    }
  }

  void unrolled(const Schedule& schedule) {
    std::vector<bool> started(static_cast<size_t>(free_), false);
    if (spec_.form == Form::f32) start_all();
    for (const Group& g : schedule.groups) {
      load_group([&](int i) { return pixel(g.pixels[static_cast<size_t>(i)]); });
      for (const Use& u : g.uses) {
        const int a = accumulator(u.row, u.col);
        use(a, at(r9, header() + u.tuple * kTupleBytes + vector_ * vector_bytes()), !started[static_cast<size_t>(a)]);
        started[static_cast<size_t>(a)] = true;
      }
    }
  }

  // r11 walks over the tuples, r12 over their offsets.
  void looped() {
    Label next;
    start_all();
    mov(rdi, ptr[rsp]);
    mov(r12, arg(offsetof(StripArgs, offsets)));
    lea(r11, at(r9, header() + vector_ * vector_bytes()));
    align(16);
    L(next);
    for (int c = 0; c < block_cols_; ++c) {
      load_group([&](int i) {
        movsxd(rdi, dword[r12 + static_cast<size_t>(4 * i)]);
        return at(base() + rdi, lane_bytes() + c * plan_.window.stride_w * spec_.x_pixel);
      });
      use(accumulator(0, c), ptr[r11], false);
    }
    add(r11, kTupleBytes);
    move(r12, 4 * taps(spec_.form));
    mov(rdi, ptr[rsp]);
    cmp(r12, arg(offsetof(StripArgs, offsets_end)));
    jne(next, T_NEAR);
  }

  // Float loads of spread channels start at the vector's first input channel; byte loads at the block's, and the shuffle
  // picks.
  const Reg64& base() const {
    return spec_.spread && spec_.form == Form::f32 && vector_ == 1 ? Xbyak::util::rsi : Xbyak::util::rdx;
  }
  int lane_bytes() const { return spec_.spread ? 0 : vector_ * lanes() * x_bytes(); }
  Address pixel(const Pixel& p) { return at(base(), p.row * spec_.x_row + p.col * spec_.x_pixel + lane_bytes()); }
  Address bias() { return at(r10, static_cast<int64_t>(offsetof(ChannelParams, int_bias)) + vector_ * vector_bytes()); }
  // The lane's part of the shuffle in the header.
  Address shuffle() { return at(r9, vector_ * lanes() * x_bytes()); }

  void start_all() {
    for (int i = 0; i < free_; ++i) {
      if (spec_.form == Form::f32)
        zero(i);
      else
        vmovups(v(i), bias());
    }
  }

  // data() = the interleaved pixels of a group; address(i) is pixel i.
  template <class At>
  void load_group(At address) {
    const Xmm t0(free_), t1(free_ + 1), t2(free_ + 2), t3(free_ + 3), t4(free_ + 4);
    switch (spec_.form) {
      case Form::f32:
        vmovups(data(), address(0));
        if (spec_.spread) {
          vmovups(data(1), shuffle());
          permute_dwords(data(), data(1), data());
        }
        return;
      case Form::int16:
        if (zmm()) {
          extend(data(), t0, address(0));
          extend(data(1), t1, address(1));
          vpslld(data(1), data(1), 16);
          vpord(data(), data(), data(1));
        } else {
          load_bytes(t0, address(0));
          unpack_low(t0, t0, t1, address(1));
          vpmovzxbw(data(), t0);
        }
        return;
      case Form::int8:
        if (zmm()) {
          load_bytes(t0, address(0));
          unpack_both(t0, t1, t4, address(1));
          load_bytes(t2, address(2));
          unpack_both(t2, t3, t4, address(3));
          vpunpcklwd(t4, t0, t2);
          vpunpckhwd(t0, t0, t2);
          vpunpcklwd(t2, t1, t3);
          vpunpckhwd(t1, t1, t3);
          vinserti32x4(Xbyak::Ymm(t4.getIdx()), Xbyak::Ymm(t4.getIdx()), t0, 1);
          vinserti32x4(Xbyak::Ymm(t2.getIdx()), Xbyak::Ymm(t2.getIdx()), t1, 1);
          vinserti32x8(Xbyak::Zmm(free_), Xbyak::Zmm(t4.getIdx()), Xbyak::Ymm(t2.getIdx()), 1);
        } else {
          load_bytes(t0, address(0));
          unpack_low(t0, t0, t2, address(1));
          load_bytes(t1, address(2));
          unpack_low(t1, t1, t2, address(3));
          vpunpckhwd(t2, t0, t1);
          vpunpcklwd(t0, t0, t1);
          vinserti128(Xbyak::Ymm(free_), Xbyak::Ymm(free_), t2, 1);
        }
        return;
    }
  }

  // The bytes of a pixel for this vector: lanes() of them count.
  void load_bytes(const Xmm& d, const Address& from) {
    if (zmm() || spec_.spread)
      vmovups(d, from);
    else
      vmovq(d, from);
    if (spec_.spread) vpshufb(d, d, shuffle());
  }
  void extend(const Xmm& d, const Xmm& t, const Address& from) {
    if (!spec_.spread) return vpmovzxbd(d, from);
    load_bytes(t, from);
    vpmovzxbd(d, t);
  }
  // d = the bytes 0-7 of a and of the pixel at b in turn.
  void unpack_low(const Xmm& d, const Xmm& a, const Xmm& temporary, const Address& b) {
    if (!spec_.spread) return vpunpcklbw(d, a, b);
    load_bytes(temporary, b);
    vpunpcklbw(d, a, temporary);
  }
  // lo becomes bytes 0-7 of lo and of the pixel at b in turn, hi bytes 8-15.
  void unpack_both(const Xmm& lo, const Xmm& hi, const Xmm& temporary, const Address& b) {
    load_bytes(temporary, b);
    vpunpckhbw(hi, lo, temporary);
    vpunpcklbw(lo, lo, temporary);
  }

  void use(int a, const Address& weights, bool first) {
    switch (spec_.form) {
      case Form::f32: vfmadd231ps(v(a), data(), weights); return;
      case Form::int16:
        if (first) {
          vpmaddwd(v(a), data(), weights);
          vpaddd(v(a), v(a), bias());
        } else {
          const Xmm product = data(zmm() ? 2 : 1);
          vpmaddwd(product, data(), weights);
          vpaddd(v(a), v(a), product);
        }
        return;
      case Form::int8:
        if (first) vmovups(v(a), bias());
        dot_u8s8(v(a), data(), weights);
        return;
    }
  }

  void epilogue(int channels) {
    using namespace Xbyak::util;
    lea(r11, ptr[rbx + rcx * y_bytes()]);
    if (residual_bytes() > 0) lea(r12, ptr[rbp + rcx * residual_bytes()]);
    std::vector<EpilogueCell> cells;
    for (int r = 0; r < spec_.rows; ++r)
      for (int c = 0; c < block_cols_; ++c)
        cells.push_back({.reg = accumulator(r, c),
                         .column = vector_ * lanes(),
                         .valid = channels,
                         .y = {r11, r * spec_.y_row + c * spec_.y_pixel},
                         .residual = {r12, r * spec_.r_row + c * spec_.r_pixel}});
    EpilogueRegisters registers{.params = r10, .constants = r15, .scratch = edi, .temps = {}, .opmask = 1};
    for (int i = free_; i < isa().vector_count; ++i) registers.temps.push_back(i);
    emit_epilogue(*this, spec_.epilogue, registers, cells);
  }

  const Spec spec_;
  const Plan& plan_;
  // Of the block being emitted: columns, vector of channels, first register behind the accumulators.
  int block_cols_ = 1, vector_ = 0, free_ = 0;
};

CodeKey key_of(const Spec& s, const Plan& plan) {
  CodeKey key("depthwise");
  key.add(s.isa)
      .add(s.form)
      .add(s.rows)
      .add(s.cols)
      .add(s.tail_cols)
      .add(s.tail_channels)
      .add(s.spread)
      .add(s.wide)
      .add(s.copies)
      .add(s.copy_step);
  key.add(s.x_pixel).add(s.x_row).add(s.y_pixel).add(s.y_row).add(s.r_pixel).add(s.r_row);
  key.add(plan.window.kh).add(plan.window.kw).add(plan.window.stride_h).add(plan.window.stride_w);
  key.add(plan.window.dilation_h).add(plan.window.dilation_w);
  add_to_key(key, s.epilogue);
  return key;
}

}  // namespace

// Registers a group takes: f32 1 (and the shuffle), int16 2 or 3, int8 3 or 5, wide 6; the epilogue takes at least 2.
Costs costs(const Isa& isa, Form form, bool wide_blocks) {
  if (wide_blocks) return {.group = 9, .use = 4, .accumulators = 6};
  const bool wide = isa.zmm();
  switch (form) {
    case Form::f32: return {.group = 1, .use = 1, .accumulators = wide ? 28 : 14};
    case Form::int16: return {.group = wide ? 4 : 3, .use = 2, .accumulators = wide ? 28 : 14};
    case Form::int8: return {.group = wide ? 13 : 7, .use = 1, .accumulators = wide ? 27 : 13};
  }
  return {};
}

StripKernel::StripKernel(const Spec& spec, const Plan& plan)
    : code_(cached_code(key_of(spec, plan),
                        [&]() -> std::unique_ptr<Assembler> {
                          if (spec.wide) return generate_wide(isa(spec.isa), spec, plan);
                          return std::make_unique<Generator>(isa(spec.isa), spec, plan);
                        })),
      entry_(code_->entry<void (*)(const StripArgs*)>()) {}

}  // namespace octet::kernels::depthwise
