// Convolutions and matrix products of well-known networks, 8-bit and float, on every supported ISA, one thread.
//
// GOPS counts two operations a multiply-add. peak_% sets it against the arithmetic peak (peak.h) measured right before and
// after the shape, since the clock drifts: the larger of the two. The maddubs peak is the form that sums one k-group at a
// time, so bins may pass 100 %. The roofline is the longer of two times: the operations at that peak, and the bytes of
// input, weights, residual and output, once each, at the read bandwidth of a buffer as large as them all. roof_% is the
// share of it that was reached, and the label says which of the two it is.
#include <benchmark/benchmark.h>
#include <xmmintrin.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "bench/benchmarks.h"
#include "bench/product_setup.h"
#include "bench/shapes.h"
#include "kernels/isa.h"
#include "kernels/peak.h"

namespace octet::bench {
namespace {

using kernels::Isa;

double read_gbs(double bytes) {
  static std::map<double, double> measured;
  const auto [it, is_new] = measured.try_emplace(bytes, 0.0);
  if (is_new) it->second = kernels::measure_read_gbs(static_cast<size_t>(bytes));
  return it->second;
}

void run_product(benchmark::State& state, const Isa& isa, const NamedShape& named, DType x) {
  _mm_setcsr(_mm_getcsr() | 0x8040);  // denormals flushed, as in the engine
  const ProductSetup setup(isa, conv_shape(named), x, named.residual);
  const bool integer = x == DType::u8;
  const double before = kernels::measure_peak_gops(isa, integer);
  for (auto _ : state) {
    setup.run();
    benchmark::ClobberMemory();
  }
  const double peak = std::max(before, kernels::measure_peak_gops(isa, integer));
  const double operations = setup.operations() * static_cast<double>(state.iterations()) * 1e-9;
  const double bytes = setup.bytes() * static_cast<double>(state.iterations()) * 1e-9;
  const double compute = operations / peak, bandwidth = bytes / read_gbs(setup.bytes());
  const auto rate = [](double amount) { return benchmark::Counter(amount, benchmark::Counter::kIsRate); };
  state.counters["GOPS"] = rate(operations);
  state.counters["peak_%"] = rate(100 * compute);
  state.counters["roof_%"] = rate(100 * std::max(compute, bandwidth));
  state.SetLabel((compute > bandwidth ? "compute; " : "bandwidth; ") + setup.conv().name() + "; " +
                 kernels::describe(setup.packed()));
}

// Packing of a whole network's weights, as at load time.
void pack_network(benchmark::State& state, const Isa& isa, DType x) {
  std::vector<std::vector<int8_t>> weights;
  for (const NamedShape& named : kResNet50) weights.push_back(gaussian_weights(conv_shape(named)));
  std::vector<std::vector<float>> floats;
  for (const auto& w : weights) floats.emplace_back(w.begin(), w.end());
  double count = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < kResNet50.size(); ++i)
      for (int copy = 0; copy < kResNet50[i].count; ++copy) {
        kernels::ConvWeights given;
        given.data = x == DType::u8 ? static_cast<const void*>(weights[i].data()) : floats[i].data();
        given.dtype = x == DType::u8 ? DType::s8 : DType::f32;
        benchmark::DoNotOptimize(kernels::pack_weights(isa, conv_shape(kResNet50[i]), given));
        count += static_cast<double>(weights[i].size());
      }
  }
  state.counters["weights/s"] = benchmark::Counter(count, benchmark::Counter::kIsRate);
}

void add(const Isa& isa, const NamedShape& named, DType x) {
  const std::string name = "product/" + std::string(x == DType::u8 ? "u8" : "f32") + "/" + std::string(isa.name) + "/" +
                           std::string(named.network) + "/" + std::string(named.name);
  benchmark::RegisterBenchmark(name.c_str(), [&isa, &named, x](benchmark::State& state) {
    run_product(state, isa, named, x);
  })->Unit(benchmark::kMicrosecond);
}

}  // namespace

void register_products() {
  for (const Isa& isa : kernels::all_isas()) {
    if (isa.id == kernels::IsaId::reference || !kernels::supported(isa)) continue;
    for (DType x : {DType::u8, DType::f32}) {
      if (x == DType::f32 && isa.dot != kernels::DotKind::maddubs) continue;  // floats depend on the vector width alone
      for (const NamedShape& named : kResNet50) add(isa, named, x);
      for (const NamedShape& named : kMobileNetV2) add(isa, named, x);
      for (const NamedShape& named : kMatrices) add(isa, named, x);
      for (const NamedShape& named : kDepthwise) add(isa, named, x);
      const std::string name =
          "pack/" + std::string(x == DType::u8 ? "u8" : "f32") + "/" + std::string(isa.name) + "/resnet50";
      benchmark::RegisterBenchmark(name.c_str(), [&isa, x](benchmark::State& state) {
        pack_network(state, isa, x);
      })->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace octet::bench
