// Copies and transpositions; what is done where: copy_plan.h.
//
// Short runs of a size known now are moved by code: rsi x, rdx y, rcx runs left, r8 and r9 strides, v0..v7 the pieces of a
// run (pieces.h). Long ones go through memcpy.
#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstring>

#include "kernels/copy_plan.h"
#include "kernels/jit/pieces.h"
#include "kernels/jit/transpose_emitter.h"
#include "kernels/reference/reference.h"

namespace octet::kernels {
namespace {

struct RunsCall {
  const void* x;
  void* y;
  int64_t runs, x_stride, y_stride;
};

void generate_runs(VectorEmitter& e, int run_bytes) {
  const auto field = [&](size_t at) { return e.ptr[e.rdi + at]; };
  const std::vector<Piece> pieces = cover(run_bytes, e.vector_bytes());
  assert(pieces.size() <= 8);
  Xbyak::Label run;
  e.mov(e.rsi, field(offsetof(RunsCall, x)));
  e.mov(e.rdx, field(offsetof(RunsCall, y)));
  e.mov(e.rcx, field(offsetof(RunsCall, runs)));
  e.mov(e.r8, field(offsetof(RunsCall, x_stride)));
  e.mov(e.r9, field(offsetof(RunsCall, y_stride)));
  e.L(run);
  for (size_t i = 0; i < pieces.size(); ++i)
    e.load_piece(static_cast<int>(i), e.rsi + disp(pieces[i].offset), pieces[i].bytes);
  for (size_t i = 0; i < pieces.size(); ++i)
    e.store_piece(e.rdx + disp(pieces[i].offset), static_cast<int>(i), pieces[i].bytes);
  e.add(e.rsi, e.r8);
  e.add(e.rdx, e.r9);
  e.dec(e.rcx);
  e.jnz(run);
  e.vzeroupper();
  e.ret();
}

struct Place {
  const uint8_t* x;
  uint8_t* y;
};

// Up to three outer loops, flattened: index 0 .. count-1.
class OuterLoops {
 public:
  explicit OuterLoops(const std::vector<CopyLoop>& loops) {
    assert(loops.size() <= loops_.size());
    std::copy(loops.begin(), loops.end(), loops_.end() - static_cast<std::ptrdiff_t>(loops.size()));
  }
  int64_t count() const { return loops_[0].size * loops_[1].size * loops_[2].size; }
  const CopyLoop& innermost() const { return loops_[2]; }
  Place at(const KernelArgs& args, int64_t index) const {
    int64_t from = 0, to = 0;
    for (size_t i = loops_.size(); i-- > 0;) {
      from += index % loops_[i].size * loops_[i].from;
      to += index % loops_[i].size * loops_[i].to;
      index /= loops_[i].size;
    }
    return {static_cast<const uint8_t*>(args.a) + from, static_cast<uint8_t*>(args.y) + to};
  }

 private:
  std::array<CopyLoop, 3> loops_{};
};

class CopyRuns final : public Kernel {
 public:
  CopyRuns(const Isa& isa, const CopyPlan& plan)
      : name_("copy runs " + std::string(isa.name)), outer_(plan.outer), run_bytes_(plan.run_bytes) {
    if (run_bytes_ > 8 * isa.vector_bytes) return;
    const auto bytes = static_cast<int>(run_bytes_);
    code_ = vector_code(isa, CodeKey("copy runs").add(bytes), [&](VectorEmitter& e) { generate_runs(e, bytes); });
  }

  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const RunRange range = split_runs(outer_.count(), run_bytes_, part, parts);
    if (range.empty()) return;
    const bool whole_runs = range.columns.size() == run_bytes_;
    const CopyLoop& inner = outer_.innermost();
    for (int64_t r = range.rows.begin; r < range.rows.end;) {
      const int64_t count = std::min(range.rows.end - r, inner.size - r % inner.size);
      const Place place = outer_.at(args, r);
      if (code_ && whole_runs) {
        const RunsCall call{place.x, place.y, count, inner.from, inner.to};
        code_->entry<void (*)(const RunsCall*)>()(&call);
      } else {
        for (int64_t i = 0; i < count; ++i)
          std::memcpy(place.y + i * inner.to + range.columns.begin, place.x + i * inner.from + range.columns.begin,
                      static_cast<size_t>(range.columns.size()));
      }
      r += count;
    }
  }
  std::string name() const override { return name_; }

