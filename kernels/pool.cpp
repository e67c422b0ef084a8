// Max and average pooling of channels-last images; vectors lie across channels.
//
//   C++:  for each output row, for each segment of output columns whose windows have the same number of taps (the interior
//   is one): code:   for each pixel                            rsi x at the first tap, rdx y, rcx pixels left
//             for each block of 8 accumulators        r8 x, r9 y, rax blocks left; then the rest of the channels, once
//               for each kernel row                   r10 x, rbx rows left
//                 for each kernel column              r11 x, rbp columns left
//                   8 accumulators <- max or sum
//               divide or requantize, store
//
// Registers: v0..v7 accumulators, v8 v14 v15 scratch, v9 correction (count * zero point), v10 divisor or multiplier, v11
// low, v12 high, v13 zero point of y. u8 sums are u16 lanes up to 257 taps (257 * 255 = 65535), then s32 lanes. The channels
// of a block are covered by moves of known size (pieces.h), so no tail needs a mask.
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <limits>

#include "kernels/jit/pieces.h"
#include "kernels/jit/vector_emitter.h"
#include "kernels/pool_taps.h"
#include "kernels/reference/reference.h"

namespace octet::kernels {
namespace {

using Xbyak::RegExp;

enum class PoolForm : uint8_t { max_u8, max_f32, sum_f32, sum_u8_16, sum_u8_32 };

struct PoolCall {
  const void* x;
  void* y;
  int64_t pixels, x_step, y_step;
  int64_t kernel_rows, kernel_columns, tap_row, tap_column;
  int64_t blocks, rest;  // rest: 1 when the channels after the last block are wanted
  int32_t correction;
  float factor;
  float low, high;
  int32_t zero_point;
};

PoolForm form_of(const PoolProblem& problem) {
  const bool is_f32 = problem.dtype == DType::f32;
  if (problem.kind == PoolKind::max) return is_f32 ? PoolForm::max_f32 : PoolForm::max_u8;
  if (is_f32) return PoolForm::sum_f32;
  return problem.kh * problem.kw <= 257 ? PoolForm::sum_u8_16 : PoolForm::sum_u8_32;
}

// Bytes of x that one accumulator covers.
int piece_bytes(PoolForm form, int vector_bytes) {
  return form == PoolForm::sum_u8_16 ? vector_bytes / 2 : form == PoolForm::sum_u8_32 ? vector_bytes / 4 : vector_bytes;
}

class PoolGenerator {
 public:
  PoolGenerator(VectorEmitter& emitter, PoolForm form, int rest_bytes) : e(emitter), form_(form), rest_bytes_(rest_bytes) {}

  void generate() {
    Xbyak::Label pixel, blocks, rest, next;
    e.push(e.rbx);
    e.push(e.rbp);
    e.mov(e.rsi, field(offsetof(PoolCall, x)));
    e.mov(e.rdx, field(offsetof(PoolCall, y)));
    e.mov(e.rcx, field(offsetof(PoolCall, pixels)));
    e.broadcast(e.v(9), field(offsetof(PoolCall, correction)));
    e.broadcast(e.v(10), field(offsetof(PoolCall, factor)));
    e.broadcast(e.v(11), field(offsetof(PoolCall, low)));
    e.broadcast(e.v(12), field(offsetof(PoolCall, high)));
    e.broadcast(e.v(13), field(offsetof(PoolCall, zero_point)));

    const int piece = piece_bytes(form_, e.vector_bytes());
    e.L(pixel);
    e.mov(e.r8, e.rsi);
    e.mov(e.r9, e.rdx);
    e.mov(e.rax, field(offsetof(PoolCall, blocks)));
    e.test(e.rax, e.rax);
    e.jz(rest);
    e.L(blocks);
    block(cover(8 * piece, piece));
    e.add(e.r8, imm(8 * piece));
    e.add(e.r9, imm(8 * piece));
    e.dec(e.rax);
    e.jnz(blocks);
    e.L(rest);
    if (rest_bytes_ > 0) {
      e.cmp(e.dword[e.rdi + offsetof(PoolCall, rest)], 0);
      e.jz(next);
      block(cover(rest_bytes_, piece));
    }
    e.L(next);
    e.add(e.rsi, field(offsetof(PoolCall, x_step)));
    e.add(e.rdx, field(offsetof(PoolCall, y_step)));
    e.dec(e.rcx);
    e.jnz(pixel);
    e.pop(e.rbp);
    e.pop(e.rbx);
    e.vzeroupper();
    e.ret();
  }

 private:
  Xbyak::Address field(size_t at) const { return e.ptr[e.rdi + at]; }

