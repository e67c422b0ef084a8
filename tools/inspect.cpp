// `octet inspect`: the graph as imported, as optimized, or the plan with its kernels and the time each step takes.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "engine/model.h"
#include "engine/model_impl.h"
#include "tools/command_line.h"
#include "tools/feed.h"
#include "tools/files.h"
#include "tools/graph_dump.h"
#include "tools/model_source.h"
#include "tools/timing.h"

namespace octet::tools {
namespace {

constexpr int kProfiledRuns = 20;
constexpr double kProfileMs = 2000;

struct Options {
  Common common;
  std::string model, stage, dot, json;
  std::vector<std::string> disabled;
  bool why = false;
  int64_t batch = 0;
};

// The plan, and the graph it was lowered from.
struct Planned {
  std::vector<StepInfo> steps;
  std::shared_ptr<const Plan> plan;
  size_t arena_bytes = 0;
  int threads = 0;
};

Planned profile(const Model& model, const Options& options) {
  const auto shapes = resolve_shapes(model.inputs(), choose_batch(model.inputs(), options.batch, options.model),
                                     parse_shapes(options.common.shapes), options.model);
  Session session(model, {.threads = options.common.threads, .profile = true});
  set_inputs(session, model.inputs(), synthetic_inputs(model, shapes, 0));
  double spent = 0;
  for (int i = 0; i < kProfiledRuns && spent < kProfileMs; ++i) spent += milliseconds([&] { session.run(); });
  return {session.steps(), model.impl().plan(shapes, session.threads()), session.arena_bytes(), session.threads()};
}

void print_plan(const Model& model, const Planned& planned) {
  double ms = 0, gmac = 0;
  size_t int8 = 0, kernel_width = 6, type_width = 4, op_width = 2;
  for (const StepInfo& s : planned.steps) {
    ms += s.ms;
    gmac += s.gmac;
    int8 += s.int8;
    kernel_width = std::max(kernel_width, s.kernel.size());
    type_width = std::max(type_width, s.type.size());
    op_width = std::max(op_width, s.op.size());
  }
  fmt::print("{:>4} {:>9} {:>6} {:>8} {:>8} {:>9}  {:<{}}  {:<{}}  {:<{}}  node\n", "step", "ms", "%", "GMAC", "Gop/s", "KB",
             "op", op_width, "kernel", kernel_width, "type", type_width);
  for (size_t i = 0; i < planned.steps.size(); ++i) {
    const StepInfo& s = planned.steps[i];
    fmt::print("{:>4} {:>9.4f} {:>6.2f} {:>8.4f} {:>8.1f} {:>9.1f}  {:<{}}  {:<{}}  {:<{}}  {}\n", i, s.ms,
               ms > 0 ? 100 * s.ms / ms : 0, s.gmac, s.ms > 0 ? 2e3 * s.gmac / s.ms : 0, static_cast<double>(s.bytes) / 1024,
               s.op, op_width, s.kernel, kernel_width, s.type, type_width, s.node);
  }
  fmt::print(
      "{} steps on {} with {} thread{}: {} int8, {} float; {:.3f} ms, {:.3f} GMAC, weights {:.2f} MB, arena {:.2f} MB\n",
      planned.steps.size(), model.isa(), planned.threads, planned.threads == 1 ? "" : "s", int8, planned.steps.size() - int8,
      ms, gmac, static_cast<double>(model.weight_bytes()) / (1 << 20), static_cast<double>(planned.arena_bytes) / (1 << 20));
}

void print_why(const Planned& planned) {
  size_t listed = 0;
  for (const StepInfo& s : planned.steps) {
    if (s.int8 && s.why.empty()) continue;
    ++listed;
    fmt::print("{} ({}), {}: {}\n", s.node, s.op, s.int8 ? "int8" : "float",
               s.why.empty() ? "the model asks for float here: no pass declined it" : s.why);
  }
  fmt::print("{} of {} steps stayed in float or unfused\n", listed, planned.steps.size());
}

void print_why(const graph::Graph& graph) {
  for (const auto& node : graph.nodes())
    if (!node->why.empty()) fmt::print("{} ({}): {}\n", node->name(), node->op_name(), node->why);
}

void print_passes(const Model& model) {
  for (const graph::PassTiming& pass : pass_timings(model))
    fmt::print("// {:<28} {:>5} changes {:>9.3f} ms\n", pass.name, pass.changes, pass.ms);
}

int inspect(Options options) {
  if (options.stage.empty()) options.stage = options.why ? "plan" : "optimized";
  if (options.stage != "imported" && options.stage != "optimized" && options.stage != "plan")
    throw Error(ErrorCode::invalid_argument,
                "--stage: '" + options.stage + "' is unknown; expected imported, optimized or plan");
  for (const std::string& path : {options.dot, options.json})
    if (!path.empty()) check_writable(path);

  ModelSource source = open_model(options.model, {.batch = 0,
                                                  .sequence = options.common.sequence,
                                                  .past = options.common.past,
                                                  .open_tokens = options.common.with_past});
  nlohmann::ordered_json json = {{"model", source.name}, {"file", source.file}, {"stage", options.stage}};
  std::optional<Model> model;
  std::optional<Planned> planned;
  const graph::Graph* graph = source.graph.get();
  if (options.stage != "imported") {
    model = model_from_graph(std::move(source.graph), {options.common.isa(), options.disabled});
    graph = &optimized_graph(*model);
  }
  if (options.stage == "plan") {
    planned = profile(*model, options);
    graph = planned->plan->graph.get();
    json["isa"] = model->isa();
    json["threads"] = planned->threads;
    json["arena_bytes"] = planned->arena_bytes;
    json["weight_bytes"] = model->weight_bytes();
    json["steps"] = steps_to_json(planned->steps);
  }
  json.update(graph_to_json(*graph));

  if (options.why) {
    planned ? print_why(*planned) : print_why(*graph);
  } else if (planned) {
    print_plan(*model, *planned);
  } else {
    if (model) print_passes(*model);
    std::fputs(graph::print(*graph).c_str(), stdout);
  }
  if (!options.dot.empty()) write_file(options.dot, graph_to_dot(*graph));
  if (!options.json.empty())
    write_file(options.json, json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  return kDone;
}

}  // namespace

Action declare_inspect(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("model", o->model, "an ONNX file or zoo:NAME")->required()->type_name("MODEL");
  command
      .add_option("--stage", o->stage,
                  "imported, optimized (default), or plan: kernels, shapes, bytes and time of each step")
      ->type_name("NAME");
  command.add_flag("--why", o->why, "say for each float or unfused step why (of the plan unless --stage says otherwise)");
  command.add_option("--dot", o->dot, "write the graph for Graphviz")->type_name("F");
  command.add_option("--json", o->json, "write graph and steps as JSON")->type_name("F");
  command.add_option("--disable-pass", o->disabled, "leave out passes by name")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME");
  command.add_option("--batch", o->batch, "samples an inference, for --stage plan")
      ->check(CLI::Range(1, 65536))
      ->type_name("N");
  add_isa(command, o->common);
  add_threads(command, o->common);
  add_shapes(command, o->common);
  add_tokens(command, o->common);
  add_quiet(command, o->common);
  return [o] { return inspect(*o); };
}

}  // namespace octet::tools
