// Signals: HannWindow, HammingWindow, BlackmanWindow, DFT, STFT, MelWeightMatrix. All in double, rounded once.
//
//   window(n)  a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N), N the size, or one less for a symmetric window
//   DFT        y[k] = sum over n of x[n] exp(-2 pi i k n / N): by halves where N is a power of two, else as the sum stands;
//              inverse: the other sign, divided by N. One-sided: only k <= N / 2, the rest being their conjugates
//   mel(f)     2595 log10(1 + f / 700)
#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <numbers>

#include "graph/ops/families.h"
#include "graph/ops/helpers.h"

namespace octet::graph::ops {
namespace {

using Complex = std::complex<double>;
using Signal = std::vector<Complex>;

// The value of a scalar input where it can be told.
template <class Ctx>
std::optional<int64_t> scalar_of(const Ctx& ctx, size_t i) {
  const auto values = int_values(ctx, i);
  if (!values || values->size() != 1) return std::nullopt;
  return (*values)[0];
}
template <class Ctx>
int64_t checked_positive(const Ctx& ctx, const char* what, int64_t v) {
  if (v < 1) fail(ctx, std::string(what) + " is " + std::to_string(v) + "; expected at least 1");
  return v;
}
template <class Ctx>
DType output_datatype(const Ctx& ctx) {
  const int64_t code = ctx.node().attr("output_datatype", int64_t{1});
  const DType dtype = dtype_from_onnx(code);
  if (dtype == DType::undefined || size_of(dtype) == 0)
    fail(ctx, "output_datatype is " + std::to_string(code) + "; expected the code of a numeric element type");
  return dtype;
}

// --- windows
// ----------------------------------------------------------------------------------------------------------------
void infer_window(InferContext& ctx) {
  expect_dtype(ctx, 0, {DType::s32, DType::s64});
  const auto size = scalar_of(ctx, 0);
  if (size && *size < 0) fail(ctx, "size is " + std::to_string(*size) + "; expected a length");
  set_dims(ctx, 0, output_datatype(ctx), Dims{size ? Dim(*size) : Dim()});
}

void eval_window(EvalContext& ctx, double a0, double a1, double a2) {
  const int64_t size = scalar_s64(ctx, 0);
  if (size < 0) fail(ctx, "size is " + std::to_string(size) + "; expected a length");
  const int64_t period = ctx.node().attr("periodic", int64_t{1}) != 0 ? size : size - 1;
  std::vector<double> w(static_cast<size_t>(size), 1.0);
  for (int64_t n = 0; n < size && period > 0; ++n) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(n) / static_cast<double>(period);
    w[static_cast<size_t>(n)] = a0 - a1 * std::cos(angle) + a2 * std::cos(2 * angle);
  }
  ctx.out() = from_f64(ctx, w, output_datatype(ctx), {size});
}
void eval_hann(EvalContext& ctx) { eval_window(ctx, 0.5, 0.5, 0); }
void eval_hamming(EvalContext& ctx) { eval_window(ctx, 25.0 / 46, 21.0 / 46, 0); }
void eval_blackman(EvalContext& ctx) { eval_window(ctx, 0.42, 0.5, 0.08); }

// --- the transform
// ----------------------------------------------------------------------------------------------------------
// Of a power of two elements: even and odd ones apart, then y[k] = even[k] + w^k odd[k], y[k + n/2] = even[k] - w^k odd[k].
void transform_halves(Signal& x, const Signal& roots, size_t stride) {
  const size_t n = x.size();
  if (n == 1) return;
  Signal even(n / 2), odd(n / 2);
  for (size_t i = 0; i < n / 2; ++i) even[i] = x[2 * i], odd[i] = x[2 * i + 1];
  transform_halves(even, roots, 2 * stride);
  transform_halves(odd, roots, 2 * stride);
  for (size_t k = 0; k < n / 2; ++k) {
    const Complex turned = roots[k * stride] * odd[k];
    x[k] = even[k] + turned;
    x[k + n / 2] = even[k] - turned;
  }
}

class Transform {
 public:
  Transform(size_t n, bool inverse) : inverse_(inverse), roots_(n) {
    const double turn = (inverse ? 2 : -2) * std::numbers::pi / static_cast<double>(n);
    for (size_t k = 0; k < n; ++k) roots_[k] = std::polar(1.0, turn * static_cast<double>(k));
  }
  Signal operator()(Signal x) const {
    const size_t n = x.size();
    if (std::has_single_bit(n)) {
      transform_halves(x, roots_, 1);
    } else {
      Signal y(n);
      for (size_t k = 0; k < n; ++k)
        for (size_t i = 0; i < n; ++i) y[k] += x[i] * roots_[k * i % n];
      x = std::move(y);
    }
    if (inverse_)
      for (Complex& v : x) v /= static_cast<double>(n);
    return x;
  }

