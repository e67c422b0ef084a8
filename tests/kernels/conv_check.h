// A convolution described in a few numbers, run by a kernel family and by conv_reference, compared byte for byte.
//
// Every image lies in memory that is unreadable kSlack bytes after its last byte (or before its first), in rows of odd pitch
// inside wider pixels; what surrounds it is junk (NaN for float) that must have no influence and must not change.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
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

enum class WeightPattern { random, gauss, all_127, all_minus_128, alternating, one_value, sparse };
enum class InputPattern { random, all_255, extremes, some_nan };  // some_nan: of float inputs
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

// An epilogue in words, where a stage is not enough.
struct EpilogueWords {
  DType out = DType::u8;
  ResidualKind residual = ResidualKind::none;
  ActKind act = ActKind::none;
  bool bias = false;
  int32_t zero_point = 11, lo = 0, hi = 255;
  float gain = 1;     // multiplies the scales, to reach saturation
  float y_scale = 0;  // of u8 outputs of values
};

struct Case {
  int64_t n = 1, ic = 8, oc = 8, groups = 1, h = 5, w = 5;
  int64_t kh = 3, kw = 3, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 1, pad_left = 1, pad_bottom = 1, pad_right = 1;
  DType weights = DType::s8;  // f32 makes it a float convolution
  bool weight_zero_points = false;
  bool bias = true;
  WeightPattern pattern = WeightPattern::random;
  InputPattern input = InputPattern::random;
  int32_t x_zero_point = 0;
  bool at_run = false;  // dynamic quantization; the stage must store f32
  Stage stage = Stage::u8;
  std::optional<EpilogueWords> epilogue;  // instead of the stage
  bool table = false;                     // behind u8 outputs
  int64_t extra_pixel = 0;                // elements between pixels of x, y and residual, as in a slice of a concat
  int64_t extra_row = 0;                  // elements between rows
  bool guard_front = false;               // the unreadable page lies before the images
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
    << " patterns " << static_cast<int>(c.pattern) << "," << static_cast<int>(c.input) << " zx " << c.x_zero_point
    << (c.at_run ? " at run" : "") << (c.table ? " table" : "") << " stage " << static_cast<int>(c.stage) << " extra "
    << c.extra_pixel << "," << c.extra_row << (c.guard_front ? " front" : "") << " parts " << c.parts << " seed " << c.seed;
  if (const auto& e = c.epilogue)
    s << " epilogue " << to_string(e->out) << " residual " << static_cast<int>(e->residual) << " act "
      << static_cast<int>(e->act) << (e->bias ? " bias" : "") << " zero point " << e->zero_point << " in " << e->lo << ".."
      << e->hi << " gain " << e->gain << " y_scale " << e->y_scale;
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

// Scales give sums of random weights and inputs a spread of some 60 quanta.
inline void fill_scales(Epilogue& e, const Case& c, float gain, Random& random) {
  const float spread = 74.0f * 147.0f * std::sqrt(static_cast<float>(c.ic / c.groups * c.kh * c.kw));
  for (int64_t i = 0; i < c.oc; ++i) e.scale.push_back(gain * random.real(10.0f, 110.0f) / spread);
}

inline Epilogue make_epilogue(const EpilogueWords& words, const Case& c, Random& random) {
  Epilogue e;
  e.out = words.out;
  if (words.out == DType::s32) return e;
  if (c.weights != DType::f32) fill_scales(e, c, words.gain, random);
  for (int64_t i = 0; i < c.oc && words.bias; ++i) e.bias.push_back(random.real(-9.0f, 9.0f));
  e.residual = words.residual;
  e.residual_scale = 0.71f;
  e.residual_zero_point = 93;
  e.mid_scale = 0.83f;
  e.mid_zero_point = 121;
  e.act = words.act;
  e.act_lo = -1.5f;
  e.act_hi = 6.0f;
  e.alpha = 0.125f;
  e.zero_point = words.zero_point;
  e.lo = words.lo;
  e.hi = words.hi;
  e.y_scale = words.y_scale;
  return e;
}

inline Epilogue with_table(Epilogue e, const Case& c, Random& random) {
  for (int i = 0; i < 256 && c.table && e.out == DType::u8; ++i)
    e.table.push_back(static_cast<uint8_t>(random.in(0, 255)));
  return e;
}

inline Epilogue make_epilogue(const Case& c, Random& random) {
  if (c.epilogue) return with_table(make_epilogue(*c.epilogue, c, random), c, random);
  const Stage stage = c.stage;
  const int64_t oc = c.oc;
  Epilogue e;
  const bool u8 = stage >= Stage::u8;
  e.out = stage == Stage::s32 ? DType::s32 : u8 ? DType::u8 : DType::f32;
  if (c.weights != DType::f32 && stage != Stage::s32) fill_scales(e, c, 1.0f, random);
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
  return with_table(std::move(e), c, random);
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
    const int32_t lo = c.weights == DType::s8 ? -128 : 0;
    const int64_t one = random.in(-128, 127);
    for (size_t i = 0; i < count; ++i) bytes.push_back(static_cast<uint8_t>(value(c.pattern, i, one, random) + lo + 128));
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

 private:
  // In [-128, 127].
  static int64_t value(WeightPattern pattern, size_t i, int64_t one, Random& random) {
    switch (pattern) {
      case WeightPattern::random: return random.in(-128, 127);
      case WeightPattern::gauss: {
        float sum = 0;
        for (int j = 0; j < 4; ++j) sum += random.real(-56.0f, 56.0f);
        return std::clamp<int64_t>(std::lround(sum), -128, 127);
      }
      case WeightPattern::all_127: return 127;
      case WeightPattern::all_minus_128: return -128;
      case WeightPattern::alternating: return i % 2 == 0 ? 127 : -128;
      case WeightPattern::one_value: return one;
      case WeightPattern::sparse: return random.in(0, 7) == 0 ? random.in(-128, 127) : 0;
    }
    return 0;
  }
};

using Pack = std::function<std::shared_ptr<const PackedWeights>(const Isa&, const ConvShape&, const ConvWeights&)>;
using Make = std::function<std::unique_ptr<Conv>(const Isa&, const ConvProblem&, std::shared_ptr<const PackedWeights>, int,
                                                 std::string*)>;

// The problem of a case, its memory and the bytes that conv_reference makes of it, for any number of kernels.
class Checked {
 public:
  explicit Checked(const Case& c)
      : case_(c),
        random_(c.seed),
        epilogue_(make_epilogue(c, random_)),
        x_(make_x()),
        y_(static_cast<int64_t>(size_of(epilogue_.out)), c.n, c.oc, c.oh(), c.ow(), 1, 2, 1, 1, c, random_),
        residual_(make_residual()),
        weights_(c, random_) {
    problem_.shape = {c.n,  c.ic,       c.h,        c.w,          c.oc,         c.oh(),    c.ow(),     c.kh,
                      c.kw, c.stride_h, c.stride_w, c.dilation_h, c.dilation_w, c.pad_top, c.pad_left, c.groups};
    problem_.x_dtype = is_float() ? DType::f32 : DType::u8;
    problem_.epilogue = epilogue_;
    problem_.epilogue.keeps_range =
        (epilogue_.out == DType::f32 || epilogue_.y_scale != 0) && c.seed % 2 == 0;  // of every other case
    problem_.epilogue.range_of_most = epilogue_.y_scale != 0 && c.seed % 4 == 0;
    problem_.x = x_.layout;
    problem_.y = y_.layout;
    problem_.residual = residual_.layout;
    args_.x = x_.data;
    args_.y = y_.data;
    args_.residual = residual_.data;
    if (c.at_run) {
      args_.x_zero_point = c.x_zero_point;
      args_.x_scale = 0.37f;
    }
    before_ = y_.snapshot();
    ConvArgs args = args_;
    args.range = expected_range_.data();
    if (unsupported_reason(epilogue_, is_float()).empty()) conv_reference(problem_, weights_.view, args);
    expected_ = y_.snapshot();
  }

