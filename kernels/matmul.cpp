// One block of matmul.h.
//
//   rsi rows 0..2 of a, rax rows 3..5, r10 bytes between rows; rdx row of b, r11 bytes between rows; r8 y, r9 k left
//   v0..v11 sums [row][vector], v12 v13 columns of b, v14 an element of a, v15 (k1) the mask of the last columns, rcx their
//   number
//
//   for k: v12, v13 = b[k];  for each row: v14 = a[row][k], sums[row] += v14 * (v12, v13)
#include "kernels/matmul.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <map>

#include "kernels/jit/transpose_emitter.h"
#include "kernels/jit/vector_emitter.h"
#include "kernels/partition.h"

namespace octet::kernels {
namespace {

constexpr int kRows = 6, kVectors = 2;
constexpr int kB = 12, kA = 14, kMask = 15;

struct Call {
  const float *a, *b;
  float* y;
  int64_t k, a_row, b_row, y_row, tail, a_step;
  float alpha;
};
using Function = void (*)(const Call*);

struct BlockForm {
  int rows, vectors;
  bool tail;    // the last vector is cut
  bool scaled;  // by alpha
  auto operator<=>(const BlockForm&) const = default;
};

void generate(VectorEmitter& e, const BlockForm& form) {
  const auto field = [&](size_t at) { return e.qword[e.rdi + at]; };
  const auto sum = [&](int row, int v) { return row * form.vectors + v; };
  const auto is_tail = [&](int v) { return form.tail && v == form.vectors - 1; };
  e.mov(e.rsi, field(offsetof(Call, a)));
  e.mov(e.rdx, field(offsetof(Call, b)));
  e.mov(e.r8, field(offsetof(Call, y)));
  e.mov(e.r9, field(offsetof(Call, k)));
  e.mov(e.r10, field(offsetof(Call, a_row)));
  e.mov(e.r11, field(offsetof(Call, b_row)));
  if (form.tail) {
    e.mov(e.rcx, field(offsetof(Call, tail)));
    e.begin_tail(e.rcx, kMask, e.rax);
  }
  e.lea(e.rax, e.ptr[e.r10 + e.r10 * 2]);
  e.add(e.rax, e.rsi);
  for (int i = 0; i < form.rows * form.vectors; ++i) e.zero(i);
  Xbyak::Label next;
  e.L(next);
  for (int v = 0; v < form.vectors; ++v) {
    const Xbyak::RegExp at = e.rdx + disp(v * e.vector_bytes());
    if (is_tail(v))
      e.load_tail(e.v(kB + v), at);
    else
      e.load(e.v(kB + v), at);
  }
  for (int row = 0; row < form.rows; ++row) {
    const Xbyak::Reg64 base = row < 3 ? e.rsi : e.rax;
    e.broadcast(e.v(kA), row % 3 == 0 ? e.ptr[base] : row % 3 == 1 ? e.ptr[base + e.r10] : e.ptr[base + e.r10 * 2]);
    for (int v = 0; v < form.vectors; ++v) e.vfmadd231ps(e.v(sum(row, v)), e.v(kA), e.v(kB + v));
  }
  e.add(e.rsi, field(offsetof(Call, a_step)));
  e.add(e.rax, field(offsetof(Call, a_step)));
  e.add(e.rdx, e.r11);
  e.dec(e.r9);
  e.jnz(next, Xbyak::CodeGenerator::T_NEAR);
  if (form.scaled) {
    e.broadcast(e.v(kA), e.ptr[e.rdi + offsetof(Call, alpha)]);
    for (int i = 0; i < form.rows * form.vectors; ++i) e.vmulps(e.v(i), e.v(i), e.v(kA));
  }
  for (int row = 0; row < form.rows; ++row) {
    for (int v = 0; v < form.vectors; ++v) {
      const Xbyak::RegExp at = e.r8 + disp(v * e.vector_bytes());
      if (is_tail(v))
        e.store_tail(at, sum(row, v), e.rcx, e.r9);
      else
        e.store(at, e.v(sum(row, v)));
    }
    if (row + 1 < form.rows) e.add(e.r8, field(offsetof(Call, y_row)));
  }
  e.vzeroupper();
  e.ret();
}

class BlockCodes {
 public:
  explicit BlockCodes(const Isa& isa) : isa_(isa) {}
  Function get(const BlockForm& form) {
    std::shared_ptr<const Code>& code = codes_[form];
    if (!code)
      code = vector_code(isa_, CodeKey("matmul").add(form.rows).add(form.vectors).add(form.tail).add(form.scaled),
                         [&](VectorEmitter& e) { generate(e, form); });
    return code->entry<Function>();
  }

