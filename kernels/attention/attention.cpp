#include "kernels/attention.h"

#include <cassert>

#include "kernels/attention/drivers.h"
#include "kernels/attention/form.h"

namespace octet::kernels {
namespace {

class ReferenceAttention final : public Attention {
 public:
  explicit ReferenceAttention(const AttentionProblem& problem) : problem_(problem) {}
  void run(const AttentionArgs& args, int part, int) const noexcept override {
    if (part == 0) attention_reference(problem_, args);
  }
  size_t workspace_bytes() const override { return 0; }
  std::string name() const override { return "attention reference"; }

 private:
  const AttentionProblem problem_;
};

}  // namespace

std::unique_ptr<Attention> make_attention(const Isa& isa, const AttentionProblem& problem, std::string* reason) {
  if (isa.id == IsaId::reference) return std::make_unique<ReferenceAttention>(problem);
  const auto no = [&](const char* why) {
    if (reason) *reason = why;
    return nullptr;
  };
  constexpr int64_t kMostSize = 256, kMostKeys = 32768;
  if (problem.size > kMostSize || problem.value_size > kMostSize) return no("heads larger than 256 have no kernel");
  if (problem.keys > kMostKeys) return no("more than 32768 keys have no kernel");
  assert(!problem.keeps_range || (problem.dtype == DType::u8 && problem.y_dtype == DType::f32));
  if (problem.k.row > INT32_MAX / 64) return no("the rows of k lie too far apart");
  if (problem.dtype == DType::f32) return attention::make_float(isa, problem);
  if (!problem.parameters_at_run && !(problem.factors.exponent <= numerics::kMostExponentFactor))
    return no("its scores are too large for the kernel's rounding");
  const bool pipelined = attention::make_form(isa, problem).pipelined;
  return pipelined ? attention::make_pipelined(isa, problem) : attention::make_staged(isa, problem);
}

}  // namespace octet::kernels