 private:
  bool inverse_;
  Signal roots_;  // exp(+-2 pi i k / n)
};

// --- DFT: [..., n, ..., 1 or 2], the last axis real and imaginary part
// ----------------------------------------------------------
struct DftForm {
  size_t axis = 0;
  bool inverse = false, onesided = false;
  Dim length;  // of the transform
};

// Absent where the axis is not known.
template <class Ctx>
std::optional<DftForm> dft_form(const Ctx& ctx, const Dims& x) {
  DftForm form;
  const auto rank = static_cast<int64_t>(x.size());
  const auto axis = ctx.has(2) ? scalar_of(ctx, 2) : std::optional<int64_t>(-2);
  if (!axis) return std::nullopt;
  form.axis = static_cast<size_t>(normalize_axis(ctx, *axis, rank));
  if (form.axis + 1 == x.size()) fail(ctx, "axis is the last one, which holds real and imaginary parts; expected another");
  form.inverse = ctx.node().attr("inverse", int64_t{0}) != 0;
  form.onesided = ctx.node().attr("onesided", int64_t{0}) != 0;
  const Dim parts = x.back(), in = x[form.axis];
  if (parts.known() && parts.value != 1 && parts.value != 2)
    fail(ctx, "the last axis has size " + std::to_string(parts.value) + "; expected 1 (real) or 2 (complex)");
  if (form.onesided && parts.known() && parts.value != (form.inverse ? 2 : 1))
    fail(ctx, "onesided is 1; expected a real input, or a complex one with inverse");
  if (ctx.has(1)) {
    if (const auto given = scalar_of(ctx, 1)) form.length = Dim(checked_positive(ctx, "dft_length", *given));
  } else if (form.onesided && form.inverse) {
    if (in.known()) form.length = Dim(2 * (in.value - 1));
  } else {
    form.length = in;
  }
  return form;
}

Dims dft_dims(const DftForm& form, Dims x) {
  const bool half = form.onesided && !form.inverse;
  x[form.axis] = half ? (form.length.known() ? Dim(form.length.value / 2 + 1) : Dim()) : form.length;
  x.back() = Dim(form.onesided && form.inverse ? 1 : 2);
  return x;
}

void infer_dft(InferContext& ctx) {
  expect_real(ctx, 0);
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 2, 64);
  if (!x) return set_dims(ctx, 0, dtype_of(ctx, 0), std::nullopt);
  const auto form = dft_form(ctx, *x);
  set_dims(ctx, 0, dtype_of(ctx, 0), form ? dft_dims(*form, *x) : Dims(x->size()));
}

void eval_dft(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const DftForm form = *dft_form(ctx, to_dims(x.shape()));
  const Shape shape = to_shape(dft_dims(form, to_dims(x.shape())));
  const int64_t n = checked_positive(ctx, "the length of the transform", form.length.value), in = x.shape()[form.axis];
  const int64_t parts = x.shape().back(), out_parts = shape.back(), bins = shape[form.axis];
  const int64_t outer = product(x.shape(), 0, form.axis);
  const int64_t inner = product(x.shape(), form.axis + 1, x.shape().size() - 1);
  const std::vector<double> values = to_f64(x);
  std::vector<double> out(static_cast<size_t>(element_count(shape)));
  const Transform transform(static_cast<size_t>(n), form.inverse);
  for (int64_t line = 0; line < outer * inner; ++line) {
    const int64_t o = line / inner, i = line % inner;
    Signal signal(static_cast<size_t>(n));
    for (int64_t k = 0; k < std::min(n, in); ++k) {
      const auto at = static_cast<size_t>(((o * in + k) * inner + i) * parts);
      signal[static_cast<size_t>(k)] = {values[at], parts == 2 ? values[at + 1] : 0.0};
    }
    if (form.onesided && form.inverse)
      for (int64_t k = n / 2 + 1; k < n; ++k) signal[static_cast<size_t>(k)] = std::conj(signal[static_cast<size_t>(n - k)]);
    signal = transform(std::move(signal));
    for (int64_t k = 0; k < bins; ++k) {
      const auto at = static_cast<size_t>(((o * bins + k) * inner + i) * out_parts);
      out[at] = signal[static_cast<size_t>(k)].real();
      if (out_parts == 2) out[at + 1] = signal[static_cast<size_t>(k)].imag();
    }
  }
  ctx.out() = from_f64(ctx, out, x.dtype(), shape);
}

