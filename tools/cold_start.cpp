// `octet cold-start`: what bench starts in a fresh process, so that load time and peak memory belong to one model alone.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "tools/command_line.h"
#include "tools/feed.h"
#include "tools/timing.h"

namespace octet::tools {

Action declare_cold_start(CLI::App& command) {
  struct Options {
    Common common;
    std::string model;
    int64_t batch = 0;
  };
  auto options = std::make_shared<Options>();
  command.add_option("model", options->model)->required();
  command.add_option("--batch", options->batch);
  add_isa(command, options->common);
  add_threads(command, options->common);
  add_shapes(command, options->common);
  return [options] {
    std::unique_ptr<Model> model;
    const double load_ms = milliseconds([&] {
      model = std::make_unique<Model>(Model::load(options->model, {options->common.isa(), {}}));
    });
    const auto shapes = resolve_shapes(model->inputs(), choose_batch(model->inputs(), options->batch, options->model),
                                       parse_shapes(options->common.shapes), options->model);
    const auto inputs = synthetic_inputs(*model, shapes, 0);
    const double first_ms = milliseconds([&] {
      Session session(*model, {.threads = options->common.threads});
      set_inputs(session, model->inputs(), inputs);
      session.run();
    });
    fmt::print("{{\"load_ms\": {}, \"first_ms\": {}, \"peak_rss_mb\": {}}}\n", load_ms, first_ms, peak_rss_mb());
    return kDone;
  };
}

}  // namespace octet::tools