  void block(const std::vector<Piece>& pieces) {
    assert(pieces.size() <= 8);
    Xbyak::Label row, column, done;
    for (int i = 0; i < static_cast<int>(pieces.size()); ++i) {
      if (form_ == PoolForm::max_f32)
        e.load_constant(e.v(i), -std::numeric_limits<float>::infinity());
      else
        e.zero(i);
    }
    e.mov(e.r10, e.r8);
    e.mov(e.rbx, field(offsetof(PoolCall, kernel_rows)));
    e.test(e.rbx, e.rbx);
    e.jz(done);
    e.L(row);
    e.mov(e.r11, e.r10);
    e.mov(e.rbp, field(offsetof(PoolCall, kernel_columns)));
    e.L(column);
    for (size_t i = 0; i < pieces.size(); ++i)
      accumulate(static_cast<int>(i), e.r11 + disp(pieces[i].offset), pieces[i].bytes);
    e.add(e.r11, field(offsetof(PoolCall, tap_column)));
    e.dec(e.rbp);
    e.jnz(column);
    e.add(e.r10, field(offsetof(PoolCall, tap_row)));
    e.dec(e.rbx);
    e.jnz(row);
    e.L(done);
    for (size_t i = 0; i < pieces.size(); ++i) finish(static_cast<int>(i), pieces[i]);
  }

  void accumulate(int i, const RegExp& at, int bytes) {
    constexpr int kData = 8;
    switch (form_) {
      case PoolForm::max_u8:
      case PoolForm::max_f32:
      case PoolForm::sum_f32: {
        const auto acc = e.sized(i, bytes);
        if (bytes < 16) e.load_piece(kData, at, bytes);
        const auto combine = [&](const Xbyak::Operand& x) {
          if (form_ == PoolForm::max_u8)
            e.vpmaxub(acc, acc, x);
          else if (form_ == PoolForm::max_f32)
            e.vmaxps(acc, acc, x);  // a NaN in x or in acc: x
          else
            e.vaddps(acc, acc, x);
        };
        if (bytes < 16)
          combine(e.x(kData));
        else
          combine(e.ptr[at]);
        break;
      }
      case PoolForm::sum_u8_16: {
        const auto acc = e.sized(i, 2 * bytes), data = e.sized(kData, 2 * bytes);
        if (bytes >= 8)
          e.vpmovzxbw(data, e.ptr[at]);
        else {
          e.load_piece(kData, at, bytes);
          e.vpmovzxbw(data, e.x(kData));
        }
        e.vpaddw(acc, acc, data);
        break;
      }
      case PoolForm::sum_u8_32: {
        const auto acc = e.sized(i, 4 * bytes), data = e.sized(kData, 4 * bytes);
        if (bytes >= 4)
          e.vpmovzxbd(data, e.ptr[at]);
        else {
          e.load_piece(kData, at, bytes);
          e.vpmovzxbd(data, e.x(kData));
        }
        e.vpaddd(acc, acc, data);
        break;
      }
    }
  }

  void finish(int i, const Piece& piece) {
    const RegExp at = e.r9 + disp(piece.offset);
    const int lanes = e.lanes();
    switch (form_) {
      case PoolForm::sum_f32: e.vdivps(e.v(i), e.v(i), e.v(10)); [[fallthrough]];
      case PoolForm::max_u8:
      case PoolForm::max_f32: e.store_piece(at, i, piece.bytes); break;
      case PoolForm::sum_u8_16:
        e.vpmovzxwd(e.v(8), e.h(i));
        requantize(8, at, std::min(piece.bytes, lanes));
        if (piece.bytes > lanes) {
          e.upper_half(e.h(14), e.v(i));
          e.vpmovzxwd(e.v(8), e.h(14));
          requantize(8, at + disp(lanes), piece.bytes - lanes);
        }
        break;
      case PoolForm::sum_u8_32: requantize(i, at, piece.bytes); break;
    }
  }

  void requantize(int d, const RegExp& at, int bytes) {
    const auto v = e.v(d);
    e.vpsubd(v, v, e.v(9));
    e.vcvtdq2ps(v, v);
    e.vmulps(v, v, e.v(10));
    e.vmaxps(v, v, e.v(11));
    e.vminps(v, v, e.v(12));
    e.vcvtps2dq(v, v);
    e.vpaddd(v, v, e.v(13));
    e.narrow_u8(d, 15);
    e.store_piece(at, d, bytes);
  }

