// The executor: one arena, one thread team, the steps of a plan in order with a barrier after each.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <new>

#include "engine/fp_state.h"
#include "engine/model_impl.h"
#include "engine/thread_pool.h"
#include "kernels/amx/tile_config.h"
#include "octet/octet.h"

namespace octet {
namespace {

using Clock = std::chrono::steady_clock;

// Zeroed and page-aligned; large ones on huge pages, since kernels walk images by rows and a row can be a page apart.
struct ArenaMemory {
  std::byte* data = nullptr;
  size_t bytes = 0;

  void resize(size_t wanted) {
    if (wanted <= bytes) return;
    constexpr size_t kPage = 4096, kHugePage = size_t{2} << 20;
    const size_t align = wanted >= kHugePage / 2 ? kHugePage : kPage;
    std::free(data);
    bytes = (wanted + align - 1) / align * align;
    data = static_cast<std::byte*>(std::aligned_alloc(align, bytes));
    if (!data) throw std::bad_alloc();
    if (align == kHugePage) madvise(data, bytes, MADV_HUGEPAGE);
    std::memset(data, 0, bytes);
  }
  ArenaMemory() = default;
  ArenaMemory(const ArenaMemory&) = delete;
  ArenaMemory& operator=(const ArenaMemory&) = delete;
  ~ArenaMemory() { std::free(data); }
};

std::string shape_text(const ValueInfo& info) {
  std::string text = "[";
  for (size_t i = 0; i < info.shape.size(); ++i) {
    const std::string open = info.symbols[i].empty() ? "?" : info.symbols[i];
    text += (i ? "," : "") + (info.shape[i] >= 0 ? std::to_string(info.shape[i]) : open);
  }
  return text + "]";
}

bool fits(const ValueInfo& info, const Shape& shape) {
  if (info.shape.size() != shape.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] < 0 || (info.shape[i] >= 0 && info.shape[i] != shape[i])) return false;
  return true;
}

}  // namespace

struct Session::Impl {
  Impl(const Model& model_in, const SessionOptions& options)
      : model(model_in), profile(options.profile), threads(options.threads > 0 ? options.threads : default_threads()) {
    if (model.isa() == "reference") threads = 1;
    pool = std::make_unique<ThreadPool>(threads);
    shapes.resize(model.inputs().size());
    given.resize(model.inputs().size(), false);
    for (size_t i = 0; i < shapes.size(); ++i) {
      const Shape& declared = model.inputs()[i].shape;
      known.push_back(std::all_of(declared.begin(), declared.end(), [](int64_t d) { return d >= 0; }));
      if (known[i]) shapes[i] = declared;
    }
  }

  size_t input_index(std::string_view name) const {
    const auto& inputs = model.inputs();
    for (size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].name == name) return i;
    std::string all;
    for (const ValueInfo& v : inputs) all += (all.empty() ? "'" : ", '") + v.name + "'";
    throw Error(ErrorCode::invalid_argument, "input '" + std::string(name) + "' does not exist; the model has " + all);
  }

  // Takes the plan for the shapes; keeps the inputs' contents where the memory moves.
  void adopt(std::vector<Shape> wanted) {
    if (plan && wanted == plan_shapes) return;
    auto next = model.impl().plan(wanted, threads);
    std::vector<std::vector<std::byte>> kept(given.size());
    if (plan)
      for (size_t i = 0; i < given.size(); ++i)
        if (given[i] && plan_shapes[i] == wanted[i]) {
          const Binding& b = plan->inputs[i];
          const std::byte* from = b.location.in(context);
          kept[i].assign(from, from + static_cast<size_t>(element_count(b.shape)) * size_of(b.dtype));
        }
    plan = std::move(next);
    plan_shapes = std::move(wanted);
    arena.resize(plan->arena_bytes);
    workspaces.resize(plan->workspace_bytes * static_cast<size_t>(threads));
    context = {arena.data, workspaces.data, plan->workspace_bytes};
    for (size_t i = 0; i < kept.size(); ++i)
      if (!kept[i].empty()) std::memcpy(plan->inputs[i].location.in(context), kept[i].data(), kept[i].size());
    times.assign(plan->steps.size(), {});
  }

  void prepare() {
    for (size_t i = 0; i < shapes.size(); ++i)
      if (!known[i] && !given[i]) {
        const ValueInfo& v = model.inputs()[i];
        throw Error(ErrorCode::invalid_argument, "input '" + v.name + "' (" + std::string(to_string(v.dtype)) + shape_text(v) +
                                                     ") was not set, and its shape is open");
      }
    adopt(shapes);
  }

  void run() {
    for (size_t i = 0; i < given.size(); ++i)
      if (!given[i]) {
        const ValueInfo& v = model.inputs()[i];
        throw Error(ErrorCode::invalid_argument,
                    "input '" + v.name + "' (" + std::string(to_string(v.dtype)) + shape_text(v) + ") was not set");
      }
    prepare();
    const bool uses_tiles = model.impl().isa().dot == kernels::DotKind::tile;
    std::exception_ptr error;
    std::atomic<bool> failed{false};
    const std::function<void(int)> task = [&](int thread) {
      const FpState fp_state;
      for (size_t i = 0; i < plan->steps.size(); ++i) {
        const auto begin = profile && thread == 0 ? Clock::now() : Clock::time_point{};
        try {
          plan->steps[i].run(context, thread, threads);
        } catch (...) {
          // Only the scalar form throws, and it runs on thread 0 alone.
          error = std::current_exception();
          failed.store(true, std::memory_order_release);
        }
        if (threads > 1) pool->barrier().wait();
        if (failed.load(std::memory_order_acquire)) return;
        if (profile && thread == 0) record(i, std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
      }
      if (uses_tiles) kernels::release_tiles();
    };
    pool->run(task);
    if (error) std::rethrow_exception(error);
  }

  void record(size_t step, double ms) {
    constexpr size_t kKept = 64;
    if (times[step].size() < kKept) times[step].push_back(ms);
  }

  // Inputs set before all open shapes were known.
  void flush_pending() {
    for (auto& [i, bytes] : pending) std::memcpy(plan->inputs[i].location.in(context), bytes.data(), bytes.size());
    pending.clear();
  }

  TensorView view(const Binding& b) { return {b.location.in(context), b.dtype, b.shape}; }

  Model model;
  bool profile;
  int threads;
  std::unique_ptr<ThreadPool> pool;
  std::vector<Shape> shapes;
  std::vector<bool> given, known;
  std::shared_ptr<const Plan> plan;
  std::vector<Shape> plan_shapes;
  ArenaMemory arena, workspaces;
  RunContext context;
  std::vector<std::vector<double>> times;
  std::map<size_t, std::vector<std::byte>> pending;
};

