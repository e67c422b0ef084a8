// Control flow: If, Loop, Scan, SequenceMap. Their bodies are closed graphs (graph/ir.h): what they read of their
// surroundings stands behind their own operands, `captures` of them.
//
//   If            cond | captures                          each branch: captures → outputs
//   Loop          trips, cond, carried… | captures         body: iteration, cond, carried…, captures → cond, carried…,
//   scans… Scan          carried…, scanned… | captures            body: carried…, slices…, captures → carried…, scans…
//   SequenceMap   sequence, more… | captures               body: element, elements or tensors…, captures → elements…
//
// Types: the body's inputs take the types of what the node is given. What a loop carries may change its shape on the way, so
// its type is the join of what goes in and what comes out, found by repeating inference until nothing changes: a dimension
// can only become unknown, so that ends soon.
#include <algorithm>
#include <cstring>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"
#include "graph/ops/stack.h"

namespace octet::graph::ops {
namespace {

Graph& body_of(const Node& node, std::string_view key) { return *std::get<std::shared_ptr<Graph>>(*node.find_attr(key)); }

size_t captures_of(const Node& node) { return static_cast<size_t>(node.attr("captures", int64_t{0})); }

// The node's operands without captures; trailing ones may be absent.
template <class Ctx>
size_t operands_of(const Ctx& ctx, size_t least) {
  const size_t captures = captures_of(ctx.node()), inputs = count_inputs(ctx);
  return inputs < captures ? least : std::max(least, inputs - captures);
}

Type plain(Type type) {
  type.quant = nullptr;
  return type;
}

bool same(const Type& a, const Type& b) {
  if (a.dtype != b.dtype || a.kind != b.kind || a.ranked() != b.ranked()) return false;
  if (!a.ranked()) return true;
  return std::equal(a.dims->begin(), a.dims->end(), b.dims->begin(), b.dims->end(),
                    [](const Dim& x, const Dim& y) { return x.value == y.value && x.symbol == y.symbol; });
}

// Wide enough for both.
Type join(const InferContext& ctx, const Type& a, const Type& b, const std::string& what) {
  if (a.dtype != b.dtype && a.dtype != DType::undefined && b.dtype != DType::undefined)
    ctx.fail(what + " is " + to_string(a) + " here and " + to_string(b) + " there; expected one element type");
  Type t{a.dtype == DType::undefined ? b.dtype : a.dtype, std::nullopt, nullptr, std::max(a.kind, b.kind)};
  // Only an optional may turn out to be what it can hold.
  const bool fits = a.kind == b.kind || (t.kind == ValueKind::optional && std::min(a.kind, b.kind) == ValueKind::tensor) ||
                    (t.kind == ValueKind::optional_sequence && std::min(a.kind, b.kind) == ValueKind::sequence);
  if (!fits) ctx.fail(what + " is " + to_string(a) + " here and " + to_string(b) + " there; expected one kind");
  if (!a.ranked() || !b.ranked() || a.rank() != b.rank()) return t;
  t.dims = a.dims;
  for (size_t i = 0; i < t.dims->size(); ++i)
    if (!((*a.dims)[i] == (*b.dims)[i])) (*t.dims)[i] = Dim();
  return t;
}

void infer_body(Graph& body, const std::vector<Type>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) body.inputs()[i]->set_type(inputs[i]);
  forget_dims(body);
  infer_types(body);
}

void expect_interface(const InferContext& ctx, const Graph& body, const char* what, size_t inputs, size_t least_outputs) {
  if (body.inputs().size() != inputs)
    ctx.fail(std::string(what) + " takes " + std::to_string(body.inputs().size()) +
             " inputs (captured values included); expected " + std::to_string(inputs));
  if (body.outputs().size() < least_outputs)
    ctx.fail(std::string(what) + " gives " + std::to_string(body.outputs().size()) + " outputs; expected at least " +
             std::to_string(least_outputs));
}

std::vector<Type> types_of(const InferContext& ctx, size_t from, size_t to) {
  std::vector<Type> types;
  for (size_t i = from; i < to; ++i) types.push_back(ctx.has(i) ? plain(ctx.type(i)) : Type{});
  return types;
}

std::vector<Tensor> tensors_of(const EvalContext& ctx, size_t from, size_t to) {
  std::vector<Tensor> tensors;
  for (size_t i = from; i < to; ++i) tensors.push_back(ctx.has(i) ? ctx.in(i) : Tensor());
  return tensors;
}

bool truth(const EvalContext& ctx, const Tensor& condition, const char* what) {
  if (!condition.is_tensor() || condition.size() != 1 || condition.dtype() != DType::boolean)
    ctx.fail(ErrorCode::invalid_model, std::string(what) + " is " + std::string(to_string(condition.dtype())) +
                                           octet::to_string(condition.shape()) + "; expected one bool");
  return *condition.as<uint8_t>() != 0;
}

Type stacked(const Type& slice, Dim count, int64_t axis) {
  Type t = plain(slice);
  if (!t.ranked()) return t;
  if (axis < 0) axis += t.rank() + 1;
  axis = std::clamp<int64_t>(axis, 0, t.rank());
  t.dims->insert(t.dims->begin() + axis, std::move(count));
  return t;
}

// A branch that is not taken may be wrong for the shapes at hand (a case for images, another for volumes). What is wrong
// with it is said if it is taken; until then it is inferred from the ranks alone.
void infer_branch(Graph& branch, std::vector<Type> types) {
  try {
    infer_body(branch, types);
  } catch (const Error&) {
    for (Type& t : types)
      if (t.ranked()) t.dims.emplace(t.dims->size());
    infer_body(branch, types);
  }
}

// --- If -----------------------------------------------------------------------------------------------------------------
void infer_if(InferContext& ctx) {
  const Node& node = ctx.node();
  const size_t captures = captures_of(node);
  if (node.inputs().size() != captures + 1)
    ctx.fail("has " + std::to_string(node.inputs().size() - captures) + " operands; expected 1, the condition");
  Graph &yes = body_of(node, "then_branch"), &no = body_of(node, "else_branch");
  const std::vector<Type> types = types_of(ctx, 1, 1 + captures);
  for (Graph* branch : {&yes, &no}) {
    expect_interface(ctx, *branch, "a branch", captures, node.outputs().size());
    infer_branch(*branch, types);
  }
  for (size_t i = 0; i < node.outputs().size(); ++i)
    ctx.set(i, join(ctx, plain(yes.outputs()[i]->type()), plain(no.outputs()[i]->type()), "output " + std::to_string(i)));
}

void eval_if(EvalContext& ctx) {
  const Graph& branch = body_of(ctx.node(), truth(ctx, ctx.in(0), "the condition") ? "then_branch" : "else_branch");
  const std::vector<Tensor> inputs = tensors_of(ctx, 1, ctx.input_count());
  const std::vector<Tensor> outputs = ctx.run(branch, inputs, inputs.size());
  for (size_t i = 0; i < ctx.output_count(); ++i) ctx.out(i) = outputs[i];
}

// --- Loop ---------------------------------------------------------------------------------------------------------------

// How often it runs, where inference can tell: a constant number of trips that nothing cuts short.
Dim trips(const InferContext& ctx, const Graph& body) {
  const Tensor* count = ctx.constant(0);
  if (!count || count->size() != 1) return Dim();
  if (ctx.has(1) && !(ctx.constant(1) && ctx.constant(1)->size() == 1 && ctx.constant(1)->at_s64(0) != 0)) return Dim();
  const Value* goes_on = body.outputs()[0];
  const bool always = goes_on == body.inputs()[1] ||
                      (goes_on->producer() && goes_on->producer()->op_name() == "Identity" &&
                       goes_on->producer()->input(0) == body.inputs()[1]) ||
                      (goes_on->is_constant() && goes_on->constant().size() == 1 && goes_on->constant().at_s64(0) != 0);
  return always ? Dim(std::max<int64_t>(count->at_s64(0), 0)) : Dim();
}

void infer_loop(InferContext& ctx) {
  const Node& node = ctx.node();
  Graph& body = body_of(node, "body");
  const size_t captures = captures_of(node), operands = operands_of(ctx, 2), carried = operands - 2;
  expect_interface(ctx, body, "the body", operands + captures, 1 + carried);
  if (node.outputs().size() > body.outputs().size() - 1 || node.outputs().size() < carried)
    ctx.fail("has " + std::to_string(node.outputs().size()) + " outputs; the body gives " +
             std::to_string(body.outputs().size() - 1));
  std::vector<Type> types = types_of(ctx, 0, operands);
  types[0] = Type::known(DType::s64, {});
  types[1] = Type::known(DType::boolean, {});
  for (Type& t : types_of(ctx, operands, operands + captures)) types.push_back(std::move(t));
  for (bool changed = true; changed;) {
    infer_body(body, types);
    changed = false;
    for (size_t i = 0; i < carried; ++i) {
      Type wide = join(ctx, types[2 + i], plain(body.outputs()[1 + i]->type()), "carried value " + std::to_string(i));
      changed = changed || !same(wide, types[2 + i]);
      types[2 + i] = std::move(wide);
    }
  }
  for (size_t i = 0; i < node.outputs().size(); ++i)
    ctx.set(i, i < carried ? types[2 + i] : stacked(body.outputs()[1 + i]->type(), trips(ctx, body), 0));
}

void eval_loop(EvalContext& ctx) {
  const Node& node = ctx.node();
  const Graph& body = body_of(node, "body");
  const size_t operands = operands_of(ctx, 2), carried = operands - 2, scans = body.outputs().size() - 1 - carried;
  const int64_t most = ctx.has(0) ? scalar_s64(ctx, 0) : INT64_MAX;
  bool go = !ctx.has(1) || truth(ctx, ctx.in(1), "the condition");
  std::vector<Tensor> inputs = tensors_of(ctx, 0, ctx.input_count());
  if (inputs.size() < operands) inputs.resize(operands);
  std::vector<Stack> stacks(scans);
  const Tensor condition = Tensor::of<uint8_t>(DType::boolean, {}, {1});
  for (int64_t i = 0; i < most && go; ++i) {
    inputs[0] = Tensor::of<int64_t>(DType::s64, {}, {i});
    inputs[1] = condition;
    std::vector<Tensor> outputs = ctx.run(body, inputs, i == 0 ? inputs.size() : operands);
    go = truth(ctx, outputs[0], "the body's condition");
    for (size_t k = 0; k < scans; ++k) stacks[k].add(ctx, outputs[1 + carried + k]);
    for (size_t k = 0; k < carried; ++k) inputs[2 + k] = std::move(outputs[1 + k]);
  }
  for (size_t i = 0; i < ctx.output_count(); ++i)
    ctx.out(i) = i < carried ? inputs[2 + i] : stacks[i - carried].take(node.output(i)->type(), 0, false);
}

// --- Scan ---------------------------------------------------------------------------------------------------------------

// Of opset 8 (`batched`): every operand has the batch in front, and axes count behind it.
struct ScanParts {
  size_t carried, scanned, captures;
  std::vector<int64_t> input_axes, output_axes, input_reverse, output_reverse;
  bool batched;
};

template <class Ctx>
ScanParts scan_parts(const Ctx& ctx, const Graph& body) {
  const Node& node = ctx.node();
  const int64_t scanned = node.attr("num_scan_inputs", int64_t{0});
  const size_t captures = captures_of(node), inputs = count_inputs(ctx);
  if (scanned < 1 || inputs < captures || static_cast<size_t>(scanned) > inputs - captures)
    fail(ctx, "num_scan_inputs is " + std::to_string(scanned) + "; expected 1 to the number of inputs");
  ScanParts p{inputs - captures - static_cast<size_t>(scanned),
              static_cast<size_t>(scanned),
              captures,
              {},
              {},
              {},
              {},
              node.attr("batched", int64_t{0}) != 0};
  if (body.outputs().size() < p.carried) fail(ctx, "the body gives fewer outputs than the loop carries");
  const size_t scans = body.outputs().size() - p.carried;
  const auto list = [&](const char* key, size_t size) {
    std::vector<int64_t> values = node.ints(key);
    if (values.empty()) values.assign(size, 0);
    if (values.size() != size)
      fail(ctx, std::string(key) + " has " + std::to_string(values.size()) + " elements; expected " + std::to_string(size));
    return values;
  };
  p.input_axes = list("scan_input_axes", p.scanned);
  p.output_axes = list("scan_output_axes", scans);
  p.input_reverse = list("scan_input_directions", p.scanned);
  p.output_reverse = list("scan_output_directions", scans);
  return p;
}

void infer_scan(InferContext& ctx) {
  const Node& node = ctx.node();
  Graph& body = body_of(node, "body");
  const ScanParts p = scan_parts(ctx, body);
  expect_interface(ctx, body, "the body", node.inputs().size(), p.carried);
  if (node.outputs().size() > body.outputs().size())
    ctx.fail("has " + std::to_string(node.outputs().size()) + " outputs; the body gives " +
             std::to_string(body.outputs().size()));
  std::vector<Type> types = types_of(ctx, 0, node.inputs().size());
  Dim batch, count;
  const auto drop = [&](Type& t, int64_t axis) {
    if (!t.ranked()) return Dim();
    axis = normalize_axis(ctx, axis, t.rank());
    const Dim d = (*t.dims)[static_cast<size_t>(axis)];
    t.dims->erase(t.dims->begin() + axis);
    return d;
  };
  if (p.batched)
    for (size_t i = 0; i < p.carried + p.scanned; ++i) batch = same_dim(ctx, batch, drop(types[i], 0), "batch sizes");
  for (size_t i = 0; i < p.scanned; ++i)
    count = same_dim(ctx, count, drop(types[p.carried + i], p.input_axes[i]), "lengths of scan inputs");
  for (bool changed = true; changed;) {
    infer_body(body, types);
    changed = false;
    for (size_t i = 0; i < p.carried; ++i) {
      Type wide = join(ctx, types[i], plain(body.outputs()[i]->type()), "carried value " + std::to_string(i));
      changed = changed || !same(wide, types[i]);
      types[i] = std::move(wide);
    }
  }
  for (size_t i = 0; i < node.outputs().size(); ++i) {
    Type t = i < p.carried ? types[i] : stacked(body.outputs()[i]->type(), count, p.output_axes[i - p.carried]);
    if (p.batched && t.ranked()) t.dims->insert(t.dims->begin(), batch);
    ctx.set(i, std::move(t));
  }
}

// x[..., index, ...] along `axis`.
Tensor slice_of(EvalContext& ctx, const Tensor& x, int64_t axis, int64_t index) {
  if (axis == 0) return x.at(index);
  Shape shape = x.shape();
  Strides strides = strides_of(shape);
  const int64_t base = index * strides[static_cast<size_t>(axis)];
  shape.erase(shape.begin() + axis);
  strides.erase(strides.begin() + axis);
  return gather_strided(ctx, x, shape, strides, base);
}

std::vector<Tensor> scan(EvalContext& ctx, const Graph& body, const ScanParts& p, std::vector<Tensor> inputs) {
  const std::vector<Tensor> whole(inputs.begin() + static_cast<std::ptrdiff_t>(p.carried),
                                  inputs.begin() + static_cast<std::ptrdiff_t>(p.carried + p.scanned));
  std::vector<int64_t> axes;
  int64_t count = -1;
  for (size_t i = 0; i < p.scanned; ++i) {
    if (!whole[i].is_tensor()) ctx.fail(ErrorCode::invalid_model, "a scan input is a sequence; expected a tensor");
    axes.push_back(normalize_axis(ctx, p.input_axes[i], static_cast<int64_t>(whole[i].shape().size())));
    const int64_t n = whole[i].shape()[static_cast<size_t>(axes[i])];
    if (count >= 0 && n != count)
      ctx.fail(ErrorCode::invalid_model,
               "scan inputs have lengths " + std::to_string(count) + " and " + std::to_string(n) + "; expected one");
    count = n;
  }
  std::vector<Stack> stacks(body.outputs().size() - p.carried);
  for (int64_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < p.scanned; ++k)
      inputs[p.carried + k] = slice_of(ctx, whole[k], axes[k], p.input_reverse[k] ? count - 1 - i : i);
    std::vector<Tensor> outputs = ctx.run(body, inputs, i == 0 ? inputs.size() : p.carried + p.scanned);
    for (size_t k = 0; k < stacks.size(); ++k) stacks[k].add(ctx, outputs[p.carried + k]);
    for (size_t k = 0; k < p.carried; ++k) inputs[k] = std::move(outputs[k]);
  }
  std::vector<Tensor> results(inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(p.carried));
  for (size_t k = 0; k < stacks.size(); ++k) {
    const Type like = stacked(body.outputs()[p.carried + k]->type(), Dim(count), p.output_axes[k]);
    const int64_t rank = like.ranked() ? like.rank() : 1, axis = p.output_axes[k];
    results.push_back(stacks[k].take(like, static_cast<size_t>(axis < 0 ? axis + rank : axis), p.output_reverse[k] != 0));
  }
  return results;
}

