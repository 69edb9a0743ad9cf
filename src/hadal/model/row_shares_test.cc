#include "hadal/model/row_shares.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

using Ends = std::vector<int32_t>;

// Steps of `rows` in which thread i takes seconds[i] for a row, and as much as three rows besides.
void run(RowShares& shares, int32_t rows, const std::vector<double>& seconds, int steps) {
  for (int step = 0; step < steps; ++step) {
    const Ends ends = shares.ends(rows, static_cast<int32_t>(seconds.size()));
    int32_t begin = 0;
    for (size_t i = 0; i < seconds.size(); ++i) {
      shares.took(static_cast<int32_t>(i), ends[i] - begin, seconds[i] * (3 + ends[i] - begin));
      begin = ends[i];
    }
  }
}

TEST(RowShares, AreEvenWhileNothingIsKnown) {
  const RowShares shares;
  EXPECT_EQ(shares.ends(16, 2), (Ends{8, 16}));
  EXPECT_EQ(shares.ends(7, 3), (Ends{2, 4, 7}));
  EXPECT_EQ(shares.ends(4, 4), (Ends{1, 2, 3, 4}));
  EXPECT_EQ(shares.ends(5, 1), (Ends{5}));
}

TEST(RowShares, StayEvenForSmallDifferences) {
  RowShares shares;
  run(shares, 16, {1.0, 1.05}, 100);
  EXPECT_EQ(shares.ends(16, 2), (Ends{8, 16}));
}

TEST(RowShares, FollowWhoIsSlower) {
  RowShares shares;
  run(shares, 16, {1.0, 1.5}, 100);
  // (3 + 10) x 1 and (3 + 6) x 1.5 seconds.
  EXPECT_EQ(shares.ends(16, 2), (Ends{10, 16}));
  run(shares, 16, {1.0, 1.0}, 100);
  EXPECT_EQ(shares.ends(16, 2), (Ends{8, 16}));
  run(shares, 16, {3.0, 1.0, 1.0}, 100);
  EXPECT_EQ(shares.ends(30, 3), (Ends{3, 16, 30}));
}

TEST(RowShares, NobodyIsLeftWithoutARow) {
  RowShares shares;
  run(shares, 8, {1.0, 1000.0}, 200);
  EXPECT_EQ(shares.ends(8, 2), (Ends{7, 8}));
  EXPECT_EQ(shares.ends(2, 2), (Ends{1, 2}));
  RowShares others;
  run(others, 8, {1000.0, 1.0}, 200);
  EXPECT_EQ(others.ends(8, 2), (Ends{1, 8}));
}

TEST(RowShares, OneInterruptionIsNotALastingSlowness) {
  RowShares shares;
  run(shares, 16, {1.0, 1.0}, 50);
  shares.took(1, 8, 1000.0);
  const Ends after = shares.ends(16, 2);
  EXPECT_LE(after[0], 10);
  run(shares, 16, {1.0, 1.0}, 30);
  EXPECT_EQ(shares.ends(16, 2), (Ends{8, 16}));
}

}  // namespace
}  // namespace hadal
