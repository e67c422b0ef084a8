// The drivers. Staged and pipelined make every bit alike.
#pragma once

#include <memory>

#include "kernels/attention.h"

namespace octet::kernels::attention {

std::unique_ptr<Attention> make_staged(const Isa& isa, const AttentionProblem& problem);
std::unique_ptr<Attention> make_pipelined(const Isa& isa, const AttentionProblem& problem);  // form.h: pipelined

std::unique_ptr<Attention> make_float(const Isa& isa, const AttentionProblem& problem);

}  // namespace octet::kernels::attention
