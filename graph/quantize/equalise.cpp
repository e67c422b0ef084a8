#include "graph/quantize/equalise.h"

#include <algorithm>
#include <cmath>

#include "graph/op_def.h"
#include "graph/passes/match.h"
#include "graph/quantize/products.h"

namespace octet::graph {

namespace {

constexpr double kLeastGain = 2;  // of the variance: 3 dB
constexpr int kLimits = 13;       // t tried, each half a bit below the last

// Whether the node multiplies the last axis of its input by a constant matrix.
bool is_matrix_product(const Node& node) {
  std::string why;
  return is_quantizable_product(node, why) && (node.op_name() == "MatMul" || node.op_name() == "Gemm");
}

int64_t rows_of(const Node& product) { return product.input(1)->constant().shape()[weight_axis(product) == 0 ? 1 : 0]; }

std::vector<Node*> products_of(const Value* x) {
  std::vector<Node*> products;
  for (const Use& u : x->uses())
    if (u.index == 0 && is_matrix_product(*u.node)) products.push_back(u.node);
  return products;
}

template <class Visit>  // visit(element of the tensor, row of the matrix)
void for_each_weight(const Node& product, const Visit& visit) {
  const Shape& shape = product.input(1)->constant().shape();
  const bool transposed = weight_axis(product) == 0;
  for (int64_t i = 0; i < shape[0]; ++i)
    for (int64_t j = 0; j < shape[1]; ++j) visit(i * shape[1] + j, transposed ? j : i);
}

// The weights of all products side by side.
std::vector<float> weights_of(const std::vector<Node*>& products) {
  const int64_t rows = rows_of(*products[0]);
  std::vector<std::vector<float>> by_row(static_cast<size_t>(rows));
  for (const Node* p : products) {
    const auto* w = p->input(1)->constant().as<float>();
    for_each_weight(*p, [&](int64_t at, int64_t row) { by_row[static_cast<size_t>(row)].push_back(w[at]); });
  }
  std::vector<float> all;
  for (const std::vector<float>& row : by_row) all.insert(all.end(), row.begin(), row.end());
  return all;
}

// E(s), but for the common 1 / 12.
double error_of(const ChannelStatistics& x, const std::vector<float>& weights, const std::vector<float>& s) {
  const size_t channels = x.min.size(), n = weights.size() / channels;
  double lo = 0, hi = 0, weight_energy = 0, energy = 0;
  std::vector<float> largest(n, 0.0f);
  for (size_t c = 0; c < channels; ++c) {
    const auto factor = static_cast<double>(s[c]);
    lo = std::min(lo, static_cast<double>(x.min[c]) / factor);
    hi = std::max(hi, static_cast<double>(x.max[c]) / factor);
    energy += x.sum_of_squares[c] / static_cast<double>(x.rows) / (factor * factor);
    double row = 0;
    for (size_t i = 0; i < n; ++i) {
      const float w = std::fabs(weights[c * n + i]) * s[c];
      row += static_cast<double>(w * w);
      largest[i] = std::max(largest[i], w);
    }
    weight_energy += row;
  }
  const double step = (hi - lo) / 255;
  double weight_steps = 0;
  for (const float w : largest) weight_steps += static_cast<double>(w / 127) * static_cast<double>(w / 127);
  return step * step * weight_energy + weight_steps * energy;
}

Tensor scaled(const Tensor& t, const std::vector<float>& s) {
  Tensor result(DType::f32, t.shape());
  for (int64_t i = 0; i < t.size(); ++i) result.mutable_as<float>()[i] = t.as<float>()[i] * s[static_cast<size_t>(i)];
  return result;
}

bool is_channel_constant(const Value* v, size_t channels) {
  return v && v->is_constant() && v->dtype() == DType::f32 && v->constant().shape() == Shape{static_cast<int64_t>(channels)};
}

// Multiplies what the value's producer gives, where that has a scale and a bias of its own.
bool fold_into_producer(Graph& graph, const Value* x, const std::vector<float>& by) {
  Node* node = x->producer();
  const bool norm = node && (node->op_name() == "LayerNormalization" || node->op_name() == "RMSNormalization");
  if (!norm || node->outputs().size() != 1 || !is_channel_constant(node->input(1), by.size())) return false;
  if (node->input(2) && !is_channel_constant(node->input(2), by.size())) return false;
  for (const size_t i : {size_t{1}, size_t{2}})
    if (const Value* v = node->input(i))
      graph.set_input(node, i, graph.add_constant(scaled(v->constant(), by), v->name() + "_equalised"));
  return true;
}

void equalise(Graph& graph, Value* x, const std::vector<Node*>& products, const std::vector<float>& s) {
  std::vector<float> inverse;
  for (const float f : s) inverse.push_back(1 / f);
  const bool no_others = x->uses().size() == products.size() && !graph.is_output(x);
  if (!no_others || !fold_into_producer(graph, x, inverse)) {
    Node* first = products[0];
    for (Node* p : products)
      if (graph.comes_before(p, first)) first = p;
    Value* factors = graph.add_constant(Tensor::of<float>(DType::f32, {static_cast<int64_t>(s.size())}, inverse));
    Value* even = insert_node(graph, "Mul", {x, factors}, x->name() + "_equalised", first);
    for (Node* p : products) graph.set_input(p, 0, even);
  }
  for (Node* p : products) {
    const Value* w = p->input(1);
    Tensor weights(DType::f32, w->constant().shape());
    for_each_weight(*p, [&](int64_t at, int64_t row) {
      weights.mutable_as<float>()[at] = w->constant().as<float>()[at] * s[static_cast<size_t>(row)];
    });
    graph.set_input(p, 1, graph.add_constant(std::move(weights), w->name() + "_equalised"));
  }
}

std::vector<Value*> values_of_products(const Graph& graph) {
  std::vector<Value*> values;
  for (const auto& node : graph.nodes())
    if (is_matrix_product(*node) && std::find(values.begin(), values.end(), node->input(0)) == values.end())
      values.push_back(node->input(0));
  return values;
}

}  // namespace

void ChannelStatistics::add(const float* x, int64_t count, int64_t channels) {
  const auto width = static_cast<size_t>(channels);
  min.resize(width, 0.0f), max.resize(width, 0.0f), sum_of_squares.resize(width, 0.0);
  rows += count;
  for (int64_t row = 0; row < count; ++row, x += channels)
    for (size_t c = 0; c < width; ++c) {
      min[c] = std::min(min[c], x[c]);
      max[c] = std::max(max[c], x[c]);
      sum_of_squares[c] += static_cast<double>(x[c]) * static_cast<double>(x[c]);
    }
}

std::vector<std::string> values_to_equalise(const Graph& graph) {
  std::vector<std::string> names;
  for (const Value* v : values_of_products(graph)) names.push_back(v->name());
  return names;
}

std::vector<float> equalising_factors(const ChannelStatistics& x, const std::vector<float>& weights) {
  std::vector<float> size;
  for (size_t c = 0; c < x.min.size(); ++c) size.push_back(std::max(-x.min[c], x.max[c]));
  const float largest = *std::max_element(size.begin(), size.end());
  if (largest == 0) return {};
  double before = 0, least = 0;
  std::vector<float> best;
  for (int i = 0; i < kLimits; ++i) {
    const float limit = largest * std::exp2(-0.5f * static_cast<float>(i));
    std::vector<float> s;
    for (const float m : size) s.push_back(m > limit ? std::exp2(std::nearbyint(std::log2(m / limit))) : 1.0f);
    const double error = error_of(x, weights, s);
    if (i == 0) before = least = error;
    if (error < least) least = error, best = std::move(s);
  }
  return before >= kLeastGain * least ? best : std::vector<float>{};
}

int equalise_channels(Graph& graph, const ChannelStatisticsMap& statistics) {
  int changes = 0;
  for (Value* x : values_of_products(graph)) {
    const auto found = statistics.find(x->name());
    const std::vector<Node*> products = products_of(x);
    if (found == statistics.end() || static_cast<int64_t>(found->second.min.size()) != rows_of(*products[0]))
      throw Error(ErrorCode::invalid_argument, graph.file + ": value '" + x->name() + "' has no statistics of its channels");
    const std::vector<float> s = equalising_factors(found->second, weights_of(products));
    if (s.empty()) continue;
    equalise(graph, x, products, s);
    ++changes;
  }
  graph.drop_unused_constants();
  infer_types(graph);
  return changes;
}

}  // namespace octet::graph
