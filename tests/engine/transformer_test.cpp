// What surrounds the products of a transformer: the reference's bits on every ISA with any number of threads, through
// kernels.
#include "tests/engine/equal_bits.h"

namespace octet {
namespace {

using graph::Tensor;
using graph::Value;
using graph::test::Builder;
using graph::test::random_floats;

using Ints = std::vector<int64_t>;

Value* constant(Builder& b, const Shape& shape, uint32_t seed) { return b.graph.add_constant(random_floats(shape, seed)); }

Value* norm(Builder& b, Value* x, const char* op, int64_t width) {
  std::vector<Value*> inputs{x, constant(b, {width}, 1)};
  if (std::string(op) == "LayerNormalization") inputs.push_back(constant(b, {width}, 2));
  return b.op(op, inputs);
}

TEST(LowerNorm, PlainAndWithWhatStandsAroundIt) {
  for (const char* op : {"LayerNormalization", "RMSNormalization"}) {
    const Tensor x = random_floats({2, 9, 45}, 3);
    expect_kernels_with_equal_bits([&](Builder& b) { b.output(norm(b, b.input("x", {2, 9, 45}), op, 45)); }, x, op);
    expect_kernels_with_equal_bits(
        [&](Builder& b) {
          Value* v = b.input("x", {2, 9, 45});
          b.output(b.q(norm(b, v, op, 45), 0.03f, 121));
        },
        x, std::string(op) + " and Q");
    expect_kernels_with_equal_bits(
        [&](Builder& b) {  // the sum and the float result have readers of their own
          Value* v = b.input("x", {2, 9, 45});
          Value* sum = b.op("Add", {b.op("Relu", {v}), b.qdq(v, 0.01f, 128)});
          Value* y = norm(b, sum, op, 45);
          b.output(b.op("Sub", {b.op("Mul", {sum, y}), b.qdq(y, 0.03f, 121)}));
        },
        x, std::string(op) + " with a residual");
  }
}

TEST(LowerNorm, SeveralAxesAtOnce) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        b.output(b.op("LayerNormalization", {b.input("x", {3, 5, 7}), constant(b, {5, 7}, 1), constant(b, {5, 7}, 2)},
                      {{"axis", int64_t{1}}}));
      },
      random_floats({3, 5, 7}, 3), "two axes");
}

TEST(LowerUnary, FunctionsOfTransformers) {
  const std::pair<const char*, graph::test::Attrs> functions[] = {{"Erf", {}},
                                                                  {"Gelu", {}},
                                                                  {"Gelu", {{"approximate", std::string("tanh")}}},
                                                                  {"Swish", {{"alpha", 1.702f}}},
                                                                  {"Elu", {{"alpha", 0.5f}}},
                                                                  {"Softplus", {}},
                                                                  {"Mish", {}}};
  for (const auto& f : functions)
    expect_kernels_with_equal_bits(
        [&](Builder& b) {
          b.output(b.op(f.first, {b.input("x", {3, 77})}, f.second));
        },
        random_floats({3, 77}, 4, -5, 5), f.first);
}

// Each finds the range of what it stores for the quantization that follows, over all threads.
TEST(LowerDynamicQuantize, TheRangeComesFromWhoeverStores) {
  const std::function<Value*(Builder&, Value*)> producers[] = {
      [](Builder& b, Value* x) { return norm(b, x, "LayerNormalization", 45); },
      [](Builder& b, Value* x) { return norm(b, x, "RMSNormalization", 45); },
      [](Builder& b, Value* x) { return b.op("Gelu", {x}); },
      [](Builder& b, Value* x) { return b.op("Sigmoid", {x}); },
      [](Builder& b, Value* x) {
        return b.op("MatMul", {x, constant(b, {45, 45}, 5)});
      },
      [](Builder& b, Value* x) { return b.op("Softmax", {x}); },  // reads its result once more
  };
  for (const auto& produce : producers)
    expect_kernels_with_equal_bits(
        [&](Builder& b) {
          const graph::Node* q = b.node("DynamicQuantizeLinear", {produce(b, b.input("x", {2, 33, 45}))}, {}, 3);
          const auto real = [&](Value* v) { return b.op("Cast", {v}, {{"to", int64_t{1}}}); };
          b.output(b.op("Mul", {b.op("Sub", {real(q->output(0)), real(q->output(2))}), q->output(1)}));
        },
        random_floats({2, 33, 45}, 3), "a range");
}

// Window attention's masks and position biases, and masks of every other shape.
TEST(LowerBinary, BroadcastsOfEveryShape) {
  for (const Shape& mask : {Shape{6, 1, 7, 7}, Shape{1, 3, 7, 7}, Shape{6, 1, 1, 7}, Shape{6, 3, 7, 1}, Shape{3, 1, 1},
                            Shape{6, 1, 7, 1}, Shape{7, 1}})
    for (const char* op : {"Add", "Sub"})
      for (const bool swapped : {false, true})
        expect_kernels_with_equal_bits(
            [&](Builder& b) {
              Value *x = b.input("x", {6, 3, 7, 7}), *m = constant(b, mask, 5);
              b.output(swapped ? b.op(op, {m, x}) : b.op(op, {x, m}));
            },
            random_floats({6, 3, 7, 7}, 6), std::string(op) + " of " + to_string(mask));
}

