#include "tools/test_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "engine/model.h"
#include "frontends/onnx/onnx.h"
#include "graph/narrow.h"
#include "graph/op_def.h"
#include "tools/feed.h"
#include "tools/hash.h"
#include "tools/metrics.h"
#include "tools/model_source.h"

namespace octet::tools {
namespace {

namespace fs = std::filesystem;
// ONNX Runtime's own fused and unfused runs of mobilenet_v2_qdq are 0.987 apart: rounding ties, nothing else.
constexpr double kLeastCosine = 0.98;
constexpr int64_t kMostQuanta = 2;
constexpr double kHalfFloat = 20;

std::string typed(DType dtype, const Shape& shape) { return std::string(to_string(dtype)) + to_string(shape); }

graph::Tensor copy_of(const TensorView& view) {
  graph::Tensor copy(view.dtype, view.shape);
  std::memcpy(copy.mutable_as<std::byte>(), view.data, view.bytes());
  return copy;
}

std::string float_difference(const graph::Tensor& want, const graph::Tensor& got, Tolerance t) {
  if (want.dtype() == DType::f16 || want.dtype() == DType::bf16) t = {t.rtol * kHalfFloat, t.atol * kHalfFloat};
  double largest = 0;
  for (int64_t i = 0; i < want.size(); ++i)
    if (std::isfinite(want.at_f64(i))) largest = std::max(largest, std::abs(want.at_f64(i)));
  int64_t wrong = 0, worst = -1;
  double worst_excess = -1;
  for (int64_t i = 0; i < want.size(); ++i) {
    const double w = want.at_f64(i), g = got.at_f64(i);
    if ((std::isnan(w) && std::isnan(g)) || w == g) continue;
    const double allowed = t.rtol * std::abs(w) + t.atol * largest + 1e-7;
    const double off = std::abs(w - g);
    if (std::isfinite(w) && off <= allowed) continue;  // false for NaN and infinities
    ++wrong;
    const double excess = std::isfinite(off) ? off / allowed : HUGE_VAL;
    if (excess > worst_excess) worst_excess = excess, worst = i;
  }
  if (wrong == 0) return "";
  return fmt::format("{} of {} elements are off; element {} is {:.6g}, expected {:.6g}", wrong, want.size(), worst,
                     got.at_f64(worst), want.at_f64(worst));
}

std::string integer_difference(const graph::Tensor& want, const graph::Tensor& got, int64_t allowed) {
  if (graph::is_narrow_float(want.dtype())) return float_difference(want, got, {0, 0});
  for (int64_t i = 0; i < want.size(); ++i)
    if (std::abs(want.at_s64(i) - got.at_s64(i)) > allowed)
      return fmt::format("element {} is {}, expected {}{}", i, got.at_s64(i), want.at_s64(i),
                         allowed ? fmt::format(" within {} quanta", allowed) : "");
  return "";
}

std::string quantized_difference(const graph::Tensor& want, const std::vector<float>& got) {
  const std::vector<float> reference = want.to_f32();
  Closeness closeness;
  closeness.add(reference, got);
  if (!(closeness.cosine() >= kLeastCosine))
    return fmt::format("cosine {:.4f} with what was expected, at least {} wanted", closeness.cosine(), kLeastCosine);
  if (argmax(reference) != argmax(got))
    return fmt::format("the largest element is {}, expected {}", argmax(got), argmax(reference));
  return "";
}

// input_0.pb, input_1.pb, ...
std::vector<std::string> numbered(const fs::path& folder, const std::string& stem) {
  std::vector<std::string> files;
  while (true) {
    const fs::path file = folder / (stem + "_" + std::to_string(files.size()) + ".pb");
    if (!fs::exists(file)) return files;
    files.push_back(file.string());
  }
}

std::vector<fs::path> data_sets(const fs::path& folder) {
  std::vector<fs::path> sets;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && entry.path().filename().string().rfind("test_data_set_", 0) == 0)
      sets.push_back(entry.path());
  std::sort(sets.begin(), sets.end());
  return sets;
}

// A value of a test case. Older data of ONNX hold bfloat16 as uint16: numpy had none.
graph::Tensor read_value(const std::string& file, graph::ValueKind kind, DType declared) {
  const graph::Tensor tensor = onnx::import_value(file, kind, declared);
  if (!tensor.is_tensor() || declared != DType::bf16 || tensor.dtype() != DType::u16) return tensor;
  graph::Tensor typed(DType::bf16, tensor.shape());
  std::memcpy(typed.mutable_as<std::byte>(), tensor.as<std::byte>(), tensor.bytes());
  return typed;
}

struct Failure {
  std::string what;
};

// Some models of ONNX's tests declare another shape for an input than their data have: the data are right.
void adopt_shapes(graph::Graph& graph, const fs::path& set) {
  const auto files = numbered(set, "input");
  bool adopted = false;
  for (size_t i = 0; i < std::min(files.size(), graph.inputs().size()); ++i) {
    graph::Value* input = graph.inputs()[i];
    if (!input->type().is_tensor() || !input->type().static_shape()) continue;
    const graph::Tensor data = read_value(files[i], input->type().kind, input->dtype());
    if (data.dtype() != input->dtype() || data.shape() == input->type().shape()) continue;
    input->set_type(graph::Type::known(data.dtype(), data.shape()));
    adopted = true;
  }
  if (adopted) graph::infer_types(graph);
}

Numbers numbers_of(const ModelSource& source) {
  for (const auto& node : source.graph->nodes())
    if (node->op().random) return Numbers::random;
  return source.quantized ? Numbers::quantized : Numbers::exact;
}

// What the interface of the model is made of.
struct Kinds {
  std::vector<graph::Type> inputs, outputs;
};

Kinds kinds_of(const graph::Graph& graph) {
  Kinds kinds;
  for (const graph::Value* v : graph.inputs()) kinds.inputs.push_back(v->type());
  for (const graph::Value* v : graph.outputs()) kinds.outputs.push_back(v->type());
  return kinds;
}

void add_to(Hash& hash, const graph::Tensor& value) {
  if (!value.is_tensor())
    for (const graph::Tensor& element : value.elements()) add_to(hash, element);
  else if (value.dtype() == DType::string)
    for (const std::string& text : value.strings()) hash.add(text.data(), text.size());
  else
    hash.add(value.as<std::byte>(), value.bytes());
}

// What an optional holds; other values as they are.
const graph::Tensor* content(const graph::Tensor& value) {
  if (value.kind() != graph::ValueKind::optional) return &value;
  return value.elements().empty() ? nullptr : &value.elements()[0];
}

std::string value_difference(const graph::Tensor& want, const graph::Tensor& got, Numbers numbers,
                             const Tolerance& tolerance) {
  const graph::Tensor *w = content(want), *g = content(got);
  if (!w || !g) return w == g ? "" : w ? "holds nothing, expected something" : "holds something, expected nothing";
  if (w->kind() != g->kind()) return fmt::format("is a {}, expected a {}", to_string(g->kind()), to_string(w->kind()));
  if (w->is_tensor() && w->dtype() == DType::string) {
    if (g->dtype() != DType::string || w->shape() != g->shape())
      return typed(g->dtype(), g->shape()) + ", expected " + typed(w->dtype(), w->shape());
    return w->strings() == g->strings() ? "" : "holds other strings than expected";
  }
  if (w->is_tensor()) return difference(*w, g->view(), numbers, tolerance);
  if (w->size() != g->size()) return fmt::format("has {} elements, expected {}", g->size(), w->size());
  for (int64_t i = 0; i < w->size(); ++i)
    if (const std::string off = value_difference(w->at(i), g->at(i), numbers, tolerance); !off.empty())
      return fmt::format("element {} of the sequence: {}", i, off);
  return "";
}

// Runs one data set; adds the outputs' bytes to the hash.
void run_data_set(const Model& model, const Kinds& kinds, Session& session, const fs::path& set, Numbers numbers,
                  const Tolerance& tolerance, Hash& hash) {
  const auto inputs = numbered(set, "input"), outputs = numbered(set, "output");
  const std::string where = set.filename().string();
  if (inputs.size() != model.inputs().size())
    throw Failure{fmt::format("{}: {} inputs, the model has {}", where, inputs.size(), model.inputs().size())};
  if (outputs.empty() || outputs.size() > model.outputs().size())
    throw Failure{fmt::format("{}: {} outputs, the model has {}", where, outputs.size(), model.outputs().size())};
  for (size_t i = 0; i < inputs.size(); ++i)
    set_input_value(session, i, read_value(inputs[i], kinds.inputs[i].kind, kinds.inputs[i].dtype));
  session.run();
  for (size_t i = 0; i < outputs.size(); ++i) {
    const graph::Tensor got = output_value(session, i);
    add_to(hash, got);
    // A value declared optional may come out as what it can hold, and the file then has that.
    const graph::ValueKind kind = got.kind() == graph::ValueKind::optional ? kinds.outputs[i].kind : got.kind();
    const std::string off = value_difference(read_value(outputs[i], kind, kinds.outputs[i].dtype), got, numbers, tolerance);
    if (!off.empty()) throw Failure{fmt::format("{}: output '{}': {}", where, model.outputs()[i].name, off)};
  }
}

}  // namespace

