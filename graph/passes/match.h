// Small questions that many passes ask of a graph, and the few edits they share.
//
// Q and DQ stand for QuantizeLinear and DequantizeLinear. `as_dequantize` and `as_quantize` recognise them when scale and
// zero point are constants, which is what every quantizer writes; nothing else in the passes looks at their inputs.
//
// A pass walks a copy of the node list and anchors each pattern at its last node: it may then erase that node and whatever
// comes before it without invalidating the walk.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graph/ir.h"
#include "graph/op_def.h"

namespace octet::graph {

struct Dequantize {
  Node* node;
  Value* source;  // the integers
  QuantParams params;
};
// `value` as the float32 output of a DQ of constant parameters.
std::optional<Dequantize> as_dequantize(const Value* value);
// The same, per tensor, of an activation or constant of type u8.
std::optional<Dequantize> as_u8_dequantize(const Value* value);

struct Quantize {
  Node* node;
  Value* source;  // the reals, float32
  QuantParams params;
  DType dtype;
};
std::optional<Quantize> as_quantize(const Node* node);
std::optional<Quantize> as_u8_quantize(const Node* node);

// The only consumer of a value that is no graph output.
Node* sole_consumer(const Graph& graph, const Value* value);
bool is_product(const Node* node);  // octet.Conv or octet.Gemm

// A known dimension of a ranked value, negative axes from the end; -1 when unknown.
int64_t known_dim(const Value* value, int axis);
bool same_shape(const Value* a, const Value* b);  // known to be equal, symbols included
bool is_rank(const Value* value, int rank);

// A constant of one element.
std::optional<float> scalar_constant(const Value* value);
// A float32 constant that, broadcast against a tensor of rank `rank`, varies along `axis` only: `size` numbers (repeated
// when it is a scalar).
std::optional<std::vector<float>> per_channel_constant(const Value* value, int rank, int axis, int64_t size);

// The index of the input with this name in the operator's schema; -1 when there is none.
int input_index(const OpDef& op, std::string_view name);

// An octet.Conv's or octet.Gemm's inputs by meaning.
enum ProductInput : size_t { kX = 0, kW = 1, kBias = 2, kResidual = 3, kXScale = 4, kXZeroPoint = 5 };

// `to` stands for `from` from now on and, when a node produces it, takes its name. The producer of `from` is erased once
// none of its outputs is used.
void substitute(Graph& graph, Value* from, Value* to);
// rewrite(node) for the nodes in order, until it returns false for all of them; returns how often it returned true. A
// rewrite may erase nodes behind the one it was given, so the walk starts over after each.
int rewrite_each(Graph& graph, const std::function<bool(Node*)>& rewrite);
// rewrite(node) once for each node: nothing where the node is not its concern, "" after a rewrite, else the sentence that
// says why it declines, which becomes the node's `why`. Returns the number of rewrites. A rewrite may erase its node and
// nodes before it.
int rewrite_or_say_why(Graph& graph, const std::function<std::optional<std::string>(Node*)>& rewrite);
// Erases the node, and then producers that nothing uses any more.
void erase_dead(Graph& graph, Node* node);

// Constants for the inputs of Q and DQ, and a typed integer constant.
Value* scale_constant(Graph& graph, const std::vector<float>& scale);
Value* zero_point_constant(Graph& graph, DType dtype, const std::vector<int32_t>& zero_point);
Value* quantized_constant(Graph& graph, Tensor tensor, const QuantParams& params, const std::string& name);
// New nodes in front of `before`, types filled in.
Value* insert_node(Graph& graph, std::string_view op, std::vector<Value*> inputs, std::string name, Node* before);
Value* insert_dequantize(Graph& graph, Value* source, const QuantParams& params, Node* before, std::string name = {});
Value* insert_quantize(Graph& graph, Value* source, const QuantParams& params, DType dtype, Node* before,
                       std::string name = {});
// y[i] = table[x[i]], x and table of one-byte integers; the byte of x is the index, the table's type is y's.
Value* insert_table(Graph& graph, Value* x, Tensor table, std::shared_ptr<const QuantParams> y_quant, Node* before,
                    std::string name = {});

}  // namespace octet::graph
