#include "hadal/gateway/rollout_stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "hadal/base/rng.h"

namespace hadal::gateway {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;

// The definition, in the plainest way.
double binomial_probability(int64_t k, int64_t n, double p) {
  if (p <= 0) return k == 0 ? 1 : 0;
  if (p >= 1) return k == n ? 1 : 0;
  double log = std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0);
  log += static_cast<double>(k) * std::log(p) + static_cast<double>(n - k) * std::log1p(-p);
  return std::exp(log);
}

TEST(RolloutStats, NormalTail) {
  EXPECT_NEAR(normal_tail(0), 0.5, 1e-15);
  EXPECT_NEAR(normal_tail(1.959963984540054), 0.025, 1e-12);
  EXPECT_NEAR(normal_tail(-1), 0.8413447460685429, 1e-12);
  EXPECT_NEAR(normal_tail(6) / 9.865876450376946e-10, 1, 1e-9);
}

// Exact rationals, computed elsewhere.
TEST(RolloutStats, BinomialTails) {
  struct {
    int64_t k, n;
    double p, wanted;
  } const kKnown[] = {{3, 10, 0.25, 0.4744071960449219},
                      {1, 100, 0.01, 0.6339676587267705},
                      {40, 100, 0.3, 0.02098857600392468},
                      {600, 1000, 0.55, 0.0007933693696643445},
                      {5, 2000, 0.001, 0.052562748702293674},
                      {0, 7, 0.5, 1},
                      {8, 7, 0.5, 0},
                      {7, 7, 0.5, 0.0078125}};
  for (const auto& known : kKnown) {
    EXPECT_NEAR(binomial_at_least(known.k, known.n, known.p), known.wanted, 1e-12) << known.k;
    EXPECT_NEAR(binomial_at_most(known.k - 1, known.n, known.p), 1 - known.wanted, 1e-12);
  }
  // I_x(2, 3) = 6x² - 8x³ + 3x⁴.
  EXPECT_NEAR(incomplete_beta(2, 3, 0.5), 0.6875, 1e-14);
}

TEST(RolloutStats, BinomialTailsAsSumsForManySizes) {
  for (const int64_t n : {1, 2, 9, 64, 1'000, 20'000}) {
    for (const double p : {1e-4, 0.01, 0.3, 0.5, 0.97}) {
      double tail = 0;
      const auto middle = static_cast<int64_t>(static_cast<double>(n) * p);
      const int64_t from = std::min(n, middle + 3);
      for (int64_t k = n; k >= from; --k) tail += binomial_probability(k, n, p);
      EXPECT_NEAR(binomial_at_least(from, n, p), tail, 1e-9 + 1e-6 * tail) << n << " " << p;
    }
  }
}

TEST(RolloutStats, ClopperPearson) {
  EXPECT_NEAR(rate_upper_bound(0, 100, 0.05), 1 - std::pow(0.05, 0.01), 1e-8);
  EXPECT_NEAR(rate_lower_bound(100, 100, 0.05), std::pow(0.05, 0.01), 1e-8);
  // R: binom.test(5, 100)
  EXPECT_NEAR(rate_lower_bound(5, 100, 0.025), 0.01643, 1e-5);
  EXPECT_NEAR(rate_upper_bound(5, 100, 0.025), 0.11283, 1e-5);
  EXPECT_EQ(rate_upper_bound(0, 0, 0.05), 1);
  EXPECT_EQ(rate_lower_bound(0, 0, 0.05), 0);
}

// Over every outcome of small samples: wrong with the stated probability at most, wherever the
// baseline's rate lies.
TEST(RolloutStats, RateTestsAreWrongAsSeldomAsTheySay) {
  constexpr int64_t kBaseline = 40, kCandidate = 15;
  constexpr double kMargin = 0.1, kLevel = 0.05, kSpent = 0.001;
  double most_worse = 0, most_fine = 0;
  for (double rate = 0; rate <= 0.9; rate += 0.05) {
    double worse = 0, fine = 0;
    for (int64_t b = 0; b <= kBaseline; ++b) {
      for (int64_t c = 0; c <= kCandidate; ++c) {
        // Exactly at the margin: neither may be said.
        const double probability = binomial_probability(b, kBaseline, rate) *
                                   binomial_probability(c, kCandidate, rate + kMargin);
        const RateCount before{b, kBaseline}, after{c, kCandidate};
        if (rate_worse_p(before, after, kMargin, kSpent) <= kLevel) worse += probability;
        if (rate_fine_p(before, after, kMargin, kSpent) <= kLevel) fine += probability;
      }
    }
    EXPECT_LE(worse, kLevel) << rate;
    EXPECT_LE(fine, kLevel) << rate;
    most_worse = std::max(most_worse, worse);
    most_fine = std::max(most_fine, fine);
  }
  EXPECT_GT(most_worse, 0);  // it can be said at all
  EXPECT_GT(rate_worse_p({0, 0}, {3, 3}, 0.01, 0.001), 0.9);
}

