#include "kernels/product/product_conv.h"

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <map>

#include "kernels/gelu_rows.h"
#include "kernels/jit/range_emitter.h"
#include "kernels/product/blocking.h"
#include "kernels/product/kernel.h"
#include "kernels/product/weights.h"
#include "kernels/run_params.h"

namespace octet::kernels {
namespace {

int64_t element_bytes(ResidualKind kind) { return kind == ResidualKind::f32 ? 4 : 1; }

// The output seen as rows of pixels: a 1x1 convolution over dense rows (and images) is one long row, as a GEMM is.
struct OutputGrid {
  int64_t images, height, width;
};

OutputGrid flatten(const ConvProblem& problem) {
  const ConvShape& s = problem.shape;
  const OutputGrid grid{s.n, s.oh, s.ow};
  if (s.kh * s.kw != 1 || s.stride_h != 1 || s.stride_w != 1) return grid;
  const bool residual = problem.epilogue.residual != ResidualKind::none;
  const auto all = [&](auto condition) {
    return condition(problem.x) && condition(problem.y) && (!residual || condition(problem.residual));
  };
  const bool rows_touch = s.oh == 1 || all([&](const ImageLayout& l) { return l.row == s.ow * l.pixel; });
  const bool images_touch = s.n == 1 || all([&](const ImageLayout& l) { return l.image == s.oh * s.ow * l.pixel; });
  if (!rows_touch) return grid;
  return images_touch ? OutputGrid{1, 1, s.n * s.oh * s.ow} : OutputGrid{s.n, 1, s.oh * s.ow};
}

// Row blocks for panels of one width in registers.
struct RowPlan {
  std::vector<RowBlock> blocks;
  std::vector<int> shape;                   // of each block
  std::vector<int64_t> run_end;             // first block after it with another shape
  std::vector<std::vector<RowBlock>> rows;  // displacements, a shape
  int64_t chunk = 1;
};

struct PanelCall {
  const Panel* panel;
  const int8_t* b;
  const int32_t* offsets;
  const BinRun* runs;
  size_t params;                              // byte offset into the channel records
  const ProductFunction* code;                // a function a shape
  const ProductFunction* fetching = nullptr;  // the same, fetching later weights
};

// Panels of one width and the rows they walk.
struct PanelClass {
  RowPlan rows;
  std::vector<PanelCall> calls;
};

// As words a row of x lies alone, four to a k-group, zeros behind the last.
int64_t words_row_bytes(const ConvShape& s) { return (s.ic + 3) / 4 * 8; }

ConvProblem with_words(ConvProblem problem, ProductKind kind) {
  if (kind != ProductKind::words) return problem;
  const int64_t row = words_row_bytes(problem.shape), width = problem.shape.ow * row;
  problem.x = {row, width, problem.shape.oh * width};
  return problem;
}

void widen(const uint8_t* from, int64_t count, uint16_t* to) {
  const __m128i zero = _mm_setzero_si128();
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), _mm_unpacklo_epi8(v, zero));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i + 8), _mm_unpackhi_epi8(v, zero));
  }
  for (; i < count; ++i) to[i] = from[i];
  for (; i % 4 != 0; ++i) to[i] = 0;
}

// What a part fetches, and the rounds in which a kernel can, of its blocks and panels.
struct PartFetch {
  std::vector<ByteRange> ranges;
  size_t bytes = 0;
  int64_t rounds = 0;
};

class ProductConv final : public Conv {
 public:
  ProductConv(const Isa& isa, const ConvProblem& problem, std::shared_ptr<const PackedWeights> weights,
              const ProductForm& form)
      : isa_(isa),
        kind_(weights->as<ProductWeights>().kind),
        given_x_(problem.x),
        problem_(with_words(GeluRows::without(problem), kind_)),
        gelu_(isa, problem.epilogue),
        packed_(std::move(weights)),
        form_(form),
        params_(problem_.epilogue, *packed_, form_.bias) {
    constants_ = AlignedBuffer(sizeof(EpilogueConstants));
    *constants_.as<EpilogueConstants>() = make_epilogue_constants(isa, problem_.epilogue);
    form_key_ = make_epilogue_form(problem_.epilogue, kind_ == ProductKind::fma, false,
                                   must_clamp_first(problem_.epilogue, packed_->facts.bound));
    form_key_.offset_sum = kind_ != ProductKind::fma && offset_sum_is_exact(problem_.epilogue, packed_->facts.bound);
    if (form_key_.offset_sum) make_offset_params(params_.bound);
  }