  const ConvProblem& problem() const { return problem_; }
  const ConvWeights& weights() const { return weights_.view; }

  // Empty when every byte of y and its surroundings agrees; otherwise the first difference, or why the family declined.
  std::string run(const Isa& isa, const Pack& pack, const Make& make) const {
    const Case& c = case_;
    const auto packed = pack(isa, problem_.shape, weights_.view);
    if (!packed) return "declined at packing: " + to_string(c);
    std::string reason;
    const std::unique_ptr<Conv> conv = make(isa, problem_, packed, c.parts, &reason);
    if (!conv) return "declined: " + reason + ": " + to_string(c);
    y_.restore(before_);
    ConvArgs args = args_;
    std::array<float, 2> range{};
    args.range = range.data();
    for (int part = c.parts - 1; part >= 0; --part) {
      AlignedBuffer workspace(conv->workspace_bytes());  // per thread
      args.workspace = workspace.as<void>();
      conv->run(args, part, c.parts);
    }
    if (range != expected_range_)
      return conv->name() + ": the range is " + std::to_string(range[0]) + " to " + std::to_string(range[1]) + ", not " +
             std::to_string(expected_range_[0]) + " to " + std::to_string(expected_range_[1]) + ": " + to_string(c);
    const uint8_t* actual = y_.memory->data();
    for (size_t i = 0; i < expected_.size(); ++i) {
      if (actual[i] == expected_[i]) continue;
      const int64_t offset = static_cast<int64_t>(i) - (y_.data - actual);
      std::ostringstream message;
      message << conv->name() << ": byte " << offset << " of y (row " << y_.layout.row << ", pixel " << y_.layout.pixel
              << ") is " << int{actual[i]} << ", not " << int{expected_[i]} << ": " << to_string(c);
      return message.str();
    }
    return {};
  }

