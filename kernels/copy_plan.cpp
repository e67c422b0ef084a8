#include "kernels/copy_plan.h"

#include <algorithm>

namespace octet::kernels {
namespace {

// Takes the loops that continue `loop` in both tensors out of `loops`, into it.
void absorb(CopyLoop& loop, std::vector<CopyLoop>& loops) {
  for (size_t i = 0; i < loops.size();) {
    if (loops[i].from == loop.size * loop.from && loops[i].to == loop.size * loop.to) {
      loop.size *= loops[i].size;
      loops.erase(loops.begin() + static_cast<std::ptrdiff_t>(i));
      i = 0;
    } else {
      ++i;
    }
  }
}

// Takes the first loop that fits out of `loops`.
template <class Fits>
bool take(std::vector<CopyLoop>& loops, Fits fits, CopyLoop& taken) {
  const auto it = std::find_if(loops.begin(), loops.end(), fits);
  if (it == loops.end()) return false;
  taken = *it;
  loops.erase(it);
  return true;
}

}  // namespace

CopyPlan plan_copy(const CopyProblem& p) {
  std::vector<CopyLoop> loops = {{p.n, p.from.image, p.to.image},
                                 {p.h, p.from.row, p.to.row},
                                 {p.w, p.from.pixel, p.to.pixel},
                                 {p.c, p.from_channel, p.to_channel}};
  std::erase_if(loops, [](const CopyLoop& loop) { return loop.size == 1; });
  std::stable_sort(loops.begin(), loops.end(), [](const CopyLoop& a, const CopyLoop& b) { return a.from > b.from; });

  CopyPlan plan;
  const auto in_source = [&](const CopyLoop& loop) { return loop.from == p.element; };
  const auto in_destination = [&](const CopyLoop& loop) { return loop.to == p.element; };
  const auto in_both = [&](const CopyLoop& loop) { return in_source(loop) && in_destination(loop); };
  CopyLoop run{1, p.element, p.element};
  if (take(loops, in_both, run) || loops.empty()) {
    absorb(run, loops);
    plan.form = CopyForm::runs;
    plan.run_bytes = run.size * p.element;
  } else if ((p.element == 1 || p.element == 4) && std::any_of(loops.begin(), loops.end(), in_source) &&
             std::any_of(loops.begin(), loops.end(), in_destination)) {
    take(loops, in_source, plan.source_line);
    take(loops, in_destination, plan.destination_line);
    absorb(plan.source_line, loops);
    absorb(plan.destination_line, loops);
    plan.form = CopyForm::transpose;
  }
  plan.outer = std::move(loops);
  return plan;
}

}  // namespace octet::kernels
