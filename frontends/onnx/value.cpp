// SequenceProto and OptionalProto (onnx-data.proto), read field by field: the schema of models does not have them.
//
//   SequenceProto   2 kind, 3 tensors, 5 sequences (not read: octet has no sequences of sequences)
//   OptionalProto   2 kind, 3 tensor, 5 sequence
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <limits>

#include "frontends/onnx/draft.h"
#include "frontends/onnx/files.h"
#include "frontends/onnx/onnx.h"
#include "frontends/onnx/proto.h"

namespace octet::onnx {

using graph::Tensor;
using graph::ValueKind;

namespace {

using google::protobuf::internal::WireFormatLite;

constexpr int kTensorField = 3, kSequenceField = 5;

// Calls f(field, bytes) for every length-delimited field.
template <class F>
void for_each_message(const std::string& bytes, const std::string& path, F&& f) {
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  while (const uint32_t tag = in.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&in, tag)) break;
      continue;
    }
    uint32_t size = 0;
    std::string message;
    if (!in.ReadVarint32(&size) || size > bytes.size() || !in.ReadString(&message, static_cast<int>(size)))
      throw Error(ErrorCode::invalid_model, path + ": is damaged or truncated");
    f(WireFormatLite::GetTagFieldNumber(tag), message);
  }
  if (!in.ConsumedEntireMessage()) throw Error(ErrorCode::invalid_model, path + ": is damaged or truncated");
}

Tensor tensor_in(const std::string& bytes, const std::string& path) {
  pb::TensorProto proto;
  if (!proto.ParseFromString(bytes))
    throw Error(ErrorCode::invalid_model, path + ": holds something that is no TensorProto");
  return tensor_of(proto, {path, {}, "tensor '" + printable(proto.name()) + "'"});
}

Tensor sequence_in(const std::string& bytes, DType element, const std::string& path) {
  std::vector<Tensor> elements;
  for_each_message(bytes, path, [&](int field, const std::string& message) {
    if (field == kTensorField) elements.push_back(tensor_in(message, path));
    if (field == kSequenceField)
      throw Error(ErrorCode::unsupported, path + ": is a sequence of sequences; expected one of tensors");
  });
  return Tensor::sequence(element, std::move(elements));
}

}  // namespace

Tensor import_value(const std::string& path, ValueKind kind, DType element) {
  if (kind == ValueKind::tensor) return import_tensor(path);
  const std::string bytes = read_file(path, std::numeric_limits<int32_t>::max());
  if (kind == ValueKind::sequence) return sequence_in(bytes, element, path);
  Tensor content;
  for_each_message(bytes, path, [&](int field, const std::string& message) {
    if (field == kTensorField) content = tensor_in(message, path);
    if (field == kSequenceField) content = sequence_in(message, element, path);
  });
  return Tensor::optional(element, content);
}

}  // namespace octet::onnx