  // Empty when everything fits; otherwise why it does not.
  std::string bind();

  void run(const ConvArgs& args, int part, int parts) const noexcept override;
  size_t workspace_bytes() const override { return range_bytes(problem_.epilogue) + params_bytes() + words_bytes(); }
  std::string name() const override { return name_; }
  std::vector<ByteRange> weight_ranges(int part, int parts) const override;
  bool fetches() const override {
    return !streams() && kind_ != ProductKind::words && (kind_ != ProductKind::bins || bins_can_prefetch(isa_));
  }
  void set_prefetch(std::span<const std::vector<ByteRange>> of_parts) override;

 private:
  int64_t x_bytes() const { return kind_ == ProductKind::fma ? 4 : 1; }
  size_t params_bytes() const { return (params_.bytes() + 63) / 64 * 64; }
  size_t words_bytes() const {
    return kind_ == ProductKind::words ? static_cast<size_t>(problem_.shape.n * problem_.x.image) : 0;
  }
  const uint8_t* widened(const void* x, void* workspace) const;
  void finish_rows(const ConvArgs& args, const PanelClass& cls, int64_t begin, int64_t end, int64_t panel_begin,
                   int64_t panel_end) const noexcept;
  // How often the kernel fetches lines in one block of rows.
  int64_t rounds_of(const Panel& panel) const {
    const Program& program = form_.programs[panel.program];
    if (kind_ != ProductKind::bins) return static_cast<int64_t>(program.groups.size()) / kUnroll;
    int64_t bins = 0;
    for (const BinRun& run : program.runs) bins += run.count;
    return bins;
  }
  GridPart share(const PanelClass& cls, int part, int parts) const;
  std::string plan_rows(int vectors, int64_t weight_bytes, RowPlan& plan) const;
  std::string plan_offsets();
  const ProductFunction* code_for(const Panel& panel, const RowPlan& plan, int prefetch_lines = 0);
  // Waits for nothing but its weights, which it reads once: it fetches its own, a little ahead, and nobody else's.
  bool streams() const {
    return kind_ != ProductKind::bins && problem_.shape.n * problem_.shape.oh * problem_.shape.ow == 1;
  }

  const Isa& isa_;
  const ProductKind kind_;
  const ImageLayout given_x_;  // problem_.x is that of the words where the kernel reads words
  const ConvProblem problem_;
  const GeluRows gelu_;
  const std::shared_ptr<const PackedWeights> packed_;
  const ProductForm& form_;
  RunParams params_;
  EpilogueForm form_key_;
  AlignedBuffer constants_;
  std::vector<std::vector<int32_t>> offsets_;  // a program
  std::vector<PanelClass> classes_;
  std::map<std::array<int, 3>, std::vector<ProductFunction>> functions_;  // by vectors, valid columns, lines fetched
  std::vector<std::shared_ptr<const Code>> code_;
  std::vector<PartFetch> fetched_;  // by each part
  int prefetch_lines_ = 0;
  std::string name_;
};

// Where a part's run stands in the weights it fetches.
class FetchCursor {
 public:
  FetchCursor(std::span<const ByteRange> ranges, size_t all) : ranges_(ranges), all_(all) {}
  // Whether less than `share` of them has been fetched.
  bool behind(double share) const {
    return !ranges_.empty() && static_cast<double>(done_) <= share * static_cast<double>(all_);
  }
  const std::byte* at() const { return ranges_.front().data + inside_; }
  void advance(size_t bytes) {
    done_ += bytes;
    inside_ += bytes;
    while (!ranges_.empty() && inside_ >= ranges_.front().bytes) {
      inside_ -= ranges_.front().bytes;
      ranges_ = ranges_.subspan(1);
    }
  }

 private:
  std::span<const ByteRange> ranges_;
  size_t inside_ = 0, done_ = 0;
  const size_t all_;
};

// A panel of bins (bins.h) passes over at least so many blocks: 1x1 256->1024 at 14x14 took 734 us in chunks of 2 blocks,
// 689 of 8.
constexpr int64_t kLeastBinChunk = 8;

bool fits_displacement(int64_t bytes) { return bytes >= INT32_MIN / 2 && bytes <= INT32_MAX / 2; }

