// Operators that only move elements: reorders between layouts, views, concatenation, transposition, slices.
#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "engine/lower/families.h"
#include "graph/ir.h"
#include "kernels/ops.h"

namespace octet {
namespace {

using graph::Layout;
using graph::Node;
using graph::Value;

int64_t element_bytes(const Value* v) { return static_cast<int64_t>(size_of(v->dtype())); }

bool takes_known(const Node& node, std::string* why) {
  for (const Value* v : node.inputs())
    if (v && !v->type().static_shape()) return *why = "its shape is not known", false;
  for (const Value* v : node.outputs())
    if (!v->type().static_shape() || element_count(v->type().shape()) == 0)
      return *why = "its shape is not known, or empty", false;
  if (size_of(node.output()->dtype()) == 0) return *why = "strings are not moved by kernels", false;
  return true;
}

void add_copy(Lowering& lowering, const Node& node, const kernels::CopyProblem& problem, Location from, int64_t from_offset,
              Location to, int64_t to_offset) {
  std::shared_ptr<const kernels::Kernel> kernel = kernels::make_copy(lowering.isa(), problem);
  lowering.add_step(node, kernel->name(),
                    [kernel, from, to, from_offset, to_offset](const RunContext& context, int part, int parts) {
                      kernel->run({from.in(context) + from_offset, nullptr, to.in(context) + to_offset}, part, parts);
                    });
}

// Strides of an image value as it lies: channels-last or plain.
void image_strides(const Lowering& lowering, const Value* v, kernels::ImageLayout& layout, int64_t& channel) {
  const Shape s = v->type().shape();
  const int64_t e = element_bytes(v);
  if (!v->is_constant() && lowering.place(v).image) {
    layout = lowering.place(v).strides;
    channel = e;
  } else {
    layout = {e, e * s[3], e * s[3] * s[2] * s[1]};
    channel = e * s[3] * s[2];
  }
}

void lower_reorder(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  const Shape s = y->type().shape();
  kernels::CopyProblem p;
  p.element = element_bytes(y);
  p.n = s[0], p.c = s[1], p.h = s[2], p.w = s[3];
  image_strides(lowering, x, p.from, p.from_channel);
  image_strides(lowering, y, p.to, p.to_channel);
  add_copy(lowering, node, p, lowering.location(x), 0, lowering.location(y), 0);
}

// y[:, j * k + i] = x_i[:, j]: the channels of k images by turns.
bool takes_interleave(const Node& node, std::string* why) {
  if (!takes_known(node, why)) return false;
  if (node.output()->type().rank() != 4) return *why = "only images have a kernel", false;
  for (const Value* v : node.inputs())
    if (v->is_constant()) return *why = "an input is constant", false;
  return true;
}

void lower_interleave(Lowering& lowering, const Node& node) {
  const Value* y = node.output();
  const Shape s = y->type().shape();
  const auto count = static_cast<int64_t>(node.inputs().size());
  const int64_t e = element_bytes(y);
  const auto in_image = [&](const Value* v) { return lowering.place(v).image; };
  if (count == 2 && (e == 1 || e == 4) && in_image(y) && in_image(node.input(0)) && in_image(node.input(1))) {
    kernels::InterleaveProblem p;
    p.element = e;
    p.n = s[0], p.c = s[1] / 2, p.h = s[2], p.w = s[3];
    p.a = lowering.place(node.input(0)).strides;
    p.b = lowering.place(node.input(1)).strides;
    p.y = lowering.place(y).strides;
    std::shared_ptr<const kernels::Kernel> kernel = kernels::make_interleave(lowering.isa(), p);
    const Location a = lowering.location(node.input(0)), b = lowering.location(node.input(1)), to = lowering.location(y);
    lowering.add_step(node, kernel->name(), [kernel, a, b, to](const RunContext& context, int part, int parts) {
      kernel->run({a.in(context), b.in(context), to.in(context)}, part, parts);
    });
    return;
  }
  kernels::CopyProblem p;
  p.element = e;
  p.n = s[0], p.c = s[1] / count, p.h = s[2], p.w = s[3];
  for (int64_t i = 0; i < count; ++i) {
    const Value* x = node.input(static_cast<size_t>(i));
    image_strides(lowering, x, p.from, p.from_channel);
    image_strides(lowering, y, p.to, p.to_channel);
    const int64_t channel = p.to_channel;
    p.to_channel *= count;
    add_copy(lowering, node, p, lowering.location(x), 0, lowering.location(y), i * channel);
  }
}

void lower_view(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  if (!x->is_constant() && lowering.place(x).group == lowering.place(y).group) return;
  if ((!x->is_constant() && lowering.place(x).image) || lowering.place(y).image) {
    lower_eval(lowering, node);
    return;
  }
  const size_t bytes = static_cast<size_t>(element_count(y->type().shape()) * element_bytes(y));
  const Location from = lowering.location(x), to = lowering.location(y);
  lowering.add_step(node, "copy", [=](const RunContext& context, int part, int) {
    if (part == 0) std::memcpy(to.in(context), from.in(context), bytes);
  });
}

void lower_concat(Lowering& lowering, const Node& node) {
  const Value* y = node.output();
  const Shape ys = y->type().shape();
  const auto rank = static_cast<int64_t>(ys.size());
  int64_t axis = node.attr("axis", int64_t{0});
  if (axis < 0) axis += rank;
  const bool image = lowering.place(y).image;
  for (const Value* v : node.inputs()) {
    if (v->layout != y->layout || (image && (axis != 1 || v->is_constant()))) {
      lower_eval(lowering, node);
      return;
    }
  }
  const int64_t e = element_bytes(y);
  if (image) {
    int64_t channel = 0;
    for (const Value* v : node.inputs()) {
      const Shape s = v->type().shape();
      if (!lowering.is_slice(v, y, channel)) {
        const kernels::CopyProblem p{.element = e,
                                     .n = s[0],
                                     .c = s[1],
                                     .h = s[2],
                                     .w = s[3],
                                     .from = lowering.place(v).strides,
                                     .to = lowering.place(y).strides,
                                     .from_channel = e,
                                     .to_channel = e};
        add_copy(lowering, node, p, lowering.location(v), 0, lowering.location(y), channel * e);
      }
      channel += s[1];
    }
    return;
  }
  const auto product = [&](const Shape& s, int64_t from, int64_t to) {
    int64_t n = 1;
    for (int64_t i = from; i < to; ++i) n *= s[static_cast<size_t>(i)];
    return n;
  };
  struct Part {
    Location from;
    size_t bytes;
    int64_t offset;
  };
  std::vector<Part> parts_in;
  const int64_t rows = product(ys, 0, axis);
  const int64_t pitch = product(ys, axis, rank) * e;
  int64_t offset = 0;
  for (const Value* v : node.inputs()) {
    const int64_t bytes = product(v->type().shape(), axis, rank) * e;
    if (bytes > 0) parts_in.push_back({lowering.location(v), static_cast<size_t>(bytes), offset});
    offset += bytes;
  }
  const Location to = lowering.location(y);
  lowering.add_step(node, "concat", [parts_in, to, rows, pitch](const RunContext& context, int part, int parts) {
    std::byte* out = to.in(context);
    for (const Part& p : parts_in) {
      const std::byte* in = p.from.in(context);
      for (int64_t r = rows * part / parts; r < rows * (part + 1) / parts; ++r)
        std::memcpy(out + r * pitch + p.offset, in + r * static_cast<int64_t>(p.bytes), p.bytes);
    }
  });
}

// A box of elements somewhere in a tensor: `strides` of them between neighbours along each axis.
struct Box {
  Shape shape, strides;
};

// Axes of one element gone, axes that continue one another taken as one: what is left of channel shuffles and attention
// heads.
Box collapsed(const Box& box) {
  Box c;
  for (size_t i = 0; i < box.shape.size(); ++i) {
    if (box.shape[i] == 1) continue;
    if (!c.shape.empty() && c.strides.back() == box.shape[i] * box.strides[i]) {
      c.shape.back() *= box.shape[i];
      c.strides.back() = box.strides[i];
    } else {
      c.shape.push_back(box.shape[i]);
      c.strides.push_back(box.strides[i]);
    }
  }
  return c;
}

// Gathers a box of x, which may be an image, into y. Axes before the last four are loops around the kernel.
void add_strided(Lowering& lowering, const Node& node, const Value* x, const Value* y, const Box& whole,
                 int64_t from_offset) {
  const int64_t e = element_bytes(y);
  Box box = lowering.place(y).image ? whole : collapsed(whole);  // an image has four axes
  std::vector<int64_t> from_starts{from_offset * e};
  while (box.shape.size() > 4) {
    std::vector<int64_t> finer;
    for (const int64_t start : from_starts)
      for (int64_t i = 0; i < box.shape[0]; ++i) finer.push_back(start + i * box.strides[0] * e);
    from_starts = std::move(finer);
    box.shape.erase(box.shape.begin());
    box.strides.erase(box.strides.begin());
  }
  const size_t lead = 4 - box.shape.size();
  int64_t dims[4] = {1, 1, 1, 1}, from[4] = {0, 0, 0, 0};
  for (size_t i = 0; i < box.shape.size(); ++i) dims[lead + i] = box.shape[i], from[lead + i] = box.strides[i] * e;
  kernels::CopyProblem p;
  p.element = e;
  p.n = dims[0], p.c = dims[1], p.h = dims[2], p.w = dims[3];
  p.from = {from[3], from[2], from[0]};
  p.from_channel = from[1];
  if (lowering.place(y).image) {
    image_strides(lowering, y, p.to, p.to_channel);
  } else {
    p.to = {e, e * dims[3], e * dims[3] * dims[2] * dims[1]};
    p.to_channel = e * dims[3] * dims[2];
  }
  const Location at = lowering.location(x), to = lowering.location(y);
  if (from_starts.size() == 1) return add_copy(lowering, node, p, at, from_starts[0], to, 0);
  std::shared_ptr<const kernels::Kernel> kernel = kernels::make_copy(lowering.isa(), p);
  const int64_t block = element_count(box.shape) * e;
  lowering.add_step(node, kernel->name(), [=](const RunContext& context, int part, int parts) {
    std::byte* out = to.in(context);
    for (const int64_t start : from_starts) {
      kernel->run({at.in(context) + start, nullptr, out}, part, parts);
      out += block;
    }
  });
}

Shape dense_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

// Elements between neighbours along each axis, as the value lies.
Shape strides_of(const Lowering& lowering, const Value* v) {
  if (v->is_constant() || !lowering.place(v).image) return dense_strides(v->type().shape());
  const int64_t e = element_bytes(v);
  const kernels::ImageLayout& s = lowering.place(v).strides;
  return {s.image / e, 1, s.row / e, s.pixel / e};
}

// The result's axes, as they lie in the operand.
Box transposition(const Node& node) {
  const Shape from = node.input(0)->type().shape(), strides = dense_strides(from);
  std::vector<int64_t> perm = node.ints("perm");
  if (perm.empty())
    for (size_t i = from.size(); i-- > 0;) perm.push_back(static_cast<int64_t>(i));
  Box box;
  for (const int64_t p : perm) {
    box.shape.push_back(from[static_cast<size_t>(p)]);
    box.strides.push_back(strides[static_cast<size_t>(p)]);
  }
  return box;
}

bool takes_strided(const Node& node, std::string* why) {
  if (!takes_known(node, why)) return false;
  for (size_t i = 1; i < node.inputs().size(); ++i)
    if (node.input(i) && !node.input(i)->is_constant()) return *why = "bounds known only at run time", false;
  return true;
}

bool plain_operands(const Lowering& lowering, const Node& node) {
  const Value* x = node.input(0);
  if (!x->is_constant() && lowering.place(x).image) return false;
  return std::none_of(node.outputs().begin(), node.outputs().end(), [&](const Value* v) { return lowering.place(v).image; });
}

void lower_transpose(Lowering& lowering, const Node& node) {
  if (!plain_operands(lowering, node)) return lower_eval(lowering, node);
  add_strided(lowering, node, node.input(0), node.output(), transposition(node), 0);
}

// Gather of constant indices that follow each other at one distance: every second channel, one row.
struct Progression {
  int64_t first = 0, step = 1, count = 0;
};

std::optional<Progression> progression(const Node& node) {
  const Value* indices = node.input(1);
  if (!indices->is_constant() || indices->constant().size() == 0) return std::nullopt;
  const Shape shape = node.input(0)->type().shape();
  const int64_t axis = node.attr("axis", int64_t{0});
  const int64_t size = shape[static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(shape.size()) : axis)];
  std::vector<int64_t> at = indices->constant().to_s64();
  for (int64_t& i : at) {
    if (i < 0) i += size;
    if (i < 0 || i >= size) return std::nullopt;  // its evaluation says so
  }
  const Progression p{at[0], at.size() > 1 ? at[1] - at[0] : 1, static_cast<int64_t>(at.size())};
  for (size_t i = 0; i < at.size(); ++i)
    if (at[i] != p.first + static_cast<int64_t>(i) * p.step) return std::nullopt;
  return p;
}

bool takes_gather(const Node& node, std::string* why) {
  if (!takes_known(node, why)) return false;
  if (!progression(node) && node.input(0)->type().rank() == 4)
    return *why = "of images only constant indices at one distance have a kernel", false;
  return true;
}

// Rows picked by indices that are known at run time, as embeddings are. One thread does it, since an index may be wrong.
void add_picked_rows(Lowering& lowering, const Node& node, int64_t outer, int64_t size, size_t row) {
  const Value* indices = node.input(1);
  const int64_t count = element_count(indices->type().shape());
  const bool wide = indices->dtype() == DType::s64;
  const Location from = lowering.location(node.input(0)), at = lowering.location(indices),
                 to = lowering.location(node.output());
  lowering.add_step(node, "gather", [=, &node](const RunContext& context, int part, int) {
    if (part != 0) return;
    const std::byte *in = from.in(context), *list = at.in(context);
    std::byte* out = to.in(context);
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < count; ++i, out += row) {
        const int64_t given = wide ? reinterpret_cast<const int64_t*>(list)[i] : reinterpret_cast<const int32_t*>(list)[i];
        const int64_t index = given < 0 ? given + size : given;
        if (index < 0 || index >= size)
          throw Error(ErrorCode::invalid_argument, "node '" + node.name() + "' (Gather): index " + std::to_string(given) +
                                                       " is out of range; expected " + std::to_string(-size) + " to " +
                                                       std::to_string(size - 1));
        std::memcpy(out, in + static_cast<size_t>(o * size + index) * row, row);
      }
  });
}