 private:
  const Isa& isa_;
  std::map<BlockForm, std::shared_ptr<const Code>> codes_;
};

// Columns that one block computes together.
struct Columns {
  int64_t at = 0, tail = 0;
  Function code[2] = {nullptr, nullptr};  // full blocks of rows, the last one
};

std::vector<Columns> cut_columns(BlockCodes& codes, const Isa& isa, const MatmulProblem& p, int64_t n) {
  std::vector<Columns> list;
  const int64_t lanes = isa.lanes(), m = p.m;
  for (int64_t at = 0; at < n; at += kVectors * lanes) {
    const int64_t left = std::min<int64_t>(n - at, kVectors * lanes);
    Columns& c = list.emplace_back();
    c.at = at;
    c.tail = left % lanes;
    const auto vectors = static_cast<int>((left + lanes - 1) / lanes);
    for (const int64_t rows : {std::min<int64_t>(kRows, m), m % kRows}) {
      const BlockForm form{static_cast<int>(rows), vectors, c.tail > 0, p.alpha != 1.0f};
      c.code[rows == kRows || rows == m ? 0 : 1] = rows > 0 ? codes.get(form) : nullptr;
    }
  }
  return list;
}

// Strides that were left out are those of dense matrices.
MatmulProblem with_strides(MatmulProblem p) {
  if (p.a_row == 0) p.a_row = p.k;
  if (p.b_row == 0) p.b_row = p.b_transposed ? p.k : p.n;
  return p;
}

bool is_whole(int64_t m, int64_t row) { return m - row >= std::min<int64_t>(kRows, m); }

class Matmul final : public Kernel {
 public:
  Matmul(const Isa& isa, const MatmulProblem& problem)
      : problem_(with_strides(problem)),
        name_("matmul f32 " + std::string(isa.name)),
        codes_(isa),
        columns_(cut_columns(codes_, isa, problem, problem.n)) {}

  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const MatmulProblem& p = problem_;
    const int64_t blocks = (p.m + kRows - 1) / kRows;
    const WorkRange mine = split_work(static_cast<int64_t>(p.batch.size()) * blocks, part, parts);
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const auto& [a, b] = p.batch[static_cast<size_t>(i / blocks)];
      const int64_t row = i % blocks * kRows;
      for (const Columns& c : columns_) {
        const Call call{static_cast<const float*>(args.a) + a + row * p.a_row,
                        static_cast<const float*>(args.b) + b + c.at,
                        static_cast<float*>(args.y) + (i / blocks * p.m + row) * p.n + c.at,
                        p.k,
                        4 * p.a_row,
                        4 * p.b_row,
                        4 * p.n,
                        c.tail,
                        4 * p.a_step,
                        p.alpha};
        c.code[is_whole(p.m, row) ? 0 : 1](&call);
      }
    }
  }
  std::string name() const override { return name_; }

 private:
  const MatmulProblem problem_;
  const std::string name_;
  BlockCodes codes_;
  std::vector<Columns> columns_;
};

// The columns of b by chunks, each turned into [k][kChunk] of the workspace and multiplied by all rows of a.
class Transposed final : public TransposedMatmul {
 public:
  Transposed(const Isa& isa, const MatmulProblem& problem)
      : problem_(with_strides(problem)), name_("matmul f32 by a transposed " + std::string(isa.name)), codes_(isa) {
    const int64_t rest = problem.n % kChunk;
    if (problem.n >= kChunk) columns_[0] = cut_columns(codes_, isa, problem, kChunk);
    if (rest > 0) columns_[1] = cut_columns(codes_, isa, problem, rest);
    if (problem.n >= kTransposeLines) turn_[0] = turning_code(isa, kTransposeLines);
    if (rest % kTransposeLines > 0) turn_[1] = turning_code(isa, rest % kTransposeLines);
  }