// --- STFT: [batch, length, 1 or 2] to [batch, frames, bins, 2]
// -------------------------------------------------------------------
struct StftForm {
  std::optional<int64_t> step, frame, length;
  bool onesided = true;
};
template <class Ctx>
StftForm stft_form(const Ctx& ctx, const Dims& x) {
  StftForm form;
  form.onesided = ctx.node().attr("onesided", int64_t{1}) != 0;
  if (form.onesided && x[2].known() && x[2].value != 1)
    fail(ctx, "onesided is 1 and the signal complex; expected a real signal of shape [batch, length, 1]");
  form.step = scalar_of(ctx, 1);
  if (form.step) checked_positive(ctx, "frame_step", *form.step);
  if (x[1].known()) form.length = x[1].value;
  if (ctx.has(3)) {
    form.frame = scalar_of(ctx, 3);
  } else if (!ctx.has(2)) {
    form.frame = form.length;
  }
  if (ctx.has(2)) {
    const MaybeDims window = dims_of(ctx, 2);
    expect_rank(ctx, 2, window, 1, 1);
    if (window && (*window)[0].known()) {
      if (form.frame && *form.frame != (*window)[0].value)
        fail(ctx, "the window has " + std::to_string((*window)[0].value) + " elements; expected frame_length, " +
                      std::to_string(*form.frame));
      form.frame = (*window)[0].value;
    }
  }
  if (form.frame) checked_positive(ctx, "the frame's length", *form.frame);
  if (form.frame && form.length && *form.length < *form.frame)
    fail(ctx, "the signal has " + std::to_string(*form.length) + " samples; expected at least one frame, " +
                  std::to_string(*form.frame));
  return form;
}
Dims stft_dims(const StftForm& form, const Dims& x) {
  Dims out{x[0], Dim(), Dim(), Dim(2)};
  if (form.step && form.frame && form.length) out[1] = Dim((*form.length - *form.frame) / *form.step + 1);
  if (form.frame) out[2] = Dim(form.onesided ? *form.frame / 2 + 1 : *form.frame);
  return out;
}

void infer_stft(InferContext& ctx) {
  expect_real(ctx, 0);
  const MaybeDims x = dims_of(ctx, 0);
  expect_rank(ctx, 0, x, 3, 3);
  set_dims(ctx, 0, dtype_of(ctx, 0), x ? stft_dims(stft_form(ctx, *x), *x) : Dims(4));
}

void eval_stft(EvalContext& ctx) {
  const Tensor& x = ctx.in(0);
  const Dims dims = to_dims(x.shape());
  const StftForm form = stft_form(ctx, dims);
  const Shape shape = to_shape(stft_dims(form, dims));
  const int64_t frame = *form.frame, parts = x.shape()[2], frames = shape[1], bins = shape[2];
  const std::vector<double> values = to_f64(x);
  const std::vector<double> window = ctx.has(2) ? to_f64(ctx.in(2)) : std::vector<double>(static_cast<size_t>(frame), 1.0);
  const Transform transform(static_cast<size_t>(frame), false);
  std::vector<double> out;
  out.reserve(static_cast<size_t>(element_count(shape)));
  for (int64_t b = 0; b < shape[0]; ++b)
    for (int64_t f = 0; f < frames; ++f) {
      Signal signal(static_cast<size_t>(frame));
      for (int64_t k = 0; k < frame; ++k) {
        const auto at = static_cast<size_t>((b * *form.length + f * *form.step + k) * parts);
        signal[static_cast<size_t>(k)] =
            Complex(values[at], parts == 2 ? values[at + 1] : 0.0) * window[static_cast<size_t>(k)];
      }
      signal = transform(std::move(signal));
      for (int64_t k = 0; k < bins; ++k) {
        out.push_back(signal[static_cast<size_t>(k)].real());
        out.push_back(signal[static_cast<size_t>(k)].imag());
      }
    }
  ctx.out() = from_f64(ctx, out, x.dtype(), shape);
}

