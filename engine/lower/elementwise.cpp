// Element-wise operators: binary with scalar, per-channel and same-shape operands; unary in float; tables in u8.
#include <algorithm>
#include <limits>
#include <memory>
#include <optional>

#include "engine/lower/bind.h"
#include "engine/lower/families.h"
#include "kernels/select.h"
#include "octet/numerics.h"

namespace octet {
namespace {

using graph::Layout;
using graph::Node;
using graph::Value;

// --- binary ------------------------------------------------------------------------------------------------------------

std::optional<kernels::BinaryKind> binary_kind(std::string_view op) {
  using kernels::BinaryKind;
  constexpr std::pair<std::string_view, BinaryKind> kKinds[] = {{"Add", BinaryKind::add}, {"Sub", BinaryKind::sub},
                                                                {"Mul", BinaryKind::mul}, {"Div", BinaryKind::div},
                                                                {"Max", BinaryKind::max}, {"Min", BinaryKind::min}};
  for (const auto& [name, kind] : kKinds)
    if (name == op) return kind;
  return std::nullopt;
}

enum class Broadcast { none, scalar, channel, sample_channel, row, strided };

// How `small` broadcasts over `shape`: one element, one a channel (axis 1 of a channels-last image), one a channel of every
// sample, one a last-axis position, or in some other way, for which only plain tensors have kernels.
Broadcast broadcast_of(const Value* small, const Shape& shape, bool image) {
  const Shape s = small->type().shape();
  if (s == shape) return Broadcast::none;
  if (element_count(s) == 1) return Broadcast::scalar;
  const auto axis = [&](size_t a) {  // all ones but axis `a` of `shape`
    if (s.size() > shape.size()) return false;
    const size_t lead = shape.size() - s.size();
    for (size_t i = 0; i < s.size(); ++i)
      if (s[i] != (i + lead == a ? shape[a] : 1)) return false;
    return lead <= a;
  };
  if (image && shape.size() == 4 && !small->is_constant() && s == Shape{shape[0], shape[1], 1, 1})
    return Broadcast::sample_channel;
  if (image) return shape.size() == 4 && axis(1) ? Broadcast::channel : Broadcast::strided;
  return !shape.empty() && axis(shape.size() - 1) ? Broadcast::row : Broadcast::strided;
}

bool any_image(const Node& node) { return node.output()->layout == Layout::channels_last; }

// The operand that has the output's shape, rather one that is no constant; -1 when there is none.
int full_operand(const Node& node) {
  const Shape y = node.output()->type().shape();
  for (const bool constant : {false, true})
    for (const int i : {0, 1}) {
      const Value* v = node.input(static_cast<size_t>(i));
      if (v->is_constant() == constant && v->type().shape() == y) return i;
    }
  return -1;
}

bool takes_binary(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  if (node.inputs().size() != 2) return no("only two operands have a kernel");
  const Value *a = node.input(0), *b = node.input(1), *y = node.output();
  if (!a->type().static_shape() || !b->type().static_shape() || !y->type().static_shape())
    return no("its shape is not known");
  if (a->dtype() != b->dtype() || a->dtype() != y->dtype()) return no("mixed element types");
  if (element_count(y->type().shape()) == 0) return no("the tensor is empty");
  if (y->dtype() == DType::u8) {
    if (!a->quant() || !b->quant() || !y->quant()) return no("integers without quantization parameters");
    const auto op = node.op_name();
    if (op != "Add" && op != "Sub" && op != "Mul") return no("no quantized kernel");
    const std::string act = node.attr("act", "");
    if (!act.empty() && act != "relu" && act != "clip") return no("activation without a kernel");
  } else if (y->dtype() != DType::f32) {
    return no("element types without kernels");
  }
  if (full_operand(node) < 0) return no("both operands broadcast");
  return true;
}

void lower_binary(Lowering& lowering, const Node& node) {
  const int full = full_operand(node);
  const Value *a = node.input(static_cast<size_t>(full)), *b = node.input(static_cast<size_t>(1 - full)), *y = node.output();
  const bool image = any_image(node);
  const Broadcast broadcast = broadcast_of(b, y->type().shape(), image);
  const bool same_places =
      a->layout == y->layout && (broadcast != Broadcast::none || (b->layout == y->layout && !(b->is_constant() && image)));
  if ((broadcast == Broadcast::strided && image) || !same_places) {
    lower_eval(lowering, node);
    return;
  }
  kernels::BinaryProblem p;
  p.kind = *binary_kind(node.op_name());
  p.dtype = y->dtype();
  p.swapped = full == 1;
  std::vector<const Value*> values{y, a};
  if (broadcast == Broadcast::none) values.push_back(b);
  Walk w = walk(lowering, values);
  if (broadcast == Broadcast::sample_channel) {
    w = walk_samples(lowering, values);
    const int64_t sample = lowering.place(b).image ? lowering.place(b).strides.image
                                                   : y->type().shape()[1] * static_cast<int64_t>(size_of(b->dtype()));
    Walk::Operand gate;
    for (size_t i = 0; i < w.blocks(); ++i)
      gate.starts.push_back(static_cast<int64_t>(i) / (static_cast<int64_t>(w.blocks()) / y->type().shape()[0]) * sample);
    w.operands.push_back(std::move(gate));
    values.push_back(b);
  }
  if (broadcast == Broadcast::channel || broadcast == Broadcast::row) {
    // One run a pixel (or matrix row), so that b lines up with it.
    const Shape shape = y->type().shape();
    const int64_t inner = image ? shape[1] : shape.back();
    if (w.rows == 1) {
      w.rows = w.length / inner, w.length = inner;
      for (auto& o : w.operands) o.row = inner;
    } else if (w.length != inner) {
      lower_eval(lowering, node);
      return;
    }
  }
  p.b_inner = broadcast == Broadcast::scalar ? 0 : 1;
  if (broadcast == Broadcast::strided) {
    values.push_back(b);
    const BroadcastWalk broadcast_over = broadcast_walk(y->type().shape(), values);
    p.b_inner = broadcast_over.inner[2];
    w = broadcast_over.walk;
  }
  p.rows = w.rows, p.length = w.length;
  p.y_outer = w.operands[0].row, p.a_outer = w.operands[1].row;
  // A gate serves all rows of its block.
  p.b_outer = broadcast == Broadcast::none || broadcast == Broadcast::strided ? w.operands[2].row : 0;
  if (y->dtype() == DType::u8) {
    p.a_scale = a->quant()->scale[0], p.a_zero_point = a->quant()->zero_point[0];
    p.b_scale = b->quant()->scale[0], p.b_zero_point = b->quant()->zero_point[0];
    p.y_scale = y->quant()->scale[0], p.y_zero_point = y->quant()->zero_point[0];
    const std::string act = node.attr("act", "");
    constexpr float kInf = std::numeric_limits<float>::infinity();
    if (!act.empty()) {
      const auto quantum = [&](float v) { return numerics::quantize(v, p.y_scale, p.y_zero_point, 0, 255); };
      p.lo = quantum(act == "relu" ? 0.0f : node.attr("act_min", -kInf));
      p.hi = quantum(act == "relu" ? kInf : node.attr("act_max", kInf));
    }
  }
  const bool walked = values.size() == 3;
  const Location apart = walked ? Location{} : lowering.location(b);
  add_walk_step(lowering, node, kernels::make_binary(lowering.isa(), p), w, values, walked ? nullptr : &apart);
}

std::vector<int> binary_in_place(const Node& node) {
  const int full = full_operand(node);
  if (full < 0) return {};
  return {full, 1 - full};
}

// --- Where ---------------------------------------------------------------------------------------------------------------

bool takes_where(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  for (const Value* v : {static_cast<const Value*>(node.output()), static_cast<const Value*>(node.input(0)),
                         static_cast<const Value*>(node.input(1)), static_cast<const Value*>(node.input(2))})
    if (!v->type().static_shape() || element_count(v->type().shape()) == 0) return no("its shape is not known, or empty");
  if (size_of(node.output()->dtype()) != 4) return no("only elements of 4 bytes have a kernel");
  return true;
}

void lower_where(Lowering& lowering, const Node& node) {
  const std::vector<const Value*> values{node.output(), node.input(0), node.input(1), node.input(2)};
  for (const Value* v : values)
    if (!v->is_constant() && lowering.place(v).image) return lower_eval(lowering, node);
  const BroadcastWalk b = broadcast_walk(node.output()->type().shape(), values);
  const auto& o = b.walk.operands;
  const kernels::SelectProblem p{b.walk.rows, b.walk.length, o[1].row,   o[2].row,  o[3].row,
                                 o[0].row,    b.inner[1],    b.inner[2], b.inner[3]};
  std::shared_ptr<const kernels::Select> kernel = kernels::make_select(lowering.isa(), p);
  std::vector<Location> at;
  for (const Value* v : values) at.push_back(lowering.location(v));
  lowering.add_step(node, kernel->name(), [kernel, at, walk = b.walk](const RunContext& context, int part, int parts) {
    for (size_t i = 0; i < walk.blocks(); ++i) {
      const auto in = [&](size_t operand) { return at[operand].in(context) + walk.operands[operand].starts[i]; };
      kernel->run({reinterpret_cast<const uint8_t*>(in(1)), in(2), in(3), in(0)}, part, parts);
    }
  });
}

std::vector<int> where_in_place(const Node&) { return {1, 2}; }

// --- unary -------------------------------------------------------------------------------------------------------------

std::optional<kernels::UnaryKind> unary_kind(std::string_view op) {
  using kernels::UnaryKind;
  constexpr std::pair<std::string_view, UnaryKind> kKinds[] = {{"Relu", UnaryKind::relu},
                                                               {"Clip", UnaryKind::clip},
                                                               {"LeakyRelu", UnaryKind::leaky_relu},
                                                               {"HardSigmoid", UnaryKind::hard_sigmoid},
                                                               {"HardSwish", UnaryKind::hard_swish},
                                                               {"Swish", UnaryKind::silu},
                                                               {"Sigmoid", UnaryKind::sigmoid},
                                                               {"Tanh", UnaryKind::tanh},
                                                               {"Exp", UnaryKind::exp},
                                                               {"Erf", UnaryKind::erf},
                                                               {"Gelu", UnaryKind::gelu},
                                                               {"Elu", UnaryKind::elu},
                                                               {"Softplus", UnaryKind::softplus},
                                                               {"Mish", UnaryKind::mish},
                                                               {"Neg", UnaryKind::neg},
                                                               {"Abs", UnaryKind::abs},
                                                               {"Sqrt", UnaryKind::sqrt},
                                                               {"Reciprocal", UnaryKind::reciprocal}};
  for (const auto& [name, kind] : kKinds)
    if (name == op) return kind;
  return std::nullopt;
}

bool takes_unary(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  const Value *x = node.input(0), *y = node.output();
  if (!y->type().static_shape() || x->dtype() != DType::f32 || y->dtype() != DType::f32)
    return no("only float32 of known shape has a kernel");
  if (element_count(y->type().shape()) == 0) return no("the tensor is empty");
  for (const size_t i : {1u, 2u})
    if (node.input(i) && !node.input(i)->is_constant()) return no("bounds known only at run time");
  return true;
}

float default_alpha(kernels::UnaryKind kind) {
  switch (kind) {
    case kernels::UnaryKind::hard_sigmoid: return 0.2f;
    case kernels::UnaryKind::elu:
    case kernels::UnaryKind::silu: return 1.0f;
    default: return 0.01f;
  }
}

void lower_unary(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  const std::vector<const Value*> values{y, x};
  if (x->layout != y->layout) {
    lower_eval(lowering, node);
    return;
  }
  const Walk w = walk(lowering, values);
  kernels::UnaryProblem p;
  p.kind = *unary_kind(node.op_name());
  if (p.kind == kernels::UnaryKind::gelu && node.attr("approximate", "none") == "tanh")
    p.kind = kernels::UnaryKind::gelu_tanh;
  p.count = w.length;
  if (p.kind == kernels::UnaryKind::clip) {
    const auto bound = [&](size_t i, float fallback) {
      return node.input(i) ? node.input(i)->constant().to_f32().at(0) : fallback;
    };
    p.alpha = bound(1, std::numeric_limits<float>::lowest());
    p.beta = bound(2, std::numeric_limits<float>::max());
  } else {
    p.alpha = node.attr("alpha", default_alpha(p.kind));
    p.beta = node.attr("beta", 0.5f);
  }
  // The kernel takes one run: rows become blocks of their own.
  Walk runs = w;
  runs.rows = 1;
  for (size_t o = 0; o < values.size(); ++o) {
    runs.operands[o].starts.clear();
    for (const int64_t start : w.operands[o].starts)
      for (int64_t r = 0; r < w.rows; ++r) runs.operands[o].starts.push_back(start + r * w.operands[o].row * 4);
  }
  p.keeps_range = lowering.range(node.output()).has_value();
  if (!p.keeps_range) {
    add_walk_step(lowering, node, kernels::make_unary(lowering.isa(), p), runs, values);
    return;
  }
  lowering.keep_range(node.output());
  std::shared_ptr<const kernels::Kernel> kernel = kernels::make_unary(lowering.isa(), p);
  lowering.add_step(node, kernel->name(),
                    [kernel, y = lowering.location(values[0]), x = lowering.location(values[1]),
                     range = *lowering.range(node.output()), y_starts = runs.operands[0].starts,
                     x_starts = runs.operands[1].starts](const RunContext& context, int part, int parts) {
                      float* mine = reinterpret_cast<float*>(range.in(context)) + 2 * part;
                      mine[0] = mine[1] = 0;
                      for (size_t i = 0; i < y_starts.size(); ++i)
                        kernel->run({x.in(context) + x_starts[i], mine, y.in(context) + y_starts[i]}, part, parts);
                    });
}

std::vector<int> first_in_place(const Node&) { return {0}; }

// --- table -------------------------------------------------------------------------------------------------------------

bool takes_table(const Node& node, std::string* why) {
  if (!node.output()->type().static_shape() || element_count(node.output()->type().shape()) == 0 ||
      !node.input(1)->is_constant()) {
    *why = "its shape or table is not known";
    return false;
  }
  return true;
}

void lower_table(Lowering& lowering, const Node& node) {
  if (lowering.is_done(&node)) return;  // in the epilogue of its product (product.cpp)
  const Value *x = node.input(0), *y = node.output();
  if (x->layout != y->layout) {
    lower_eval(lowering, node);
    return;
  }
  const std::vector<const Value*> values{y, x};
  const Walk w = walk(lowering, values);
  kernels::TableProblem p;
  const auto* table = node.input(1)->constant().as<uint8_t>();
  std::copy(table, table + 256, p.table.begin());
  p.rows = w.rows, p.length = w.length;
  p.y_outer = w.operands[0].row, p.x_outer = w.operands[1].row;
  add_walk_step(lowering, node, kernels::make_table(lowering.isa(), p), w, values);
}

}  // namespace

std::span<const LowerDef> elementwise_lowerings() {
  static const std::vector<LowerDef> kDefs = [] {
    std::vector<LowerDef> defs;
    for (const char* op : {"Add", "Sub", "Mul", "Div", "Max", "Min"})
      defs.push_back({op, takes_binary, lower_binary, nullptr, binary_in_place});
    for (const char* op : {"Relu", "Clip", "LeakyRelu", "HardSigmoid", "HardSwish", "Swish", "Sigmoid", "Tanh", "Exp", "Erf",
                           "Gelu", "Elu", "Softplus", "Mish", "Neg", "Abs", "Sqrt", "Reciprocal"})
      defs.push_back({op, takes_unary, lower_unary, nullptr, first_in_place});
    defs.push_back({"Where", takes_where, lower_where, nullptr, where_in_place});
    defs.push_back({"octet.Table", takes_table, lower_table, nullptr, first_in_place});
    return defs;
  }();
  return kDefs;
}

}  // namespace octet
