// `octet bench`: FP32 against INT8 of each model on each ISA.
//
// Per model: open, quantize if need be; per ISA: load both forms, measure them in alternating slices, evaluate both on the
// same inputs, hash their outputs, and start each once in a fresh process for load time and memory.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "engine/model.h"
#include "engine/thread_pool.h"
#include "frontends/onnx/onnx.h"
#include "tools/command_line.h"
#include "tools/dataset.h"
#include "tools/decoding.h"
#include "tools/evaluate.h"
#include "tools/feed.h"
#include "tools/files.h"
#include "tools/model_source.h"
#include "tools/quantizer.h"
#include "tools/report.h"

namespace octet::tools {
namespace {

struct Options {
  Common common;
  std::vector<std::string> models;
  std::string int8, data, json, html;
  std::vector<std::string> precisions = {"fp32", "int8"};
  int streams = 1;
  int64_t batch = 0;
  double seconds = 3;
  size_t samples = 0;
};

// One precision of a model: its graph and the file that a fresh process can load.
struct Form {
  std::string precision;
  std::string file;      // as named in the report
  std::string loadable;  // for a fresh process
  std::unique_ptr<graph::Graph> graph;
  std::string note;
  bool dynamic = false;
};

bool wants(const Options& o, const std::string& precision) {
  return std::find(o.precisions.begin(), o.precisions.end(), precision) != o.precisions.end();
}

// FP32 before INT8, as far as the user wants them.
std::vector<Form> make_forms(const Options& options, const std::string& argument, Dataset* data,
                             const TemporaryFolder& folder, Progress& progress) {
  progress.show("reading " + argument);
  ModelSource source = open_model(argument, {.batch = 0,
                                             .sequence = options.common.sequence,
                                             .past = options.common.past,
                                             .open_tokens = options.common.with_past});
  const auto store = [&](const graph::Graph& graph, const std::string& precision) {
    const std::string path = folder.path() + "/" + source.name + "." + precision + ".onnx";
    onnx::export_model(graph, path);
    return path;
  };
  const auto form = [&](const std::string& precision, ModelSource from, std::string note) {
    Form f{precision, from.file, from.file, nullptr, std::move(note), quantizes_dynamically(*from.graph)};
    if (from.from_zoo) f.loadable = store(*from.graph, precision);
    f.graph = std::move(from.graph);
    return f;
  };

  std::vector<Form> forms;
  if (source.quantized) {
    if (!options.int8.empty())
      throw Error(ErrorCode::invalid_argument,
                  argument + ": it is quantized already; --int8 wants an FP32 model to compare with");
    if (!wants(options, "int8"))
      throw Error(ErrorCode::invalid_argument,
                  argument + ": it is quantized already and has no FP32 form; expected --precision int8");
    forms.push_back(form("int8", std::move(source), "quantized in the file, run as it is"));
    return forms;
  }
  std::optional<Form> int8;
  if (wants(options, "int8")) {
    if (!options.int8.empty()) {
      int8 = form("int8", open_model(options.int8), "the file of --int8");
    } else {
      QuantizeRequest request;
      request.data = data;
      request.shapes = parse_shapes(options.common.shapes);
      request.threads = options.common.threads;
      Quantized quantized = quantize_model(source, request, [&](const std::string& text) { progress.show(text); });
      int8 = Form{"int8", argument, store(*quantized.graph, "int8"), nullptr, "quantized here, " + quantized.note, false};
      int8->graph = std::move(quantized.graph);
    }
  }
  if (wants(options, "fp32")) forms.push_back(form("fp32", std::move(source), ""));
  if (int8) forms.push_back(std::move(*int8));
  return forms;
}

// A form loaded for one ISA, with a session a stream.
struct Loaded {
  Model model;
  std::vector<Session> sessions;
  BenchRun run;
};

Loaded load(const Options& options, const Form& form, const std::string& name, const std::string& isa,
            const InputFeed& feed) {
  Model model = model_from_graph(form.graph->clone(), {isa, {}});
  Loaded loaded{std::move(model), {}, {}};
  BenchRun& run = loaded.run;
  run.model = name;
  run.file = form.file;
  run.precision = form.precision;
  run.isa = std::string(loaded.model.isa());
  const std::string fed =
      feed.data ? "" : "timed and compared on synthetic inputs (" + describe_synthetic(loaded.model) + ")";
  run.note = form.note + (form.note.empty() || feed.data ? "" : "; ") + fed;
  run.streams = options.streams;
  run.batch = choose_batch(loaded.model.inputs(), options.batch, form.file);
  // The default shares the cores among the streams.
  const int threads = options.common.threads ? options.common.threads : std::max(1, default_threads() / options.streams);
  const auto inputs = feed.inputs(loaded.model, form.file, 0, run.batch);
  for (int i = 0; i < options.streams; ++i) {
    loaded.sessions.emplace_back(loaded.model, SessionOptions{.threads = threads});
    set_inputs(loaded.sessions.back(), loaded.model.inputs(), inputs);
    loaded.sessions.back().run();
  }
  run.threads = loaded.sessions[0].threads();
  constexpr double kMega = 1 << 20;
  run.weights_mb = static_cast<double>(loaded.model.weight_bytes()) / kMega;
  for (const Session& s : loaded.sessions) run.arena_mb += static_cast<double>(s.arena_bytes()) / kMega;
  return loaded;
}

void take_times(Loaded& loaded, const Contender& contender) {
  BenchRun& run = loaded.run;
  run.latency = summarize(contender.ms);
  run.throughput = contender.per_second() * static_cast<double>(run.batch);
  double gmac = 0;
  for (const StepInfo& step : loaded.sessions[0].steps()) {
    ++(step.int8 ? run.int8_steps : run.float_steps);
    gmac += step.gmac;
  }
  if (run.latency.median > 0) run.gops = 2 * gmac * run.streams / (run.latency.median / 1e3);
}

// A data set's samples say what open dimensions are; the fresh process has no data set.
std::vector<std::string> shapes_of_samples(const Model& model, const InputFeed& feed, const BenchRun& run) {
  std::vector<std::string> words;
  const auto inputs = feed.data ? feed.inputs(model, run.file, 0, run.batch) : std::vector<graph::Tensor>{};
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueInfo& info = model.inputs()[i];
    if (std::find(info.shape.begin(), info.shape.end(), -1) == info.shape.end()) continue;
    words.push_back("--shape");
    words.push_back(fmt::format("{}={}", info.name, fmt::join(inputs[i].shape(), "x")));
  }
  return words;
}

std::vector<std::string> cold_start_arguments(const Options& options, const Form& form, const BenchRun& run) {
  std::vector<std::string> words{
      form.loadable, "--isa", run.isa, "--threads", std::to_string(run.threads), "--batch", std::to_string(run.batch)};
  for (const std::string& shape : options.common.shapes) words.insert(words.end(), {"--shape", shape});
  return words;
}

Comparison compare(const BenchRun& fp32, const BenchRun& int8) {
  Comparison c{fp32.model, fp32.isa, fp32.threads, 0, 0, {}, 0};
  c.speedup = int8.latency.median > 0 ? fp32.latency.median / int8.latency.median : 0;
  c.throughput_ratio = fp32.throughput > 0 ? int8.throughput / fp32.throughput : 0;
  if (fp32.accuracy && int8.accuracy) c.accuracy_drop = fp32.accuracy->value - int8.accuracy->value;
  c.size_ratio = int8.weights_mb > 0 ? fp32.weights_mb / int8.weights_mb : 0;
  return c;
}

void bench_model(const Options& options, const std::string& argument, Report& report, Progress& progress) {
  std::optional<Dataset> data;
  if (!options.data.empty()) data = Dataset::load(options.data);
  const TemporaryFolder folder;
  const std::vector<Form> forms = make_forms(options, argument, data ? &*data : nullptr, folder, progress);
  const InputFeed feed{data ? &*data : nullptr, parse_shapes(options.common.shapes), options.samples};
  const std::string name = model_name(argument);

  for (const std::string& isa : options.common.isas) {
    std::vector<Loaded> loaded;
    std::vector<Contender> contenders;
    std::vector<Subject> subjects;
    for (const Form& form : forms) {
      progress.show(fmt::format("{} {}: preparing", name, form.precision));
      loaded.push_back(load(options, form, name, isa, feed));
    }
    for (size_t i = 0; i < forms.size(); ++i) {
      Contender contender;
      for (Session& s : loaded[i].sessions) contender.streams.push_back(&s);
      contenders.push_back(std::move(contender));
      subjects.push_back({&loaded[i].model, forms[i].file, forms[i].dynamic});
    }
    progress.show(fmt::format("{} on {}: measuring", name, loaded[0].run.isa));
    measure(contenders, options.seconds);
    for (size_t i = 0; i < forms.size(); ++i) take_times(loaded[i], contenders[i]);

    const int threads = loaded[0].run.threads;
    const Evaluation evaluation = evaluate(subjects, feed, threads, [&](size_t done) {
      progress.show(fmt::format("{} on {}: {} of {} samples", name, loaded[0].run.isa, done, feed.samples()));
    });
    for (size_t i = 0; i < forms.size(); ++i) {
      BenchRun& run = loaded[i].run;
      run.accuracy = evaluation.accuracy[i];
      if (i == 1) run.agreement = evaluation.agreement;
      run.output_hash = output_hash(subjects[i], feed, threads);
      std::vector<std::string> words = cold_start_arguments(options, forms[i], run);
      if (options.common.shapes.empty())
        for (std::string& word : shapes_of_samples(loaded[i].model, feed, run)) words.push_back(std::move(word));
      run.cold = spawn_cold_start(words);
      if (has_open_cache(loaded[i].model)) {
        progress.show(fmt::format("{} {} on {}: decoding", name, run.precision, run.isa));
        run.decoding = measure_decoding(loaded[i].model, threads, options.seconds);
      }
      report.runs.push_back(run);
    }
    if (forms.size() == 2) report.comparisons.push_back(compare(loaded[0].run, loaded[1].run));
  }
}

int bench(const Options& options) {
  for (const std::string& p : options.precisions)
    if (p != "fp32" && p != "int8")
      throw Error(ErrorCode::invalid_argument, "--precision: '" + p + "' is unknown; expected fp32, int8 or fp32,int8");
  if (!options.int8.empty() && options.models.size() != 1)
    throw Error(ErrorCode::invalid_argument,
                "--int8 names the INT8 form of one MODEL, but " + std::to_string(options.models.size()) + " were given");
  for (const std::string& path : {options.json, options.html})
    if (!path.empty()) check_writable(path);
  Report report;
  {
    Progress progress(options.common.quiet);
    for (const std::string& model : options.models) bench_model(options, model, report, progress);
  }
  report.machine = this_machine();
  std::fputs(to_text(report).c_str(), stdout);
  if (!options.json.empty()) write_file(options.json, to_json(report));
  if (!options.html.empty()) write_file(options.html, to_html(report));
  return kDone;
}

}  // namespace

