// Filling a model's inputs: from samples of a data set, or with seeded synthetic numbers.
//
// A model whose first input has an open first dimension is *batchable*: the name of that dimension stands for the batch
// wherever it occurs. Every other open dimension needs a size from the user (`--shape NAME=1x16`).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/tensor.h"
#include "octet/octet.h"
#include "tools/dataset.h"

namespace octet::tools {

using ShapeOverrides = std::map<std::string, Shape>;  // by input name

// "x=1x3x224x224" or "x=1,3,224,224". Throws Error naming the option.
ShapeOverrides parse_shapes(const std::vector<std::string>& texts);

bool batchable(const std::vector<ValueInfo>& inputs);
// The first dimension of the first input where it is fixed, else 1.
int64_t fixed_batch(const std::vector<ValueInfo>& inputs);
// The batch to run with when the user wants `wanted` (0: no wish). Throws Error when the model fixes another.
int64_t choose_batch(const std::vector<ValueInfo>& inputs, int64_t wanted, const std::string& model);

// A decoder's cache, and the shape of one of its inputs: any open dimension but the batch counts tokens, old and new ones
// for the mask, old ones for the cache.
bool is_past(const ValueInfo& input);
Shape decoder_shape(const ValueInfo& input, int64_t batch, int64_t tokens, int64_t past);

// The shapes of all inputs at a batch size; of a decoder with a cache of open length, one new token and 128 past ones.
// Throws Error naming the input whose dimension is open.
std::vector<Shape> resolve_shapes(const std::vector<ValueInfo>& inputs, int64_t batch, const ShapeOverrides& overrides,
                                  const std::string& model);

// Whether resolve_shapes would find every size.
bool sizes_known(const std::vector<ValueInfo>& inputs, const ShapeOverrides& overrides);

// Numbers that depend on `seed`, the input's place and nothing else: floats close to the normal distribution (mean 0,
// deviation 1, from sums of 12 uniform ones), 8-bit integers over their range, other integers and booleans 0 or 1. Where the
// size of the table that an integer input picks rows from is given (`tables`, one an input, 0 for none), numbers below it.
// Integers and booleans of a name with "mask" in it are 1.
std::vector<graph::Tensor> synthetic_inputs(const std::vector<ValueInfo>& inputs, const std::vector<Shape>& shapes,
                                            uint64_t seed, const std::vector<int64_t>& tables = {});
// With the tables that the model's graph shows: a Gather by the input, or by what a cast or a new shape makes of it.
std::vector<graph::Tensor> synthetic_inputs(const Model& model, const std::vector<Shape>& shapes, uint64_t seed);
// What they are, for notes: "normal numbers", "'input_ids' below 30522, 'attention_mask' all ones".
std::string describe_synthetic(const Model& model);

// One tensor a model input, in their order: the samples stacked along the first axis, the last one repeated up to `batch`.
// Throws Error naming the model's input, what the samples have and what was expected.
std::vector<graph::Tensor> stack(const std::vector<ValueInfo>& inputs, const std::vector<Sample>& samples, int64_t batch,
                                 const std::string& where);

void set_inputs(Session& session, const std::vector<ValueInfo>& inputs, const std::vector<graph::Tensor>& values);

// The output's elements as floats, integers and float16 included.
std::vector<float> to_floats(const TensorView& view);

}  // namespace octet::tools
