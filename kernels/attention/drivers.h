// The two drivers of a form; both make every bit alike.
#pragma once

#include <memory>

#include "kernels/attention.h"

namespace octet::kernels::attention {

std::unique_ptr<Attention> make_staged(const Isa& isa, const AttentionProblem& problem);
std::unique_ptr<Attention> make_pipelined(const Isa& isa, const AttentionProblem& problem);  // form.h: pipelined

}  // namespace octet::kernels::attention
