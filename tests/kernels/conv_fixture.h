// Convolution problems with everything around them that can go wrong: halos, odd strides, neighbours that must stay untouched,
// an unreadable page right behind the slack.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/conv.h"

namespace octet::kernels {

// Bytes whose last kSlack end at an unreadable page.
class GuardedBytes {
 public:
  explicit GuardedBytes(int64_t bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t used = static_cast<size_t>(bytes + 2 * kSlack);
    mapped_ = (used + page - 1) / page * page + page;
    base_ = static_cast<uint8_t*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    mprotect(base_ + mapped_ - page, page, PROT_NONE);
    data_ = base_ + mapped_ - page - kSlack - bytes;
    bytes_ = bytes;
  }
  ~GuardedBytes() { munmap(base_, mapped_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  uint8_t* base_;
  uint8_t* data_;
  size_t mapped_;
  int64_t bytes_;
};

enum class WeightFill { gauss, uniform, all_127, all_minus_128, alternating, sparse };
enum class InputFill { random, all_255, extremes, some_nan };

struct ConvCase {
  ConvShape shape;
  DType x = DType::u8;
  DType out = DType::u8;
  ResidualKind residual = ResidualKind::none;
  ActKind act = ActKind::none;
  bool float_bias = false;
  bool int_bias = true;
  WeightFill weights = WeightFill::gauss;
  InputFill input = InputFill::random;
  DType weight_dtype = DType::s8;
  bool weight_zero_points = false;  // one a channel
  int x_zero_point = 7;
  bool x_zero_point_at_run = false;
  int y_zero_point = 11;
  int lo = 0, hi = 255;
  float gain = 1;      // multiplies the scales, to reach saturation
  int x_extra = 0;     // bytes between pixels; floats round it up to 4
  int y_before = 0, y_after = 0;  // channels of neighbours in the same buffer
  int row_extra = 0;   // bytes behind a row
  unsigned seed = 1;
};

// Output sizes from the rest; padding `bottom` and `right` are as much as top and left.
inline ConvShape conv_shape(int64_t n, int64_t ic, int64_t ih, int64_t iw, int64_t oc, int64_t k, int64_t stride = 1,
                            int64_t pad = 0, int64_t dilation = 1, int64_t groups = 1) {
  ConvShape s;
  s.n = n, s.ic = ic, s.ih = ih, s.iw = iw, s.oc = oc, s.kh = s.kw = k;
  s.stride_h = s.stride_w = stride, s.dilation_h = s.dilation_w = dilation, s.pad_top = s.pad_left = pad, s.groups = groups;
  s.oh = (ih + 2 * pad - ((k - 1) * dilation + 1)) / stride + 1;
  s.ow = (iw + 2 * pad - ((k - 1) * dilation + 1)) / stride + 1;
  return s;
}

class ConvRun {
 public:
  explicit ConvRun(const ConvCase& c) : case_(c), random_(c.seed) {
    make_weights();
    make_epilogue();
    make_x();
    make_y();
  }

  // Runs the kernel in `parts` parts and compares every byte of the output buffer with the reference's.
  void check(const Isa& isa, int parts = 1) {
    std::string reason;
    const auto packed = pack_weights(isa, case_.shape, weights_);
    const auto conv = make_conv(isa, problem_, packed, parts, &reason);
    ASSERT_NE(conv, nullptr) << reason;
    GuardedBytes expected(y_->bytes());
    fill_random(y_->data(), y_->bytes(), 99);
    std::memcpy(expected.data(), y_->data(), static_cast<size_t>(y_->bytes()));
    ConvArgs args = this->args();
    for (int part = 0; part < parts; ++part) {
      std::vector<uint8_t> workspace(conv->workspace_bytes() + 64);
      args.workspace = workspace.data() + (64 - reinterpret_cast<uintptr_t>(workspace.data()) % 64);
      conv->run(args, part, parts);
    }
    args.y = expected.data() + (static_cast<uint8_t*>(args.y) - y_->data());
    conv_reference(problem_, weights_, args);
    for (int64_t i = 0; i < y_->bytes(); ++i)
      ASSERT_EQ(int{y_->data()[i]}, int{expected.data()[i]})
          << "byte " << i << " of " << y_->bytes() << ", " << where(i) << "; " << conv->name() << "; " << text();
  }

  ConvArgs args() const {
    ConvArgs args;
    args.x = x_at_zero();
    args.y = y_->data() + case_.y_before * y_element();
    if (residual_) args.residual = residual_->data() + case_.y_before * residual_element();
    args.x_scale = case_.x_zero_point_at_run ? 0.037f : 1.0f;
    args.x_zero_point = case_.x_zero_point;
    return args;
  }
  const ConvProblem& problem() const { return problem_; }
  const ConvWeights& weights() const { return weights_; }

  std::string text() const {
    const ConvShape& s = case_.shape;
    const auto t = [](int64_t v) { return std::to_string(v); };
    return "n" + t(s.n) + " ic" + t(s.ic) + " " + t(s.ih) + "x" + t(s.iw) + " oc" + t(s.oc) + " " + t(s.oh) + "x" + t(s.ow) +
           " k" + t(s.kh) + "x" + t(s.kw) + " s" + t(s.stride_h) + "," + t(s.stride_w) + " d" + t(s.dilation_h) + "," +
           t(s.dilation_w) + " p" + t(s.pad_top) + "," + t(s.pad_left) + " g" + t(s.groups) + " out " +
           std::string(to_string(case_.out)) + " residual " + t(static_cast<int>(case_.residual)) + " act " +
           t(static_cast<int>(case_.act)) + " seed " + t(case_.seed);
  }

 private:
  int64_t x_element() const { return case_.x == DType::f32 ? 4 : 1; }
  int64_t y_element() const { return static_cast<int64_t>(size_of(case_.out)); }
  int64_t residual_element() const { return case_.residual == ResidualKind::f32 ? 4 : 1; }

  int integer(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(random_); }
  float real(float lo, float hi) { return std::uniform_real_distribution<float>(lo, hi)(random_); }

  void fill_random(uint8_t* to, int64_t bytes, unsigned seed) {
    std::minstd_rand fast(seed);
    for (int64_t i = 0; i < bytes; ++i) to[i] = static_cast<uint8_t>(fast() >> 8);
  }

  void make_weights() {
    const ConvShape& s = case_.shape;
    const size_t count = static_cast<size_t>(s.oc * (s.ic / s.groups) * s.kh * s.kw);
    std::normal_distribution<float> normal;
    if (case_.x == DType::f32) {
      float_weights_.resize(count);
      for (float& w : float_weights_) w = normal(random_);
      weights_.data = float_weights_.data();
      weights_.dtype = DType::f32;
      return;
    }
    const bool is_signed = case_.weight_dtype == DType::s8;
    const int middle = is_signed ? 0 : 128;
    bytes_.resize(count);
    for (size_t i = 0; i < count; ++i) {
      int w = 0;
      switch (case_.weights) {
        case WeightFill::gauss: w = std::clamp(static_cast<int>(std::lround(normal(random_) * 36)), -128, 127); break;
        case WeightFill::uniform: w = integer(-128, 127); break;
        case WeightFill::all_127: w = 127; break;
        case WeightFill::all_minus_128: w = -128; break;
        case WeightFill::alternating: w = i % 2 ? 127 : -128; break;
        case WeightFill::sparse: w = integer(0, 7) ? 0 : integer(-128, 127); break;
      }
      bytes_[i] = static_cast<uint8_t>(w + middle);
    }
    if (case_.weight_zero_points)
      for (int64_t n = 0; n < s.oc; ++n) zero_points_.push_back(is_signed ? integer(-128, 127) : integer(0, 255));
    else if (!is_signed)
      zero_points_ = {131};
    if (case_.int_bias)
      for (int64_t n = 0; n < s.oc; ++n) bias_.push_back(integer(-20000, 20000));
    weights_ = {bytes_.data(), case_.weight_dtype, zero_points_, bias_, case_.x_zero_point, case_.x_zero_point_at_run};
  }

  void make_epilogue() {
    const ConvShape& s = case_.shape;
    Epilogue& e = problem_.epilogue;
    e.out = case_.out;
    if (case_.out == DType::s32) return;
    const float typical = 50.0f / (255.0f * 40.0f * std::sqrt(static_cast<float>(s.ic / s.groups * s.kh * s.kw)));
    if (case_.x == DType::u8)
      for (int64_t n = 0; n < s.oc; ++n) e.scale.push_back(case_.gain * typical * real(0.3f, 2.0f));
    if (case_.float_bias)
      for (int64_t n = 0; n < s.oc; ++n) e.bias.push_back(real(-9, 9));
    e.residual = case_.residual;
    e.residual_scale = 0.71f;
    e.residual_zero_point = 93;
    e.mid_scale = 0.83f;
    e.mid_zero_point = 121;
    e.act = case_.act;
    e.act_lo = -1.5f;
    e.act_hi = 6.0f;
    e.alpha = 0.125f;
    e.zero_point = case_.y_zero_point;
    e.lo = case_.lo;
    e.hi = case_.hi;
  }

  void make_x() {
    const ConvShape& s = case_.shape;
    const auto reach = [](int64_t out, int64_t stride, int64_t k, int64_t dilation, int64_t pad, int64_t in) {
      return std::max<int64_t>(0, (out - 1) * stride + (k - 1) * dilation + 1 - pad - in);
    };
    const int64_t bottom = reach(s.oh, s.stride_h, s.kh, s.dilation_h, s.pad_top, s.ih);
    const int64_t right = reach(s.ow, s.stride_w, s.kw, s.dilation_w, s.pad_left, s.iw);
    const auto whole = [&](int64_t bytes) { return (bytes + x_element() - 1) / x_element() * x_element(); };
    ImageLayout& l = problem_.x;
    l.pixel = whole(s.ic * x_element() + case_.x_extra);
    l.row = (s.pad_left + s.iw + right) * l.pixel + whole(case_.row_extra);
    l.image = (s.pad_top + s.ih + bottom) * l.row;
    // The buffer ends with the last pixel's channels, so that the slack begins right behind them.
    const int64_t gap = l.pixel - s.ic * x_element() + whole(case_.row_extra);
    x_ = std::make_unique<GuardedBytes>(s.n * l.image - gap);
    fill_random(x_->data(), x_->bytes(), case_.seed + 5);
    problem_.x_dtype = case_.x;
    problem_.shape = s;
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t y = -s.pad_top; y < s.ih + bottom; ++y)
        for (int64_t x = -s.pad_left; x < s.iw + right; ++x) {
          const bool inside = y >= 0 && y < s.ih && x >= 0 && x < s.iw;
          uint8_t* pixel = x_at_zero() + n * l.image + y * l.row + x * l.pixel;
          for (int64_t c = 0; c < s.ic; ++c) set_x(pixel + c * x_element(), inside);
        }
  }

  void set_x(uint8_t* element, bool inside) {
    if (case_.x == DType::f32) {
      const bool nan = inside && case_.input == InputFill::some_nan && integer(0, 39) == 0;
      const float value = nan ? std::numeric_limits<float>::quiet_NaN() : inside ? real(-2, 2) : 0.0f;
      std::memcpy(element, &value, 4);
      return;
    }
    if (!inside) *element = static_cast<uint8_t>(case_.x_zero_point);
    else if (case_.input == InputFill::all_255) *element = 255;
    else if (case_.input == InputFill::extremes) *element = integer(0, 1) ? 255 : 0;
  }

  uint8_t* x_at_zero() const {
    return x_->data() + case_.shape.pad_top * problem_.x.row + case_.shape.pad_left * problem_.x.pixel;
  }

  void make_y() {
    const ConvShape& s = case_.shape;
    const int64_t channels = case_.y_before + s.oc + case_.y_after;
    const auto layout = [&](int64_t element) {
      const int64_t pixel = channels * element, row = s.ow * pixel + (case_.row_extra + 3) / 4 * 4;
      return ImageLayout{pixel, row, s.oh * row};
    };
    problem_.y = layout(y_element());
    y_ = std::make_unique<GuardedBytes>(s.n * problem_.y.image);
    if (case_.residual == ResidualKind::none) return;
    problem_.residual = layout(residual_element());
    residual_ = std::make_unique<GuardedBytes>(s.n * problem_.residual.image);
    fill_random(residual_->data(), residual_->bytes(), case_.seed + 9);
    if (case_.residual == ResidualKind::f32)
      for (int64_t i = 0; i + 4 <= residual_->bytes(); i += 4) {
        const float value = real(-5, 5);
        std::memcpy(residual_->data() + i, &value, 4);
      }
  }

  std::string where(int64_t byte) const {
    const ImageLayout& l = problem_.y;
    const int64_t row = byte % l.image / l.row, pixel = byte % l.image % l.row / l.pixel;
    const int64_t channel = byte % l.image % l.row % l.pixel / y_element() - case_.y_before;
    return "image " + std::to_string(byte / l.image) + " pixel (" + std::to_string(row) + "," + std::to_string(pixel) +
           ") channel " + std::to_string(channel);
  }

  const ConvCase case_;
  std::mt19937 random_;
  std::vector<float> float_weights_;
  std::vector<uint8_t> bytes_;
  std::vector<int32_t> zero_points_, bias_;
  ConvWeights weights_;
  ConvProblem problem_;
  std::unique_ptr<GuardedBytes> x_, y_, residual_;
};

// Vector ISAs; a test instance each, skipped with a reason where the CPU lacks it.
inline std::vector<const Isa*> vector_isas() {
  std::vector<const Isa*> isas;
  for (const Isa& candidate : all_isas())
    if (candidate.vector_bytes > 0) isas.push_back(&candidate);
  return isas;
}

class PerIsa : public testing::TestWithParam<const Isa*> {
 protected:
  void SetUp() override {
    std::string reason;
    if (!supported(*GetParam(), &reason)) GTEST_SKIP() << GetParam()->name << ": " << reason;
  }
  const Isa& isa() const { return *GetParam(); }
};

inline std::string isa_name(const testing::TestParamInfo<const Isa*>& info) { return std::string(info.param->name); }

}  // namespace octet::kernels