void eval_scan(EvalContext& ctx) {
  const Graph& body = body_of(ctx.node(), "body");
  const ScanParts p = scan_parts(ctx, body);
  const std::vector<Tensor> inputs = tensors_of(ctx, 0, ctx.input_count());
  if (!p.batched) {
    const std::vector<Tensor> outputs = scan(ctx, body, p, inputs);
    for (size_t i = 0; i < ctx.output_count(); ++i) ctx.out(i) = outputs[i];
    return;
  }
  const int64_t batch = inputs[0].shape().empty() ? -1 : inputs[0].shape()[0];
  std::vector<Stack> stacks(ctx.output_count());
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<Tensor> one = inputs;
    for (size_t i = 0; i < p.carried + p.scanned; ++i) {
      if (inputs[i].shape().empty() || inputs[i].shape()[0] != batch)
        ctx.fail(ErrorCode::invalid_model, "input " + std::to_string(i) + " has shape " +
                                               octet::to_string(inputs[i].shape()) + "; expected a first dimension of " +
                                               std::to_string(batch) + ", the batch");
      one[i] = inputs[i].at(b);
    }
    const std::vector<Tensor> outputs = scan(ctx, body, p, std::move(one));
    for (size_t i = 0; i < stacks.size(); ++i) stacks[i].add(ctx, outputs[i]);
  }
  for (size_t i = 0; i < stacks.size(); ++i) ctx.out(i) = stacks[i].take(ctx.node().output(i)->type(), 0, false);
}

