// A convolution described in a few numbers, run by a kernel family and by conv_reference, compared byte for byte.
//
// Every image lies in memory that is unreadable kSlack bytes after its last byte (or before its first), in rows of odd pitch
// inside wider pixels; what surrounds it is junk (NaN for float) that must have no influence and must not change.
#pragma once

#include <sys/mman.h>

#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/conv.h"

namespace octet::kernels::testing {

// splitmix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int64_t in(int64_t lo, int64_t hi) { return lo + static_cast<int64_t>(bits() % static_cast<uint64_t>(hi - lo + 1)); }
  float real(float lo, float hi) { return lo + (hi - lo) * (static_cast<float>(bits() >> 40) * 0x1p-24f); }
  bool flip() { return bits() % 2 == 0; }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[in(0, static_cast<int64_t>(values.size()) - 1)];
  }

 private:
  uint64_t state_;
};

enum class WeightPattern { random, all_127, all_minus_128, alternating };
enum class Stage {
  s32,
  f32,
  f32_bias_clamp,
  f32_residual,
  f32_u8_residual,
  u8,
  u8_bias_leaky,
  u8_clamped,
  u8_once,
  u8_twice
};
inline constexpr Stage kStages[] = {
    Stage::s32, Stage::f32,           Stage::f32_bias_clamp, Stage::f32_residual, Stage::f32_u8_residual,
    Stage::u8,  Stage::u8_bias_leaky, Stage::u8_clamped,     Stage::u8_once,      Stage::u8_twice};
inline constexpr Stage kFloatStages[] = {Stage::f32, Stage::f32_bias_clamp, Stage::f32_residual};

struct Case {
  int64_t n = 1, ic = 8, oc = 8, groups = 1, h = 5, w = 5;
  int64_t kh = 3, kw = 3, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 1, pad_left = 1, pad_bottom = 1, pad_right = 1;
  DType weights = DType::s8;  // f32 makes it a float convolution
  bool weight_zero_points = false;
  bool bias = true;
  WeightPattern pattern = WeightPattern::random;
  int32_t x_zero_point = 0;
  bool at_run = false;  // dynamic quantization; the stage must store f32
  Stage stage = Stage::u8;
  int64_t extra_pixel = 0;   // elements between pixels of x, y and residual, as in a slice of a concat
  int64_t extra_row = 0;     // elements between rows
  bool guard_front = false;  // the unreadable page lies before the images
  int parts = 1;
  uint64_t seed = 1;

  int64_t oh() const { return (h + pad_top + pad_bottom - dilation_h * (kh - 1) - 1) / stride_h + 1; }
  int64_t ow() const { return (w + pad_left + pad_right - dilation_w * (kw - 1) - 1) / stride_w + 1; }
};

inline std::string to_string(const Case& c) {
  std::ostringstream s;
  s << "n " << c.n << " ic " << c.ic << " oc " << c.oc << " groups " << c.groups << " image " << c.h << "x" << c.w
    << " kernel " << c.kh << "x" << c.kw << " stride " << c.stride_h << "," << c.stride_w << " dilation " << c.dilation_h
    << "," << c.dilation_w << " pads " << c.pad_top << "," << c.pad_left << "," << c.pad_bottom << "," << c.pad_right
    << " weights " << to_string(c.weights) << (c.weight_zero_points ? " with zero points" : "") << (c.bias ? " bias" : "")
    << " pattern " << static_cast<int>(c.pattern) << " zx " << c.x_zero_point << (c.at_run ? " at run" : "") << " stage "
    << static_cast<int>(c.stage) << " extra " << c.extra_pixel << "," << c.extra_row << (c.guard_front ? " front" : "")
    << " parts " << c.parts << " seed " << c.seed;
  return s.str();
}

