// What an operator is: schema, inference, scalar semantics, and how it behaves under quantization and layout.
//
// One file in graph/ops/ defines a family of related operators as OpDef values; graph/ops/list.cpp names them all, once.
// `eval` is the specification: it runs the reference ISA, folds constants, and is the oracle of every kernel's test.
// Nothing outside asks an operator for its name to decide what may be done with it: passes read `quant` and `layout`.
#pragma once

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/ir.h"

namespace octet::graph {

enum class AttrKind : uint8_t { i, f, s, tensor, ints, floats, strings, graph };

struct AttrSchema {
  std::string_view name;
  AttrKind kind;
  bool required = false;
};

struct InputSchema {
  std::string_view name;
  bool optional = false;
  bool variadic = false;  // only the last
};

// A set of element types.
class TypeSet {
 public:
  constexpr TypeSet(std::initializer_list<DType> types) {
    for (const DType t : types) bits_ |= bit(t);
  }
  constexpr bool contains(DType type) const { return (bits_ & bit(type)) != 0; }
  constexpr bool operator==(const TypeSet&) const = default;
  constexpr TypeSet operator|(TypeSet other) const {
    other.bits_ |= bits_;
    return other;
  }

 private:
  static constexpr uint32_t bit(DType type) { return uint32_t{1} << static_cast<unsigned>(type); }
  uint32_t bits_ = 0;
};
inline constexpr TypeSet kFloats = {DType::f32, DType::f64, DType::f16, DType::bf16};
inline constexpr TypeSet kIntegers = {DType::s8,  DType::u8,  DType::s16, DType::u16,
                                      DType::s32, DType::u32, DType::s64, DType::u64};
inline constexpr TypeSet kNumbers = kFloats | kIntegers;
inline constexpr TypeSet kSigned = kFloats | TypeSet{DType::s8, DType::s16, DType::s32, DType::s64};
inline constexpr TypeSet kBytes = {DType::s8, DType::u8};
inline constexpr TypeSet kBool = {DType::boolean};
// Only moved or converted, not computed with.
inline constexpr TypeSet kNarrow = {DType::s4,         DType::u4,     DType::s2,         DType::u2,     DType::f8e4m3fn,
                                    DType::f8e4m3fnuz, DType::f8e5m2, DType::f8e5m2fnuz, DType::f8e8m0, DType::f4e2m1};
inline constexpr TypeSet kAnyType = kNumbers | kBool | kNarrow | TypeSet{DType::string};

// What quantization may do with the operator.
enum class QuantRole : uint8_t {
  none,         // computes in float (or on integers that stand for themselves)
  transparent,  // moves elements: the bytes of quantized inputs go through, parameters of all of them equal to the output's
  clamp,        // Relu, Clip: transparent once the bounds are expressed in quanta
  unary,        // element-wise function of one tensor: a 256-entry table between two quantized values
  product,      // Conv, Gemm, MatMul: u8 x s8 -> int32 with a fused epilogue
  binary,       // Add, Mul, Sub of two quantized values, requantized
  average,      // pooling by mean: integer sum, requantized
  quantize,     // QuantizeLinear and kin
  dequantize,
};

// How the operator deals with images that lie channels-last.
enum class LayoutRole : uint8_t {
  plain_only,     // wants row-major N, C, H, W
  channels_last,  // an image operator that gains from channels-last: its image inputs and outputs lie so
  any,            // element-wise: all image operands in one layout, either will do (scalars and constants may broadcast)
};

// What inference sees: the node, and setters for its outputs.
class InferContext {
 public:
  InferContext(const Graph& graph, Node& node) : graph_(graph), node_(node) {}
  const Node& node() const { return node_; }
  const Type& type(size_t i) const;  // of input i, which must be present
  bool has(size_t i) const { return node_.input(i) != nullptr; }
  const Tensor* constant(size_t i) const;  // null when input i is absent or not constant
  void set(size_t output, Type type);
  void set(size_t output, DType dtype, std::vector<Dim> dims);
  void set_unranked(size_t output, DType dtype);
  // Throws Error invalid_model: "<file>: node 'name' (Op): <message>".
  [[noreturn]] void fail(const std::string& message) const;

 private:
  const Graph& graph_;
  Node& node_;
};

// What scalar evaluation sees: dense plain tensors of known shape (and, where the operator takes any kind, sequences and
// optionals). An absent optional input is an undefined Tensor.
// Quantized values keep their parameters in the node's value types. Outputs are assigned.
//
// An operator with subgraphs runs them through `run`: by scalar evaluation, or by whatever the caller of evaluate() gave. So
// there is one If, one Loop and one Scan, which the specification and the engine share.
class EvalContext {
 public:
  // The outputs of `graph` for `inputs`; those from `changed` on are the ones of the call before (of the same graph, in the
  // same evaluation). The outputs may lie where the next run writes: copy what must outlast it, apart from its inputs.
  using RunGraph = std::function<std::vector<Tensor>(const Graph& graph, std::span<const Tensor> inputs, size_t changed)>;

  EvalContext(const Node& node, std::span<const Tensor> inputs, std::span<Tensor> outputs, const RunGraph* run = nullptr)
      : node_(node), inputs_(inputs), outputs_(outputs), run_(run) {}
  const Node& node() const { return node_; }
  const Tensor& in(size_t i) const;
  bool has(size_t i) const { return i < inputs_.size() && inputs_[i].defined(); }
  size_t input_count() const { return inputs_.size(); }
  Tensor& out(size_t i = 0) { return outputs_[i]; }
  size_t output_count() const { return outputs_.size(); }
  std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs, size_t changed) const;
  const QuantParams* in_quant(size_t i) const { return node_.input(i)->quant(); }
  const QuantParams* out_quant(size_t i = 0) const { return node_.output(i)->quant(); }
  // Throws Error: "node 'name' (Op): <message>".
  [[noreturn]] void fail(ErrorCode code, const std::string& message) const;

 private:
  const Node& node_;
  std::span<const Tensor> inputs_;
  std::span<Tensor> outputs_;
  const RunGraph* run_;
};

struct OpDef {
  std::string name;  // "Conv", "octet.Conv", "com.microsoft.QLinearAdd"
  std::vector<InputSchema> inputs;
  std::vector<AttrSchema> attrs;
  int min_outputs = 1;
  int max_outputs = 1;
  void (*infer)(InferContext&) = nullptr;
  void (*eval)(EvalContext&) = nullptr;  // null: no scalar form, the node must be rewritten before it can run
  QuantRole quant = QuantRole::none;
  LayoutRole layout = LayoutRole::plain_only;
  // Element types that `eval` takes for operand `typed`, the one that holds the data; quantized values are passes' affair.
  TypeSet types = kAnyType;
  int typed = 0;
  bool any_kind = false;  // may be given, and may give, sequences and optionals
  bool random = false;    // what it gives is a matter of chance: only type, shape and distribution mean anything
};

// All operators, and by name; null when unknown.
std::span<const OpDef* const> all_ops();
const OpDef* find_op(std::string_view name);

}  // namespace octet::graph
