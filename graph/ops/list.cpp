// The list of all operators, family by family. A new operator is a line in its family's file; a new family a line here.
#include <cassert>
#include <map>

#include "graph/ops/families.h"
#include "graph/ops/fused_attention.h"

namespace octet::graph {
namespace {

const std::vector<const OpDef*>& list() {
  static const std::vector<const OpDef*> kList = [] {
    std::vector<const OpDef*> all;
    for (const std::span<const OpDef> family : {
             ops::activation_ops(),
             ops::elementwise_unary_ops(),
             ops::elementwise_binary_ops(),
             ops::logic_ops(),
             ops::conv_ops(),
             ops::conv_transpose_ops(),
             ops::pool_ops(),
             ops::norm_ops(),
             ops::matmul_ops(),
             ops::einsum_ops(),
             ops::reduce_ops(),
             ops::softmax_ops(),
             ops::order_ops(),
             ops::shape_ops(),
             ops::slice_ops(),
             ops::gather_ops(),
             ops::resize_ops(),
             ops::cast_ops(),
             ops::select_ops(),
             ops::unique_ops(),
             ops::unpool_ops(),
             ops::sample_ops(),
             ops::detection_ops(),
             ops::attention_ops(),
             ops::decoder_ops(),
             ops::signal_ops(),
             ops::text_ops(),
             ops::random_ops(),
             ops::quantize_ops(),
             ops::qlinear_ops(),
             ops::microsoft_ops(),
             ops::control_ops(),
             ops::sequence_ops(),
             ops::recurrent_ops(),
             ops::microsoft_matmul_ops(),
             ops::weight_only_ops(),
             ops::fused_ops(),
             ops::fused_attention_ops(),
         })
      for (const OpDef& op : family) all.push_back(&op);
    return all;
  }();
  return kList;
}

}  // namespace

std::span<const OpDef* const> all_ops() { return list(); }

const OpDef* find_op(std::string_view name) {
  static const std::map<std::string_view, const OpDef*> kByName = [] {
    std::map<std::string_view, const OpDef*> by_name;
    for (const OpDef* op : list()) {
      [[maybe_unused]] const bool fresh = by_name.emplace(op->name, op).second;
      assert(fresh && "two operators of one name");
    }
    return by_name;
  }();
  const auto it = kByName.find(name);
  return it == kByName.end() ? nullptr : it->second;
}

}  // namespace octet::graph
