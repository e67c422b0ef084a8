// Depthwise convolutions of MobileNetV2, one thread: GOPS (2 operations a product), INT8 and float.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "bench/benchmarks.h"
#include "kernels/aligned_buffer.h"
#include "kernels/depthwise.h"

namespace octet::kernels {
namespace {

struct Layer {
  const char* name;
  int64_t channels, size, kernel, stride;
};
constexpr Layer kLayers[] = {
    {"32@112", 32, 112, 3, 1},    {"96@112 s2", 96, 112, 3, 2}, {"144@56", 144, 56, 3, 1},     {"144@56 s2", 144, 56, 3, 2},
    {"192@28", 192, 28, 3, 1},    {"192@28 s2", 192, 28, 3, 2}, {"384@14", 384, 14, 3, 1},     {"576@14", 576, 14, 3, 1},
    {"576@14 s2", 576, 14, 3, 2}, {"960@7", 960, 7, 3, 1},      {"5x5 240@28", 240, 28, 5, 1}, {"5x5 672@14", 672, 14, 5, 1},
    {"7x7 96@56", 96, 56, 7, 1},
};

void depthwise(benchmark::State& state, const Isa& isa, const Layer& layer, bool is_float) {
  const int64_t element = is_float ? 4 : 1, pad = layer.kernel / 2;
  ConvProblem problem;
  ConvShape& s = problem.shape;
  s.ic = s.oc = s.groups = layer.channels;
  s.ih = s.iw = layer.size;
  s.kh = s.kw = layer.kernel;
  s.stride_h = s.stride_w = layer.stride;
  s.pad_top = s.pad_left = pad;
  s.oh = s.ow = (layer.size - 1) / layer.stride + 1;
  problem.x_dtype = is_float ? DType::f32 : DType::u8;
  const auto layout = [&](int64_t width) {
    const int64_t pixel = layer.channels * element, row = (width + 2 * pad) * pixel;
    return ImageLayout{pixel, row, row * (width + 2 * pad)};
  };
  problem.x = layout(layer.size);
  problem.y = layout(s.ow);
  problem.epilogue.out = is_float ? DType::f32 : DType::u8;
  const auto oc = static_cast<size_t>(s.oc);
  if (is_float)
    problem.epilogue.bias.assign(oc, 0.5f);
  else
    problem.epilogue.scale.assign(oc, 0.001f);

  const auto taps = static_cast<size_t>(s.kh * s.kw);
  std::vector<int32_t> bias(oc, 100);
  std::vector<float> floats(oc * taps, 0.01f);
  std::vector<int8_t> bytes(oc * taps);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<int8_t>(i * 37);
  ConvWeights weights;
  weights.data = is_float ? static_cast<const void*>(floats.data()) : bytes.data();
  weights.dtype = is_float ? DType::f32 : DType::s8;
  if (!is_float) weights.bias = bias;

  const int64_t x_offset = pad * (problem.x.row + problem.x.pixel) + kSlack;
  AlignedBuffer x(static_cast<size_t>(problem.x.image + 2 * kSlack)), y(static_cast<size_t>(problem.y.image + 2 * kSlack));
  std::string reason;
  const auto conv = make_depthwise(isa, problem, pack_depthwise(isa, s, weights), 1, &reason);
  if (!conv) return state.SkipWithError(reason.c_str());
  ConvArgs args;
  args.x = x.as<std::byte>() + x_offset;
  args.y = y.as<std::byte>() + pad * (problem.y.row + problem.y.pixel) + kSlack;
  for (auto _ : state) conv->run(args, 0, 1);
  const double operations = 2.0 * static_cast<double>(s.oc * s.oh * s.ow) * static_cast<double>(taps);
  state.counters["GOPS"] = benchmark::Counter(operations * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace
}  // namespace octet::kernels

void octet::bench::register_depthwise() {
  using namespace octet::kernels;
  for (const Isa& isa : all_isas()) {
    if (isa.dot == DotKind::none || !supported(isa)) continue;
    for (const bool is_float : {false, true})
      for (const Layer& layer : kLayers) {
        const std::string name = "depthwise/" + std::string(isa.name) + (is_float ? "/f32/" : "/int8/") + layer.name;
        benchmark::RegisterBenchmark(name.c_str(), [&isa, &layer, is_float](benchmark::State& state) {
          depthwise(state, isa, layer, is_float);
        })->Unit(benchmark::kMicrosecond);
      }
  }
}
