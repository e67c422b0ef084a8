// Every kernel of kernels/ops.h on sizes that networks have, on every supported ISA, one thread.
//
// bytes_per_second counts what is read and written once each; read_GB/s is the read bandwidth measured in the same run for a
// buffer of that many bytes: the roof for whatever streams.
#include <benchmark/benchmark.h>
#include <xmmintrin.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "bench/benchmarks.h"
#include "kernels/norm.h"
#include "kernels/ops.h"
#include "kernels/peak.h"

namespace octet::kernels {
namespace {

double read_gbs(int64_t bytes) {
  static std::map<int64_t, double> measured;
  const auto [it, is_new] = measured.try_emplace(bytes, 0.0);
  if (is_new) it->second = measure_read_gbs(static_cast<size_t>(bytes));
  return it->second;
}

struct Sizes {
  int64_t a = 0, b = 0, y = 0;  // bytes
};

void run_kernel(benchmark::State& state, const Kernel& kernel, const Sizes& sizes) {
  _mm_setcsr(_mm_getcsr() | 0x8040);  // denormals flushed, as in the engine
  const auto buffer = [](int64_t bytes) {
    std::vector<float> values(static_cast<size_t>(bytes) / 4 + 64);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 97) * 0.05f - 2.0f;
    return values;
  };
  const std::vector<float> a = buffer(sizes.a), b = buffer(sizes.b);
  std::vector<float> y = buffer(sizes.y);
  const KernelArgs args{a.data(), b.data(), y.data()};
  for (auto _ : state) {
    kernel.run(args, 0, 1);
    benchmark::ClobberMemory();
  }
  const int64_t bytes = sizes.a + sizes.b + sizes.y;
  state.SetBytesProcessed(state.iterations() * bytes);
  state.counters["read_GB/s"] = read_gbs(bytes);
}

using Make = std::function<KernelPtr(const Isa&)>;

void add(const std::string& name, const Sizes& sizes, const Make& make) {
  for (const Isa& isa : all_isas()) {
    if (isa.id == IsaId::reference || isa.dot == DotKind::tile || !supported(isa)) continue;
    if (isa.dot == DotKind::vpdpbusd && supported(all_isas()[1]))
      continue;  // these kernels depend on the vector width alone
    benchmark::RegisterBenchmark((name + "/" + std::string(isa.name)).c_str(),
                                 [&isa, sizes, make](benchmark::State& state) { run_kernel(state, *make(isa), sizes); });
  }
}

CopyProblem transposition(int64_t element, int64_t c, int64_t h, int64_t w, bool to_channels_last) {
  CopyProblem p;
  p.element = element;
  p.c = c;
  p.h = h;
  p.w = w;
  const ImageLayout first{element, w * element, c * h * w * element},
      last{c * element, w * c * element, c * h * w * element};
  p.from = to_channels_last ? first : last;
  p.to = to_channels_last ? last : first;
  p.from_channel = to_channels_last ? h * w * element : element;
  p.to_channel = to_channels_last ? element : h * w * element;
  return p;
}

PoolProblem pool(PoolKind kind, DType dtype, int64_t c, int64_t size, int64_t kernel, int64_t stride, int64_t pad) {
  PoolProblem p;
  p.kind = kind;
  p.dtype = dtype;
  p.c = c;
  p.ih = p.iw = size;
  p.kh = p.kw = kernel;
  p.stride_h = p.stride_w = stride;
  p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = pad;
  p.oh = p.ow = (size + 2 * pad - kernel) / stride + 1;
  const auto element = static_cast<int64_t>(size_of(dtype));
  p.x = {c * element, size * c * element, size * size * c * element};
  p.y = {c * element, p.ow * c * element, p.oh * p.ow * c * element};
  return p;
}

void add_element_wise() {
  for (int64_t n : {16384, 200704, 3211264}) {  // in L1 and L2, 56 x 56 x 64, 112 x 112 x 256
    const std::string size = "/" + std::to_string(n);
    add("quantize" + size, {4 * n, 0, n}, [n](const Isa& isa) { return make_quantize(isa, {1, n, n, n, 0.02f, 128}); });
    add("dequantize" + size, {n, 0, 4 * n}, [n](const Isa& isa) { return make_dequantize(isa, {1, n, n, n, 0.02f, 128}); });
    add("table" + size, {n, 0, n}, [n](const Isa& isa) { return make_table(isa, {{}, 1, n, n, n}); });
    for (DType dtype : {DType::u8, DType::f32}) {
      const auto bytes = n * static_cast<int64_t>(size_of(dtype));
      add("add_" + std::string(to_string(dtype)) + size, {bytes, bytes, bytes}, [n, dtype](const Isa& isa) {
        BinaryProblem p;
        p.dtype = dtype;
        p.length = n;
        return make_binary(isa, p);
      });
    }
  }
  for (auto [name, kind] : {std::pair{"relu", UnaryKind::relu},
                            {"sigmoid", UnaryKind::sigmoid},
                            {"tanh", UnaryKind::tanh},
                            {"gelu", UnaryKind::gelu}})
    add(std::string("unary_") + name + "/200704", {4 * 200704, 0, 4 * 200704}, [kind = kind](const Isa& isa) {
      return make_unary(isa, {kind, 200704, 0, 0});
    });
  for (auto [rows, length] : {std::pair<int64_t, int64_t>{1, 1000}, {12 * 128, 128}, {12 * 384, 384}})
    add("softmax/" + std::to_string(rows) + "x" + std::to_string(length), {4 * rows * length, 0, 4 * rows * length},
        [rows = rows, length = length](const Isa& isa) {
          return make_softmax(isa, {rows, length});
        });
}

// A normalisation without residual, its scale and bias in b.
class NormKernel final : public Kernel {
 public:
  NormKernel(const Isa& isa, const NormProblem& p) : p_(p), norm_(make_norm(isa, p)), workspace_(norm_->workspace_bytes()) {}
  void run(const KernelArgs& args, int part, int parts) const noexcept override {
    const auto* scale = static_cast<const float*>(args.b);
    norm_->run({args.a, nullptr, scale, scale + p_.length, static_cast<float*>(args.y), static_cast<uint8_t*>(args.y),
                nullptr, workspace_.data()},
               part, parts);
  }
  std::string name() const override { return norm_->name(); }

