// Attention in the forms that exporters write, on quantized operands: recognised, or left alone with a reason.
#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

using Ints = std::vector<int64_t>;

constexpr int64_t kBatch = 2, kHeads = 4, kSize = 3, kTokens = 5, kWidth = kHeads * kSize;
// Probabilities are rounded to 1/255 of the largest, values reach 1.3.
constexpr double kTolerance = 0.02;

struct Attention {
  Builder b;
  float factor = 0.5f;

  Value* quantized(const std::string& name, const Shape& shape) { return b.dq(b.input(name, shape, DType::u8), 0.01f, 128); }
  Value* rows(const std::string& name, int64_t tokens = kTokens) { return quantized(name, {kBatch, tokens, kWidth}); }
  Value* heads(Value* x, const Ints& perm = {0, 2, 1, 3}) {
    const int64_t tokens = x->type().shape()[1];
    return b.op("Transpose", {b.op("Reshape", {x, b.ints({0, tokens, kHeads, kSize})})}, {{"perm", perm}});
  }
  Value* transposed(Value* k) { return b.op("Transpose", {k}, {{"perm", Ints{0, 1, 3, 2}}}); }
  Value* softmax(Value* x, int64_t axis = -1) { return b.op("Softmax", {x}, {{"axis", axis}}); }
  Value* scaled(Value* scores) { return b.op("Mul", {scores, b.scalar(factor)}); }
  Value* merged(Value* y) {
    y = b.op("Transpose", {y}, {{"perm", Ints{0, 2, 1, 3}}});
    return b.op("Reshape", {y, b.ints({0, y->type().shape()[1], kWidth})});
  }
  // Scores of the usual operands.
  Value* scores() { return b.op("MatMul", {heads(rows("q")), heads(rows("k"), {0, 2, 3, 1})}); }
  Value* context(Value* probabilities) { return b.op("MatMul", {probabilities, heads(rows("v"))}); }

  // The node that the graph became, which computes nearly the same.
  const Node* fused(Value* y, double tolerance = kTolerance) {
    b.output(y);
    EXPECT_LE(difference_after_optimize(b.graph), tolerance);
    Node* node = find_node(b.graph, "octet.Attention");
    EXPECT_NE(node, nullptr) << print(b.graph);
    EXPECT_EQ(find_node(b.graph, "Softmax"), nullptr);
    return node;
  }
  // Why it became none.
  std::string declined(Value* y) {
    b.output(y);
    optimize(b.graph);
    EXPECT_EQ(find_node(b.graph, "octet.Attention"), nullptr);
    std::string reasons;
    for (const auto& node : b.graph.nodes()) reasons += node->why + "\n";
    return reasons;
  }
};

TEST(FuseAttention, HeadsAreReadFromTheRowsOfProducts) {
  Attention a;
  const Node* node = a.fused(a.merged(a.context(a.softmax(a.scaled(a.scores())))));
  EXPECT_EQ(op_names(a.b.graph), Names{"octet.Attention"});
  EXPECT_EQ(node->ints("q_heads"), (Ints{0, kSize}));
  EXPECT_EQ(node->attr("scale", 0.0f), 0.5f);
  EXPECT_EQ(to_string(node->output()->type()), "float32[2,5,12]");
}

TEST(FuseAttention, AQuantizeBehindItGoesIn) {
  Attention a;
  a.fused(a.b.q(a.merged(a.context(a.softmax(a.scaled(a.scores())))), 0.01f, 120), 2);
  EXPECT_EQ(op_names(a.b.graph), Names{"octet.Attention"});
  EXPECT_EQ(find_node(a.b.graph, "octet.Attention")->output()->dtype(), DType::u8);
}

TEST(FuseAttention, HeadsMayBeMergedByWayOfTheirShape) {
  Attention a;
  Value* y = a.b.op("Transpose", {a.context(a.softmax(a.scores()))}, {{"perm", Ints{0, 2, 1, 3}}});
  Value* batch = a.b.op("Slice", {a.b.op("Shape", {y}), a.b.ints({0}), a.b.ints({1}), a.b.ints({0})});
  a.fused(a.b.op("Reshape", {y, a.b.op("Concat", {batch, a.b.ints({kTokens, kWidth})}, {{"axis", int64_t{0}}})}));
  EXPECT_EQ(op_names(a.b.graph), Names{"octet.Attention"});
}

