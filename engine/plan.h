// A plan: the steps that run a graph for one combination of input shapes, over one arena.
//
// Steps run in order, each by all threads with a barrier after it; a step splits its work statically by (part, parts). All
// addresses are arena offsets or constants, so a plan is shared by sessions, each with an arena of its own.
//
// A value whose shape is known only at run time, or that is a sequence, an optional or of strings, has no place in the
// arena: it lives in a slot of the frame (engine/frame.h), written by one step and read by later ones. Plans of models
// without such values have no slots, and their runs allocate nothing.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/ir.h"
#include "octet/octet.h"

namespace octet {

struct Frame;
class Team;

struct RunContext {
  std::byte* arena = nullptr;
  std::byte* workspaces = nullptr;  // one a thread, `workspace_stride` apart
  size_t workspace_stride = 0;
  Frame* frame = nullptr;  // slots and calls; only steps that have to do with run-time values look at it
  Team* team = nullptr;
  std::byte* workspace(int part) const { return workspaces + static_cast<size_t>(part) * workspace_stride; }
};

// Where a value's first element lies.
struct Location {
  size_t offset = 0;
  const std::byte* constant = nullptr;

  std::byte* in(const RunContext& context) const {
    return constant ? const_cast<std::byte*>(constant) : context.arena + offset;  // constants are only ever read
  }
};

struct Step {
  StepInfo info;
  // Evaluation by the scalar form may throw Error; kernels never do.
  std::function<void(const RunContext&, int part, int parts)> run;
  int call = -1;  // the frame's call that this step makes, for reports
};

struct Binding {
  std::string name;
  DType dtype = DType::undefined;
  Shape shape;
  Location location;
  int slot = -1;  // >= 0: a run-time value; shape and location say nothing
};

struct Plan {
  std::unique_ptr<graph::Graph> graph;  // owns the constants that steps read
  std::vector<Step> steps;
  std::vector<Binding> inputs, outputs;
  size_t arena_bytes = 0;
  size_t workspace_bytes = 0;
  int slots = 0;
  int calls = 0;  // steps that run plans of their own
  // Two interface values overlap: an output is an input handed through, so inputs must be staged when outputs become inputs.
  bool passes_through = false;
  int threads = 1;
};

}  // namespace octet
