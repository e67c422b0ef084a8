#include "kernels/jit/cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "kernels/jit/assembler.h"

namespace octet::kernels {
namespace {

std::unique_ptr<Assembler> returning(int value) {
  auto as = std::make_unique<Assembler>(isa(IsaId::avx2));
  as->mov(as->eax, static_cast<uint32_t>(value));
  as->ret();
  return as;
}

TEST(CodeCache, OneBuildAKeyWhoeverAsks) {
  std::atomic<int> builds = 0;
  std::vector<std::shared_ptr<const Code>> codes(8);
  std::vector<std::thread> threads;
  for (std::shared_ptr<const Code>& code : codes)
    threads.emplace_back([&] {
      code = cached_code(CodeKey("cache_test").add(1), [&] {
        ++builds;
        return returning(42);
      });
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(builds, 1);
  for (const auto& code : codes) {
    EXPECT_EQ(code.get(), codes[0].get());
    EXPECT_EQ(code->entry<int (*)()>()(), 42);
  }
}

TEST(CodeCache, KeysThatDifferInOneFieldAreDifferentCode) {
  const auto a = cached_code(CodeKey("cache_test").add(2).add(true), [] { return returning(1); });
  const auto b = cached_code(CodeKey("cache_test").add(2).add(false), [] { return returning(2); });
  const auto c = cached_code(CodeKey("cache_test2").add(2).add(true), [] { return returning(3); });
  EXPECT_EQ(a->entry<int (*)()>()(), 1);
  EXPECT_EQ(b->entry<int (*)()>()(), 2);
  EXPECT_EQ(c->entry<int (*)()>()(), 3);
}

TEST(CodeCache, CodeDiesWithItsLastUser) {
  const size_t before = cached_code_count();
  auto code = cached_code(CodeKey("cache_test").add(4), [] { return returning(1); });
  EXPECT_EQ(cached_code_count(), before + 1);
  code.reset();
  EXPECT_EQ(cached_code_count(), before);
}

TEST(CodeCache, LongCodeGrows) {
  const auto code = cached_code(CodeKey("cache_test").add(5), [] {
    auto as = std::make_unique<Assembler>(isa(IsaId::avx2));
    as->xor_(as->eax, as->eax);
    Xbyak::Label skip;
    for (int i = 0; i < 20000; ++i) as->add(as->eax, 1);
    as->jmp(skip, Xbyak::CodeGenerator::T_NEAR);
    as->add(as->eax, 1000);
    as->L(skip);
    as->ret();
    return as;
  });
  EXPECT_GT(code->bytes(), 40000u);
  EXPECT_EQ(code->entry<int (*)()>()(), 20000);
}

}  // namespace
}  // namespace octet::kernels
