// Einsum: the sum over every index that the output lacks, of the product of the operands. Each output is one chain over the
// summed indices in the order of their first appearance: acc = fma(product of all but the last operand, last operand, acc),
// from +0. An ellipsis stands for leading axes that broadcast; without an explicit output it is the indices that occur once,
// in order.
#include <cmath>
#include <map>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

struct Equation {
  std::vector<std::string> operands;  // one character an axis; ellipsis axes are digits, counted from the right
  std::string output;
};

template <class Ctx>
std::optional<Equation> parse(const Ctx& ctx) {
  std::string text;
  for (const char c : ctx.node().attr("equation", ""))
    if (c != ' ') text += c;
  const size_t arrow = text.find("->");
  std::vector<std::string> terms(1);
  for (const char c : text.substr(0, arrow)) {
    if (c == ',')
      terms.emplace_back();
    else
      terms.back() += c;
  }
  if (terms.size() != count_inputs(ctx))
    fail(ctx, "equation '" + text + "' has " + std::to_string(terms.size()) + " operands; expected " +
                  std::to_string(count_inputs(ctx)));
  Equation e;
  size_t widest = 0;
  const auto expand = [&](std::string term, size_t axes) {
    const size_t dots = term.find("...");
    if (dots == std::string::npos) return term;
    std::string digits;
    for (size_t i = axes; i-- > 0;) digits += static_cast<char>('0' + i);
    return term.replace(dots, 3, digits);
  };
  for (size_t i = 0; i < terms.size(); ++i) {
    const MaybeDims dims = dims_of(ctx, i);
    if (!dims) return std::nullopt;
    const bool ellipsis = terms[i].find("...") != std::string::npos;
    const size_t letters = terms[i].size() - (ellipsis ? 3 : 0);
    if (ellipsis ? dims->size() < letters : dims->size() != letters)
      fail(ctx, "operand " + std::to_string(i) + " has shape " + describe(*dims) + ", which '" + terms[i] +
                    "' does not describe");
    const size_t extra = dims->size() - letters;
    if (extra > 9) fail(ctx, "an ellipsis stands for " + std::to_string(extra) + " axes; expected at most 9");
    if (ellipsis) widest = std::max(widest, extra);
    e.operands.push_back(expand(terms[i], extra));
  }
  if (arrow != std::string::npos) {
    e.output = expand(text.substr(arrow + 2), widest);
    return e;
  }
  std::map<char, int> seen;
  for (const std::string& term : e.operands)
    for (const char c : term) ++seen[c];
  for (size_t i = widest; i-- > 0;) e.output += static_cast<char>('0' + i);
  for (const auto& [c, count] : seen)
    if (count == 1 && (c < '0' || c > '9')) e.output += c;
  return e;
}

template <class Ctx>
std::map<char, Dim> sizes_of(const Ctx& ctx, const Equation& e) {
  std::map<char, Dim> sizes;
  for (size_t i = 0; i < e.operands.size(); ++i) {
    const MaybeDims dims = dims_of(ctx, i);
    for (size_t a = 0; a < dims->size(); ++a) {
      const auto [it, fresh] = sizes.emplace(e.operands[i][a], (*dims)[a]);
      if (!fresh) it->second = broadcast_dim(ctx, it->second, (*dims)[a]);
    }
  }
  for (const char c : e.output)
    if (!sizes.contains(c)) fail(ctx, std::string("the output index '") + c + "' occurs in no operand");
  return sizes;
}

void infer_einsum(InferContext& ctx) {
  for (size_t i = 1; i < count_inputs(ctx); ++i) expect_same_dtype(ctx, 0, i);
  const auto e = parse(ctx);
  if (!e) return set_dims(ctx, 0, dtype_of(ctx, 0), std::nullopt);
  std::map<char, Dim> sizes = sizes_of(ctx, *e);
  Dims out;
  for (const char c : e->output) out.push_back(sizes[c]);
  set_dims(ctx, 0, dtype_of(ctx, 0), out);
}

template <class T>
Tensor contract(EvalContext& ctx) {
  const Equation e = *parse(ctx);
  std::map<char, Dim> sizes = sizes_of(ctx, e);
  std::string summed;
  for (const std::string& term : e.operands)
    for (const char c : term)
      if (e.output.find(c) == std::string::npos && summed.find(c) == std::string::npos) summed += c;
  const auto shape_of = [&](const std::string& indices) {
    Shape shape;
    for (const char c : indices) shape.push_back(sizes[c].value);
    return shape;
  };
  // Offsets of operand `i` over the walk through `indices`: strides of repeated indices add up, broadcast axes stand still.
  const auto offsets = [&](size_t i, const std::string& indices) {
    const Shape& shape = ctx.in(i).shape();
    const Strides dense = strides_of(shape);
    Strides strides;
    for (const char c : indices) {
      int64_t stride = 0;
      for (size_t a = 0; a < shape.size(); ++a)
        if (e.operands[i][a] == c && shape[a] != 1) stride += dense[a];
      strides.push_back(stride);
    }
    std::vector<int64_t> list;
    for_each_run<1>(shape_of(indices), {strides}, [&](const auto& at, int64_t length, const auto& step) {
      for (int64_t k = 0; k < length; ++k) list.push_back(at[0] + k * step[0]);
    });
    return list;
  };
  const size_t count = e.operands.size();
  std::vector<std::vector<int64_t>> outer, inner;
  for (size_t i = 0; i < count; ++i) {
    outer.push_back(offsets(i, e.output));
    inner.push_back(offsets(i, summed));
  }
  Tensor y(ctx.in(0).dtype(), shape_of(e.output));
  for (size_t o = 0; o < outer[0].size(); ++o) {
    T acc{};
    for (size_t k = 0; k < inner[0].size(); ++k) {
      const auto element = [&](size_t i) { return ctx.in(i).as<T>()[outer[i][o] + inner[i][k]]; };
      T left{1};
      for (size_t i = 0; i + 1 < count; ++i) left = static_cast<T>(left * element(i));
      if constexpr (std::is_floating_point_v<T>)
        acc = std::fma(left, element(count - 1), acc);
      else
        acc = static_cast<T>(acc + left * element(count - 1));
    }
    y.mutable_as<T>()[o] = acc;
  }
  return y;
}

void eval_einsum(EvalContext& ctx) {
  switch (ctx.in(0).dtype()) {
    case DType::f32: ctx.out() = contract<float>(ctx); break;
    case DType::f64: ctx.out() = contract<double>(ctx); break;
    case DType::s32: ctx.out() = contract<int32_t>(ctx); break;
    case DType::s64: ctx.out() = contract<int64_t>(ctx); break;
    default: fail_dtype(ctx, ctx.in(0).dtype());
  }
}

std::vector<OpDef> define() {
  return {{.name = "Einsum",
           .inputs = {{.name = "Inputs", .optional = false, .variadic = true}},
           .attrs = {{"equation", AttrKind::s, true}},
           .infer = infer_einsum,
           .eval = widen_small_floats<eval_einsum>,
           .types = kFloats | TypeSet{DType::s32, DType::s64}}};
}

}  // namespace

std::span<const OpDef> einsum_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
