// The statistics by which a rollout is judged: exact tests of rates, rank tests of latencies.
//
// Pure. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hadal/base/result.h"

namespace hadal::gateway {

// P(Z > z) of a standard normal variable.
double normal_tail(double z);

// The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22). `a`, `b` > 0,
// `x` in [0, 1]. Relative error below 1e-7 up to a, b of 1e7.
double incomplete_beta(double a, double b, double x);

// P(X >= k) and P(X <= k) of n trials, each of which succeeds with probability `p`.
double binomial_at_least(int64_t k, int64_t n, double p);
double binomial_at_most(int64_t k, int64_t n, double p);

// One-sided bounds of Clopper and Pearson (1934): the true rate lies above or below them with a
// probability of `alpha` at most. n = 0: 1 and 0.
double rate_upper_bound(int64_t k, int64_t n, double alpha);
double rate_lower_bound(int64_t k, int64_t n, double alpha);

struct RateCount {
  int64_t hits = 0;
  int64_t of = 0;
  double rate() const { return of == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(of); }
};

// p-values of "the candidate's rate is more than `margin` above the baseline's", and of "it is
// less than `margin` above". Exact: the baseline's rate is taken at the far end of its interval
// of confidence 1 - `spent`, and `spent` is added to the p-value (Berger and Boos, 1994). So
// whatever the sizes, P(p <= a) <= a where the claim is wrong. `spent` must be chosen before the
// data are seen, small beside the level that the p-value is compared with.
double rate_worse_p(RateCount baseline, RateCount candidate, double margin, double spent);
double rate_fine_p(RateCount baseline, RateCount candidate, double margin, double spent);

// Positive values by their logarithm, in bins of 1 %: all that a rank test needs, in bounded
// memory, however many values there are.
class LogHistogram {
 public:
  static constexpr double kRatio = 1.01;
  static constexpr double kLeast = 1e-6;  // what is below counts as this
  static constexpr double kMost = 1e9;

  void add(double value);
  int64_t count() const { return count_; }
  // Of the bin in which the quantile lies, its geometric middle; 0 when empty. `q` in [0, 1].
  double quantile(double q) const;
  // Of the median, by order statistics, about 95 %.
  std::pair<double, double> median_interval() const;

  // "BIN:COUNT BIN:COUNT ...", rising. kCorrupt: not of to_text().
  std::string to_text() const;
  static Result<LogHistogram> from_text(std::string_view text);
  // The bins of non-zero width, from first_bin() on.
  int first_bin() const { return first_; }
  const std::vector<uint32_t>& bins() const { return bins_; }
  bool operator==(const LogHistogram&) const = default;

 private:
  void add_to_bin(int bin, uint32_t times);
  double at_rank(int64_t rank) const;

  int first_ = 0;
  std::vector<uint32_t> bins_;
  int64_t count_ = 0;
};

// Mann and Whitney's U (1947) with correction for ties and continuity, after the candidate's
// values have been divided by `factor` (to the nearest 1 %).
struct RankTest {
  double larger_p = 1;   // one-sided p-value of "the candidate's values are still larger"
  double smaller_p = 1;  // ... "are smaller then"
};
RankTest rank_test(const LogHistogram& baseline, const LogHistogram& candidate, double factor);

// Of `wins + losses` pairs that differ: P(so many losses or more) when both are equally likely.
double sign_test_p(int64_t losses, int64_t wins);

// Holm's step-down adjustment (1979), in the order given: reject where the result is at most the
// level, and no true hypothesis among them is rejected with a greater probability than that.
std::vector<double> holm_adjusted(const std::vector<double>& p_values);

}  // namespace hadal::gateway
