// `octet run`: one inference, inputs and outputs as .npy.
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>

#include "engine/model.h"
#include "tools/command_line.h"
#include "tools/files.h"
#include "tools/model_source.h"
#include "tools/npy.h"

namespace octet::tools {
namespace {

namespace fs = std::filesystem;

struct Options {
  Common common;
  std::string model, output_dir;
  std::vector<std::string> inputs;
};

std::string describe(const ValueInfo& info) {
  std::string shape;
  for (size_t i = 0; i < info.shape.size(); ++i) {
    const std::string open = info.symbols[i].empty() ? "?" : info.symbols[i];
    shape += (i ? "," : "") + (info.shape[i] >= 0 ? std::to_string(info.shape[i]) : open);
  }
  return fmt::format("'{}' {}[{}]", info.name, to_string(info.dtype), shape);
}

// "output/a" and "output:0" become file names.
std::string file_name(std::string name) {
  for (char& c : name)
    if (c == '/' || c == '\\' || c == ':' || c == '\0') c = '_';
  return name.empty() || name[0] == '.' ? "_" + name : name;
}

int run(const Options& options) {
  const std::string& file = options.model;
  ModelSource source = open_model(file, {.batch = 1, .sequence = options.common.sequence, .past = options.common.past});
  const Model model = model_from_graph(std::move(source.graph), {options.common.isa(), {}});
  std::map<std::string, graph::Tensor> given;
  for (const std::string& text : options.inputs) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error(ErrorCode::invalid_argument, "--input " + text + ": expected NAME=x.npy");
    given[text.substr(0, equals)] = read_npy(text.substr(equals + 1));
  }
  std::string wanted, missing;
  for (const ValueInfo& info : model.inputs()) {
    wanted += (wanted.empty() ? "" : ", ") + describe(info);
    if (!given.count(info.name)) missing += (missing.empty() ? "" : ", ") + describe(info);
  }
  for (const auto& [name, tensor] : given) {
    bool known = false;
    for (const ValueInfo& info : model.inputs()) known |= info.name == name;
    if (!known)
      throw Error(ErrorCode::invalid_argument, file + ": there is no input '" + name + "'; the model has " + wanted);
  }
  if (!missing.empty()) throw Error(ErrorCode::invalid_argument, file + ": missing --input for " + missing);

  Session session(model, {.threads = options.common.threads});
  for (const auto& [name, tensor] : given) {
    try {
      session.set_input(name, tensor.view());
    } catch (const Error& e) {
      throw Error(e.code(), file + ": " + e.what());
    }
  }
  session.run();
  if (!options.output_dir.empty()) {
    std::error_code error;
    fs::create_directories(options.output_dir, error);
    if (error) throw Error(ErrorCode::io, options.output_dir + ": cannot be made: " + error.message());
  }
  for (size_t i = 0; i < model.outputs().size(); ++i) {
    const TensorView view = session.output(i);
    const std::string& name = model.outputs()[i].name;
    std::string where;
    if (!options.output_dir.empty()) {
      const std::string path = (fs::path(options.output_dir) / (file_name(name) + ".npy")).string();
      write_npy(path, view);
      where = "  " + path;
    }
    fmt::print("{} {}{}{}\n", name, to_string(view.dtype), to_string(view.shape), where);
  }
  return kDone;
}

}  // namespace

Action declare_run(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("model", o->model, "an ONNX file or zoo:NAME")->required()->type_name("MODEL");
  command.add_option("--input", o->inputs, "NAME=x.npy, once for each input of the model")
      ->allow_extra_args(false)
      ->type_name("NAME=x.npy");
  command
      .add_option("--output-dir", o->output_dir,
                  "folder for the outputs, NAME.npy each; without it only their types are printed")
      ->type_name("DIR");
  add_isa(command, o->common);
  add_threads(command, o->common);
  add_tokens(command, o->common);
  add_quiet(command, o->common);
  return [o] { return run(*o); };
}

}  // namespace octet::tools
