// INT8 attention alone: 12 heads of 64, one sample, q, k and v side by side as a product leaves them, one thread.
//
// GOPS counts two operations for every multiply-add of the scores and of the sum of values. peak_% sets it against the
// arithmetic peak of the ISA; softmax_% is the time of its probabilities, run alone on the same scores, against the whole.
#include <benchmark/benchmark.h>
#include <xmmintrin.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "bench/benchmarks.h"
#include "kernels/aligned_buffer.h"
#include "kernels/attention.h"
#include "kernels/attention/generators.h"
#include "kernels/peak.h"

namespace octet::bench {
namespace {

using kernels::AlignedBuffer;
using kernels::Isa;
namespace attention = kernels::attention;

constexpr int64_t kHeads = 12, kSize = 64;

kernels::AttentionProblem problem_of(int64_t sequence, bool masked) {
  kernels::AttentionProblem p;
  p.heads = p.kv_heads = kHeads;
  p.queries = p.keys = sequence;
  p.size = p.value_size = kSize;
  const int64_t row = 3 * kHeads * kSize;
  p.q = p.k = p.v = {sequence * row, kSize, row};
  p.y = {sequence * kHeads * kSize, kSize, kHeads * kSize};
  p.q_zero_point = 130, p.v_zero_point = 125, p.y_zero_point = 128;
  const float step = 4.0f / 127;
  p.factors = numerics::attention_factors(step, step, step, 0.125f, step);
  p.masked = masked;
  p.mask = {0, 0, 0, 1};
  return p;
}

// Seconds of the probabilities of all rows.
double softmax_seconds(const Isa& isa, const kernels::AttentionProblem& p) {
  const attention::Form form = attention::make_form(isa, p);
  const auto code = attention::probability_code(isa, form, p.masked);
  AlignedBuffer scores(static_cast<size_t>(form.rows * form.score_row())),
      out(static_cast<size_t>(form.rows * form.probability_row()));
  std::vector<int32_t> sums(static_cast<size_t>(form.rows));
  std::vector<float> mask(static_cast<size_t>(p.keys), 0.0f);
  for (size_t i = 0; i < scores.bytes() / 4; ++i)
    scores.as<int32_t>()[i] = static_cast<int32_t>(i * 2654435761u % 40000) - 20000;
  attention::ProbabilityArgs args{};
  args.scores = scores.as<int32_t>(), args.score_row = form.score_row();
  args.p = out.as<std::byte>(), args.p_row = form.probability_row();
  args.mask = mask.data();
  args.chunk_bytes = form.keys * 4;
  args.sums = sums.data(), args.rows = form.rows;
  args.score = p.factors.score, args.exponent = p.factors.exponent;
  const int64_t blocks = p.heads * p.queries / form.rows;
  double best = 1e9;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < blocks; ++i) code->entry<void (*)(const attention::ProbabilityArgs*)>()(&args);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void run_attention(benchmark::State& state, const Isa& isa, int64_t sequence, bool masked) {
  _mm_setcsr(_mm_getcsr() | 0x8040);  // denormals flushed, as in the engine
  const kernels::AttentionProblem p = problem_of(sequence, masked);
  const auto kernel = kernels::make_attention(isa, p);
  AlignedBuffer qkv(static_cast<size_t>(p.q.batch)), y(static_cast<size_t>(p.y.batch)), workspace(kernel->workspace_bytes());
  uint32_t random = 1;
  for (size_t i = 0; i < qkv.bytes(); ++i) {  // near enough to Gaussian: a sum of four
    int sum = 0;
    for (int n = 0; n < 4; ++n) sum += static_cast<int>((random = random * 1664525u + 1013904223u) >> 26);
    qkv.as<uint8_t>()[i] = static_cast<uint8_t>(sum);
  }
  const std::vector<float> mask(static_cast<size_t>(sequence), 0.0f);
  const uint8_t* q = qkv.as<uint8_t>();
  const kernels::AttentionArgs args{q,           q + kHeads * kSize, q + 2 * kHeads * kSize,
                                    mask.data(), y.as<std::byte>(),  workspace.as<std::byte>()};
  const double before = kernels::measure_peak_gops(isa, true);
  double best = 1e9;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    kernel->run(args, 0, 1);
    benchmark::ClobberMemory();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  const double peak = std::max(before, kernels::measure_peak_gops(isa, true));
  const double gops = 4e-9 * static_cast<double>(kHeads * kSize * sequence * sequence) / best;
  state.counters["best_us"] = best * 1e6;
  state.counters["GOPS"] = gops;
  state.counters["peak_%"] = 100 * gops / peak;
  state.counters["softmax_%"] = 100 * softmax_seconds(isa, p) / best;
}

}  // namespace

void register_attention() {
  for (const Isa& isa : kernels::all_isas()) {
    if (isa.id == kernels::IsaId::reference || !kernels::supported(isa)) continue;
    for (const bool masked : {false, true})
      for (const int64_t sequence : {128, 384, 512, 2048}) {
        const std::string name =
            "attention/u8/" + std::string(isa.name) + "/12x64/" + std::to_string(sequence) + (masked ? "/masked" : "");
        benchmark::RegisterBenchmark(name.c_str(), [&isa, sequence, masked](benchmark::State& state) {
          run_attention(state, isa, sequence, masked);
        })->Unit(benchmark::kMicrosecond);
      }
  }
}

}  // namespace octet::bench
