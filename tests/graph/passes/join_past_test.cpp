#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

constexpr double kClose = 1e-5;

// Attention of `queries` new tokens behind 6 of the past, 4 heads of 8 (2 of keys and values), with all three outputs.
struct Cached {
  Builder b;
  explicit Cached(int64_t queries, bool packed, const Attrs& attrs, bool masked = false) {
    const auto operand = [&](const char* name, int64_t heads) {
      return b.input(name, packed ? Shape{2, queries, heads * 8} : Shape{2, heads, queries, 8});
    };
    Value *q = operand("q", 4), *k = operand("k", 2), *v = operand("v", 2);
    Value* mask = masked ? b.input("mask", {queries, 6 + queries}) : nullptr;
    Value *past_k = b.input("past_k", {2, 2, 6, 8}), *past_v = b.input("past_v", {2, 2, 6, 8});
    Attrs all = attrs;
    if (packed) all.insert(all.end(), {{"q_num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}});
    const Node* node = b.node("Attention", {q, k, v, mask, past_k, past_v}, all, 3);
    for (Value* y : node->outputs()) b.output(y);
  }
};

TEST(JoinPast, TheCacheIsJoinedAndTheAttentionHasAKernel) {
  for (const bool packed : {false, true})
    for (const bool masked : {false, true})
      for (const int64_t queries : {1, 3}) {
        Cached c(queries, packed, {}, masked);
        EXPECT_LE(difference_after(c.b.graph, {join_past, fuse_attention}), kClose);
        EXPECT_NE(find_node(c.b.graph, "octet.Attention"), nullptr);
        EXPECT_EQ(find_node(c.b.graph, "Attention"), nullptr);
      }
}

TEST(JoinPast, ACausalQueryStandsBehindThePast) {
  for (const int64_t queries : {1, 5}) {
    Cached c(queries, false, {{"is_causal", int64_t{1}}});
    EXPECT_LE(difference_after(c.b.graph, {join_past, fuse_attention}), kClose);
    EXPECT_NE(find_node(c.b.graph, "octet.Attention"), nullptr);
  }
}

TEST(JoinPast, DeclinesWithAReason) {
  Cached window(3, false, {{"left_window_size", int64_t{2}}});
  Cached twice(3, false, {{"is_causal", int64_t{1}}}, true);
  for (Graph* g : {&window.b.graph, &twice.b.graph}) {
    EXPECT_EQ(difference_after(*g, {join_past}), 0);
    EXPECT_TRUE(find_node(*g, "Attention")->why.starts_with("no fused attention")) << find_node(*g, "Attention")->why;
  }
}

}  // namespace
}  // namespace octet::graph::test
