// What guessing ahead gives: one model with and without it, in turn, on texts that repeat
// themselves and on one that does not. A part of `hadal bench`.
//
// An answer is put into the model's mouth (Steering), so that a text repeats itself as much as it
// is meant to, whatever the weights are; where guesses come from and what they and the model's
// steps cost is as in service. A model's own answers to `prompts` are measured besides: what the
// texts put in cannot show is how well a next-token layer or a draft model foresees them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/result.h"
#include "hadal/engine/engine.h"

namespace hadal {

struct SpeculationOptions {
  Speculate speculate = Speculate::kAuto;
  int32_t draft_max = EngineOptions().draft_max;
  int32_t clients = 1;          // answers under way at once
  int32_t prompt_tokens = 256;  // of the texts that are put in
  int32_t answer_tokens = 256;
  int32_t repeats = 5;            // rounds; medians are quoted
  std::optional<DType> kv_dtype;  // as ModelConfig::kv_layout()
  // What the model answers by itself, greedily: client i of round r with prompts[(i + r) %
  // size].
  std::vector<std::vector<TokenId>> prompts;
};

struct SpeculationResult {
  std::string text;                // which
  double plain = 0, guessing = 0;  // tokens per second behind the first, all clients; medians
  double ratio = 0;                // median of the rounds' ratios
  int64_t guesses = 0, right = 0;  // of the rounds that count
  int32_t rounds = 0;              // that count
  double right_share() const;      // 0 without guesses
};

// `model` and `draft` (may be null, see Engine::make) serve two engines in turn. Errors: as of
// Engine::make and Engine::submit.
Result<std::vector<SpeculationResult>> bench_speculation(
    Model& model, Model* draft, const Tokenizer& tokenizer, kernels::Backend& backend,
    ThreadPool& pool, const Clock& clock, const SpeculationOptions& options,
    const std::function<void(const std::string&)>& progress);

std::string speculation_text(const std::vector<SpeculationResult>& results);
std::string speculation_json(const std::vector<SpeculationResult>& results);  // an array

}  // namespace hadal
