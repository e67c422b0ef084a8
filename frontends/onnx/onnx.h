// ONNX files in and out: the only door between protobuf and the graph.
//
//   file ──parse──▶ ModelProto ──check names, sort──▶ drafts ──normalise──▶ drafts ──check schema, infer──▶ Graph
//   Graph ──denormalise──▶ drafts ──write──▶ ModelProto ──serialise──▶ file (written beside, then renamed)
//
// Import is driven by the operator schemas (graph/op_def.h): there is one importer for all operators, and nothing here knows
// an operator by name except the tables of opset differences (normalise.cpp, denormalise.cpp), which give every node the
// meaning of the newest opset. Opset 7 and later are read; opsets newer than the newest known are accepted, since an
// operator that changed in them will be caught by its schema. Operators outside the standard domain are named "domain.Name".
//
// Files are hostile until proved otherwise. A size is checked against the bytes that are there before anything of that size
// is allocated; external data must lie inside the model's folder, symbolic links resolved; every defect is one Error
// (invalid_model, or unsupported for what is valid ONNX but not ours) whose message names the file, the node, and what was
// expected. A name of the file is never trusted to be unique, printable or short.
//
// Dimensions: a known one is a number, a symbolic one keeps its name, so that the batch of input and output is seen to be
// one. An initialiser that is also an input is a constant: nobody overrides weights at run time.
//
// Export writes what was imported, or built, or quantized: standard ONNX operators and those of other domains. A graph that
// has been optimized for execution (octet.* operators, values with quantized types) is refused. The bytes are deterministic.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "graph/ir.h"

namespace octet::onnx {

std::unique_ptr<graph::Graph> import_model(const std::string& path);

// `file_label` stands for the file in messages; `folder` holds external data, empty when there can be none.
std::unique_ptr<graph::Graph> import_bytes(std::span<const std::byte> bytes, const std::string& file_label,
                                           const std::string& folder);

// A serialised TensorProto, as in the ONNX backend test cases (input_0.pb).
graph::Tensor import_tensor(const std::string& path);
// The same of any kind: a SequenceProto or an OptionalProto where `kind` says so, of elements of type `element`.
graph::Tensor import_value(const std::string& path, graph::ValueKind kind, DType element);
void export_tensor(const graph::Tensor& tensor, const std::string& name, const std::string& path);

struct ExportOptions {
  int opset = 17;              // at least 13; raised to what the operators of the graph need
  bool external_data = false;  // weights into PATH.data; forced when the model would pass protobuf's 2 GB
};

void export_model(const graph::Graph& graph, const std::string& path, const ExportOptions& options = {});

// The file's bytes, with all weights inside.
std::string export_bytes(const graph::Graph& graph, const ExportOptions& options = {});

}  // namespace octet::onnx