Session::Session(const Model& model, const SessionOptions& options) : impl_(std::make_unique<Impl>(model, options)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

void Session::set_input(std::string_view name, const TensorView& value) {
  Impl& s = *impl_;
  const size_t i = s.input_index(name);
  const ValueInfo& info = s.model.inputs()[i];
  if (value.dtype != info.dtype || (!fits(info, value.shape) && !info.shape.empty()) ||
      (info.shape.empty() && s.known[i] && !value.shape.empty() && element_count(value.shape) != 1))
    throw Error(ErrorCode::invalid_argument, "input '" + info.name + "': got " + std::string(to_string(value.dtype)) + to_string(value.shape) +
                                                 ", expected " + std::string(to_string(info.dtype)) + shape_text(info));
  s.shapes[i] = value.shape;
  s.given[i] = true;
  const bool ready = [&] {
    for (size_t k = 0; k < s.shapes.size(); ++k)
      if (!s.known[k] && !s.given[k]) return false;
    return true;
  }();
  if (!ready) {
    s.pending[i].assign(static_cast<const std::byte*>(value.data), static_cast<const std::byte*>(value.data) + value.bytes());
    return;
  }
  s.adopt(s.shapes);
  s.flush_pending();
  std::memcpy(s.plan->inputs[i].location.in(s.context), value.data, value.bytes());
}

void Session::prepare() { impl_->prepare(); }
void Session::run() { impl_->run(); }

TensorView Session::output(size_t index) const {
  if (!impl_->plan || index >= impl_->plan->outputs.size())
    throw Error(ErrorCode::invalid_argument, "output " + std::to_string(index) + " does not exist, or nothing has run yet");
  return impl_->view(impl_->plan->outputs[index]);
}

TensorView Session::output(std::string_view name) const {
  const auto& outputs = impl_->model.outputs();
  std::string all;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].name == name) return output(i);
    all += (all.empty() ? "'" : ", '") + outputs[i].name + "'";
  }
  throw Error(ErrorCode::invalid_argument, "output '" + std::string(name) + "' does not exist; the model has " + all);
}

TensorView Session::input(std::string_view name) {
  const size_t i = impl_->input_index(name);
  impl_->prepare();
  impl_->given[i] = true;
  return impl_->view(impl_->plan->inputs[i]);
}

int Session::threads() const { return impl_->threads; }
size_t Session::arena_bytes() const { return impl_->arena.bytes + impl_->workspaces.bytes; }

std::vector<StepInfo> Session::steps() const {
  std::vector<StepInfo> infos;
  if (!impl_->plan) return infos;
  for (size_t i = 0; i < impl_->plan->steps.size(); ++i) {
    infos.push_back(impl_->plan->steps[i].info);
    std::vector<double> times = impl_->times[i];
    if (times.empty()) continue;
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
    infos.back().ms = times[times.size() / 2];
  }
  return infos;
}

}  // namespace octet
