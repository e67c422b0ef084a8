// Where a MODEL argument comes from: a file, or `zoo:NAME`.
#pragma once

#include <memory>
#include <string>

#include "graph/ir.h"
#include "tools/zoo.h"

namespace octet::tools {

struct ModelSource {
  std::string name;  // "resnet50": the zoo's name, the file's stem, or its folder where the file is model.onnx
  std::string file;  // as given
  std::unique_ptr<graph::Graph> graph;  // in ONNX terms, types inferred
  bool from_zoo = false;
  bool quantized = false;  // computes with quantized activations or weights already
};

std::string model_name(const std::string& argument);

// `network`: of the zoo. Throws Error naming the file.
ModelSource open_model(const std::string& argument, const zoo::ZooOptions& network = {.batch = 0});

// Whether activations are quantized: QuantizeLinear, DynamicQuantizeLinear, QLinear*, *Integer. Weights stored as int8
// behind DequantizeLinear alone do not make it so.
bool has_quantized_activations(const graph::Graph& graph);
// Whether products keep their weights in 4 or 8 bits and compute in float.
bool has_packed_weights(const graph::Graph& graph);
// Whether a result may depend on what else is in the batch: ranges taken at run time, over all samples at once.
bool quantizes_dynamically(const graph::Graph& graph);

}  // namespace octet::tools
