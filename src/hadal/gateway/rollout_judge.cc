#include "hadal/gateway/rollout_judge.h"

#include <fmt/format.h>

#include <algorithm>

namespace hadal::gateway {
namespace {

constexpr int64_t kRankedLeast = 20;    // values of each arm; the test's normal tail is right then
constexpr double kSpentShare = 0.02;    // of a level, see rate_worse_p()
constexpr int64_t kSeldomDivisor = 10;  // of the answers: a metric that fewer have is not compared

class Judge {
 public:
  Judge(const RolloutMargins& margins, const ArmSamples& baseline, const ArmSamples& candidate,
        JudgeLevels levels)
      : margins_(margins), baseline_(baseline), candidate_(candidate), levels_(levels) {}

  void rate(Metric metric, RateCount baseline, RateCount candidate, double margin) {
    verdict_.compared.push_back(
        {metric, baseline.rate(), candidate.rate(),
         rate_worse_p(baseline, candidate, margin, levels_.worse * kSpentShare),
         rate_fine_p(baseline, candidate, margin, levels_.fine * kSpentShare)});
  }

  // Of what only some answers have, the candidate's must be shown when the baseline's have it.
  void ranks(Metric metric, const LogHistogram& baseline, const LogHistogram& candidate,
             double margin, bool both_ways) {
    if (baseline.count() * kSeldomDivisor < baseline_.answers() || baseline.count() == 0) return;
    Comparison compared{metric, baseline.quantile(0.5), candidate.quantile(0.5)};
    if (baseline.count() >= kRankedLeast && candidate.count() >= kRankedLeast) {
      const RankTest above = rank_test(baseline, candidate, 1 + margin);
      compared.worse_p = above.larger_p;
      compared.fine_p = above.smaller_p;
      if (both_ways) {
        const RankTest below = rank_test(baseline, candidate, 1 / (1 + margin));
        compared.worse_p = std::min(1.0, 2 * std::min(above.larger_p, below.smaller_p));
        compared.fine_p = std::max(above.smaller_p, below.larger_p);
      }
    }
    verdict_.compared.push_back(compared);
  }

  // The questions are not drawn from anything: their score is what it is, once all were asked.
  void probes(const ProbeResults& baseline, const ProbeResults& candidate) {
    if (baseline.empty() && candidate.empty()) return;
    const RateCount before = passed(baseline), after = passed(candidate);
    Comparison compared{Metric::kScore, before.rate(), after.rate()};
    int64_t losses = 0, wins = 0;
    for (size_t i = 0; i < std::min(baseline.size(), candidate.size()); ++i) {
      if (baseline[i] == '1' && candidate[i] == '0') ++losses;
      if (baseline[i] == '0' && candidate[i] == '1') ++wins;
    }
    const double drop = before.rate() - after.rate() - 1e-9;  // rounding is no loss
    const bool whole = baseline.size() == candidate.size() &&
                       before.of == static_cast<int64_t>(baseline.size()) &&
                       after.of == static_cast<int64_t>(candidate.size());
    if (drop > margins_.score && whole) compared.worse_p = sign_test_p(losses, wins);
    if (drop <= margins_.score && whole) compared.fine_p = 0;
    verdict_.compared.push_back(compared);
  }

  Verdict take(bool enough) {
    std::vector<double> worse;
    for (const Comparison& one : verdict_.compared) worse.push_back(one.worse_p);
    const std::vector<double> adjusted = holm_adjusted(worse);
    const auto least = std::min_element(adjusted.begin(), adjusted.end());
    if (least != adjusted.end() && *least <= levels_.worse) {
      const Comparison& one = verdict_.compared[static_cast<size_t>(least - adjusted.begin())];
      verdict_.word = Verdict::Word::kWorse;
      verdict_.reason =
          fmt::format("{} {:.4g} against {:.4g} (p {:.2g} at level {:.2g})",
                      metric_name(one.metric), one.candidate, one.baseline, *least, levels_.worse);
      return std::move(verdict_);
    }
    const auto open =
        std::find_if(verdict_.compared.begin(), verdict_.compared.end(),
                     [&](const Comparison& one) { return one.fine_p > levels_.fine; });
    if (!enough) {
      verdict_.reason = "not enough answers";
    } else if (open == verdict_.compared.end()) {
      verdict_.word = Verdict::Word::kFine;
      verdict_.reason = "no metric is worse by its margin";
    } else {
      verdict_.reason =
          fmt::format("{} {:.4g} against {:.4g} shows nothing yet (p {:.2g})",
                      metric_name(open->metric), open->candidate, open->baseline, open->fine_p);
    }
    return std::move(verdict_);
  }

 private:
  const RolloutMargins& margins_;
  const ArmSamples& baseline_;
  const ArmSamples& candidate_;
  const JudgeLevels levels_;
  Verdict verdict_;
};

}  // namespace

void ArmSamples::add(const Observation& seen) {
  ++requests;
  if (seen.failed) {
    ++errors;
    return;
  }
  if (seen.refused) ++refusals;
  if (seen.first_token > 0) first_token.add(seen.first_token);
  if (seen.between_tokens > 0) between_tokens.add(seen.between_tokens);
  if (seen.characters > 0) length.add(static_cast<double>(seen.characters));
}

std::string_view metric_name(Metric metric) {
  switch (metric) {
    case Metric::kErrors:
      return "errors";
    case Metric::kRefusals:
      return "refusals";
    case Metric::kFirstToken:
      return "first_token";
    case Metric::kBetweenTokens:
      return "between_tokens";
    case Metric::kLength:
      return "length";
    case Metric::kScore:
      return "score";
  }
  return "";
}

RateCount passed(const ProbeResults& results) {
  RateCount count;
  for (const char result : results) {
    if (result != '?') ++count.of;
    if (result == '1') ++count.hits;
  }
  return count;
}

Verdict judge(const RolloutConfig& rollout, const ArmSamples& baseline, const ArmSamples& candidate,
              const ProbeResults& baseline_probes, const ProbeResults& candidate_probes,
              JudgeLevels levels) {
  const RolloutMargins& margins = rollout.margins;
  Judge judge(margins, baseline, candidate, levels);
  judge.rate(Metric::kErrors, {baseline.errors, baseline.requests},
             {candidate.errors, candidate.requests}, margins.errors);
  judge.rate(Metric::kRefusals, {baseline.refusals, baseline.answers()},
             {candidate.refusals, candidate.answers()}, margins.refusals);
  judge.ranks(Metric::kFirstToken, baseline.first_token, candidate.first_token, margins.first_token,
              false);
  judge.ranks(Metric::kBetweenTokens, baseline.between_tokens, candidate.between_tokens,
              margins.between_tokens, false);
  judge.ranks(Metric::kLength, baseline.length, candidate.length, margins.length, true);
  judge.probes(baseline_probes, candidate_probes);
  return judge.take(baseline.requests >= rollout.samples && candidate.requests >= rollout.samples);
}

}  // namespace hadal::gateway