std::string ProductConv::plan_offsets() {
  const ConvShape& s = problem_.shape;
  std::vector<int32_t> place(form_.groups.size());
  for (size_t g = 0; g < place.size(); ++g) {
    const KGroup& group = form_.groups[g];
    const int64_t offset =
        group.ky * s.dilation_h * problem_.x.row + group.kx * s.dilation_w * problem_.x.pixel + group.channel * x_bytes();
    if (!fits_displacement(offset)) return "an input row is too long for 32-bit offsets";
    place[g] = static_cast<int32_t>(offset);
  }
  for (const Program& program : form_.programs) {
    std::vector<int32_t>& offsets = offsets_.emplace_back(program.groups.size());
    for (size_t i = 0; i < offsets.size(); ++i) offsets[i] = place[program.groups[i]];
  }
  return {};
}

std::string ProductConv::plan_rows(int vectors, int64_t weight_bytes, RowPlan& plan) const {
  const ConvShape& s = problem_.shape;
  const OutputGrid grid = flatten(problem_);
  const int max_rows = max_block_rows(isa_, kind_, vectors);
  const Blocking blocks = blocking(grid.height, grid.width, max_rows);
  for (const BlockShape& shape : blocks.shapes) {
    std::vector<RowBlock>& rows = plan.rows.emplace_back();
    for (int y = 0; y < shape.rows; ++y)
      for (int x = 0; x < shape.columns; ++x) {
        const RowBlock row{y * s.stride_h * problem_.x.row + x * s.stride_w * problem_.x.pixel,
                           y * problem_.y.row + x * problem_.y.pixel,
                           y * problem_.residual.row + x * problem_.residual.pixel};
        if (!fits_displacement(row.a) || !fits_displacement(row.y) || !fits_displacement(row.residual))
          return "an image row is too long for 32-bit displacements";
        rows.push_back(row);
      }
  }
  for (int64_t image = 0; image < grid.images; ++image)
    for (const PixelBlock& block : blocks.blocks) {
      plan.shape.push_back(block.shape);
      plan.blocks.push_back(
          {image * problem_.x.image + (block.y * s.stride_h - s.pad_top) * problem_.x.row +
               (block.x * s.stride_w - s.pad_left) * problem_.x.pixel,
           image * problem_.y.image + block.y * problem_.y.row + block.x * problem_.y.pixel,
           image * problem_.residual.image + block.y * problem_.residual.row + block.x * problem_.residual.pixel});
    }
  plan.run_end.resize(plan.blocks.size());
  for (size_t i = plan.blocks.size(); i-- > 0;)
    plan.run_end[i] =
        i + 1 < plan.blocks.size() && plan.shape[i] == plan.shape[i + 1] ? plan.run_end[i + 1] : static_cast<int64_t>(i) + 1;
  const Epilogue& e = problem_.epilogue;
  const int64_t residual = e.residual == ResidualKind::none ? 0 : element_bytes(e.residual);
  const int64_t pixel_bytes =
      s.stride_h * s.stride_w * s.ic * x_bytes() + s.oc * (static_cast<int64_t>(size_of(e.out)) + residual);
  plan.chunk = chunk_blocks(weight_bytes, static_cast<int64_t>(plan.blocks.size()), max_rows * pixel_bytes, caches());
  if (kind_ == ProductKind::bins) plan.chunk = std::max(plan.chunk, kLeastBinChunk);
  return {};
}

const ProductFunction* ProductConv::code_for(const Panel& panel, const RowPlan& plan, int prefetch_lines) {
  std::vector<ProductFunction>& functions = functions_[{panel.vectors, panel.columns, prefetch_lines}];
  if (functions.empty())
    for (const std::vector<RowBlock>& rows : plan.rows) {
      code_.push_back(
          product_kernel(isa_, {kind_, panel.vectors, panel.columns, rows, form_key_, prefetch_lines, streams()}));
      functions.push_back(code_.back()->entry<ProductFunction>());
    }
  return functions.data();
}

std::string ProductConv::bind() {
  if (std::string reason = plan_offsets(); !reason.empty()) return reason;
  const ConvShape& s = problem_.shape;
  std::map<int, size_t> class_of;
  for (const Panel& panel : form_.panels)
    if (class_of.emplace(panel.vectors, class_of.size()).second) classes_.emplace_back();
  for (const auto& [vectors, index] : class_of)
    if (std::string reason = plan_rows(vectors, static_cast<int64_t>(form_.b_bytes), classes_[index].rows); !reason.empty())
      return reason;
  for (const Panel& panel : form_.panels) {
    PanelClass& cls = classes_[class_of[panel.vectors]];
    const int64_t local = panel.channel - panel.group * (s.oc / s.groups);
    const size_t params =
        static_cast<size_t>(panel.group * params_.records_per_group() + local / 16) * sizeof(ChannelParams) +
        static_cast<size_t>(local % 16) * 4;
    cls.calls.push_back({&panel, form_.b.as<int8_t>() + panel.b_offset, offsets_[panel.program].data(),
                         form_.programs[panel.program].runs.data(), params, code_for(panel, cls.rows)});
  }
  static constexpr const char* kKinds[] = {"u8s8 bins", "u8s8 vpdpbusd", "f32 fma", "u8s8 words"};
  const PanelClass& main = classes_.front();
  size_t rows = 0;
  for (const std::vector<RowBlock>& shape : main.rows.rows) rows = std::max(rows, shape.size());
  name_ = "conv " + std::string(kKinds[static_cast<size_t>(kind_)]) + " " + std::string(isa_.name) + " " +
          std::to_string(rows) + "x" + std::to_string(main.calls.front().panel->vectors * isa_.lanes());
  return {};
}

