// `octet cpu`: what this machine offers and what octet takes of it.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include "engine/thread_pool.h"
#include "kernels/isa.h"
#include "kernels/peak.h"
#include "tools/command_line.h"
#include "tools/report.h"

namespace octet::tools {
namespace {

std::string first_word(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// The data and unified caches of CPU 0, as the kernel describes them.
void print_caches() {
  for (int i = 0;; ++i) {
    const std::filesystem::path folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}", i);
    if (!std::filesystem::exists(folder / "level")) return;
    if (first_word(folder / "type") == "Instruction") continue;
    fmt::print("  L{}  {:>8}  shared by CPUs {}\n", first_word(folder / "level"), first_word(folder / "size"),
               first_word(folder / "shared_cpu_list"));
  }
}

void print_peaks() {
  fmt::print("\npeaks of one core, measured: 1e9 operations a second, a multiply-accumulate is two\n");
  for (const kernels::Isa& isa : kernels::all_isas()) {
    if (isa.id == kernels::IsaId::reference || !kernels::supported(isa)) continue;
    fmt::print("  {:<12} float32 {:>8.1f}   u8 x s8 {:>8.1f}\n", isa.name, kernels::measure_peak_gops(isa, false),
               kernels::measure_peak_gops(isa, true));
  }
  fmt::print("\nread bandwidth of one core, measured\n");
  for (const size_t kilobytes : {size_t{24}, size_t{192}, size_t{2048}, size_t{131072}})
    fmt::print("  {:>6} KB  {:>7.1f} GB/s\n", kilobytes, kernels::measure_read_gbs(kilobytes * 1024));
}

int cpu(bool measure) {
  const Machine machine = this_machine();
  const kernels::Isa& best = kernels::best_isa();
  const char* cap = std::getenv("OCTET_ISA");
  const kernels::Isa* limit = nullptr;
  if (cap && *cap) {
    limit = kernels::find_isa(cap);
    std::string reason;
    if (!limit)
      throw Error(ErrorCode::invalid_argument,
                  std::string("OCTET_ISA: unknown ISA '") + cap + "'; expected one of those that octet cpu lists");
    if (!kernels::supported(*limit, &reason))
      throw Error(ErrorCode::invalid_argument, std::string("OCTET_ISA: ISA '") + cap + "' is not available here: " + reason);
  }
  fmt::print("{}\n{} physical cores allowed by affinity and cgroup\n\ninstruction sets\n", machine.cpu, machine.cores);
  for (const kernels::Isa& isa : kernels::all_isas()) {
    std::string reason;
    const bool has = kernels::supported(isa, &reason);
    fmt::print("  {:<12} {}\n", isa.name, has ? "yes" : "no: " + reason);
  }
  if (limit)
    fmt::print("\noctet takes {}: the best here is {}, OCTET_ISA={} caps it\n",
               limit->id < best.id ? limit->name : best.name, best.name, cap);
  else
    fmt::print("\noctet takes {}: the best that CPU and kernel offer (OCTET_ISA is not set)\n", best.name);
  fmt::print("\ncaches\n");
  print_caches();
  if (measure) print_peaks();
  return kDone;
}

}  // namespace

Action declare_cpu(CLI::App& command) {
  auto measured = std::make_shared<bool>(false);
  command.add_flag("--measure", *measured, "measure the peaks of arithmetic and memory");
  return [measured] { return cpu(*measured); };
}

}  // namespace octet::tools
