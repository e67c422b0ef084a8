#include "tools/test_case.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "tests/tools/testing.h"

namespace octet::tools {
namespace {

using graph::Tensor;
namespace fs = std::filesystem;

Tensor floats(const std::vector<float>& v) { return Tensor::of(DType::f32, {static_cast<int64_t>(v.size())}, v); }
Tensor bytes(const std::vector<uint8_t>& v) { return Tensor::of(DType::u8, {static_cast<int64_t>(v.size())}, v); }

bool equal(const Tensor& want, const Tensor& got, Numbers numbers = Numbers::exact, Tolerance t = {}) {
  return difference(want, got.view(), numbers, t).empty();
}

TEST(Difference, FloatsAreComparedRelativeToTheLargest) {
  EXPECT_TRUE(equal(floats({100, 0}), floats({100.05f, 0.009f})));
  EXPECT_FALSE(equal(floats({100, 0}), floats({100.2f, 0})));
  EXPECT_FALSE(equal(floats({100, 0}), floats({100, 0.02f})));
  EXPECT_TRUE(equal(floats({100, 0}), floats({100, 0.02f}), Numbers::exact, {1e-3, 1e-3}));
  EXPECT_FALSE(equal(floats({0, 0}), floats({0, 1e-6f})));
}

TEST(Difference, NotANumberEqualsOnlyItself) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(equal(floats({nan, inf, 1}), floats({nan, inf, 1})));
  EXPECT_FALSE(equal(floats({1, 1}), floats({nan, 1})));
  EXPECT_FALSE(equal(floats({nan, 1}), floats({1, 1})));
  EXPECT_FALSE(equal(floats({inf, 1}), floats({-inf, 1})));
  EXPECT_FALSE(equal(floats({3e38f, 1}), floats({inf, 1})));
  EXPECT_FALSE(equal(floats({1, 2}), floats({nan, 2}), Numbers::quantized));
}

TEST(Difference, IntegersAreEqualUnlessQuantized) {
  EXPECT_FALSE(equal(bytes({10, 20}), bytes({10, 21})));
  EXPECT_TRUE(equal(bytes({10, 20}), bytes({12, 18}), Numbers::quantized));
  EXPECT_FALSE(equal(bytes({10, 20}), bytes({13, 20}), Numbers::quantized));
  EXPECT_FALSE(equal(Tensor::of_s64({5}), Tensor::of_s64({6}), Numbers::quantized)) << "an index is no quantum";
}

TEST(Difference, QuantizedFloatsKeepArgmaxAndDirection) {
  EXPECT_TRUE(equal(floats({1, 5, 2}), floats({1.2f, 4.8f, 2.1f}), Numbers::quantized));
  EXPECT_FALSE(equal(floats({4.9f, 5, 2}), floats({5, 4.9f, 2}), Numbers::quantized)) << "argmax";
  EXPECT_FALSE(equal(floats({1, 5, 2}), floats({4, 5, 4}), Numbers::quantized)) << "cosine";
}

TEST(Difference, TypesAndShapesAreEqual) {
  EXPECT_FALSE(equal(floats({1}), bytes({1})));
  EXPECT_FALSE(equal(floats({1}), Tensor::of<float>(DType::f32, {1, 1}, {1})));
}

class TestCaseTest : public ::testing::Test {
 protected:
  // A case y = Relu(x + 1) that expects `want` for x = (-3, 1).
  std::string make(const std::string& name, const std::vector<float>& want) const {
    const fs::path folder = fs::path(root_.path()) / name;
    fs::create_directories(folder / "test_data_set_0");
    onnx::export_model(*small_graph({2}), (folder / "model.onnx").string());
    onnx::export_tensor(floats({-3, 1}), "xin", (folder / "test_data_set_0/input_0.pb").string());
    onnx::export_tensor(floats(want), "yout", (folder / "test_data_set_0/output_0.pb").string());
    return folder.string();
  }
  TemporaryFolder root_;
};

TEST_F(TestCaseTest, PassesFailsOrIsSkipped) {
  TestOptions options;
  options.isas = isas_here();
  const CaseResult good = run_case(make("good", {0, 2}), options);
  EXPECT_EQ(good.verdict, Verdict::passed) << good.reason;
  EXPECT_EQ(good.hash.size(), 16u);
  const CaseResult bad = run_case(make("bad", {0, 3}), options);
  EXPECT_EQ(bad.verdict, Verdict::failed);
  EXPECT_NE(bad.reason.find("element 1 is 2, expected 3"), std::string::npos) << bad.reason;

  const std::string odd = make("odd", {0, 2});
  std::string model = read_file(odd + "/model.onnx");
  write_file(odd + "/model.onnx", model.replace(model.find("Relu"), 4, "Rfft"));
  const CaseResult skipped = run_case(odd, options);
  EXPECT_EQ(skipped.verdict, Verdict::skipped);
  EXPECT_NE(skipped.reason.find("Rfft"), std::string::npos) << skipped.reason;

  const ProgramResult r = octet("test " + root_.path());
  EXPECT_EQ(r.status, 1);
  EXPECT_NE(r.out.find("\n1 passed, 1 failed, 1 skipped\n"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("skipped     1  Rfft: operator 'Rfft' is not supported\n               " + odd + "\n"),
            std::string::npos)
      << r.out;
  EXPECT_EQ(octet("test --list-failed " + root_.path()).out, root_.path() + "/bad\n1 passed, 1 failed, 1 skipped\n");
  EXPECT_EQ(octet("test " + root_.path() + "/good").status, 0);
  EXPECT_EQ(octet("test " + root_.path() + "/good --isa fast").status, 2);
  EXPECT_EQ(octet("test " + root_.path() + "/bad --rtol 1").status, 0);
}

TEST_F(TestCaseTest, MissingDataIsAFailureAndNoCaseAnError) {
  const std::string bare = make("bare", {0, 2});
  fs::remove_all(bare + "/test_data_set_0");
  EXPECT_EQ(run_case(bare, {}).verdict, Verdict::failed);
  const std::string half = make("half", {0, 2});
  fs::remove(half + "/test_data_set_0/input_0.pb");
  EXPECT_EQ(run_case(half, {}).verdict, Verdict::failed);
  fs::create_directories(root_.path() + "/nothing");
  EXPECT_THROW(find_cases(root_.path() + "/nothing"), Error);
  EXPECT_THROW(find_cases(root_.path() + "/missing"), Error);
}

}  // namespace
}  // namespace octet::tools
