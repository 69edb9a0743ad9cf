// Logits to a token, for one request. The steps, in vLLM's order:
//   1. end tokens are banned before min_tokens; logit_bias is added
//   2. repetition penalty over prompt and output (l > 0 ? l / r : l * r), then frequency and
//   presence
//      penalty over output: l - frequency * count - presence * (count > 0)
//   3. temperature 0: the largest logit, ties to the lowest id. Otherwise l / temperature
//   4. min_p: tokens less likely than min_p times the most likely go
//   5. top_k: the k best stay (ties to the lower ids)
//   6. top_p: of the rest, renormalised, the best whose better ones sum to less than top_p stay
//   7. one is drawn, with number n of the stream `seed`, n being the tokens accepted so far
// A token is thus a function of its logits, the request's history and its seed; neither the batch
// nor a pre-emption can change it.
//
// Threads: const members by any number of threads, each with its own scratch.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/base/rng.h"
#include "hadal/sample/params.h"
#include "hadal/sample/select.h"

namespace hadal {

// Memory that samplers of one thread share; grows to the vocabulary's size once.
struct SamplerScratch {
  std::vector<float> logits;
  std::vector<float> weights;
  std::vector<Candidate> candidates;
};

class Sampler {
 public:
  // `params` must be valid for `vocabulary`. `end_tokens`: those that would end this request (they
  // are what min_tokens bans); ids of the prompt outside the vocabulary are ignored.
  Sampler(const SamplingParams& params, uint64_t seed, std::span<const TokenId> prompt,
          std::span<const TokenId> end_tokens, int32_t vocabulary);

  // The next token for logits[vocabulary]. kInternal when no token is possible: all logits NaN or
  // -inf, or all that are finite banned. `first`: select_first() of the logits, where it is known:
  // a greedy choice that nothing adjusts then reads none of them.
  Result<TokenId> sample(std::span<const float> logits, SamplerScratch& scratch,
                         const std::optional<Candidate>& first = {}) const;
  // Makes `token` part of the output.
  void accept(TokenId token);
  int32_t accepted() const { return accepted_; }

 private:
  bool adjusts() const;
  void adjust(std::span<float> logits) const;
  void penalise(std::span<float> logits) const;
  TokenId draw(std::span<const float> logits, float best, SamplerScratch& scratch) const;
  TokenId draw_best(std::span<const float> logits, float best, SamplerScratch& scratch) const;
  double choose_share(std::span<const float> logits, float best, double share,
                      SamplerScratch& scratch) const;
  double weigh(std::span<const float> logits, float best, std::vector<float>& weights) const;
  float weight(float logit, float best) const;

  float temperature_, top_p_, min_p_;
  int32_t top_k_;  // 0: off
  float repetition_, presence_, frequency_;
  int32_t min_tokens_;
  int32_t vocabulary_;
  std::vector<std::pair<TokenId, float>> bias_;
  std::vector<TokenId> end_tokens_;
  std::vector<TokenId> prompt_;  // without repeats; empty when there is no repetition penalty
  std::unordered_map<TokenId, int32_t> counts_;  // of the output; empty when nothing reads it
  int32_t accepted_ = 0;
  Rng rng_;
};

}  // namespace hadal
