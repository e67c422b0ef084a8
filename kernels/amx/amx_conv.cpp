#include "kernels/amx/amx_conv.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "kernels/amx/block_list.h"
#include "kernels/amx/blocking.h"
#include "kernels/amx/dense.h"
#include "kernels/amx/gather.h"
#include "kernels/amx/generator.h"
#include "kernels/amx/pack.h"
#include "kernels/amx/tile_config.h"
#include "kernels/amx/tune.h"
#include "kernels/caches.h"
#include "kernels/gelu_rows.h"
#include "kernels/jit/range_emitter.h"
#include "kernels/packed_weights.h"
#include "kernels/run_params.h"

namespace octet::kernels {
namespace amx {
namespace {

// From a window of x to each k step; none when stacked.
std::vector<int64_t> step_offsets(const ConvProblem& problem, const Form& form) {
  const ConvShape& s = problem.shape;
  std::vector<int64_t> offsets;
  if (form.stacked_stride > 0) return offsets;
  for (const KStep& step : form.steps)
    offsets.push_back(step.ky * s.dilation_h * problem.x.row + step.kx * s.dilation_w * problem.x.pixel + step.byte);
  return offsets;
}

int64_t tiles_of_row(const ConvShape& s) { return (s.ow + kTileRows - 1) / kTileRows; }

// Tiles whose copies lie in the workspace at once: whole rows of blocks, and of stacks; as many as stay near, for a call's
// beginning and end cost as much as a block.
int64_t copy_batch(const ConvProblem& problem, const Form& form, int64_t m) {
  constexpr int64_t kBatchBytes = 48 * 1024;
  const auto fit = [&](int64_t bytes) { return std::max<int64_t>(1, kBatchBytes / bytes / m) * m; };
  if (form.stacked_stride == 0) return fit(form.panel_bytes());
  return fit(make_stacks(problem.shape).row_bytes()) * tiles_of_row(problem.shape);
}

bool offsets_fit(const ConvProblem& problem, const Form& form) {
  constexpr int64_t kFar = int64_t{1} << 30;
  const std::vector<int64_t> offsets = step_offsets(problem, form);
  return (offsets.empty() || offsets.back() < kFar) && form.panel_bytes() * kMaxTiles < kFar &&
         kTileRows * problem.x.pixel * problem.shape.stride_w < kFar;
}

// Only where tiles start at the bias: where it is added, the conversion hides behind more products.
bool sums_are_centred(const Epilogue& epilogue, const PackedWeights& weights, const Form& form) {
  return form.steps.size() <= kMostStepsFromBias && centred_sum_is_exact(epilogue, weights.facts.bound);
}

class AmxConv final : public Conv {
 public:
  AmxConv(const Isa& isa, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights, const Form& form,
          Tiling tiling, const Blocking& blocking, int threads)
      : isa_(isa),
        problem_(GeluRows::without(problem)),
        gelu_(isa, problem.epilogue),
        weights_(std::move(weights)),
        form_(form),
        panels_(weights_->as<Packed>().panels),
        params_(problem.epilogue, *weights_),
        constants_(make_epilogue_constants(isa, problem.epilogue)),
        tiling_(std::move(tiling)),
        planes_(tiling_.source == RowSource::phases ? make_phase_planes(problem.shape) : PhasePlanes{}),
        blocking_(blocking),
        stacks_(make_stacks(problem.shape)),
        batch_tiles_(copy_batch(problem, form, blocking.m)) {
    offsets_ = step_offsets(problem, form);
    if (sums_are_offset()) make_offset_params(params_.bound);
    if (sums_are_centred()) make_centred_params(params_.bound);
    if (stacked()) stack_code_ = stack_kernel(isa, stacks_, problem.shape.kh);
    add_dense_params();
    list_rows();
    list_ = list_blocks({problem_, tiling_, blocking_, panels_, k_steps(), form_.panel_bytes(), params_.records_per_group(),
                         dense_params_, [this](int64_t tile, int64_t group) { return x_of(tile) + group_bytes(group); }},
                        choose_share(problem, block_rows(), panels_ / blocking.n, form.tiles.bytes(), threads, caches()),
                        threads);
    bind_kernels(0);
    static constexpr const char* kSources[] = {"flat", "rows", "phases", "stacked", "copied"};
    static constexpr const char* kStreams[] = {"", " x by t1", " weights by t1"};
    name_ = "conv u8s8 " + std::string(isa.name) + " " + std::to_string(blocking_.m) + "x" + std::to_string(blocking_.n) +
            " " + kSources[static_cast<size_t>(tiling_.source)] + " chunk " + std::to_string(blocking_.chunk) +
            kStreams[static_cast<size_t>(blocking_.stream)] +
            (blocking_.k_parts > 1 ? " k in " + std::to_string(blocking_.k_parts) : "") + (any_dense() ? " dense" : "");
  }

