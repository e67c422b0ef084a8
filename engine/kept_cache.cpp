#include "engine/kept_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/model_impl.h"
#include "graph/op_def.h"

namespace octet {
namespace {

using graph::Graph;
using graph::Node;
using graph::Tensor;
using graph::Value;

constexpr std::string_view kPast = "past_key_values.", kPresent[] = {"present.", "present_key_values."};

bool continues(std::string_view output, std::string_view input) {
  if (!input.starts_with(kPast)) return false;
  return std::any_of(std::begin(kPresent), std::end(kPresent), [&](std::string_view prefix) {
    return output.starts_with(prefix) && output.substr(prefix.size()) == input.substr(kPast.size());
  });
}

int64_t after(const Shape& shape, size_t axis) {
  int64_t n = 1;
  for (size_t i = axis + 1; i < shape.size(); ++i) n *= shape[i];
  return n;
}

// Rows [from_row, from_row + count) of every slice before the axis.
void copy_rows(const Tensor& from, int64_t from_row, const Tensor& to, int64_t to_row, int64_t count, size_t axis) {
  const auto row = static_cast<size_t>(after(from.shape(), axis)) * size_of(from.dtype());
  const auto from_rows = static_cast<size_t>(from.shape()[axis]), to_rows = static_cast<size_t>(to.shape()[axis]);
  const size_t slices = from.bytes() / (row * from_rows);
  auto* target = const_cast<std::byte*>(to.as<std::byte>());
  for (size_t s = 0; s < slices; ++s)
    std::memmove(target + (s * to_rows + static_cast<size_t>(to_row)) * row,
                 from.as<std::byte>() + (s * from_rows + static_cast<size_t>(from_row)) * row,
                 static_cast<size_t>(count) * row);
}

// The buffer of a plan's input, which is this frame's alone.
Tensor buffer(const Frame& frame, size_t input) {
  const Binding& b = frame.plan->inputs[input];
  return {b.dtype, b.shape, std::shared_ptr<std::byte[]>(std::shared_ptr<void>(), b.location.in(frame.context))};
}

Node* only_use(const Value* v) { return v->uses().size() == 1 ? v->uses()[0].node : nullptr; }

// What joins the old and the new: Concat(past, new), or of quantized values Concat(Q(past), new). Null where it is anything
// else.
Node* find_join(const Value* past, Node** quantize) {
  Node* next = only_use(past);
  const Value* stored = past;
  *quantize = nullptr;
  if (next && next->op().quant == graph::QuantRole::quantize) {
    *quantize = next;
    stored = next->output();
    next = only_use(stored);
  }
  const bool joins = next && next->op_name() == "Concat" && next->inputs().size() == 2 && next->input(0) == stored;
  return joins && past->layout == graph::Layout::plain && stored->layout == graph::Layout::plain ? next : nullptr;
}

void keep(Graph& graph, size_t input, size_t output) {
  Value *past = graph.inputs()[input], *present = graph.outputs()[output];
  Node* quantize = nullptr;
  Node* join = find_join(past, &quantize);
  Node* dequantize = join && present != join->output() ? present->producer() : nullptr;
  if (!join ||
      (dequantize && (dequantize->op().quant != graph::QuantRole::dequantize || dequantize->input(0) != join->output())))
    throw Error(ErrorCode::unsupported,
                graph.file + ": '" + past->name() +
                    "' and what continues it are not joined by a Concat of the old and the new and nothing else; "
                    "a session cannot keep this cache, expected it to be handed in and out");
  Value* joined = join->output();
  const Shape old_shape = past->type().shape();
  const auto rank = static_cast<int64_t>(old_shape.size()), axis = (join->attr("axis", int64_t{0}) + rank) % rank;
  past->set_type(joined->type());
  Tensor indices(DType::s64, {old_shape[0]});
  std::fill_n(indices.mutable_as<int64_t>(), indices.size(), old_shape[static_cast<size_t>(axis)]);
  Node* scatter =
      graph.add_node("TensorScatter", {past, join->input(1), graph.add_constant(std::move(indices))}, 1, join->name(), join);
  scatter->set_attr("axis", axis);
  scatter->set_attr("in_place", int64_t{1});
  scatter->output()->set_type(joined->type());
  graph.replace_uses(joined, scatter->output());
  graph.set_output(output, scatter->output());
  graph.erase(join);
  if (quantize) graph.erase(quantize);
  if (dequantize && present->uses().empty() && !graph.is_output(present)) graph.erase(dequantize);
}

}  // namespace

std::vector<CachePair> find_caches(const std::vector<ValueInfo>& inputs, const std::vector<ValueInfo>& outputs) {
  std::vector<CachePair> pairs;
  for (size_t i = 0; i < inputs.size(); ++i)
    for (size_t o = 0; o < outputs.size(); ++o) {
      if (!continues(outputs[o].name, inputs[i].name)) continue;
      const Shape& shape = inputs[i].shape;
      const auto open = std::find(shape.begin() + (shape.empty() ? 0 : 1), shape.end(), -1);
      if (open != shape.end()) pairs.push_back({i, o, static_cast<size_t>(open - shape.begin())});
    }
  return pairs;
}

int64_t cache_capacity(int64_t length) {
  constexpr int64_t kLeast = 64;
  if (length <= kLeast) return kLeast;
  const int64_t step =
      std::max<int64_t>(kLeast / 4, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(length - 1))) / 4);
  return (length + step - 1) / step * step;
}

