#include "hadal/gateway/picker.h"

#include <algorithm>
#include <cmath>

#include "hadal/base/check.h"

namespace hadal::gateway {
namespace {

// Is `a` less busy than `b` for its weight? Products instead of quotients: exact.
bool is_less_busy(const Candidate& a, const Candidate& b) {
  const int64_t left = a.tokens * b.weight, right = b.tokens * a.weight;
  if (left != right) return left < right;
  return static_cast<int64_t>(a.in_flight) * b.weight <
         static_cast<int64_t>(b.in_flight) * a.weight;
}

}  // namespace

std::optional<Strategy> strategy_from_name(std::string_view name) {
  if (name == "round_robin") return Strategy::kRoundRobin;
  if (name == "least_tokens") return Strategy::kLeastTokens;
  if (name == "two_choices") return Strategy::kTwoChoices;
  if (name == "prefix") return Strategy::kPrefix;
  return std::nullopt;
}

BackendId Picker::pick(Strategy strategy, std::span<const Candidate> candidates, uint64_t affinity,
                       double load_bound) {
  HADAL_CHECK(!candidates.empty(), "nobody to pick");
  switch (strategy) {
    case Strategy::kRoundRobin:
      return round_robin(candidates);
    case Strategy::kLeastTokens:
      return least_tokens(candidates);
    case Strategy::kTwoChoices:
      return two_choices(candidates);
    case Strategy::kPrefix:
      return prefix(candidates, affinity, load_bound);
  }
  return candidates.front().id;
}

// Each gets its weight in credit every turn; the richest is picked and pays what all got. Turns of
// one backend are spread out, not in a row.
BackendId Picker::round_robin(std::span<const Candidate> candidates) {
  int64_t total = 0;
  const Candidate* best = nullptr;
  for (const Candidate& candidate : candidates) {
    total += candidate.weight;
    int64_t& credit = credits_[candidate.id];
    credit += candidate.weight;
    if (best == nullptr || credit > credits_[best->id]) best = &candidate;
  }
  // One that was away for long neither collects all turns nor owes any.
  int64_t& credit = credits_[best->id];
  credit = std::clamp(credit - total, -total, total);
  return best->id;
}

BackendId Picker::least_tokens(std::span<const Candidate> candidates) {
  // Begins elsewhere each time, so that idle ones take turns.
  const size_t count = candidates.size();
  const Candidate* best = nullptr;
  for (size_t i = 0; i < count; ++i) {
    const Candidate& candidate = candidates[(turn_ + i) % count];
    if (best == nullptr || is_less_busy(candidate, *best)) best = &candidate;
  }
  ++turn_;
  return best->id;
}

BackendId Picker::two_choices(std::span<const Candidate> candidates) {
  int64_t total = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  const auto draw = [&](int64_t sum, BackendId without) -> const Candidate* {
    int64_t at = static_cast<int64_t>(rng_.next() % static_cast<uint64_t>(sum));
    for (const Candidate& candidate : candidates) {
      if (candidate.id == without) continue;
      at -= candidate.weight;
      if (at < 0) return &candidate;
    }
    return &candidates.back();
  };
  if (candidates.size() == 1) return candidates.front().id;
  const Candidate* first = draw(total, UINT32_MAX);
  const Candidate* second = draw(total - first->weight, first->id);
  return is_less_busy(*second, *first) ? second->id : first->id;
}

BackendId Picker::prefix(std::span<const Candidate> candidates, uint64_t affinity,
                         double load_bound) {
  int64_t requests = 1;  // this one counts, too
  int64_t weights = 0;
  for (const Candidate& candidate : candidates) {
    requests += candidate.in_flight;
    weights += candidate.weight;
  }
  const Candidate* best = nullptr;
  double best_score = 0;
  for (const Candidate& candidate : candidates) {
    const double share =
        static_cast<double>(requests) * candidate.weight / static_cast<double>(weights);
    const int64_t room = static_cast<int64_t>(std::ceil(load_bound * share));
    if (candidate.in_flight + 1 > room) continue;
    // Weighted: -w / ln(u) is largest with a probability in proportion to w.
    const double uniform = Rng(affinity, candidate.name_hash).uniform_at(0);
    const double score = -candidate.weight / std::log(std::max(uniform, 1e-300));
    if (best == nullptr || score > best_score) {
      best = &candidate;
      best_score = score;
    }
  }
  // load_bound >= 1: the one with the least load for its weight always has room.
  HADAL_CHECK(best != nullptr, "the bound leaves nobody");
  return best->id;
}

}  // namespace hadal::gateway