  void run(const ConvArgs& args, int part, int parts) const noexcept override;
  size_t workspace_bytes() const override { return fixed_bytes() + static_cast<size_t>(copy_bytes()); }
  std::string name() const override { return name_; }
  std::vector<ByteRange> weight_ranges(int part, int parts) const override;
  bool fetches() const override { return true; }
  void set_prefetch(std::span<const std::vector<ByteRange>> of_parts) override;

 private:
  static constexpr size_t kScratchBytes = static_cast<size_t>(kSumBytes + kTrashBytes);

  // Sums and trash, the range, the parameters of a run, a chunk's sums between parts of K; copies of x follow.
  size_t params_at() const { return kScratchBytes + range_bytes(problem_.epilogue); }
  size_t partials_at() const { return params_at() + (params_.bytes() + 63) / 64 * 64; }
  size_t partial_bytes() const {
    if (blocking_.k_parts == 1) return 0;
    return static_cast<size_t>(block_rows() * blocking_.m * std::min(blocking_.chunk, panels_) * kTileBytes);
  }
  size_t fixed_bytes() const { return partials_at() + partial_bytes(); }
  bool copied() const { return tiling_.source == RowSource::copied; }
  bool phases() const { return tiling_.source == RowSource::phases; }
  bool resident() const { return weights_are_resident(static_cast<int64_t>(form_.steps.size()), blocking_); }
  bool stacked() const { return tiling_.source == RowSource::stacked; }
  int64_t copy_bytes() const {
    if (phases()) return planes_.image + kTileBytes;  // junk positions are read past the last plane
    if (stacked()) return batch_tiles_ / tiles_of_row(problem_.shape) * stacks_.row_bytes();
    return copied() ? batch_tiles_ * form_.panel_bytes() : 0;
  }
  int64_t step_in_tile(size_t k) const;
  int64_t x_of(int64_t tile) const;
  int64_t group_bytes(int64_t group) const { return copied() ? 0 : group * (problem_.shape.ic / problem_.shape.groups); }
  bool sums_are_offset() const { return offset_sum_is_exact(problem_.epilogue, weights_->facts.bound); }
  bool sums_are_centred() const { return amx::sums_are_centred(problem_.epilogue, *weights_, form_); }
  int64_t k_steps() const { return static_cast<int64_t>(form_.steps.size()); }
  int64_t group_of(const Block& block) const { return block.weights / form_.panel_bytes() / panels_; }
  int64_t tile_of(const Block& block) const { return block.rows / static_cast<int64_t>(sizeof(TileRow)) / kTileRows; }
  bool same_batch(const Block& a, const Block& b) const {
    return tile_of(a) / batch_tiles_ == tile_of(b) / batch_tiles_ && group_of(a) == group_of(b);
  }
  void list_rows();
  void bind_kernels(int prefetch_lines);
  void copy_rows(const ConvArgs& args, const Block& first, const Block& last, std::byte* to) const noexcept;
  void copy_planes(const ConvArgs& args, int64_t tile_begin, int64_t tile_end, std::byte* to) const noexcept;
  void find_calls();
  int64_t block_rows() const { return (tiling_.tiles() + blocking_.m - 1) / blocking_.m; }
  void run_blocks(BlockArgs& call, int64_t begin, int64_t end) const noexcept;
  template <class Run>
  void run_pieces(const ConvArgs& args, int64_t begin, int64_t end, Run&& run) const noexcept;

