#include "graph/passes/pass.h"

#include <algorithm>
#include <chrono>

#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

constexpr Pass kPasses[] = {
    {"fold_constants", fold_constants},
    {"remove_identity", remove_identity},
    {"merge_duplicates", merge_duplicates},
    {"dead_code", dead_code},
    {"fold_dequantized", fold_dequantized},
    {"dead_code", dead_code},
};

void check_names(const std::vector<std::string>& disabled) {
  for (const std::string& name : disabled) {
    if (std::any_of(std::begin(kPasses), std::end(kPasses), [&](const Pass& p) { return p.name == name; })) continue;
    std::string known;
    for (const Pass& p : kPasses) {
      if (known.find(p.name) == std::string::npos) known += (known.empty() ? "" : ", ") + std::string(p.name);
    }
    throw Error(ErrorCode::invalid_argument, "unknown pass '" + name + "'; expected one of " + known);
  }
}

}  // namespace

std::span<const Pass> all_passes() { return kPasses; }

std::vector<PassTiming> optimize(Graph& graph, const PassOptions& options) {
  check_names(options.disabled);
  infer_types(graph);
  if (options.verify_each) verify(graph);
  std::vector<PassTiming> timings;
  for (const Pass& pass : kPasses) {
    if (std::find(options.disabled.begin(), options.disabled.end(), pass.name) != options.disabled.end()) continue;
    const auto start = std::chrono::steady_clock::now();
    const int changes = pass.run(graph);
    if (changes > 0) infer_types(graph);
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    timings.push_back({pass.name, elapsed.count(), changes});
    if (options.verify_each && changes > 0) verify(graph);
    if (options.dump && changes > 0) options.dump(pass.name, graph);
  }
  return timings;
}

}  // namespace octet::graph
