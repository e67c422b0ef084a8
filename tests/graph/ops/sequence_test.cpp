#include "tests/graph/ops/op_case.h"

namespace octet::graph::test {
namespace {

Tensor sequence(std::vector<Tensor> elements) { return Tensor::sequence(DType::f32, std::move(elements)); }

Tensor of(const std::string& op, const std::vector<Tensor>& operands, const Attrs& attrs = {}) {
  Graph g;
  g.file = "test.onnx";
  std::vector<Value*> values;
  for (const Tensor& t : operands) {
    Type type = Type::known(t.dtype(), t.shape());
    type.kind = t.kind();
    if (!t.is_tensor()) type.dims.reset();
    values.push_back(g.add_input("", type));
  }
  Node* n = g.add_node(op, values, 1, "n");
  for (const auto& [key, value] : attrs) n->set_attr(key, value);
  infer_types(g, *n);
  const Tensor out = evaluate(*n, operands)[0];
  const bool optional = out.kind() == ValueKind::optional;
  EXPECT_TRUE(optional || n->output()->type().kind == out.kind()) << op << " inferred " << to_string(n->output()->type());
  return out;
}

const Tensor kOne = floats({1}, {1}), kTwo = floats({2}, {2, 3});

TEST(Sequence, IsBuiltAndTakenApart) {
  const Tensor s = of("SequenceConstruct", {kOne, kTwo});
  EXPECT_EQ(of("SequenceLength", {s}).to_s64(), (Ints{2}));
  EXPECT_EQ(of("SequenceAt", {s, longs({}, {-1})}).to_f32(), (Floats{2, 3}));
  const Tensor front = of("SequenceInsert", {s, kTwo, longs({}, {0})}), back = of("SequenceInsert", {s, kOne});
  EXPECT_EQ(front.at(0).to_f32(), (Floats{2, 3}));
  EXPECT_EQ(back.at(2).to_f32(), (Floats{1}));
  EXPECT_EQ(of("SequenceErase", {front, longs({}, {1})}).at(1).to_f32(), (Floats{2, 3}));
  EXPECT_EQ(of("SequenceErase", {back}).size(), 2);
}

TEST(Sequence, PositionsOutsideAreRefused) {
  EXPECT_EQ(message_of([] {
              of("SequenceAt", {sequence({kOne}), longs({}, {1})});
            }),
            "node 'n' (SequenceAt): position 1 is out of range for a sequence of 1 elements");
  EXPECT_EQ(message_of([] { of("SequenceErase", {sequence({})}); }),
            "node 'n' (SequenceErase): the sequence is empty; expected an element to erase");
}

TEST(Sequence, OperatorsOfTensorsRefuseSequences) {
  EXPECT_EQ(message_of([] { of("Relu", {sequence({kOne})}); }),
            "test.onnx: node 'n' (Relu): input 0 is sequence of float32[*]; expected a tensor");
}

TEST(SplitToSequence, CutsByCountBySizesOrIntoSlices) {
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor slices = of("SplitToSequence", {x}, {{"axis", number(1)}, {"keepdims", number(0)}});
  EXPECT_EQ(slices.size(), 3);
  EXPECT_EQ(slices.at(1).to_f32(), (Floats{2, 5}));
  EXPECT_EQ(slices.at(1).shape(), (Shape{2}));
  const Tensor chunks = of("SplitToSequence", {x, longs({}, {2})}, {{"axis", number(1)}});
  EXPECT_EQ(chunks.at(1).shape(), (Shape{2, 1}));
  EXPECT_EQ(of("SplitToSequence", {x, longs({2}, {1, 1})}).at(1).to_f32(), (Floats{4, 5, 6}));
}

TEST(ConcatFromSequence, PutsElementsTogetherOrOnANewAxis) {
  const Tensor s = sequence({floats({1, 2}, {1, 2}), floats({1, 2}, {3, 4})});
  EXPECT_EQ(of("ConcatFromSequence", {s}, {{"axis", number(1)}}).to_f32(), (Floats{1, 2, 3, 4}));
  const Tensor stacked = of("ConcatFromSequence", {s}, {{"axis", number(-1)}, {"new_axis", number(1)}});
  EXPECT_EQ(stacked.shape(), (Shape{1, 2, 2}));
  EXPECT_EQ(stacked.to_f32(), (Floats{1, 3, 2, 4}));
}

TEST(Optional, HoldsATensorASequenceOrNothing) {
  const Tensor some = of("Optional", {kTwo}), none = of("Optional", {}, {{"type", ints({0, 1})}});
  EXPECT_EQ(of("OptionalHasElement", {some}).to_s64(), (Ints{1}));
  EXPECT_EQ(of("OptionalHasElement", {none}).to_s64(), (Ints{0}));
  EXPECT_EQ(of("OptionalGetElement", {some}).to_f32(), (Floats{2, 3}));
  EXPECT_EQ(message_of([&] { of("OptionalGetElement", {none}); }),
            "node 'n' (OptionalGetElement): the optional holds nothing; expected an element");
}

}  // namespace
}  // namespace octet::graph::test