TEST(LowerBinary, TheFullOperandMayBeConstant) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        b.output(b.op("Add", {constant(b, {4, 5, 6}, 1), b.input("x", {1, 5, 1})}));
      },
      random_floats({1, 5, 1}, 2), "constant");
}

TEST(LowerWhere, ChoosesWhateverBroadcasts) {
  for (const Shape& condition : {Shape{4, 1, 1, 7}, Shape{4, 3, 5, 7}, Shape{5, 7}, Shape{1}, Shape{5, 1}})
    for (const Shape& other : {Shape{}, Shape{4, 3, 5, 7}, Shape{3, 1, 7}})
      for (const bool swapped : {false, true})
        expect_kernels_with_equal_bits(
            [&](Builder& b) {
              Value *x = b.input("x", {4, 3, 5, 7}), *y = constant(b, other, 5);
              Tensor bits = graph::test::random_bytes(DType::boolean, condition, 6);
              for (int64_t i = 0; i < bits.size(); ++i) bits.mutable_as<uint8_t>()[i] &= 1;
              Value* c = b.graph.add_constant(bits);
              b.output(swapped ? b.op("Where", {c, y, x}) : b.op("Where", {c, x, y}));
            },
            random_floats({4, 3, 5, 7}, 7), to_string(condition) + " of " + to_string(other));
}

TEST(LowerMove, TransposesOfMoreThanFourAxes) {
  for (const Ints& perm : {Ints{3, 0, 2, 1, 4}, Ints{0, 1, 3, 2, 4}, Ints{4, 3, 2, 1, 0}, Ints{2, 0, 3, 1, 4}})
    expect_kernels_with_equal_bits(
        [&](Builder& b) {
          b.output(b.op("Transpose", {b.input("x", {2, 3, 4, 5, 6})}, {{"perm", perm}}));
        },
        random_floats({2, 3, 4, 5, 6}, 3), "five axes");
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        b.output(b.op("Transpose", {b.input("x", {1, 2, 3, 2, 3, 4})}, {{"perm", Ints{0, 1, 3, 2, 4, 5}}}));
      },
      random_floats({1, 2, 3, 2, 3, 4}, 3), "windows");
}

TEST(LowerMove, SlicesAndExpansionsOfMoreThanFourAxes) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        Value* x = b.input("x", {2, 3, 1, 4, 5});
        Value* y = b.op("Expand", {x, b.ints({2, 3, 4, 4, 5})});
        b.output(b.op("Slice", {y, b.ints({1, 4}), b.ints({4, -6}), b.ints({2, 4}), b.ints({1, -2})}));
      },
      random_floats({2, 3, 1, 4, 5}, 3), "grouped heads");
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        b.output(b.op("Expand", {b.input("x", {3, 1}), b.ints({2, 3, 4})}));
      },
      random_floats({3, 1}, 3), "a column");
}

TEST(LowerMove, RowsPickedByIndices) {
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        b.output(b.op("Gather", {b.input("x", {5, 7}), b.ints({4, 0, -2, 4})}));
      },
      random_floats({5, 7}, 3), "rows");
  expect_kernels_with_equal_bits(
      [](Builder& b) {
        b.output(b.op("Gather", {b.input("x", {2, 4, 5}), b.ints({2, 0, 3, 0})}, {{"axis", int64_t{1}}}));
      },
      random_floats({2, 4, 5}, 3), "rows of each batch");
}

TEST(LowerCast, IntegersBecomeFloats) {
  for (const DType from : {DType::boolean, DType::u8, DType::s8, DType::s32, DType::s64}) {
    Tensor x = graph::test::random_bytes(from, {3, 67}, 8);
    if (from == DType::boolean)
      for (int64_t i = 0; i < x.size(); ++i) x.mutable_as<uint8_t>()[i] &= 1;
    expect_kernels_with_equal_bits(
        [&](Builder& b) {
          b.output(b.op("Cast", {b.input("x", {3, 67}, from)}, {{"to", int64_t{1}}}));
        },
        x, std::string(to_string(from)));
  }
}

TEST(LowerMove, IndicesKnownAtRunTime) {
  Builder b;
  b.output(b.op("Gather", {constant(b, {3, 4}, 1), b.input("x", {2}, DType::s64)}));
  const Model model = model_from_graph(b.graph.clone(), {"avx2", {}});
  Session session(model, {});
  const Tensor right = Tensor::of_s64({2, -3}), wrong = Tensor::of_s64({1, 3}), table = random_floats({3, 4}, 1);
  session.set_input("x", right.view());
  session.run();
  EXPECT_EQ(session.steps().at(0).kernel, "gather");
  const auto* rows = session.output(0).as<float>();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(rows[i], table.as<float>()[8 + i]);
    EXPECT_EQ(rows[4 + i], table.as<float>()[i]);
  }
  session.set_input("x", wrong.view());
  std::string message;
  try {
    session.run();
  } catch (const Error& e) {
    message = e.what();
  }
  EXPECT_NE(message.find("index 3 is out of range; expected -3 to 2"), std::string::npos) << message;
}

}  // namespace
}  // namespace octet
