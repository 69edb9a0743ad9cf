// Guesses for the engine's running sequences: where they come from, and whether they are worth it.
// What guesses do to an answer is decided elsewhere, and it is nothing: the engine samples every
// row as it would have without, and a guess counts only where it equals what was sampled.
//
// A round, after the scheduler's advance() and the sampling of every segment:
//   ran()      what the step took
//   took()     for each sequence that goes on: its new tokens
//   forget()   for each that ended
//   propose()  guesses for the next step, into the scheduler
//
// Guesses by n-gram are made and scored for every sequence whether or not they are run, so their
// acceptance is known before any is paid for.
//
// Threads: the engine's alone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "hadal/engine/draft_budget.h"
#include "hadal/engine/engine.h"
#include "hadal/engine/ngram_index.h"
#include "hadal/sched/scheduler.h"

namespace hadal {

class Speculator {
 public:
  // Guesses of one step, over all sequences: logits are set aside for so many beside those of the
  // sequences' own rows.
  static constexpr int32_t kGuessesMax = 64;

  Speculator(const EngineOptions& options, const ModelConfig& model, EngineMetrics& metrics);

  bool off() const { return options_.speculate == Speculate::kOff || options_.draft_max == 0; }

  // The step of `plan`, whose model took `seconds`.
  void ran(const sched::Plan& plan, double seconds);
  // `segment` gave `tokens`, of which the first `accepted` were guessed.
  void took(const sched::Segment& segment, std::span<const TokenId> tokens, int32_t accepted);
  void forget(uint64_t id) { texts_.erase(id); }
  void propose(sched::Scheduler& scheduler);

 private:
  // By the length of the match: 3, 4 to 5, 6 to 9, 10 to 17, more.
  static constexpr size_t kClasses = 5;
  struct Text {
    NgramIndex ngrams;
    std::vector<TokenId> guesses;        // by n-gram, for what follows the text
    size_t match = 0;                    // class of the match that they come from
    std::vector<Acceptance> acceptance;  // [kClasses]
    bool waits = false;                  // took tokens in this round, so it may guess
  };
  static size_t class_of(int32_t match_length);
  void score(Text& text, std::span<const TokenId> tokens);

  EngineOptions options_;
  EngineMetrics& metrics_;
  StepTimes times_;
  std::vector<Acceptance> acceptance_;  // [kClasses], of all texts: where a new one starts
  std::unordered_map<uint64_t, Text> texts_;
  int32_t rows_ = 0;  // of the next step, without guesses

  std::vector<uint64_t> ids_;
  std::vector<Offer> offers_;
  std::vector<int32_t> take_;
};

}  // namespace hadal
