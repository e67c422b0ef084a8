#include "kernels/depthwise.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <limits>

#include "kernels/depthwise/generator.h"
#include "kernels/jit/range_emitter.h"
#include "kernels/packed_weights.h"
#include "kernels/run_params.h"

namespace octet::kernels {
namespace {

using namespace depthwise;

// Weights of the channels that one pass over a strip reads again for every column block: they should stay in L1.
constexpr int64_t kWeightBytes = 16 * 1024;

class Depthwise final : public Conv {
 public:
  Depthwise(const Isa& isa, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights, int threads)
      : problem_(problem),
        weights_(std::move(weights)),
        packed_(weights_->as<Packed>()),
        params_(problem.epilogue, *weights_),
        constants_(make_epilogue_constants(isa, problem.epilogue)),
        name_("depthwise " + std::string(isa.name) + " " + weights_->description) {
    const ConvShape& s = problem_.shape;
    full_blocks_ = s.oc / packed_.block_channels();
    blocks_ = (s.oc + packed_.block_channels() - 1) / packed_.block_channels();
    choose_epilogue();

    const Plan& plan = packed_.plan;
    rows_ = std::min<int64_t>(plan.rows, s.oh);
    cols_ = std::min<int64_t>(plan.cols, s.ow);
    strips_ = (s.oh + rows_ - 1) / rows_;
    choose_copies();
    full_ = StripKernel(strip_spec(isa, rows_), plan);
    if (s.oh % rows_ > 0) last_ = StripKernel(strip_spec(isa, s.oh % rows_), plan);

    pass_blocks_ = std::clamp<int64_t>(kWeightBytes / packed_.block_bytes(), 1, blocks_);
    while (pass_blocks_ > 1 && s.n * strips_ * passes() < 4 * threads) pass_blocks_ = (pass_blocks_ + 1) / 2;
    if (plan.looped) offsets_ = tap_offsets(problem_, packed_);
  }

  void run(const ConvArgs& args, int part, int parts) const noexcept override {
    const ConvShape& s = problem_.shape;
    StripArgs strip;
    strip.constants = begin_range(problem_.epilogue, constants_, args.workspace);
    strip.offsets = offsets_.data();
    strip.offsets_end = offsets_.data() + offsets_.size();
    strip.col_blocks = s.ow / cols_;
    strip.copy_blocks = copy_blocks_;
    auto* workspace = static_cast<std::byte*>(args.workspace) + range_bytes(problem_.epilogue);
    const ChannelParams* params = params_.of(args, *weights_, workspace);
    if (interleaves_at_run()) {
      auto* interleaved = reinterpret_cast<ChannelParams*>(workspace + params_.bytes());
      interleave(params, s.oc, copies_, interleaved);
      params = interleaved;
    }

    const int64_t items = s.n * strips_ * passes();
    for (int64_t item = items * part / parts; item < items * (part + 1) / parts; ++item) {
      const int64_t image = item / strips_ % s.n, row = item % strips_ * rows_;
      const int64_t first = item / (s.n * strips_) * pass_blocks_, end = std::min(first + pass_blocks_, blocks_);
      strip.x = static_cast<const std::byte*>(args.x) + image * problem_.x.image +
                (row * s.stride_h - s.pad_top) * problem_.x.row - s.pad_left * problem_.x.pixel;
      strip.y = static_cast<std::byte*>(args.y) + image * problem_.y.image + row * problem_.y.row;
      if (problem_.epilogue.residual != ResidualKind::none)
        strip.residual =
            static_cast<const std::byte*>(args.residual) + image * problem_.residual.image + row * problem_.residual.row;
      strip.weights = packed_.data.as<std::byte>() + first * packed_.block_bytes();
      strip.params = params + first * (packed_.block_channels() / kBlockChannels);
      strip.channel = first * packed_.block_channels();
      strip.tail = end > full_blocks_;
      strip.blocks = end - first - strip.tail;
      (row + rows_ <= s.oh ? full_ : last_)(strip);
    }
    end_range(problem_.epilogue, strip.constants, args.range);
  }

