// The two passes of resize.h. One piece of code serves both: a list of entries, each a run of elements that is the weighted
// sum of two runs (or the multiple of one).
//
//   for each entry: rsi a, rdx b, v8 and v9 their weights, r8 y, r9 length          columns: an entry a pixel, runs of
//   channels
//     for i: v0..v3 = fma(wb, b[i], fma(wa, a[i], 0))     loop nest: run_loop.h     rows: one entry, a run of a whole row
#include "kernels/resize.h"

#include <cassert>
#include <cstddef>
#include <cstring>

#include "kernels/jit/run_loop.h"

namespace octet::kernels {
namespace {

struct Entry {
  int64_t a, b;  // bytes from Call::x
  float weight[2];
  int64_t two;  // 0: b is left out
};

struct Call {
  const void* x;
  const Entry* entry;
  int64_t entries;
  void* y;
  int64_t y_step, length;
};

constexpr int kA = 8, kB = 9, kLow = 10, kHigh = 11;

void generate(VectorEmitter& e, DType in, DType out) {
  const auto field = [&](size_t at) { return e.qword[run::kArgs + at]; };
  const auto load = [&](int d, const Xbyak::Reg64& base, int k, bool tail) {
    if (in == DType::f32) return load_f32(e, d, base, k, tail);
    load_u8(e, d, base, k, tail);
    e.vcvtdq2ps(e.v(d), e.v(d));
  };
  const auto columns = [&](bool two) {
    emit_columns(e, 4, [&](int vectors, bool tail) {
      for (int k = 0; k < vectors; ++k) {
        load(4 + k, run::kA, k, tail);
        e.zero(k);
        e.vfmadd231ps(e.v(k), e.v(4 + k), e.v(kA));
      }
      for (int k = 0; two && k < vectors; ++k) {
        load(4 + k, run::kB, k, tail);
        e.vfmadd231ps(e.v(k), e.v(4 + k), e.v(kB));
      }
      if (out == DType::f32) return store_f32(e, vectors, tail);
      for (int k = 0; k < vectors; ++k) {
        e.vmaxps(e.v(k), e.v(k), e.v(kLow));
        e.vminps(e.v(k), e.v(k), e.v(kHigh));
        e.vcvtps2dq(e.v(k), e.v(k));
      }
      store_u8(e, vectors, tail, 4);
    });
  };
  Xbyak::Label next, single, stored;
  if (out == DType::u8) {
    e.load_constant(e.v(kLow), 0.0f);
    e.load_constant(e.v(kHigh), 255.0f);
  }
  e.L(next);
  e.mov(run::kScratch0, field(offsetof(Call, entry)));
  e.mov(run::kA, e.qword[run::kScratch0 + offsetof(Entry, a)]);
  e.mov(run::kB, e.qword[run::kScratch0 + offsetof(Entry, b)]);
  e.add(run::kA, field(offsetof(Call, x)));
  e.add(run::kB, field(offsetof(Call, x)));
  e.broadcast(e.v(kA), e.ptr[run::kScratch0 + offsetof(Entry, weight)]);
  e.broadcast(e.v(kB), e.ptr[run::kScratch0 + offsetof(Entry, weight) + sizeof(float)]);
  e.mov(run::kScratch1, e.qword[run::kScratch0 + offsetof(Entry, two)]);
  e.add(run::kScratch0, static_cast<uint32_t>(sizeof(Entry)));
  e.mov(field(offsetof(Call, entry)), run::kScratch0);
  e.mov(run::kY, field(offsetof(Call, y)));
  e.mov(run::kLength, field(offsetof(Call, length)));
  e.test(run::kScratch1, run::kScratch1);
  e.jz(single, Xbyak::CodeGenerator::T_NEAR);
  columns(true);
  e.jmp(stored, Xbyak::CodeGenerator::T_NEAR);
  e.L(single);
  columns(false);
  e.L(stored);
  e.mov(run::kScratch0, field(offsetof(Call, y_step)));
  e.add(field(offsetof(Call, y)), run::kScratch0);
  e.dec(field(offsetof(Call, entries)));
  e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
  emit_return(e);
}

using Function = void (*)(Call*);

std::shared_ptr<const Code> code_for(const Isa& isa, DType in, DType out) {
  return vector_code(isa, CodeKey("resize").add(in).add(out), [&](VectorEmitter& e) { generate(e, in, out); });
}

class Linear final : public Resize {
 public:
  Linear(const Isa& isa, const ResizeProblem& problem)
      : problem_(problem),
        name_("resize linear " + std::string(isa.name)),
        row_((static_cast<int64_t>(problem.columns.size()) * problem.c + 15) / 16 * 16) {
    for (const ResizeTaps& t : problem.columns) columns_.push_back(entry(t, problem.x.pixel));
    if (!problem.keeps_columns) column_code_ = code_for(isa, problem.dtype, problem.keeps_rows ? problem.dtype : DType::f32);
    row_code_ = code_for(isa, problem.keeps_columns ? problem.dtype : DType::f32, problem.dtype);
  }

