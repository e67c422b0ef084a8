// Every malformed file gives one Error of one line that names the file and the place; never a crash, never a huge
// allocation.
#include <gtest/gtest.h>

#include <random>

#include "onnx_file.h"

namespace octet::test {
namespace {

// x[2,3] → Relu → h → Relu → y, with an initializer for good measure.
ModelParts two_relus() {
  ModelParts parts;
  parts.nodes = {node("Relu", {"x"}, {"h"}, {}, "first"), node("Add", {"h", "b"}, {"y"}, {}, "second")};
  parts.inputs = {value("x", kFloat, {"2", "3"})};
  parts.outputs = {value("y", kFloat, {"2", "3"})};
  parts.initializers = {float_tensor("b", {3}, {1, 2, 3})};
  return parts;
}

TEST(Malformed, the_sound_model_is_accepted) { EXPECT_EQ(error_of(two_relus()), "no error"); }

TEST(Malformed, empty_and_foreign_files) {
  EXPECT_EQ(error_of(""), "invalid model: test.onnx: is empty, expected an ONNX model");
  EXPECT_EQ(error_of("hello, world"),
            "invalid model: test.onnx: is not an ONNX model: its protobuf data is damaged or truncated");
  EXPECT_EQ(error_of(Message().number(1, 8).bytes), "invalid model: test.onnx: is not an ONNX model: it contains no graph");
}

TEST(Malformed, every_truncation_is_an_error_of_one_line) {
  const std::string whole = model_file(two_relus());
  for (size_t length = 0; length < whole.size(); ++length) {
    const std::string error = error_of(whole.substr(0, length));
    EXPECT_NE(error, "no error") << "at length " << length;
    EXPECT_NE(error.find("test.onnx"), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST(Malformed, damaged_bytes_never_escape_as_anything_but_an_error) {
  const std::string whole = model_file(two_relus());
  std::mt19937 random(1);
  int errors = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string damaged = whole;
    for (unsigned k = 0; k <= random() % 4; ++k) damaged[random() % damaged.size()] = static_cast<char>(random());
    const std::string error = error_of(damaged);
    errors += error != "no error";
    ASSERT_EQ(error.find('\n'), std::string::npos) << error;
  }
  EXPECT_GT(errors, 500);
}

TEST(Malformed, random_bytes) {
  std::mt19937 random(2);
  for (int round = 0; round < 5000; ++round) {
    std::string noise(1 + random() % 200, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    EXPECT_NE(error_of(noise), "no error");
  }
}

TEST(Malformed, cycle) {
  ModelParts parts = two_relus();
  parts.nodes = {node("Relu", {"x"}, {"a"}), node("Add", {"a", "d"}, {"c"}, {}, "one"),
                 node("Relu", {"c"}, {"d"}, {}, "two"), node("Relu", {"d"}, {"y"}, {}, "after")};
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: node 'one' (Add): is part of a cycle; expected an acyclic graph");
}

TEST(Malformed, names_defined_twice) {
  ModelParts parts = two_relus();
  parts.nodes.push_back(node("Relu", {"x"}, {"h"}));
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: node #2 (Relu) producing 'h': output 'h' is defined twice");
  parts = two_relus();
  parts.nodes.push_back(node("Relu", {"h"}, {"x"}));
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: node #2 (Relu) producing 'x': output 'x' is defined twice");
  parts = two_relus();
  parts.initializers.push_back(float_tensor("b", {1}, {1}));
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: initializer 'b' is defined twice");
  parts = two_relus();
  parts.inputs.push_back(value("x", kFloat, {"1"}));
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: input 'x' is defined twice");
  parts = two_relus();
  parts.outputs.push_back(value("y", kFloat, {}));
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: output 'y' is listed twice");
}

TEST(Malformed, missing_values) {
  ModelParts parts = two_relus();
  parts.nodes[1] = node("Add", {"h", "nowhere"}, {"y"}, {}, "second");
  EXPECT_EQ(
      error_of(parts),
      "invalid model: test.onnx: node 'second' (Add): input 1 'nowhere' is neither an input of the graph, an initializer "
      "nor the output of a node");
  parts = two_relus();
  parts.outputs.push_back(value("z", kFloat, {}));
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: output 'z' of the graph is produced by no node");
  parts = two_relus();
  parts.outputs.clear();
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: the graph has no outputs");
  parts = two_relus();
  parts.nodes.push_back(node("Relu", {"x"}, {}, {}, "useless"));
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: node 'useless' (Relu): produces nothing");
}

TEST(Malformed, sizes_of_initializers) {
  const auto error = [](const Message& tensor) {
    ModelParts parts = two_relus();
    parts.initializers[0] = tensor;
    return error_of(parts);
  };
  EXPECT_EQ(error(float_tensor("b", {3}, {1, 2})),
            "invalid model: test.onnx: initializer 'b': raw data has 8 bytes, expected 12 for float32[3]");
  EXPECT_EQ(error(tensor_header("b", kFloat, {3}).real(4, 1)),
            "invalid model: test.onnx: initializer 'b': float_data has 1 elements, expected 3 for float32[3]");
  EXPECT_EQ(error(tensor_header("b", kFloat, {-3})), "invalid model: test.onnx: initializer 'b': dimension -3 is negative");
  EXPECT_EQ(error(tensor_header("b", kFloat, {int64_t{1} << 40})),
            "invalid model: test.onnx: initializer 'b': float_data has 0 elements, expected 1099511627776 for "
            "float32[1099511627776]");
  EXPECT_EQ(error(tensor_header("b", kFloat, {int64_t{1} << 62, 16})),
            "invalid model: test.onnx: initializer 'b': shape [4611686018427387904,16] overflows");
  EXPECT_EQ(error(tensor_header("b", kInt8, {1}).number(5, 300)),
            "invalid model: test.onnx: initializer 'b': int32_data holds 300, which is no int8");
  EXPECT_TRUE(error(tensor_header("b", 0, {1})).starts_with("invalid model: test.onnx: initializer 'b': element type 0 is"));
  EXPECT_TRUE(error(tensor_header("b", 14, {1})).starts_with("unsupported: test.onnx: initializer 'b': element type 14 is"));
  EXPECT_EQ(error(tensor_header("b", kString, {1}).text(9, "x")),
            "invalid model: test.onnx: initializer 'b': holds strings, which cannot be raw or external data");
}

TEST(Malformed, dimensions_of_inputs) {
  ModelParts parts = two_relus();
  parts.inputs = {value("x", kFloat, {"-2", "3"})};
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: input 'x' has the negative dimension -2");
  parts.inputs = {value("x", kFloat, {"9223372036854775807", "4"})};
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: input 'x' has dimensions whose product overflows");
  parts.inputs = {Message().text(1, "x")};
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: input 'x' is not a tensor; expected one");
  parts.inputs = {value("x", 14, {"1"})};
  EXPECT_EQ(error_of(parts), "unsupported: test.onnx: input 'x' has element type 14, which is not supported");
}

TEST(Malformed, operators_and_arity) {
  const auto error = [](const Message& second) {
    ModelParts parts = two_relus();
    parts.nodes[1] = second;
    return error_of(parts);
  };
  EXPECT_EQ(error(node("Frobnicate", {"h"}, {"y"}, {}, "n")),
            "unsupported: test.onnx: node 'n' (Frobnicate): operator 'Frobnicate' is not supported");
  EXPECT_EQ(error(node("Relu", {"h"}, {"y"}, {}, "n", "my.domain")),
            "unsupported: test.onnx: node 'n' (my.domain.Relu): operator 'my.domain.Relu' is not supported");
  EXPECT_EQ(error(node("Conv", {"h", "b"}, {"y"}, {}, "n", "octet")),
            "unsupported: test.onnx: node 'n' (octet.Conv): operator 'octet.Conv' is not supported");
  EXPECT_EQ(error(node("octet.Conv", {"h", "b"}, {"y"}, {}, "n")),
            "unsupported: test.onnx: node 'n' (octet.Conv): no such operator in the standard domain");
  EXPECT_EQ(error(node("Relu", {"h", "b"}, {"y"}, {}, "n")),
            "invalid model: test.onnx: node 'n' (Relu): has 2 inputs, expected at most 1");
  EXPECT_EQ(error(node("Add", {"h"}, {"y"}, {}, "n")), "invalid model: test.onnx: node 'n' (Add): input 1 ('B') is missing");
  EXPECT_EQ(error(node("Add", {"", "h"}, {"y"}, {}, "n")),
            "invalid model: test.onnx: node 'n' (Add): input 0 ('A') is missing");
  EXPECT_EQ(error(node("Relu", {"h"}, {"y", "z"}, {}, "n")),
            "invalid model: test.onnx: node 'n' (Relu): has 2 outputs, expected 1");
}

TEST(Malformed, attributes) {
  const auto error = [](const std::vector<Message>& attrs, std::string_view op = "Softmax") {
    ModelParts parts = two_relus();
    parts.nodes[1] = node(op, {"h"}, {"y"}, attrs, "n");
    return error_of(parts);
  };
  EXPECT_EQ(error({attr_int("axes", 1)}),
            "invalid model: test.onnx: node 'n' (Softmax): attribute 'axes' is unknown; expected axis");
  EXPECT_EQ(error({attr_float("axis", 1)}),
            "invalid model: test.onnx: node 'n' (Softmax): attribute 'axis' is float, expected int");
  EXPECT_EQ(error({attr_int("axis", 1), attr_int("axis", 1)}),
            "invalid model: test.onnx: node 'n' (Softmax): attribute 'axis' is given twice");
  EXPECT_EQ(error({Message().text(1, "axis")}),
            "invalid model: test.onnx: node 'n' (Softmax): attribute 'axis' has neither a type nor a value");
  EXPECT_EQ(error({}, "Cast"), "invalid model: test.onnx: node 'n' (Cast): attribute 'to' (int) is missing");
  EXPECT_EQ(error({attr_graph("body", Message())}, "If"),
            "invalid model: test.onnx: node 'n' (If): attribute 'body' is unknown; expected then_branch, else_branch");
  EXPECT_EQ(
      error({attr_tensor("axis", float_tensor("", {2}, {1}))}),
      "invalid model: test.onnx: node 'n' (Softmax): attribute 'axis': raw data has 4 bytes, expected 8 for float32[2]");
}

TEST(Malformed, opsets) {
  ModelParts parts = two_relus();
  parts.opset = -1;
  EXPECT_EQ(error_of(parts),
            "unsupported: test.onnx: uses opset -1, expected 1 or later; convert it with onnx.version_converter");
  const std::string without = Message().number(1, 8).message(7, graph_message(two_relus())).bytes;
  EXPECT_EQ(error_of(without),
            "invalid model: test.onnx: does not say which opset its operators are of; expected opset 1 or later");
}

TEST(Malformed, declared_output_type_disagrees) {
  ModelParts parts = two_relus();
  parts.outputs = {value("y", kInt64, {"2", "3"})};
  EXPECT_EQ(error_of(parts), "invalid model: test.onnx: output 'y' is declared int64, but the graph computes float32");
}

TEST(Malformed, names_in_messages_are_printable_and_short) {
  ModelParts parts = two_relus();
  parts.nodes[1] = node("Add", {"h", "line\nbreak"}, {"y"}, {}, std::string(1000, 'n'));
  const std::string error = error_of(parts);
  EXPECT_EQ(error.find('\n'), std::string::npos);
  EXPECT_NE(error.find("line?break"), std::string::npos) << error;
  EXPECT_LT(error.size(), 500u);
}

TEST(Malformed, what_inference_finds_is_said_of_nodes_without_names_too) {
  ModelParts parts = two_relus();
  parts.initializers = {float_tensor("b", {4}, {1, 2, 3, 4})};
  parts.nodes[1] = node("Add", {"h", "b"}, {"y"});
  EXPECT_TRUE(error_of(parts).starts_with("invalid model: test.onnx: node #1 (Add) producing 'y': ")) << error_of(parts);
  parts.nodes[1] = node("Resize", {"h", "", "b"}, {"y"}, {attr_text("mode", "near\nest")}, "n");
  EXPECT_EQ(error_of(parts).find('\n'), std::string::npos) << error_of(parts);
  EXPECT_NE(error_of(parts).find("near?est"), std::string::npos) << error_of(parts);
}

TEST(Malformed, deep_nesting_is_refused) {
  Message graph = Message().text(2, "leaf");
  for (int depth = 0; depth < 20000; ++depth)
    graph = Message().message(1, Message().text(4, "If").message(5, attr_graph("b", graph)));
  EXPECT_NE(error_of(Message().number(1, 8).message(7, graph).bytes), "no error");
}

}  // namespace
}  // namespace octet::test