 private:
  std::string name_;
  OuterLoops outer_;
  int64_t run_bytes_;
  std::shared_ptr<const Code> code_;
};

// Strips of source columns: the destination lines of a strip stay in L1 while the source lines go by, 8 at a time. Where no
// more than 8 go by, strips are long.
class Transpose final : public Kernel {
 public:
  Transpose(const Isa& isa, const CopyPlan& plan, int element)
      : name_("transpose " + std::string(isa.name)),
        outer_(plan.outer),
        columns_(plan.source_line),
        lines_(plan.destination_line),
        element_(element) {
    const auto rest = static_cast<int>(columns_.size % transpose_tile_width(element));
    const auto code_for = [&](int64_t lines) {
      const TransposeForm form{element, static_cast<int>(lines), rest, columns_.to == lines * element};
      CodeKey key("transpose");
      key.add(form.element).add(form.a_count).add(form.rest).add(form.dense);
      return vector_code(isa, key, [&](VectorEmitter& e) { emit_transpose(e, form); });
    };
    if (lines_.size >= kTransposeLines) full_ = code_for(kTransposeLines);
    if (lines_.size % kTransposeLines > 0) last_ = code_for(lines_.size % kTransposeLines);
  }

  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const int64_t chunk = lines_.size <= kTransposeLines ? 1024 : 64;
    const int64_t chunks = (columns_.size + chunk - 1) / chunk, units = outer_.count() * chunks;
    const int64_t blocks = (lines_.size + kTransposeLines - 1) / kTransposeLines;
    const bool by_units = units >= parts;
    const WorkRange mine = by_units ? split_work(units, part, parts) : WorkRange{0, units};
    const WorkRange my_blocks = by_units ? WorkRange{0, blocks} : split_work(blocks, part, parts);
    for (int64_t u = mine.begin; u < mine.end; ++u) {
      const int64_t first = u % chunks * chunk;
      Place place = outer_.at(args, u / chunks);
      place.x += first * element_;
      place.y += first * columns_.to;
      const int64_t columns = std::min(chunk, columns_.size - first), full_blocks = lines_.size / kTransposeLines;
      strip(full_.get(), place, columns, {my_blocks.begin, std::min(my_blocks.end, full_blocks)});
      strip(last_.get(), place, columns, {std::max(my_blocks.begin, full_blocks), my_blocks.end});
    }
  }
  std::string name() const override { return name_; }

 private:
  void strip(const Code* code, const Place& place, int64_t columns, WorkRange blocks) const {
    if (blocks.size() <= 0) return;
    const int width = transpose_tile_width(element_);
    const int64_t line = blocks.begin * kTransposeLines;
    TransposeCall call;
    call.x = place.x + line * lines_.from;
    call.y = place.y + line * element_;
    call.x_stride = lines_.from;
    call.y_stride = columns_.to;
    call.blocks = blocks.size();
    call.tiles = columns / width;
    call.with_rest = columns % width > 0;
    code->entry<void (*)(TransposeCall*)>()(&call);
  }

  std::string name_;
  OuterLoops outer_;
  CopyLoop columns_, lines_;
  int element_;
  std::shared_ptr<const Code> full_, last_;
};

class ScalarCopy final : public Kernel {
 public:
  ScalarCopy(std::string name, const CopyProblem& problem) : name_(std::move(name)), problem_(problem) {}
  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    copy_reference_rows(problem_, args, split_work(problem_.n * problem_.h, part, parts));
  }
  std::string name() const override { return name_; }

 private:
  std::string name_;
  CopyProblem problem_;
};

}  // namespace

KernelPtr make_copy(const Isa& isa, const CopyProblem& problem) {
  assert(problem.element == 1 || problem.element == 2 || problem.element == 4 || problem.element == 8);
  if (isa.id == IsaId::reference) return std::make_unique<ScalarCopy>("copy reference", problem);
  const CopyPlan plan = plan_copy(problem);
  switch (plan.form) {
    case CopyForm::runs: return std::make_unique<CopyRuns>(isa, plan);
    case CopyForm::transpose: return std::make_unique<Transpose>(isa, plan, static_cast<int>(problem.element));
    case CopyForm::scalar: break;
  }
  return std::make_unique<ScalarCopy>("copy scalar", problem);
}

}  // namespace octet::kernels