  bool any_dense() const {
    return std::any_of(list_.shapes.begin(), list_.shapes.end(), [](const BlockShape& s) { return s.dense; });
  }
  void add_dense_params();

  const Isa& isa_;
  const ConvProblem problem_;
  const GeluRows gelu_;
  const std::shared_ptr<const PackedWeights> weights_;
  const Form& form_;
  const int64_t panels_;
  RunParams params_;
  int64_t dense_params_ = 0;  // records before those of dense rows; 0: there are none
  const EpilogueConstants constants_;
  const Tiling tiling_;
  const PhasePlanes planes_;  // when tiling_ wants them
  const Blocking blocking_;
  const Stacks stacks_;  // when tiling_ wants them
  std::shared_ptr<const Code> stack_code_;
  const int64_t batch_tiles_;     // copied rows that lie in the workspace at once
  std::vector<int64_t> offsets_;  // of k steps in x
  std::vector<TileRow> rows_;     // tiling_.rows, then those of the idle block
  Block idle_{};
  BlockList list_;
  std::vector<BlockFunction> functions_;  // of each block
  std::vector<int64_t> call_end_;         // of each block: up to which one a call of its function may go
  std::vector<std::shared_ptr<const Code>> code_;
  std::string name_;
};

void AmxConv::list_rows() {
  rows_ = tiling_.rows;
  idle_.rows = static_cast<int64_t>(rows_.size() * sizeof(TileRow));
  rows_.resize(rows_.size() + static_cast<size_t>(kMaxTiles + 1) * kTileRows);  // one more that is looked at
}

// Behind the records of the channels: those of vectors that run across pixels (generator.h).
void AmxConv::add_dense_params() {
  if (!is_dense(problem_, tiling_)) return;
  const int64_t channels = problem_.shape.oc;
  const int vectors = dense_vectors(channels);
  dense_params_ = static_cast<int64_t>(params_.bound.size());
  params_.bound.resize(params_.bound.size() + static_cast<size_t>(vectors));
  for (int64_t i = 0; i < 16 * vectors; ++i) {
    const int64_t n = i % channels;
    const ChannelParams& from = params_.bound[static_cast<size_t>(n / 16)];
    ChannelParams& to = params_.bound[static_cast<size_t>(dense_params_ + i / 16)];
    to.int_bias[i % 16] = from.int_bias[n % 16];
    to.scale[i % 16] = from.scale[n % 16];
    to.bias[i % 16] = from.bias[n % 16];
  }
}

std::vector<ByteRange> AmxConv::weight_ranges(int part, int parts) const {
  const auto* tiles = form_.tiles.as<std::byte>();
  std::vector<ByteRange> ranges;
  std::set<int64_t> listed;
  list_.for_share(part, parts, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const Block& block = list_.blocks[static_cast<size_t>(b)];
      const BlockShape& shape = list_.shapes[static_cast<size_t>(b)];
      const auto [first, last] = k_part(k_steps(), blocking_, shape.part);
      for (int panel = 0; panel < shape.n; ++panel) {
        const int64_t at = block.weights + panel * form_.panel_bytes();
        if (!listed.insert(at).second) continue;
        append_range(ranges, {tiles + at, static_cast<size_t>((last - first) * kTileBytes)});
      }
    }
  });
  return ranges;
}

void AmxConv::bind_kernels(int prefetch_lines) {
  const Epilogue& e = problem_.epilogue;
  BlockSpec spec;
  spec.stream = blocking_.stream;
  EpilogueForm epilogue = make_epilogue_form(e, false, true, must_clamp_first(e, weights_->facts.bound));
  epilogue.offset_sum = sums_are_offset();
  epilogue.centred_sum = sums_are_centred();
  spec.panel_bytes = form_.panel_bytes();
  spec.row_bytes = tiling_.row_bytes;
  spec.prefetch_lines = prefetch_lines;

  std::vector<std::shared_ptr<const Code>> code;
  std::map<std::array<int, 5>, BlockFunction> functions;
  functions_.clear();
  for (const BlockShape& shape : list_.shapes) {
    BlockFunction& f = functions[{shape.m, shape.n, shape.columns, shape.dense, shape.part}];
    if (f == nullptr) {
      spec.m = shape.m, spec.n = shape.n, spec.columns = shape.columns, spec.dense = shape.dense;
      spec.resident = resident() && shape.m == 1;
      spec.loads_partial = shape.part > 0, spec.stores_partial = shape.part + 1 < blocking_.k_parts;
      spec.epilogue = spec.stores_partial ? EpilogueForm{.out = DType::s32} : epilogue;
      spec.steps.clear();
      const auto [first, end] = k_part(k_steps(), blocking_, shape.part);
      for (int64_t k = first; k < end; ++k) spec.steps.push_back(static_cast<int32_t>(step_in_tile(static_cast<size_t>(k))));
      code.push_back(block_kernel(isa_, spec));
      f = code.back()->entry<BlockFunction>();
    }
    functions_.push_back(f);
  }
  code_ = std::move(code);
  find_calls();
}

void AmxConv::find_calls() {
  const auto continues = [&](size_t b) {
    if (functions_[b] != functions_[b - 1]) return false;
    if (resident() && list_.blocks[b].weights != list_.blocks[b - 1].weights) return false;
    return !(copied() || stacked()) || same_batch(list_.blocks[b], list_.blocks[b - 1]);
  };
  call_end_.resize(list_.blocks.size());
  for (size_t b = list_.blocks.size(); b-- > 0;)
    call_end_[b] = b + 1 < list_.blocks.size() && continues(b + 1) ? call_end_[b + 1] : static_cast<int64_t>(b + 1);
}

void AmxConv::set_prefetch(std::span<const std::vector<ByteRange>> of_parts) {
  bind_kernels(assign_prefetch(list_, of_parts));
}

// Bytes from the first row of a tile to its k step.
int64_t AmxConv::step_in_tile(size_t k) const {
  const KStep& step = form_.steps[k];
  if (stacked()) return static_cast<int64_t>(k) * 64;
  if (copied()) return static_cast<int64_t>(k) * kTileBytes;
  return phases() ? planes_.at(problem_.shape, step.ky, step.kx) + step.byte : offsets_[k];
}

// The first row of a tile: in x, or in what is copied of it.
int64_t AmxConv::x_of(int64_t tile) const {
  if (copied()) return tile % batch_tiles_ * form_.panel_bytes();
  const int64_t x = tiling_.x[static_cast<size_t>(tile)];
  return stacked() ? tile % batch_tiles_ / tiles_of_row(problem_.shape) * stacks_.row_bytes() + x : x;
}

// The rows of the blocks from `first` to `last`, of one batch.
void AmxConv::copy_rows(const ConvArgs& args, const Block& first, const Block& last, std::byte* to) const noexcept {
  const int64_t tile = tile_of(first), tile_end = std::min(tile_of(last) + blocking_.m, tiling_.tiles());
  const auto* x = static_cast<const std::byte*>(args.x) + group_of(first) * (problem_.shape.ic / problem_.shape.groups);
  if (stacked()) {
    const int64_t in_row = tiles_of_row(problem_.shape), row = tile / in_row;
    return copy_stacks(stack_code_->entry<StackFunction>(), problem_, stacks_, x, row, (tile_end - 1) / in_row + 1,
                       to + tile % batch_tiles_ / in_row * stacks_.row_bytes());
  }
  const std::span<const int64_t> windows(tiling_.copied.data() + tile * kTileRows,
                                         static_cast<size_t>((tile_end - tile) * kTileRows));
  copy_windows(x, windows, offsets_, to + tile % batch_tiles_ * form_.panel_bytes());
}

// The plane rows that the tiles read.
void AmxConv::copy_planes(const ConvArgs& args, int64_t tile_begin, int64_t tile_end, std::byte* to) const noexcept {
  if (tile_begin >= tile_end) return;
  const int64_t row_bytes = planes_.width * planes_.pixel;
  const auto row_of = [&](int64_t tile) { return tiling_.x[static_cast<size_t>(tile)] / row_bytes; };
  const int64_t last = (tiling_.x[static_cast<size_t>(tile_end - 1)] + (kTileRows - 1) * planes_.pixel) / row_bytes;
  const int64_t taps = planes_.height - problem_.shape.oh;
  copy_phases(problem_, planes_, static_cast<const std::byte*>(args.x), row_of(tile_begin),
              std::min(last + taps + 1, planes_.height), to);
}

void AmxConv::run_blocks(BlockArgs& call, int64_t begin, int64_t end) const noexcept {
  while (begin < end) {
    const int64_t call_end = std::min(call_end_[static_cast<size_t>(begin)], end);
    call.block = list_.blocks.data() + begin;
    call.block_end = list_.blocks.data() + call_end;
    functions_[static_cast<size_t>(begin)](&call);
    begin = call_end;
  }
}

// Blocks of a matrix, piece by piece: rows of blocks of a chunk, or single blocks where a share cuts a row.
template <class Run>
void AmxConv::run_pieces(const ConvArgs& args, int64_t begin, int64_t end, Run&& run) const noexcept {
  const int64_t pitch = problem_.y.pixel;
  const int64_t row_bytes = blocking_.chunk * 16 * 4 * blocking_.m * kTileRows;
  const int64_t most_rows = std::max<int64_t>(1, GeluRows::kPieceBytes / row_bytes);
  for (const Chunk& chunk : list_.chunks)
    for (int64_t b = std::max(begin, chunk.begin), last = std::min(end, chunk.end); b < last;) {
      const int64_t whole = (b - chunk.begin) % chunk.in_row == 0 ? std::min(most_rows, (last - b) / chunk.in_row) : 0;
      const int64_t next = b + std::max<int64_t>(1, whole * chunk.in_row);
      run(b, next);
      const Block& first = list_.blocks[static_cast<size_t>(b)];
      const int64_t row = tile_of(first) * kTileRows, channel = first.y / 4;
      const int64_t rows = std::max<int64_t>(1, whole) * blocking_.m * kTileRows;
      const int64_t columns = 16 * (whole > 0 ? chunk.panels : list_.shapes[static_cast<size_t>(b)].n);
      gelu_(static_cast<std::byte*>(args.y) + row * pitch + first.y, std::min(rows, problem_.shape.ow - row),
            std::min(columns, problem_.shape.oc - channel), pitch, args.range);
      b = next;
    }
}

void AmxConv::run(const ConvArgs& args, int part, int parts) const noexcept {
  auto* workspace = static_cast<std::byte*>(args.workspace);
  std::byte* copies = workspace + fixed_bytes();
  BlockArgs call{};
  call.idle = &idle_;
  call.x = copy_bytes() > 0 ? copies : args.x;
  call.weights = form_.tiles.as<std::byte>();
  call.y = args.y;
  call.residual = args.residual;
  call.rows = rows_.data();
  call.params = params_.of(args, *weights_, workspace + params_at());
  call.constants = begin_range(problem_.epilogue, constants_, workspace + kScratchBytes);
  call.sums = workspace;
  call.partials = workspace + partials_at();
  call.trash = workspace + kSumBytes;

  configure_tiles();
  const auto all = [&](int64_t from, int64_t to) {
    if (!copied() && !stacked()) return run_blocks(call, from, to);
    while (from < to) {
      const Block& first = list_.blocks[static_cast<size_t>(from)];
      int64_t end = from;
      while (end < to && same_batch(list_.blocks[static_cast<size_t>(end)], first))
        end = std::min(call_end_[static_cast<size_t>(end)], to);
      copy_rows(args, first, list_.blocks[static_cast<size_t>(end - 1)], copies);
      run_blocks(call, from, end);
      from = end;
    }
  };
  if (phases()) {
    const bool by_rows = list_.share == Share::rows && static_cast<size_t>(parts) == list_.ends.size();
    const WorkRange tiles = part_of(tiling_.tiles(), blocking_.m, by_rows ? part : 0, by_rows ? parts : 1);
    copy_planes(args, tiles.begin, tiles.end, copies);
  }
  list_.for_share(part, parts, [&](int64_t begin, int64_t end) {
    if (gelu_)
      run_pieces(args, begin, end, all);
    else
      all(begin, end);
  });
  end_range(problem_.epilogue, call.constants, args.range);
}

std::unique_ptr<Conv> make_tuned(const Isa& isa, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights,
                                 const Form& form, int threads, std::optional<size_t> candidate) {
  const int64_t panels = weights->as<Packed>().panels;
  const Tiling tiling = make_tiling(problem, panels,
                                    form.stacked_stride > 0      ? PackedK::stacked
                                    : form.needs_touching_pixels ? PackedK::across_pixels
                                                                 : PackedK::positions);
  BlockingProblem cut = blocking_problem(problem, tiling, panels, static_cast<int64_t>(form.steps.size()));
  cut.offset_sum = offset_sum_is_exact(problem.epilogue, weights->facts.bound);
  cut.centred_sum = sums_are_centred(problem.epilogue, *weights, form);
  const auto make_for = [&](const Blocking& b, int parts) {
    return std::make_unique<AmxConv>(isa, problem, weights, form, tiling, b, parts);
  };
  const auto make = [&](const Blocking& b) { return make_for(b, 1); };
  if (!candidate) return make_for(tuned_blocking(problem, cut, form.needs_touching_pixels, make), threads);
  const std::vector<Blocking> candidates = candidate_blockings(cut);
  return *candidate < candidates.size() ? make_for(candidates[*candidate], threads) : nullptr;
}

}  // namespace
}  // namespace amx

