#include "tools/decoding.h"

#include "engine/kept_cache.h"
#include "tools/timing.h"

namespace octet::tools {
namespace {

constexpr int64_t kPrompt = 128, kGenerated = 64;

// All but the cache: tokens in the vocabulary, the mask all ones, positions from `past` on.
void set_tokens(Session& session, const Model& model, int64_t tokens, int64_t past) {
  std::vector<Shape> shapes;
  for (const ValueInfo& input : model.inputs()) shapes.push_back(decoder_shape(input, 1, tokens, is_past(input) ? 0 : past));
  std::vector<graph::Tensor> values = synthetic_inputs(model, shapes, static_cast<uint64_t>(past));
  for (size_t i = 0; i < values.size(); ++i) {
    const ValueInfo& input = model.inputs()[i];
    if (is_past(input)) continue;
    if (input.name == "position_ids" && input.dtype == DType::s64)
      for (int64_t k = 0; k < values[i].size(); ++k) values[i].mutable_as<int64_t>()[k] = past + k;
    session.set_input(input.name, values[i].view());
  }
}

double run_ms(Session& session) {
  return milliseconds([&] { session.run(); });
}

}  // namespace

bool has_open_cache(const Model& model) { return !find_caches(model.inputs(), model.outputs()).empty(); }

Decoding measure_decoding(const Model& model, int threads, double seconds) {
  Session session(model, {.threads = threads, .keep_cache = true});
  std::vector<double> prefill, decode;
  double spent = 0;
  for (int round = 0; round < 2 || spent < seconds * 1e3; ++round) {
    session.set_cache_length(0);
    set_tokens(session, model, kPrompt, 0);
    if (round == 0) session.prepare();
    const double first = run_ms(session);
    spent += first;
    if (round > 0) prefill.push_back(first);  // the first round makes the plans
    for (int64_t i = 0; i < kGenerated; ++i) {
      set_tokens(session, model, 1, kPrompt + i);
      const double ms = run_ms(session);
      spent += ms;
      if (round > 0) decode.push_back(ms);
    }
  }
  return {kPrompt, kGenerated, static_cast<double>(kPrompt) * 1e3 / summarize(prefill).median,
          1e3 / summarize(decode).median};
}

}  // namespace octet::tools
