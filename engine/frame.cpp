#include "engine/frame.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

namespace octet {

using graph::Tensor;
using Clock = std::chrono::steady_clock;

ArenaMemory::~ArenaMemory() { std::free(data_); }

void ArenaMemory::resize(size_t wanted) {
  if (wanted <= bytes_) return;
  constexpr size_t kPage = 4096, kHugePage = size_t{2} << 20;
  const size_t align = wanted >= kHugePage / 2 ? kHugePage : kPage;
  std::free(data_);
  bytes_ = (wanted + align - 1) / align * align;
  data_ = static_cast<std::byte*>(std::aligned_alloc(align, bytes_));
  if (!data_) {
    bytes_ = 0;
    throw std::bad_alloc();
  }
  if (align == kHugePage) madvise(data_, bytes_, MADV_HUGEPAGE);
  std::memset(data_, 0, bytes_);
}

void Team::wait(int thread) {
  if (threads() > 1) pool_.barrier().wait();
  ++passed_[static_cast<size_t>(thread)].barriers;
}

void Team::fail(std::exception_ptr error) {
  if (failed_behind_.load(std::memory_order_relaxed) != kNever) return;
  error_ = std::move(error);
  failed_behind_.store(passed_[0].barriers, std::memory_order_release);
}

void Team::begin() {
  for (Passed& p : passed_) p.barriers = 0;
  error_ = nullptr;
  failed_behind_.store(kNever, std::memory_order_release);
}

void Team::rethrow() const {
  if (error_) std::rethrow_exception(error_);
}

// --- Frame ----------------------------------------------------------------------------------------------------------------

Frame::Frame(std::shared_ptr<const Plan> plan_in, Team& team) : plan(std::move(plan_in)) {
  slots.resize(static_cast<size_t>(plan->slots));
  for (int i = 0; i < plan->calls; ++i) calls.push_back(std::make_unique<Call>());
  arena_.resize(plan->arena_bytes);
  workspaces_.resize(plan->workspace_bytes * static_cast<size_t>(team.threads()));
  context = {arena_.data(), workspaces_.data(), plan->workspace_bytes, this, &team};
  times_.resize(plan->steps.size());
}

Frame::~Frame() = default;

void Frame::run(int thread) {
  Team& team = *context.team;
  const bool timed = team.profile() && thread == 0;
  if (plan->steps.empty()) team.wait(thread);  // Call counts on one barrier at least
  for (size_t i = 0; i < plan->steps.size(); ++i) {
    const auto begin = timed ? Clock::now() : Clock::time_point{};
    try {
      plan->steps[i].run(context, thread, team.threads());
    } catch (...) {
      team.fail(std::current_exception());
    }
    team.wait(thread);
    if (team.failed(thread)) return;
    if (timed) record(i, std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  }
}

void Frame::record(size_t step, double ms) {
  constexpr size_t kKept = 64;
  if (times_[step].size() < kKept) times_[step].push_back(ms);
}

void Frame::set_input(size_t index, const Tensor& value) {
  const Binding& binding = plan->inputs[index];
  if (binding.slot >= 0) {
    slots[static_cast<size_t>(binding.slot)] = value;
    return;
  }
  if (!value.is_tensor() || value.dtype() != binding.dtype || value.shape() != binding.shape)
    throw Error(ErrorCode::invalid_argument, plan->graph->file + ": '" + binding.name + "' is a " +
                                                 std::string(to_string(value.kind())) + " of " +
                                                 std::string(to_string(value.dtype())) + "; expected a tensor of " +
                                                 std::string(to_string(binding.dtype)) + to_string(binding.shape));
  std::byte* to = binding.location.in(context);
  if (to != value.as<std::byte>()) std::memcpy(to, value.as<std::byte>(), value.bytes());
}

Tensor Frame::output(size_t index) const {
  const Binding& binding = plan->outputs[index];
  if (binding.slot >= 0) return slots[static_cast<size_t>(binding.slot)];
  return {binding.dtype, binding.shape, std::shared_ptr<std::byte[]>(std::shared_ptr<void>(), binding.location.in(context))};
}

size_t Frame::bytes() const {
  size_t sum = arena_.bytes() + workspaces_.bytes();
  for (const auto& call : calls) sum += call->bytes();
  return sum;
}

std::vector<StepInfo> Frame::steps() const {
  std::vector<StepInfo> infos;
  for (size_t i = 0; i < plan->steps.size(); ++i) {
    infos.push_back(plan->steps[i].info);
    std::vector<double> times = times_[i];
    if (!times.empty()) {
      std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
      infos.back().ms = times[times.size() / 2];
    }
    if (plan->steps[i].call < 0) continue;
    // What the call took beyond its inner steps (of one iteration), so that the times add up.
    const size_t outer = infos.size() - 1;
    for (StepInfo& inner : calls[static_cast<size_t>(plan->steps[i].call)]->steps()) {
      infos[outer].ms = std::max(0.0, infos[outer].ms - inner.ms);
      inner.node = plan->steps[i].info.node + "/" + inner.node;
      infos.push_back(std::move(inner));
    }
  }
  return infos;
}

// --- Call -----------------------------------------------------------------------------------------------------------------

namespace {

struct Stopped {};  // the team has failed; the error is the team's

}  // namespace

void Call::run(Team& team, int thread, const std::function<void(const RunGraph&)>& lead) {
  if (thread != 0) {
    for (;;) {
      team.wait(thread);
      if (!current_) return;
      current_->run(thread);
      if (team.failed(thread)) return;
    }
  }
  const Frame* last = nullptr;
  const RunGraph run_graph = [&](PlanCache& plans, std::span<const Tensor> inputs, size_t changed) {
    Frame& frame = frame_for(team, plans, inputs);
    if (&frame != last) changed = inputs.size();
    last = &frame;
    if (frame.plan->passes_through) {
      std::vector<Tensor> staged;
      for (size_t i = 0; i < changed; ++i) staged.push_back(inputs[i].is_tensor() ? owned(inputs[i]) : inputs[i]);
      for (size_t i = 0; i < changed; ++i) frame.set_input(i, staged[i]);
    } else {
      for (size_t i = 0; i < changed; ++i) frame.set_input(i, inputs[i]);
    }
    current_ = &frame;
    team.wait(0);
    frame.run(0);
    if (team.failed(0)) throw Stopped();
    std::vector<Tensor> outputs;
    for (size_t i = 0; i < frame.plan->outputs.size(); ++i) outputs.push_back(frame.output(i));
    return outputs;
  };
  try {
    lead(run_graph);
  } catch (const Stopped&) {
    return;  // the others have left, too
  } catch (...) {
    team.fail(std::current_exception());
  }
  current_ = nullptr;
  team.wait(0);
}

Frame& Call::frame_for(Team& team, PlanCache& plans, std::span<const Tensor> inputs) {
  const auto fits = [&](const Entry& e) {
    return e.plans == &plans &&
           std::equal(inputs.begin(), inputs.end(), e.shapes.begin(), e.shapes.end(),
                      [](const Tensor& t, const Shape& s) { return t.is_tensor() ? t.shape() == s : s.empty(); });
  };
  const auto found = std::find_if(entries_.rbegin(), entries_.rend(), fits);
  if (found != entries_.rend()) {
    const auto at = std::prev(found.base());
    std::rotate(at, at + 1, entries_.end());
    return *entries_.back().frame;
  }
  std::vector<Shape> shapes;
  for (const Tensor& t : inputs) shapes.push_back(t.is_tensor() ? t.shape() : Shape{});
  auto frame = std::make_unique<Frame>(plans.get(shapes, team.threads()), team);
  const auto of_graph = std::count_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.plans == &plans; });
  if (of_graph >= static_cast<std::ptrdiff_t>(kMostFrames))
    entries_.erase(std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.plans == &plans; }));
  entries_.push_back({&plans, std::move(shapes), std::move(frame)});
  return *entries_.back().frame;
}

