#include "graph/passes/weights.h"

#include <cassert>
#include <cstring>

#include "graph/passes/match.h"

namespace octet::graph {

std::optional<Weights> read_weights(const Value* value) {
  if (!value) return std::nullopt;
  if (value->is_constant()) {
    if (value->dtype() != DType::f32) return std::nullopt;
    return Weights{value->constant(), std::nullopt, value->name()};
  }
  const std::optional<Dequantize> dq = as_dequantize(value);
  if (!dq || !dq->source->is_constant()) return std::nullopt;
  const DType t = dq->source->dtype();
  if (t != DType::s8 && t != DType::u8 && t != DType::s32) return std::nullopt;
  return Weights{dq->source->constant(), dq->params, dq->source->name()};
}

Value* write_weights(Graph& graph, const Weights& weights, Node* before) {
  Value* constant = graph.add_constant(weights.values, weights.name);
  return weights.params ? insert_dequantize(graph, constant, *weights.params, before) : constant;
}

Value* signed_weights(Graph& graph, const Weights& weights) {
  assert(weights.params && size_of(weights.values.dtype()) == 1);
  if (weights.values.dtype() == DType::s8) return quantized_constant(graph, weights.values, *weights.params, weights.name);
  Tensor values(DType::s8, weights.values.shape());
  const auto* from = weights.values.as<uint8_t>();
  auto* to = values.mutable_as<uint8_t>();
  for (size_t i = 0; i < values.bytes(); ++i) to[i] = static_cast<uint8_t>(from[i] ^ 128);
  QuantParams params = *weights.params;
  for (int32_t& z : params.zero_point) z -= 128;
  return quantized_constant(graph, std::move(values), params, weights.name);
}

Weights transposed(const Weights& weights) {
  const Tensor& t = weights.values;
  assert(t.shape().size() == 2);
  const auto rows = static_cast<size_t>(t.shape()[0]), columns = static_cast<size_t>(t.shape()[1]);
  const size_t bytes = size_of(t.dtype());
  Tensor out(t.dtype(), {t.shape()[1], t.shape()[0]});
  const auto* from = t.as<std::byte>();
  auto* to = out.mutable_as<std::byte>();
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c) std::memcpy(to + (c * rows + r) * bytes, from + (r * columns + c) * bytes, bytes);
  Weights result{std::move(out), weights.params, weights.name};
  if (result.params && !result.params->per_tensor()) result.params->axis = 1 - result.params->axis;
  return result;
}

Weights reshaped(const Weights& weights, Shape shape) {
  Weights result{weights.values.reshaped(std::move(shape)), weights.params, weights.name};
  if (result.params && !result.params->per_tensor()) {
    // The channels of a bias [1, N] move to axis 0 of [N].
    const auto n = static_cast<int64_t>(result.params->scale.size());
    const Shape& s = result.values.shape();
    if (result.params->axis >= static_cast<int>(s.size()) || s[static_cast<size_t>(result.params->axis)] != n)
      for (size_t i = 0; i < s.size(); ++i)
        if (s[i] == n) result.params->axis = static_cast<int>(i);
  }
  return result;
}

OutputChannels output_channels(const Node& product) {
  const Value* w = product.input(kW);
  if (is_product(&product)) {
    const bool gemm = product.op_name() == "octet.Gemm";
    if (gemm && !product.output()->type().ranked()) return {};
    return {gemm ? product.output()->type().rank() - 1 : 1, known_dim(w, 0)};
  }
  if (product.op_name() != "ConvTranspose") return {};
  const int64_t per_group = known_dim(w, 1);
  return {1, per_group < 0 ? -1 : per_group * product.attr("group", int64_t{1})};
}

namespace {

// Output channel of the weight at flat index i.
size_t channel_of(const Node& product, const Tensor& w, size_t i) {
  const Shape& s = w.shape();
  const auto n = static_cast<size_t>(s[0]);
  const size_t inner = static_cast<size_t>(w.size()) / n;
  if (is_product(&product)) return i / inner;
  const auto per_group = static_cast<size_t>(s[1]);  // ConvTranspose: [C, M / group, kh, kw]
  const size_t group = i / inner / (n / static_cast<size_t>(product.attr("group", int64_t{1})));
  return group * per_group + i % inner / (inner / per_group);
}

}  // namespace

bool apply_affine(Graph& graph, Node* product, const std::vector<float>& factor, const std::vector<float>& shift,
                  std::string& why) {
  const Value *w = product->input(kW), *bias = product->input(kBias);
  const auto n = static_cast<size_t>(output_channels(*product).count);
  const auto is_float_constant = [](const Value* v) { return v->is_constant() && v->dtype() == DType::f32; };
  if (!factor.empty() && !is_float_constant(w)) {
    why = "a factor per channel cannot go into weights that are not float32 constants";
    return false;
  }
  if (bias && !is_float_constant(bias)) {
    why = "the bias before it is not a float32 constant";
    return false;
  }
  std::vector<float> b = bias ? bias->constant().to_f32() : std::vector<float>(n, 0.0f);
  for (size_t i = 0; i < n; ++i) {
    const double scaled = static_cast<double>(b[i]) * (factor.empty() ? 1.0 : static_cast<double>(factor[i]));
    b[i] = static_cast<float>(scaled + static_cast<double>(shift[i]));
  }
  if (!factor.empty()) {
    Tensor scaled(DType::f32, w->constant().shape());
    const auto* from = w->constant().as<float>();
    auto* to = scaled.mutable_as<float>();
    for (size_t i = 0; i < static_cast<size_t>(scaled.size()); ++i)
      to[i] = from[i] * factor[channel_of(*product, scaled, i)];
    graph.set_input(product, kW, graph.add_constant(std::move(scaled), w->name()));
  }
  const std::string name = bias ? bias->name() : product->name() + "/bias";
  graph.set_input(product, kBias, graph.add_constant(Tensor::of<float>(DType::f32, {static_cast<int64_t>(n)}, b), name));
  return true;
}

}  // namespace octet::graph
