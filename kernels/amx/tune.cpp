#include "kernels/amx/tune.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <mutex>

#include "kernels/aligned_buffer.h"
#include "kernels/amx/tile_config.h"
#include "kernels/jit/cache.h"

namespace octet::kernels::amx {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kCandidates = 10;
constexpr double kWorthTiming = 12000;  // cycles; below, any choice will do

// The bytes of an image around pixel (0, 0) of image 0.
struct Scratch {
  AlignedBuffer memory;
  int64_t origin = 0;

  Scratch() = default;
  Scratch(const ImageLayout& l, int64_t images, int64_t top, int64_t left, int64_t height, int64_t width)
      : origin(kSlack + top * l.row + left * l.pixel) {
    const int64_t last = (images - 1) * l.image + (height - top - 1) * l.row + (width - left) * l.pixel;
    memory = AlignedBuffer(static_cast<size_t>(origin + last + kSlack));
  }
  uint8_t* data() { return memory.as<uint8_t>() + origin; }
};

double seconds(const Conv& conv, const ConvArgs& args) {
  const auto begin = Clock::now();
  conv.run(args, 0, 1);
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

Blocking fastest(const ConvProblem& problem, const BlockingProblem& cut, const std::vector<Blocking>& candidates,
                 const MakeBlocked& make) {
  const ConvShape& s = problem.shape;
  const int64_t height = (s.oh - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1;
  const int64_t width = (s.ow - 1) * s.stride_w + (s.kw - 1) * s.dilation_w + 1;
  Scratch x(problem.x, s.n, s.pad_top, s.pad_left, height, width), y(problem.y, s.n, 0, 0, s.oh, s.ow);
  const bool has_residual = problem.epilogue.residual != ResidualKind::none;
  Scratch residual = has_residual ? Scratch(problem.residual, s.n, 0, 0, s.oh, s.ow) : Scratch();

  struct Run {
    std::unique_ptr<Conv> conv;
    AlignedBuffer workspace;
    double best = std::numeric_limits<double>::max();
  };
  std::vector<Run> runs;
  for (const Blocking& b : candidates) {
    Run run{make(b), {}, std::numeric_limits<double>::max()};
    run.workspace = AlignedBuffer(run.conv->workspace_bytes());
    runs.push_back(std::move(run));
  }
  // In turn, so that a disturbance meets all of them; those that are clearly slower leave early.
  constexpr int kRounds = 32, kFirstRounds = 8;
  constexpr double kClearlySlower = 1.15;
  double least = std::numeric_limits<double>::max();
  for (int round = 0; round < kRounds; ++round)
    for (Run& run : runs) {
      if (round >= kFirstRounds && run.best > kClearlySlower * least) continue;
      ConvArgs args;
      args.x = x.data();
      args.y = y.data();
      args.residual = has_residual ? residual.data() : nullptr;
      args.workspace = run.workspace.as<std::byte>();
      run.best = std::min(run.best, seconds(*run.conv, args));
      least = std::min(least, run.best);
    }
  release_tiles();
  const auto in_network = [&](size_t i) { return runs[i].best * network_factor(cut, candidates[i]); };
  size_t best = 0;
  for (size_t i = 1; i < runs.size(); ++i)
    if (in_network(i) < 0.98 * in_network(best)) best = i;  // the model's order decides what is level
  return candidates[best];
}

// All that the speed of a blocking depends on.
std::string tuning_key(const ConvProblem& p, bool touching, const BlockingProblem& cut) {
  CodeKey key("amx blocking");
  const ConvShape& s = p.shape;
  for (const int64_t v : {s.n, s.ic, s.ih, s.iw, s.oc, s.oh, s.ow, s.kh, s.kw, s.stride_h, s.stride_w, s.dilation_h,
                          s.dilation_w, s.pad_top, s.pad_left, s.groups})
    key.add(v);
  for (const ImageLayout& l : {p.x, p.y, p.residual}) key.add(l.pixel).add(l.row).add(l.image);
  key.add(touching)
      .add(cut.offset_sum)
      .add(cut.centred_sum)
      .add(p.epilogue.out)
      .add(p.epilogue.residual)
      .add(p.epilogue.act);
  key.add(!p.epilogue.table.empty()).add(p.epilogue.keeps_range).add(p.epilogue.y_scale != 0).add(p.epilogue.range_of_most);
  return key.text();
}

}  // namespace

Blocking tuned_blocking(const ConvProblem& problem, const BlockingProblem& cut, bool touching, const MakeBlocked& make) {
  static std::mutex mutex;
  static auto& chosen = *new std::map<std::string, Blocking>;
  std::vector<Blocking> candidates = candidate_blockings(cut);
  if (candidates.size() > kCandidates) candidates.resize(kCandidates);
  const double best = estimated_cycles(cut, candidates.front()) * static_cast<double>(problem.shape.groups);
  if (candidates.size() == 1 || best < kWorthTiming) return candidates.front();
  const std::string key = tuning_key(problem, touching, cut);
  const std::lock_guard lock(mutex);  // also keeps two threads from timing at once
  if (const auto found = chosen.find(key); found != chosen.end()) return found->second;
  return chosen[key] = fastest(problem, cut, candidates, make);
}

}  // namespace octet::kernels::amx
