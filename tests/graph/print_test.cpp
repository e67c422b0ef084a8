#include <gtest/gtest.h>

#include "tests/graph/builder.h"

namespace octet::graph::test {
namespace {

TEST(Print, Types) {
  Type t = Type::known(DType::u8, {1, 3});
  EXPECT_EQ(to_string(t), "uint8[1,3]");
  (*t.dims)[0] = Dim(std::string("N"));
  t.quant = std::make_shared<const QuantParams>(QuantParams{{0.5f}, {128}, -1});
  EXPECT_EQ(to_string(t), "uint8[N,3] q(0.5,128)");
  t.quant = std::make_shared<const QuantParams>(QuantParams{{0.5f, 0.25f, 1}, {0, 0, 0}, 1});
  (*t.dims)[1] = Dim();
  EXPECT_EQ(to_string(t), "uint8[N,?] q(axis 1)");
  EXPECT_EQ(to_string(Type{DType::f32, std::nullopt, nullptr}), "float32[*]");
}

TEST(Print, OneLineANodeSmallConstantsByContent) {
  Builder b;
  Value* x = b.input("x", {2, 16});
  Value* y = b.op("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0}}});
  b.graph.rename(y, "turned");
  Value* z = b.op("Add", {y, b.scalar(0.5f)});
  b.graph.rename(z, "z");
  b.graph.add_output(z, "result");
  EXPECT_EQ(print(b.graph),
            "graph test\n"
            "input %x : float32[2,16]\n"
            "%turned : float32[16,2] = Transpose(%x) {perm = [1, 0]}  // Transpose0\n"
            "%z : float32[16,2] = Add(%turned, 0.5)  // Add1\n"
            "output result = %z\n");
}

}  // namespace
}  // namespace octet::graph::test