  size_t workspace_bytes() const override {
    const size_t interleaved =
        interleaves_at_run() ? static_cast<size_t>(wide_records(problem_.shape.oc)) * sizeof(ChannelParams) : 0;
    return range_bytes(problem_.epilogue) + params_.bytes() + interleaved;
  }

  std::string name() const override { return name_; }

 private:
  int64_t passes() const { return (blocks_ + pass_blocks_ - 1) / pass_blocks_; }

  // Bound parameters of u8 outputs never change at run, those of values apart, so they may take the order and the offsets
  // that the form wants; the offset of the product lies in the bias, which offset sums do without.
  void choose_epilogue() {
    const Epilogue& e = problem_.epilogue;
    const bool clamp_first = must_clamp_first(e, weights_->facts.bound);
    const bool interleaved = packed_.wide && e.out == DType::u8 && e.residual == ResidualKind::none;
    epilogue_ = make_epilogue_form(e, packed_.form == Form::f32, packed_.wide && !interleaved, clamp_first);
    epilogue_.interleaved = interleaved;
    if (!interleaved || epilogue_.of_values) return;
    epilogue_.offset_sum = offset_sum_is_exact(e, weights_->facts.bound);
    std::vector<ChannelParams> records(static_cast<size_t>(wide_records(problem_.shape.oc)));
    interleave(params_.bound.data(), problem_.shape.oc, kWideBlockChannels, records.data());
    params_.bound = std::move(records);
    if (epilogue_.offset_sum) make_offset_params(params_.bound);
  }

  bool interleaves_at_run() const { return epilogue_.interleaved && epilogue_.of_values; }
  static int64_t wide_records(int64_t channels) { return (channels + kWideBlockChannels - 1) / kWideBlockChannels * 4; }

  // Lanes of the tail channels hold at most `copies` of them; the others get parameters of 0.
  static void interleave(const ChannelParams* records, int64_t channels, int64_t copies, ChannelParams* out) {
    std::fill_n(out, wide_records(channels), ChannelParams{});
    for (int64_t base = 0; base < channels; base += kWideBlockChannels) {
      const int period = wide_period(channels - base);
      for (int q = 0; q < 4; ++q)
        for (int i = 0; i < kBlockChannels; ++i) {
          const int64_t n = base + interleaved_channel(q, i) % period;
          if (n >= channels || interleaved_channel(q, i) / period >= copies) continue;
          const ChannelParams& from = records[n / 16];
          ChannelParams& to = out[base / 16 + q];
          to.int_bias[i] = from.int_bias[n % 16];
          to.scale[i] = from.scale[n % 16];
          to.bias[i] = from.bias[n % 16];
        }
    }
  }

  // The most blocks of columns that one vector of the tail channels can hold and the image is wide enough for.
  void choose_copies() {
    const int64_t width = problem_.shape.ow, tail = problem_.shape.oc % kWideBlockChannels;
    if (!epilogue_.interleaved || tail == 0) return;
    copies_ = kWideBlockChannels / wide_period(tail);
    while (copies_ > 1 && copies_ * cols_ > width) copies_ /= 2;
    copy_blocks_ = (width + copies_ * cols_ - 1) / (copies_ * cols_);
  }