namespace {

std::unique_ptr<Conv> make(const Isa& isa, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights,
                           int threads, std::string* reason, std::optional<size_t> candidate) {
  const auto decline = [&](std::string why) {
    if (reason != nullptr) *reason = std::move(why);
    return nullptr;
  };
  assert(weights->kind == PackedKind::amx && weights->isa == isa.id && weights->shape == packed_shape(problem.shape));
  if (problem.x_dtype != DType::u8) return decline("activations and weights are not both integer");
  if (std::string why = unsupported_reason(problem.epilogue, false); !why.empty()) return decline(std::move(why));
  if (problem.epilogue.act == ActKind::gelu && problem.shape.n * problem.shape.oh * problem.shape.groups != 1)
    return decline("GELU follows products of matrices only");
  for (const amx::Form& form : weights->as<amx::Packed>().forms) {
    if (form.needs_touching_pixels && problem.x.pixel != problem.shape.ic) continue;
    const bool stacks_fit = form.stacked_stride == problem.shape.stride_w && problem.shape.ow >= amx::kTileRows;
    if (form.stacked_stride > 0 && !stacks_fit) continue;
    if (!amx::offsets_fit(problem, form)) return decline("its image rows are too long for the kernels' displacements");
    return amx::make_tuned(isa, problem, std::move(weights), form, threads, candidate);
  }
  assert(false);
  return nullptr;
}

}  // namespace

std::unique_ptr<Conv> make_amx_conv(const Isa& isa, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights,
                                    int threads, std::string* reason) {
  return make(isa, problem, std::move(weights), threads, reason, std::nullopt);
}

std::unique_ptr<Conv> make_amx_candidate(const Isa& isa, const ConvProblem& problem,
                                         std::shared_ptr<const PackedWeights> weights, size_t candidate) {
  return make(isa, problem, std::move(weights), 1, nullptr, candidate);
}

}  // namespace octet::kernels
