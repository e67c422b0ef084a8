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
  std::string name, out, style = "portable", dialect = "qdq", activations = "u8";
  bool int8 = false;
  int64_t batch = 1;
};

int list_zoo() {
  for (const zoo::ZooEntry& entry : zoo::list())
    fmt::print("{:<18} {:>8.3f} GMAC  {}\n", entry.name, entry.gmacs, entry.description);
  return kDone;
}

int export_zoo(const Options& options) {
  const Dialect dialect = parse_dialect(options.dialect);
  if (options.activations != "u8" && options.activations != "s8")
    throw Error(ErrorCode::invalid_argument, "--activations: '" + options.activations + "' is unknown; expected u8 or s8");
  if (dialect == Dialect::dynamic && options.activations == "s8")
    throw Error(ErrorCode::invalid_argument, "--activations s8: the dynamic dialect quantizes to u8");
  if (dialect != Dialect::qdq && options.style == "fused")
    throw Error(ErrorCode::invalid_argument,
                "--dialect " + options.dialect + ": it rounds after every operator; expected --style portable");
  if (!options.int8 && (dialect != Dialect::qdq || options.activations != "u8"))
    throw Error(ErrorCode::invalid_argument, "--dialect and --activations are for --int8");
  if (options.style != "fused" && options.style != "portable")
    throw Error(ErrorCode::invalid_argument, "--style: '" + options.style + "' is unknown; expected portable or fused");
  check_writable(options.out);
  ModelSource source = open_model("zoo:" + options.name, {.batch = options.batch,
                                                          .sequence = options.common.sequence,
                                                          .past = options.common.past,
                                                          .open_tokens = options.common.with_past});
  if (!options.int8) {
    onnx::export_model(*source.graph, options.out);
    fmt::print("{}: {}, FP32\n", options.out, options.name);
    return kDone;
  }
  Progress progress(options.common.quiet);
  QuantizeRequest request;
  request.portable = options.style == "portable";
  request.dialect = dialect;
  request.signed_activations = options.activations == "s8";
  request.threads = options.common.threads;
  const Quantized quantized = quantize_model(source, request, [&](const std::string& text) { progress.show(text); });
  onnx::export_model(*quantized.graph, options.out);
  fmt::print("{}: {}, INT8 in {} style, dialect {}, activations {}, {}\n", options.out, options.name, options.style,
             options.dialect, options.activations, quantized.note);
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
  out->add_option("--dialect", o->dialect, "of --int8: qdq (default), qlinear (operator-oriented) or dynamic")
      ->type_name("NAME");
  out->add_option("--activations", o->activations, "of --int8: u8 (default) or s8")->type_name("NAME");
  out->add_option("--batch", o->batch, "default: 1; 0 leaves it open")->check(CLI::Range(0, 65536))->type_name("N");
  add_threads(*out, o->common);
  add_tokens(*out, o->common);
  add_quiet(*out, o->common);
  return [o, out] { return out->parsed() ? export_zoo(*o) : list_zoo(); };
}

}  // namespace octet::tools
