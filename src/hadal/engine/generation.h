// One request from its first token to its last: sampler, detokeniser, stop strings, limits, and the
// events that come of them. No scheduling here; the engine feeds it logits.
//
// Threads: built on any thread, then used by the engine's. score_prompt() and choose() touch
// nothing but their own request, so those of several requests may run on several threads at once.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/engine/engine.h"
#include "hadal/engine/steering.h"
#include "hadal/sample/sampler.h"
#include "hadal/sample/stop.h"
#include "hadal/text/detokenizer.h"

namespace hadal {

class Generation {
 public:
  // `vocabulary`: tokens that both model and tokenizer know; logits below have as many.
  // `answer_max` >= 1: tokens until kLength. `request` must be valid, its seed set.
  Generation(const GenerationRequest& request, int32_t vocabulary, int32_t answer_max,
             const Tokenizer& tokenizer, EventSink sink, Nanos now);

  // Logits of prompt row `position`, in order; rows seen before (a pre-emption) are ignored.
  void score_prompt(std::span<const TokenId> tokens, int32_t position,
                    std::span<const float> logits);
  // The next token by `logits`, as if all chosen before were sent: several in a row when guesses
  // are verified. Nothing when no token is possible.
  // `first`: as of Sampler::sample().
  std::optional<TokenId> choose(std::span<const float> logits, SamplerScratch& scratch,
                                const std::optional<Candidate>& first = {});
  // Those of the vocabulary that end the answer.
  std::span<const TokenId> end_tokens() const { return end_tokens_; }
  // Chosen, and not yet sent by advance().
  size_t chosen() const { return chosen_.size(); }
  // Sends the event of the first of what was chosen. The token, while the answer goes on; after its
  // end nothing more is sent.
  std::optional<TokenId> advance(Nanos now, EngineMetrics& metrics);
  // Ends it now: kCancelled or kError. Sends the last event.
  void abort(FinishReason reason, Error error, Nanos now, EngineMetrics& metrics);

  // The first step that runs it.
  void started(Nanos now);
  // What the prefix cache had of the prompt; after the first token it stands.
  void set_cached(int32_t tokens) {
    if (!first_token_) usage_.cached_tokens = tokens;
  }

 private:
  void take(TokenId token, GenerationEvent& event);
  void finish_text(GenerationEvent& event);
  void record(const GenerationEvent& event, Nanos now, EngineMetrics& metrics);

  EventSink sink_;
  std::vector<TokenId> end_tokens_;
  Sampler sampler_;
  Steer steer_;
  Detokenizer detokenizer_;
  StopMatcher stop_;
  int32_t answer_max_, min_tokens_;
  int32_t logprobs_, prompt_logprobs_;
  std::vector<TokenLogprob> prompt_scores_;  // until they are sent
  bool prompt_scored_ = false;
  struct Choice {
    Result<TokenId> token;
    std::vector<TokenLogprob> scores;  // one, when log-probabilities are wanted
  };
  std::deque<Choice> chosen_;
  Usage usage_;
  Nanos submitted_;
  std::optional<Nanos> started_, first_token_, last_token_;
};

}  // namespace hadal
