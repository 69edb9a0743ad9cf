// Log-probabilities of tokens: the log-softmax of the model's raw logits, before bias, penalties
// and temperature, as vLLM reports them by default.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "hadal/text/vocab.h"

namespace hadal {

struct TokenLogprob {
  TokenId token = 0;
  float logprob =
      0.0f;  // finite: what the model excludes (-inf, NaN) is -9999, which JSON can carry
  std::vector<std::pair<TokenId, float>> top;  // best first, ties by id
};

// `token` must be in [0, logits.size()); 0 <= top <= logits.size().
TokenLogprob token_logprob(std::span<const float> logits, TokenId token, int32_t top);

}  // namespace hadal