void keep_caches(Graph& graph) {
  for (size_t i = 0; i < graph.inputs().size(); ++i)
    for (size_t o = 0; o < graph.outputs().size(); ++o)
      if (continues(graph.output_names()[o], graph.inputs()[i]->name())) keep(graph, i, o);
}

KeptCache::KeptCache(const Model& model)
    : file_(model.impl().graph().file), inputs_(model.inputs()), pairs_(find_caches(model.inputs(), model.outputs())) {
  const auto find = [&](std::initializer_list<std::string_view> names) {
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (std::find(names.begin(), names.end(), inputs_[i].name) != names.end() && inputs_[i].shape.size() >= 2) return i;
    return inputs_.size();
  };
  tokens_ = find({"input_ids", "inputs_embeds"});
  mask_ = find({"attention_mask"});
  if (pairs_.empty() || tokens_ == inputs_.size() || mask_ == inputs_.size())
    throw Error(ErrorCode::unsupported,
                file_ +
                    ": a session can keep the cache of a decoder with inputs input_ids, attention_mask "
                    "and past_key_values.N.key of open length, and outputs present.N.key; this model has no such");
}

void KeptCache::set_length(int64_t length) {
  if (length < 0 || length > length_)
    throw Error(ErrorCode::invalid_argument,
                "the cache holds " + std::to_string(length_) + " tokens; it cannot be cut to " + std::to_string(length));
  length_ = length;
}

bool KeptCache::is_past(size_t input) const {
  return std::any_of(pairs_.begin(), pairs_.end(), [&](const CachePair& p) { return p.input == input; });
}

bool KeptCache::is_present(size_t output) const {
  return std::any_of(pairs_.begin(), pairs_.end(), [&](const CachePair& p) { return p.output == output; });
}

std::vector<Shape> KeptCache::plan_shapes(std::vector<Shape> given) const {
  const int64_t batch = given[tokens_][0], tokens = given[tokens_][1], capacity = cache_capacity(length_);
  if (tokens < 1)
    throw Error(ErrorCode::invalid_argument, "input '" + inputs_[tokens_].name + "' has no tokens; expected at least one");
  if (given[mask_] != Shape{batch, length_ + tokens})
    throw Error(ErrorCode::invalid_argument, "input '" + inputs_[mask_].name + "' is " + to_string(given[mask_]) +
                                                 "; expected " + to_string(Shape{batch, length_ + tokens}) + ": " +
                                                 std::to_string(length_) + " tokens in the cache and " +
                                                 std::to_string(tokens) + " new ones");
  if (length_ > 0 && batch != batch_)
    throw Error(ErrorCode::invalid_argument,
                "the cache holds a batch of " + std::to_string(batch_) + ", the input one of " + std::to_string(batch));
  given[mask_][1] = capacity + tokens;
  for (const CachePair& p : pairs_) {
    Shape& shape = given[p.input] = inputs_[p.input].shape;
    shape[p.axis] = capacity;
    for (size_t i = 0; i < shape.size(); ++i)
      if (shape[i] < 0 && i > 0)
        throw Error(ErrorCode::unsupported, file_ + ": input '" + inputs_[p.input].name +
                                                "' has more open dimensions than the batch and the tokens");
    if (shape[0] < 0) shape[0] = batch;
  }
  return given;
}

Tensor KeptCache::wide_mask(const Tensor& mask) const {
  const int64_t batch = mask.shape()[0], width = mask.shape()[1], tokens = width - length_,
                capacity = cache_capacity(length_);
  const size_t element = size_of(mask.dtype());
  Tensor wide(mask.dtype(), {batch, capacity + tokens});
  std::memset(wide.mutable_as<std::byte>(), 0, wide.bytes());
  for (int64_t b = 0; b < batch; ++b) {
    const std::byte* from = mask.as<std::byte>() + static_cast<size_t>(b * width) * element;
    std::byte* to = wide.mutable_as<std::byte>() + static_cast<size_t>(b * (capacity + tokens)) * element;
    std::memcpy(to, from, static_cast<size_t>(length_) * element);
    std::memcpy(to + static_cast<size_t>(capacity) * element, from + static_cast<size_t>(length_) * element,
                static_cast<size_t>(tokens) * element);
  }
  return wide;
}

void KeptCache::move(const Frame& from, const Frame& to) const {
  if (length_ == 0) return;
  for (const CachePair& p : pairs_) copy_rows(buffer(from, p.input), 0, buffer(to, p.input), 0, length_, p.axis);
}

void KeptCache::take_new(const Frame& frame) {
  int64_t tokens = 0;
  for (const CachePair& p : pairs_) {
    const Tensor to = buffer(frame, p.input);
    const int64_t capacity = cache_capacity(length_);
    tokens = to.shape()[p.axis] - capacity;
    batch_ = to.shape()[0];
    copy_rows(frame.output(p.output), capacity, to, length_, tokens, p.axis);
  }
  length_ += tokens;
}

}  // namespace octet