size_t Call::bytes() const {
  size_t sum = 0;
  for (const Entry& e : entries_) sum += e.frame->bytes();
  return sum;
}

std::vector<StepInfo> Call::steps() const {
  std::vector<StepInfo> infos;
  std::vector<const PlanCache*> seen;
  for (auto e = entries_.rbegin(); e != entries_.rend(); ++e) {
    if (std::find(seen.begin(), seen.end(), e->plans) != seen.end()) continue;
    seen.push_back(e->plans);
    for (StepInfo& info : e->frame->steps()) infos.push_back(std::move(info));
  }
  return infos;
}

Tensor owned(const Tensor& value) {
  if (!value.is_tensor()) {
    std::vector<Tensor> elements;
    for (const Tensor& t : value.elements()) elements.push_back(owned(t));
    if (value.kind() == graph::ValueKind::sequence) return Tensor::sequence(value.dtype(), std::move(elements));
    return Tensor::optional(value.dtype(), elements.empty() ? Tensor() : elements[0]);
  }
  if (!value.defined() || size_of(value.dtype()) == 0) return value;
  Tensor copy(value.dtype(), value.shape());
  std::memcpy(copy.mutable_as<std::byte>(), value.as<std::byte>(), value.bytes());
  return copy;
}

}  // namespace octet