GridPart ProductConv::share(const PanelClass& cls, int part, int parts) const {
  return grid_part(static_cast<int64_t>(cls.rows.blocks.size()), static_cast<int64_t>(cls.calls.size()), part, parts);
}

std::vector<ByteRange> ProductConv::weight_ranges(int part, int parts) const {
  std::vector<ByteRange> ranges;
  for (const PanelClass& cls : classes_) {
    const GridPart mine = share(cls, part, parts);
    if (mine.block_begin >= mine.block_end) continue;
    for (int64_t p = mine.panel_begin; p < mine.panel_end; ++p) {
      const Panel& panel = *cls.calls[static_cast<size_t>(p)].panel;
      const auto* data = form_.b.as<std::byte>() + panel.b_offset;
      const size_t end = &panel == &form_.panels.back() ? form_.b_bytes : (&panel + 1)->b_offset;
      append_range(ranges, {data, end - panel.b_offset});
    }
  }
  return ranges;
}

void ProductConv::set_prefetch(std::span<const std::vector<ByteRange>> of_parts) {
  assert(fetches());
  fetched_.clear();
  const int64_t kMostLines = kind_ == ProductKind::bins ? 4 : 16;
  for (int part = 0; part < static_cast<int>(of_parts.size()); ++part) {
    PartFetch& fetch = fetched_.emplace_back(PartFetch{of_parts[static_cast<size_t>(part)], 0, 0});
    for (const ByteRange& range : fetch.ranges) fetch.bytes += range.bytes;
    for (const PanelClass& cls : classes_) {
      const GridPart mine = share(cls, part, static_cast<int>(of_parts.size()));
      for (int64_t p = mine.panel_begin; p < mine.panel_end; ++p)
        fetch.rounds += (mine.block_end - mine.block_begin) * rounds_of(*cls.calls[static_cast<size_t>(p)].panel);
    }
    if (fetch.rounds == 0) continue;
    const auto lines = static_cast<int64_t>(fetch.bytes) / 64;
    prefetch_lines_ =
        std::max(prefetch_lines_, static_cast<int>(std::min(kMostLines, (lines + fetch.rounds - 1) / fetch.rounds)));
  }
  if (prefetch_lines_ == 0) return;
  for (PanelClass& cls : classes_)
    for (PanelCall& call : cls.calls) call.fetching = code_for(*call.panel, cls.rows, prefetch_lines_);
}

const uint8_t* ProductConv::widened(const void* x, void* workspace) const {
  auto* words = static_cast<uint8_t*>(workspace) + range_bytes(problem_.epilogue) + params_bytes();
  const ConvShape& s = problem_.shape;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t row = 0; row < s.oh; ++row)
      for (int64_t column = 0; column < s.ow; ++column)
        widen(static_cast<const uint8_t*>(x) + n * given_x_.image + row * given_x_.row + column * given_x_.pixel, s.ic,
              reinterpret_cast<uint16_t*>(words + n * problem_.x.image + row * problem_.x.row + column * problem_.x.pixel));
  return words;
}

// The outputs of a matrix' row blocks and panels, which are neighbours.
void ProductConv::finish_rows(const ConvArgs& args, const PanelClass& cls, int64_t begin, int64_t end, int64_t panel_begin,
                              int64_t panel_end) const noexcept {
  if (begin >= end || panel_begin >= panel_end) return;
  const RowPlan& plan = cls.rows;
  const Panel &first = *cls.calls[static_cast<size_t>(panel_begin)].panel,
              &last = *cls.calls[static_cast<size_t>(panel_end - 1)].panel;
  const int64_t from = plan.blocks[static_cast<size_t>(begin)].y, last_row = plan.blocks[static_cast<size_t>(end - 1)].y;
  const auto last_rows =
      static_cast<int64_t>(plan.rows[static_cast<size_t>(plan.shape[static_cast<size_t>(end - 1)])].size());
  gelu_(static_cast<uint8_t*>(args.y) + from + first.channel * 4, (last_row - from) / problem_.y.pixel + last_rows,
        last.channel + last.columns - first.channel, problem_.y.pixel, args.range);
}

