// `octet zoo`: list the built-in architectures, or write one as standard ONNX.
#include <fmt/format.h>

#include <memory>

#include "frontends/onnx/onnx.h"
#include "tools/command_line.h"
#include "tools/files.h"
#include "tools/quantizer.h"
#include "tools/zoo.h"

namespace octet::tools {
namespace {

struct Options {
  Common common;
  std::string name, out, style = "portable";
  bool int8 = false;
  int64_t batch = 1;
};

int list_zoo() {
  for (const zoo::ZooEntry& entry : zoo::list())
    fmt::print("{:<18} {:>8.3f} GMAC  {}\n", entry.name, entry.gmacs, entry.description);
  return kDone;
}

int export_zoo(const Options& options) {
  if (options.style != "fused" && options.style != "portable")
    throw Error(ErrorCode::invalid_argument, "--style: '" + options.style + "' is unknown; expected portable or fused");
  check_writable(options.out);
  ModelSource source = open_model(
      "zoo:" + options.name, {.batch = options.batch, .sequence = options.common.sequence, .past = options.common.past});
  if (!options.int8) {
    onnx::export_model(*source.graph, options.out);
    fmt::print("{}: {}, FP32\n", options.out, options.name);
    return kDone;
  }
  Progress progress(options.common.quiet);
  QuantizeRequest request;
  request.portable = options.style == "portable";
  request.threads = options.common.threads;
  const Quantized quantized = quantize_model(source, request, [&](const std::string& text) { progress.show(text); });
  onnx::export_model(*quantized.graph, options.out);
  fmt::print("{}: {}, INT8 in {} style, {}\n", options.out, options.name, options.style, quantized.note);
  return kDone;
}

}  // namespace

Action declare_zoo(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.require_subcommand(1);
  command.add_subcommand("list", "the architectures and their multiply-accumulates a sample");
  CLI::App* out = command.add_subcommand("export", "write one as standard ONNX with seeded random weights");
  out->add_option("name", o->name, "as listed")->required()->type_name("NAME");
  out->add_option("output", o->out, "the ONNX file to write")->required()->type_name("OUT.onnx");
  out->add_flag("--int8", o->int8, "quantized with synthetic calibration");
  out->add_option("--style", o->style, "of --int8: portable (default) or fused")->type_name("NAME");
  out->add_option("--batch", o->batch, "default: 1; 0 leaves it open")->check(CLI::Range(0, 65536))->type_name("N");
  add_threads(*out, o->common);
  add_tokens(*out, o->common);
  add_quiet(*out, o->common);
  return [o, out] { return out->parsed() ? export_zoo(*o) : list_zoo(); };
}

}  // namespace octet::tools