  size_t workspace_bytes() const override {
    return problem_.keeps_columns || problem_.keeps_rows ? 0 : static_cast<size_t>(2 * row_) * sizeof(float);
  }
  std::string name() const override { return name_; }

  void run(const void* x, void* y, void* workspace, int part, int parts) const noexcept override {
    const auto oh = static_cast<int64_t>(problem_.rows.size());
    const WorkRange mine = split_work(problem_.n * oh, part, parts);
    Cache cache{static_cast<float*>(workspace), {-1, -1}};
    int64_t image = -1;
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      if (i / oh != image) cache.row[0] = cache.row[1] = -1;
      image = i / oh;
      const auto* from = static_cast<const std::byte*>(x) + image * problem_.x.image;
      auto* to = static_cast<std::byte*>(y) + image * problem_.y.image + i % oh * problem_.y.row;
      const ResizeTaps& taps = problem_.rows[static_cast<size_t>(i % oh)];
      if (problem_.keeps_rows)
        fill_columns(from + taps.index[0] * problem_.x.row, to, problem_.y.pixel);
      else if (problem_.keeps_columns)
        blend_pixels(from, to, taps);
      else
        blend_rows(from, to, taps, cache);
    }
  }

 private:
  struct Cache {
    float* data;
    int64_t row[2];
  };

  static Entry entry(const ResizeTaps& t, int64_t step) {
    const int64_t b = t.index[t.count - 1] * step;
    return {t.index[0] * step, b, {t.weight[0], t.weight[1]}, t.count - 1};
  }

  void fill_columns(const std::byte* from, void* to, int64_t step) const noexcept {
    Call call{from, columns_.data(), static_cast<int64_t>(columns_.size()), to, step, problem_.c};
    column_code_->entry<Function>()(&call);
  }

  // Rows of two images of the same pitch, pixel by pixel where they do not touch.
  void blend_pixels(const std::byte* from, std::byte* to, const ResizeTaps& taps) const noexcept {
    const Entry e = entry(taps, problem_.x.row);
    const auto width = static_cast<int64_t>(columns_.size()), dense = problem_.c * problem_.element;
    const bool touching = problem_.x.pixel == dense && problem_.y.pixel == dense;
    for (int64_t w = 0; w < (touching ? 1 : width); ++w) {
      Call call{from + w * problem_.x.pixel, &e, 1,
                to + w * problem_.y.pixel,   0,  touching ? width * problem_.c : problem_.c};
      row_code_->entry<Function>()(&call);
    }
  }

