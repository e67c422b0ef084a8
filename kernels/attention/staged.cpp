// Stage by stage: the scores of a block of rows, their probabilities, the outputs, each by one call. Few queries take keys
// and values as they lie (rows.h).
#include <algorithm>
#include <optional>
#include <vector>

#include "kernels/amx/tile_config.h"
#include "kernels/attention/drivers.h"
#include "kernels/attention/operands.h"
#include "kernels/attention/rows.h"
#include "kernels/partition.h"

namespace octet::kernels::attention {
namespace {

class StagedAttention final : public Attention {
 public:
  StagedAttention(const Isa& isa, const AttentionProblem& problem)
      : p_(problem),
        operands_(isa, problem),
        form_(operands_.form()),
        at_(operands_.at()),
        name_("attention int8 " + std::string(isa.name) + (form_.unpacked ? " row by row" : "")),
        probabilities_(probability_code(isa, form_, operands_.masked())) {
    if (form_.unpacked) rows_.emplace(isa, form_, problem);
    const auto last_rows = static_cast<int>(problem.queries % form_.rows);
    for (const int rows : {form_.rows, last_rows}) {
      if (form_.unpacked || rows == 0 || rows > problem.queries) continue;
      scores_[rows == form_.rows ? 0 : 1] =
          form_.tile ? tile_scores_code(isa, form_) : dot_code(isa, form_, rows, form_.group == 4);
      outputs_[rows == form_.rows ? 0 : 1] = form_.tile ? tile_outputs_code(isa, form_) : dot_code(isa, form_, rows, false);
    }
    for (int64_t j = form_.keys - form_.chunk; j < form_.keys; ++j) {
      limit_.push_back(j < problem.keys ? INT32_MAX : INT32_MIN);
      keep_.push_back(j < problem.keys ? -1 : 0);
    }
  }

  void run(const AttentionArgs& given, int part, int parts) const noexcept override {
    const AttentionArgs args = with_parameters(given, p_);
    const WorkRange mine = split_work(operands_.units(), part, parts);
    if (mine.size() == 0) return;
    if (form_.tile) configure_tiles();
    operands_.walk(
        mine,
        [&](const Unit& u) {
          if (rows_) return;
          operands_.pack_keys(args, head_of(args.k, p_.k, u.b, u.kv));
          operands_.pack_values(args, head_of(args.v, p_.v, u.b, u.kv), args.workspace + at_.values);
        },
        [&](const Unit& u, bool fresh_head) { attend(args, u, fresh_head); });
  }

  size_t workspace_bytes() const override { return at_.bytes; }
  std::string name() const override { return name_; }

 private:
  void attend(const AttentionArgs& args, const Unit& u, bool fresh_head) const noexcept {
    const int64_t b = u.b, h = u.h, first = u.row, rows = u.rows;
    const size_t code = rows == form_.rows ? 0 : 1;
    // Keys behind all that these queries may see are left out.
    const int64_t reach = p_.causal ? std::clamp<int64_t>(first + rows + p_.keys - p_.queries, 1, p_.keys) : p_.keys;
    const int64_t chunks = (reach + form_.chunk - 1) / form_.chunk;
    const auto [q, q_row] = operands_.queries(args, b, h, first, rows);
    auto* scores = reinterpret_cast<int32_t*>(args.workspace + at_.scores);
    if (rows_)
      rows_->scores(reinterpret_cast<const int16_t*>(q), head_of(args.k, p_.k, b, u.kv), chunks, scores);
    else
      call(scores_[code],
           DotArgs{q, q_row, args.workspace + at_.keys, form_.key_panel_bytes(), form_.steps, scores, form_.score_row(),
                   reinterpret_cast<const int32_t*>(args.workspace + at_.key_starts), chunks * form_.chunk_vectors});

    ProbabilityArgs soft{};
    soft.scores = scores, soft.score_row = form_.score_row();
    soft.p = args.workspace + at_.probabilities, soft.p_row = form_.probability_row();
    soft.sums = reinterpret_cast<int32_t*>(args.workspace + at_.sums), soft.rows = rows;
    soft.score = args.factors.score, soft.exponent = args.factors.exponent;
    soft.chunk_bytes = chunks * form_.chunk * 4;
    if (operands_.masked()) {
      const Operands::MaskRows mask = operands_.mask_rows(args, b, h, first, rows, rows, fresh_head);
      soft.mask = mask.rows, soft.mask_row = mask.bytes;
    } else if (p_.keys % form_.chunk != 0) {
      soft.chunk_bytes -= form_.chunk * 4;
      soft.limit = limit_.data(), soft.keep = keep_.data();
    }
    call(probabilities_, soft);
    auto* outputs = reinterpret_cast<int32_t*>(args.workspace + at_.outputs);
    if (rows_)
      rows_->outputs(reinterpret_cast<const int16_t*>(soft.p), head_of(args.v, p_.v, b, u.kv), chunks, outputs);
    else
      call(outputs_[code],
           DotArgs{soft.p, soft.p_row, args.workspace + at_.values, form_.value_panel_bytes(),
                   chunks * form_.chunk / form_.group, outputs, form_.output_row(), nullptr, form_.value_panels});
    operands_.store(args, b, h, first, rows);
  }

  const AttentionProblem p_;
  const Operands operands_;
  const Form& form_;
  const Workspace& at_;
  const std::string name_;
  const std::shared_ptr<const Code> probabilities_;
  std::shared_ptr<const Code> scores_[2], outputs_[2];  // of whole blocks of rows, of the last one
  std::optional<Rows> rows_;                            // unpacked: in their place
  std::vector<int32_t> limit_, keep_;                   // of the last chunk
};

}  // namespace

std::unique_ptr<Attention> make_staged(const Isa& isa, const AttentionProblem& problem) {
  return std::make_unique<StagedAttention>(isa, problem);
}

}  // namespace octet::kernels::attention
