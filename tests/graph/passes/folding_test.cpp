// Between DQ and Q: what moves runs on bytes, functions of one value are tables, sums and averages work on quanta, and what
// has no form on integers keeps Q and DQ at its borders. Each pattern in a graph of its own, optimized as a whole.
#include <functional>

#include "tests/graph/passes/rewriting.h"

namespace octet::graph::test {
namespace {

using Longs = std::vector<int64_t>;
using Build = std::function<Value*(Builder&, Value*)>;

struct Case {
  std::string name;
  Build build;
  Names after;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

constexpr float kScale = 0.02f;
constexpr int kZero = 120;

std::string case_name(const testing::TestParamInfo<Case>& info) { return info.param.name; }

// x : u8 → DQ → T → Conv 1x1 of int8 weights → float32
class Moves : public testing::TestWithParam<Case> {};

TEST_P(Moves, RunOnBytesInFrontOfAProduct) {
  Builder b;
  Value* x = b.dq(b.input("x", {1, 4, 6, 6}, DType::u8), kScale, kZero);
  Value* moved = GetParam().build(b, x);
  const int64_t channels = moved->type().shape()[1];
  b.output(b.op("Conv", {moved, b.weights({2, channels, 1, 1}, 3, {0.01f, 0.02f})}));
  EXPECT_LE(difference_after_optimize(b.graph), 1e-4);
  Names want = GetParam().after;
  want.push_back("octet.Conv");
  EXPECT_EQ(op_names(b.graph), want);
  const Value* in = find_node(b.graph, "octet.Conv")->input(kX);
  EXPECT_EQ(to_string(in->type()).substr(0, 5), "uint8");
  EXPECT_EQ(in->quant()->scale[0], kScale);
}

// The same behind a product: Conv → T → Q.
TEST_P(Moves, TakeAQuantizeThrough) {
  Builder b;
  Value* x = b.dq(b.input("x", {1, 4, 6, 6}, DType::u8), kScale, kZero);
  Value* y = b.op("Conv", {x, b.weights({4, 4, 1, 1}, 3, {0.01f, 0.02f, 0.015f, 0.01f})});
  b.output(b.q(GetParam().build(b, y), 0.05f, 100));
  EXPECT_LE(difference_after_optimize(b.graph), 1);  // a tie
  EXPECT_EQ(b.graph.nodes().front()->op_name(), "octet.Conv");
  for (const auto& n : b.graph.nodes()) EXPECT_EQ(n->output()->dtype(), DType::u8) << print(b.graph);
}

const Case kMoves[] = {
    {"Reshape",
     [](Builder& b, Value* x) {
       return b.op("Reshape", {x, b.ints({1, 9, 4, 4})});
     },
     {"Reshape"}},
    {"Transpose",
     [](Builder& b, Value* x) {
       return b.op("Transpose", {x}, {{"perm", Longs{0, 1, 3, 2}}});
     },
     {"Transpose"}},
    {"Concat",
     [](Builder& b, Value* x) {
       return b.op("Concat", {x, x}, {{"axis", int64_t{1}}});
     },
     {"Concat"}},
    {"Slice",
     [](Builder& b, Value* x) {
       return b.op("Slice", {x, b.ints({1}), b.ints({3}), b.ints({1})});
     },
     {"Slice"}},
    {"MaxPool",
     [](Builder& b, Value* x) {
       return b.op("MaxPool", {x}, {{"kernel_shape", Longs{2, 2}}});
     },
     {"MaxPool"}},
    {"Resize",
     [](Builder& b, Value* x) {
       return b.op("Resize", {x, nullptr, b.floats({4}, {1, 1, 2, 2})}, {{"mode", std::string("nearest")}});
     },
     {"Resize"}},
    {"Gather",
     [](Builder& b, Value* x) {
       return b.op("Gather", {x, b.ints({3, 0, 0})}, {{"axis", int64_t{1}}});
     },
     {"Gather"}},
    {"Split",
     [](Builder& b, Value* x) {
       return b.node("Split", {x, b.ints({1, 3})}, {{"axis", int64_t{1}}}, 2)->output(1);
     },
     {"Split"}},
    {"Pad",
     [](Builder& b, Value* x) {
       return b.op("Pad", {x, b.ints({0, 1, 0, 0, 0, 0, 0, 0})});
     },
     {"Pad"}},
    {"Relu", [](Builder& b, Value* x) { return b.op("Relu", {x}); }, {"octet.Table"}},
    {"FlattenAndBack",
     [](Builder& b, Value* x) {
       return b.op("Reshape", {b.op("Flatten", {x}), b.ints({1, 8, 6, 3})});
     },
     {"Reshape"}},
    {"ChannelShuffle",
     [](Builder& b, Value* x) {
       Value* v = b.op("Reshape", {x, b.ints({1, 2, 2, 6, 6})});
       return b.op("Reshape", {b.op("Transpose", {v}, {{"perm", Longs{0, 2, 1, 3, 4}}}), b.ints({1, 4, 6, 6})});
     },
     {"Split", "octet.Interleave"}},
};
INSTANTIATE_TEST_SUITE_P(All, Moves, testing::ValuesIn(kMoves), case_name);

TEST(Folding, PaddingBehindItsQuantizeGoesIntoTheConvolution) {
  Builder b;
  Value* x = b.op("Pad", {b.dq(b.input("x", {1, 4, 6, 6}, DType::u8), kScale, kZero), b.ints({0, 0, 1, 1, 0, 0, 1, 1})});
  x = b.qdq(x, kScale, kZero);
  b.output(b.op("Conv", {x, b.weights({2, 4, 3, 3}, 3, {0.01f, 0.02f})}));
  EXPECT_LE(difference_after_optimize(b.graph), 1e-4);
  EXPECT_EQ(op_names(b.graph), Names{"octet.Conv"});
  EXPECT_EQ(b.graph.nodes().front()->ints("pads"), (Longs{1, 1, 1, 1}));
}

// DQ → f → Q
class Functions : public testing::TestWithParam<Case> {};

TEST_P(Functions, BetweenDqAndQ) {
  Builder b;
  Value* x = b.dq(b.input("x", {1, 4, 6, 6}, DType::u8), kScale, kZero);
  b.output(b.q(GetParam().build(b, x), 0.03f, 90));
  const bool table = GetParam().after == Names{"octet.Table"};
  EXPECT_LE(difference_after_optimize(b.graph), table ? 0 : 1);
  EXPECT_EQ(op_names(b.graph), GetParam().after);
}

Build unary(const char* op) {
  return [op](Builder& b, Value* x) { return b.op(op, {x}); };
}
Build binary(const char* op) {
  return [op](Builder& b, Value* x) { return b.op(op, {x, b.dq(b.input("y", {1, 4, 1, 1}, DType::u8), 0.013f, 77)}); };
}

const Names kTable{"octet.Table"};
Names at_borders(const char* op) { return {"DequantizeLinear", op, "QuantizeLinear"}; }

const Case kFunctions[] = {
    {"Sigmoid", unary("Sigmoid"), kTable},
    {"HardSwish", unary("HardSwish"), kTable},
    {"Elu", unary("Elu"), kTable},
    {"Exp", unary("Exp"), kTable},
    {"Sqrt", [](Builder& b, Value* x) { return b.op("Sqrt", {b.op("Abs", {x})}); }, kTable},
    {"Chain",
     [](Builder& b, Value* x) {
       return b.op("Div", {b.op("Clip", {b.op("Add", {x, b.scalar(3)}), b.scalar(0), b.scalar(6)}), b.scalar(6)});
     },
     kTable},
    {"ChainWithQuanta",
     [](Builder& b, Value* x) {
       return b.op("Mul", {x, b.qdq(b.op("Sigmoid", {b.qdq(x, 0.03f, 128)}), 1.0f / 256, 0)});
     },
     kTable},
    {"Gelu",
     [](Builder& b, Value* x) {
       Value* erf = b.op("Erf", {b.op("Div", {x, b.scalar(std::sqrt(2.0f))})});
       return b.op("Mul", {b.op("Mul", {x, b.op("Add", {erf, b.scalar(1)})}), b.scalar(0.5f)});
     },
     kTable},
    {"Add", binary("Add"), {"Add"}},
    {"Sub", binary("Sub"), {"Sub"}},
    {"Mul", binary("Mul"), {"Mul"}},
    {"AveragePool",
     [](Builder& b, Value* x) {
       return b.op("AveragePool", {x}, {{"kernel_shape", Longs{3, 3}}});
     },
     {"AveragePool"}},
    {"GlobalAveragePool", unary("GlobalAveragePool"), {"GlobalAveragePool"}},
    {"Softmax",
     [](Builder& b, Value* x) {
       return b.op("Softmax", {x}, {{"axis", int64_t{-1}}});
     },
     at_borders("Softmax")},
    {"LayerNormalization",
     [](Builder& b, Value* x) {
       return b.op("LayerNormalization", {x, b.floats({6}, {1, 2, 3, 4, 5, 6})});
     },
     {"octet.Norm"}},
    {"LinearResize",
     [](Builder& b, Value* x) {
       return b.op("Resize", {x, nullptr, b.floats({4}, {1, 1, 2, 2})}, {{"mode", std::string("linear")}});
     },
     at_borders("Resize")},
};
INSTANTIATE_TEST_SUITE_P(All, Functions, testing::ValuesIn(kFunctions), case_name);

// Everything that is left in float, or at a border, has a sentence.
TEST(Explain, EveryNodeOutsideTheIntegersSaysWhy) {
  Builder b;
  Value* x = b.qdq(b.input("x", {1, 4, 6, 6}), kScale, kZero);
  x = b.op("Conv", {x, b.weights({2, 4, 1, 1}, 3, {0.01f, 0.02f})});
  x = b.op("Softmax", {b.qdq(x, 0.05f, 128)}, {{"axis", int64_t{1}}});
  b.output(b.op("Cast", {b.op("Floor", {b.op("Neg", {x})})}, {{"to", int64_t{7}}}));
  optimize(b.graph);
  std::vector<std::string> reasons;
  for (const auto& n : b.graph.nodes()) reasons.push_back(std::string(n->op_name()) + ": " + n->why);
  EXPECT_EQ(reasons,
            (Names{"QuantizeLinear: it quantizes a float32 input of the model",
                   "octet.Conv: ", "DequantizeLinear: its result is read in float32 by Softmax6 (Softmax)",
                   "Softmax: Softmax has no form on integers; its operands are dequantized for it",
                   "Neg: its input is not quantized", "Floor: its input is not quantized", "Cast: it computes in int64"}));
}

}  // namespace
}  // namespace octet::graph::test
