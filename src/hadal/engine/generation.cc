#include "hadal/engine/generation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "hadal/base/check.h"

namespace hadal {
namespace {

std::vector<TokenId> end_tokens_of(const SamplingParams& params, const Tokenizer& tokenizer,
                                   int32_t vocabulary) {
  std::vector<TokenId> ends = params.stop_token_ids;
  if (!params.ignore_eos) {
    const auto& own = tokenizer.data().end_of_generation;
    ends.insert(ends.end(), own.begin(), own.end());
  }
  std::erase_if(ends, [vocabulary](TokenId token) { return token >= vocabulary; });
  return ends;
}

const char* metric_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "abort";
    case FinishReason::kError:
      return "error";
  }
  return "error";
}

double seconds_between(const std::optional<Nanos>& from, const std::optional<Nanos>& to) {
  return from && to ? to_seconds(*to - *from) : -1.0;
}

}  // namespace

Generation::Generation(const GenerationRequest& request, int32_t vocabulary, int32_t answer_max,
                       const Tokenizer& tokenizer, EventSink sink, Nanos now)
    : sink_(std::move(sink)),
      end_tokens_(end_tokens_of(request.sampling, tokenizer, vocabulary)),
      sampler_(request.sampling, request.sampling.seed.value(), request.prompt, end_tokens_,
               vocabulary),
      steer_(request.steering),
      detokenizer_(tokenizer, request.show_special, false, request.shown_tokens),
      stop_(request.sampling.stop, request.sampling.include_stop_str_in_output),
      answer_max_(answer_max),
      min_tokens_(request.sampling.min_tokens),
      logprobs_(request.logprobs),
      prompt_logprobs_(request.prompt_logprobs),
      submitted_(now) {
  usage_.prompt_tokens = static_cast<int32_t>(request.prompt.size());
  if (prompt_logprobs_ >= 0) {
    prompt_scores_.reserve(request.prompt.size());
    prompt_scores_.push_back({request.prompt[0], std::nanf(""), {}});
  }
}

void Generation::score_prompt(std::span<const TokenId> tokens, int32_t position,
                              std::span<const float> logits) {
  const int32_t scored = position + 1;
  if (prompt_logprobs_ < 0 || prompt_scored_ || scored >= usage_.prompt_tokens) return;
  if (scored != static_cast<int32_t>(prompt_scores_.size())) return;
  prompt_scores_.push_back(
      token_logprob(logits, tokens[static_cast<size_t>(scored)], prompt_logprobs_));
}

void Generation::started(Nanos now) {
  if (!started_) started_ = now;
}

std::optional<TokenId> Generation::choose(std::span<const float> logits, SamplerScratch& scratch,
                                          const std::optional<Candidate>& first) {
  Result<TokenId> next = TokenId{0};
  if (const auto put_in = steer_.next()) {
    next = *put_in;
  } else {
    next = sampler_.sample(logits, scratch, first);
  }
  Choice& choice = chosen_.emplace_back(Choice{std::move(next), {}});
  if (!choice.token) return std::nullopt;
  const TokenId token = *choice.token;
  steer_.took(token);
  if (logprobs_ >= 0) choice.scores.push_back(token_logprob(logits, token, logprobs_));
  sampler_.accept(token);
  return token;
}

std::optional<TokenId> Generation::advance(Nanos now, EngineMetrics& metrics) {
  HADAL_CHECK(!chosen_.empty());
  Choice choice = std::move(chosen_.front());
  chosen_.pop_front();
  if (!choice.token) {
    abort(FinishReason::kError, std::move(choice.token.error()), now, metrics);
    return std::nullopt;
  }
  const TokenId token = *choice.token;
  GenerationEvent event;
  event.logprobs = std::move(choice.scores);
  HADAL_CHECK(prompt_scored_ || prompt_logprobs_ < 0 ||
              static_cast<int32_t>(prompt_scores_.size()) == usage_.prompt_tokens);
  if (!prompt_scored_) event.prompt_logprobs = std::exchange(prompt_scores_, {});
  prompt_scored_ = true;
  if (first_token_) {
    metrics.inter_token(to_seconds(now - *last_token_));
  } else {
    first_token_ = now;
    metrics.first_token(to_seconds(now - submitted_));
    metrics.prefix_lookup(usage_.prompt_tokens, usage_.cached_tokens);
  }
  last_token_ = now;
  metrics.generated(1);
  take(token, event);
  event.usage = usage_;
  if (event.finished) record(event, now, metrics);
  sink_(event);
  return event.finished ? std::nullopt : std::optional<TokenId>(token);
}

// What `token` means for the text and for the end.
void Generation::take(TokenId token, GenerationEvent& event) {
  const int32_t count = ++usage_.completion_tokens;
  event.tokens.push_back(token);
  const bool ends = std::ranges::count(end_tokens_, token) > 0;
  if (!ends) {
    const std::string piece = detokenizer_.push(token);
    event.text = count <= min_tokens_ ? stop_.pass(piece) : stop_.push(piece);
  }
  if (ends || (stop_.match() == nullptr && count >= answer_max_)) {
    event.finished = true;
    event.reason = ends ? FinishReason::kStop : FinishReason::kLength;
    finish_text(event);
  }
  if (stop_.match() != nullptr) {
    event.finished = true;
    event.reason = FinishReason::kStop;
    event.stop_match = *stop_.match();
  }
}

// What is held back comes out, and may itself complete a stop string.
void Generation::finish_text(GenerationEvent& event) {
  event.text += stop_.push(detokenizer_.finish());
  event.text += stop_.finish();
}

void Generation::abort(FinishReason reason, Error error, Nanos now, EngineMetrics& metrics) {
  GenerationEvent event;
  event.finished = true;
  event.reason = reason;
  event.error = std::move(error);
  event.usage = usage_;
  finish_text(event);
  record(event, now, metrics);
  sink_(event);
}

void Generation::record(const GenerationEvent& event, Nanos now, EngineMetrics& metrics) {
  metrics.finished({.reason = metric_name(event.reason),
                    .prompt_tokens = usage_.prompt_tokens,
                    .generation_tokens = usage_.completion_tokens,
                    .max_tokens = answer_max_,
                    .e2e = to_seconds(now - submitted_),
                    .queue = seconds_between(submitted_, started_),
                    .prefill = seconds_between(started_, first_token_),
                    .decode = seconds_between(first_token_, last_token_)});
}

}  // namespace hadal
