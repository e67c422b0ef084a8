// The driver: which piece of code runs when, and on what. See kernels/attention.h for the picture.
#include "kernels/attention.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/amx/tile_config.h"
#include "kernels/attention/generators.h"
#include "kernels/partition.h"

namespace octet::kernels {
namespace attention {
namespace {

template <class Args>
void call(const std::shared_ptr<const Code>& code, const Args& args) {
  code->entry<void (*)(const Args*)>()(&args);
}

const uint8_t* head_of(const uint8_t* base, const HeadLayout& layout, int64_t b, int64_t h) {
  return base + b * layout.batch + h * layout.head;
}

class GeneratedAttention final : public Attention {
 public:
  GeneratedAttention(const Isa& isa, const AttentionProblem& problem)
      : p_(problem),
        form_(make_form(isa, problem)),
        at_(make_workspace(form_, problem)),
        name_("attention int8 " + std::string(isa.name)),
        pack_keys_(pack_keys_code(isa, form_, problem.size)),
        pack_values_(pack_values_code(isa, form_)),
        probabilities_(probability_code(isa, form_, masked())),
        output_(output_code(isa, form_, problem.value_size, problem.y_dtype == DType::u8)) {
    const auto last_rows = static_cast<int>(problem.queries % form_.rows);
    for (const int rows : {form_.rows, last_rows}) {
      if (rows == 0 || rows > problem.queries) continue;
      scores_[rows == form_.rows ? 0 : 1] = form_.tile ? tile_scores_code(isa, form_) : dot_code(isa, form_, rows, form_.group == 4);
      outputs_[rows == form_.rows ? 0 : 1] = form_.tile ? tile_outputs_code(isa, form_) : dot_code(isa, form_, rows, false);
    }
    for (int64_t j = form_.keys - form_.chunk; j < form_.keys; ++j) {
      limit_.push_back(j < problem.keys ? INT32_MAX : INT32_MIN);
      keep_.push_back(j < problem.keys ? -1 : 0);
    }
  }

  void run(const AttentionArgs& args, int part, int parts) const noexcept override {
    const int64_t blocks = (p_.queries + form_.rows - 1) / form_.rows;
    const WorkRange mine = split_work(p_.batch * p_.heads * blocks, part, parts);
    if (mine.size() == 0) return;
    if (form_.tile) configure_tiles();
    int64_t packed = -1, masks = -1;
    for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
      const int64_t head = unit / blocks, b = head / p_.heads, h = head % p_.heads;
      const int64_t kv = h / (p_.heads / p_.kv_heads);
      if (packed != b * p_.kv_heads + kv) {
        packed = b * p_.kv_heads + kv;
        pack_keys(args, head_of(args.k, p_.k, b, kv));
        pack_values(args, head_of(args.v, p_.v, b, kv));
      }
      const int64_t row = unit % blocks * form_.rows;
      attend(args, b, h, row, std::min<int64_t>(form_.rows, p_.queries - row), masks != head);
      masks = head;
    }
  }

  size_t workspace_bytes() const override { return at_.bytes; }
  std::string name() const override { return name_; }

 private:
  bool masked() const { return p_.masked || p_.causal; }
  bool mask_in_place() const { return p_.masked && !p_.causal && p_.mask[3] == 1 && p_.keys % form_.chunk == 0; }
  bool one_mask_row() const { return !p_.causal && p_.mask[2] == 0; }

  void pack_keys(const AttentionArgs& args, const uint8_t* k) const noexcept {
    int32_t rows[16];
    for (int64_t panel = 0; panel * form_.lanes < p_.keys; ++panel) {
      const int64_t first = panel * form_.lanes;
      for (int i = 0; i < form_.lanes; ++i)
        rows[i] = static_cast<int32_t>(std::min<int64_t>(i, p_.keys - 1 - first) * p_.k.row);
      call(pack_keys_, PackKeysArgs{k + first * p_.k.row, args.workspace + at_.keys + panel * form_.key_panel_bytes(),
                                    reinterpret_cast<int32_t*>(args.workspace + at_.key_starts) + first, rows, -p_.q_zero_point});
    }
  }

