#include <algorithm>

#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

using Ints = std::vector<int64_t>;
constexpr int kColumns = 4;

// Reverses the channels, within panels where it must.
std::vector<int64_t> reversal(std::span<const ChannelUse>, int64_t channels, int columns, bool within_panels) {
  std::vector<int64_t> order;
  const int64_t block = within_panels ? columns : channels;
  for (int64_t first = 0; first < channels; first += block)
    for (int64_t i = std::min(first + block, channels); i-- > first;) order.push_back(i);
  return order;
}

Value* conv(Builder& b, Value* x, int64_t outputs, int64_t channels, int64_t k, uint32_t seed, int64_t group = 1) {
  std::vector<float> scale, bias;
  for (int64_t i = 0; i < outputs; ++i) {
    scale.push_back(0.002f + 0.0005f * static_cast<float>(i));
    bias.push_back(0.1f * static_cast<float>(i % 7) - 0.3f);
  }
  Value* y = b.op("Conv", {x, b.weights({outputs, channels / group, k, k}, seed, scale), b.floats({outputs}, bias)},
                  {{"pads", Ints{k / 2, k / 2, k / 2, k / 2}}, {"group", group}});
  return b.qdq(b.op("Relu", {y}), 0.05f, 0);
}

Value* image(Builder& b) { return b.dq(b.input("x", {1, 8, 5, 6}, DType::u8), 0.02f, 128); }

// Bytes of the outputs before and after are the same; how many products changed.
int changed(Builder& b, const ChooseChannelOrder& choose = reversal) {
  optimize(b.graph);
  const std::vector<Tensor> in = random_inputs(b.graph), before = run_reference(b.graph, in);
  const Names nodes = op_names(b.graph);
  const int changes = order_channels(b.graph, kColumns, choose);
  infer_types(b.graph);
  verify(b.graph);
  EXPECT_EQ(op_names(b.graph), nodes);
  const std::vector<Tensor> after = run_reference(b.graph, in);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(largest_difference(before[i], after[i]), 0);
  return changes;
}

TEST(OrderChannels, ABottleneckWithResidualsIsPermutedThroughout) {
  Builder b;
  Value* trunk = conv(b, image(b), 12, 8, 1, 1);
  for (uint32_t seed = 2; seed < 8; seed += 3) {
    Value* y = conv(b, trunk, 8, 12, 1, seed);
    y = conv(b, y, 8, 8, 3, seed + 1);
    y = b.op("Add", {conv(b, y, 12, 8, 1, seed + 2), trunk});
    trunk = b.qdq(y, 0.06f, 0);
  }
  b.output(conv(b, trunk, 4, 12, 1, 9));
  EXPECT_EQ(changed(b), 8) << "all products: the first for its outputs, the last for its channels";
}

TEST(OrderChannels, DepthwiseConvolutionsPoolsAndTablesCarryTheOrder) {
  Builder b;
  Value* y = conv(b, image(b), 16, 8, 1, 1);
  y = b.op("MaxPool", {conv(b, y, 16, 16, 3, 2, 16)}, {{"kernel_shape", Ints{2, 2}}});
  y = b.qdq(b.op("Sigmoid", {y}), 1.0f / 255, 0);
  b.output(conv(b, y, 4, 16, 1, 3));
  EXPECT_EQ(changed(b), 3);
}

TEST(OrderChannels, MatrixProductsAlongTheLastAxis) {
  Builder b;
  Value* x = b.dq(b.input("x", {1, 5, 8}, DType::u8), 0.02f, 128);
  const auto product = [&](Value* v, int64_t k, int64_t n, uint32_t seed) {
    Value* w = b.dq(b.graph.add_constant(random_bytes(DType::s8, {k, n}, seed)), 0.003f, 0);
    return b.qdq(b.op("MatMul", {v, w}), 0.05f, 120);
  };
  Value* y = product(x, 8, 12, 1);
  y = b.qdq(b.op("Tanh", {y}), 1.0f / 127, 128);
  b.output(product(y, 12, 4, 2));
  EXPECT_EQ(changed(b), 2);
}

TEST(OrderChannels, WhoeverLooksAtChannelsKeepsTheirOrder) {
  for (const char* const reader : {"Concat", "Slice", "Mul", "output"}) {
    Builder b;
    Value *x = image(b), *y = conv(b, x, 8, 8, 1, 1);
    Value* z = conv(b, y, 4, 8, 1, 2);
    b.output(z);
    if (std::string_view(reader) == "Concat") b.output(b.op("Concat", {y, x}, {{"axis", int64_t{1}}}));
    if (std::string_view(reader) == "Slice")
      b.output(b.op("Slice", {y, b.ints({-1}), b.ints({-9}), b.ints({1}), b.ints({-1})}));
    if (std::string_view(reader) == "Mul") b.output(b.op("Mul", {y, b.floats({1, 8, 1, 1}, {1, 2, 3, 4, 5, 6, 7, 8})}));
    if (std::string_view(reader) == "output") b.output(y);
    EXPECT_EQ(changed(b), 0) << reader;
  }
}

TEST(OrderChannels, AConstantResidualKeepsItsOrder) {
  Builder b;
  b.output(conv(b, conv(b, image(b), 8, 8, 1, 1), 4, 8, 1, 2));
  optimize(b.graph);
  Value* residual =
      quantized_constant(b.graph, random_bytes(DType::u8, {1, 8, 5, 6}, 7), QuantParams{{0.03f}, {100}, -1}, "constant");
  b.graph.set_input(find_node(b.graph, "octet.Conv"), kResidual, residual);
  EXPECT_EQ(changed(b), 0);
}

TEST(OrderChannels, APoolDoesNotRunAlongTheChannels) {
  Builder b;
  Value* x = b.dq(b.input("x", {1, 3, 5, 8}, DType::u8), 0.02f, 128);
  const auto product = [&](Value* v, int64_t k, int64_t n, uint32_t seed) {
    return b.qdq(b.op("MatMul", {v, b.dq(b.graph.add_constant(random_bytes(DType::s8, {k, n}, seed)), 0.003f, 0)}), 0.05f,
                 120);
  };
  Value* y = b.qdq(b.op("MaxPool", {product(x, 8, 12, 1)},
                        {{"kernel_shape", Ints{1, 3}}, {"strides", Ints{1, 1}}, {"pads", Ints{0, 1, 0, 1}}}),
                   0.05f, 120);
  b.output(product(y, 12, 4, 2));
  EXPECT_EQ(changed(b), 0) << "the columns of these matrices are the pool's width";
}

TEST(OrderChannels, AClassDoesNotTearUpThePanelsOfAnother) {
  Builder b;
  Value* a = conv(b, image(b), 8, 8, 1, 1);
  Value* c = conv(b, a, 8, 8, 1, 2);
  b.output(conv(b, c, 4, 8, 1, 3));
  b.output(conv(b, c, 4, 8, 1, 4));
  std::vector<std::pair<size_t, bool>> asked;
  changed(b, [&](std::span<const ChannelUse> uses, int64_t channels, int columns, bool within_panels) {
    asked.emplace_back(uses.size(), within_panels);
    return reversal(uses, channels, columns, within_panels);
  });
  EXPECT_EQ(asked, (std::vector<std::pair<size_t, bool>>{{1, false}, {2, true}}))
      << "a has one reader and is first; the panels of that reader's outputs then stay together";
}

}  // namespace
}  // namespace octet::graph::test
