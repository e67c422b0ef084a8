// A plan: the steps that run a model for one combination of input shapes, over one arena.
//
// Steps run in order, each by all threads with a barrier after it; a step splits its work statically by (part, parts). All
// addresses are arena offsets or constants, so a plan is shared by sessions, each with an arena of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/ir.h"
#include "octet/octet.h"

namespace octet {

struct RunContext {
  std::byte* arena = nullptr;
  std::byte* workspaces = nullptr;  // one a thread, `workspace_stride` apart
  size_t workspace_stride = 0;
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
};

struct Binding {
  std::string name;
  DType dtype = DType::undefined;
  Shape shape;
  Location location;
};

struct Plan {
  std::unique_ptr<graph::Graph> graph;  // owns the constants that steps read
  std::vector<Step> steps;
  std::vector<Binding> inputs, outputs;
  size_t arena_bytes = 0;
  size_t workspace_bytes = 0;
  int threads = 1;
};

}  // namespace octet