  void pack_values(const AttentionArgs& args, const uint8_t* v) const noexcept {
    PackValuesArgs pack{};
    pack.row = p_.v.row;
    pack.quad_step = form_.value_vectors_before(0, 1) * form_.vector_bytes;
    pack.panel_step = form_.value_panel_bytes();
    pack.zero_points = p_.v_zero_point * 0x10001;
    const int64_t quads_of_vector = form_.lanes / 4;
    for (int64_t first = 0; first < p_.keys; first += form_.lanes) {
      const int64_t before = first / form_.chunk * (form_.chunk / form_.group) + form_.value_vectors_before(first % form_.chunk / form_.lanes, 0);
      pack.v = v + first * p_.v.row;
      pack.packed = args.workspace + at_.values + before * form_.vector_bytes;
      pack.quads = std::min<int64_t>(quads_of_vector, (p_.keys - first) / 4);
      if (pack.quads > 0) call(pack_values_, pack);
      if (pack.quads < quads_of_vector && (p_.keys - first) % 4 > 0) pack_last_values(args, pack, (p_.keys - first) % 4);
    }
  }

  // The last keys when they are no four; what stands for the missing ones meets probabilities of zero.
  void pack_last_values(const AttentionArgs& args, PackValuesArgs pack, int64_t left) const noexcept {
    auto* rows = reinterpret_cast<uint8_t*>(args.workspace + at_.rows4);
    const int64_t row = p_.value_size + 64;
    std::memset(rows, 0, static_cast<size_t>(4 * row));
    for (int64_t i = 0; i < left; ++i)
      std::memcpy(rows + i * row, pack.v + (4 * pack.quads + i) * pack.row, static_cast<size_t>(p_.value_size));
    pack.packed += pack.quads * pack.quad_step;
    pack.v = rows;
    pack.row = row;
    pack.quads = 1;
    call(pack_values_, pack);
  }

  // Rows as the dot products read them: where they lie, unless they must be widened or a tile would read beyond the last.
  std::pair<const std::byte*, int64_t> queries(const AttentionArgs& args, const uint8_t* q, int64_t rows) const noexcept {
    if (form_.element == 1 && (!form_.tile || rows == form_.rows)) return {reinterpret_cast<const std::byte*>(q), p_.q.row};
    std::byte* copy = args.workspace + at_.queries;
    const int64_t row = form_.depth * form_.element + 64;
    for (int64_t i = 0; i < rows; ++i) {
      const uint8_t* from = q + i * p_.q.row;
      if (form_.element == 1) {
        std::memcpy(copy + i * row, from, static_cast<size_t>(p_.size));
      } else {
        auto* to = reinterpret_cast<int16_t*>(copy + i * row);
        for (int64_t d = 0; d < p_.size; ++d) to[d] = static_cast<int16_t>(from[d] - p_.q_zero_point);
        for (int64_t d = p_.size; d < form_.depth; ++d) to[d] = 0;
      }
    }
    return {copy, row};
  }

  struct MaskRows {
    const float* rows = nullptr;
    int64_t bytes = 0;  // between them
  };
  MaskRows mask_rows(const AttentionArgs& args, int64_t b, int64_t h, int64_t first, int64_t rows, bool fresh) const noexcept {
    const float* mask = args.mask + (p_.masked ? b % p_.mask_batches * p_.mask[0] + h * p_.mask[1] : 0);
    if (mask_in_place()) return {mask + first * p_.mask[2], 4 * p_.mask[2]};
    auto* to = reinterpret_cast<float*>(args.workspace + at_.mask);
    const bool one = one_mask_row();
    if (one && !fresh) return {to, 0};
    for (int64_t i = 0; i < (one ? 1 : rows); ++i) {
      float* row = to + i * form_.keys;
      const float* from = mask + (first + i) * p_.mask[2];
      const int64_t sees = p_.causal ? std::clamp<int64_t>(first + i + p_.keys - p_.queries + 1, 0, p_.keys) : p_.keys;
      for (int64_t j = 0; j < sees; ++j) row[j] = p_.masked ? from[j * p_.mask[3]] : 0.0f;
      std::fill(row + sees, row + form_.keys, -INFINITY);
    }
    return {to, one ? 0 : form_.keys * 4};
  }

