#include "tools/command_line.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <new>

namespace octet::tools {
namespace {

const char* const kIsaHelp =
    "reference, avx2, avx2_vnni, avx512, avx512_vnni or amx; default: the best of this CPU, capped by OCTET_ISA";

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.erase(text.find_last_not_of(' ') + 1);
}

int complain(const std::string& message, int status) {
  std::fflush(stdout);
  std::fprintf(stderr, "octet: %s\n", one_line(message).c_str());
  return status;
}

std::string lower_first(std::string text) {
  if (text.size() > 1 && text[1] >= 'a' && text[1] <= 'z') text[0] = static_cast<char>(std::tolower(text[0]));
  return text;
}

}  // namespace

void add_isa(CLI::App& command, Common& common) { command.add_option("--isa", common.isas[0], kIsaHelp)->type_name("NAME"); }

void add_isas(CLI::App& command, Common& common) {
  command.add_option("--isa", common.isas, std::string("one or more, with commas: ") + kIsaHelp)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME");
}

void add_threads(CLI::App& command, Common& common) {
  command
      .add_option("--threads", common.threads,
                  "threads of a session; default: physical cores allowed by affinity and cgroup")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
}

void add_quiet(CLI::App& command, Common& common) {
  command.add_flag("--quiet", common.quiet, "no progress on standard error");
}

void add_shapes(CLI::App& command, Common& common) {
  command.add_option("--shape", common.shapes, "size of an input with open dimensions: NAME=1x3x224x224")
      ->allow_extra_args(false)
      ->type_name("NAME=DIMS");
}

void add_tokens(CLI::App& command, Common& common) {
  command
      .add_option("--seq", common.sequence, "new tokens of a sample, for a zoo network of tokens; default: 128, decoders 1")
      ->check(CLI::Range(1, 65536))
      ->type_name("N");
  command.add_option("--past", common.past, "tokens in the cache of a zoo decoder; default: 128")
      ->check(CLI::Range(0, 65536))
      ->type_name("N");
  command.add_flag("--with-past", common.with_past, "a zoo decoder that leaves both open, to be run with its cache");
}

Progress::Progress(bool quiet) : visible_(!quiet && ::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
}

void Progress::show(const std::string& text) {
  if (!visible_) return;
  shown_ = true;
  std::fprintf(stderr, "\r\x1b[K%s", text.c_str());
  std::fflush(stderr);
}

int run_command_line(const std::vector<Command>& commands, const std::vector<Command>& hidden, int argc,
                     const char* const* argv) {
  CLI::App app("octet: INT8 inference of ONNX models on x86 CPUs");
  app.set_version_flag("--version", std::string("octet ") + std::string(version()));
  app.require_subcommand(1);
  std::map<const CLI::App*, Action> actions;
  const auto add = [&](const Command& c) {
    CLI::App* part = app.add_subcommand(std::string(c.name), std::string(c.summary));
    actions[part] = c.declare(*part);
    return part;
  };
  for (const Command& c : commands) add(c);
  for (const Command& c : hidden) add(c)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e) == 0 ? kDone : kFailed;
  } catch (const CLI::ParseError& e) {
    const auto used = app.get_subcommands();
    const std::string command = used.empty() ? "octet" : "octet " + used[0]->get_name();
    const std::string help = " (see " + command + " --help)";
    if (!used.empty()) return complain(lower_first(one_line(e.what())) + help, kBadInput);
    std::string known;
    for (const Command& c : commands) known += (known.empty() ? "" : ", ") + std::string(c.name);
    const std::string given = argc > 1 ? "unknown command '" + std::string(argv[1]) + "'" : "no command given";
    return complain(given + "; expected " + known + help, kBadInput);
  }
  try {
    const int status = actions.at(app.get_subcommands()[0])();
    if (std::fflush(stdout) != 0) return complain("standard output cannot be written", kBadInput);
    return status;
  } catch (const Error& e) {
    return complain(e.what(), kBadInput);
  } catch (const std::bad_alloc&) {
    return complain("out of memory", kFailed);
  } catch (const std::exception& e) {
    return complain(std::string("internal error, please report it: ") + e.what(), kFailed);
  }
}

}  // namespace octet::tools