// --- SequenceMap --------------------------------------------------------------------------------------------------------
void infer_sequence_map(InferContext& ctx) {
  const Node& node = ctx.node();
  Graph& body = body_of(node, "body");
  if (ctx.type(0).kind != ValueKind::sequence) ctx.fail("input 0 is " + to_string(ctx.type(0)) + "; expected a sequence");
  expect_interface(ctx, body, "the body", node.inputs().size(), node.outputs().size());
  std::vector<Type> types = types_of(ctx, 0, node.inputs().size());
  for (size_t i = 0; i + captures_of(node) < types.size(); ++i)
    if (types[i].kind == ValueKind::sequence) types[i].kind = ValueKind::tensor;
  infer_body(body, types);
  for (size_t i = 0; i < node.outputs().size(); ++i) {
    Type t = plain(body.outputs()[i]->type());
    if (!t.is_tensor()) ctx.fail("output " + std::to_string(i) + " of the body is " + to_string(t) + "; expected a tensor");
    t.kind = ValueKind::sequence;
    ctx.set(i, std::move(t));
  }
}

Tensor copy_of(const Tensor& t) {
  if (!t.is_tensor() || t.dtype() == DType::string) return t;
  Tensor copy(t.dtype(), t.shape());
  std::memcpy(copy.mutable_as<std::byte>(), t.as<std::byte>(), t.bytes());
  return copy;
}

