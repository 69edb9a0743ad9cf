#include "hadal/base/rng.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <set>
#include <vector>

#include "hadal/base/clock.h"

namespace hadal {
namespace {

TEST(Rng, ADrawIsAPureFunctionOfSeedStreamAndIndex) {
  Rng sequential(42, 3);
  const Rng indexed(42, 3);
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(sequential.next(), indexed.at(i)) << i;
  EXPECT_EQ(indexed.at(7), indexed.at(7));
}

// Seeds are answers that users saved: these numbers must never change.
TEST(Rng, ItsNumbersAreFixed) {
  static_assert(Rng(0).at(0) == Rng(0, 0).at(0));
  static_assert(Rng(1).at(0) != Rng(0, 1).at(0));
  EXPECT_EQ(Rng(42).at(0), 0x2791839B6C9CAF25ull);
  EXPECT_EQ(Rng(42, 1).at(1000), 0x354C151DD175D515ull);
}

TEST(Rng, NeighbouringSeedsAndStreamsShareNothing) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (uint64_t stream = 0; stream < 20; ++stream) {
      for (uint64_t i = 0; i < 20; ++i) seen.insert(Rng(seed, stream).at(i));
    }
  }
  EXPECT_EQ(seen.size(), 8000u);  // a collision has probability 2e-12
}

TEST(Rng, EachBitIsSetHalfOfTheTime) {
  constexpr int kDraws = 20'000;
  std::array<int, 64> ones{};
  Rng rng(5);
  for (int i = 0; i < kDraws; ++i) {
    const uint64_t draw = rng.next();
    for (int bit = 0; bit < 64; ++bit) ones[bit] += static_cast<int>(draw >> bit & 1);
  }
  // Five standard deviations, sqrt(n) / 2 each.
  for (int bit = 0; bit < 64; ++bit) EXPECT_NEAR(ones[bit], kDraws / 2, 5 * 71) << bit;
}

TEST(Rng, UniformFillsZeroToOneWithoutOne) {
  Rng rng(9, 1);
  std::vector<int> bins(16);
  for (int i = 0; i < 16'000; ++i) {
    const double u = rng.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++bins[static_cast<size_t>(u * 16)];
  }
  for (const int bin : bins) EXPECT_NEAR(bin, 1000, 5 * 31);
}

TEST(Clock, TheFakeMovesOnlyWhenTold) {
  FakeClock clock;
  const int64_t start = clock.unix_seconds();
  EXPECT_EQ(clock.now(), Nanos(0));
  clock.advance(std::chrono::milliseconds(1500));
  EXPECT_DOUBLE_EQ(to_seconds(clock.now()), 1.5);
  EXPECT_EQ(clock.unix_seconds(), start + 1);
}

TEST(Clock, TheSystemsNeverGoesBack) {
  const SystemClock clock;
  Nanos last = clock.now();
  for (int i = 0; i < 1000; ++i) {
    const Nanos now = clock.now();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_GT(clock.unix_seconds(), 1'700'000'000);
}

}  // namespace
}  // namespace hadal
