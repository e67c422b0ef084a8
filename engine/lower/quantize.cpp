// QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, Cast of integers to float, and Softmax.
#include <algorithm>
#include <memory>

#include "engine/lower/bind.h"
#include "engine/lower/bounded.h"
#include "engine/lower/families.h"
#include "kernels/fake_quantize.h"
#include "kernels/partition.h"

namespace octet {
namespace {

using graph::Node;
using graph::Value;

bool takes_quantize(const Node& node, std::string* why) {
  const bool forward = node.op_name() == "QuantizeLinear";
  const Value *x = node.input(0), *y = node.output(), *scale = node.input(1), *zero_point = node.input(2);
  const Value *real = forward ? x : y, *quantum = forward ? y : x;
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  if (!y->type().static_shape()) return no("its shape is not known");
  if (element_count(y->type().shape()) == 0) return no("the tensor is empty");
  if (real->dtype() != DType::f32 || quantum->dtype() != DType::u8) return no("only float32 and uint8 have a kernel");
  if (x->is_constant()) return no("its input is constant");
  if (!scale->is_constant() || (zero_point && !zero_point->is_constant())) return no("scale known only at run time");
  if (scale->constant().size() != 1) return no("only per-tensor quantization has a kernel");
  return true;
}

int32_t zero_point_of(const Node& node) {
  return node.input(2) ? static_cast<int32_t>(node.input(2)->constant().at_s64(0)) : 0;
}

// Of a plain image to one that lies channels-last.
void lower_quantize_pixels(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  const Shape s = y->type().shape();
  kernels::QuantizePixelsProblem p;
  p.n = s[0], p.h = s[2], p.w = s[3];
  p.y = lowering.place(y).strides;
  p.scale = node.input(1)->constant().to_f32().at(0);
  p.zero_point = zero_point_of(node);
  std::shared_ptr<const kernels::Kernel> kernel = kernels::make_quantize_pixels(lowering.isa(), p);
  const Location from = lowering.location(x), to = lowering.location(y);
  lowering.add_step(node, kernel->name(), [kernel, from, to](const RunContext& context, int part, int parts) {
    kernel->run({from.in(context), nullptr, to.in(context)}, part, parts);
  });
}

void lower_quantize(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  if (x->layout != y->layout) {
    quantizes_to_pixels(node) ? lower_quantize_pixels(lowering, node) : lower_eval(lowering, node);
    return;
  }
  const std::vector<const Value*> values{y, x};
  const Walk w = walk(lowering, values);
  kernels::QuantizeProblem p;
  p.rows = w.rows, p.length = w.length;
  p.y_outer = w.operands[0].row, p.x_outer = w.operands[1].row;
  p.scale = node.input(1)->constant().to_f32().at(0);
  p.zero_point = zero_point_of(node);
  const bool forward = node.op_name() == "QuantizeLinear";
  add_walk_step(lowering, node,
                forward ? kernels::make_quantize(lowering.isa(), p) : kernels::make_dequantize(lowering.isa(), p), w,
                values);
}

bool takes_fake(const Node& node, std::string* why) {
  const Value* x = node.input(0);
  const bool fits =
      x->dtype() == DType::f32 && x->type().static_shape() && element_count(x->type().shape()) > 0 && !x->is_constant();
  if (!fits) *why = "only float32 of known shape has a kernel";
  return fits;
}

void lower_fake(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  if (x->layout != y->layout) return lower_eval(lowering, node);
  const std::vector<const Value*> values{y, x};
  const Walk w = walk(lowering, values);
  kernels::FakeQuantizeProblem p;
  p.rows = w.rows, p.length = w.length;
  p.y_outer = w.operands[0].row, p.x_outer = w.operands[1].row;
  p.scale = node.attr("scale", 1.0f);
  p.zero_point = static_cast<int32_t>(node.attr("zero_point", int64_t{0}));
  p.least = static_cast<int32_t>(node.attr("least", int64_t{0}));
  p.most = static_cast<int32_t>(node.attr("most", int64_t{65535}));
  add_walk_step(lowering, node, kernels::make_fake_quantize(lowering.isa(), p), w, values);
}

std::vector<int> fake_in_place(const Node&) { return {0}; }

bool takes_dynamic(const Node& node, std::string* why) {
  const Value* x = node.input(0);
  if (!x->type().static_shape() || element_count(x->type().shape()) == 0 || x->is_constant() || x->dtype() != DType::f32) {
    *why = "only float32 of known shape has a kernel";
    return false;
  }
  return true;
}

struct DynamicSteps {
  std::shared_ptr<const kernels::DynamicQuantize> kernel;
  Location x, y, scale, zero_point, range;
  std::vector<int64_t> x_starts, y_starts;
};

DynamicSteps dynamic_steps(const Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output(0);
  const Walk w = walk(lowering, {y, x});
  kernels::DynamicQuantizeProblem p;
  p.rows = w.rows, p.length = w.length;
  p.y_outer = w.operands[0].row, p.x_outer = w.operands[1].row;
  return {kernels::make_dynamic_quantize(lowering.isa(), p),
          lowering.location(x),
          lowering.location(y),
          lowering.location(node.output(1)),
          lowering.location(node.output(2)),
          *lowering.range(x),
          w.operands[1].starts,
          w.operands[0].starts};
}

float* floats(std::byte* bytes) { return reinterpret_cast<float*>(bytes); }

void lower_dynamic(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output(0);
  if (x->layout != y->layout) {
    lower_eval(lowering, node);
    return;
  }
  if (const Node* product = foreseen_product(lowering.graph(), node)) return lower_foreseen(lowering, *product, node);
  if (!lowering.keeps_range(x))
    lowering.add_step(node, "min max", [s = dynamic_steps(lowering, node)](const RunContext& context, int part, int parts) {
      float* pairs = floats(s.range.in(context));
      float *min = pairs + 2 * part, *max = min + 1;
      float least = 0, most = 0;
      for (const int64_t start : s.x_starts) {
        s.kernel->min_max(floats(s.x.in(context) + start), pairs, part, parts);
        least = std::min(least, *min);
        most = std::max(most, *max);
      }
      *min = least;
      *max = most;
    });
  lowering.add_step(node, "quantize dynamic", dynamic_quantization(lowering, node));
}

}  // namespace

Lowering::Run dynamic_quantization(const Lowering& lowering, const Node& node) {
  return [s = dynamic_steps(lowering, node)](const RunContext& context, int part, int parts) {
    for (size_t i = 0; i < s.x_starts.size(); ++i)
      s.kernel->apply(floats(s.x.in(context) + s.x_starts[i]), floats(s.range.in(context)),
                      reinterpret_cast<uint8_t*>(s.y.in(context) + s.y_starts[i]), floats(s.scale.in(context)),
                      reinterpret_cast<uint8_t*>(s.zero_point.in(context)), part, parts);
  };
}

namespace {

// Masks and positions come as integers or bools and are computed with as float: few elements, one a time.
using Conversion = void (*)(const std::byte* x, float* y, int64_t count);

template <class T>
void convert(const std::byte* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<float>(reinterpret_cast<const T*>(x)[i]);
}

Conversion conversion_from(DType dtype) {
  switch (dtype) {
    case DType::boolean:
    case DType::u8: return convert<uint8_t>;
    case DType::s8: return convert<int8_t>;
    case DType::s32: return convert<int32_t>;
    case DType::s64: return convert<int64_t>;
    default: return nullptr;
  }
}

bool takes_cast(const Node& node, std::string* why) {
  const Value *x = node.input(0), *y = node.output();
  if (!y->type().static_shape() || element_count(y->type().shape()) == 0 || y->dtype() != DType::f32 ||
      !conversion_from(x->dtype())) {
    *why = "only integers and bools of known shape to float32 have a kernel";
    return false;
  }
  return true;
}

void lower_cast(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  if (lowering.place(y).image || (!x->is_constant() && lowering.place(x).image)) return lower_eval(lowering, node);
  lowering.add_step(
      node, "convert",
      [convert = conversion_from(x->dtype()), element = size_of(x->dtype()), count = element_count(y->type().shape()),
       from = lowering.location(x), to = lowering.location(y)](const RunContext& context, int part, int parts) {
        const kernels::WorkRange mine = kernels::split_work(count, part, parts);
        convert(from.in(context) + static_cast<size_t>(mine.begin) * element,
                reinterpret_cast<float*>(to.in(context)) + mine.begin, mine.size());
      });
}

// The size of the axis when nothing lies behind it in memory; else 0.
int64_t softmax_length(const Node& node) {
  const Shape shape = node.input(0)->type().shape();
  const auto rank = static_cast<int64_t>(shape.size());
  int64_t axis = node.attr("axis", int64_t{-1});
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) return 0;
  for (int64_t i = axis + 1; i < rank; ++i)
    if (shape[static_cast<size_t>(i)] != 1) return 0;
  return shape[static_cast<size_t>(axis)];
}

bool takes_softmax(const Node& node, std::string* why) {
  const Value* x = node.input(0);
  if (x->dtype() != DType::f32 || !x->type().static_shape() || element_count(x->type().shape()) == 0) {
    *why = "only float32 of known shape has a kernel";
    return false;
  }
  if (softmax_length(node) == 0) {
    *why = "only the last axis has a kernel";
    return false;
  }
  return true;
}

void lower_softmax(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  if (lowering.place(y).image || x->is_constant() || lowering.place(x).image) {
    lower_eval(lowering, node);
    return;
  }
  const int64_t length = softmax_length(node);
  std::shared_ptr<const kernels::Kernel> kernel =
      kernels::make_softmax(lowering.isa(), {element_count(x->type().shape()) / length, length});
  const std::vector<const Value*> values{y, x};
  add_walk_step(lowering, node, kernel, walk(lowering, values), values);
}

std::vector<int> softmax_in_place(const Node&) { return {0}; }

}  // namespace

bool quantizes_to_pixels(const Node& node) {
  const Value* x = node.input(0);
  if (node.op_name() != "QuantizeLinear" || !x->type().static_shape()) return false;
  const Shape s = x->type().shape();
  std::string why;
  return s.size() == 4 && s[1] == 3 && s[3] >= kernels::kLeastPixelRow && takes_quantize(node, &why);
}

std::span<const LowerDef> quantize_lowerings() {
  static const LowerDef kDefs[] = {
      {"QuantizeLinear", takes_quantize, lower_quantize},
      {"DequantizeLinear", takes_quantize, lower_quantize},
      {"octet.FakeQuantize", takes_fake, lower_fake, nullptr, fake_in_place},
      {"DynamicQuantizeLinear", takes_dynamic, lower_dynamic},
      {"Cast", takes_cast, lower_cast},
      {"Softmax", takes_softmax, lower_softmax, nullptr, softmax_in_place},
  };
  return kDefs;
}

}  // namespace octet