void eval_sequence_map(EvalContext& ctx) {
  const Graph& body = body_of(ctx.node(), "body");
  const size_t operands = operands_of(ctx, 1);
  const std::vector<Tensor> given = tensors_of(ctx, 0, ctx.input_count());
  if (given[0].kind() != ValueKind::sequence) ctx.fail(ErrorCode::invalid_model, "input 0 is no sequence; expected one");
  const int64_t count = given[0].size();
  std::vector<std::vector<Tensor>> results(ctx.output_count());
  std::vector<Tensor> inputs = given;
  for (int64_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < operands; ++k) {
      if (given[k].kind() != ValueKind::sequence) continue;
      if (given[k].size() != count)
        ctx.fail(ErrorCode::invalid_model, "sequences have " + std::to_string(count) + " and " +
                                               std::to_string(given[k].size()) + " elements; expected one length");
      inputs[k] = given[k].at(i);
    }
    const std::vector<Tensor> outputs = ctx.run(body, inputs, i == 0 ? inputs.size() : operands);
    for (size_t k = 0; k < results.size(); ++k) results[k].push_back(copy_of(outputs[k]));
  }
  for (size_t k = 0; k < results.size(); ++k)
    ctx.out(k) = Tensor::sequence(ctx.node().output(k)->dtype(), std::move(results[k]));
}