TEST(FuseAttention, RowsMayBeReshapedInAnotherWay) {
  Attention a;
  Value* y = a.b.op("Transpose", {a.context(a.softmax(a.scores()))}, {{"perm", Ints{0, 2, 1, 3}}});
  a.fused(a.b.op("Reshape", {y, a.b.ints({-1, kWidth})}));
  EXPECT_EQ(op_names(a.b.graph), (Names{"octet.Attention", "Reshape"}));
}

TEST(FuseAttention, TheScaleMayBeADivisorOrStandAtTheQueries) {
  Attention a;
  Value* q = a.b.op("Div", {a.heads(a.rows("q")), a.b.scalar(4)});
  Value* scores = a.b.op("MatMul", {q, a.transposed(a.heads(a.rows("k")))});
  EXPECT_EQ(a.fused(a.context(a.softmax(scores)))->attr("scale", 0.0f), 0.25f);
  EXPECT_EQ(a.b.graph.nodes().size(), 1u) << "without a merge the result keeps its heads apart";
}

TEST(FuseAttention, QueriesKeysAndValuesMayBeOneProduct) {
  Attention a;
  Value* x =
      a.b.op("Reshape", {a.quantized("qkv", {kBatch, kTokens, 3 * kWidth}), a.b.ints({-1, kTokens, 3, kHeads, kSize})});
  x = a.b.op("Transpose", {x}, {{"perm", Ints{2, 0, 3, 1, 4}}});
  const auto part = [&](int64_t i) {
    return a.b.op("Gather", {x, a.b.constant<int64_t>(DType::s64, {}, {i})}, {{"axis", int64_t{0}}});
  };
  Value* scores = a.b.op("MatMul", {a.scaled(part(0)), a.transposed(part(1))});
  const Node* node = a.fused(a.merged(a.b.op("MatMul", {a.softmax(scores), part(2)})));
  EXPECT_EQ(node->ints("k_heads"), (Ints{kWidth, kSize}));
  EXPECT_EQ(node->ints("v_heads"), (Ints{2 * kWidth, kSize}));
  EXPECT_EQ(node->input(0), node->input(2));
}

TEST(FuseAttention, PartsOfASplitOrSlice) {
  Attention a;
  Value* x = a.quantized("qkv", {kBatch, kTokens, 3 * kWidth});
  Node* split = a.b.node("Split", {x, a.b.ints({kWidth, 2 * kWidth})}, {{"axis", int64_t{2}}}, 2);
  const auto slice = [&](int64_t from) {
    return a.b.op("Slice", {split->output(1), a.b.ints({from}), a.b.ints({from + kWidth}), a.b.ints({-1})});
  };
  Value* scores = a.b.op("MatMul", {a.heads(split->output(0)), a.transposed(a.heads(slice(0)))});
  const Node* node = a.fused(a.merged(a.b.op("MatMul", {a.softmax(scores), a.heads(slice(kWidth))})));
  EXPECT_EQ(node->ints("v_heads"), (Ints{2 * kWidth, kSize}));
}

TEST(FuseAttention, AFewOfTheRowsAreAValueOfTheirOwn) {
  Attention a;
  const auto first = [&](const char* name) {
    return a.heads(a.b.op("Slice", {a.rows(name, 8), a.b.ints({0}), a.b.ints({kTokens}), a.b.ints({1})}));
  };
  Value* scores = a.b.op("MatMul", {a.heads(a.rows("q")), a.transposed(first("k"))});
  const Node* node = a.fused(a.context(a.softmax(scores)));
  EXPECT_EQ(node->input(1)->producer()->op_name(), "Slice") << "which is no matter of strides";
}

