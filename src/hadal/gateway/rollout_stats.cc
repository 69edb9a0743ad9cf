#include "hadal/gateway/rollout_stats.h"

#include <fmt/format.h>
#include <math.h>  // lgamma_r: std::lgamma writes to a global

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

namespace hadal::gateway {
namespace {

constexpr int kFractionStepsMax = 100'000;
constexpr int kBisections = 50;
constexpr double kTiny = 1e-300;

double log_gamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

// Converges quickly for x below (a + 1) / (a + b + 2). Lentz's evaluation.
double beta_fraction(double a, double b, double x) {
  double numerator = 1;
  double denominator = 1 - (a + b) * x / (a + 1);
  if (std::abs(denominator) < kTiny) denominator = kTiny;
  denominator = 1 / denominator;
  double value = denominator;
  const auto advance = [&](double term) {
    denominator = 1 + term * denominator;
    if (std::abs(denominator) < kTiny) denominator = kTiny;
    denominator = 1 / denominator;
    numerator = 1 + term / numerator;
    if (std::abs(numerator) < kTiny) numerator = kTiny;
    value *= numerator * denominator;
    return numerator * denominator;
  };
  for (int m = 1; m <= kFractionStepsMax; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    advance(even);
    if (std::abs(advance(odd) - 1) < 1e-15) break;
  }
  return value;
}

int bin_of(double value) {
  if (!(value > LogHistogram::kLeast)) return 0;
  return static_cast<int>(std::log(std::min(value, LogHistogram::kMost) / LogHistogram::kLeast) /
                          std::log(LogHistogram::kRatio));
}

double middle_of(int bin) {
  return LogHistogram::kLeast * std::pow(LogHistogram::kRatio, bin + 0.5);
}

int bins_max() { return bin_of(LogHistogram::kMost) + 1; }

}  // namespace

double normal_tail(double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); }

double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front = std::exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * std::log(x) +
                                b * std::log1p(-x));
  if (x < (a + 1) / (a + b + 2)) return std::min(1.0, front * beta_fraction(a, b, x) / a);
  return std::max(0.0, 1 - front * beta_fraction(b, a, 1 - x) / b);
}

double binomial_at_least(int64_t k, int64_t n, double p) {
  if (k <= 0) return 1;
  if (k > n) return 0;
  return incomplete_beta(static_cast<double>(k), static_cast<double>(n - k + 1), p);
}

double binomial_at_most(int64_t k, int64_t n, double p) {
  if (k < 0) return 0;
  if (k >= n) return 1;
  return incomplete_beta(static_cast<double>(n - k), static_cast<double>(k + 1), 1 - p);
}

double rate_upper_bound(int64_t k, int64_t n, double alpha) {
  if (k >= n) return 1;
  double low = static_cast<double>(k) / static_cast<double>(n), high = 1;
  for (int i = 0; i < kBisections && high - low > 1e-9 * high; ++i) {
    const double middle = (low + high) / 2;
    (binomial_at_most(k, n, middle) > alpha ? low : high) = middle;
  }
  return high;
}

double rate_lower_bound(int64_t k, int64_t n, double alpha) {
  if (k <= 0) return 0;
  double low = 0, high = static_cast<double>(k) / static_cast<double>(n);
  for (int i = 0; i < kBisections && high - low > 1e-9 * high; ++i) {
    const double middle = (low + high) / 2;
    (binomial_at_least(k, n, middle) > alpha ? high : low) = middle;
  }
  return low;
}

double rate_worse_p(RateCount baseline, RateCount candidate, double margin, double spent) {
  if (candidate.of == 0 || baseline.of == 0) return 1;
  // No test of two samples can say this of so few hits; saves the search for the bound.
  if (candidate.rate() <= baseline.rate() + margin) return 1;
  const double worst = rate_upper_bound(baseline.hits, baseline.of, spent) + margin;
  if (worst >= 1) return 1;
  return std::min(1.0, binomial_at_least(candidate.hits, candidate.of, worst) + spent);
}

double rate_fine_p(RateCount baseline, RateCount candidate, double margin, double spent) {
  if (candidate.of == 0 || baseline.of == 0) return 1;
  if (candidate.rate() >= baseline.rate() + margin) return 1;
  const double least = rate_lower_bound(baseline.hits, baseline.of, spent) + margin;
  if (least >= 1) return spent;
  return std::min(1.0, binomial_at_most(candidate.hits, candidate.of, least) + spent);
}

void LogHistogram::add(double value) {
  if (std::isnan(value)) return;
  add_to_bin(bin_of(value), 1);
}

