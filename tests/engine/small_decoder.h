// The smallest decoder with a cache of open length, as exporters write them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/graph/builder.h"

namespace octet::test {

using graph::Dim;
using graph::Type;
using graph::Value;
using graph::test::Builder;
using graph::test::random_floats;

inline constexpr int64_t kHeads = 2, kD = 4, kVocabulary = 32;

inline Value* open_input(Builder& b, const std::string& name, DType dtype, std::vector<Dim> dims) {
  return b.graph.add_input(name, Type{dtype, std::move(dims), nullptr});
}

// One layer of attention over embedded tokens, the mask as exporters apply it.
enum class DecoderForm { plain, quantized, odd };  // odd: one of its caches is no plain concatenation
inline std::unique_ptr<graph::Graph> small_decoder(DecoderForm form = DecoderForm::plain) {
  Builder b;
  const Dim batch("batch"), past("past"), fresh("sequence"), all("total");
  Value* ids = open_input(b, "input_ids", DType::s64, {batch, fresh});
  Value* mask = open_input(b, "attention_mask", DType::s64, {batch, all});
  Value* past_key = open_input(b, "past_key_values.0.key", DType::f32, {batch, kHeads, past, kD});
  Value* past_value = open_input(b, "past_key_values.0.value", DType::f32, {batch, kHeads, past, kD});
  const auto heads = [&](uint32_t seed) {
    Value* table = b.graph.add_constant(random_floats({kVocabulary, kHeads * kD}, seed));
    Value* x = b.op("Reshape", {b.op("Gather", {table, ids}), b.ints({0, 0, kHeads, kD})});
    return b.op("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  };
  Value* new_key = heads(2);
  const auto join = [&](Value* a, Value* c) { return b.op("Concat", {a, c}, {{"axis", int64_t{2}}}); };
  const auto quantized = [&](Value* v) { return form == DecoderForm::quantized ? b.qdq(v, 0.01f, 120) : v; };
  Value* key = form == DecoderForm::odd ? join(new_key, past_key) : quantized(join(quantized(past_key), quantized(new_key)));
  Value* value = quantized(join(quantized(past_value), quantized(heads(3))));
  Value* scores = b.op("MatMul", {heads(1), b.op("Transpose", {key}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}})});
  Value* hidden =
      b.op("Sub", {b.scalar(1), b.op("Cast", {b.op("Unsqueeze", {mask, b.ints({1, 2})})}, {{"to", int64_t{1}}})});
  scores = b.op("Add", {scores, b.op("Mul", {hidden, b.scalar(-3e38f)})});
  b.graph.add_output(b.op("MatMul", {b.op("Softmax", {scores}, {{"axis", int64_t{-1}}}), value}), "logits");
  b.graph.add_output(key, "present.0.key");
  b.graph.add_output(value, "present.0.value");
  return b.graph.clone();
}

}  // namespace octet::test
