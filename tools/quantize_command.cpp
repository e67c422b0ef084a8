// `octet quantize`: an FP32 model in, a standard QDQ ONNX model out.
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "frontends/onnx/onnx.h"
#include "tools/command_line.h"
#include "tools/files.h"
#include "tools/quantizer.h"

namespace octet::tools {
namespace {

struct Options {
  Common common;
  std::string in, out, data, style, dialect = "qdq";
  bool external_data = false, no_equalise = false;
  int weight_bits = 0, cache_bits = 0;
  int64_t block = 32;
};

int quantize(const Options& options) {
  const Dialect dialect = parse_dialect(options.dialect);
  const std::string style = !options.style.empty() ? options.style : dialect == Dialect::qdq ? "fused" : "portable";
  if (style != "fused" && style != "portable")
    throw Error(ErrorCode::invalid_argument, "--style: '" + options.style + "' is unknown; expected fused or portable");
  if (dialect != Dialect::qdq && style == "fused")
    throw Error(ErrorCode::invalid_argument,
                "--dialect " + options.dialect + ": it rounds after every operator; expected --style portable");
  if (options.cache_bits > 0 && dialect == Dialect::dynamic)
    throw Error(ErrorCode::invalid_argument,
                "--cache: a cache keeps what it was given and needs scales known before; "
                "expected --dialect qdq or qlinear");
  check_writable(options.out);
  std::optional<Dataset> data;
  if (!options.data.empty()) data = Dataset::load(options.data);
  QuantizeRequest request;
  request.portable = style == "portable";
  request.dialect = dialect;
  request.equalise = !options.no_equalise;
  request.weight_bits = options.weight_bits;
  request.block = options.block;
  request.cache = options.cache_bits > 0;
  request.data = data ? &*data : nullptr;
  request.shapes = parse_shapes(options.common.shapes);
  request.isa = options.common.isa();
  request.threads = options.common.threads;
  std::string note;
  {
    Progress progress(options.common.quiet);
    const ModelSource source = open_model(options.in, {.batch = 0,
                                                       .sequence = options.common.sequence,
                                                       .past = options.common.past,
                                                       .open_tokens = options.common.with_past});
    const Quantized quantized = quantize_model(source, request, [&](const std::string& text) { progress.show(text); });
    onnx::ExportOptions target;
    target.external_data = options.external_data;
    onnx::export_model(*quantized.graph, options.out, target);
    note = quantized.note;
  }
  fmt::print("{}: {}{}\n", options.out, options.weight_bits > 0 ? "" : style + " style, dialect " + options.dialect + ", ",
             note);
  return kDone;
}

}  // namespace

Action declare_quantize(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("input", o->in, "an FP32 ONNX file or zoo:NAME")->required()->type_name("IN");
  command.add_option("output", o->out, "the ONNX file to write")->required()->type_name("OUT.onnx");
  command.add_option("--data", o->data, "data set whose calibration part sets the ranges; without it synthetic inputs do")
      ->type_name("D.json");
  command
      .add_option(
          "--style", o->style,
          "fused (default for qdq): no Q/DQ inside what octet fuses; portable: Q/DQ as ONNX Runtime's quantizer writes them")
      ->type_name("NAME");
  command
      .add_option("--dialect", o->dialect,
                  "qdq (default), qlinear (operator-oriented) or dynamic (ranges taken at run time)")
      ->type_name("NAME");
  command
      .add_option("--weights", o->weight_bits,
                  "weights only, of 4 or 8 bits, as com.microsoft MatMulNBits; activations stay float")
      ->check(CLI::IsMember({4, 8}))
      ->type_name("BITS");
  command
      .add_option("--block", o->block, "of --weights: how many along K share a scale, a power of two from 16; default: 32")
      ->type_name("N");
  command
      .add_option("--cache", o->cache_bits,
                  "keys and values of a decoder's cache in 8 bits, with scales of their own; default: float")
      ->check(CLI::IsMember({8}))
      ->type_name("BITS");
  command.add_flag("--no-equalise", o->no_equalise,
                   "dynamic: leave the channels of activations as they are, and the model need not run to be quantized");
  command.add_flag("--external-data", o->external_data, "weights in OUT.onnx.data");
  add_isa(command, o->common);
  add_threads(command, o->common);
  add_shapes(command, o->common);
  add_tokens(command, o->common);
  add_quiet(command, o->common);
  return [o] { return quantize(*o); };
}

}  // namespace octet::tools
