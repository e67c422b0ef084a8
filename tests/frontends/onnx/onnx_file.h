// ONNX files written by hand, field by field, so that a test can say anything: what no exporter writes, and what is wrong.
// Field numbers are those of onnx.proto.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/onnx/onnx.h"
#include "graph/ir.h"

namespace octet::test {

struct Message {
  std::string bytes;

  Message& number(int field, int64_t value) {
    tag(field, 0);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  Message& real(int field, float value) {
    tag(field, 5);
    char raw[4];
    std::memcpy(raw, &value, 4);
    bytes.append(raw, 4);
    return *this;
  }
  Message& text(int field, std::string_view value) {
    tag(field, 2);
    varint(value.size());
    bytes.append(value);
    return *this;
  }
  Message& message(int field, const Message& value) { return text(field, value.bytes); }

 private:
  void tag(int field, int wire_type) { varint(static_cast<uint64_t>(field * 8 + wire_type)); }
  void varint(uint64_t value) {
    for (; value >= 128; value >>= 7) bytes.push_back(static_cast<char>(value | 128));
    bytes.push_back(static_cast<char>(value));
  }
};

template <class T>
std::string raw(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

enum : int { kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6, kInt64 = 7, kString = 8, kBool = 9, kFloat16 = 10, kInt4 = 22 };

// A TensorProto without data; add .text(9, raw(...)) or typed fields.
inline Message tensor_header(std::string_view name, int data_type, const std::vector<int64_t>& dims) {
  Message m;
  for (int64_t d : dims) m.number(1, d);
  m.number(2, data_type).text(8, name);
  return m;
}
inline Message float_tensor(std::string_view name, const std::vector<int64_t>& dims, const std::vector<float>& values) {
  return tensor_header(name, kFloat, dims).text(9, raw(values));
}
inline Message int64_tensor(std::string_view name, const std::vector<int64_t>& dims, const std::vector<int64_t>& values) {
  return tensor_header(name, kInt64, dims).text(9, raw(values));
}

inline Message attr_int(std::string_view name, int64_t value) {
  return Message().text(1, name).number(3, value).number(20, 2);
}
inline Message attr_float(std::string_view name, float value) {
  return Message().text(1, name).real(2, value).number(20, 1);
}
inline Message attr_text(std::string_view name, std::string_view v) {
  return Message().text(1, name).text(4, v).number(20, 3);
}
inline Message attr_tensor(std::string_view name, const Message& v) {
  return Message().text(1, name).message(5, v).number(20, 4);
}
inline Message attr_graph(std::string_view name, const Message& v) {
  return Message().text(1, name).message(6, v).number(20, 5);
}
inline Message attr_ints(std::string_view name, const std::vector<int64_t>& values) {
  Message m = Message().text(1, name).number(20, 7);
  for (int64_t v : values) m.number(8, v);
  return m;
}
inline Message attr_floats(std::string_view name, const std::vector<float>& values) {
  Message m = Message().text(1, name).number(20, 6);
  for (float v : values) m.real(7, v);
  return m;
}

using Names = std::vector<std::string>;

inline Message node(std::string_view op, const Names& inputs, const Names& outputs, const std::vector<Message>& attrs = {},
                    std::string_view name = {}, std::string_view domain = {}) {
  Message m;
  for (const auto& i : inputs) m.text(1, i);
  for (const auto& o : outputs) m.text(2, o);
  m.text(4, op);
  if (!name.empty()) m.text(3, name);
  if (!domain.empty()) m.text(7, domain);
  for (const Message& a : attrs) m.message(5, a);
  return m;
}

// Dimensions as written: "3" a number, anything else a symbol, "" unknown.
inline Message value(std::string_view name, int data_type, const Names& dims) {
  Message shape;
  for (const std::string& d : dims) {
    Message dim;
    if (!d.empty() && (d[0] == '-' || (d[0] >= '0' && d[0] <= '9')))
      dim.number(1, std::stoll(d));
    else if (!d.empty())
      dim.text(2, d);
    shape.message(1, dim);
  }
  const Message type = Message().message(1, Message().number(1, data_type).message(2, shape));
  return Message().text(1, name).message(2, type);
}

struct ModelParts {
  std::vector<Message> nodes, inputs, outputs, initializers;
  int64_t opset = 17;
};

inline Message graph_message(const ModelParts& parts) {
  Message g;
  for (const Message& n : parts.nodes) g.message(1, n);
  g.text(2, "g");
  for (const Message& t : parts.initializers) g.message(5, t);
  for (const Message& i : parts.inputs) g.message(11, i);
  for (const Message& o : parts.outputs) g.message(12, o);
  return g;
}

inline std::string model_file(const ModelParts& parts) {
  return Message()
      .number(1, 8)
      .message(8, Message().text(1, "").number(2, parts.opset))
      .message(8, Message().text(1, "com.microsoft").number(2, 1))
      .message(7, graph_message(parts))
      .bytes;
}

inline std::unique_ptr<graph::Graph> import_file(const std::string& bytes, const std::string& folder = {}) {
  return onnx::import_bytes(std::as_bytes(std::span(bytes)), "test.onnx", folder);
}
inline std::unique_ptr<graph::Graph> import_parts(const ModelParts& parts) { return import_file(model_file(parts)); }

// The only node of x → y, with `inputs` after x given as initializers.
inline std::unique_ptr<graph::Graph> import_node(int64_t opset, const Message& n, const Names& x_dims,
                                                 const std::vector<Message>& initializers = {}, int x_type = kFloat) {
  ModelParts parts;
  parts.nodes = {n};
  parts.inputs = {value("x", x_type, x_dims)};
  parts.outputs = {Message().text(1, "y")};
  parts.initializers = initializers;
  parts.opset = opset;
  return import_parts(parts);
}

// "code: message" of the Error, or what happened instead.
inline std::string error_of(const std::string& bytes, const std::string& folder = {}) {
  try {
    import_file(bytes, folder);
    return "no error";
  } catch (const Error& e) {
    return std::string(to_string(e.code())) + ": " + e.what();
  }
}
inline std::string error_of(const ModelParts& parts) { return error_of(model_file(parts)); }

}  // namespace octet::test
