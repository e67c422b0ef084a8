// Attention on f32, stage by stage as on u8: K in panels, V in panels, a block of rows of scores that become probabilities
// in place.
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "kernels/attention/drivers.h"
#include "kernels/attention/operands.h"
#include "kernels/partition.h"

namespace octet::kernels::attention {
namespace {

class FloatAttention final : public Attention {
 public:
  FloatAttention(const Isa& isa, const AttentionProblem& problem)
      : p_(problem),
        operands_(isa, problem),
        form_(operands_.form()),
        at_(operands_.at()),
        name_("attention f32 " + std::string(isa.name)),
        probabilities_(float_probability_code(isa, operands_.masked())) {
    const auto last_rows = static_cast<int>(problem.queries % form_.rows);
    if (problem.queries >= form_.rows) dot_[0] = dot_code(isa, form_, form_.rows, false);
    if (last_rows > 0) dot_[1] = dot_code(isa, form_, last_rows, false);
    for (int64_t j = 0; j < form_.chunk; ++j) {
      const float inf = std::numeric_limits<float>::infinity();
      limit_[static_cast<size_t>(j)] = form_.keys - form_.chunk + j < problem.keys ? inf : -inf;
    }
  }

  void run(const AttentionArgs& args, int part, int parts) const noexcept override {
    operands_.walk(
        split_work(operands_.units(), part, parts),
        [&](const Unit& u) {
          operands_.pack_keys(args, head_of(args.k, p_.k, u.b, u.kv));
          pack_values(args, head_of(args.v, p_.v, u.b, u.kv));
        },
        [&](const Unit& u, bool fresh_head) { attend(args, u.b, u.h, u.row, u.rows, fresh_head); });
  }

  size_t workspace_bytes() const override { return at_.bytes; }
  std::string name() const override { return name_; }

 private:
  void pack_values(const AttentionArgs& args, const uint8_t* v) const noexcept {
    for (int64_t panel = 0; panel < form_.value_panels; ++panel) {
      const int64_t first = panel * form_.lanes;
      const auto bytes = static_cast<size_t>(4 * std::min<int64_t>(form_.lanes, p_.value_size - first));
      std::byte* to = args.workspace + at_.values + panel * form_.value_panel_bytes();
      const bool whole = bytes == static_cast<size_t>(form_.vector_bytes);
      for (int64_t j = 0; j < p_.keys; ++j, to += form_.vector_bytes) {
        if (!whole) std::memset(to, 0, static_cast<size_t>(form_.vector_bytes));
        std::memcpy(to, v + j * p_.v.row + 4 * first, bytes);
      }
    }
  }

  void attend(const AttentionArgs& args, int64_t b, int64_t h, int64_t first, int64_t rows, bool fresh_head) const noexcept {
    const auto& dot = dot_[rows == form_.rows ? 0 : 1];
    std::byte* scores = args.workspace + at_.scores;
    const auto* q = reinterpret_cast<const std::byte*>(head_of(args.q, p_.q, b, h) + first * p_.q.row);
    call(dot, DotArgs{q, p_.q.row, args.workspace + at_.keys, form_.key_panel_bytes(), form_.steps,
                      reinterpret_cast<int32_t*>(scores), form_.score_row(), nullptr, form_.key_panels});
    FloatProbabilityArgs soft{};
    soft.scores = reinterpret_cast<float*>(scores), soft.row = form_.score_row();
    soft.row_bytes = form_.keys * 4, soft.rows = rows, soft.scale = p_.factors.score;
    soft.limit = limit_.data();
    if (operands_.masked()) {
      const Operands::MaskRows mask = operands_.mask_rows(args, b, h, first, rows, rows, fresh_head);
      soft.mask = mask.rows, soft.mask_row = mask.bytes;
    }
    call(probabilities_, soft);
    std::byte* sums = args.workspace + at_.outputs;
    call(dot, DotArgs{scores, form_.score_row(), args.workspace + at_.values, form_.value_panel_bytes(), p_.keys,
                      reinterpret_cast<int32_t*>(sums), form_.output_row(), nullptr, form_.value_panels});
    std::byte* y = static_cast<std::byte*>(args.y) + b * p_.y.batch + h * p_.y.head + first * p_.y.row;
    for (int64_t i = 0; i < rows; ++i)
      std::memcpy(y + i * p_.y.row, sums + i * form_.output_row(), static_cast<size_t>(4 * p_.value_size));
  }

  const AttentionProblem p_;
  const Operands operands_;
  const Form& form_;
  const Workspace& at_;
  const std::string name_;
  const std::shared_ptr<const Code> probabilities_;
  std::shared_ptr<const Code> dot_[2];  // of whole blocks of rows, of the last one
  std::array<float, 16> limit_;
};

}  // namespace

std::unique_ptr<Attention> make_float(const Isa& isa, const AttentionProblem& problem) {
  return std::make_unique<FloatAttention>(isa, problem);
}

}  // namespace octet::kernels::attention
