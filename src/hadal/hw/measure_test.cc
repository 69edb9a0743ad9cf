#include "hadal/hw/measure.h"

#include <gtest/gtest.h>

#include <atomic>
#include <utility>

namespace hadal {
namespace {

// Each look moves it by one second, so that a run takes exactly one.
class StepClock final : public Clock {
 public:
  Nanos now() const override { return std::chrono::seconds(++looks_); }
  int64_t unix_seconds() const override { return 0; }

 private:
  mutable std::atomic<int> looks_{0};
};

TEST(Measure, BandwidthIsBytesReadPerSecond) {
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    const auto rate =
        measure_read_bandwidth(pool, StepClock(), {.bytes = 3u << 20, .repeats = 2, .rounds = 1});
    ASSERT_TRUE(rate);
    EXPECT_EQ(*rate, 3u << 20) << threads;
  }
}

TEST(Measure, AProbeMayBePassedAgainAndAgain) {
  ThreadPool pool(2);
  auto probe = BandwidthProbe::make(pool, 3u << 20);
  ASSERT_TRUE(probe);
  EXPECT_EQ(probe->bytes(), 3u << 20);
  BandwidthProbe moved = std::move(*probe);
  const StepClock clock;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(moved.pass(clock), 1.0);
}

TEST(Measure, WhatMemoryCannotHoldIsRefused) {
  ThreadPool pool(1);
  const auto rate =
      measure_read_bandwidth(pool, StepClock(), {.bytes = 1ull << 60, .repeats = 1, .rounds = 1});
  ASSERT_FALSE(rate);
  EXPECT_EQ(rate.error().code, Code::kExhausted);
}

TEST(Measure, ArithmeticCountsBothHalvesOfAMultiplyAdd) {
  constexpr uint64_t kRounds = 10, kChains = 12;
  const CpuFeatures have = cpu_features();
  const struct {
    bool runs;
    CpuFeatures features;
    uint64_t f32_lanes, int8_lanes;
  } cases[] = {
      {true, {}, 0, 0},
      {have.avx2 && have.fma, {.avx2 = true, .fma = true}, 8, 32},
      {have.avx2, {.avx2 = true}, 0, 32},
      {have.avx512f && have.avx512bw && have.avx512_vnni,
       {.avx512f = true, .avx512bw = true, .avx512_vnni = true},
       16,
       64},
  };
  for (const auto& c : cases) {
    if (!c.runs) continue;
    for (const int threads : {1, 2}) {
      ThreadPool pool(threads);
      const ArithmeticPeak peak = measure_arithmetic(pool, StepClock(), c.features,
                                                     {.bytes = 1, .repeats = 1, .rounds = kRounds});
      const double unit =
          static_cast<double>(2 * kChains * kRounds * static_cast<uint64_t>(threads));
      EXPECT_EQ(peak.f32, unit * static_cast<double>(c.f32_lanes));
      EXPECT_EQ(peak.int8, unit * static_cast<double>(c.int8_lanes));
    }
  }
}

TEST(Measure, ARealRunGivesNumbers) {
  ThreadPool pool(2);
  const SystemClock clock;
  const MeasureOptions small{.bytes = 8u << 20, .repeats = 1, .rounds = 1000};
  EXPECT_GT(measure_read_bandwidth(pool, clock, small).value(), 0);
  const ArithmeticPeak peak = measure_arithmetic(pool, clock, cpu_features(), small);
  EXPECT_EQ(peak.f32 > 0, cpu_features().avx512f || (cpu_features().avx2 && cpu_features().fma));
}

}  // namespace
}  // namespace hadal
