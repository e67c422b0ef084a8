// `octet test`: ONNX test-case folders, run and compared.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "engine/model.h"
#include "graph/ir.h"
#include "kernels/isa.h"
#include "tools/command_line.h"
#include "tools/test_case.h"

namespace octet::tools {
namespace {

struct Options {
  Common common;
  std::vector<std::string> folders;
  Tolerance tolerance;
  bool list_failed = false;
};

// What all refusals of a kind have in common: "Op: message", without the file, the node's name and what it produces.
std::string kind_of(std::string reason) {
  const std::string file = "model.onnx: ";
  if (const size_t at = reason.find(file); at != std::string::npos) reason.erase(0, at + file.size());
  if (reason.rfind("node ", 0) != 0) return reason;
  const size_t op = reason.find(" ("), end = reason.find(')', op), message = reason.find(": ", end);
  if (op == std::string::npos || end == std::string::npos || message == std::string::npos) return reason;
  return reason.substr(op + 2, end - op - 2) + reason.substr(message);
}

using Skipped = std::map<std::string, std::vector<std::string>>;  // folders by reason

// A line for each reason with the number of its cases, the largest number first; then, unless quiet, the cases.
void report(const Skipped& skipped, bool with_folders) {
  std::vector<const Skipped::value_type*> groups;
  for (const auto& group : skipped) groups.push_back(&group);
  std::stable_sort(groups.begin(), groups.end(), [](auto* a, auto* b) { return a->second.size() > b->second.size(); });
  for (const auto* group : groups) {
    fmt::print("skipped  {:4}  {}\n", group->second.size(), group->first);
    for (const std::string& folder : group->second)
      if (with_folders) fmt::print("               {}\n", folder);
  }
}

// A wrong --isa is bad usage, not a failure of every case. The empty graph is the cheapest model that asks for it.
void check_isas(const std::vector<std::string>& isas) {
  for (const std::string& isa : isas) model_from_graph(std::make_unique<graph::Graph>(), {isa, {}});
}

int test(const Options& options) {
  check_isas(options.common.isas);
  std::vector<std::string> cases;
  for (const std::string& folder : options.folders)
    for (std::string& found : find_cases(folder)) cases.push_back(std::move(found));
  size_t counts[3] = {};
  Skipped skipped;
  std::vector<std::string> failed;
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string& folder = cases[i];
    CaseResult result;
    {
      Progress progress(options.common.quiet);
      progress.show(fmt::format("{} of {}: {}", i + 1, cases.size(), folder));
      result = run_case(folder, {options.common.isas, options.tolerance, options.common.threads});
    }
    ++counts[static_cast<size_t>(result.verdict)];
    if (result.verdict == Verdict::skipped) skipped[kind_of(result.reason)].push_back(folder);
    if (result.verdict == Verdict::failed) failed.push_back(folder);
    if (options.list_failed) continue;
    if (result.verdict == Verdict::passed && !options.common.quiet) fmt::print("passed   {}  {}\n", folder, result.hash);
    if (result.verdict == Verdict::failed) fmt::print("FAILED   {}: {}\n", folder, result.reason);
  }
  if (options.list_failed)
    for (const std::string& folder : failed) fmt::print("{}\n", folder);
  else
    report(skipped, !options.common.quiet);
  fmt::print("{} passed, {} failed, {} skipped\n", counts[0], counts[1], counts[2]);
  return failed.empty() ? kDone : kFailed;
}

}  // namespace

Action declare_test(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command
      .add_option("dir", o->folders,
                  "folders that hold, at any depth, model.onnx beside test_data_set_N/{input_i,output_i}.pb")
      ->required()
      ->type_name("DIR");
  command.add_option("--rtol", o->tolerance.rtol, "relative tolerance of float outputs; default: 1e-3")->type_name("X");
  command.add_option("--atol", o->tolerance.atol, "tolerance relative to the output's largest magnitude; default: 1e-4")
      ->type_name("X");
  command.add_flag("--list-failed", o->list_failed, "print only the folders that failed, and the counts");
  add_isas(command, o->common);
  add_threads(command, o->common);
  add_quiet(command, o->common);
  command.footer(
      "A float output passes when |got - want| <= rtol |want| + atol max|want| + 1e-7 for each element (float16: ten times "
      "that).\n"
      "In a graph with quantized activations, where one rounding may fall otherwise: 8-bit outputs within 2 quanta; float "
      "outputs with the\n"
      "same argmax and a cosine of at least 0.98. Of graphs with random operators only types and shapes are compared. With "
      "several ISAs all outputs must be equal to the last bit. A model that "
      "octet refuses\n"
      "as unsupported is skipped. Exit status 1 when a case failed.");
  return [o] { return test(*o); };
}

}  // namespace octet::tools