// --- octet.Region: a graph run as it stands
// ---------------------------------------------------------------------------------
void infer_region(InferContext& ctx) {
  const Node& node = ctx.node();
  Graph& body = body_of(node, "body");
  expect_interface(ctx, body, "the region", node.inputs().size(), node.outputs().size());
  infer_body(body, types_of(ctx, 0, node.inputs().size()));
  for (size_t i = 0; i < node.outputs().size(); ++i) ctx.set(i, body.outputs()[i]->type());
}

void eval_region(EvalContext& ctx) {
  const std::vector<Tensor> inputs = tensors_of(ctx, 0, ctx.input_count());
  const std::vector<Tensor> outputs = ctx.run(body_of(ctx.node(), "body"), inputs, inputs.size());
  for (size_t i = 0; i < ctx.output_count(); ++i) ctx.out(i) = outputs[i];
}

constexpr int kManyOutputs = 1 << 20;

std::vector<OpDef> define() {
  using enum AttrKind;
  std::vector<OpDef> ops = {
      {.name = "If",
       .inputs = {{"cond"}, {"captures", true, true}},
       .attrs = {{"then_branch", graph, true}, {"else_branch", graph, true}, {"captures", i}},
       .infer = infer_if,
       .eval = eval_if},
      {.name = "Loop",
       .inputs = {{"M", true}, {"cond", true}, {"v_initial", true, true}},
       .attrs = {{"body", graph, true}, {"captures", i}},
       .infer = infer_loop,
       .eval = eval_loop},
      {.name = "Scan",
       .inputs = {{"initial_state_and_scan_inputs", true, true}},
       .attrs = {{"body", graph, true},
                 {"num_scan_inputs", i, true},
                 {"scan_input_axes", ints},
                 {"scan_input_directions", ints},
                 {"scan_output_axes", ints},
                 {"scan_output_directions", ints},
                 {"captures", i},
                 {"batched", i}},
       .infer = infer_scan,
       .eval = eval_scan},
      {.name = "SequenceMap",
       .inputs = {{"input_sequence"}, {"additional_inputs", true, true}},
       .attrs = {{"body", graph, true}, {"captures", i}},
       .infer = infer_sequence_map,
       .eval = eval_sequence_map},
      {.name = "octet.Region",
       .inputs = {{"inputs", true, true}},
       .attrs = {{"body", graph, true}},
       .infer = infer_region,
       .eval = eval_region},
  };
  for (OpDef& op : ops) {
    op.max_outputs = kManyOutputs;
    op.any_kind = true;
  }
  return ops;
}

}  // namespace

std::span<const OpDef> control_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
