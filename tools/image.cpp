#include "tools/image.h"

#include <stb/stb_image.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "tools/files.h"

namespace octet::tools {
namespace {

// For each output pixel: the first input pixel it reads, and the weights from there on.
struct Taps {
  int first = 0;
  std::vector<float> weights;
};

std::vector<Taps> triangle_taps(int in, int out) {
  const double scale = static_cast<double>(in) / out;
  const double width = std::max(scale, 1.0);
  std::vector<Taps> taps(static_cast<size_t>(out));
  for (int o = 0; o < out; ++o) {
    Taps& t = taps[static_cast<size_t>(o)];
    const double center = (o + 0.5) * scale;
    t.first = std::max(0, static_cast<int>(std::floor(center - width)));
    const int last = std::min(in - 1, static_cast<int>(std::ceil(center + width)));
    double sum = 0;
    for (int i = t.first; i <= last; ++i) sum += std::max(0.0, 1 - std::abs(i + 0.5 - center) / width);
    for (int i = t.first; i <= last; ++i)
      t.weights.push_back(static_cast<float>(std::max(0.0, 1 - std::abs(i + 0.5 - center) / width) / sum));
  }
  return taps;
}

uint8_t to_pixel(float value) { return static_cast<uint8_t>(std::clamp(std::floor(value + 0.5f), 0.0f, 255.0f)); }

Image resize_width(const Image& in, int width) {
  Image out{in.height, width, in.channels, {}};
  out.pixels.reserve(static_cast<size_t>(in.height) * static_cast<size_t>(width) * static_cast<size_t>(in.channels));
  const auto taps = triangle_taps(in.width, width);
  for (int y = 0; y < in.height; ++y)
    for (const Taps& t : taps)
      for (int c = 0; c < in.channels; ++c) {
        float sum = 0;
        for (size_t i = 0; i < t.weights.size(); ++i) sum += t.weights[i] * in.at(y, t.first + static_cast<int>(i), c);
        out.pixels.push_back(to_pixel(sum));
      }
  return out;
}

Image resize_height(const Image& in, int height) {
  Image out{height, in.width, in.channels, {}};
  out.pixels.reserve(static_cast<size_t>(height) * static_cast<size_t>(in.width) * static_cast<size_t>(in.channels));
  for (const Taps& t : triangle_taps(in.height, height))
    for (int x = 0; x < in.width; ++x)
      for (int c = 0; c < in.channels; ++c) {
        float sum = 0;
        for (size_t i = 0; i < t.weights.size(); ++i) sum += t.weights[i] * in.at(t.first + static_cast<int>(i), x, c);
        out.pixels.push_back(to_pixel(sum));
      }
  return out;
}

}  // namespace

Image decode_image(const std::string& path) {
  const std::string bytes = read_file(path);
  int width = 0, height = 0, stored = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> data(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()), static_cast<int>(bytes.size()), &width, &height,
                            &stored, 3),
      stbi_image_free);
  if (!data) throw Error(ErrorCode::invalid_argument, path + ": cannot be decoded as an image: " + stbi_failure_reason());
  return {height, width, 3, {data.get(), data.get() + static_cast<size_t>(width) * static_cast<size_t>(height) * 3}};
}

Image resize_short(const Image& image, int size) {
  const int shorter = std::min(image.height, image.width);
  const auto scaled = [&](int side) {
    return side == shorter ? size : static_cast<int>(static_cast<int64_t>(side) * size / shorter);
  };
  if (shorter == size) return image;
  return resize_height(resize_width(image, scaled(image.width)), scaled(image.height));
}

Image center_crop(const Image& image, int size) {
  if (image.height < size || image.width < size)
    throw Error(ErrorCode::invalid_argument, "an image of " + std::to_string(image.height) + "x" +
                                                 std::to_string(image.width) + " cannot be cropped to " +
                                                 std::to_string(size) + "x" + std::to_string(size));
  const int top = (image.height - size) / 2, left = (image.width - size) / 2;
  Image out{size, size, image.channels, {}};
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      for (int c = 0; c < image.channels; ++c) out.pixels.push_back(image.at(top + y, left + x, c));
  return out;
}

graph::Tensor preprocess(const Image& original, const Preprocess& steps) {
  const Image resized = steps.resize_short > 0 ? resize_short(original, steps.resize_short) : original;
  const Image image = steps.crop > 0 ? center_crop(resized, steps.crop) : resized;
  const int h = image.height, w = image.width, channels = image.channels;
  const bool planes = steps.layout == "NCHW";
  graph::Tensor tensor(DType::f32, planes ? Shape{channels, h, w} : Shape{h, w, channels});
  float* out = tensor.mutable_as<float>();
  for (int c = 0; c < channels; ++c) {
    const int source = steps.order == "BGR" && channels == 3 ? 2 - c : c;
    const float mean = steps.mean[steps.mean.size() == 1 ? 0 : static_cast<size_t>(c)];
    const float std = steps.std[steps.std.size() == 1 ? 0 : static_cast<size_t>(c)];
    for (int y = 0; y < h; ++y)
      for (int x = 0; x < w; ++x) {
        const int index = planes ? (c * h + y) * w + x : (y * w + x) * channels + c;
        out[index] = (static_cast<float>(image.at(y, x, source)) / steps.divide - mean) / std;
      }
  }
  return tensor;
}

}  // namespace octet::tools
