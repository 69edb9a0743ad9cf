// How one request turns logits into tokens, and when it ends. A value type: protocols fill it,
// validate() refuses what makes no sense, the sampler reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/text/vocab.h"

namespace hadal {

// The defaults change nothing: logits as they are, temperature 1.
struct SamplingParams {
  float temperature = 1.0f;  // >= 0; below 1e-5 is greedy: the largest logit, ties to the lowest id
  int32_t top_k = 0;         // >= 1; 0 and -1: off
  float top_p = 1.0f;        // (0, 1]
  float min_p = 0.0f;        // [0, 1], relative to the most likely token
  float repetition_penalty = 1.0f;  // > 0, over prompt and output, as in Hugging Face's generate()
  float presence_penalty = 0.0f;    // [-2, 2], over output, as in OpenAI's API
  float frequency_penalty = 0.0f;   // [-2, 2], over output
  std::vector<std::pair<TokenId, float>>
      logit_bias;  // bias in [-100, 100]; the last of a token counts

  // Draw n of a request depends on (seed, n) alone. Empty: the engine draws one.
  std::optional<uint64_t> seed;

  std::vector<std::string> stop;            // none empty; text ends before the earliest match
  bool include_stop_str_in_output = false;  // ... or after it
  std::vector<TokenId> stop_token_ids;      // end the answer; are not shown
  bool ignore_eos = false;                  // the vocabulary's end tokens do not end the answer
  std::optional<int32_t> max_tokens;        // >= 1; empty: as many as the context holds
  int32_t min_tokens = 0;                   // no end token or stop string before so many tokens

  bool greedy() const { return temperature < 1e-5f; }

  // `vocabulary`: tokens of the model, > 0. kInvalidInput or kTooLarge (over base/limits.h), with a
  // line that names the field, what was found and what is allowed.
  Status validate(int32_t vocabulary) const;
};

}  // namespace hadal