  void run(const TransposedMatmulArgs& args, int part, int parts) const noexcept override {
    const MatmulProblem& p = problem_;
    const int64_t chunks = (p.n + kChunk - 1) / kChunk;
    const WorkRange mine = split_work(static_cast<int64_t>(p.batch.size()) * chunks, part, parts);
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const auto& [a, b] = p.batch[static_cast<size_t>(i / chunks)];
      const int64_t first = i % chunks * kChunk, count = std::min(kChunk, p.n - first);
      turn(args.b + b + first * p.b_row, count, args.workspace);
      for (const Columns& c : columns_[count == kChunk ? 0 : 1])
        for (int64_t row = 0; row < p.m; row += kRows) {
          const Call call{args.a + a + row * p.a_row,
                          args.workspace + c.at,
                          args.y + (i / chunks * p.m + row) * p.n + first + c.at,
                          p.k,
                          4 * p.a_row,
                          4 * kChunk,
                          4 * p.n,
                          c.tail,
                          4 * p.a_step,
                          p.alpha};
          c.code[is_whole(p.m, row) ? 0 : 1](&call);
        }
    }
  }

  size_t workspace_bytes() const override { return static_cast<size_t>(problem_.k * kChunk) * 4; }
  std::string name() const override { return name_; }

 private:
  static constexpr int64_t kChunk = 32;

  std::shared_ptr<const Code> turning_code(const Isa& isa, int64_t lines) const {
    const TransposeForm form{4, static_cast<int>(lines), static_cast<int>(problem_.k % transpose_tile_width(4)), false};
    return vector_code(isa, CodeKey("transpose").add(form.element).add(form.a_count).add(form.rest).add(form.dense),
                       [&](VectorEmitter& e) { emit_transpose(e, form); });
  }

  void turn(const float* b, int64_t count, float* to) const {
    const int64_t blocks = count / kTransposeLines, k = problem_.k, row = problem_.b_row, width = transpose_tile_width(4);
    TransposeCall call{b, to, 4 * row, 4 * kChunk, blocks, k / width, k % width > 0};
    if (blocks > 0) turn_[0]->entry<void (*)(TransposeCall*)>()(&call);
    if (count % kTransposeLines == 0) return;
    call = {
        b + blocks * kTransposeLines * row, to + blocks * kTransposeLines, 4 * row, 4 * kChunk, 1, k / width, k % width > 0};
    turn_[1]->entry<void (*)(TransposeCall*)>()(&call);
  }

  const MatmulProblem problem_;
  const std::string name_;
  BlockCodes codes_;
  std::vector<Columns> columns_[2];      // whole chunks, the last one
  std::shared_ptr<const Code> turn_[2];  // eight lines, the last ones
};

class ReferenceMatmul final : public Kernel {
 public:
  explicit ReferenceMatmul(const MatmulProblem& problem) : problem_(problem) {}
  void run(const KernelArgs& args, int part, int) const noexcept override {
    if (part == 0) matmul_reference(problem_, args);
  }
  std::string name() const override { return "matmul reference"; }

 private:
  const MatmulProblem problem_;
};

}  // namespace

KernelPtr make_matmul(const Isa& isa, const MatmulProblem& problem) {
  assert(problem.m > 0 && problem.n > 0 && problem.k > 0 && !problem.b_transposed);
  if (isa.id == IsaId::reference) return std::make_unique<ReferenceMatmul>(problem);
  return std::make_unique<Matmul>(isa, problem);
}

std::unique_ptr<TransposedMatmul> make_transposed_matmul(const Isa& isa, const MatmulProblem& problem) {
  assert(problem.m > 0 && problem.n > 0 && problem.k > 0 && problem.b_transposed && isa.lanes() > 0);
  return std::make_unique<Transposed>(isa, problem);
}

}  // namespace octet::kernels
