// Opsets 1 to 6.
#include <gtest/gtest.h>

#include "graph/eval.h"
#include "onnx_file.h"

namespace octet::test {
namespace {

using graph::Tensor;

std::vector<float> run(const graph::Graph& g, const Shape& shape, const std::vector<float>& x) {
  return graph::run_reference(g, std::vector<Tensor>{Tensor::of<float>(DType::f32, shape, x)})[0].to_f32();
}

TEST(NormaliseOld, arithmetic_broadcasts_from_an_axis_on) {
  const auto g = import_node(6, node("Add", {"x", "w"}, {"y"}, {attr_int("broadcast", 1), attr_int("axis", 0)}), {"2", "3"},
                             {float_tensor("w", {2}, {10, 20})});
  EXPECT_EQ(run(*g, {2, 3}, {1, 2, 3, 4, 5, 6}), (std::vector<float>{11, 12, 13, 24, 25, 26}));
  const auto suffix = import_node(6, node("Mul", {"x", "w"}, {"y"}, {attr_int("broadcast", 1)}), {"2", "3"},
                                  {float_tensor("w", {3}, {1, 0, 2})});
  EXPECT_EQ(run(*suffix, {2, 3}, {1, 2, 3, 4, 5, 6}), (std::vector<float>{1, 0, 6, 4, 0, 12}));
}

TEST(NormaliseOld, slopes_lie_along_the_channels) {
  const auto g = import_node(6, node("PRelu", {"x", "w"}, {"y"}), {"1", "2", "2", "2"}, {float_tensor("w", {2}, {2, 3})});
  EXPECT_EQ(run(*g, {1, 2, 2, 2}, {-1, 1, -1, 1, -1, 1, -1, 1}), (std::vector<float>{-2, 1, -2, 1, -3, 1, -3, 1}));
}

TEST(NormaliseOld, attributes_that_were_spelled_otherwise) {
  const auto reshape =
      import_node(1, node("Reshape", {"x"}, {"y"}, {attr_ints("shape", {2, -1}), attr_ints("consumed_inputs", {0})}), {"4"});
  EXPECT_EQ(graph::to_string(reshape->outputs()[0]->type()), "float32[2,2]");
  const auto cast = import_node(1, node("Cast", {"x"}, {"y"}, {attr_text("to", "INT64")}), {"4"});
  EXPECT_EQ(cast->outputs()[0]->dtype(), DType::s64);
}

TEST(NormaliseOld, learning_is_refused) {
  EXPECT_NO_THROW(import_node(6, node("Dropout", {"x"}, {"y"}, {attr_int("is_test", 1)}), {"4"}));
  try {
    import_node(6, node("Dropout", {"x"}, {"y"}), {"4"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
  }
}

}  // namespace
}  // namespace octet::test
