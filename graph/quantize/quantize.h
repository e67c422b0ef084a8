// Post-training quantization as graph rewriting: a float graph and the ranges of its values in, a standard QDQ graph out.
//
//   prepare_for_quantization(g)          folds what can be folded; g stays a graph of ONNX operators
//   values_to_calibrate(g, scope)        whose ranges are needed: run g over samples and keep min and max of these
//   quantize_static(g, ranges, options)  the quantized copy
//
// The scheme is the one that every engine can run: activations u8 with a zero point, one scale a tensor, 0 exactly
// representable; weights s8 symmetric in [-127, 127], one scale an output channel; biases s32 with scale sx·sw[n]. What is
// quantized is written as Q and DQ nodes around float operators, which stay what they are.
//
// Integers are demanded, not spread. Products (Conv, Gemm, MatMul by constant weights) want u8 inputs; that demand travels
// backwards through operators that can give u8 from u8, as their QuantRole tells: transparent ones and joins (all operands share
// one range then), element-wise functions, sums, averages. What nobody demands, the tail of the network before its outputs, a
// Softmax, a normalisation, stays float, and so do the graph's outputs.
//
//   fused      No Q/DQ inside what octet computes at once: product, bias, residual Add, activation have one rounding, at their end;
//              an element-wise function of one value is one table, however many nodes spell it.
//
//                x ─DQ─ Conv ─ Add ─ Relu ─ Q ─ y        r ─DQ─┘
//
//   portable   Q/DQ after every product and its activation and around everything else, as ONNX Runtime's own quantizer writes
//              it, so that programs which fold operator by operator find their patterns; products that end in an output are
//              quantized too.
//
//                x ─DQ─ Conv ─ Q─DQ ─ Add ─ Relu ─ Q ─ y
//
// A decoder's cache is quantized where it is asked for (QuantScope): the old rows and the new, each once, by one scale for the
// keys of a layer and one for its values, which the new rows alone decide; a session that keeps the cache then keeps u8.
//
//   past ─ Q ┐                                                 new ─┐
//   new ── Q ┴ Concat ─ DQ ─ attention     written as     past ─Q─DQ─┴ Concat ─Q─DQ─ attention
//
// A node that stays in float says why (`Node::why`). Knows no engine.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/ir.h"

namespace octet::graph {

struct Range {
  float min = 0;
  float max = 0;
};
using Ranges = std::map<std::string, Range>;  // by value name

enum class QuantStyle : uint8_t { fused, portable };

enum class QuantScope : uint8_t {
  products,             // and attention over keys and values that are made here
  products_and_caches,  // over a cache too
  caches,               // that alone: of models whose weights are quantized, or nothing
};

struct QuantizeOptions {
  QuantStyle style = QuantStyle::fused;
  QuantScope scope = QuantScope::products;
};

// In place: half precision widened; constants, batch normalisation, factors, biases and pads folded into products; products as
// Conv, Gemm (transB) and, for inputs of rank other than 2, MatMul + Add. The interface and results (up to rounding) stay.
// Throws Error invalid_argument for a graph that is quantized already.
void prepare_for_quantization(Graph& graph);

// Names in the prepared graph, sorted; enough for either style.
std::vector<std::string> values_to_calibrate(const Graph& graph, QuantScope scope = QuantScope::products);

// Throws Error invalid_argument naming a value whose range is missing, not finite or reversed; unsupported when there are products
// and none of them can be quantized, with the reason of the first, or when there is no cache to quantize.
std::unique_ptr<Graph> quantize_static(const Graph& graph, const Ranges& ranges, const QuantizeOptions& options = {});

}  // namespace octet::graph
