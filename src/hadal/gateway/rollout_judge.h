// Whether a candidate is worse than the baseline, by what both have answered.
//
// Each metric has a margin. The candidate is *worse* when it is shown to be worse by more than the
// margin in one metric, and *fine* when it is shown to be worse by less than the margin in all.
// Otherwise nothing is shown yet. Rates by an exact test (rate_worse_p), times and lengths by
// ranks (rank_test), the probes by a sign test over the questions whose results differ.
//
// Pure. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/gateway/rollout_config.h"
#include "hadal/gateway/rollout_stats.h"

namespace hadal::gateway {

// One answer, as its client saw it.
struct Observation {
  bool failed = false;        // a status from 500, or broken off; nothing below then
  bool refused = false;       // by `content_filter`, or by how it begins
  double first_token = 0;     // seconds; 0: not known
  double between_tokens = 0;  // seconds, mean; 0: not known
  int64_t characters = 0;
};

// What one arm has answered.
struct ArmSamples {
  int64_t requests = 0;
  int64_t errors = 0;
  int64_t refusals = 0;
  LogHistogram first_token, between_tokens, length;

  void add(const Observation& seen);
  int64_t answers() const { return requests - errors; }
  bool operator==(const ArmSamples&) const = default;
};

// One question's result: '?' not asked yet, '0' failed, '1' passed.
using ProbeResults = std::string;

enum class Metric : uint8_t {
  kErrors,
  kRefusals,
  kFirstToken,
  kBetweenTokens,
  kLength,
  kScore,
};
std::string_view metric_name(Metric metric);  // as in `margins`

struct Comparison {
  Metric metric = Metric::kErrors;
  double baseline = 0;  // rate, or median
  double candidate = 0;
  double worse_p = 1;  // as it is, before Holm's adjustment
  double fine_p = 1;
};

struct Verdict {
  enum class Word : uint8_t { kWorse, kFine, kNothingShown };
  Word word = Word::kNothingShown;
  std::string reason;                // one line
  std::vector<Comparison> compared;  // without metrics that nobody's answers have
};

// `worse_level`: for all metrics together, by Holm. `fine_level`: for each, as all must be shown.
struct JudgeLevels {
  double worse = 0;
  double fine = 0;
};

Verdict judge(const RolloutConfig& rollout, const ArmSamples& baseline, const ArmSamples& candidate,
              const ProbeResults& baseline_probes, const ProbeResults& candidate_probes,
              JudgeLevels levels);

// Of a set's results so far.
RateCount passed(const ProbeResults& results);

}  // namespace hadal::gateway
