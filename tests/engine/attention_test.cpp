// Attention between quantized products: one kernel, the reference's bits on every ISA with any number of threads.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/model.h"
#include "kernels/isa.h"
#include "octet/octet.h"
#include "tests/graph/builder.h"

namespace octet {
namespace {

using graph::Value;
using graph::test::Builder;
using Ints = std::vector<int64_t>;

struct Form {
  int64_t batch, tokens, heads, size;
  Shape mask;  // empty: none
  DType x = DType::u8, y = DType::u8;
  bool dynamic = false;  // x is f32, quantized at run time
};

// The queries, keys and values side by side in x, as one product leaves them.
std::unique_ptr<graph::Graph> network(const Form& f) {
  Builder b;
  const int64_t width = f.heads * f.size;
  Value* x = b.input("x", {f.batch, f.tokens, 3 * width}, f.x);
  if (f.dynamic) {
    const graph::Node* q = b.node("DynamicQuantizeLinear", {x}, {}, 3);
    x = b.op("DequantizeLinear", {q->output(0), q->output(1), q->output(2)});
  } else {
    x = f.x == DType::u8 ? b.dq(x, 0.02f, 120) : b.op("Neg", {x});
  }
  x = b.op("Reshape", {x, b.ints({f.batch, f.tokens, 3, f.heads, f.size})});
  x = b.op("Transpose", {x}, {{"perm", Ints{2, 0, 3, 1, 4}}});
  const auto part = [&](int64_t i) {
    return b.op("Gather", {x, b.constant<int64_t>(DType::s64, {}, {i})}, {{"axis", int64_t{0}}});
  };
  Value* keys = b.op("Transpose", {part(1)}, {{"perm", Ints{0, 1, 3, 2}}});
  Value* s = b.op("Mul", {b.op("MatMul", {part(0), keys}), b.scalar(0.3f)});
  if (!f.mask.empty()) {
    graph::Tensor mask = graph::test::random_floats(f.mask, 5, -2, 2);
    for (int64_t i = 0; i < mask.size(); i += 3) mask.mutable_as<float>()[i] = -INFINITY;
    s = b.op("Add", {s, b.graph.add_constant(mask)});
  }
  Value* y = b.op("MatMul", {b.op("Softmax", {s}, {{"axis", int64_t{-1}}}), part(2)});
  y = b.op("Reshape", {b.op("Transpose", {y}, {{"perm", Ints{0, 2, 1, 3}}}), b.ints({f.batch, f.tokens, width})});
  b.output(f.y == DType::u8 ? b.q(y, 0.01f, 130) : y);
  return b.graph.clone();
}

std::vector<std::byte> run(const Form& f, const std::string& isa, int threads, std::vector<StepInfo>& steps) {
  const Model model = model_from_graph(network(f), {isa, {}});
  Session session(model, {.threads = threads});
  const Shape shape{f.batch, f.tokens, 3 * f.heads * f.size};
  const graph::Tensor x =
      f.x == DType::u8 ? graph::test::random_bytes(DType::u8, shape, 11) : graph::test::random_floats(shape, 11, -2, 2);
  session.set_input("x", x.view());
  session.run();
  steps = session.steps();
  const TensorView y = session.output(0);
  const auto* bytes = static_cast<const std::byte*>(y.data);
  return {bytes, bytes + y.bytes()};
}

TEST(AttentionStep, IsOneKernelWithTheReferencesBits) {
  constexpr DType u8 = DType::u8, f32 = DType::f32;
  const Form forms[] = {
      {1, 128, 2, 64, {1, 1, 1, 128}},    {2, 50, 3, 64, {}},
      {1, 33, 1, 20, {33, 33}, u8, f32},  {4, 49, 2, 32, {4, 2, 49, 49}},
      {2, 1, 2, 16, {}, u8, f32},         {1, 20, 1, 128, {20, 1}},
      {1, 70, 2, 64, {}, f32, f32},       {2, 20, 3, 17, {20, 20}, f32, f32},
      {1, 70, 2, 64, {}, f32, f32, true}, {2, 20, 3, 17, {20, 20}, f32, f32, true},
  };
  for (const Form& f : forms) {
    std::vector<StepInfo> steps;
    const std::vector<std::byte> want = run(f, "reference", 1, steps);
    for (const kernels::Isa& isa : kernels::all_isas()) {
      if (!kernels::supported(isa) || isa.id == kernels::IsaId::reference) continue;
      for (const int threads : {1, 2, 3}) {
        const bool same = run(f, std::string(isa.name), threads, steps) == want;
        EXPECT_TRUE(same) << isa.name << ", " << threads << " threads, " << f.tokens << " tokens";
      }
      const auto attention =
          std::find_if(steps.begin(), steps.end(), [](const StepInfo& s) { return s.op == "octet.Attention"; });
      ASSERT_NE(attention, steps.end());
      EXPECT_EQ(attention->kernel.rfind(f.x == u8 || f.dynamic ? "attention int8" : "attention f32", 0), 0u)
          << attention->kernel;
      EXPECT_GT(attention->gmac, 0);
    }
  }
}

TEST(AttentionStep, WhatHasNoKernelRunsByItsScalarForm) {
  const Form large{1, 5, 1, 300, {}};
  std::vector<StepInfo> steps;
  const std::vector<std::byte> want = run(large, "reference", 1, steps);
  EXPECT_TRUE(run(large, "avx2", 1, steps) == want);
  const auto why = [](const StepInfo& s) { return s.why.find("larger than 256") != std::string::npos; };
  EXPECT_TRUE(std::any_of(steps.begin(), steps.end(), why));
}

}  // namespace
}  // namespace octet
