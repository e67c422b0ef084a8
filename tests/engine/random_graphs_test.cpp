// 200 random quantized graphs: every ISA, and two threads, give the bytes of the reference.
#include <gtest/gtest.h>

#include <cstring>

#include "engine/model.h"
#include "kernels/isa.h"
#include "octet/octet.h"
#include "tests/graph/random_graph.h"

namespace octet {
namespace {

constexpr uint32_t kGraphs = 200;

using Outputs = std::vector<std::vector<std::byte>>;

Outputs run(graph::test::RandomGraph& random, const std::string& isa, int threads) {
  const Model model = model_from_graph(random.graph().clone(), {isa, {}});
  Session session(model, {threads, false});
  for (size_t i = 0; i < random.inputs().size(); ++i)
    session.set_input(random.graph().inputs()[i]->name(), random.inputs()[i].view());
  session.run();
  Outputs outputs;
  for (size_t i = 0; i < random.graph().outputs().size(); ++i) {
    const TensorView y = session.output(i);
    const auto* bytes = static_cast<const std::byte*>(y.data);
    outputs.emplace_back(bytes, bytes + y.bytes());
  }
  return outputs;
}

std::string isa_name(const testing::TestParamInfo<const kernels::Isa*>& tested) { return std::string(tested.param->name); }

class RandomGraphs : public testing::TestWithParam<const kernels::Isa*> {};
INSTANTIATE_TEST_SUITE_P(Isas, RandomGraphs, testing::ValuesIn([] {
                           std::vector<const kernels::Isa*> list;
                           for (const kernels::Isa& isa : kernels::all_isas())
                             if (isa.id != kernels::IsaId::reference) list.push_back(&isa);
                           return list;
                         }()),
                         isa_name);

TEST_P(RandomGraphs, GiveTheReferencesBytes) {
  std::string reason;
  if (!kernels::supported(*GetParam(), &reason)) GTEST_SKIP() << GetParam()->name << ": " << reason;
  for (uint32_t seed = 0; seed < kGraphs && !HasFailure(); ++seed) {
    graph::test::RandomGraph random(seed);
    const int threads = seed % 4 == 0 ? 2 : 1;
    const Outputs want = run(random, "reference", 1), got = run(random, std::string(GetParam()->name), threads);
    for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(want[i] == got[i]) << "seed " << seed << ", output " << i;
  }
}

}  // namespace
}  // namespace octet