// --- MelWeightMatrix: one triangle a column, peak 1, its corners at whole bins
// ---------------------------------------------------
void infer_mel(InferContext& ctx) {
  const auto bands = scalar_of(ctx, 0), length = scalar_of(ctx, 1);
  if (bands) checked_positive(ctx, "num_mel_bins", *bands);
  if (length) checked_positive(ctx, "dft_length", *length);
  set_dims(ctx, 0, output_datatype(ctx), Dims{length ? Dim(*length / 2 + 1) : Dim(), bands ? Dim(*bands) : Dim()});
}

void eval_mel(EvalContext& ctx) {
  const int64_t bands = checked_positive(ctx, "num_mel_bins", scalar_s64(ctx, 0));
  const int64_t length = checked_positive(ctx, "dft_length", scalar_s64(ctx, 1));
  const int64_t rate = checked_positive(ctx, "sample_rate", scalar_s64(ctx, 2));
  const int64_t bins = length / 2 + 1;
  const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  const double low = mel(static_cast<double>(scalar_f32(ctx, 3))), high = mel(static_cast<double>(scalar_f32(ctx, 4)));
  const double step = (high - low) / static_cast<double>(bands + 2);
  std::vector<int64_t> corners;
  for (int64_t i = 0; i < bands + 2; ++i) {
    const double hertz = 700 * (std::pow(10.0, (static_cast<double>(i) * step + low) / 2595) - 1);
    const double corner = std::floor(static_cast<double>(length + 1) * hertz / static_cast<double>(rate));
    if (!(corner >= 0 && corner < static_cast<double>(bins)))
      fail(ctx,
           "the edges reach beyond the spectrum; expected 0 <= lower_edge_hertz <= upper_edge_hertz <= sample_rate / 2");
    corners.push_back(static_cast<int64_t>(corner));
  }
  std::vector<double> out(static_cast<size_t>(bins * bands), 0.0);
  for (size_t band = 0; band + 2 < corners.size(); ++band) {
    const int64_t left = corners[band], centre = corners[band + 1], right = corners[band + 2];
    const auto weight = [&](int64_t bin) -> double& { return out[static_cast<size_t>(bin * bands) + band]; };
    for (int64_t bin = left; bin < centre; ++bin)
      weight(bin) = static_cast<double>(bin - left) / static_cast<double>(centre - left);
    for (int64_t bin = centre; bin < right; ++bin)
      weight(bin) = static_cast<double>(right - bin) / static_cast<double>(right - centre);
    weight(centre) = 1;
  }
  ctx.out() = from_f64(ctx, out, output_datatype(ctx), {bins, bands});
}

OpDef window(std::string name, void (*eval)(EvalContext&)) {
  return {.name = std::move(name),
          .inputs = {{"size"}},
          .attrs = {{"output_datatype", AttrKind::i}, {"periodic", AttrKind::i}},
          .infer = infer_window,
          .eval = eval};
}

std::vector<OpDef> define() {
  return {
      window("HannWindow", eval_hann),
      window("HammingWindow", eval_hamming),
      window("BlackmanWindow", eval_blackman),
      {.name = "DFT",
       .inputs = {{"input"}, {"dft_length", true}, {"axis", true}},
       .attrs = {{"inverse", AttrKind::i}, {"onesided", AttrKind::i}},
       .infer = infer_dft,
       .eval = eval_dft},
      {.name = "STFT",
       .inputs = {{"signal"}, {"frame_step"}, {"window", true}, {"frame_length", true}},
       .attrs = {{"onesided", AttrKind::i}},
       .infer = infer_stft,
       .eval = eval_stft},
      {.name = "MelWeightMatrix",
       .inputs = {{"num_mel_bins"}, {"dft_length"}, {"sample_rate"}, {"lower_edge_hertz"}, {"upper_edge_hertz"}},
       .attrs = {{"output_datatype", AttrKind::i}},
       .infer = infer_mel,
       .eval = eval_mel},
  };
}

}  // namespace

std::span<const OpDef> signal_ops() {
  static const std::vector<OpDef> kOps = define();
  return kOps;
}

}  // namespace octet::graph::ops
