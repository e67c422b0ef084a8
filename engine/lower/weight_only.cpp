// com.microsoft.MatMulNBits onto kernels/weight_only.h.
#include "kernels/weight_only.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "engine/lower/families.h"
#include "graph/op_def.h"

namespace octet {
namespace {

using graph::Node;
using graph::Tensor;
using graph::Value;
using kernels::WeightOnlyWeights;

enum Input : size_t { kA, kB, kScales, kZeroPoints, kGroupIndex, kBias };

WeightOnlyWeights weights_of(const Node& node) {
  WeightOnlyWeights w;
  w.n = node.attr("N", int64_t{0});
  w.k = node.attr("K", int64_t{0});
  w.block = node.attr("block_size", int64_t{0});
  w.bits = static_cast<int>(node.attr("bits", int64_t{4}));
  w.q = node.input(kB)->constant().as<uint8_t>();
  w.scale = node.input(kScales)->constant().as<float>();
  return w;
}

// One byte a block; false where one of them is no integer that the weights' bits hold.
bool zero_points(const Tensor& given, const WeightOnlyWeights& w, std::vector<uint8_t>* bytes) {
  const int64_t blocks = w.blocks(), row_bytes = (blocks * w.bits + 7) / 8;
  bytes->resize(static_cast<size_t>(w.n * blocks));
  for (int64_t n = 0; n < w.n; ++n)
    for (int64_t b = 0; b < blocks; ++b) {
      uint8_t& to = (*bytes)[static_cast<size_t>(n * blocks + b)];
      if (given.dtype() == DType::u8) {
        const uint8_t* row = given.as<uint8_t>() + n * row_bytes;
        to = w.bits == 8 ? row[b] : static_cast<uint8_t>(row[b / 2] >> (b % 2 * 4) & 15);
        continue;
      }
      const float zero = given.as<float>()[n * blocks + b];
      if (!(zero >= 0 && zero <= 255) || zero != std::nearbyint(zero)) return false;
      to = static_cast<uint8_t>(zero);
    }
  return true;
}

bool takes(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  for (const size_t i : {kB, kScales, kZeroPoints, kBias})
    if (const Value* v = node.input(i); v && !v->is_constant()) return no("its weights are not constant");
  if (node.input(kA)->dtype() != DType::f32) return no("only float32 activations have a kernel");
  if (!node.input(kA)->type().static_shape()) return no("its shape is not known");
  if (element_count(node.input(kA)->type().shape()) == 0) return no("the tensor is empty");
  std::vector<uint8_t> bytes;
  if (const Value* zeros = node.input(kZeroPoints); zeros && !zero_points(zeros->constant(), weights_of(node), &bytes))
    return no("its zero points are no integers from 0 to 255");
  return true;
}

std::shared_ptr<const kernels::PackedWeights> pack(Lowering& lowering, const Node& node) {
  WeightOnlyWeights w = weights_of(node);
  std::vector<Tensor> sources{node.input(kB)->constant(), node.input(kScales)->constant()};
  const Value* zeros = node.input(kZeroPoints);
  if (zeros) sources.push_back(zeros->constant());
  char key[160];
  std::snprintf(key, sizeof key, "weight-only %s %p %p %p %ldx%ld b%d block%ld", std::string(lowering.isa().name).c_str(),
                static_cast<const void*>(w.q), static_cast<const void*>(w.scale),
                zeros ? static_cast<const void*>(zeros->constant().as<std::byte>()) : nullptr, static_cast<long>(w.n),
                static_cast<long>(w.k), w.bits, static_cast<long>(w.block));
  return lowering.weights().get(key, sources, [&] {
    std::vector<uint8_t> bytes;
    if (zeros && zero_points(zeros->constant(), w, &bytes)) w.zero = bytes.data();
    return kernels::pack_weight_only(lowering.isa(), w);
  });
}

void lower(Lowering& lowering, const Node& node) {
  const auto weights = pack(lowering, node);
  const int64_t k = node.attr("K", int64_t{0}), m = element_count(node.input(kA)->type().shape()) / k;
  std::vector<float> bias;
  if (const Value* b = node.input(kBias)) bias = b->constant().to_f32();
  const std::shared_ptr<const kernels::WeightOnlyProduct> product =
      kernels::make_weight_only(lowering.isa(), m, std::move(bias), weights);
  lowering.need_workspace(product->workspace_bytes());
  const Location x = lowering.location(node.input(kA)), y = lowering.location(node.output());
  StepInfo& info = lowering.add_step(node, product->name() + ", " + kernels::describe(*weights),
                                     [product, x, y](const RunContext& context, int part, int parts) {
                                       product->run({reinterpret_cast<const float*>(x.in(context)),
                                                     reinterpret_cast<float*>(y.in(context)), context.workspace(part)},
                                                    part, parts);
                                     });
  info.gmac = static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(node.attr("N", int64_t{0})) / 1e9;
}

}  // namespace

std::span<const LowerDef> weight_only_lowerings() {
  static const LowerDef kDefs[] = {{"com.microsoft.MatMulNBits", takes, lower}};
  return kDefs;
}

}  // namespace octet
