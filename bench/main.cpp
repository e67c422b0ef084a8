// The main of every micro-benchmark: says which machine and which instruction sets before the numbers.
#include <benchmark/benchmark.h>

#include <fstream>
#include <string>

#include "bench/benchmarks.h"
#include "kernels/isa.h"

namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "unknown";
}

std::string supported_isas() {
  std::string names;
  for (const octet::kernels::Isa& isa : octet::kernels::all_isas())
    if (octet::kernels::supported(isa)) names += (names.empty() ? "" : " ") + std::string(isa.name);
  return names;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::AddCustomContext("cpu", cpu_model());
  benchmark::AddCustomContext("isas", supported_isas());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  octet::bench::register_products();
  octet::bench::register_ops();
  octet::bench::register_weight_only();
  octet::bench::register_attention();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
