// Named convolution and matrix shapes of well-known networks. Matrices are rows x K x N.
#pragma once

#include <array>
#include <string_view>

#include "kernels/conv.h"
#include "kernels/epilogue.h"

namespace octet::bench {

struct NamedShape {
  std::string_view network, name;
  int channels_in, channels_out, size, kernel, stride;
  int count = 1;                                                 // times in the network
  kernels::ResidualKind residual = kernels::ResidualKind::none;  // as u8; float products add a float one
  int rows = 0;                                                  // matrix: rows instead of an image
  bool depthwise = false;
};

inline constexpr auto kPlain = kernels::ResidualKind::none, kOnce = kernels::ResidualKind::u8_once,
                      kTwice = kernels::ResidualKind::u8_twice;

// ResNet-50 v1.5, 224 x 224, batch 1: every convolution and the classifier (25.5 M weights, 4.1 G multiply-adds). A + adds a
// residual, ++ adds it to the product already rounded, as the portable style of quantized files has it.
inline constexpr std::array<NamedShape, 28> kResNet50 = {{
    {"resnet50", "stem 7x7/2", 3, 64, 224, 7, 2},
    {"resnet50", "1x1 64-64@56", 64, 64, 56, 1, 1},
    {"resnet50", "3x3 64@56", 64, 64, 56, 3, 1, 3},
    {"resnet50", "1x1 64-256@56", 64, 256, 56, 1, 1},
    {"resnet50", "1x1 64-256@56+", 64, 256, 56, 1, 1, 3, kOnce},
    {"resnet50", "1x1 64-256@56++", 64, 256, 56, 1, 1, 0, kTwice},
    {"resnet50", "1x1 256-64@56", 256, 64, 56, 1, 1, 2},
    {"resnet50", "1x1 256-128@56", 256, 128, 56, 1, 1},
    {"resnet50", "3x3/2 128@56", 128, 128, 56, 3, 2},
    {"resnet50", "1x1/2 256-512@56", 256, 512, 56, 1, 2},
    {"resnet50", "1x1 128-512@28+", 128, 512, 28, 1, 1, 4, kOnce},
    {"resnet50", "1x1 128-512@28++", 128, 512, 28, 1, 1, 0, kTwice},
    {"resnet50", "1x1 512-128@28", 512, 128, 28, 1, 1, 3},
    {"resnet50", "3x3 128@28", 128, 128, 28, 3, 1, 3},
    {"resnet50", "1x1 512-256@28", 512, 256, 28, 1, 1},
    {"resnet50", "3x3/2 256@28", 256, 256, 28, 3, 2},
    {"resnet50", "1x1/2 512-1024@28", 512, 1024, 28, 1, 2},
    {"resnet50", "1x1 256-1024@14", 256, 1024, 14, 1, 1, 0},
    {"resnet50", "1x1 256-1024@14+", 256, 1024, 14, 1, 1, 6, kOnce},
    {"resnet50", "1x1 256-1024@14++", 256, 1024, 14, 1, 1, 0, kTwice},
    {"resnet50", "1x1 1024-256@14", 1024, 256, 14, 1, 1, 5},
    {"resnet50", "3x3 256@14", 256, 256, 14, 3, 1, 5},
    {"resnet50", "1x1 1024-512@14", 1024, 512, 14, 1, 1},
    {"resnet50", "3x3/2 512@14", 512, 512, 14, 3, 2},
    {"resnet50", "1x1/2 1024-2048@14", 1024, 2048, 14, 1, 2},
    {"resnet50", "1x1 512-2048@7+", 512, 2048, 7, 1, 1, 3, kOnce},
    {"resnet50", "1x1 2048-512@7", 2048, 512, 7, 1, 1, 2},
    {"resnet50", "3x3 512@7", 512, 512, 7, 3, 1, 2},
}};

// MobileNetV2 1.0, 224 x 224, batch 1.
inline constexpr std::array<NamedShape, 31> kMobileNetV2 = {{
    {"mobilenet_v2", "stem 3x3/2", 3, 32, 224, 3, 2},
    {"mobilenet_v2", "dw 32@112", 32, 32, 112, 3, 1, 1, kPlain, 0, true},
    {"mobilenet_v2", "1x1 32-16@112", 32, 16, 112, 1, 1},
    {"mobilenet_v2", "1x1 16-96@112", 16, 96, 112, 1, 1},
    {"mobilenet_v2", "dw/2 96@112", 96, 96, 112, 3, 2, 1, kPlain, 0, true},
    {"mobilenet_v2", "1x1 96-24@56", 96, 24, 56, 1, 1},
    {"mobilenet_v2", "1x1 24-144@56", 24, 144, 56, 1, 1, 2},
    {"mobilenet_v2", "dw 144@56", 144, 144, 56, 3, 1, 1, kPlain, 0, true},
    {"mobilenet_v2", "1x1 144-24@56+", 144, 24, 56, 1, 1, 1, kOnce},
    {"mobilenet_v2", "dw/2 144@56", 144, 144, 56, 3, 2, 1, kPlain, 0, true},
    {"mobilenet_v2", "1x1 144-32@28", 144, 32, 28, 1, 1},
    {"mobilenet_v2", "1x1 32-192@28", 32, 192, 28, 1, 1, 3},
    {"mobilenet_v2", "dw 192@28", 192, 192, 28, 3, 1, 2, kPlain, 0, true},
    {"mobilenet_v2", "1x1 192-32@28+", 192, 32, 28, 1, 1, 2, kOnce},
    {"mobilenet_v2", "dw/2 192@28", 192, 192, 28, 3, 2, 1, kPlain, 0, true},
    {"mobilenet_v2", "1x1 192-64@14", 192, 64, 14, 1, 1},
    {"mobilenet_v2", "1x1 64-384@14", 64, 384, 14, 1, 1, 4},
    {"mobilenet_v2", "dw 384@14", 384, 384, 14, 3, 1, 4, kPlain, 0, true},
    {"mobilenet_v2", "1x1 384-64@14+", 384, 64, 14, 1, 1, 3, kOnce},
    {"mobilenet_v2", "1x1 384-96@14", 384, 96, 14, 1, 1},
    {"mobilenet_v2", "1x1 96-576@14", 96, 576, 14, 1, 1, 3},
    {"mobilenet_v2", "dw 576@14", 576, 576, 14, 3, 1, 2, kPlain, 0, true},
    {"mobilenet_v2", "1x1 576-96@14+", 576, 96, 14, 1, 1, 2, kOnce},
    {"mobilenet_v2", "dw/2 576@14", 576, 576, 14, 3, 2, 1, kPlain, 0, true},
    {"mobilenet_v2", "1x1 576-160@7", 576, 160, 7, 1, 1},
    {"mobilenet_v2", "1x1 160-960@7", 160, 960, 7, 1, 1, 3},
    {"mobilenet_v2", "dw 960@7", 960, 960, 7, 3, 1, 3, kPlain, 0, true},
    {"mobilenet_v2", "1x1 960-160@7+", 960, 160, 7, 1, 1, 2, kOnce},
    {"mobilenet_v2", "1x1 960-320@7", 960, 320, 7, 1, 1},
    {"mobilenet_v2", "1x1 320-1280@7", 320, 1280, 7, 1, 1},
    {"mobilenet_v2", "classifier 1x1280x1000", 1280, 1000, 0, 1, 1, 1, kPlain, 1},
}};

// Depthwise convolutions with larger kernels, as in MobileNetV3, EfficientNet and ConvNeXt.
inline constexpr std::array<NamedShape, 4> kDepthwise = {{
    {"depthwise", "5x5 240@28", 240, 240, 28, 5, 1, 1, kPlain, 0, true},
    {"depthwise", "5x5 672@14", 672, 672, 14, 5, 1, 1, kPlain, 0, true},
    {"depthwise", "5x5/2 72@56", 72, 72, 56, 5, 2, 1, kPlain, 0, true},
    {"depthwise", "7x7 96@56", 96, 96, 56, 7, 1, 1, kPlain, 0, true},
}};

inline constexpr std::array<NamedShape, 9> kMatrices = {{
    {"resnet50", "classifier 1x2048x1000", 2048, 1000, 0, 1, 1, 1, kPlain, 1},
    {"bert", "128x768x768", 768, 768, 0, 1, 1, 12, kPlain, 128},
    {"bert", "128x768x2304", 768, 2304, 0, 1, 1, 12, kPlain, 128},
    {"bert", "128x768x3072", 768, 3072, 0, 1, 1, 12, kPlain, 128},
    {"bert", "128x3072x768", 3072, 768, 0, 1, 1, 12, kPlain, 128},
    {"gemm", "1024^3", 1024, 1024, 0, 1, 1, 1, kPlain, 1024},
    {"gemv", "1x4096x4096", 4096, 4096, 0, 1, 1, 1, kPlain, 1},
    {"gemm", "16x1024x1024", 1024, 1024, 0, 1, 1, 1, kPlain, 16},
    {"gemm", "3136x64x64", 64, 64, 0, 1, 1, 1, kPlain, 3136},
}};

inline kernels::ConvShape conv_shape(const NamedShape& named) {
  kernels::ConvShape s;
  s.ic = named.channels_in;
  s.oc = named.channels_out;
  if (named.depthwise) s.groups = s.ic;
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
