// Guesses for the engine's running sequences: where they come from, and whether they are worth it.
// What guesses do to an answer is decided elsewhere, and it is nothing: the engine samples every
// row as it would have without, and a guess counts only where it equals what was sampled.
//
// A round, after the scheduler's advance() and the sampling of every segment:
//   took()     for each sequence that goes on: its new tokens
//   forget()   for each that ended
//   propose()  guesses for the next step, into the scheduler; those that ended are still there
//   ran()      what the step took, all of this included
//
// Guesses by n-gram are made and scored for every sequence whether or not they are run, so their
// acceptance is known before any is paid for. Where many sequences run and nothing pays, only every
// few steps: what goes by in between costs next to nothing, and is learned afterwards. A model's
// guesses are made for those sequences alone that are going to run them; a sequence takes one kind
// at a time. What a drafter has to keep for a sequence is kept only while its guesses have lately
// been run: where load, or the text, says that they do not pay, it costs nothing.
//
// Threads: the engine's alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "hadal/engine/draft_budget.h"
#include "hadal/engine/drafter.h"
#include "hadal/engine/engine.h"
#include "hadal/engine/ngram_index.h"
#include "hadal/sched/scheduler.h"

namespace hadal {

class Speculator {
 public:
  // Guesses of one step, over all sequences: logits are set aside for so many beside those of the
  // sequences' own rows.
  static constexpr int32_t kGuessesMax = 64;

  // `cached`: Model::cached(). `drafter` may be null. What it stands on must outlive the
  // speculator.
  Speculator(const EngineOptions& options, const ModelConfig& model, bool cached,
             std::unique_ptr<Drafter> drafter, EngineMetrics& metrics, const Clock& clock);

  bool off() const { return options_.speculate == Speculate::kOff || options_.draft_max == 0; }

  // The step of `plan` took `seconds`, of which propose() is taken off.
  void ran(const sched::Plan& plan, double seconds);
  // `segment` gave `tokens`, of which the first `accepted` were guessed. `ends`: tokens that would
  // end the answer; valid until propose().
  void took(const sched::Segment& segment, std::span<const TokenId> tokens, int32_t accepted,
            std::span<const TokenId> ends = {});
  void forget(uint64_t id);
  void propose(const sched::Plan& plan, sched::Scheduler& scheduler);

 private:
  // By the length of the match: 3, 4 to 5, 6 to 9, 10 to 17, more.
  static constexpr size_t kClasses = 5;
  struct Text {
    NgramIndex ngrams;
    std::vector<TokenId> guesses;            // by n-gram, for what follows the text
    size_t match = 0;                        // class of the match that they come from
    std::vector<Acceptance> acceptance;      // [kClasses]
    std::optional<Acceptance> first, later;  // of the drafter's guesses
    bool by_drafter = false;                 // the guesses that run now
    bool kept = false;                       // the drafter is to be ready for it
    int32_t unused = 0;                      // steps since its guesses were last wanted
  };
  Text& text_of(const sched::Segment& segment);
  void score_drafter(Text& text, const sched::Segment& segment, int32_t accepted);
  Offer ngram_offer(const Text& text) const;
  Offer drafter_offer(double first, double later) const;
  void share();
  void take_none();
  bool takes_any() const;
  bool promising();
  void ask_drafter(const sched::Plan& plan, sched::Scheduler& scheduler);
  void begin_pause(bool in_vain);
  static size_t class_of(int32_t match_length);
  void score(Text& text, std::span<const TokenId> tokens);
  void learn(Text& text, const sched::Segment& segment, std::span<const TokenId> tokens);

  EngineOptions options_;
  EngineMetrics& metrics_;
  const Clock& clock_;
  std::unique_ptr<Drafter> drafter_;
  const bool ngrams_;
  StepTimes times_;
  // Of all texts: where a new one starts.
  std::vector<Acceptance> acceptance_;  // [kClasses]
  Acceptance first_, later_;
  int32_t reach_ = 1;  // guesses of a drafter in a row, at most: twice as many as were ever right
  std::unordered_map<uint64_t, Text> texts_;

  int32_t rows_ = 0;  // sequences that took tokens in this round and go on
  // Those of them that may guess.
  std::vector<uint64_t> ids_;
  std::vector<std::span<const TokenId>> ends_;
  std::vector<Text*> guessing_;
  std::vector<TokenId> learned_;  // of one text, at once
  std::vector<Offer> offers_, ngram_offers_;
  std::vector<int32_t> take_, ngram_take_;
  int32_t pause_ = 0;        // rounds in which no sequence will guess, as nothing was worth it
  int32_t rows_paused_ = 0;  // sequences then; with another number the pause is over
  int32_t paused_ = 0;       // rounds of a pause that went by
  int32_t vain_ = 0;         // questions in a row that nothing came of, without a match
  double proposing_ = 0;     // seconds of the last propose()
  std::vector<DraftRequest> requests_;
};

}  // namespace hadal
