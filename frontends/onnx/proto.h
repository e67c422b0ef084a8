// The protobuf classes, and tensors between them and the graph.
#pragma once

#include <string>

#include "graph/tensor.h"
#include "octet_onnx.pb.h"

namespace octet::onnx {

namespace pb = ::octet_onnx;

// Where a tensor was found, for messages and for its external data.
struct Origin {
  std::string file;
  std::string folder;  // empty: no external data
  std::string what;    // "initializer 'w'"
};

// DType of a TensorProto.DataType; undefined for the types octet has none for (complex).
DType dtype_of(int data_type);
int data_type_of(DType dtype);

graph::Tensor tensor_of(const pb::TensorProto& proto, const Origin& origin);

// Everything but data, and data as the raw bytes of the format (string_data for strings).
void describe_tensor(const graph::Tensor& tensor, const std::string& name, pb::TensorProto& proto);
std::string raw_data(const graph::Tensor& tensor);
void tensor_to_proto(const graph::Tensor& tensor, const std::string& name, pb::TensorProto& proto);

}  // namespace octet::onnx
