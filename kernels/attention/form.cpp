#include "kernels/attention/form.h"

#include <algorithm>

namespace octet::kernels::attention {
namespace {

int64_t round_up(int64_t v, int64_t unit) { return (v + unit - 1) / unit * unit; }

// Query rows that share keys and values, up to which packing them takes longer than it saves. Twelve layers of gpt2 behind
// 900 tokens, in turn, ms by 1, 2, 3 and 4 rows: avx512_vnni packed 2.7 2.8 2.6 2.8, as they lie 1.4 2.3 2.4 3.9; avx2 3.7
// 4.7 5.4 4.5 and 1.4 2.2 3.0 3.6; behind 128, avx512_vnni 0.26 0.31 0.33 0.52 and 0.14 0.24 0.37 0.53.
constexpr int64_t kMostUnpackedRows = 2;

bool is_unpacked(const AttentionProblem& p) {
  return p.dtype == DType::u8 && p.queries * (p.heads / p.kv_heads) <= kMostUnpackedRows &&
         p.keys <= INT32_MAX / std::max({p.k.row, p.v.row, int64_t{1}});
}

}  // namespace

Form make_form(const Isa& isa, const AttentionProblem& problem) {
  Form f;
  f.tile = isa.dot == DotKind::tile;
  f.lanes = isa.lanes();
  f.vector_bytes = isa.vector_bytes;
  f.unpacked = is_unpacked(problem);
  if (f.unpacked) f.tile = false;
  if (isa.dot == DotKind::maddubs || f.unpacked) f.group = 2, f.element = 2, f.chunk_vectors = 2;
  if (problem.dtype == DType::f32) {
    f.tile = false;
    f.group = 1, f.element = 4, f.chunk_vectors = 16 / f.lanes;
  }
  f.rows = f.tile ? 16 : f.unpacked ? 1 : isa.vector_count >= 32 ? 12 : 6;
  f.chunk = f.chunk_vectors * f.lanes;
  f.depth = round_up(problem.size, f.tile ? 64 : f.unpacked ? 2 * f.lanes : f.group);
  f.steps = f.depth / f.group;
  f.keys = round_up(problem.keys, f.chunk);
  f.key_panels = f.keys / f.lanes;
  f.value_panels = round_up(problem.value_size, f.unpacked ? 2 * f.lanes : f.lanes) / f.lanes;
  // Causal blocks each end at a key of their own, and have no even work to overlap.
  f.pipelined = f.tile && f.depth == 64 && f.value_panels <= 4 && !problem.causal;
  return f;
}

Workspace make_workspace(const Form& f, const AttentionProblem& problem) {
  Workspace w;
  const auto take = [&](size_t& at, int64_t bytes) {
    at = w.bytes;
    w.bytes += static_cast<size_t>(round_up(bytes, 64));
  };
  take(w.keys, f.unpacked ? 0 : f.key_panels * f.key_panel_bytes());
  take(w.key_starts, f.unpacked ? 0 : f.keys * 4);
  const int copies = f.pipelined ? 2 : 1;
  take(w.values, f.unpacked ? 0 : copies * f.value_bytes());
  take(w.queries, f.rows * (f.depth * f.element + 64));
  take(w.scores, copies * f.rows * f.score_row());
  take(w.probabilities, f.rows * f.probability_row());
  take(w.outputs, f.rows * f.output_row());
  take(w.mask, problem.masked || problem.causal ? f.rows * f.keys * 4 : 0);
  take(w.sums, f.rows * 4);
  take(w.lanes, f.pipelined ? 2048 : 0);
  take(w.shifts, f.pipelined ? 128 : 0);
  take(w.last_values, (f.pipelined ? f.chunk : 4) * (problem.value_size + 64));
  return w;
}

}  // namespace octet::kernels::attention
