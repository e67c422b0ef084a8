// octet.Conv and octet.Gemm onto kernels/conv.h, and what octet.ConvTranspose shares with them. A Gemm is a 1x1 convolution
// over one image row whose pixels are the matrix rows.
#include "engine/lower/product.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>

#include "engine/lower/bounded.h"
#include "engine/lower/families.h"
#include "graph/op_def.h"
#include "kernels/conv.h"
#include "kernels/ops.h"
#include "octet/numerics.h"

namespace octet {
namespace {

using graph::Layout;
using graph::Node;
using graph::Value;
using kernels::ConvShape;
using kernels::Epilogue;
using kernels::ResidualKind;

bool is_gemm(const Node& node) { return node.op_name() == "octet.Gemm"; }
bool is_integer(const Node& node) { return node.input(kX)->dtype() == DType::u8; }
bool is_dynamic(const Node& node) { return node.input(kXScale) != nullptr; }

ConvShape conv_shape(const Node& node) {
  const Shape x = node.input(kX)->type().shape(), w = node.input(kW)->type().shape(), y = node.output()->type().shape();
  ConvShape s;
  if (is_gemm(node)) {
    s.ic = w[1];
    s.oc = w[0];
    s.iw = s.ow = s.ic == 0 ? 0 : element_count(x) / s.ic;
    return s;
  }
  const auto strides = node.ints("strides"), pads = node.ints("pads"), dilations = node.ints("dilations");
  s.n = x[0], s.ic = x[1], s.ih = x[2], s.iw = x[3];
  s.oc = y[1], s.oh = y[2], s.ow = y[3];
  s.kh = w[2], s.kw = w[3];
  if (strides.size() == 2) s.stride_h = strides[0], s.stride_w = strides[1];
  if (dilations.size() == 2) s.dilation_h = dilations[0], s.dilation_w = dilations[1];
  if (pads.size() == 4) s.pad_top = pads[0], s.pad_left = pads[1];
  s.groups = node.attr("group", int64_t{1});
  return s;
}

Halo conv_halo(const Node& node) {
  const ConvShape s = conv_shape(node);
  const auto reach = [](int64_t out, int64_t stride, int64_t k, int64_t dilation, int64_t pad, int64_t in) {
    return static_cast<int>(std::max<int64_t>(0, (out - 1) * stride + (k - 1) * dilation - pad - (in - 1)));
  };
  return {static_cast<int>(s.pad_top), static_cast<int>(s.pad_left),
          reach(s.oh, s.stride_h, s.kh, s.dilation_h, s.pad_top, s.ih),
          reach(s.ow, s.stride_w, s.kw, s.dilation_w, s.pad_left, s.iw)};
}

}  // namespace

bool takes_product(const Node& node, std::string* why) {
  const Value *x = node.input(kX), *w = node.input(kW), *y = node.output();
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  if (!w->is_constant()) return no("the weights are not constant");
  if (!x->type().static_shape() || !y->type().static_shape()) return no("its shape is not known");
  if (!is_gemm(node) && x->type().rank() != 4)
    return no("only two-dimensional convolution has kernels; flatten_depth did not make it one");
  if (element_count(y->type().shape()) == 0 || element_count(x->type().shape()) == 0) return no("the tensor is empty");
  if (x->dtype() == DType::f32) return w->dtype() == DType::f32 ? true : no("mixed element types");
  if (x->dtype() != DType::u8 || (w->dtype() != DType::s8 && w->dtype() != DType::u8))
    return no("element types without kernels");
  if (x->quant() && !x->quant()->per_tensor()) return no("activations quantized per channel");
  const DType out = y->dtype();
  if (out != DType::u8 && out != DType::f32 && out != DType::s32) return no("output type without kernels");
  if (out == DType::u8 && !y->quant()) return no("u8 output without quantization parameters");
  return true;
}

namespace {

std::vector<float> channel_scales(const Value* w, int64_t n) {
  std::vector<float> scale(static_cast<size_t>(n), 1.0f);
  if (const QuantParams* q = w->quant())
    for (size_t i = 0; i < scale.size(); ++i) scale[i] = q->scale[q->scale.size() == 1 ? 0 : i];
  return scale;
}

kernels::ActKind set_activation(const Node& node, Epilogue& e) {
  const std::string act = node.attr("act", "");
  if (act.empty()) return kernels::ActKind::none;
  if (act == "gelu") return kernels::ActKind::gelu;
  if (act == "leaky_relu") {
    e.alpha = node.attr("alpha", 0.01f);
    return kernels::ActKind::leaky_relu;
  }
  const bool relu = act == "relu";
  constexpr float kInf = std::numeric_limits<float>::infinity();
  e.act_lo = relu ? 0.0f : node.attr("act_min", -kInf);
  e.act_hi = relu ? kInf : node.attr("act_max", kInf);
  if (e.out == DType::u8) {
    const QuantParams& q = *node.output()->quant();
    const auto quantum = [&](float v) { return numerics::quantize(v, q.scale[0], q.zero_point[0], 0, 255); };
    e.lo = std::max(e.lo, quantum(e.act_lo));
    e.hi = std::min(e.hi, quantum(e.act_hi));
    e.act_lo = e.act_hi = 0;
    return kernels::ActKind::none;
  }
  return kernels::ActKind::clamp;
}

}  // namespace

Epilogue make_epilogue(const Node& node, int64_t n) {
  Epilogue e;
  const Value *x = node.input(kX), *bias = node.input(kBias), *residual = node.input(kResidual), *y = node.output();
  e.out = y->dtype();
  const bool integer = is_integer(node);
  const QuantParams* yq = e.out == DType::u8 ? y->quant() : nullptr;
  const bool twice = node.has_attr("mid_scale");
  const float sy = yq ? yq->scale[0] : 1.0f;
  const float divisor = twice ? node.attr("mid_scale", 1.0f) : sy;
  if (integer && e.out != DType::s32) {
    const float sx = x->quant() ? x->quant()->scale[0] : 1.0f;
    e.scale = channel_scales(node.input(kW), n);
    for (float& s : e.scale) s = yq ? (sx * s) / divisor : sx * s;
  }
  if (bias && bias->dtype() == DType::f32) {
    e.bias = bias->constant().to_f32();
    if (yq)
      for (float& b : e.bias) b = b / divisor;
  }
  if (residual) {
    const QuantParams* rq = residual->quant();
    if (residual->dtype() == DType::f32) {
      e.residual = ResidualKind::f32;
      e.residual_scale = yq ? 1.0f / sy : 1.0f;
    } else {
      e.residual = twice ? ResidualKind::u8_twice : ResidualKind::u8_once;
      e.residual_scale = yq ? rq->scale[0] / sy : rq->scale[0];
      e.residual_zero_point = rq->zero_point[0];
    }
  }
  if (twice) {
    e.mid_scale = divisor / sy;
    e.mid_zero_point = static_cast<int32_t>(node.attr("mid_zero_point", int64_t{0}));
  }
  if (yq) e.zero_point = yq->zero_point[0];
  e.act = set_activation(node, e);
  return e;
}

std::shared_ptr<const kernels::PackedWeights> pack_product(Lowering& lowering, const Node& node, const ConvShape& shape,
                                                           const WeightPart* part) {
  const graph::Tensor& w = node.input(kW)->constant();
  std::vector<graph::Tensor> sources{w};
  kernels::ConvWeights weights;
  weights.data = w.as<std::byte>();
  weights.dtype = w.dtype();
  std::vector<int32_t> zero_points;
  const QuantParams* wq = node.input(kW)->quant();
  if (wq && std::any_of(wq->zero_point.begin(), wq->zero_point.end(), [](int32_t z) { return z != 0; }))
    zero_points = wq->zero_point;
  weights.zero_points = zero_points;
  const Value* bias = node.input(kBias);
  if (bias && bias->dtype() == DType::s32) {
    sources.push_back(bias->constant());
    weights.bias = {bias->constant().as<int32_t>(), static_cast<size_t>(bias->constant().size())};
  }
  const QuantParams* xq = node.input(kX)->quant();
  weights.x_zero_point = xq && !xq->zero_point.empty() ? xq->zero_point[0] : 0;
  weights.x_zero_point_at_run = is_dynamic(node);
  char key[256];
  std::snprintf(key, sizeof key, "%s %p %p z%d,%d oc%ld ic%ld k%ldx%ld g%ld d%ldx%ld zw",
                std::string(lowering.isa().name).c_str(), weights.data, static_cast<const void*>(weights.bias.data()),
                weights.x_zero_point, weights.x_zero_point_at_run, static_cast<long>(shape.oc), static_cast<long>(shape.ic),
                static_cast<long>(shape.kh), static_cast<long>(shape.kw), static_cast<long>(shape.groups),
                static_cast<long>(shape.dilation_h), static_cast<long>(shape.dilation_w));
  std::string full_key = key;
  if (kernels::few_rows(shape)) full_key += " rows " + std::to_string(shape.n * shape.oh * shape.ow);
  full_key +=
      " s" + std::to_string(shape.stride_h) + "x" + std::to_string(shape.stride_w);  // depthwise packing depends on it
  if (part) full_key += " part " + part->name;
  for (const int32_t z : zero_points) full_key += ' ' + std::to_string(z);
  return lowering.weights().get(full_key, sources, [&] {
    const graph::Tensor cut = part ? part->cut(w) : w;
    weights.data = cut.as<std::byte>();
    return kernels::pack_weights(lowering.isa(), shape, weights);
  });
}

kernels::ImageLayout product_layout(const Lowering& lowering, const Value* value, int64_t channels) {
  const Place& place = lowering.place(value);
  if (place.image) return place.strides;
  const int64_t pixel = channels * static_cast<int64_t>(size_of(value->dtype()));
  const int64_t total =
      static_cast<int64_t>(element_count(value->type().shape())) * static_cast<int64_t>(size_of(value->dtype()));
  return {pixel, total, total};
}

bool product_in_images(const Node& node) {
  return node.input(kX)->layout == Layout::channels_last && node.output()->layout == Layout::channels_last &&
         (!node.input(kResidual) || node.input(kResidual)->layout == Layout::channels_last);
}

void add_run_time_halo(Lowering& lowering, const Node& node, const Node& at) {
  const Value* value = node.input(kX);
  const Location x = lowering.location(value), zero_point = lowering.location(node.input(kXZeroPoint));
  StepInfo& info =
      lowering.add_step(at, "halo",
                        [x, zero_point, place = lowering.place(value), shape = value->type().shape()](
                            const RunContext& context, int part, int) {
                          if (part != 0) return;
                          kernels::fill_halo(x.in(context), place.strides, shape[0], shape[2], shape[3], shape[1],
                                             place.halo.top, place.halo.left, place.halo.bottom, place.halo.right,
                                             *reinterpret_cast<const uint8_t*>(zero_point.in(context)), 1);
                        });
  info.gmac = 0;
}

ProductArgs::ProductArgs(Lowering& lowering, const Node& node)
    : x_(lowering.location(node.input(kX))),
      has_residual_(node.input(kResidual) != nullptr),
      dynamic_(is_dynamic(node)),
      needs_halo_(dynamic_ && !is_gemm(node) && !lowering.place(node.input(kX)).halo.empty()) {
  if (has_residual_) residual_ = lowering.location(node.input(kResidual));
  if (!dynamic_) return;
  x_scale_ = lowering.location(node.input(kXScale));
  x_zero_point_ = lowering.location(node.input(kXZeroPoint));
}

kernels::ConvArgs ProductArgs::of(const RunContext& context, int part) const {
  kernels::ConvArgs args;
  args.x = x_.in(context);
  args.workspace = context.workspace(part);
  if (has_residual_) args.residual = residual_.in(context);
  if (dynamic_) {
    args.x_scale = *reinterpret_cast<const float*>(x_scale_.in(context));
    args.x_zero_point = *reinterpret_cast<const uint8_t*>(x_zero_point_.in(context));
  }
  return args;
}

void add_product_step(Lowering& lowering, const Node& node, std::vector<BoundConv> convs, const std::string& kernel,
                      const Node* at) {
  if (!at) at = &node;
  for (const BoundConv& bound : convs) {
    lowering.need_workspace(bound.conv->workspace_bytes());
    lowering.add_product(bound.conv);
  }
  const ProductArgs operands(lowering, node);
  const Location y = lowering.location(at->output());
  const bool ranged = lowering.keeps_range(node.output());
  const Location range = ranged ? *lowering.range(node.output()) : Location{};
  if (operands.needs_halo()) add_run_time_halo(lowering, node, *at);
  StepInfo& info = lowering.add_step(
      *at, kernel, [convs = std::move(convs), operands, y, range, ranged](const RunContext& context, int part, int parts) {
        kernels::ConvArgs args = operands.of(context, part);
        const auto* residual = static_cast<const std::byte*>(args.residual);
        if (ranged) {
          args.range = reinterpret_cast<float*>(range.in(context)) + 2 * part;
          args.range[0] = args.range[1] = 0;
        }
        for (const BoundConv& bound : convs) {
          args.y = y.in(context) + bound.y_offset;
          args.residual = residual ? residual + bound.residual_offset : nullptr;
          bound.conv->run(args, part, parts);
        }
      });
  if (at == &node) return;
  info.op = std::string(node.op_name());
  info.node = node.name().empty() ? node.output()->name() : node.name();
  info.gmac = product_gmac(node);
  info.bytes = step_bytes(node);
}

// A residual is read, row by row, by the unit that then writes the same elements.
std::vector<int> product_in_place(const Node& node) {
  return node.input(kResidual) ? std::vector<int>{static_cast<int>(kResidual)} : std::vector<int>{};
}

kernels::ConvProblem product_problem(const Lowering& lowering, const Node& node) {
  kernels::ConvProblem problem;
  problem.shape = conv_shape(node);
  problem.x_dtype = node.input(kX)->dtype();
  problem.x = product_layout(lowering, node.input(kX), problem.shape.ic);
  problem.y = product_layout(lowering, node.output(), problem.shape.oc);
  if (const Value* r = node.input(kResidual)) problem.residual = product_layout(lowering, r, problem.shape.oc);
  problem.epilogue = make_epilogue(node, problem.shape.oc);
  return problem;
}

double product_gmac(const Node& node) {
  const graph::Tensor& w = node.input(kW)->constant();
  return static_cast<double>(element_count(node.output()->type().shape())) * static_cast<double>(w.size() / w.shape()[0]) /
         1e9;
}

namespace {

// The table that nothing else shares this product's 8 bits with and that overwrites them where they lie: the product can
// store what it makes of them at once. Null when there is none.
const Node* table_behind(const Lowering& lowering, const Node& node) {
  const Value* y = node.output();
  if (y->dtype() != DType::u8 || y->uses().size() != 1 || lowering.graph().is_output(y)) return nullptr;
  const Node* table = y->uses()[0].node;
  if (table->op_name() != "octet.Table" || !find_lowering(*table)) return nullptr;
  const Value* out = table->output();
  if (y->layout != out->layout || lowering.slot(y) >= 0 || lowering.slot(out) >= 0) return nullptr;
  const Place &from = lowering.place(y), &to = lowering.place(out);
  return from.offset == to.offset && from.image == to.image && from.strides == to.strides ? table : nullptr;
}

void lower_product(Lowering& lowering, const Node& node) {
  if (foreseen_quantization(lowering.graph(), node)) return;  // with that (bounded.cpp)
  if (!is_gemm(node) && !product_in_images(node)) return lower_eval(lowering, node);
  kernels::ConvProblem problem = product_problem(lowering, node);
  problem.epilogue.keeps_range = problem.epilogue.out == DType::f32 && lowering.range(node.output());
  auto weights = pack_product(lowering, node, problem.shape);
  const Node* table = kernels::joins_table(lowering.isa(), *weights) ? table_behind(lowering, node) : nullptr;
  if (table) {
    const auto* entries = table->input(1)->constant().as<uint8_t>();
    problem.epilogue.table.assign(entries, entries + 256);
  }

  std::string reason;
  std::shared_ptr<kernels::Conv> conv = kernels::make_conv(lowering.isa(), problem, weights, lowering.threads(), &reason);
  if (!conv) return lower_eval(lowering, node);
  if (problem.epilogue.keeps_range) lowering.keep_range(node.output());
  if (table) lowering.set_done(table);
  const std::string name = conv->name() + (table ? ", table, " : ", ") + kernels::describe(*weights);
  add_product_step(lowering, node, {{std::move(conv)}}, name, table);
}

}  // namespace

std::span<const LowerDef> product_lowerings() {
  static const LowerDef kDefs[] = {
      {"octet.Conv", takes_product, lower_product, conv_halo, product_in_place},
      {"octet.Gemm", takes_product, lower_product, nullptr, product_in_place},
  };
  return kDefs;
}

}  // namespace octet
