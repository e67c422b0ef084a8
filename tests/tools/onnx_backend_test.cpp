// The backend tests of ONNX, where Debian's package libonnx-testdata is installed: no case fails, and what is skipped is
// training.
#include <gtest/gtest.h>

#include <filesystem>

#include "tools/test_case.h"

namespace octet::tools {
namespace {

namespace fs = std::filesystem;

// Part `part` of `parts` of a suite, dealt out in turn: tests of their own run in parallel.
struct Piece {
  const char* suite;
  size_t part, parts;
};

class OnnxBackend : public ::testing::TestWithParam<Piece> {};

bool is_out_of_scope(const std::string& reason) {
  return reason.find("is for training") != std::string::npos || reason.find("training_mode") != std::string::npos;
}

TEST_P(OnnxBackend, EveryCasePassesButTraining) {
  const Piece piece = GetParam();
  const fs::path root = fs::path("/usr/share/libonnx-testdata/data") / piece.suite;
  if (!fs::exists(root)) GTEST_SKIP() << root.string() << " is not here: apt-get install libonnx-testdata";
  const std::vector<std::string> cases = find_cases(root.string());
  size_t passed = 0, all = 0;
  for (size_t i = piece.part; i < cases.size(); i += piece.parts) {
    TestOptions options;
    options.threads = 1;
    const CaseResult result = run_case(cases[i], options);
    EXPECT_NE(result.verdict, Verdict::failed) << cases[i] << ": " << result.reason;
    EXPECT_TRUE(result.verdict != Verdict::skipped || is_out_of_scope(result.reason)) << cases[i] << ": " << result.reason;
    passed += result.verdict == Verdict::passed;
    ++all;
  }
  EXPECT_GE(10 * passed, 8 * all) << passed << " of " << all;
}

std::vector<Piece> pieces() {
  std::vector<Piece> all = {{"pytorch-converted", 0, 1}, {"pytorch-operator", 0, 1}, {"simple", 0, 1}};
  for (size_t part = 0; part < 4; ++part) all.push_back({"node", part, 4});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Suites, OnnxBackend, ::testing::ValuesIn(pieces()), [](const auto& named) {
  std::string name = named.param.suite;
  for (char& c : name) c = c == '-' ? '_' : c;
  return named.param.parts == 1 ? name : name + "_" + std::to_string(named.param.part + 1);
});

}  // namespace
}  // namespace octet::tools
