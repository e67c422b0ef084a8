// Passes on operators of images: transposed convolutions, convolutions over depth, shuffles of channels.
#include <gtest/gtest.h>

#include "graph/passes/passes.h"
#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

using Ints = std::vector<int64_t>;

Value* random_constant(Builder& b, const Shape& shape, uint32_t seed) {
  return b.graph.add_constant(random_floats(shape, seed));
}

TEST(NormaliseTransposed, PutsOutputChannelsFirstAndChangesNoBit) {
  const Attrs cases[] = {
      {{"strides", Ints{2, 2}}},
      {{"strides", Ints{2, 3}}, {"pads", Ints{1, 0, 0, 1}}, {"output_padding", Ints{1, 0}}, {"group", int64_t{2}}},
      {{"strides", Ints{2, 2}}, {"auto_pad", std::string("SAME_UPPER")}},
      {{"strides", Ints{3, 2}}, {"output_shape", Ints{11, 9}}, {"auto_pad", std::string("SAME_LOWER")}},
      {{"dilations", Ints{2, 1}}, {"auto_pad", std::string("VALID")}},
  };
  for (const Attrs& attrs : cases) {
    Builder b;
    Value* x = b.input("x", {2, 4, 4, 5});
    b.output(b.op("ConvTranspose", {x, random_constant(b, {4, 3, 3, 2}, 1)}, attrs));
    EXPECT_EQ(difference_after(b.graph, {normalise_transposed}), 0);
    EXPECT_EQ(op_names(b.graph), Names{"octet.ConvTranspose"});
  }
}

TEST(NormaliseTransposed, OneAxisIsAnImageOfOneRow) {
  Builder b;
  Value* x = b.input("x", {2, 4, 7});
  b.output(b.op("ConvTranspose", {x, random_constant(b, {4, 3, 3}, 1), random_constant(b, {3}, 2)},
                {{"strides", Ints{2}}, {"pads", Ints{1, 0}}}));
  EXPECT_EQ(difference_after(b.graph, {normalise_transposed}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"Unsqueeze", "octet.ConvTranspose", "Squeeze"}));
}

TEST(NormaliseTransposed, WeightsThatChangeAreDeclined) {
  Builder b;
  b.output(b.op("ConvTranspose", {b.input("x", {1, 4, 4, 4}), b.input("w", {4, 3, 2, 2})}));
  EXPECT_EQ(normalise_transposed(b.graph), 0);
  EXPECT_NE(find_node(b.graph, "ConvTranspose")->why.find("weights"), std::string::npos);
}

TEST(FoldBatchNorm, IntoATransposedConvolution) {
  Builder b;
  Value* y =
      b.op("ConvTranspose", {b.input("x", {1, 4, 3, 3}), random_constant(b, {4, 6, 2, 2}, 1)}, {{"strides", Ints{2, 2}}});
  Value* variance = b.graph.add_constant(random_floats({6}, 14, 0.5f, 2.0f));
  b.output(b.op("BatchNormalization",
                {y, random_constant(b, {6}, 11), random_constant(b, {6}, 12), random_constant(b, {6}, 13), variance}));
  EXPECT_LE(difference_after(b.graph, {normalise_transposed, fold_batch_norm}), 1e-5);
  EXPECT_EQ(op_names(b.graph), Names{"octet.ConvTranspose"});
}

TEST(FlattenDepth, MakesAConvolutionOverImages) {
  for (const int64_t group : {1, 2}) {
    Builder b;
    Value* x = b.input("x", {2, 4, 5, 6, 7});
    b.output(b.op(
        "Conv", {x, random_constant(b, {6, 4 / group, 3, 2, 3}, 1), random_constant(b, {6}, 2)},
        {{"group", group}, {"strides", Ints{2, 1, 2}}, {"pads", Ints{1, 0, 1, 2, 1, 0}}, {"dilations", Ints{1, 2, 1}}}));
    EXPECT_LE(difference_after(b.graph, {normalise_products, flatten_depth}), 1e-5);
    const Node* conv = find_node(b.graph, "octet.Conv");
    ASSERT_NE(conv, nullptr);
    EXPECT_EQ(conv->input(0)->type().rank(), 4);
  }
}

Value* shuffled(Builder& b, Value* x, const Shape& between, const Ints& perm) {
  Value* y = b.op("Transpose", {b.op("Reshape", {x, b.ints(between)})}, {{"perm", perm}});
  return b.op("Reshape", {y, b.ints(x->type().shape())});
}

TEST(FuseShuffle, OfAConcatenationTakesItsParts) {
  Builder b;
  Value* x = b.op("Concat", {b.input("a", {2, 3, 4, 5}), b.input("b", {2, 3, 4, 5})}, {{"axis", int64_t{1}}});
  b.output(shuffled(b, x, {2, 2, 3, 4, 5}, {0, 2, 1, 3, 4}));
  EXPECT_EQ(difference_after(b.graph, {fuse_shuffle}), 0);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Interleave"});
}

TEST(FuseShuffle, OfAnythingElseSplitsIt) {
  Builder b;
  b.output(shuffled(b, b.input("x", {2, 6, 4, 5}), {2, 3, 2, 4, 5}, {0, 2, 1, 3, 4}));
  EXPECT_EQ(difference_after(b.graph, {fuse_shuffle}), 0);
  EXPECT_EQ(op_names(b.graph), (Names{"Split", "octet.Interleave"}));
}

TEST(FuseShuffle, OtherTranspositionsStay) {
  Builder b;
  b.output(shuffled(b, b.input("x", {2, 4, 4, 5}), {2, 2, 2, 4, 5}, {0, 1, 2, 4, 3}));
  EXPECT_EQ(fuse_shuffle(b.graph), 0);
}

}  // namespace
}  // namespace octet::graph::test
