// Loop nest of a strip (rows, cols: output pixels of a block; 16 channels are V vectors: 2 ymm or 1 zmm):
//
//   for col block in ow / cols, then the tail columns:
//     for 16 channels, then the tail channels:
//       accumulators[rows][cols][V] = 0, or the int32 bias
//       for group in schedule:                               unrolled; or a loop over tuples, a group for every pixel
//         data[V] = interleave(pixels of the group)
//         for use in group: accumulators[use] += data * weights[use.tuple]
//       epilogue of every pixel
//
// Interleaving, 16 channels, pixels a b c d as bytes in an xmm each:
//   f32    data = a
//   int16  ymm: unpack bytes of a, b: (a0 b0 a1 b1 ..), extend to words: lane = (a, b).   zmm: extend to dwords: a | b << 16
//   int8   unpack bytes, unpack words: lane = (a, b, c, d)
// so lanes are in channel order and the epilogue is the one of every other product.
//
// vectors   0 .. rows*cols*V-1 accumulators | then V data | then temporaries
// rax x of the column block   rbx y   rbp residual   r8 weights   r9, r10 weights, parameters of the 16 channels   rcx channel
// rdx, rsi x at the channel (rsi: of the second vector)   r11, r12 y, residual at the channel; while summing in a loop: tuple,
// tap offsets   r13 channel blocks left   r14 column blocks left   r15 epilogue constants   rdi temporary   [rsp] StripArgs
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
  int accumulator(int r, int c, int v) const { return (r * block_cols_ + c) * vectors_ + v; }
  Xmm data(int i) const { return v(free_ + i); }
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

  Address arg(size_t offset) { return ptr[rdi + offset]; }
  void move(const Reg64& pointer, int64_t bytes) { lea(pointer, ptr[pointer + bytes]); }

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
    vectors_ = (channels + lanes() - 1) / lanes();
    free_ = spec_.rows * cols * vectors_;
    if (spec_.spread) {
      movsxd(rdx, dword[r9 + kHeaderOffset]);
      movsxd(rsi, dword[r9 + kHeaderOffset + 4]);
      lea(rdx, ptr[rax + rdx * x_bytes()]);
      lea(rsi, ptr[rax + rsi * x_bytes()]);
    } else {
      lea(rdx, ptr[rax + rcx * x_bytes()]);
    }
    if (plan_.looped)
      looped();
    else
      unrolled(plan_.schedule(spec_.rows, cols));
    epilogue(channels);
  }

  void unrolled(const Schedule& schedule) {
    std::vector<bool> started(static_cast<size_t>(spec_.rows * block_cols_), false);
    if (spec_.form == Form::f32) start_all();
    for (const Group& g : schedule.groups) {
      load_group([&](int i, int n) { return pixel(g.pixels[static_cast<size_t>(i)], n); });
      for (const Use& u : g.uses) {
        const auto index = static_cast<size_t>(u.row * block_cols_ + u.col);
        for (int n = 0; n < vectors_; ++n) use(accumulator(u.row, u.col, n), n, weights(u.tuple, n), !started[index]);
        started[index] = true;
      }
    }
  }

  // r11 walks over the tuples, r12 over their offsets.
  void looped() {
    Label next;
    start_all();
    mov(rdi, ptr[rsp]);
    mov(r12, arg(offsetof(StripArgs, offsets)));
    lea(r11, ptr[r9 + header()]);
    align(16);
    L(next);
    for (int c = 0; c < block_cols_; ++c) {
      load_group([&](int i, int n) {
        movsxd(rdi, dword[r12 + 4 * i]);
        return ptr[base(n) + rdi + lane_bytes(n) + c * plan_.window.stride_w * spec_.x_pixel];
      });
      for (int n = 0; n < vectors_; ++n) use(accumulator(0, c, n), n, ptr[r11 + n * vector_bytes()], false);
    }
    add(r11, kTupleBytes);
    add(r12, 4 * taps(spec_.form));
    mov(rdi, ptr[rsp]);
    cmp(r12, arg(offsetof(StripArgs, offsets_end)));
    jne(next, T_NEAR);
  }

  const Reg64& base(int n) const { return spec_.spread && n == 1 ? Xbyak::util::rsi : Xbyak::util::rdx; }
  int lane_bytes(int n) const { return spec_.spread ? 0 : n * lanes() * x_bytes(); }
  Address pixel(const Pixel& p, int n) {
    return ptr[base(n) + p.row * spec_.x_row + p.col * spec_.x_pixel + lane_bytes(n)];
  }
  Address weights(int tuple, int n) { return ptr[r9 + header() + tuple * kTupleBytes + n * vector_bytes()]; }
  Address bias(int n) { return ptr[r10 + static_cast<int>(offsetof(ChannelParams, int_bias)) + n * vector_bytes()]; }

  void start_all() {
    for (int i = 0; i < free_; ++i) {
      if (spec_.form == Form::f32)
        zero(i);
      else
        vmovups(v(i), bias(i % vectors_));
    }
  }

  // data = the interleaved pixels; address(i, n) is pixel i from the first channel of vector n (bytes: all 16 at n = 0).
  template <class At>
  void load_group(At address) {
    const Xmm t0(free_), t1(free_ + 1), t2(free_ + 2), t3(free_ + 3), t4(free_ + 4);
    switch (spec_.form) {
      case Form::f32:
        for (int n = 0; n < vectors_; ++n) {
          if (spec_.spread) {
            vmovups(data(vectors_), ptr[r9 + n * vector_bytes()]);
            vmovups(data(n), address(0, n));
            permute_dwords(data(n), data(vectors_), data(n));
          } else {
            vmovups(data(n), address(0, n));
          }
        }
        return;
      case Form::int16:
        if (zmm()) {
          extend(data(0), t0, address(0, 0));
          extend(data(1), t1, address(1, 0));
          vpslld(data(1), data(1), 16);
          vpord(data(0), data(0), data(1));
          return;
        }
        unpack_bytes(t0, t1, t2, address(0, 0), [&] { return address(1, 0); });
        vpmovzxbw(data(0), t0);
        if (vectors_ > 1) vpmovzxbw(data(1), t1);
        return;
      case Form::int8:
        unpack_bytes(t0, t1, t4, address(0, 0), [&] { return address(1, 0); });
        unpack_bytes(t2, t3, t4, address(2, 0), [&] { return address(3, 0); });
        vpunpcklwd(t4, t0, t2);
        vpunpckhwd(t0, t0, t2);
        vpunpcklwd(t2, t1, t3);
        vpunpckhwd(t1, t1, t3);
        if (zmm()) {
          const Xbyak::Zmm d(free_);
          vinserti32x4(Xbyak::Ymm(free_), Xbyak::Ymm(free_ + 4), t0, 1);
          vinserti32x4(Xbyak::Ymm(free_ + 2), Xbyak::Ymm(free_ + 2), t1, 1);
          vinserti32x8(d, d, Xbyak::Ymm(free_ + 2), 1);
        } else {
          vinserti128(Xbyak::Ymm(free_), Xbyak::Ymm(free_ + 4), t0, 1);
          vinserti128(Xbyak::Ymm(free_ + 1), Xbyak::Ymm(free_ + 2), t1, 1);
        }
        return;
    }
  }
  void extend(const Xmm& d, const Xmm& t, const Address& from) {
    if (!spec_.spread) return vpmovzxbd(d, from);
    vmovups(t, from);
    vpshufb(t, t, ptr[r9]);
    vpmovzxbd(d, t);
  }
  // lo = channels 0-7 of pixels a, b byte by byte, hi = channels 8-15.
  template <class B>
  void unpack_bytes(const Xmm& lo, const Xmm& hi, const Xmm& temporary, const Address& a, B b) {
    vmovups(lo, a);
    const Address from = b();
    if (spec_.spread) {
      vpshufb(lo, lo, ptr[r9]);
      vmovups(temporary, from);
      vpshufb(temporary, temporary, ptr[r9]);
      vpunpckhbw(hi, lo, temporary);
      vpunpcklbw(lo, lo, temporary);
    } else {
      vpunpckhbw(hi, lo, from);
      vpunpcklbw(lo, lo, from);
    }
  }
  void use(int a, int n, const Address& w, bool first) {
    switch (spec_.form) {
      case Form::f32: vfmadd231ps(v(a), data(n), w); return;
      case Form::int16: {
        const Xmm product = first ? v(a) : data(2);
        vpmaddwd(product, data(n), w);
        if (first)
          vpaddd(v(a), v(a), bias(n));
        else
          vpaddd(v(a), v(a), product);
        return;
      }
      case Form::int8:
        if (first) vmovups(v(a), bias(n));
        dot_u8s8(v(a), data(n), w);
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
        for (int n = 0; n < vectors_; ++n)
          cells.push_back({.reg = accumulator(r, c, n),
                           .column = n * lanes(),
                           .valid = std::min(lanes(), channels - n * lanes()),
                           .y = {r11, r * spec_.y_row + c * spec_.y_pixel},
                           .residual = {r12, r * spec_.r_row + c * spec_.r_pixel}});
    EpilogueRegisters registers{.params = r10, .constants = r15, .scratch = edi, .temps = {}, .opmask = 1};
    for (int i = free_; i < isa().vector_count; ++i) registers.temps.push_back(i);
    emit_epilogue(*this, spec_.epilogue, registers, cells);
  }

  const Spec spec_;
  const Plan& plan_;
  int block_cols_ = 1, vectors_ = 1;  // of the block being emitted
  int free_ = 0;                      // first register behind its accumulators
};

