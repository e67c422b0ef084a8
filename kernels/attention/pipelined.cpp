// One block of 16 rows behind the other, the next one's scores under way while this one's probabilities are computed, across
// heads too: then the keys are the next head's already, and the values still this one's, which is why there are two of
// these.
#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/amx/tile_config.h"
#include "kernels/attention/drivers.h"
#include "kernels/attention/operands.h"
#include "kernels/partition.h"

namespace octet::kernels::attention {
namespace {

class PipelinedAttention final : public Attention {
 public:
  PipelinedAttention(const Isa& isa, const AttentionProblem& problem)
      : p_(problem),
        operands_(isa, problem),
        form_(operands_.form()),
        at_(operands_.at()),
        name_("attention int8 " + std::string(isa.name) + " pipelined") {
    const bool limited = !operands_.masked() && problem.keys % form_.chunk != 0;
    for (const bool saturating : {false, true}) {
      const bool used = problem.parameters_at_run ? !(saturating && operands_.masked())
                                                  : saturating == saturates(problem.factors.exponent);
      if (!used) continue;
      const auto code = [&](bool current, bool next) {
        return pipeline_code(isa, form_, {operands_.masked(), saturating, limited, current, next});
      };
      codes_[saturating] = {code(false, true), code(true, true), code(true, false)};
    }
    for (int64_t j = 0; j < form_.chunk; ++j) {
      const auto is_key = [&](int64_t key) { return form_.keys - form_.chunk + key < problem.keys; };
      limit_.push_back(is_key(j) ? INT32_MAX : INT32_MIN);
      keep_.push_back(is_key(j % 4 * 16 + j / 4) ? 255 : 0);  // byte j of P
    }
  }

  void run(const AttentionArgs& given, int part, int parts) const noexcept override {
    const AttentionArgs args = with_parameters(given, p_);
    const WorkRange mine = split_work(operands_.units(), part, parts);
    if (mine.size() == 0) return;
    configure_tiles();
    auto* maxima = reinterpret_cast<uint32_t*>(args.workspace + at_.lanes);
    std::fill_n(maxima, 256, operands_.masked() ? 0xff800000u : 0x80000000u);
    PipelineArgs step = fixed(args);
    const Codes& codes = codes_[saturates(step.exponent)];
    Block next;
    prepare(args, mine.begin, next, step);
    call(codes.first, step);
    for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
      const Block block = next;
      step.scores = scores(args, block.side);
      step.shifts = shifts(args, block.side);
      step.v = values(args, block.values);
      if (unit + 1 < mine.end) {
        prepare(args, unit + 1, next, step);
        call(codes.inner, step);
      } else {
        call(codes.last, step);
      }
      operands_.store(args, block.unit.b, block.unit.h, block.unit.row, block.unit.rows);
    }
  }

  size_t workspace_bytes() const override { return at_.bytes; }
  std::string name() const override { return name_; }

 private:
  struct Block {
    Unit unit = {.head = -1, .packed = -1};
    int side = 1, values = 1;  // which of two scores and shifts, and of two packed values
  };

  struct Codes {
    std::shared_ptr<const Code> first, inner, last;
  };

  // Whether a power may come to 255.5. That of the greatest score is 2^(s c + (log2 255 - s c)), where the two roundings of
  // s c within 2^13 make less than 2^-10; with a negative factor it is not the greatest. With a
  // mask the powers are of differences, at most 0.
  bool saturates(float exponent) const {
    const float greatest = static_cast<float>(form_.depth) * 255.0f * 128.0f * exponent;
    return !operands_.masked() && !(greatest >= 0.0f && greatest < 8192.0f);
  }

  std::byte* scores(const AttentionArgs& args, int side) const {
    return args.workspace + at_.scores + side * form_.rows * form_.score_row();
  }
  float* shifts(const AttentionArgs& args, int side) const {
    return reinterpret_cast<float*>(args.workspace + at_.shifts) + side * form_.rows;
  }
  std::byte* values(const AttentionArgs& args, int which) const {
    return args.workspace + at_.values + which * form_.value_bytes();
  }

  PipelineArgs fixed(const AttentionArgs& args) const noexcept {
    PipelineArgs step{};
    step.chunks = form_.keys / form_.chunk;
    step.score = args.factors.score, step.exponent = args.factors.exponent;
    step.lanes = args.workspace + at_.lanes;
    step.p = args.workspace + at_.probabilities;
    step.keep = keep_.data();
    step.sums = reinterpret_cast<int32_t*>(args.workspace + at_.sums);
    step.o = reinterpret_cast<int32_t*>(args.workspace + at_.outputs), step.o_row = form_.output_row();
    step.k = args.workspace + at_.keys;
    step.starts = reinterpret_cast<const int32_t*>(args.workspace + at_.key_starts);
    step.limit = limit_.data();
    return step;
  }

  // From the block before to the n-th: its operands packed, its part of `step` filled in.
  void prepare(const AttentionArgs& args, int64_t n, Block& block, PipelineArgs& step) const noexcept {
    const Unit next = operands_.unit(n), before = std::exchange(block.unit, next);
    block.side ^= 1;
    if (next.packed != before.packed) {
      block.values ^= 1;
      operands_.pack_keys(args, head_of(args.k, p_.k, next.b, next.kv));
      operands_.pack_values(args, head_of(args.v, p_.v, next.b, next.kv), values(args, block.values));
    }
    const auto [q, q_row] = operands_.queries(args, next.b, next.h, next.row, next.rows);
    step.q = reinterpret_cast<const uint8_t*>(q), step.q_row = q_row;
    if (operands_.masked()) {
      const Operands::MaskRows mask =
          operands_.mask_rows(args, next.b, next.h, next.row, next.rows, form_.rows, next.head != before.head);
      step.mask = mask.rows, step.mask_row = mask.bytes;
    }
    step.next_scores = scores(args, block.side);
    step.next_shifts = shifts(args, block.side);
  }

  const AttentionProblem p_;
  const Operands operands_;
  const Form& form_;
  const Workspace& at_;
  const std::string name_;
  Codes codes_[2];              // whether powers saturate
  std::vector<int32_t> limit_;  // of the last chunk
  std::vector<uint8_t> keep_;
};

}  // namespace

std::unique_ptr<Attention> make_pipelined(const Isa& isa, const AttentionProblem& problem) {
  return std::make_unique<PipelinedAttention>(isa, problem);
}

}  // namespace octet::kernels::attention
