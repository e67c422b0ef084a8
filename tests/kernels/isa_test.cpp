#include "kernels/isa.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace octet::kernels {
namespace {

TEST(Isa, NamesFindTheirRows) {
  for (const Isa& candidate : all_isas()) {
    EXPECT_EQ(find_isa(candidate.name), &candidate);
    EXPECT_EQ(&isa(candidate.id), &candidate);
  }
  EXPECT_EQ(find_isa("avx1024"), nullptr);
  EXPECT_EQ(find_isa(""), nullptr);
}

TEST(Isa, SlowestFirstAndReferenceNeedsNothing) {
  EXPECT_EQ(all_isas().front().id, IsaId::reference);
  EXPECT_EQ(all_isas().back().id, IsaId::amx);
  EXPECT_TRUE(supported(isa(IsaId::reference)));
}

TEST(Isa, BestIsTheLastSupported) {
  const Isa* last = nullptr;
  for (const Isa& candidate : all_isas())
    if (supported(candidate)) last = &candidate;
  EXPECT_EQ(&best_isa(), last);
}

TEST(Isa, UnsupportedSaysWhatIsMissing) {
  for (const Isa& candidate : all_isas()) {
    std::string reason;
    if (!supported(candidate, &reason))
      EXPECT_FALSE(reason.empty()) << candidate.name;
    else
      EXPECT_TRUE(reason.empty()) << candidate.name;
  }
}

// The kernel's list of CPU features is an independent witness.
TEST(Isa, AgreesWithProcCpuinfo) {
  std::ifstream file("/proc/cpuinfo");
  std::stringstream text;
  text << file.rdbuf();
  const std::string flags = text.str();
  if (flags.find("flags") == std::string::npos) GTEST_SKIP() << "no /proc/cpuinfo";
  const auto has = [&](const std::string& flag) { return flags.find(" " + flag + " ") != std::string::npos; };
  const bool avx2 = has("avx2") && has("fma");
  const bool avx512 = avx2 && has("avx512f") && has("avx512bw") && has("avx512vl") && has("avx512dq");
  EXPECT_EQ(supported(isa(IsaId::avx2)), avx2);
  EXPECT_EQ(supported(isa(IsaId::avx2_vnni)), avx2 && has("avx_vnni"));
  EXPECT_EQ(supported(isa(IsaId::avx512)), avx512);
  EXPECT_EQ(supported(isa(IsaId::avx512_vnni)), avx512 && has("avx512_vnni"));
  if (!has("amx_int8")) {
    EXPECT_FALSE(supported(isa(IsaId::amx)));
  }
}

}  // namespace
}  // namespace octet::kernels
