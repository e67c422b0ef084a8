// What a session keeps of one plan while it runs: the arena, the workspaces, the slots of run-time values, and for every
// step that runs plans of its own (a call) the frames of those.
//
//   Session ─ Frame (plan of the model)
//                ├─ arena, workspaces
//                ├─ slots: [tensor found at run time] [sequence] …
//                └─ calls: [If: frames of then_branch, else_branch] [Loop: frames of its body, by shape] …
//
// Inside a call one thread leads: it evaluates the operator (whose loops, conditions and sequences are those of its scalar
// form) and asks for graphs to be run; for each, all threads run the steps of the frame that fits the inputs' shapes. Frames
// are kept by shape, at most kMostFrames a graph, so a loop of stable shapes allocates no memory for tensors after its first
// iteration.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/plan.h"
#include "engine/plan_cache.h"
#include "engine/thread_pool.h"
#include "graph/tensor.h"

namespace octet {

// Zeroed and page-aligned; large ones on huge pages, since kernels walk images by rows and a row can be a page apart.
class ArenaMemory {
 public:
  ArenaMemory() = default;
  ArenaMemory(const ArenaMemory&) = delete;
  ArenaMemory& operator=(const ArenaMemory&) = delete;
  ~ArenaMemory();
  void resize(size_t wanted);  // grows only; contents are lost when it does
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// The threads of a run, and what went wrong in it.
class Team {
 public:
  Team(ThreadPool& pool, bool profile) : pool_(pool), profile_(profile), passed_(static_cast<size_t>(pool.size())) {}
  int threads() const { return pool_.size(); }
  bool profile() const { return profile_; }
  // Every thread passes the same barriers in the same order, and counts them.
  void wait(int thread);
  // Only the scalar form throws, and only thread 0 runs it. A failure counts from the failing thread's next barrier on, so
  // that all threads see it behind the same one.
  void fail(std::exception_ptr error);
  bool failed(int thread) const {
    return failed_behind_.load(std::memory_order_acquire) < passed_[static_cast<size_t>(thread)].barriers;
  }
  void begin();
  void rethrow() const;

 private:
  static constexpr int64_t kNever = INT64_MAX;
  ThreadPool& pool_;
  const bool profile_;
  struct alignas(64) Passed {
    int64_t barriers = 0;
  };
  std::vector<Passed> passed_;
  std::atomic<int64_t> failed_behind_{kNever};
  std::exception_ptr error_;
};

class Call;

struct Frame {
  Frame(std::shared_ptr<const Plan> plan, Team& team);
  ~Frame();
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  // All steps, by one thread of the team; every thread calls it. Returns early once the team has failed.
  void run(int thread);

  // Copies into the arena, or takes into a slot. The tensor must have the input's shape where the plan knows one.
  void set_input(size_t index, const graph::Tensor& value);
  // In the arena: shares its memory, until the next run.
  graph::Tensor output(size_t index) const;

  size_t bytes() const;  // of memory held, calls included
  std::vector<StepInfo> steps() const;

  std::shared_ptr<const Plan> plan;
  std::vector<graph::Tensor> slots;
  std::vector<std::unique_ptr<Call>> calls;
  RunContext context;

 private:
  void record(size_t step, double ms);

  ArenaMemory arena_, workspaces_;
  std::vector<std::vector<double>> times_;
};

// A step's way to run graphs: the frames it has made so far.
class Call {
 public:
  static constexpr size_t kMostFrames = 8;

  // Runs `lead` on thread 0; the other threads follow it into every graph it runs. An error of `lead` becomes the team's.
  using RunGraph =
      std::function<std::vector<graph::Tensor>(PlanCache& plans, std::span<const graph::Tensor> inputs, size_t changed)>;
  void run(Team& team, int thread, const std::function<void(const RunGraph&)>& lead);

  size_t bytes() const;
  std::vector<StepInfo> steps() const;  // of the frames used last, one a graph
  size_t frames() const { return entries_.size(); }

 private:
  struct Entry {
    PlanCache* plans;
    std::vector<Shape> shapes;
    std::unique_ptr<Frame> frame;
  };

  Frame& frame_for(Team& team, PlanCache& plans, std::span<const graph::Tensor> inputs);

  std::vector<Entry> entries_;  // least recently used first
  Frame* current_ = nullptr;    // the frame to be run by all; null: the call is over
};

// The memory of `value` where the next run of a frame may write: copied, sequences element by element.
graph::Tensor owned(const graph::Tensor& value);

}  // namespace octet