Action declare_bench(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("model", o->models, "ONNX files or zoo:NAME")->required()->type_name("MODEL");
  command.add_option("--int8", o->int8, "the INT8 form of MODEL; without it an FP32 model is quantized first")
      ->type_name("MODEL");
  command.add_option("--data", o->data, "data set for calibration and accuracy; without it synthetic inputs are used")
      ->type_name("D.json");
  command.add_option("--precision", o->precisions, "fp32, int8, or fp32,int8 (default)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME");
  command.add_option("--streams", o->streams, "sessions that run at once, each with --threads threads")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  command.add_option("--batch", o->batch, "samples an inference; default: 1, or what the model fixes")
      ->check(CLI::Range(1, 65536))
      ->type_name("N");
  command.add_option("--seconds", o->seconds, "time to measure each form on each ISA; default: 3")
      ->check(CLI::Range(0.001, 86400.0))
      ->type_name("S");
  command.add_option("--samples", o->samples, "evaluate only the first N samples of the data set")->type_name("N");
  command.add_option("--json", o->json, "write the results as JSON")->type_name("F");
  command.add_option("--html", o->html, "write the results as HTML")->type_name("F");
  add_isas(command, o->common);
  add_threads(command, o->common);
  add_shapes(command, o->common);
  add_tokens(command, o->common);
  add_quiet(command, o->common);
  return [o] { return bench(*o); };
}

}  // namespace octet::tools
