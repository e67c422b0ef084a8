// Shared by the tests of kernels/ops.h: one fixture a test ISA, guarded memory, awkward numbers, bitwise comparison.
//
// Guarded memory has an inaccessible page on one side: reading or writing one byte too far there ends the test with a fault.
// The rest of the mapping holds a pattern that check_margins() expects untouched.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xmmintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "kernels/ops.h"

namespace octet::kernels::testing {

// Runs with denormals flushed, as the engine does, and skips ISAs that this machine lacks.
class OpsTest : public ::testing::TestWithParam<IsaId> {
 protected:
  void SetUp() override {
    std::string reason;
    if (!supported(isa(GetParam()), &reason)) GTEST_SKIP() << isa(GetParam()).name << ": " << reason;
    _mm_setcsr(saved_ | kFlushToZero | kDenormalsAreZero);
  }
  void TearDown() override { _mm_setcsr(saved_); }
  const Isa& target() const { return isa(GetParam()); }

 private:
  static constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  unsigned saved_ = _mm_getcsr();
};

inline auto every_isa() {
  std::vector<IsaId> ids;
  for (const Isa& candidate : all_isas()) ids.push_back(candidate.id);
  return ::testing::ValuesIn(ids);
}
inline std::string isa_name(const ::testing::TestParamInfo<IsaId>& info) { return std::string(isa(info.param).name); }

enum class Wall { before, after };

template <class T>
class Guarded {
 public:
  explicit Guarded(size_t count, Wall wall = Wall::after) : count_(count) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    open_ = (count * sizeof(T) + 64 + page - 1) / page * page;
    mapped_ = open_ + 2 * page;
    base_ = static_cast<uint8_t*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    begin_ = base_ + page;
    std::memset(begin_, kPattern, open_);
    mprotect(base_, page, PROT_NONE);
    mprotect(begin_ + open_, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(wall == Wall::after ? begin_ + open_ - count * sizeof(T) : begin_);
  }
  Guarded(const std::vector<T>& values, Wall wall) : Guarded(values.size(), wall) {
    std::copy(values.begin(), values.end(), data_);
  }
  ~Guarded() { munmap(base_, mapped_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() const { return data_; }
  std::vector<T> values() const { return {data_, data_ + count_}; }
  bool margins_untouched() const {
    const auto* first = reinterpret_cast<const uint8_t*>(data_);
    const uint8_t* last = first + count_ * sizeof(T);
    const auto is_pattern = [](uint8_t byte) { return byte == kPattern; };
    return std::all_of(static_cast<const uint8_t*>(begin_), first, is_pattern) &&
           std::all_of(last, static_cast<const uint8_t*>(begin_ + open_), is_pattern);
  }
  static constexpr uint8_t kPattern = 0xa5;

 private:
  size_t count_, open_, mapped_;
  uint8_t *base_, *begin_;
  T* data_;
};

inline std::vector<float> random_floats(size_t count, float range, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-range, range);
  std::vector<float> values(count);
  for (float& v : values) v = uniform(random);
  return values;
}

inline std::vector<uint8_t> random_bytes(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> values(count);
  for (uint8_t& v : values) v = static_cast<uint8_t>(random());
  return values;
}

inline const std::vector<float>& awkward_floats() {
  using Limits = std::numeric_limits<float>;
  static const std::vector<float> values = {0.0f,
                                            -0.0f,
                                            1.0f,
                                            -1.0f,
                                            0.5f,
                                            -0.5f,
                                            1.5f,
                                            2.5f,
                                            -2.5f,
                                            Limits::infinity(),
                                            -Limits::infinity(),
                                            Limits::quiet_NaN(),
                                            Limits::max(),
                                            Limits::lowest(),
                                            Limits::min(),
                                            -Limits::min(),
                                            Limits::denorm_min(),
                                            -1e-40f,
                                            1e-40f,
                                            88.0f,
                                            88.7f,
                                            88.73f,
                                            89.5f,
                                            -87.0f,
                                            -87.3f,
                                            -87.5f,
                                            -103.0f,
                                            -105.0f,
                                            3.0e9f,
                                            -3.0e9f,
                                            2147483648.0f,
                                            127.5f,
                                            254.5f,
                                            255.5f,
                                            -0.4999f,
                                            16777217.0f};
  return values;
}

// Random values with an awkward one here and there.
inline std::vector<float> mixed_floats(size_t count, float range, unsigned seed) {
  std::vector<float> values = random_floats(count, range, seed);
  std::mt19937 random(seed + 1);
  for (float& v : values)
    if (random() % 4 == 0) v = awkward_floats()[random() % awkward_floats().size()];
  return values;
}

inline bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}
inline bool same_bits(uint8_t a, uint8_t b) { return a == b; }

// Equal bit for bit; a NaN equals any NaN.
template <class T>
::testing::AssertionResult same(const std::vector<T>& actual, const std::vector<T>& expected) {
  if (actual.size() != expected.size())
    return ::testing::AssertionFailure() << actual.size() << " elements instead of " << expected.size();
  for (size_t i = 0; i < actual.size(); ++i)
    if (!same_bits(actual[i], expected[i]))
      return ::testing::AssertionFailure()
             << "element " << i << " of " << actual.size() << " is " << +actual[i] << " instead of " << +expected[i];
  return ::testing::AssertionSuccess();
}

inline void run_parts(const Kernel& kernel, const KernelArgs& args, int parts) {
  for (int part = 0; part < parts; ++part) kernel.run(args, part, parts);
}

// Lengths around every vector width and unroll, and some beyond.
inline std::vector<int64_t> test_lengths() {
  std::vector<int64_t> lengths;
  for (int64_t n = 0; n <= 70; ++n) lengths.push_back(n);
  for (int64_t n : {95, 96, 97, 127, 128, 129, 159, 191, 192, 193, 200, 257, 511}) lengths.push_back(n);
  return lengths;
}

}  // namespace octet::kernels::testing
