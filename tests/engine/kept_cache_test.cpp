// A session that keeps a decoder's cache against the same model with the cache handed in and out.
#include "engine/kept_cache.h"

#include <gtest/gtest.h>

#include <cstring>

#include "engine/model.h"
#include "graph/quantize/quantize.h"
#include "kernels/isa.h"
#include "tests/engine/small_decoder.h"

namespace octet {
namespace {

using graph::Tensor;
using graph::test::Builder;
using graph::test::random_floats;
using test::DecoderForm;
using test::kD;
using test::kHeads;
using test::kVocabulary;

Model decoder(const std::string& isa, DecoderForm form = DecoderForm::plain) {
  return model_from_graph(test::small_decoder(form), {isa, {}});
}

Tensor ids(int64_t first, int64_t count) {
  Tensor t(DType::s64, {1, count});
  for (int64_t i = 0; i < count; ++i) t.mutable_as<int64_t>()[i] = (first + i) * 7 % kVocabulary;
  return t;
}
Tensor ones(int64_t count) {
  Tensor t(DType::s64, {1, count});
  std::fill_n(t.mutable_as<int64_t>(), count, 1);
  return t;
}
Tensor copy(const TensorView& view) {
  Tensor t(view.dtype, view.shape);
  std::memcpy(t.mutable_as<std::byte>(), view.data, view.bytes());
  return t;
}

Tensor run_kept(Session& session, int64_t count) {
  const int64_t seen = session.cache_length();
  session.set_input("input_ids", ids(seen, count).view());
  session.set_input("attention_mask", ones(seen + count).view());
  session.run();
  EXPECT_EQ(session.cache_length(), seen + count);
  return copy(session.output("logits"));
}

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const kernels::Isa& isa : kernels::all_isas())
    if (kernels::supported(isa)) names.emplace_back(isa.name);
  return names;
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

const std::vector<int64_t> kSteps = {60, 1, 1, 1, 1, 1, 1, 3, 20, 1, 1};  // over the capacities 64 and 80

void expect_what_a_cache_outside_gives(DecoderForm form) {
  std::vector<Tensor> first;
  for (const std::string& isa : isas()) {
    const Model model = decoder(isa, form);
    Session kept(model, {.threads = 2, .keep_cache = true}), plain(model, {.threads = 1});
    Tensor key(DType::f32, {1, kHeads, 0, kD}), value = key;
    int64_t seen = 0;
    for (size_t i = 0; i < kSteps.size(); ++i) {
      const Tensor y = run_kept(kept, kSteps[i]);
      plain.set_input("input_ids", ids(seen, kSteps[i]).view());
      plain.set_input("attention_mask", ones(seen + kSteps[i]).view());
      plain.set_input("past_key_values.0.key", key.view());
      plain.set_input("past_key_values.0.value", value.view());
      plain.run();
      EXPECT_LT(graph::test::largest_difference(y, copy(plain.output("logits"))), 1e-6) << isa << " step " << i;
      key = copy(plain.output("present.0.key"));
      value = copy(plain.output("present.0.value"));
      seen += kSteps[i];
      if (isa == isas()[0])
        first.push_back(y);
      else
        EXPECT_EQ(std::memcmp(y.as<float>(), first[i].as<float>(), y.bytes()), 0) << isa << " step " << i;
    }
  }
}

TEST(KeptCache, GivesWhatTheCacheHandedInAndOutGives) { expect_what_a_cache_outside_gives(DecoderForm::plain); }

TEST(KeptCache, OfAQuantizedModelHoldsTheQuanta) {
  expect_what_a_cache_outside_gives(DecoderForm::quantized);
  const Model model = decoder("avx2", DecoderForm::quantized);
  Session session(model, {.threads = 1, .keep_cache = true});
  run_kept(session, 3);
  int kept = 0;
  for (const StepInfo& s : session.steps())
    if (s.op == "TensorScatter") {
      EXPECT_EQ(s.type.substr(0, 5), "uint8") << s.type;
      EXPECT_EQ(s.kernel, "scatter in place");
      ++kept;
    }
  EXPECT_EQ(kept, 2);
}

TEST(KeptCache, OfAFloatModelHoldsQuantaOnRequest) {
  const auto prepared = test::small_decoder();
  graph::prepare_for_quantization(*prepared);
  graph::Ranges ranges;
  for (const std::string& name : graph::values_to_calibrate(*prepared, graph::QuantScope::caches)) ranges[name] = {-1, 1};
  const auto quantized = graph::quantize_static(*prepared, ranges, {.scope = graph::QuantScope::caches});
  std::vector<Tensor> first;
  for (const std::string& isa : isas()) {
    const Model model = model_from_graph(quantized->clone(), {isa, {}}), real = decoder(isa);
    Session kept(model, {.threads = 2, .keep_cache = true}), plain(real, {.threads = 1, .keep_cache = true});
    for (size_t i = 0; i < kSteps.size(); ++i) {
      const Tensor y = run_kept(kept, kSteps[i]);
      EXPECT_LT(graph::test::largest_difference(y, run_kept(plain, kSteps[i])), 0.02) << isa << " step " << i;
      if (isa == isas()[0])
        first.push_back(y);
      else
        EXPECT_EQ(std::memcmp(y.as<float>(), first[i].as<float>(), y.bytes()), 0) << isa << " step " << i;
    }
    int bytes = 0;
    for (const StepInfo& s : kept.steps()) bytes += s.op == "TensorScatter" && s.type.starts_with("uint8");
    EXPECT_EQ(bytes, 2) << isa;
  }
}

TEST(KeptCache, StepsWithinACapacityShareOnePlan) {
  const Model model = decoder("");
  Session session(model, {.threads = 1, .keep_cache = true});
  run_kept(session, 3);
  run_kept(session, 1);
  const size_t bytes = session.arena_bytes();
  const auto kernels = [&] {
    std::vector<std::string> names;
    for (const StepInfo& s : session.steps())
      if (s.op == "TensorScatter" || s.op == "Concat") names.push_back(s.kernel);
    return names;
  };
  EXPECT_EQ(kernels(), (std::vector<std::string>{"scatter in place", "scatter in place"}))
      << "no concatenation of the cache";
  for (int i = 0; i < 50; ++i) run_kept(session, 1);
  EXPECT_EQ(session.arena_bytes(), bytes);
}

TEST(KeptCache, WhatIsForgottenDoesNotCount) {
  const Model model = decoder("");
  Session session(model, {.threads = 1, .keep_cache = true});
  run_kept(session, 70);
  const Tensor y = run_kept(session, 2);
  run_kept(session, 30);
  session.set_cache_length(70);
  const Tensor again = run_kept(session, 2);
  EXPECT_EQ(std::memcmp(y.as<float>(), again.as<float>(), y.bytes()), 0);
}

TEST(KeptCache, CapacityFollowsTheLengthAlone) {
  EXPECT_EQ(cache_capacity(0), 64);
  EXPECT_EQ(cache_capacity(64), 64);
  EXPECT_EQ(cache_capacity(65), 80);
  EXPECT_EQ(cache_capacity(129), 160);
  EXPECT_EQ(cache_capacity(1000), 1024);
  for (int64_t n = 1; n < 3000; ++n) {
    ASSERT_GE(cache_capacity(n), n);
    ASSERT_LE(cache_capacity(n), std::max<int64_t>(64, n + n / 2));
  }
}

TEST(KeptCache, MistakesAreNamed) {
  const Model model = decoder("");
  Session session(model, {.threads = 1, .keep_cache = true});
  const Tensor past = random_floats({1, kHeads, 3, kD}, 1);
  EXPECT_NE(message_of([&] { session.set_input("past_key_values.0.key", past.view()); }).find("the session keeps the cache"),
            std::string::npos);
  run_kept(session, 3);
  EXPECT_NE(message_of([&] { session.output("present.0.key"); }).find("stays in the session"), std::string::npos);
  session.set_input("attention_mask", ones(9).view());
  EXPECT_NE(message_of([&] { session.run(); }).find("expected [1,6]: 3 tokens in the cache and 3 new ones"),
            std::string::npos);
  EXPECT_NE(message_of([&] { session.set_cache_length(4); }).find("holds 3 tokens"), std::string::npos);

  Session plain(model, {.threads = 1});
  EXPECT_NE(message_of([&] { plain.set_cache_length(0); }).find("keeps no cache"), std::string::npos);
  const Model odd = decoder("", DecoderForm::odd);
  Session odd_session(odd, {.threads = 1, .keep_cache = true});
  odd_session.set_input("input_ids", ids(0, 1).view());
  odd_session.set_input("attention_mask", ones(1).view());
  EXPECT_NE(message_of([&] { odd_session.run(); }).find("not joined by a Concat"), std::string::npos);
  Builder b;
  b.output(b.op("Relu", {b.input("x", {1, 2})}));
  const Model other = model_from_graph(b.graph.clone(), {});
  EXPECT_NE(message_of([&] { Session(other, {.threads = 1, .keep_cache = true}); }).find("this model has no such"),
            std::string::npos);
}

}  // namespace
}  // namespace octet