TEST(RolloutStats, RatesThatDifferAreSeen) {
  EXPECT_LT(rate_worse_p({2, 1'000}, {8, 8}, 0.01, 1e-6), 1e-5);
  EXPECT_LT(rate_worse_p({50, 10'000}, {60, 1'000}, 0.01, 1e-4), 0.001);
  EXPECT_GT(rate_worse_p({50, 10'000}, {7, 1'000}, 0.01, 1e-4), 0.5);
  EXPECT_LT(rate_fine_p({50, 10'000}, {5, 1'000}, 0.01, 1e-4), 0.02);
  EXPECT_GT(rate_fine_p({50, 10'000}, {60, 1'000}, 0.01, 1e-4), 0.5);
}

LogHistogram histogram(const std::vector<double>& values) {
  LogHistogram made;
  for (const double value : values) made.add(value);
  return made;
}

// scipy.stats.mannwhitneyu's own example, and one with ties, by the definition.
TEST(RolloutStats, MannWhitneyAsKnown) {
  const RankTest plain = rank_test(histogram({19, 22, 16, 29, 24}), histogram({20, 11, 17, 12}), 1);
  EXPECT_NEAR(plain.larger_p, 0.9669037101389033, 1e-9);
  EXPECT_NEAR(plain.smaller_p, 0.11134688653314041 / 2, 1e-9);
  const RankTest tied =
      rank_test(histogram({1, 2, 2, 3, 5, 8, 8, 8, 13}), histogram({2, 3, 5, 5, 8, 13, 21, 34}), 1);
  EXPECT_NEAR(tied.larger_p, 0.14192955013126007, 1e-9);
  EXPECT_NEAR(tied.smaller_p, 0.8788217187398853, 1e-9);
  EXPECT_EQ(rank_test({}, histogram({1}), 1).larger_p, 1);
  EXPECT_EQ(rank_test(histogram({2, 2}), histogram({2}), 1).larger_p, 1);
}

TEST(RolloutStats, MannWhitneyDividesTheCandidateByTheFactor) {
  std::vector<double> baseline, slower;
  Rng rng(1);
  for (int i = 0; i < 500; ++i) {
    const double value = std::exp(rng.uniform());
    baseline.push_back(value);
    slower.push_back(1.3 * std::exp(rng.uniform()));
  }
  const RankTest same = rank_test(histogram(baseline), histogram(slower), 1.3);
  EXPECT_GT(same.larger_p, 0.01);
  EXPECT_GT(same.smaller_p, 0.01);
  EXPECT_LT(rank_test(histogram(baseline), histogram(slower), 1.1).larger_p, 1e-6);
  EXPECT_LT(rank_test(histogram(baseline), histogram(slower), 1.6).smaller_p, 1e-6);
}

// With equal distributions a p-value is uniform.
TEST(RolloutStats, MannWhitneyIsWrongAsOftenAsItSays) {
  int rejected = 0;
  constexpr int kRuns = 4'000;
  for (int run = 0; run < kRuns; ++run) {
    Rng rng(7, static_cast<uint64_t>(run));
    LogHistogram a, b;
    for (int i = 0; i < 60; ++i) a.add(std::exp(2 * rng.uniform()));
    for (int i = 0; i < 25; ++i) b.add(std::exp(2 * rng.uniform()));
    if (rank_test(a, b, 1).larger_p <= 0.05) ++rejected;
  }
  EXPECT_NEAR(static_cast<double>(rejected) / kRuns, 0.05, 0.011);  // three deviations
}

TEST(RolloutStats, HistogramKeepsOrderAndQuantiles) {
  LogHistogram values;
  EXPECT_EQ(values.quantile(0.5), 0);
  for (int i = 1'000; i >= 1; --i) values.add(i * 0.001);
  EXPECT_EQ(values.count(), 1'000);
  EXPECT_NEAR(values.quantile(0.5), 0.5, 0.006);
  EXPECT_NEAR(values.quantile(0.99), 0.99, 0.011);
  EXPECT_NEAR(values.quantile(0), 0.001, 0.0001);
  EXPECT_NEAR(values.quantile(1), 1, 0.011);
  const auto [low, high] = values.median_interval();
  EXPECT_NEAR(low, 0.469, 0.008);
  EXPECT_NEAR(high, 0.531, 0.008);
  for (const double odd : {0.0, -1.0, 1e300, std::numeric_limits<double>::infinity()}) {
    values.add(odd);
  }
  values.add(std::nan(""));
  EXPECT_EQ(values.count(), 1'004);
  EXPECT_LE(values.bins().size(), 4'000u);
}

TEST(RolloutStats, HistogramSurvivesItsText) {
  LogHistogram values;
  EXPECT_EQ(*LogHistogram::from_text(values.to_text()), values);
  Rng rng(3);
  for (int i = 0; i < 3'000; ++i) values.add(std::exp(30 * rng.uniform() - 15));
  const auto read = LogHistogram::from_text(values.to_text());
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, values);
  for (const char* bad : {"1", "1:", ":1", "1:0", "2:1 1:1", "1:1 1:1", "1:1x", "-1:1", "1:-1",
                          "999999:1", "1:99999999999", "x"}) {
    EXPECT_FALSE(LogHistogram::from_text(bad)) << bad;
  }
}

TEST(RolloutStats, SignTest) {
  EXPECT_EQ(sign_test_p(0, 5), 1);
  EXPECT_NEAR(sign_test_p(5, 0), 1.0 / 32, 1e-12);
  EXPECT_NEAR(sign_test_p(9, 1), 11.0 / 1024, 1e-12);
}

// R: p.adjust(c(...), "holm")
TEST(RolloutStats, Holm) {
  EXPECT_THAT(holm_adjusted({0.01, 0.02, 0.03, 0.04}),
              ElementsAre(DoubleNear(0.04, 1e-12), DoubleNear(0.06, 1e-12), DoubleNear(0.06, 1e-12),
                          DoubleNear(0.06, 1e-12)));
  EXPECT_THAT(holm_adjusted({0.9, 0.001, 0.5}),
              ElementsAre(DoubleNear(1, 1e-12), DoubleNear(0.003, 1e-12), DoubleNear(1, 1e-12)));
  EXPECT_TRUE(holm_adjusted({}).empty());
}

}  // namespace
}  // namespace hadal::gateway
