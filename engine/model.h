// The inside of octet::Model, for tools and tests that work on graphs: models made from a graph, and the graph at each
// stage.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/ir.h"
#include "graph/passes/pass.h"
#include "octet/octet.h"

namespace octet {

// A model from a graph in ONNX terms (a zoo network, a quantizer's output). Takes the same path as an imported file.
Model model_from_graph(std::unique_ptr<graph::Graph> graph, const ModelOptions& options = {});

// The graph after optimization, before any shape is fixed.
const graph::Graph& optimized_graph(const Model& model);
const std::vector<graph::PassTiming>& pass_timings(const Model& model);

// Inputs and outputs that a TensorView cannot hold: sequences, optionals, strings (and any other, too). The output is valid
// until the next run.
void set_input_value(Session& session, size_t index, const graph::Tensor& value);
graph::Tensor output_value(const Session& session, size_t index);

}  // namespace octet