std::string difference(const graph::Tensor& want, const TensorView& got, Numbers numbers, const Tolerance& tolerance) {
  if (want.dtype() != got.dtype || want.shape() != got.shape)
    return typed(got.dtype, got.shape) + ", expected " + typed(want.dtype(), want.shape());
  if (want.size() == 0 || numbers == Numbers::random) return "";
  const bool quantized = numbers == Numbers::quantized;
  if (is_float(want.dtype()))
    return quantized ? quantized_difference(want, to_floats(got)) : float_difference(want, copy_of(got), tolerance);
  const bool eight_bits = want.dtype() == DType::s8 || want.dtype() == DType::u8;
  return integer_difference(want, copy_of(got), quantized && eight_bits ? kMostQuanta : 0);
}

std::vector<std::string> find_cases(const std::string& root) {
  std::vector<std::string> folders;
  std::error_code error;
  const fs::recursive_directory_iterator tree(root, fs::directory_options::skip_permission_denied, error);
  if (error) throw Error(ErrorCode::io, root + ": cannot be listed: " + error.message());
  for (const auto& entry : tree)
    if (entry.path().filename() == "model.onnx") folders.push_back(entry.path().parent_path().string());
  if (folders.empty())
    throw Error(ErrorCode::invalid_argument, root + ": expected a folder that holds test cases (model.onnx), found none");
  std::sort(folders.begin(), folders.end());
  return folders;
}

