// Float activations by weights that are dequantized in blocks become one product that keeps the weights narrow.
//
//   MatMul(x, DQ(q:int4 [K,N], scale [K/b,N], zero, axis 0, block_size b))   →   com.microsoft.MatMulNBits(x, q', scale',
//   zero') Add(MatMulNBits(x, …), bias [N])                                         →   MatMulNBits(x, …, bias)
//
// Evaluated ahead, such weights would take 8 times their memory, and a product of one row is as fast as its weights are
// read. The sum's order is MatMulNBits', so float results move in the last digits. Declined: blocks that are no power of two
// from 16 on, 16-bit and float weights; scales a tensor or a column (those of 8 bits wait for quantized activations).
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

struct Blocked {
  Tensor q, scale;
  std::optional<Tensor> zero;
  int64_t block = 0;
  int bits = 4;
  int32_t offset = 0;  // added to a field and its zero point, so that both are unsigned
};

// `value` as the float32 output of a DQ of constants [K, N] in blocks along K.
std::optional<Blocked> read_blocked(const Value* value) {
  const Node* dq = value->producer();
  if (!dq || dq->op().quant != QuantRole::dequantize || value->dtype() != DType::f32) return std::nullopt;
  for (const Value* v : dq->inputs())
    if (v && !v->is_constant()) return std::nullopt;
  Blocked b;
  b.q = dq->input(0)->constant();
  b.block = dq->attr("block_size", int64_t{0});
  const int64_t axis = dq->attr("axis", int64_t{1});
  if (b.q.shape().size() != 2 || (axis != 0 && axis != -2) || b.block < 16 || b.block > 16384 ||
      (b.block & (b.block - 1)) != 0)
    return std::nullopt;
  switch (b.q.dtype()) {
    case DType::u4: break;
    case DType::s4: b.offset = 8; break;
    case DType::u8: b.bits = 8; break;
    case DType::s8: b.bits = 8, b.offset = 128; break;
    default: return std::nullopt;
  }
  b.scale = dq->input(1)->constant();
  if (b.scale.shape() != Shape{(b.q.shape()[0] + b.block - 1) / b.block, b.q.shape()[1]}) return std::nullopt;
  if (const Value* zero = dq->input(2)) b.zero = zero->constant();
  return b;
}

void put_field(uint8_t* bytes, int64_t i, int bits, int64_t value) {
  if (bits == 8)
    bytes[i] = static_cast<uint8_t>(value);
  else
    bytes[i / 2] = static_cast<uint8_t>(bytes[i / 2] | value << (i % 2 * 4));
}

void rewrite(Graph& graph, Node* matmul, const Blocked& b) {
  const int64_t k = b.q.shape()[0], n = b.q.shape()[1], blocks = b.scale.shape()[0];
  const int64_t block_bytes = b.block * b.bits / 8, zero_bytes = (blocks * b.bits + 7) / 8;
  Tensor q(DType::u8, {n, blocks, block_bytes}), scale(DType::f32, {n, blocks}), zero(DType::u8, {n, zero_bytes});
  std::fill_n(q.mutable_as<uint8_t>(), q.size(), uint8_t{0});
  std::fill_n(zero.mutable_as<uint8_t>(), zero.size(), uint8_t{0});
  for (int64_t column = 0; column < n; ++column) {
    for (int64_t i = 0; i < k; ++i)
      put_field(q.mutable_as<uint8_t>() + (column * blocks + i / b.block) * block_bytes, i % b.block, b.bits,
                b.q.at_s64(i * n + column) + b.offset);
    for (int64_t i = 0; i < blocks; ++i) {
      scale.mutable_as<float>()[column * blocks + i] = b.scale.as<float>()[i * n + column];
      const int64_t z = (b.zero ? b.zero->at_s64(i * n + column) : 0) + b.offset;
      put_field(zero.mutable_as<uint8_t>() + column * zero_bytes, i, b.bits, z);
    }
  }
  // 2^(bits - 1) everywhere is the default.
  const bool symmetric =
      b.offset != 0 && (!b.zero || std::all_of(b.zero->as<uint8_t>(), b.zero->as<uint8_t>() + b.zero->size(),
                                               [](uint8_t z) { return z == 0; }));
  const std::string& name = matmul->name();
  std::vector<Value*> inputs{matmul->input(0), graph.add_constant(std::move(q), name + ".q"),
                             graph.add_constant(std::move(scale), name + ".scale")};
  if (!symmetric) inputs.push_back(graph.add_constant(std::move(zero), name + ".zero"));
  Node* node = graph.add_node("com.microsoft.MatMulNBits", std::move(inputs), 1, name, matmul);
  node->set_attr("K", k);
  node->set_attr("N", n);
  node->set_attr("bits", static_cast<int64_t>(b.bits));
  node->set_attr("block_size", b.block);
  infer_types(graph, *node);
  substitute(graph, matmul->output(), node->output());
}

// Add(MatMulNBits without a bias, constant [N]).
bool take_bias(Graph& graph, Node* add) {
  if (add->op_name() != "Add") return false;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    Node* product = add->input(side)->producer();
    if (!product || product->op_name() != "com.microsoft.MatMulNBits" || product->input(5) ||
        !graph.single_use(product->output()))
      continue;
    const Value* bias = add->input(1 - side);
    const int64_t n = product->attr("N", int64_t{0});
    if (!bias->is_constant() || bias->dtype() != DType::f32 || bias->constant().shape() != Shape{n}) continue;
    std::vector<Value*> inputs(product->inputs().begin(), product->inputs().end());
    inputs.resize(6);
    inputs[5] = add->input(1 - side);
    Node* node = graph.add_node(product->op(), std::move(inputs), 1, product->name(), add);
    for (const auto& [key, value] : product->attrs()) node->set_attr(key, value);
    infer_types(graph, *node);
    substitute(graph, add->output(), node->output());
    return true;
  }
  return false;
}

}  // namespace

int weight_only(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (node->op_name() == "MatMul" && node->input(0)->dtype() == DType::f32) {
      if (const std::optional<Blocked> blocked = read_blocked(node->input(1))) {
        rewrite(graph, node, *blocked);
        ++changes;
      }
    } else if (take_bias(graph, node)) {
      ++changes;
    }
  }
  return changes;
}

}  // namespace octet::graph
