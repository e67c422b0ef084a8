// What the tests of the tools share: small models as files, and the built program run as a user would.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "frontends/onnx/onnx.h"
#include "graph/ir.h"
#include "kernels/isa.h"
#include "tools/files.h"

namespace octet::tools {

// y = Relu(x + 1), x float32 of the given shape; a dimension of -1 is the open batch "N".
inline std::unique_ptr<graph::Graph> small_graph(const Shape& shape) {
  auto g = std::make_unique<graph::Graph>();
  g->name = "small";
  graph::Type type;
  type.dtype = DType::f32;
  type.dims.emplace();
  for (const int64_t d : shape) type.dims->push_back(d < 0 ? graph::Dim(std::string("N")) : graph::Dim(d));
  graph::Value* x = g->add_input("xin", type);
  graph::Node* add = g->add_node("Add", {x, g->add_constant(graph::Tensor::scalar(1), "one")}, 1, "plus");
  g->rename(add->output(), "mid");
  graph::Node* relu = g->add_node("Relu", {add->output()}, 1, "relu");
  g->rename(relu->output(), "yout");
  g->add_output(relu->output(), "yout");
  graph::infer_types(*g);
  return g;
}

struct ProgramResult {
  int status = -1;
  std::string out, err;
};

// Runs `octet ARGUMENTS` through the shell.
inline ProgramResult octet(const std::string& arguments, const std::string& environment = "") {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/out", err = folder.path() + "/err";
  const std::string command = environment + " " + OCTET_PROGRAM + " " + arguments + " >" + out + " 2>" + err + " </dev/null";
  const int raw = std::system(command.c_str());
  return {WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw), read_file(out), read_file(err)};
}

inline std::vector<std::string> isas_here() {
  std::vector<std::string> names;
  for (const kernels::Isa& isa : kernels::all_isas())
    if (kernels::supported(isa)) names.emplace_back(isa.name);
  return names;
}

}  // namespace octet::tools
