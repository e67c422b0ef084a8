// A convolution over depth, height and width becomes one over images: depth positions are samples, kernel slices are
// channels.
//
//   x[N,C,D,H,W] → [N,D,C,HW], padded along D → for each kernel slice z: every stride-th D from z·dilation on →
//   [N·OD,g,C/g,HW]
//     Concat of the slices along the channels of a group → [N·OD, g·kd·C/g, H, W]
//     → octet.Conv by w[O, kd·C/g, kh, kw] → [N,OD,O,OH·OW] → y[N,O,OD,OH,OW]
//
// On reals and on quanta (padding is the zero point); bias, residual and activation stay with the product. The sums run over
// kernel row, kernel column, kernel slice, channel. After everything else, so that batch norms, activations and Q/DQ have
// met the product as it was; only where all sizes are known.
#include <cstring>

#include "graph/passes/conv_attributes.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

class Flattener {
 public:
  Flattener(Graph& graph, Node* node) : graph_(graph), node_(node) {}

  void run() {
    const Shape x = node_->input(kX)->type().shape(), w = node_->input(kW)->constant().shape(),
                y = node_->output()->type().shape();
    const std::vector<int64_t> strides = ints_or(*node_, "strides", 3, 1), dilations = ints_or(*node_, "dilations", 3, 1),
                               pads = ints_or(*node_, "pads", 6, 0);
    const int64_t groups = node_->attr("group", int64_t{1}), samples = y[0] * y[2];
    Value* deep = pad(depth_first(node_->input(kX), "/depth"), pads[0], pads[3]);
    std::vector<Value*> slices;
    for (int64_t z = 0; z < w[2]; ++z) {
      const auto one = [&](int64_t v) { return graph_.add_constant(Tensor::of_s64({v})); };
      const int64_t first = z * dilations[0], end = first + (y[2] - 1) * strides[0] + 1;
      Value* slice = add("Slice", {deep, one(first), one(end), one(1), one(strides[0])}, "/slice" + std::to_string(z));
      slices.push_back(
          reshape(slice, {samples, groups, x[1] / groups, x[3] * x[4]}, "/slice" + std::to_string(z) + "/groups"));
    }
    Value* stacked = slices[0];
    if (slices.size() > 1) {
      stacked = add("Concat", slices, "/slices");
      stacked->producer()->set_attr("axis", int64_t{2});
      infer_types(graph_, *stacked->producer());
    }
    Value* image = reshape(stacked, {samples, w[2] * x[1], x[3], x[4]}, "/image");

    std::vector<Value*> inputs = node_->inputs();
    inputs[kX] = image;
    inputs[kW] = stacked_weights();
    if (Value* r = node_->input(kResidual))
      inputs[kResidual] = reshape(depth_first(r, "/residual"), {samples, y[1], y[3], y[4]}, "/residual/image");
    Node* conv = graph_.add_node("octet.Conv", std::move(inputs), 1, node_->name(), node_);
    for (const auto& [key, value] : node_->attrs()) conv->set_attr(key, value);
    conv->set_attr("strides", std::vector<int64_t>{strides[1], strides[2]});
    conv->set_attr("dilations", std::vector<int64_t>{dilations[1], dilations[2]});
    conv->set_attr("pads", std::vector<int64_t>{pads[1], pads[2], pads[4], pads[5]});
    Type type = node_->output()->type();
    type.dims.reset();
    conv->output()->set_type(type);
    infer_types(graph_, *conv);

    Value* back = reshape(conv->output(), {y[0], y[2], y[1], y[3] * y[4]}, "/samples");
    back = reshape(turned(back, "/channels"), y, "/volume");
    substitute(graph_, node_->output(), back);
  }

 private:
  Value* add(const char* op, std::vector<Value*> inputs, const std::string& suffix) {
    const Value* x = inputs[0];
    Node* n = graph_.add_node(op, std::move(inputs), 1, node_->name() + suffix, node_);
    n->output()->set_type(Type{x->dtype(), std::nullopt, x->type().quant});
    if (n->op_name() != "Transpose" && n->op_name() != "Concat") infer_types(graph_, *n);
    return n->output();
  }
  Value* reshape(Value* x, const Shape& shape, const std::string& suffix) {
    return add("Reshape", {x, graph_.add_constant(Tensor::of_s64(shape))}, suffix);
  }
  // Axes 1 and 2 exchanged.
  Value* turned(Value* x, const std::string& suffix) {
    Value* y = add("Transpose", {x}, suffix);
    y->producer()->set_attr("perm", std::vector<int64_t>{0, 2, 1, 3});
    infer_types(graph_, *y->producer());
    return y;
  }
  // [N, C, D, H, W] as [N, D, C, HW].
  Value* depth_first(Value* x, const std::string& suffix) {
    const Shape s = x->type().shape();
    return turned(reshape(x, {s[0], s[1], s[2], s[3] * s[4]}, suffix + "/planes"), suffix);
  }
  Value* pad(Value* x, int64_t before, int64_t after) {
    if (before == 0 && after == 0) return x;
    const auto zeros = [&](int64_t depth) {
      Shape s = x->type().shape();
      s[1] = depth;
      Tensor t(x->dtype(), s);
      if (!x->quant()) return graph_.add_constant(std::move(t));
      std::memset(t.mutable_as<uint8_t>(), static_cast<uint8_t>(x->quant()->zero_point[0]), t.bytes());
      return quantized_constant(graph_, std::move(t), *x->quant(), node_->name() + "/padding");
    };
    std::vector<Value*> parts;
    if (before > 0) parts.push_back(zeros(before));
    parts.push_back(x);
    if (after > 0) parts.push_back(zeros(after));
    Value* y = add("Concat", parts, "/padded");
    y->producer()->set_attr("axis", int64_t{1});
    y->set_type(Type{x->dtype(), std::nullopt, x->type().quant});
    infer_types(graph_, *y->producer());
    return y;
  }
  // [O, C / g, kd, kh, kw] as [O, kd * C / g, kh, kw].
  Value* stacked_weights() {
    const Value* w = node_->input(kW);
    const Tensor& t = w->constant();
    const Shape& s = t.shape();
    Tensor out(t.dtype(), {s[0], s[2] * s[1], s[3], s[4]});
    const auto plane = static_cast<size_t>(s[3] * s[4]) * size_of(t.dtype());
    for (int64_t o = 0; o < s[0]; ++o)
      for (int64_t c = 0; c < s[1]; ++c)
        for (int64_t z = 0; z < s[2]; ++z)
          std::memcpy(out.mutable_as<std::byte>() + static_cast<size_t>((o * s[2] + z) * s[1] + c) * plane,
                      t.as<std::byte>() + static_cast<size_t>((o * s[1] + c) * s[2] + z) * plane, plane);
    return w->quant() ? quantized_constant(graph_, std::move(out), *w->quant(), w->name())
                      : graph_.add_constant(std::move(out), w->name());
  }

  Graph& graph_;
  Node* node_;
};

bool is_deep(const Node& node) {
  if (node.op_name() != "octet.Conv" || !node.input(kW)->is_constant() || node.input(kXScale)) return false;
  const Value *x = node.input(kX), *y = node.output();
  return is_rank(x, 5) && x->type().static_shape() && y->type().static_shape() && element_count(y->type().shape()) > 0;
}

}  // namespace

int flatten_depth(Graph& graph) {
  int changes = 0;
  for (Node* node : graph.node_list()) {
    if (!is_deep(*node)) continue;
    Flattener(graph, node).run();
    ++changes;
  }
  return changes;
}

}  // namespace octet::graph
