// The best few of many logits, without sorting the rest.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hadal/text/vocab.h"

namespace hadal {

struct Candidate {
  float logit = 0.0f;
  TokenId token = 0;
};

// Larger logits first, equal ones by id; NaN counts as -inf. A total order, so every selection is
// unique.
bool is_better(const Candidate& left, const Candidate& right);

// `best` becomes the min(count, logits.size()) best, in order. O(n) for a small count.
void select_best(std::span<const float> logits, size_t count, std::vector<Candidate>& best);

// The best one; of no logits, or only NaN and -inf: token -1.
Candidate select_first(std::span<const float> logits);

}  // namespace hadal