void ProductConv::run(const ConvArgs& args, int part, int parts) const noexcept {
  const uint8_t* params = reinterpret_cast<const uint8_t*>(
      params_.of(args, *packed_, static_cast<uint8_t*>(args.workspace) + range_bytes(problem_.epilogue)));
  const ConvShape& s = problem_.shape;
  const int64_t x_group = s.ic / s.groups * x_bytes(), y_element = static_cast<int64_t>(size_of(problem_.epilogue.out)),
                r_element = element_bytes(problem_.epilogue.residual);
  const void* x = kind_ == ProductKind::words ? widened(args.x, args.workspace) : args.x;
  ProductArgs call{};
  call.constants = begin_range(problem_.epilogue, *constants_.as<EpilogueConstants>(), args.workspace);
  static const PartFetch kNothing;
  const PartFetch& fetch = static_cast<size_t>(parts) == fetched_.size() ? fetched_[static_cast<size_t>(part)] : kNothing;
  FetchCursor cursor(fetch.ranges, fetch.bytes);
  int64_t rounds = 0;
  const double rounds_share = 1.0 / static_cast<double>(std::max<int64_t>(fetch.rounds, 1));
  for (const PanelClass& cls : classes_) {
    const RowPlan& rows = cls.rows;
    const GridPart mine = share(cls, part, parts);
    for (int64_t begin = mine.block_begin; begin < mine.block_end; begin += rows.chunk) {
      const int64_t end = std::min(begin + rows.chunk, mine.block_end);
      for (int64_t p = mine.panel_begin; p < mine.panel_end; ++p) {
        const PanelCall& panel = cls.calls[static_cast<size_t>(p)];
        call.a = static_cast<const uint8_t*>(x) + panel.panel->group * x_group;
        call.y = static_cast<uint8_t*>(args.y) + panel.panel->channel * y_element;
        if (args.residual) call.residual = static_cast<const uint8_t*>(args.residual) + panel.panel->channel * r_element;
        call.b = panel.b;
        call.offsets = panel.offsets;
        call.runs = panel.runs;
        call.params = reinterpret_cast<const ChannelParams*>(params + panel.params);
        for (int64_t block = begin; block < end;) {
          const int64_t run = std::min(end, rows.run_end[static_cast<size_t>(block)]);
          call.block = rows.blocks.data() + block;
          call.block_end = rows.blocks.data() + run;
          const auto shape = static_cast<size_t>(rows.shape[static_cast<size_t>(block)]);
          // Lines fetched long before their time would be gone again.
          const bool fetches = panel.fetching && cursor.behind(static_cast<double>(rounds) * rounds_share);
          rounds += (run - block) * rounds_of(*panel.panel);
          if (!fetches) {
            panel.code[shape](&call);
          } else {
            call.prefetch = cursor.at();
            panel.fetching[shape](&call);
            cursor.advance(static_cast<size_t>((run - block) * rounds_of(*panel.panel) * prefetch_lines_) * 64);
          }
          block = run;
        }
      }
      if (gelu_) finish_rows(args, cls, begin, end, mine.panel_begin, mine.panel_end);
    }
  }
  end_range(problem_.epilogue, call.constants, args.range);
}

}  // namespace

std::unique_ptr<Conv> make_product_conv(const Isa& isa, const ConvProblem& problem,
                                        std::shared_ptr<const PackedWeights> weights, int /*threads*/, std::string* reason) {
  const ProductWeights& product = weights->as<ProductWeights>();
  const bool touching = problem.x.pixel == problem.shape.ic;
  const ProductForm* form = nullptr;
  for (const ProductForm& candidate : product.forms)
    if (!form && (touching || !candidate.needs_touching_pixels)) form = &candidate;
  assert(form);
  auto conv = std::make_unique<ProductConv>(isa, problem, weights, *form);
  const std::string why_not =
      problem.epilogue.act == ActKind::gelu && problem.shape.n * problem.shape.oh * problem.shape.groups != 1
          ? "GELU follows products of matrices only"
          : conv->bind();
  if (why_not.empty()) return conv;
  if (reason) *reason = why_not;
  return nullptr;
}

}  // namespace octet::kernels
