#include "tools/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "frontends/onnx/fused_forms.h"
#include "graph/op_def.h"
#include "tools/command_line.h"

namespace octet::tools {
namespace {

using graph::OpDef;
using graph::QuantRole;
using graph::TypeSet;

constexpr std::string_view kHead =
    "# Operators\n"
    "\n"
    "What octet runs, with the meaning of the newest opset; the importer brings older ones to it. Made by `octet operators` "
    "from\n"
    "the operators' definitions; a test checks that this page is current.\n"
    "\n"
    "The types are those of the operand that holds the data: **f32**, **f16** (float16, bfloat16), **f64**, **int** (8 to "
    "64 bits,\n"
    "with and without sign), **bool**, **narrow** (int4, uint4, int2, uint2, float8 in its kinds, float4e2m1: stored, moved "
    "and\n"
    "converted). ✓: all of the kind; otherwise those that are named. Strings are taken by Cast, CastLike, Equal, "
    "StringNormalizer,\n"
    "and by what gives the same elements another shape (Identity, Reshape, Flatten, Squeeze, Unsqueeze).\n"
    "\n"
    "INT8 is what happens between DequantizeLinear and QuantizeLinear:\n"
    "\n"
    "* *product*: u8 times s8 summed in int32, bias, activation and requantization fused\n"
    "* *binary*: both operands 8 bits, one rounding\n"
    "* *average*: an integer sum, one rounding\n"
    "* *table*: one of 256 results\n"
    "* *clamp*: bounds become quanta; usually fused into what comes before\n"
    "* *moved*: the bytes go through\n"
    "* *border*: quantizes or dequantizes itself\n"
    "* –: computed in float\n"
    "\n"
    "The operator-oriented forms (QLinear…, …Integer) are brought to these when a model is loaded.\n";

constexpr std::string_view kMicrosoft = "com.microsoft.";

struct Column {
  std::string_view name;
  TypeSet types;
};
const Column kColumns[] = {
    {"f32", {DType::f32}},  {"f16", {DType::f16, DType::bf16}}, {"f64", {DType::f64}}, {"int", graph::kIntegers},
    {"bool", graph::kBool}, {"narrow", graph::kNarrow},
};

std::string_view int8_of(QuantRole role) {
  switch (role) {
    case QuantRole::none: return "–";
    case QuantRole::transparent: return "moved";
    case QuantRole::clamp: return "clamp";
    case QuantRole::unary: return "table";
    case QuantRole::product: return "product";
    case QuantRole::binary: return "binary";
    case QuantRole::average: return "average";
    case QuantRole::quantize:
    case QuantRole::dequantize: return "border";
  }
  return "";
}

std::string cell(const OpDef& op, const TypeSet& kind) {
  std::string names;
  bool all = true;
  for (auto t = static_cast<uint8_t>(DType::undefined); t <= static_cast<uint8_t>(DType::u2); ++t) {
    const auto type = static_cast<DType>(t);
    if (!kind.contains(type)) continue;
    if (!op.types.contains(type))
      all = false;
    else
      names += (names.empty() ? "" : " ") + std::string(to_string(type));
  }
  return all ? "✓" : names;
}

void append_table(std::string& page, std::string_view title, std::string_view prefix, std::vector<const OpDef*> ops) {
  std::sort(ops.begin(), ops.end(), [](const OpDef* a, const OpDef* b) { return a->name < b->name; });
  page += fmt::format("\n## {}\n\n{} operators.\n\n| operator |", title, ops.size());
  for (const Column& c : kColumns) page += fmt::format(" {} |", c.name);
  page += " INT8 |\n|---|";
  for (size_t i = 0; i <= std::size(kColumns); ++i) page += "---|";
  page += "\n";
  for (const OpDef* op : ops) {
    page += fmt::format("| {} |", op->name.substr(prefix.size()));
    for (const Column& c : kColumns) page += fmt::format(" {} |", cell(*op, c.types));
    page += fmt::format(" {} |\n", int8_of(op->quant));
  }
}

}  // namespace

std::string operators_page() {
  std::vector<const OpDef*> standard, microsoft;
  for (const OpDef* op : graph::all_ops()) {
    if (op->name.starts_with(kMicrosoft))
      microsoft.push_back(op);
    else if (op->name.find('.') == std::string::npos)
      standard.push_back(op);
  }
  std::string page(kHead);
  append_table(page, "ONNX", "", std::move(standard));
  append_table(page, "com.microsoft", kMicrosoft, std::move(microsoft));
  std::set<std::string_view> fused;
  for (const std::string_view name : onnx::fused_forms()) fused.insert(name.substr(name.rfind('.') + 1));
  page += fmt::format("\nBrought to ONNX's operators when a model is loaded: {}.\n", fmt::join(fused, ", "));
  return page;
}

Action declare_operators(CLI::App&) {
  return [] {
    fmt::print("{}", operators_page());
    return kDone;
  };
}

}  // namespace octet::tools