void LogHistogram::add_to_bin(int bin, uint32_t times) {
  if (bins_.empty()) first_ = bin;
  if (bin < first_) {
    bins_.insert(bins_.begin(), static_cast<size_t>(first_ - bin), 0);
    first_ = bin;
  }
  const size_t index = static_cast<size_t>(bin - first_);
  if (index >= bins_.size()) bins_.resize(index + 1, 0);
  bins_[index] += times;
  count_ += times;
}

// `rank` from 0.
double LogHistogram::at_rank(int64_t rank) const {
  if (count_ == 0) return 0;
  int64_t below = 0;
  for (size_t i = 0; i < bins_.size(); ++i) {
    below += bins_[i];
    if (below > rank) return middle_of(first_ + static_cast<int>(i));
  }
  return middle_of(first_ + static_cast<int>(bins_.size()) - 1);
}

double LogHistogram::quantile(double q) const {
  const double rank = std::ceil(q * static_cast<double>(count_)) - 1;
  return at_rank(std::max<int64_t>(0, static_cast<int64_t>(rank)));
}

std::pair<double, double> LogHistogram::median_interval() const {
  const double n = static_cast<double>(count_);
  const double half = 1.96 * std::sqrt(n) / 2;
  const auto low = static_cast<int64_t>(std::floor(n / 2 - half));
  const auto high = static_cast<int64_t>(std::ceil(n / 2 + half));
  return {at_rank(std::max<int64_t>(0, low)), at_rank(std::min(high, count_ - 1))};
}

std::string LogHistogram::to_text() const {
  std::string text;
  for (size_t i = 0; i < bins_.size(); ++i) {
    if (bins_[i] == 0) continue;
    fmt::format_to(std::back_inserter(text), "{}{}:{}", text.empty() ? "" : " ",
                   first_ + static_cast<int>(i), bins_[i]);
  }
  return text;
}

Result<LogHistogram> LogHistogram::from_text(std::string_view text) {
  LogHistogram histogram;
  const char* at = text.data();
  const char* const end = at + text.size();
  const int most = bins_max();
  int last = -1;
  while (at < end) {
    int bin = 0;
    uint32_t times = 0;
    auto read = std::from_chars(at, end, bin);
    bool good =
        read.ec == std::errc() && read.ptr < end && *read.ptr == ':' && bin > last && bin <= most;
    if (good) {
      read = std::from_chars(read.ptr + 1, end, times);
      good = read.ec == std::errc() && times > 0 && (read.ptr == end || *read.ptr == ' ');
    }
    if (!good) return fail(Code::kCorrupt, "a histogram's text is damaged");
    histogram.add_to_bin(bin, times);
    last = bin;
    at = read.ptr == end ? end : read.ptr + 1;
  }
  return histogram;
}

RankTest rank_test(const LogHistogram& baseline, const LogHistogram& candidate, double factor) {
  const double n = static_cast<double>(baseline.count());
  const double m = static_cast<double>(candidate.count());
  if (n == 0 || m == 0) return {};
  const int shift =
      static_cast<int>(std::lround(std::log(factor) / std::log(LogHistogram::kRatio)));
  const int base_first = baseline.first_bin();
  const int candidate_first = candidate.first_bin() - shift;
  const int base_end = base_first + static_cast<int>(baseline.bins().size());
  const int candidate_end = candidate_first + static_cast<int>(candidate.bins().size());
  const auto in = [](const std::vector<uint32_t>& bins, int index) -> double {
    return index >= 0 && index < static_cast<int>(bins.size()) ? bins[static_cast<size_t>(index)]
                                                               : 0;
  };
  double below = 0, u = 0, ties = 0;
  for (int bin = std::min(base_first, candidate_first); bin < std::max(base_end, candidate_end);
       ++bin) {
    const double of_base = in(baseline.bins(), bin - base_first);
    const double of_candidate = in(candidate.bins(), bin - candidate_first);
    u += of_candidate * (below + of_base / 2);
    below += of_base;
    const double tied = of_base + of_candidate;
    ties += tied * tied * tied - tied;
  }
  const double all = n + m;
  if (all < 2) return {};
  const double variance = n * m / 12 * (all + 1 - ties / (all * (all - 1)));
  if (!(variance > 0)) return {};
  const double deviation = std::sqrt(variance);
  const double above = u - n * m / 2;
  return {normal_tail((above - 0.5) / deviation), normal_tail((-above - 0.5) / deviation)};
}

double sign_test_p(int64_t losses, int64_t wins) {
  return losses == 0 ? 1 : binomial_at_least(losses, losses + wins, 0.5);
}

std::vector<double> holm_adjusted(const std::vector<double>& p_values) {
  std::vector<size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size(), 1);
  double reached = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const double stretched = p_values[order[i]] * static_cast<double>(order.size() - i);
    reached = std::max(reached, std::min(1.0, stretched));
    adjusted[order[i]] = reached;
  }
  return adjusted;
}

}  // namespace hadal::gateway
