#include "graph/quantize/weight_only.h"

#include <algorithm>
#include <cmath>

#include "graph/op_def.h"
#include "graph/passes/match.h"
#include "graph/quantize/products.h"

namespace octet::graph {

namespace {

struct Fields {
  Tensor q, scale;
};

// `at(n, k)` is weight k of output n.
template <class At>
Fields quantize_blocks(int64_t n, int64_t k, const WeightOnlyOptions& options, At at) {
  const int64_t blocks = (k + options.block - 1) / options.block, block_bytes = options.block * options.bits / 8;
  const int middle = 1 << (options.bits - 1);
  Fields f{Tensor(DType::u8, {n, blocks, block_bytes}), Tensor(DType::f32, {n, blocks})};
  std::fill_n(f.q.mutable_as<uint8_t>(), f.q.size(), uint8_t{0});
  for (int64_t row = 0; row < n; ++row)
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t begin = b * options.block, end = std::min(k, begin + options.block);
      float largest = 0;
      for (int64_t i = begin; i < end; ++i)
        if (std::fabs(at(row, i)) > std::fabs(largest)) largest = at(row, i);
      const float scale = largest == 0 ? 1.0f : largest / static_cast<float>(-middle);
      f.scale.mutable_as<float>()[row * blocks + b] = scale;
      uint8_t* bytes = f.q.mutable_as<uint8_t>() + (row * blocks + b) * block_bytes;
      for (int64_t i = begin; i < end; ++i) {
        const int q = std::clamp(static_cast<int>(std::nearbyint(at(row, i) / scale)) + middle, 0, 2 * middle - 1);
        uint8_t& byte = bytes[options.bits == 8 ? i - begin : (i - begin) / 2];
        byte = static_cast<uint8_t>(byte | q << (options.bits == 8 ? 0 : (i - begin) % 2 * 4));
      }
    }
  return f;
}

void rewrite(Graph& graph, Node* product, const WeightOnlyOptions& options) {
  const Value* w = product->input(1);
  const Shape& s = w->constant().shape();
  const bool rows = weight_axis(*product) == 0;  // [N, K], else [K, N]
  const int64_t n = s[rows ? 0 : 1], k = s[rows ? 1 : 0];
  const auto* values = w->constant().as<float>();
  Fields f =
      quantize_blocks(n, k, options, [&](int64_t row, int64_t i) { return values[rows ? row * k + i : i * n + row]; });
  std::vector<Value*> inputs{product->input(0), graph.add_constant(std::move(f.q), w->name() + "_q"),
                             graph.add_constant(std::move(f.scale), w->name() + "_scale")};
  if (product->input(2)) {
    inputs.resize(6);
    inputs[5] = graph.add_constant(product->input(2)->constant().reshaped({n}), product->input(2)->name() + "_flat");
  }
  Node* node = graph.add_node("com.microsoft.MatMulNBits", std::move(inputs), 1, product->name(), product);
  node->set_attr("K", k);
  node->set_attr("N", n);
  node->set_attr("bits", static_cast<int64_t>(options.bits));
  node->set_attr("block_size", options.block);
  infer_types(graph, *node);
  substitute(graph, product->output(), node->output());
}

}  // namespace

std::unique_ptr<Graph> quantize_weights(const Graph& graph, const WeightOnlyOptions& options) {
  if (options.bits != 4 && options.bits != 8)
    throw Error(ErrorCode::invalid_argument, "weights of " + std::to_string(options.bits) + " bits; expected 4 or 8");
  if (options.block < 16 || options.block > 16384 || (options.block & (options.block - 1)) != 0)
    throw Error(ErrorCode::invalid_argument,
                "blocks of " + std::to_string(options.block) + "; expected a power of two from 16 to 16384");
  std::unique_ptr<Graph> copy = graph.clone();
  int changes = 0;
  std::string why;
  for (Node* node : copy->node_list()) {
    const bool matrix = node->op_name() == "Gemm" || node->op_name() == "MatMul";
    if (!matrix || !is_quantizable_product(*node, why)) continue;
    rewrite(*copy, node, options);
    ++changes;
  }
  if (changes == 0)
    throw Error(ErrorCode::unsupported, copy->file + ": it has no Gemm or MatMul by constant weights to be quantized" +
                                            (why.empty() ? "" : ": " + why));
  copy->drop_unused_constants();
  infer_types(*copy);
  return copy;
}

}  // namespace octet::graph