 private:
  bool is_float() const { return case_.weights == DType::f32; }

  // The halo reaches as far as the last tap, not as far as the padding says.
  static int64_t reach(int64_t out, int64_t stride, int64_t dilation, int64_t kernel, int64_t pad, int64_t size) {
    return std::max<int64_t>(0, (out - 1) * stride + dilation * (kernel - 1) - pad - size + 1);
  }

  Image make_x() {
    const Case& c = case_;
    const int64_t bottom = reach(c.oh(), c.stride_h, c.dilation_h, c.kh, c.pad_top, c.h);
    const int64_t right = reach(c.ow(), c.stride_w, c.dilation_w, c.kw, c.pad_left, c.w);
    Image x(is_float() ? 4 : 1, c.n, c.ic, c.h, c.w, c.pad_top, c.pad_left, bottom, right, c, random_);
    for (int64_t n = 0; n < c.n; ++n)
      for (int64_t i = -c.pad_top; i < c.h + bottom; ++i)
        for (int64_t j = -c.pad_left; j < c.w + right; ++j) {
          const bool inside = i >= 0 && i < c.h && j >= 0 && j < c.w;
          for (int64_t k = 0; k < c.ic; ++k) {
            if (is_float()) {
              const float v = inside ? float_input() : 0.0f;
              std::memcpy(x.at(n, i, j) + 4 * k, &v, 4);
            } else {
              x.at(n, i, j)[k] = inside ? input() : static_cast<uint8_t>(c.x_zero_point);
            }
          }
        }
    return x;
  }

  float float_input() {
    if (case_.input == InputPattern::some_nan && random_.in(0, 39) == 0) return std::numeric_limits<float>::quiet_NaN();
    return random_.real(-2.0f, 2.0f);
  }

  uint8_t input() {
    if (case_.input == InputPattern::all_255) return 255;
    if (case_.input == InputPattern::extremes) return random_.flip() ? 255 : 0;
    return static_cast<uint8_t>(random_.bits() >> 16);
  }

  Image make_residual() {
    const Case& c = case_;
    const bool is_f32 = epilogue_.residual == ResidualKind::f32;
    Image residual(is_f32 ? 4 : 1, c.n, c.oc, c.oh(), c.ow(), 0, 1, 0, 0, c, random_);
    for (int64_t n = 0; n < c.n && is_f32; ++n)
      for (int64_t i = 0; i < c.oh(); ++i)
        for (int64_t j = 0; j < c.ow(); ++j)
          for (int64_t k = 0; k < c.oc; ++k) {
            const float v = random_.real(-3.0f, 3.0f);
            std::memcpy(residual.at(n, i, j) + 4 * k, &v, 4);
          }
    return residual;
  }

  const Case case_;
  Random random_;
  const Epilogue epilogue_;
  const Image x_, y_, residual_;
  const Weights weights_;
  ConvProblem problem_;
  ConvArgs args_;
  std::vector<uint8_t> before_, expected_;
  std::array<float, 2> expected_range_{};
};

inline std::string check(const Isa& isa, const Case& c, const Pack& pack, const Make& make) {
  return Checked(c).run(isa, pack, make);
}

// By whichever family takes the case.
inline std::string check(const Isa& isa, const Case& c) { return check(isa, c, pack_weights, make_conv); }

// Vector ISAs; a test instance each, skipped with a reason where the CPU lacks it.
inline std::vector<const Isa*> vector_isas() {
  std::vector<const Isa*> isas;
  for (const Isa& candidate : all_isas())
    if (candidate.vector_bytes > 0) isas.push_back(&candidate);
  return isas;
}

}  // namespace octet::kernels::testing
