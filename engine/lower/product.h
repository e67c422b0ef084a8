// What the lowerings of products share: octet.Conv and octet.Gemm (product.cpp), octet.ConvTranspose (conv_transpose.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/lower/lower.h"
#include "kernels/conv.h"

namespace octet {

enum ProductInput : size_t { kX, kW, kBias, kResidual, kXScale, kXZeroPoint };

bool takes_product(const graph::Node& node, std::string* why);
// All images of the node lie channels-last.
bool product_in_images(const graph::Node& node);
std::vector<int> product_in_place(const graph::Node& node);

kernels::Epilogue make_epilogue(const graph::Node& node, int64_t channels);
// Strides of an image, or of a matrix seen as an image of one row.
kernels::ImageLayout product_layout(const Lowering& lowering, const graph::Value* value, int64_t channels);

// A part of a node's weights that is packed by itself; `name` tells it from the other parts.
struct WeightPart {
  std::string name;
  std::function<graph::Tensor(const graph::Tensor&)> cut;
};
std::shared_ptr<const kernels::PackedWeights> pack_product(Lowering& lowering, const graph::Node& node,
                                                           const kernels::ConvShape& shape,
                                                           const WeightPart* part = nullptr);

// Shape, layouts and epilogue of an octet.Conv or octet.Gemm.
kernels::ConvProblem product_problem(const Lowering& lowering, const graph::Node& node);
double product_gmac(const graph::Node& node);

// The operands of a run; y and range are the step's own.
class ProductArgs {
 public:
  ProductArgs(Lowering& lowering, const graph::Node& node);
  kernels::ConvArgs of(const RunContext& context, int part) const;
  // Dynamic quantization decides the zero point, and with it what the halo holds, at run time.
  bool needs_halo() const { return needs_halo_; }

 private:
  Location x_, residual_, x_scale_, x_zero_point_;
  bool has_residual_, dynamic_, needs_halo_;
};
// A step that fills the halo of the node's x, for the node at whose place it runs.
void add_run_time_halo(Lowering& lowering, const graph::Node& node, const graph::Node& at);

// A convolution that writes its outputs from `y_offset` bytes after the node's first one; all of them read the node's x.
struct BoundConv {
  std::shared_ptr<kernels::Conv> conv;
  int64_t y_offset = 0, residual_offset = 0;
};
// `at`: the node whose output the step stores in place of the product's, if another.
void add_product_step(Lowering& lowering, const graph::Node& node, std::vector<BoundConv> convs, const std::string& kernel,
                      const graph::Node* at = nullptr);

}  // namespace octet