// Pages with an unreadable one behind (or before) them.
class GuardedMemory {
 public:
  GuardedMemory(size_t bytes, bool front) {
    constexpr size_t kPage = 4096;
    size_ = (bytes + kPage - 1) / kPage * kPage + kPage;
    base_ = static_cast<uint8_t*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    assert(base_ != MAP_FAILED);
    mprotect(front ? base_ : base_ + size_ - kPage, kPage, PROT_NONE);
    data_ = front ? base_ + kPage : base_ + size_ - kPage - bytes;
  }
  ~GuardedMemory() { munmap(base_, size_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  uint8_t* data() const { return data_; }

 private:
  uint8_t *base_, *data_;
  size_t size_;
};

// A channels-last image with halo, alone in guarded memory and full of junk.
struct Image {
  Image(int64_t element, int64_t n, int64_t c, int64_t h, int64_t w, int64_t top, int64_t left, int64_t bottom,
        int64_t right, const Case& spec, Random& random)
      : layout{(c + spec.extra_pixel) * element, 0, 0},
        // From channel 0 of the first halo pixel to the last channel of the last one: what belongs to the tensor.
        bytes(0),
        memory(nullptr) {
    layout.row = (left + w + right) * layout.pixel + spec.extra_row * element;
    layout.image = (top + h + bottom) * layout.row;
    bytes = static_cast<size_t>((n - 1) * layout.image + (top + h + bottom - 1) * layout.row +
                                (left + w + right - 1) * layout.pixel + c * element + 2 * kSlack);
    memory = std::make_unique<GuardedMemory>(bytes, spec.guard_front);
    for (size_t i = 0; i < bytes; ++i) memory->data()[i] = static_cast<uint8_t>(random.bits() >> 8);
    if (element == 4) {
      const float nan = std::numeric_limits<float>::quiet_NaN();
      uint8_t* first = memory->data() + kSlack % 4;
      for (size_t i = 0; i + 4 <= bytes; i += 4) std::memcpy(first + i, &nan, 4);
    }
    data = memory->data() + kSlack + top * layout.row + left * layout.pixel;
  }
  uint8_t* at(int64_t image, int64_t y, int64_t x) const {
    return data + image * layout.image + y * layout.row + x * layout.pixel;
  }
  std::vector<uint8_t> snapshot() const { return {memory->data(), memory->data() + bytes}; }
  void restore(const std::vector<uint8_t>& from) const { std::memcpy(memory->data(), from.data(), bytes); }

  ImageLayout layout;
  size_t bytes;
  std::unique_ptr<GuardedMemory> memory;
  uint8_t* data = nullptr;
};

inline Epilogue make_epilogue(Stage stage, int64_t oc, bool is_float, Random& random) {
  Epilogue e;
  const bool u8 = stage >= Stage::u8;
  e.out = stage == Stage::s32 ? DType::s32 : u8 ? DType::u8 : DType::f32;
  if (!is_float && stage != Stage::s32)
    for (int64_t i = 0; i < oc; ++i) e.scale.push_back(random.real(0.0005f, 0.02f));
  if (stage == Stage::f32_bias_clamp || stage == Stage::u8_bias_leaky || stage == Stage::u8_twice)
    for (int64_t i = 0; i < oc; ++i) e.bias.push_back(random.real(-20.0f, 20.0f));
  if (u8) e.zero_point = static_cast<int32_t>(random.pick({0, 128, 255, 3, 77}));
  switch (stage) {
    case Stage::f32_bias_clamp:
      e.act = ActKind::clamp;
      e.act_lo = -1.5f;
      e.act_hi = 6.0f;
      break;
    case Stage::f32_residual: e.residual = ResidualKind::f32; break;
    case Stage::u8_bias_leaky:
      e.act = ActKind::leaky_relu;
      e.alpha = 0.1f;
      break;
    case Stage::u8_clamped:
      e.lo = e.zero_point;
      e.hi = 250;
      if (e.lo > e.hi) e.lo = 5;
      break;
    case Stage::f32_u8_residual:
    case Stage::u8_once:
    case Stage::u8_twice:
      e.residual = stage == Stage::u8_twice ? ResidualKind::u8_twice : ResidualKind::u8_once;
      e.residual_scale = random.real(0.2f, 1.5f);
      e.residual_zero_point = static_cast<int32_t>(random.pick({0, 128, 200}));
      e.mid_scale = random.real(0.5f, 1.5f);
      e.mid_zero_point = static_cast<int32_t>(random.pick({0, 100, 255}));
      break;
    default: break;
  }
  return e;
}

struct Weights {
  std::vector<uint8_t> bytes;
  std::vector<float> floats;
  std::vector<int32_t> zero_points, bias;
  ConvWeights view;

  Weights(const Case& c, Random& random) {
    const auto count = static_cast<size_t>(c.oc * (c.ic / c.groups) * c.kh * c.kw);
    view.dtype = c.weights;
    if (c.weights == DType::f32) {
      for (size_t i = 0; i < count; ++i) floats.push_back(random.real(-1.0f, 1.0f));
      view.data = floats.data();
      return;
    }
    for (size_t i = 0; i < count; ++i) {
      uint8_t w = static_cast<uint8_t>(random.bits() >> 16);
      if (c.pattern == WeightPattern::all_127) w = c.weights == DType::s8 ? 127 : 255;
      if (c.pattern == WeightPattern::all_minus_128) w = c.weights == DType::s8 ? 128 : 0;
      if (c.pattern == WeightPattern::alternating) w = i % 2 == 0 ? 127 : 128;
      bytes.push_back(w);
    }
    const int32_t lo = c.weights == DType::s8 ? -128 : 0;
    if (c.weight_zero_points)
      for (int64_t i = 0; i < c.oc; ++i) zero_points.push_back(static_cast<int32_t>(random.in(lo, lo + 255)));
    if (c.weight_zero_points && random.flip()) zero_points.resize(1);
    if (c.bias)
      for (int64_t i = 0; i < c.oc; ++i) bias.push_back(static_cast<int32_t>(random.in(-30000, 30000)));
    view.data = bytes.data();
    view.zero_points = zero_points;
    view.bias = bias;
    view.x_zero_point = c.at_run ? 0 : c.x_zero_point;
    view.x_zero_point_at_run = c.at_run;
  }
};

using Pack = std::function<std::shared_ptr<const PackedWeights>(const Isa&, const ConvShape&, const ConvWeights&)>;
using Make = std::function<std::unique_ptr<Conv>(const Isa&, const ConvProblem&, std::shared_ptr<const PackedWeights>, int,
                                                 std::string*)>;

// Empty when every byte of y and its surroundings agrees; otherwise the first difference, or why the family declined.
inline std::string check(const Isa& isa, const Case& c, const Pack& pack, const Make& make) {
  Random random(c.seed);
  const bool is_float = c.weights == DType::f32;
  const int64_t element = is_float ? 4 : 1;
  const int64_t oh = c.oh(), ow = c.ow();
  // The halo reaches as far as the last tap, not as far as the padding says.
  const auto reach = [](int64_t out, int64_t stride, int64_t dilation, int64_t kernel, int64_t pad, int64_t size) {
    return std::max<int64_t>(0, (out - 1) * stride + dilation * (kernel - 1) - pad - size + 1);
  };
  ConvProblem problem;
  problem.shape = {c.n,  c.ic,       c.h,        c.w,          c.oc,         oh,        ow,         c.kh,
                   c.kw, c.stride_h, c.stride_w, c.dilation_h, c.dilation_w, c.pad_top, c.pad_left, c.groups};
  problem.x_dtype = is_float ? DType::f32 : DType::u8;
  problem.epilogue = make_epilogue(c.stage, c.oc, is_float, random);

  const Image x(element, c.n, c.ic, c.h, c.w, c.pad_top, c.pad_left,
                reach(oh, c.stride_h, c.dilation_h, c.kh, c.pad_top, c.h),
                reach(ow, c.stride_w, c.dilation_w, c.kw, c.pad_left, c.w), c, random);
  const int64_t bottom = reach(oh, c.stride_h, c.dilation_h, c.kh, c.pad_top, c.h);
  const int64_t right = reach(ow, c.stride_w, c.dilation_w, c.kw, c.pad_left, c.w);
  for (int64_t n = 0; n < c.n; ++n)
    for (int64_t i = -c.pad_top; i < c.h + bottom; ++i)
      for (int64_t j = -c.pad_left; j < c.w + right; ++j) {
        const bool inside = i >= 0 && i < c.h && j >= 0 && j < c.w;
        for (int64_t k = 0; k < c.ic; ++k) {
          if (is_float) {
            const float v = inside ? random.real(-2.0f, 2.0f) : 0.0f;
            std::memcpy(x.at(n, i, j) + 4 * k, &v, 4);
          } else {
            const auto v = static_cast<uint8_t>(c.seed % 5 == 0 ? 255 : random.bits() >> 16);
            x.at(n, i, j)[k] = inside ? v : static_cast<uint8_t>(c.x_zero_point);
          }
        }
      }
  problem.x = x.layout;

  const Image y(static_cast<int64_t>(size_of(problem.epilogue.out)), c.n, c.oc, oh, ow, 1, 2, 1, 1, c, random);
  problem.y = y.layout;
  const bool float_residual = problem.epilogue.residual == ResidualKind::f32;
  const Image residual(float_residual ? 4 : 1, c.n, c.oc, oh, ow, 0, 1, 0, 0, c, random);
  if (float_residual)
    for (int64_t n = 0; n < c.n; ++n)
      for (int64_t i = 0; i < oh; ++i)
        for (int64_t j = 0; j < ow; ++j)
          for (int64_t k = 0; k < c.oc; ++k) {
            const float v = random.real(-3.0f, 3.0f);
            std::memcpy(residual.at(n, i, j) + 4 * k, &v, 4);
          }
  problem.residual = residual.layout;

  const Weights weights(c, random);
  ConvArgs args;
  args.x = x.data;
  args.y = y.data;
  args.residual = residual.data;
  if (c.at_run) {
    args.x_zero_point = c.x_zero_point;
    args.x_scale = 0.37f;
  }
  const std::vector<uint8_t> before = y.snapshot();
  conv_reference(problem, weights.view, args);
  const std::vector<uint8_t> expected = y.snapshot();
  y.restore(before);

  auto packed = pack(isa, problem.shape, weights.view);
  if (!packed) return "declined at packing: " + to_string(c);
  std::string reason;
  const std::unique_ptr<Conv> conv = make(isa, problem, packed, c.parts, &reason);
  if (!conv) return "declined: " + reason + ": " + to_string(c);
  for (int part = c.parts - 1; part >= 0; --part) {
    AlignedBuffer workspace(conv->workspace_bytes());  // per thread
    args.workspace = workspace.as<void>();
    conv->run(args, part, c.parts);
  }
  const std::vector<uint8_t> actual = y.snapshot();
  for (size_t i = 0; i < expected.size(); ++i) {
    if (actual[i] == expected[i]) continue;
    const int64_t offset = static_cast<int64_t>(i) - (y.data - y.memory->data());
    std::ostringstream message;
    message << conv->name() << ": byte " << offset << " of y (row " << y.layout.row << ", pixel " << y.layout.pixel
            << ") is " << int{actual[i]} << ", not " << int{expected[i]} << ": " << to_string(c);
    return message.str();
  }
  return {};
}

}  // namespace octet::kernels::testing