CodeKey key_of(const Spec& s, const Plan& plan) {
  CodeKey key("depthwise");
  key.add(s.isa).add(s.form).add(s.rows).add(s.cols).add(s.tail_cols).add(s.tail_channels).add(s.spread);
  key.add(s.x_pixel).add(s.x_row).add(s.y_pixel).add(s.y_row).add(s.r_pixel).add(s.r_row);
  key.add(plan.window.kh).add(plan.window.kw).add(plan.window.stride_h).add(plan.window.stride_w);
  key.add(plan.window.dilation_h).add(plan.window.dilation_w);
  add_to_key(key, s.epilogue);
  return key;
}

}  // namespace

// A block leaves at least 2 registers to the epilogue, besides those that one group takes.
Costs costs(const Isa& isa, Form form) {
  const bool wide = isa.zmm();
  switch (form) {
    case Form::f32: return wide ? Costs{.group = 1, .use = 1, .accumulators = 24} : Costs{.group = 2, .use = 2, .accumulators = 6};
    case Form::int16: return wide ? Costs{.group = 4, .use = 2, .accumulators = 24} : Costs{.group = 5, .use = 4, .accumulators = 6};
    case Form::int8: return wide ? Costs{.group = 13, .use = 1, .accumulators = 24} : Costs{.group = 12, .use = 2, .accumulators = 5};
  }
  return {};
}

StripKernel::StripKernel(const Spec& spec, const Plan& plan)
    : code_(cached_code(key_of(spec, plan), [&] { return std::make_unique<Generator>(isa(spec.isa), spec, plan); })),
      entry_(code_->entry<void (*)(const StripArgs*)>()) {}

}  // namespace octet::kernels::depthwise
