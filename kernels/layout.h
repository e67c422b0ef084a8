// Where an image lies in memory: byte strides, so that halos, channel slices of a concat and row pitches are all the same
// case.
//
//      ┌───────────── row stride ─────────────┐
//      halo │ px px px px … (w) │ halo │ pitch        pixel = `c` elements, next pixel `pixel` bytes further
//
// `data` pointers handed to kernels point at channel 0 of pixel (0,0) of image 0; halo pixels lie at negative offsets and
// after the last row, hold the fill value (zero point, or 0.0f), and belong to the tensor: kernels may read them, never
// write. At least kSlack readable bytes lie before the first and behind the last byte of every tensor.
#pragma once

#include <cstdint>

namespace octet::kernels {

inline constexpr int64_t kSlack = 64;

struct ImageLayout {
  int64_t pixel = 0;  // bytes between horizontally adjacent pixels
  int64_t row = 0;    // bytes between vertically adjacent pixels
  int64_t image = 0;  // bytes between images of a batch
  bool operator==(const ImageLayout&) const = default;
};

}  // namespace octet::kernels