 private:
  NormProblem p_;
  std::unique_ptr<Norm> norm_;
  mutable std::vector<std::byte> workspace_;
};

void add_norms() {
  for (int64_t length : {384, 768, 1024})
    for (auto [name, from, to] : {std::tuple{"f32_f32", 4, 4}, {"f32_u8", 4, 1}, {"u8_u8", 1, 1}}) {
      NormProblem p;
      p.rows = 128;
      p.length = length;
      p.biased = true;
      p.x.quantized = from == 1;
      p.gives_q = to == 1;
      p.gives_y = to == 4;
      p.q_scale = 0.03f;
      add("layer_norm_" + std::string(name) + "/128x" + std::to_string(length),
          {from * 128 * length, 8 * length, to * 128 * length},
          [p](const Isa& isa) { return std::make_unique<NormKernel>(isa, p); });
    }
}

void add_pool(const std::string& name, const PoolProblem& p) {
  add("pool_" + name, {p.ih * p.x.row, 0, p.oh * p.y.row}, [p](const Isa& isa) { return make_pool(isa, p); });
}

void add_pools() {
  for (DType dtype : {DType::u8, DType::f32}) {
    const std::string type(to_string(dtype));
    add_pool("max_3x3s2_112x112x64_" + type, pool(PoolKind::max, dtype, 64, 112, 3, 2, 1));
    add_pool("average_3x3_35x35x192_" + type, pool(PoolKind::average, dtype, 192, 35, 3, 1, 1));
    add_pool("global_average_7x7x2048_" + type, pool(PoolKind::average, dtype, 2048, 7, 7, 1, 0));
    add_pool("global_average_56x56x144_" + type, pool(PoolKind::average, dtype, 144, 56, 56, 1, 0));
  }
}

void add_copies() {
  struct Image {
    int64_t element, c, size;
  };
  for (const Image& i : {Image{4, 3, 224}, {1, 3, 224}, {4, 64, 56}, {1, 64, 56}, {4, 2048, 7}})
    for (bool to_last : {true, false}) {
      const int64_t bytes = i.element * i.c * i.size * i.size;
      add(std::string(to_last ? "nchw_to_nhwc/" : "nhwc_to_nchw/") + std::to_string(i.element) + "B_" +
              std::to_string(i.size) + "x" + std::to_string(i.size) + "x" + std::to_string(i.c),
          {bytes, 0, bytes},
          [i, to_last](const Isa& isa) { return make_copy(isa, transposition(i.element, i.c, i.size, i.size, to_last)); });
    }
  for (int64_t c : {24, 64, 256})  // a channel slice of 512, as a concat writes it
    add("concat_slice/56x56x" + std::to_string(c), {56 * 56 * c, 0, 56 * 56 * c}, [c](const Isa& isa) {
      CopyProblem p = transposition(1, c, 56, 28, false);
      p.from = {c, 28 * c, 56 * 28 * c};
      p.to = {512, 28 * 512, 56 * 28 * 512};
      p.from_channel = p.to_channel = 1;
      return make_copy(isa, p);
    });
}

}  // namespace
}  // namespace octet::kernels

void octet::bench::register_ops() {
  using namespace octet::kernels;
  add_element_wise();
  add_norms();
  add_pools();
  add_copies();
}