void lower_gather(Lowering& lowering, const Node& node) {
  if (!plain_operands(lowering, node)) return lower_eval(lowering, node);
  const Value* x = node.input(0);
  const Shape shape = x->type().shape();
  const int64_t axis_attr = node.attr("axis", int64_t{0});
  const auto axis = static_cast<size_t>(axis_attr < 0 ? axis_attr + static_cast<int64_t>(shape.size()) : axis_attr);
  int64_t outer = 1, inner = 1;
  for (size_t i = 0; i < axis; ++i) outer *= shape[i];
  for (size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
  const std::optional<Progression> p = progression(node);
  if (!p) return add_picked_rows(lowering, node, outer, shape[axis], static_cast<size_t>(inner * element_bytes(x)));
  add_strided(lowering, node, x, node.output(), {{outer, p->count, inner}, {shape[axis] * inner, p->step * inner, 1}},
              p->first * inner);
}

// An axis of one element stands still; missing ones are in front.
void lower_expand(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  const Shape from = x->type().shape(), strides = strides_of(lowering, x);
  Box box{y->type().shape(), Shape(y->type().shape().size(), 0)};
  const size_t lead = box.shape.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i)
    if (from[i] != 1) box.strides[lead + i] = strides[i];
  add_strided(lowering, node, x, y, box, 0);
}