  void attend(const AttentionArgs& args, int64_t b, int64_t h, int64_t first, int64_t rows, bool fresh_head) const noexcept {
    const size_t code = rows == form_.rows ? 0 : 1;
    // Keys behind all that these queries may see are left out.
    const int64_t reach = p_.causal ? std::clamp<int64_t>(first + rows + p_.keys - p_.queries, 1, p_.keys) : p_.keys;
    const int64_t chunks = (reach + form_.chunk - 1) / form_.chunk;
    const auto [q, q_row] = queries(args, head_of(args.q, p_.q, b, h) + first * p_.q.row, rows);
    auto* scores = reinterpret_cast<int32_t*>(args.workspace + at_.scores);
    call(scores_[code], DotArgs{q, q_row, args.workspace + at_.keys, form_.key_panel_bytes(), form_.steps, scores, form_.score_row(),
                                reinterpret_cast<const int32_t*>(args.workspace + at_.key_starts), chunks * form_.chunk_vectors});

    ProbabilityArgs soft{};
    soft.scores = scores, soft.score_row = form_.score_row();
    soft.p = args.workspace + at_.probabilities, soft.p_row = form_.probability_row();
    soft.sums = reinterpret_cast<int32_t*>(args.workspace + at_.sums), soft.rows = rows;
    soft.score = p_.factors.score, soft.exponent = p_.factors.exponent;
    soft.chunk_bytes = chunks * form_.chunk * 4;
    if (masked()) {
      const MaskRows mask = mask_rows(args, b, h, first, rows, fresh_head);
      soft.mask = mask.rows, soft.mask_row = mask.bytes;
    } else if (p_.keys % form_.chunk != 0) {
      soft.chunk_bytes -= form_.chunk * 4;
      soft.limit = limit_.data(), soft.keep = keep_.data();
    }
    call(probabilities_, soft);

    auto* sums = reinterpret_cast<int32_t*>(args.workspace + at_.outputs);
    call(outputs_[code], DotArgs{soft.p, soft.p_row, args.workspace + at_.values, form_.value_panel_bytes(), chunks * form_.chunk / form_.group,
                                 sums, form_.output_row(), nullptr, form_.value_panels});
    OutputArgs out{};
    out.sums = soft.sums, out.o = sums, out.o_row = form_.output_row();
    out.y = static_cast<std::byte*>(args.y) + b * p_.y.batch + h * p_.y.head + first * p_.y.row, out.y_row = p_.y.row;
    out.rows = rows;
    out.value = p_.factors.value;
    out.offset = form_.group == 4 ? 128 - p_.v_zero_point : 0;
    out.low = static_cast<float>(0 - p_.y_zero_point), out.high = static_cast<float>(255 - p_.y_zero_point);
    out.zero_point = p_.y_zero_point;
    call(output_, out);
  }

  const AttentionProblem p_;
  const Form form_;
  const Workspace at_;
  const std::string name_;
  const std::shared_ptr<const Code> pack_keys_, pack_values_, probabilities_, output_;
  std::shared_ptr<const Code> scores_[2], outputs_[2];  // of whole blocks of rows, of the last one
  std::vector<int32_t> limit_, keep_;                   // of the last chunk
};

class ReferenceAttention final : public Attention {
 public:
  explicit ReferenceAttention(const AttentionProblem& problem) : problem_(problem) {}
  void run(const AttentionArgs& args, int part, int) const noexcept override {
    if (part == 0) attention_reference(problem_, args);
  }
  size_t workspace_bytes() const override { return 0; }
  std::string name() const override { return "attention int8 reference"; }

 private:
  const AttentionProblem problem_;
};

}  // namespace
}  // namespace attention

std::unique_ptr<Attention> make_attention(const Isa& isa, const AttentionProblem& problem, std::string* reason) {
  if (isa.id == IsaId::reference) return std::make_unique<attention::ReferenceAttention>(problem);
  const auto no = [&](const char* why) {
    if (reason) *reason = why;
    return nullptr;
  };
  constexpr int64_t kMostSize = 256, kMostKeys = 32768;
  if (problem.size > kMostSize || problem.value_size > kMostSize) return no("heads larger than 256 have no kernel");
  if (problem.keys > kMostKeys) return no("more than 32768 keys have no kernel");
  if (problem.k.row > INT32_MAX / 16) return no("the rows of k lie too far apart");
  if (!(problem.factors.exponent <= numerics::kMostExponentFactor)) return no("its scores are too large for the kernel's rounding");
  return std::make_unique<attention::GeneratedAttention>(isa, problem);
}

}  // namespace octet::kernels