TEST(FuseAttention, KeyHeadsThatAreRepeatedAreShared) {
  for (const int64_t groups : {int64_t{1}, int64_t{2}}) {
    Attention a;
    const auto repeated = [&](const std::string& name) {
      Value* x =
          a.b.op("Reshape", {a.quantized(name, {kBatch, kTokens, groups * kSize}), a.b.ints({0, kTokens, groups, kSize})});
      x = a.b.op("Transpose", {x}, {{"perm", Ints{0, 2, 1, 3}}});
      x = a.b.op("Expand",
                 {a.b.op("Unsqueeze", {x, a.b.ints({2})}), a.b.ints({kBatch, groups, kHeads / groups, kTokens, kSize})});
      return a.b.op("Reshape", {x, a.b.ints({0, kHeads, kTokens, kSize})});
    };
    Value* scores = a.b.op("MatMul", {a.heads(a.rows("q")), a.transposed(repeated("k"))});
    const Node* node = a.fused(a.merged(a.b.op("MatMul", {a.softmax(scores), repeated("v")})));
    EXPECT_EQ(node->attr("kv_heads", int64_t{0}), groups);
    EXPECT_EQ(find_node(a.b.graph, "Expand"), nullptr);
  }
}

TEST(FuseAttention, CrossAttentionOfUnequalLengths) {
  Attention a;
  Value* scores = a.b.op("MatMul", {a.heads(a.rows("q", 3)), a.heads(a.rows("k", 8), {0, 2, 3, 1})});
  Value* y = a.b.op("MatMul", {a.softmax(a.scaled(scores)), a.heads(a.rows("v", 8))});
  EXPECT_EQ(to_string(a.fused(a.merged(y))->output()->type()), "float32[2,3,12]");
}

TEST(FuseAttention, MasksAreAddedTogether) {
  Attention a;
  Value* x = a.b.op("Add", {a.scaled(a.scores()), a.b.input("mask", {kBatch, 1, 1, kTokens})});
  std::vector<float> bias;
  for (int64_t i = 0; i < kHeads * kTokens * kTokens; ++i) bias.push_back(0.01f * static_cast<float>(i % 17));
  x = a.b.op("Add", {a.b.floats({kHeads, kTokens, kTokens}, bias), x});
  const Node* node = a.fused(a.context(a.softmax(x)));
  EXPECT_EQ(op_names(a.b.graph), (Names{"Add", "octet.Attention"}));
  EXPECT_EQ(to_string(node->input(3)->type()), "float32[2,4,5,5]");
}

TEST(FuseAttention, AChoiceOfALowNumberIsAMask) {
  for (const bool hides_true : {true, false}) {
    Attention a;
    Value* low = a.b.scalar(std::numeric_limits<float>::lowest());
    std::vector<uint8_t> hidden(static_cast<size_t>(kTokens), hides_true ? 0 : 1);
    hidden[1] = hides_true ? 1 : 0;
    Value* where = a.b.constant<uint8_t>(DType::boolean, {1, 1, 1, kTokens}, hidden);
    Value* scores = a.scaled(a.scores());
    Value* x = hides_true ? a.b.op("Where", {where, low, scores}) : a.b.op("Where", {where, scores, low});
    const Node* node = a.fused(a.context(a.softmax(x)));
    ASSERT_TRUE(node->input(3)->is_constant()) << "folded";
    EXPECT_EQ(node->input(3)->constant().at_f64(0), 0);
    EXPECT_EQ(node->input(3)->constant().as<float>()[1], std::numeric_limits<float>::lowest());
  }
}

TEST(FuseAttention, WindowsTakeMasksByTurns) {
  Attention a;
  Value* x = a.b.op("Add", {a.scores(), a.b.input("bias", {1, kHeads, kTokens, kTokens})});
  x = a.b.op("Reshape", {x, a.b.ints({1, kBatch, kHeads, kTokens, kTokens})});
  x = a.b.op("Add", {x, a.b.input("mask", {kBatch, 1, kTokens, kTokens})});
  x = a.b.op("Reshape", {x, a.b.ints({kBatch, kHeads, kTokens, kTokens})});
  EXPECT_EQ(to_string(a.fused(a.context(a.softmax(x)))->input(3)->type()), "float32[2,4,5,5]");
}