void lower_slice(Lowering& lowering, const Node& node) {
  const Value* x = node.input(0);
  const Shape shape = x->type().shape();
  Shape strides = strides_of(lowering, x);
  const std::vector<int64_t> starts = node.input(1)->constant().to_s64();
  std::vector<int64_t> axes, steps(starts.size(), 1);
  if (node.input(3))
    axes = node.input(3)->constant().to_s64();
  else
    for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (node.input(4)) steps = node.input(4)->constant().to_s64();
  int64_t offset = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    const auto axis = static_cast<size_t>(axes[i] < 0 ? axes[i] + static_cast<int64_t>(shape.size()) : axes[i]);
    const int64_t size = shape[axis];
    int64_t start = starts[i] < 0 ? starts[i] + size : starts[i];
    start = steps[i] > 0 ? std::clamp<int64_t>(start, 0, size) : std::clamp<int64_t>(start, 0, size - 1);
    offset += start * strides[axis];
    strides[axis] *= steps[i];
  }
  add_strided(lowering, node, x, node.output(), {node.output()->type().shape(), strides}, offset);
}

void lower_split(Lowering& lowering, const Node& node) {
  const Value* x = node.input(0);
  const Shape shape = x->type().shape();
  const Shape strides = strides_of(lowering, x);
  const int64_t axis_attr = node.attr("axis", int64_t{0});
  const auto axis = static_cast<size_t>(axis_attr < 0 ? axis_attr + static_cast<int64_t>(shape.size()) : axis_attr);
  int64_t offset = 0, channel = 0;
  for (const Value* y : node.outputs()) {
    if (axis != 1 || !lowering.is_slice(y, x, channel))
      add_strided(lowering, node, x, y, {y->type().shape(), strides}, offset);
    channel += y->type().shape()[axis];
    offset += y->type().shape()[axis] * strides[axis];
  }
}

}  // namespace

std::span<const LowerDef> move_lowerings() {
  static const std::vector<LowerDef> kDefs = [] {
    std::vector<LowerDef> defs;
    defs.push_back({"octet.Reorder", takes_known, lower_reorder});
    for (const char* op : {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
      defs.push_back({op, takes_known, lower_view});
    defs.push_back({"Concat", takes_known, lower_concat});
    defs.push_back({"Transpose", takes_known, lower_transpose});
    defs.push_back({"Expand", takes_known, lower_expand});
    defs.push_back({"Gather", takes_gather, lower_gather});
    defs.push_back({"Slice", takes_strided, lower_slice});
    defs.push_back({"Split", takes_strided, lower_split});
    defs.push_back({"octet.Interleave", takes_interleave, lower_interleave});
    return defs;
  }();
  return kDefs;
}

}  // namespace octet