CaseResult run_case(const std::string& folder, const TestOptions& options) {
  CaseResult result;
  try {
    const ModelSource source = open_model((fs::path(folder) / "model.onnx").string());
    auto sets = data_sets(folder);
    if (options.data_sets && options.data_sets < sets.size()) sets.resize(options.data_sets);
    if (sets.empty()) return {Verdict::failed, "no test_data_set_N beside model.onnx", ""};
    adopt_shapes(*source.graph, sets[0]);
    const Kinds kinds = kinds_of(*source.graph);
    std::string first_isa;
    for (const std::string& isa : options.isas) {
      const Model model = model_from_graph(source.graph->clone(), {isa, {}});
      Session session(model, {.threads = options.threads});
      Hash hash;
      for (const fs::path& set : sets) {
        try {
          run_data_set(model, kinds, session, set, numbers_of(source), options.tolerance, hash);
        } catch (const Failure& f) {
          return {Verdict::failed, std::string(model.isa()) + ": " + f.what, ""};
        }
      }
      if (result.hash.empty()) {
        result.hash = hash.hex();
        first_isa = model.isa();
      } else if (hash.hex() != result.hash) {
        return {Verdict::failed, "outputs differ between " + first_isa + " and " + std::string(model.isa()), ""};
      }
    }
  } catch (const Error& e) {
    return {e.code() == ErrorCode::unsupported ? Verdict::skipped : Verdict::failed, e.what(), ""};
  }
  return result;
}

}  // namespace octet::tools
