// What the commands of the program share: their options, progress, and how a failure becomes one line and an exit status.
//
// A command declares its options on its part of the command line and returns what to do once they are read. main.cpp lists
// the commands; nothing else knows them all.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "octet/octet.h"

namespace octet::tools {

// Exit status: 0 done, 1 the work failed (a test, a bound), 2 bad usage or bad input.
constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kBadInput = 2;

using Action = std::function<int()>;
struct Command {
  std::string_view name;
  std::string_view summary;
  Action (*declare)(CLI::App& command);
};

Action declare_bench(CLI::App& command);
Action declare_run(CLI::App& command);
Action declare_quantize(CLI::App& command);
Action declare_inspect(CLI::App& command);
Action declare_test(CLI::App& command);
Action declare_zoo(CLI::App& command);
Action declare_cpu(CLI::App& command);
Action declare_operators(CLI::App& command);
Action declare_cold_start(CLI::App& command);

struct Common {
  std::vector<std::string> isas = {""};  // "": the best of this CPU
  int threads = 0;
  bool quiet = false;
  std::vector<std::string> shapes;
  int64_t sequence = 0, past = -1;  // of a zoo network; 0, -1: its default
  bool with_past = false;           // a zoo decoder with both left open

  const std::string& isa() const { return isas[0]; }
};
void add_isa(CLI::App& command, Common& common);      // --isa NAME
void add_isas(CLI::App& command, Common& common);     // --isa NAME,...
void add_threads(CLI::App& command, Common& common);  // --threads N
void add_quiet(CLI::App& command, Common& common);    // --quiet
void add_shapes(CLI::App& command, Common& common);   // --shape NAME=1x3x224x224
void add_tokens(CLI::App& command, Common& common);   // --seq N, --past N

// One line on standard error that is replaced by the next, only when that is a terminal and nobody asked for quiet.
class Progress {
 public:
  explicit Progress(bool quiet);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void show(const std::string& text);

 private:
  bool visible_;
  bool shown_ = false;
};

// Reads the command line, does the work, and turns whatever goes wrong into one line on standard error.
int run_command_line(const std::vector<Command>& commands, const std::vector<Command>& hidden, int argc,
                     const char* const* argv);

}  // namespace octet::tools
