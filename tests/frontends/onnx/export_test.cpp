#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "graph/eval.h"
#include "onnx_file.h"

namespace octet::test {
namespace {

namespace fs = std::filesystem;
using graph::Graph;
using graph::Tensor;
using graph::Type;
using graph::Value;

std::unique_ptr<Graph> reimport(const Graph& g, const onnx::ExportOptions& options = {}) {
  return import_file(onnx::export_bytes(g, options));
}

// A convolution with symbolic batch, a reduction, a split and an optional operand left out.
std::unique_ptr<Graph> example() {
  auto g = std::make_unique<Graph>();
  g->name = "example";
  Value* x = g->add_input("x", {DType::f32, std::vector<graph::Dim>{graph::Dim("N"), 1, 4, 4}, nullptr});
  Value* w = g->add_constant(Tensor::of<float>(DType::f32, {2, 1, 1, 1}, {2, -1}), "w");
  graph::Node* conv = g->add_node("Conv", {x, w}, 1, "conv");
  conv->set_attr("kernel_shape", std::vector<int64_t>{1, 1});
  conv->set_attr("pads", std::vector<int64_t>{0, 0, 0, 0});
  graph::Node* clip = g->add_node("Clip", {conv->output(), nullptr, g->add_constant(Tensor::scalar(6), "six")}, 1, "clip");
  graph::Node* split = g->add_node("Split", {clip->output()}, 2, "split");
  split->set_attr("axis", int64_t{1});
  split->set_attr("num_outputs", int64_t{2});
  graph::Node* add = g->add_node("Add", {split->output(0), split->output(1)}, 1, "add");
  graph::Node* mean = g->add_node("ReduceMean", {add->output(), g->add_constant(Tensor::of_s64({2, 3}), "axes")}, 1, "mean");
  mean->set_attr("keepdims", int64_t{0});
  g->rename(mean->output(), "y");
  g->add_output(mean->output());
  graph::infer_types(*g);
  return g;
}

TEST(Export, what_is_exported_imports_as_the_same_graph) {
  const auto g = example();
  const auto back = reimport(*g);
  EXPECT_EQ(back->name, "example");
  graph::Node* mean = back->nodes().back().get();
  EXPECT_EQ(mean->input(1)->constant().to_s64(), (std::vector<int64_t>{2, 3}));
  back->rename(mean->input(1), "axes");
  EXPECT_EQ(graph::print(*back), graph::print(*g));
  EXPECT_EQ(graph::print(*reimport(*back)), graph::print(*g)) << "and a second time";
}

TEST(Export, the_newest_spelling_survives_unchanged) {
  const auto g = example();
  EXPECT_EQ(graph::print(*reimport(*g, {.opset = 18})), graph::print(*g));
  EXPECT_EQ(graph::print(*reimport(*g, {.opset = 21})), graph::print(*g));
}

TEST(Export, bytes_are_deterministic) { EXPECT_EQ(onnx::export_bytes(*example()), onnx::export_bytes(*example())); }

// The opset is the varint after the empty domain in opset_import: 42 <len> 0a 00 10 <version>.
int opset_of(const std::string& bytes) {
  const size_t at = bytes.find(std::string("\x42\x04\x0a\x00\x10", 5));
  return at == std::string::npos ? -1 : bytes[at + 5];
}

TEST(Export, the_opset_rises_only_when_the_graph_needs_it) {
  EXPECT_EQ(opset_of(onnx::export_bytes(*example())), 17);
  EXPECT_EQ(opset_of(onnx::export_bytes(*example(), {.opset = 13})), 13);
  Graph g;
  Value* x = g.add_input("x", Type::known(DType::f32, {5}));
  graph::Node* split = g.add_node("Split", {x}, 2, "uneven");
  split->set_attr("num_outputs", int64_t{2});
  g.add_output(split->output(0));
  graph::infer_types(g);
  EXPECT_EQ(opset_of(onnx::export_bytes(g)), 18);
  EXPECT_THROW(onnx::export_bytes(g, {.opset = 12}), Error);
  EXPECT_THROW(onnx::export_bytes(g, {.opset = 99}), Error);
}

TEST(Export, outputs_go_by_their_own_names) {
  Graph g;
  Value* x = g.add_input("x", Type::known(DType::f32, {2}));
  graph::Node* relu = g.add_node("Relu", {x}, 1, "relu");
  graph::Node* neg = g.add_node("Neg", {relu->output()}, 1, "neg");
  g.rename(relu->output(), "second");
  g.add_output(neg->output(), "first");
  g.add_output(neg->output(), "second");
  g.add_output(x, "third");
  graph::infer_types(g);
  const auto back = reimport(g);
  EXPECT_EQ(back->output_names(), (Names{"first", "second", "third"}));
  const std::vector<Tensor> y =
      graph::run_reference(*back, std::vector<Tensor>{Tensor::of<float>(DType::f32, {2}, {-1, 3})});
  EXPECT_EQ(y[0].to_f32(), (std::vector<float>{-0.0f, -3}));
  EXPECT_EQ(y[1].to_f32(), y[0].to_f32());
  EXPECT_EQ(y[2].to_f32(), (std::vector<float>{-1, 3}));
}

TEST(Export, an_output_may_be_an_input_or_a_constant) {
  Graph g;
  Value* x = g.add_input("x", Type::known(DType::f32, {2}));
  g.add_output(x);
  g.add_output(g.add_constant(Tensor::of_s64({7}), "seven"));
  const auto back = reimport(g);
  EXPECT_EQ(back->outputs()[0], back->inputs()[0]);
  EXPECT_EQ(back->outputs()[1]->constant().to_s64(), std::vector<int64_t>{7});
}

TEST(Export, other_domains_return) {
  Graph g;
  g.name = "sum";
  Value* x = g.add_input("x", Type::known(DType::u8, {2}));
  Value* s = g.add_constant(Tensor::scalar(0.5f), "s");
  Value* z = g.add_constant(Tensor::of<uint8_t>(DType::u8, {}, {3}), "z");
  graph::Node* add = g.add_node("com.microsoft.QLinearAdd", {x, s, z, x, s, z, s, z}, 1, "add");
  g.rename(add->output(), "y");
  g.add_output(add->output());
  graph::infer_types(g);
  EXPECT_EQ(graph::print(*reimport(g)), graph::print(g));
}

TEST(Export, machine_form_is_refused) {
  Graph g;
  Value* x = g.add_input("x", Type::known(DType::f32, {2, 3}));
  Value* w = g.add_constant(Tensor::of<float>(DType::f32, {1, 3}, {1, 2, 3}), "w");
  graph::Node* gemm = g.add_node("octet.Gemm", {x, w}, 1, "fc");
  g.add_output(gemm->output());
  graph::infer_types(g);
  try {
    onnx::export_bytes(g);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
    EXPECT_EQ(std::string(e.what()),
              "graph: node 'fc' (octet.Gemm): is no ONNX operator; export the graph before it is optimized for execution");
  }
}

class ExportFile : public ::testing::Test {
 protected:
  ExportFile()
      : folder_(fs::temp_directory_path() / ("octet_export_" + std::to_string(::getpid()) + "_" +
                                             ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::create_directories(folder_);
  }
  ~ExportFile() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  size_t files() const { return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {})); }
  fs::path folder_;
};

TEST_F(ExportFile, replaces_the_file_and_leaves_nothing_else) {
  std::ofstream(path("m.onnx")) << "old";
  onnx::export_model(*example(), path("m.onnx"));
  EXPECT_EQ(onnx::import_model(path("m.onnx"))->nodes().size(), 5u);
  EXPECT_EQ(files(), 1u);
}

TEST_F(ExportFile, fails_with_the_path_and_leaves_nothing) {
  try {
    onnx::export_model(*example(), path("none/m.onnx"));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::io);
    EXPECT_EQ(std::string(e.what()), path("none/m.onnx") + ": cannot be written: No such file or directory");
  }
  fs::create_directory(path("folder"));
  EXPECT_THROW(onnx::export_model(*example(), path("folder")), Error);
  EXPECT_EQ(files(), 1u);
}

TEST_F(ExportFile, external_data_beside_the_model) {
  Graph g;
  Value* x = g.add_input("x", Type::known(DType::f32, {1, 1000}));
  std::vector<float> values(1000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  Value* w = g.add_constant(Tensor::of<float>(DType::f32, {1000, 1}, values), "w");
  Value* b = g.add_constant(Tensor::of<float>(DType::f32, {1000}, values), "b");
  graph::Node* add = g.add_node("Add", {x, b}, 1, "add");
  graph::Node* mul = g.add_node("MatMul", {add->output(), w}, 1, "mul");
  g.add_output(mul->output());
  graph::infer_types(g);
  onnx::export_model(g, path("m.onnx"), {.external_data = true});
  EXPECT_EQ(fs::file_size(path("m.onnx.data")), 4000u + 32 + 4000);
  EXPECT_LT(fs::file_size(path("m.onnx")), 1000u);
  const auto back = onnx::import_model(path("m.onnx"));
  EXPECT_EQ(back->find_value("w")->constant().to_f32(), values);
  EXPECT_EQ(back->find_value("b")->constant().to_f32(), values);
}

}  // namespace
}  // namespace octet::test
