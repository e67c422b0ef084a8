// Images as networks want them: decoded, resized, cropped, scaled, laid out.
//
// The steps run in this order, each only when the data set asks for it:
//
//   u8 image H x W x C ── resize_short ── crop ── order ── divide ── mean ── std ── layout ──▶ float32
//
// resize_short R   the shorter side becomes R, the longer one floor(longer * R / shorter). Separable bilinear filter with
//                  half-pixel centres, widened by the scale where the image shrinks (the triangle filter of Pillow's
//                  BILINEAR): output pixel o weighs input pixel i by max(0, 1 - |i + 0.5 - (o + 0.5) * s| / max(s, 1)), s =
//                  in / out, the weights made to sum to 1; rows first, rounded half up to u8 after each direction.
// crop K           the centre K x K; the offset is floor((side - K) / 2).
// order            "RGB" or "BGR" (images are decoded as RGB); without meaning for one channel.
// divide, mean, std   (x / divide - mean[c]) / std[c] in float32, c counted in the new order; one entry serves all channels.
// layout           "NCHW" or "NHWC" of the result, without the batch axis.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/tensor.h"

namespace octet::tools {

struct Image {
  int height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;  // height, width, channels

  uint8_t at(int y, int x, int c) const {
    return pixels[(static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)) *
                      static_cast<size_t>(channels) +
                  static_cast<size_t>(c)];
  }
};

struct Preprocess {
  int resize_short = 0;  // 0: none
  int crop = 0;          // 0: none
  std::string order = "RGB";
  float divide = 1;
  std::vector<float> mean = {0};
  std::vector<float> std = {1};
  std::string layout = "NCHW";
};

// JPEG, PNG, BMP, PPM and what else stb_image reads, as 8-bit RGB. Throws Error naming the file.
Image decode_image(const std::string& path);
Image resize_short(const Image& image, int size);
Image center_crop(const Image& image, int size);  // throws Error when the image is smaller
graph::Tensor preprocess(const Image& image, const Preprocess& steps);

}  // namespace octet::tools
