// One product with its memory: Gaussian weights of eight bits or floats, an input with the halo that the shape asks for.
#pragma once

#include <memory>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/conv.h"

namespace octet::bench {

// Per-channel symmetric weights as a quantizer leaves them: Gaussian, the largest magnitude of a channel is 127.
std::vector<int8_t> gaussian_weights(const kernels::ConvShape& shape);

class ProductSetup {
 public:
  // Layouts are what the engine makes: a halo of the padding around the input, dense outputs.
  ProductSetup(const kernels::Isa& isa, const kernels::ConvShape& shape, DType x, kernels::ResidualKind residual);

  void run() const { conv_->run(args_, 0, 1); }
  const kernels::Conv& conv() const { return *conv_; }
  double operations() const { return operations_; }  // 2 a multiply-add
  // Input, weights as given, residual and output, once each.
  double bytes() const { return bytes_; }
  const kernels::PackedWeights& packed() const { return *packed_; }

 private:
  std::shared_ptr<const kernels::PackedWeights> packed_;
  std::unique_ptr<kernels::Conv> conv_;
  kernels::AlignedBuffer x_, y_, residual_, workspace_;
  kernels::ConvArgs args_;
  double operations_ = 0, bytes_ = 0;
};

}  // namespace octet::bench