  VectorEmitter& e;
  PoolForm form_;
  int rest_bytes_;
};

// Output columns whose windows hold the same number of taps, one stride apart.
struct Segment {
  int64_t begin = 0, pixels = 0;
  PoolTaps taps;
};

std::vector<Segment> segments_of(const PoolAxis& axis, int64_t outputs) {
  std::vector<Segment> segments;
  for (int64_t o = 0; o < outputs; ++o) {
    const PoolTaps taps = pool_taps(axis, o);
    if (!segments.empty()) {
      Segment& last = segments.back();
      const PoolTaps next{last.taps.first + last.pixels * axis.stride, last.taps.inside, last.taps.counted};
      if (taps == next) {
        ++last.pixels;
        continue;
      }
    }
    segments.push_back({o, 1, taps});
  }
  return segments;
}

class Pool final : public Kernel {
 public:
  Pool(const Isa& isa, const PoolProblem& problem)
      : name_(std::string(problem.kind == PoolKind::max ? "max" : "average") +
              (problem.dtype == DType::u8 ? " pool u8 " : " pool f32 ") + std::string(isa.name)),
        problem_(problem),
        rows_{problem.ih, problem.kh, problem.stride_h, problem.dilation_h, problem.pad_top, problem.pad_bottom},
        segments_(
            segments_of({problem.iw, problem.kw, problem.stride_w, problem.dilation_w, problem.pad_left, problem.pad_right},
                        problem.ow)) {
    const PoolForm form = form_of(problem);
    const int64_t bytes = problem.c * static_cast<int64_t>(size_of(problem.dtype));
    block_bytes_ = 8 * piece_bytes(form, isa.vector_bytes);
    blocks_ = bytes / block_bytes_;
    rest_bytes_ = static_cast<int>(bytes % block_bytes_);
    code_ = vector_code(isa, CodeKey("pool").add(form).add(rest_bytes_),
                        [&](VectorEmitter& e) { PoolGenerator(e, form, rest_bytes_).generate(); });
  }

  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const int64_t output_rows = problem_.n * problem_.oh;
    const bool by_channels = output_rows < parts && blocks_ >= parts;
    const WorkRange rows = by_channels ? WorkRange{0, output_rows} : split_work(output_rows, part, parts);
    const WorkRange blocks = by_channels ? split_work(blocks_, part, parts) : WorkRange{0, blocks_};
    const bool rest = rest_bytes_ > 0 && (!by_channels || part == parts - 1);
    for (int64_t r = rows.begin; r < rows.end; ++r) run_row(args, r, blocks, rest);
  }
  std::string name() const override { return name_; }

 private:
  void run_row(const KernelArgs& args, int64_t row, WorkRange blocks, bool rest) const {
    const int64_t image = row / problem_.oh, oy = row % problem_.oh;
    const PoolTaps taps_h = pool_taps(rows_, oy);
    const auto* x = static_cast<const uint8_t*>(args.a) + image * problem_.x.image + taps_h.first * problem_.x.row +
                    blocks.begin * block_bytes_;
    auto* y = static_cast<uint8_t*>(args.y) + image * problem_.y.image + oy * problem_.y.row + blocks.begin * block_bytes_;
    for (const Segment& segment : segments_) {
      const PoolTaps& taps_w = segment.taps;
      const int64_t valid = taps_h.inside * taps_w.inside;
      const int64_t count = problem_.count_include_pad ? taps_h.counted * taps_w.counted : valid;
      PoolCall call;
      call.x = x + taps_w.first * problem_.x.pixel;
      call.y = y + segment.begin * problem_.y.pixel;
      call.pixels = segment.pixels;
      call.x_step = problem_.stride_w * problem_.x.pixel;
      call.y_step = problem_.y.pixel;
      call.kernel_rows = valid > 0 ? taps_h.inside : 0;
      call.kernel_columns = valid > 0 ? taps_w.inside : 0;
      call.tap_row = problem_.dilation_h * problem_.x.row;
      call.tap_column = problem_.dilation_w * problem_.x.pixel;
      call.blocks = blocks.size();
      call.rest = rest;
      call.correction = static_cast<int32_t>(valid) * problem_.x_zero_point;
      call.factor = static_cast<float>(count);
      if (problem_.dtype == DType::u8) call.factor = (problem_.x_scale / problem_.y_scale) / call.factor;
      call.low = static_cast<float>(0 - problem_.y_zero_point);
      call.high = static_cast<float>(255 - problem_.y_zero_point);
      call.zero_point = problem_.y_zero_point;
      code_->entry<void (*)(const PoolCall*)>()(&call);
    }
  }

  std::string name_;
  PoolProblem problem_;
  PoolAxis rows_;
  std::vector<Segment> segments_;
  int64_t blocks_ = 0, block_bytes_ = 0;
  int rest_bytes_ = 0;
  std::shared_ptr<const Code> code_;
};

class ReferencePool final : public Kernel {
 public:
  explicit ReferencePool(const PoolProblem& problem) : problem_(problem) {}
  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    pool_reference_rows(problem_, args, split_work(problem_.n * problem_.oh, part, parts));
  }
  std::string name() const override { return "pool reference"; }

 private:
  PoolProblem problem_;
};

}  // namespace

KernelPtr make_pool(const Isa& isa, const PoolProblem& problem) {
  assert(problem.dtype == DType::f32 || problem.dtype == DType::u8);
  if (isa.id == IsaId::reference) return std::make_unique<ReferencePool>(problem);
  return std::make_unique<Pool>(isa, problem);
}

}  // namespace octet::kernels
