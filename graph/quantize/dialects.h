// The dialects of INT8 that exporters write, from one quantized (or prepared float) graph.
//
//   QDQ        what quantize_static gives: float operators between DequantizeLinear and QuantizeLinear
//   qlinear    operator-oriented: x8 ─ QLinearConv ─ QLinearAdd ─ …; what has no such operator stays between DQ and Q
//   dynamic    activations quantized at run time, once a tensor, weights ahead of it:
//
//                x ─ DynamicQuantizeLinear ─ ConvInteger ─ Cast ─ Mul(·, sx·sw) ─ Add(bias) ─ …
//
//              queries, keys and values of an attention become x ─ DynamicQuantizeLinear ─ DequantizeLinear ─ …, where their
//              products left them; its own products stay as they are written, as in QDQ
//
// The first two hold the same integers and scales, so that octet's passes make one graph of them and the results are the
// same bytes. The third chooses the scales of activations anew for every input and therefore gives other results.
#pragma once

#include "graph/ir.h"

namespace octet::graph {

// In place, of a QDQ graph: activations (and constants among them) become s8, q - 128 with zero point - 128.
void to_signed_activations(Graph& graph);

// In place, of a QDQ graph in portable style: every operator of qlinear_forms.h whose operands are dequantized and whose
// result is quantized becomes its QLinear operator, a clamp in between a Clip of integers unless the range of the type
// implies it; operators that move elements between equal parameters move the integers. A MatMul with a bias becomes QGemm
// between two Reshapes. Biases must be int32 at scale xs·ws.
void to_qlinear(Graph& graph);

// The quantized copy of a graph that prepare_for_quantization left. Throws Error unsupported when there are products and
// none of them can be quantized, with the reason of the first.
std::unique_ptr<Graph> quantize_dynamic(const Graph& graph);

}  // namespace octet::graph
