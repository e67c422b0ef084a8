#include "tools/command_line.h"

int main(int argc, char** argv) {
  using namespace octet::tools;
  const std::vector<Command> commands = {
      {"bench", "FP32 against INT8: latency, throughput, memory, accuracy", declare_bench},
      {"run", "run a model once on .npy inputs", declare_run},
      {"quantize", "post-training quantization to a standard QDQ ONNX model", declare_quantize},
      {"inspect", "the graph at a stage, or the plan with its kernels", declare_inspect},
      {"test", "run ONNX test-case folders", declare_test},
      {"zoo", "built-in architectures with seeded random weights", declare_zoo},
      {"operators", "the table of operators, their types and INT8 forms, in Markdown", declare_operators},
      {"cpu", "instruction sets, caches and peaks of this machine", declare_cpu},
  };
  const std::vector<Command> hidden = {
      {"cold-start", "time from file to first result in this process, as JSON", declare_cold_start}};
  return run_command_line(commands, hidden, argc, argv);
}
