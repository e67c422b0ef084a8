#include "graph/passes/pass.h"

#include <algorithm>
#include <chrono>

#include "graph/passes/passes.h"

namespace octet::graph {

namespace {

// Why this order:
//
//   1. Half precision widens, then constants and shapes: everything behind asks for constant operands and known sizes. DQs of
//      constants stay.
//   2. The dialects of quantization become one, while graphs still look as their quantizers wrote them: QLinear operators
//      expand to Q/DQ (before neighbouring reshapes become one, since some belong to a QGemm), fused dynamic products to those of
//      ONNX; then s8 becomes u8, and transparent operators on integers the same on reals. After that only Q and DQ know integers.
//   3. Float algebra: activations and normalisations that are spelled out, before their arithmetic melts into a product; then
//      products in one form, so that batch norms, factors, biases and pads find one kind of weights; weights behind transposes and
//      reshapes before that. The dynamic dialect makes its products here, so that their biases fold alike.
//   4. Q and DQ move next to what computes. Padding has been folded by then, since a DQ between Pad and product would hide it.
//   5. Attention on quanta is one node, before the Qs and DQs around it go into products. Products become integer, then take
//      what follows them, then everything that is left between DQ and Q computes on quanta.
//      Products come first: an activation or an Add belongs into an epilogue rather than into a step of its own; a Pad whose
//      Q stood before a product goes into it now. Tables merge before the last residuals, which wait for quantized Adds to exist.
//   6. What is still float: dequantized constants are evaluated, products take what is left, then normalisations take the Adds,
//      DQs and Qs around them that no product wanted, and the rest is swept out. What has no reason yet gets one.
//
// Subgraphs come last, each through the same list: by then what they capture has its final type.
constexpr Pass kPasses[] = {
    {"promote_half", promote_half},
    {"fold_constants", fold_constants},
    {"control_flow", control_flow},
    {"fold_constants", fold_constants},
    {"fix_reshapes", fix_reshapes},

    {"expand_qlinear", expand_qlinear},
    {"expand_dynamic", expand_dynamic},
    {"remove_identity", remove_identity},
    {"merge_duplicates", merge_duplicates},
    {"dead_code", dead_code},
    {"canonical_quantization", canonical_quantization},
    {"remove_identity", remove_identity},
    {"merge_duplicates", merge_duplicates},

    {"push_dequantize_weights", push_dequantize_weights},
    {"fold_constants", fold_constants},
    {"fuse_activations", fuse_activations},
    {"fuse_normalisations", fuse_normalisations},
    {"normalise_products", normalise_products},
    {"normalise_transposed", normalise_transposed},
    {"normalise_dynamic", normalise_dynamic},
    {"normalise_pools", normalise_pools},
    {"join_past", join_past},
    {"fold_batch_norm", fold_batch_norm},
    {"fold_scale_bias", fold_scale_bias},
    {"fold_pad", fold_pad},
    {"remove_identity", remove_identity},

    {"push_dequantize", push_dequantize},
    {"pull_quantize", pull_quantize},
    {"fold_constants", fold_constants},
    {"requantize", requantize},
    {"merge_duplicates", merge_duplicates},
    {"dead_code", dead_code},

    {"fuse_attention", fuse_attention},
    {"quantize_products", quantize_products},
    {"quantize_matmuls", quantize_matmuls},
    {"fold_pad", fold_pad},
    {"fuse_epilogue", fuse_epilogue},
    {"quantize_elementwise", quantize_elementwise},
    {"merge_tables", merge_tables},
    {"fuse_residual", fuse_residual},
    {"fuse_shuffle", fuse_shuffle},

    {"square", square},
    {"weight_only", weight_only},
    {"fold_dequantized", fold_dequantized},
    {"fold_scale_bias", fold_scale_bias},
    {"fuse_epilogue", fuse_epilogue},
    {"fuse_norms", fuse_norms},
    {"fuse_transposed_operand", fuse_transposed_operand},
    {"flatten_depth", flatten_depth},
    {"merge_duplicates", merge_duplicates},
    {"dead_code", dead_code},

    {"explain", explain},
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
  bool nested = false;
  for (const auto& node : graph.nodes())
    for (Graph* inner : node->subgraphs()) {
      nested = true;
      for (const PassTiming& t : optimize(*inner, options)) {
        const auto same =
            std::find_if(timings.begin(), timings.end(), [&](const PassTiming& own) { return own.name == t.name; });
        if (same == timings.end()) continue;
        same->ms += t.ms;
        same->changes += t.changes;
      }
    }
  if (nested) infer_types(graph);
  if (nested && options.verify_each) verify(graph);
  return timings;
}

}  // namespace octet::graph
