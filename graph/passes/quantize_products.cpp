// A product of dequantized operands becomes an integer product.
//
//   octet.Conv(DQ(x:u8), DQ(w:s8), DQ(b:s32)) : float32  →  octet.Conv(x, w, b) : float32
//
// The integers and their scales move into the types; u8 weights become s8. A bias whose scale is sx·sw stays int32 and joins
// the sum; any other is added in float32. Zero padding of the reals is padding by the zero point. Declined: an input or
// weights in float, weights with scales along another axis than their output channels, sums that could leave int32.
#include <cmath>
#include <cstdlib>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"
#include "graph/passes/weights.h"

namespace octet::graph {

namespace {

// Quantizers compute the scale of a bias in their own precision; so near to sx·sw it means sx·sw.
constexpr float kScaleTolerance = 1e-5f;

bool is_product_scale(const QuantParams& bias, const QuantParams& x, const QuantParams& w) {
  const size_t n = std::max(bias.scale.size(), w.scale.size());
  for (size_t i = 0; i < n; ++i) {
    const float wanted = x.scale[0] * w.scale[w.scale.size() == 1 ? 0 : i];
    const size_t own = bias.scale.size() == 1 ? 0 : i;
    if (std::fabs(bias.scale[own] - wanted) > kScaleTolerance * wanted || bias.zero_point[own] != 0) return false;
  }
  return true;
}

Tensor dequantized(const Weights& w) {
  std::vector<float> reals;
  for (size_t i = 0; i < static_cast<size_t>(w.values.size()); ++i) {
    const size_t c = w.params->scale.size() == 1 ? 0 : i;
    reals.push_back(static_cast<float>(w.values.at_s64(static_cast<int64_t>(i)) - w.params->zero_point[c]) *
                    w.params->scale[c]);
  }
  return Tensor::of<float>(DType::f32, w.values.shape(), reals);
}

template <class T>
int64_t sum_of_distances(const Tensor& t, size_t begin, size_t count, int32_t zero) {
  const T* values = t.as<T>() + begin;
  int64_t sum = 0;
  for (size_t i = 0; i < count; ++i) sum += std::abs(values[i] - zero);
  return sum;
}

// Largest |sum| of any output channel for any input.
int64_t largest_sum(const Weights& w, const QuantParams& x, const std::vector<int64_t>& bias) {
  const auto channels = static_cast<size_t>(w.values.shape()[0]);
  const size_t inner = static_cast<size_t>(w.values.size()) / channels;
  const int64_t reach = std::max(x.zero_point[0], 255 - x.zero_point[0]);
  int64_t worst = 0;
  for (size_t c = 0; c < channels; ++c) {
    const int32_t zero = w.params->zero_point[w.params->zero_point.size() == 1 ? 0 : c];
    const int64_t distances = w.values.dtype() == DType::s8 ? sum_of_distances<int8_t>(w.values, c * inner, inner, zero)
                                                            : sum_of_distances<uint8_t>(w.values, c * inner, inner, zero);
    worst = std::max(worst, (bias.empty() ? 0 : std::abs(bias[c])) + reach * distances);
  }
  return worst;
}

std::string quantize(Graph& graph, Node* node) {
  const std::optional<Dequantize> x = as_u8_dequantize(node->input(kX));
  if (!x) return "its input is not quantized";
  const std::optional<Weights> w = read_weights(node->input(kW));
  if (!w || !w->params || size_of(w->values.dtype()) != 1) return "its weights are not quantized";
  if (!w->params->per_tensor() && w->params->axis != 0)
    return "the scales of its weights run along axis " + std::to_string(w->params->axis);
  Tensor bias;
  bool integer_bias = false;
  if (const Value* b = node->input(kBias)) {
    const std::optional<Weights> read = read_weights(b);
    if (!read) return "its bias is not constant";
    integer_bias =
        read->params && read->values.dtype() == DType::s32 && is_product_scale(*read->params, x->params, *w->params);
    bias = integer_bias || !read->params ? read->values : dequantized(*read);
  }
  const std::vector<int64_t> in_sum = integer_bias ? bias.to_s64() : std::vector<int64_t>{};
  if (largest_sum(*w, x->params, in_sum) > INT32_MAX) return "its sum could leave int32";

  const auto release = [&](size_t input, Value* value) {
    Node* old = node->input(input)->producer();
    graph.set_input(node, input, value);
    if (old) erase_dead(graph, old);
  };
  if (bias.defined()) {
    const Value* old = node->input(kBias);
    const std::string name = old->producer() ? old->producer()->input(0)->name() : old->name();
    release(kBias, graph.add_constant(bias, name));
  }
  release(kW, signed_weights(graph, *w));
  release(kX, x->source);
  node->why = "its result is wanted in float32";  // until a Q is folded into it
  return {};
}

}  // namespace

int quantize_products(Graph& graph) {
  return rewrite_or_say_why(graph, [&](Node* node) -> std::optional<std::string> {
    if (!is_product(node) || node->input(kX)->dtype() != DType::f32) return std::nullopt;
    return quantize(graph, node);
  });
}

}  // namespace octet::graph
