// The operators of the operator-oriented dialect that are a plain operator between DequantizeLinear and QuantizeLinear, and
// where each of them keeps what. Read by the pass that takes the dialect apart (expand_qlinear) and by the writer that puts
// it together (quantize/dialects).
//
//   QLinearConv    x, xs, xz, w, ws, wz, ys, yz, b      b : int32, its scale is xs·ws
//   QLinearAdd     a, as, az, b, bs, bz, ys, yz
//   QLinearConcat  ys, yz, a, as, az, b, bs, bz, …
//
// Operands are triples of value, scale and zero point. A zero point may be absent.
#pragma once

#include <span>
#include <string_view>

namespace octet::graph {

inline constexpr int kNoInput = -1;

struct QLinearForm {
  std::string_view qlinear, plain;
  int operands;  // triples; kNoInput: all that there are
  int first;     // input index of the first triple
  int y_scale;   // the zero point follows
  int bias = kNoInput;
  bool product = false;  // operand 1 is weights, with scales per output channel perhaps
};

inline constexpr QLinearForm kQLinearForms[] = {
    {"QLinearConv", "Conv", 2, 0, 6, 8, true},
    {"QLinearMatMul", "MatMul", 2, 0, 6, kNoInput, true},
    {"com.microsoft.QGemm", "Gemm", 2, 0, 7, 6, true},
    {"com.microsoft.QLinearAdd", "Add", 2, 0, 6},
    {"com.microsoft.QLinearMul", "Mul", 2, 0, 6},
    {"com.microsoft.QLinearSigmoid", "Sigmoid", 1, 0, 3},
    {"com.microsoft.QLinearLeakyRelu", "LeakyRelu", 1, 0, 3},
    {"com.microsoft.QLinearSoftmax", "Softmax", 1, 0, 3},
    {"com.microsoft.QLinearAveragePool", "AveragePool", 1, 0, 3},
    {"com.microsoft.QLinearGlobalAveragePool", "GlobalAveragePool", 1, 0, 3},
    {"com.microsoft.QLinearConcat", "Concat", kNoInput, 2, 0},
};

}  // namespace octet::graph
