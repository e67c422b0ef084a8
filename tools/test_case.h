// ONNX test cases: a folder with model.onnx and test_data_set_N/{input_i.pb, output_i.pb}, the layout of the ONNX backend
// tests.
//
// What "the same output" means depends on what the graph computes. Shapes and types must be equal always.
//
//   float graph      |got - want| <= rtol * |want| + atol * max|want| + 1e-7 for each element of a float output; NaN equals
//   NaN,
//                    infinities equal themselves; integers and booleans are equal.
//                    Defaults rtol 1e-3, atol 1e-4; 20 times as much where the output is float16 or bfloat16: half a unit
//                    in the last place of a float16 logit of 32 is 1.6 % of its softmax.
//   quantized graph  (one with quantized activations) rounding of one quantum inside the graph is allowed, as folding Q/DQ
//   patterns into integer
//                    arithmetic may move ties: 8-bit outputs differ by at most 2 quanta; a float output has the same argmax
//                    and a cosine of at least 0.99 with what was expected; other integers are equal.
//
//   random graph     (one with an operator whose OpDef says `random`) only types and shapes are compared.
//
// A case that octet refuses as unsupported is skipped, with the refusal as reason. With several ISAs the outputs must be
// equal to the last bit on all of them, whatever the tolerance.
#pragma once

#include <string>
#include <vector>

#include "graph/tensor.h"

namespace octet::tools {

struct Tolerance {
  double rtol = 1e-3;
  double atol = 1e-4;
};

enum class Verdict { passed, failed, skipped };

struct CaseResult {
  Verdict verdict = Verdict::passed;
  std::string reason;  // why it failed or was skipped; empty when it passed
  std::string hash;    // of all output bytes of all data sets; equal on all ISAs and thread counts
};

struct TestOptions {
  std::vector<std::string> isas = {""};
  Tolerance tolerance;
  int threads = 0;
  size_t data_sets = 0;  // run only so many of a case; 0: all
};

// Folders under `root` (itself included) with a model.onnx, sorted. Throws Error when there is none.
std::vector<std::string> find_cases(const std::string& root);
CaseResult run_case(const std::string& folder, const TestOptions& options);

// What the graph computes, as told above.
enum class Numbers { exact, quantized, random };

// Empty when `got` is as good as `want`; else what differs.
std::string difference(const graph::Tensor& want, const TensorView& got, Numbers numbers, const Tolerance& tolerance);

}  // namespace octet::tools