TEST(FuseAttention, TheOperatorOfOnnx) {
  Attention a;
  const Attrs attrs = {{"q_num_heads", kHeads}, {"kv_num_heads", kHeads}, {"is_causal", int64_t{1}}, {"scale", 0.7f}};
  Value* mask = a.b.constant<uint8_t>(DType::boolean, {kTokens, kTokens}, std::vector<uint8_t>(kTokens * kTokens, 1));
  const Node* node = a.fused(a.b.op("Attention", {a.rows("q"), a.rows("k"), a.rows("v"), mask}, attrs));
  EXPECT_EQ(node->attr("causal", int64_t{0}), 1);
  EXPECT_EQ(node->attr("packed", int64_t{0}), 1);
}

TEST(FuseAttention, FloatsKeepTheirBits) {
  Attention a;
  const auto rows = [&](const char* name) { return a.b.input(name, {kBatch, kTokens, kWidth}); };
  // Behind an operator that computes: inputs could be a cache.
  const auto made = [&](const char* name) { return a.heads(a.b.op("Tanh", {rows(name)})); };
  Value* scores = a.b.op("MatMul", {made("q"), a.transposed(made("k"))});
  Value* x = a.b.op("Add", {a.scaled(scores), a.b.input("mask", {kTokens, kTokens})});
  const Node* node = a.fused(a.merged(a.b.op("MatMul", {a.softmax(x), made("v")})), 0);
  EXPECT_EQ(node->input(0)->producer()->op_name(), "Tanh");
  EXPECT_EQ(node->ints("v_heads"), (Ints{0, kSize}));
}

TEST(FuseAttention, AFloatCacheStays) {
  Attention a;
  Value* keys = a.b.input("keys", {kBatch, kHeads, kTokens, kSize});
  Value* scores = a.b.op("MatMul", {a.heads(a.b.input("q", {kBatch, kTokens, kWidth})), a.transposed(keys)});
  EXPECT_NE(a.declined(a.b.op("MatMul", {a.softmax(scores), keys})).find("as a cache does"), std::string::npos);
}

TEST(FuseAttention, WhatTheModelRoundsItselfStays) {
  Attention scores, probabilities;
  Value* s = scores.b.qdq(scores.scores(), 0.05f, 128);
  EXPECT_NE(scores.declined(scores.context(scores.softmax(s))).find("quantizes the scores"), std::string::npos);
  Value* p = probabilities.b.qdq(probabilities.softmax(probabilities.scores()), 1.0f / 255, 0);
  EXPECT_NE(probabilities.declined(probabilities.context(p)).find("quantizes the probabilities"), std::string::npos);
}

TEST(FuseAttention, SaysWhatBreaksThePattern) {
  const auto reason = [](auto&& build) {
    Attention a;
    return a.declined(build(a));
  };
  EXPECT_NE(reason([](Attention& a) { return a.context(a.softmax(a.scores(), 2)); }).find("another axis"),
            std::string::npos);
  EXPECT_NE(reason([](Attention& a) { return a.context(a.softmax(a.b.op("Tanh", {a.scores()}))); }).find("go through Tanh"),
            std::string::npos);
  EXPECT_NE(reason([](Attention& a) {
              Value* s = a.b.op("Add", {a.scores(), a.b.input("mask", {1, 1, 1, kTokens})});
              return a.context(a.softmax(a.scaled(s)));
            }).find("scaled along"),
            std::string::npos);
  EXPECT_NE(reason([](Attention& a) {
              Value* p = a.softmax(a.scores());
              a.b.output(p);
              return a.context(p);
            }).find("wanted elsewhere"),
            std::string::npos);
  EXPECT_NE(reason([](Attention& a) {
              Value* v = a.b.input("v", {kBatch, kHeads, kTokens, kSize});
              return a.b.op("MatMul", {a.softmax(a.scores()), v});
            }).find("not all"),
            std::string::npos);
}

}  // namespace
}  // namespace octet::graph::test
