// Resize by nearest neighbours: pixels copied. Which pixel goes where is asked of the operator's scalar form, once, at plan time.
#include <cstring>
#include <memory>
#include <numeric>

#include "engine/lower/families.h"
#include "graph/eval.h"

namespace octet {
namespace {

using graph::Layout;
using graph::Node;
using graph::Tensor;
using graph::Value;

bool takes_resize(const Node& node, std::string* why) {
  const auto no = [&](const char* reason) {
    *why = reason;
    return false;
  };
  const Value *x = node.input(0), *y = node.output();
  if (node.attr("mode", "nearest") != "nearest") return no("only nearest neighbours have a kernel");
  if (node.attr("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize") return no("cropping has no kernel");
  for (size_t i = 1; i < node.inputs().size(); ++i)
    if (node.input(i) && !node.input(i)->is_constant()) return no("its size is known only at run time");
  if (!x->type().static_shape() || !y->type().static_shape() || x->type().rank() != 4) return no("only images of known shape have a kernel");
  const Shape in = x->type().shape(), out = y->type().shape();
  if (in[0] != out[0] || in[1] != out[1]) return no("only height and width may change");
  if (element_count(in) == 0 || element_count(out) == 0) return no("the tensor is empty");
  return true;
}

// For every output row its input row, and for every output column its input column.
struct Sources {
  std::vector<int64_t> rows, columns;
};

Sources sources_of(const Node& node) {
  const Shape in = node.input(0)->type().shape(), out = node.output()->type().shape();
  Tensor position(DType::s32, in);
  std::iota(position.mutable_as<int32_t>(), position.mutable_as<int32_t>() + position.size(), 0);
  std::vector<Tensor> operands{position};
  for (size_t i = 1; i < node.inputs().size(); ++i) operands.push_back(node.input(i) ? node.input(i)->constant() : Tensor());
  const Tensor moved = graph::evaluate(node, operands)[0];
  const auto* at = moved.as<int32_t>();
  Sources s;
  for (int64_t y = 0; y < out[2]; ++y) s.rows.push_back(at[y * out[3]] / in[3]);
  for (int64_t x = 0; x < out[3]; ++x) s.columns.push_back(at[x] % in[3]);
  return s;
}

void lower_resize(Lowering& lowering, const Node& node) {
  const Value *x = node.input(0), *y = node.output();
  if (x->is_constant() || !lowering.place(x).image || !lowering.place(y).image) return lower_eval(lowering, node);
  const Shape shape = y->type().shape();
  const auto pixel = static_cast<size_t>(shape[1]) * size_of(y->dtype());
  lowering.add_step(node, "nearest pixels", [from = lowering.location(x), to = lowering.location(y), in = lowering.place(x).strides,
                                             out = lowering.place(y).strides, s = sources_of(node), n = shape[0], pixel](
                                                const RunContext& context, int part, int parts) {
    const auto height = static_cast<int64_t>(s.rows.size());
    for (int64_t line = n * height * part / parts; line < n * height * (part + 1) / parts; ++line) {
      const int64_t image = line / height, row = line % height;
      const std::byte* source = from.in(context) + image * in.image + s.rows[static_cast<size_t>(row)] * in.row;
      std::byte* target = to.in(context) + image * out.image + row * out.row;
      for (size_t i = 0; i < s.columns.size(); ++i, target += out.pixel) std::memcpy(target, source + s.columns[i] * in.pixel, pixel);
    }
  });
}

}  // namespace

std::span<const LowerDef> resize_lowerings() {
  static const LowerDef kDefs[] = {{"Resize", takes_resize, lower_resize}};
  return kDefs;
}

}  // namespace octet
