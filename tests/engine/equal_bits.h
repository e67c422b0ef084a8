// One network on every ISA and with several numbers of threads: the same bits.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "engine/model.h"
#include "kernels/isa.h"
#include "octet/octet.h"
#include "tests/graph/builder.h"

namespace octet {

// The network's output for one input "x"; EXPECTs equal bits everywhere and, beyond the reference, no step of scalar form.
inline void expect_kernels_with_equal_bits(const std::function<void(graph::test::Builder&)>& build, const graph::Tensor& x,
                                           const std::string& what) {
  std::vector<std::byte> want;
  for (const kernels::Isa& isa : kernels::all_isas()) {
    if (!kernels::supported(isa)) continue;
    for (const int threads : {1, 3}) {
      graph::test::Builder b;
      build(b);
      const Model model = model_from_graph(b.graph.clone(), {std::string(isa.name), {}});
      Session session(model, {.threads = threads});
      session.set_input("x", x.view());
      session.run();
      const TensorView y = session.output(0);
      const auto* bytes = static_cast<const std::byte*>(y.data);
      const std::vector<std::byte> got(bytes, bytes + y.bytes());
      if (want.empty()) want = got;
      EXPECT_TRUE(got == want) << what << " on " << isa.name << " with " << threads << " threads";
      if (isa.id == kernels::IsaId::reference) continue;
      for (const StepInfo& step : session.steps())
        EXPECT_NE(step.kernel, "eval") << what << " on " << isa.name << ": " << step.op;
    }
  }
}

}  // namespace octet
