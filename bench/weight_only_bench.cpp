// Products by weights of 4 and 8 bits that are dequantized inside the kernel, on every vector ISA, one thread.
//
// bytes_per_second counts the packed weights, scales included. roof_% is the share of the read bandwidth of a buffer as
// large as they are, measured in the same run; GOPS matters for more than a few rows.
#include <benchmark/benchmark.h>
#include <xmmintrin.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "bench/benchmarks.h"
#include "kernels/packed_weights.h"
#include "kernels/peak.h"
#include "kernels/weight_only.h"

namespace octet::bench {
namespace {

using kernels::Isa;

struct Case {
  int64_t m, n, k, block;
  int bits;
};

void run(benchmark::State& state, const Isa& isa, const Case& c) {
  _mm_setcsr(_mm_getcsr() | 0x8040);  // denormals flushed, as in the engine
  kernels::WeightOnlyWeights w{c.n, c.k, c.block, c.bits, nullptr, nullptr, nullptr};
  std::mt19937 random(1);
  std::vector<uint8_t> q(static_cast<size_t>(c.n * w.blocks() * w.block_bytes()));
  for (uint8_t& byte : q) byte = static_cast<uint8_t>(random());
  const std::vector<float> scale(static_cast<size_t>(c.n * w.blocks()), 0.01f), x(static_cast<size_t>(c.m * c.k), 0.5f);
  w.q = q.data();
  w.scale = scale.data();
  const auto packed = kernels::pack_weight_only(isa, w);
  const auto product = kernels::make_weight_only(isa, c.m, {}, packed);
  std::vector<float> y(static_cast<size_t>(c.m * c.n)), workspace(product->workspace_bytes() / 4 + 16);
  for (auto _ : state) {
    product->run({x.data(), y.data(), workspace.data()}, 0, 1);
    benchmark::ClobberMemory();
  }
  const auto iterations = static_cast<double>(state.iterations());
  const double bytes = static_cast<double>(packed->bytes) * iterations;
  const auto rate = [](double amount) { return benchmark::Counter(amount, benchmark::Counter::kIsRate); };
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
  state.counters["GOPS"] = rate(2e-9 * static_cast<double>(c.m * c.n * c.k) * iterations);
  state.counters["roof_%"] = rate(100e-9 * bytes / kernels::measure_read_gbs(packed->bytes));
  state.SetLabel(product->name() + "; " + kernels::describe(*packed));
}

}  // namespace

void register_weight_only() {
  static constexpr Case kCases[] = {{1, 768, 768, 32, 4},     {1, 50257, 768, 32, 4},   {1, 4096, 4096, 32, 4},
                                    {1, 4096, 4096, 128, 4},  {1, 11008, 4096, 128, 4}, {1, 4096, 11008, 128, 4},
                                    {1, 4096, 4096, 128, 8},  {1, 11008, 4096, 128, 8}, {4, 4096, 4096, 128, 4},
                                    {32, 4096, 4096, 128, 4}, {128, 3072, 768, 32, 4},  {128, 768, 3072, 32, 4},
                                    {128, 4096, 4096, 128, 4}};
  for (const Isa& isa : kernels::all_isas()) {
    if (isa.id == kernels::IsaId::reference || !kernels::supported(isa)) continue;
    for (const Case& c : kCases) {
      if (isa.dot == kernels::DotKind::tile && c.m < 8) continue;  // as on avx512_vnni
      const std::string name = "weight_only/int" + std::to_string(c.bits) + "/" + std::string(isa.name) + "/" +
                               std::to_string(c.m) + "x" + std::to_string(c.n) + "x" + std::to_string(c.k) + "/block" +
                               std::to_string(c.block);
      benchmark::RegisterBenchmark(name.c_str(), [&isa, &c](benchmark::State& state) {
        run(state, isa, c);
      })->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace octet::bench