  void blend_rows(const std::byte* from, std::byte* to, const ResizeTaps& taps, Cache& cache) const noexcept {
    int slot[2] = {0, 0};
    for (int t = 0; t < taps.count; ++t) {
      const int64_t row = taps.index[t];
      const int spare = t == 1 ? 1 - slot[0] : cache.row[0] == taps.index[taps.count - 1] ? 1 : 0;
      slot[t] = cache.row[0] == row ? 0 : cache.row[1] == row ? 1 : spare;
      if (cache.row[slot[t]] == row) continue;
      fill_columns(from + row * problem_.x.row, cache.data + slot[t] * row_,
                   problem_.c * static_cast<int64_t>(sizeof(float)));
      cache.row[slot[t]] = row;
    }
    const auto bytes = [&](int s) { return s * row_ * static_cast<int64_t>(sizeof(float)); };
    const Entry e{bytes(slot[0]), bytes(slot[taps.count - 1]), {taps.weight[0], taps.weight[1]}, taps.count - 1};
    const auto width = static_cast<int64_t>(columns_.size());
    const bool touching = problem_.y.pixel == problem_.c * problem_.element;
    for (int64_t w = 0; w < (touching ? 1 : width); ++w) {
      Call call{cache.data + w * problem_.c, &e, 1,
                to + w * problem_.y.pixel,   0,  touching ? width * problem_.c : problem_.c};
      row_code_->entry<Function>()(&call);
    }
  }

  const ResizeProblem problem_;
  const std::string name_;
  const int64_t row_;  // floats of an interpolated row
  std::vector<Entry> columns_;
  std::shared_ptr<const Code> column_code_, row_code_;
};

// The pixels of the first of several equal rows are picked one by one, the others are copies of it.
class Nearest final : public Resize {
 public:
  explicit Nearest(const ResizeProblem& problem) : problem_(problem) {}
  std::string name() const override { return "resize nearest"; }

  void run(const void* x, void* y, void*, int part, int parts) const noexcept override {
    const ResizeProblem& p = problem_;
    const auto oh = static_cast<int64_t>(p.rows.size()), ow = static_cast<int64_t>(p.columns.size());
    const auto pixel = static_cast<size_t>(p.c * p.element);
    const bool touching = p.y.pixel == p.c * p.element;
    const WorkRange mine = split_work(p.n * oh, part, parts);
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t row = p.rows[static_cast<size_t>(i % oh)].index[0];
      auto* to = static_cast<std::byte*>(y) + i / oh * p.y.image + i % oh * p.y.row;
      if (touching && i > mine.begin && i % oh > 0 && p.rows[static_cast<size_t>(i % oh - 1)].index[0] == row) {
        std::memcpy(to, to - p.y.row, static_cast<size_t>(ow) * pixel);
        continue;
      }
      const auto* from = static_cast<const std::byte*>(x) + i / oh * p.x.image + row * p.x.row;
      for (int64_t w = 0; w < ow; ++w)
        std::memcpy(to + w * p.y.pixel, from + p.columns[static_cast<size_t>(w)].index[0] * p.x.pixel, pixel);
    }
  }

 private:
  const ResizeProblem problem_;
};

class ReferenceResize final : public Resize {
 public:
  explicit ReferenceResize(const ResizeProblem& problem) : problem_(problem) {}
  std::string name() const override { return "resize reference"; }
  void run(const void* x, void* y, void*, int part, int) const noexcept override {
    if (part == 0) resize_reference(problem_, x, y);
  }

 private:
  const ResizeProblem problem_;
};

}  // namespace

std::unique_ptr<Resize> make_resize(const Isa& isa, const ResizeProblem& problem) {
  assert(!problem.linear || problem.dtype == DType::f32 || problem.dtype == DType::u8);
  assert(!problem.linear || !problem.keeps_rows || !problem.keeps_columns);
  if (isa.id == IsaId::reference) return std::make_unique<ReferenceResize>(problem);
  if (problem.linear) return std::make_unique<Linear>(isa, problem);
  return std::make_unique<Nearest>(problem);
}

}  // namespace octet::kernels