  Spec strip_spec(const Isa& isa, int64_t rows) const {
    const ConvShape& s = problem_.shape;
    const Epilogue& e = problem_.epilogue;
    const bool residual = e.residual != ResidualKind::none;
    return {.isa = isa.id,
            .form = packed_.form,
            .rows = static_cast<int>(rows),
            .cols = static_cast<int>(cols_),
            .tail_cols = static_cast<int>(s.ow % cols_),
            .tail_channels = static_cast<int>(s.oc % packed_.block_channels()),
            .spread = packed_.multiplier > 1,
            .wide = packed_.wide,
            .planes = packed_.planes,
            .copies = static_cast<int>(copies_),
            .copy_step = static_cast<int>(s.ow - (copy_blocks_ - 1) * copies_ * cols_),
            .x_pixel = problem_.x.pixel,
            .x_row = problem_.x.row,
            .y_pixel = problem_.y.pixel,
            .y_row = problem_.y.row,
            .r_pixel = residual ? problem_.residual.pixel : 0,
            .r_row = residual ? problem_.residual.row : 0,
            .epilogue = epilogue_};
  }

  static std::vector<int32_t> tap_offsets(const ConvProblem& problem, const Packed& packed) {
    const Window& w = packed.plan.window;
    std::vector<int32_t> offsets;
    for (const Tuple& tuple : packed.plan.tuples)
      for (int i = 0; i < taps(packed.form); ++i) {
        const int p = tuple[static_cast<size_t>(i)] == kHole ? tuple[0] : tuple[static_cast<size_t>(i)];
        offsets.push_back(
            static_cast<int32_t>(p / w.kw * w.dilation_h * problem.x.row + p % w.kw * w.dilation_w * problem.x.pixel));
      }
    return offsets;
  }

  ConvProblem problem_;
  std::shared_ptr<const PackedWeights> weights_;
  const Packed& packed_;
  RunParams params_;
  EpilogueConstants constants_;
  std::string name_;
  std::vector<int32_t> offsets_;
  EpilogueForm epilogue_;
  int64_t blocks_ = 0, full_blocks_ = 0;  // of 16 or 64 channels
  int64_t rows_ = 1, cols_ = 1, strips_ = 1;
  int64_t copies_ = 1, copy_blocks_ = 1;
  int64_t pass_blocks_ = 1;  // blocks that one pass over the image computes
  StripKernel full_, last_;
};

// Every address inside a strip is a register plus a 32-bit displacement.
bool addressable(const ConvProblem& problem) {
  const ConvShape& s = problem.shape;
  const auto reach = [](const ImageLayout& layout, int64_t rows, int64_t cols) {
    return std::abs(layout.row) * rows + std::abs(layout.pixel) * cols;
  };
  const int64_t rows = s.kh * s.dilation_h + 8 * s.stride_h, cols = s.kw * s.dilation_w + 8 * s.stride_w;
  const int64_t farthest = std::max({reach(problem.x, rows, cols), reach(problem.y, 8, 8), reach(problem.residual, 8, 8)});
  return farthest < std::numeric_limits<int32_t>::max() - 4096;
}

}  // namespace

std::unique_ptr<Conv> make_depthwise(const Isa& isa, const ConvProblem& problem,
                                     std::shared_ptr<const PackedWeights> weights, int threads, std::string* reason) {
  const auto decline = [&](std::string why) {
    if (reason != nullptr) *reason = std::move(why);
    return nullptr;
  };
  assert(weights->kind == PackedKind::depthwise && weights->isa == isa.id);
  assert(weights->shape == packed_shape(problem.shape));
  [[maybe_unused]] const Window& window = weights->as<Packed>().plan.window;
  assert(window.stride_h == problem.shape.stride_h && window.stride_w == problem.shape.stride_w);
  const bool is_float = weights->dtype == DType::f32;
  if (is_float != (problem.x_dtype == DType::f32))
    return decline("activations and weights are not both float32 or both integer");
  if (std::string why = unsupported_reason(problem.epilogue, is_float); !why.empty()) return decline(std::move(why));
  if (problem.epilogue.act == ActKind::gelu) return decline("GELU follows products of matrices only");
  if (!addressable(problem)) return decline("rows of an image lie more than 2 GiB apart");
  return std::make_unique<Depthwise>(isa, problem, std::move(weights), threads);
}

}  // namespace octet::kernels
