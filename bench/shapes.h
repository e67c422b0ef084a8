// Named convolution and matrix shapes of well-known networks.
#pragma once

#include <array>
#include <string_view>

#include "kernels/conv.h"

namespace octet::bench {

struct NamedShape {
  std::string_view network, name;
  int channels_in, channels_out, size, kernel, stride;
  int count = 1;     // times in the network
  bool residual = false;
  int rows = 0;      // matrix: rows instead of an image
};

// ResNet-50 v1.5, 224 x 224, batch 1: every convolution and the classifier (25.5 M weights, 4.1 G multiply-adds).
inline constexpr std::array<NamedShape, 24> kResNet50 = {{
    {"resnet50", "stem 7x7/2", 3, 64, 224, 7, 2},
    {"resnet50", "1x1 64-64@56", 64, 64, 56, 1, 1},
    {"resnet50", "3x3 64@56", 64, 64, 56, 3, 1, 3},
    {"resnet50", "1x1 64-256@56", 64, 256, 56, 1, 1},
    {"resnet50", "1x1 64-256@56+", 64, 256, 56, 1, 1, 3, true},
    {"resnet50", "1x1 256-64@56", 256, 64, 56, 1, 1, 2},
    {"resnet50", "1x1 256-128@56", 256, 128, 56, 1, 1},
    {"resnet50", "3x3/2 128@56", 128, 128, 56, 3, 2},
    {"resnet50", "1x1/2 256-512@56", 256, 512, 56, 1, 2},
    {"resnet50", "1x1 128-512@28+", 128, 512, 28, 1, 1, 4, true},
    {"resnet50", "1x1 512-128@28", 512, 128, 28, 1, 1, 3},
    {"resnet50", "3x3 128@28", 128, 128, 28, 3, 1, 3},
    {"resnet50", "1x1 512-256@28", 512, 256, 28, 1, 1},
    {"resnet50", "3x3/2 256@28", 256, 256, 28, 3, 2},
    {"resnet50", "1x1/2 512-1024@28", 512, 1024, 28, 1, 2},
    {"resnet50", "1x1 256-1024@14+", 256, 1024, 14, 1, 1, 6, true},
    {"resnet50", "1x1 1024-256@14", 1024, 256, 14, 1, 1, 5},
    {"resnet50", "3x3 256@14", 256, 256, 14, 3, 1, 5},
    {"resnet50", "1x1 1024-512@14", 1024, 512, 14, 1, 1},
    {"resnet50", "3x3/2 512@14", 512, 512, 14, 3, 2},
    {"resnet50", "1x1/2 1024-2048@14", 1024, 2048, 14, 1, 2},
    {"resnet50", "1x1 512-2048@7+", 512, 2048, 7, 1, 1, 3, true},
    {"resnet50", "1x1 2048-512@7", 2048, 512, 7, 1, 1, 2},
    {"resnet50", "3x3 512@7", 512, 512, 7, 3, 1, 2},
}};

inline constexpr std::array<NamedShape, 8> kMatrices = {{
    {"resnet50", "classifier 1x2048x1000", 2048, 1000, 0, 1, 1, 1, false, 1},
    {"bert-base", "128x768x768", 768, 768, 0, 1, 1, 48, false, 128},
    {"bert-base", "128x768x3072", 768, 3072, 0, 1, 1, 12, false, 128},
    {"bert-base", "128x3072x768", 3072, 768, 0, 1, 1, 12, false, 128},
    {"gemm", "1024^3", 1024, 1024, 0, 1, 1, 1, false, 1024},
    {"gemv", "1x4096x4096", 4096, 4096, 0, 1, 1, 1, false, 1},
    {"gemm", "16x1024x1024", 1024, 1024, 0, 1, 1, 1, false, 16},
    {"gemm", "3136x64x64", 64, 64, 0, 1, 1, 1, false, 3136},
}};

inline kernels::ConvShape conv_shape(const NamedShape& named) {
  kernels::ConvShape s;
  s.ic = named.channels_in;
  s.oc = named.channels_out;
  if (named.rows > 0) {
    s.iw = s.ow = named.rows;
    return s;
  }
  s.ih = s.iw = named.size;
  s.kh = s.kw = named.kernel;
  s.stride_h = s.stride_w = named.stride;
  s.pad_top = s.pad_left = named.kernel / 2;
  s.oh = s.ow = (named.size + 2 * s.pad_top - named.kernel) / named.stride + 1;
  return s;
}

}  // namespace octet::bench
