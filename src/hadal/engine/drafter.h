// Where guesses come from when a model makes them.
//
// Threads: the engine's alone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/engine/draft_budget.h"
#include "hadal/model/model.h"
#include "hadal/sched/scheduler.h"
#include "hadal/text/tokenizer.h"

namespace hadal {

// A sequence of the step that would like guesses, now (count > 0) or later: then what a drafter
// keeps of it is only kept up to date. A sequence without a request costs nothing, and may have to
// wait for its first guesses when it asks again.
struct DraftRequest {
  uint64_t id = 0;
  int32_t count = 0;              // at most so many
  std::span<const TokenId> ends;  // tokens that end the answer: nothing is guessed behind them
  std::vector<TokenId> guesses;   // the answer: as many as could be had
};

class Drafter {
 public:
  virtual ~Drafter() = default;

  // After every step, when its tokens have been appended: takes note of what `plan` computed (its
  // spans are not valid any more) and answers `requests`; count > 0 for sequences that lack one
  // row.
  virtual void draft(const sched::Plan& plan, sched::Scheduler& scheduler,
                     std::span<DraftRequest> requests) = 0;
  virtual void forget(uint64_t id) = 0;
  const DraftTimes& times() const { return times_; }
  void rest() {  // a step without draft()
    times_.first.rest();
    times_.further.rest();
  }

 protected:
  DraftTimes times_;
};

// By the model's own next-token-prediction layer, whose cache is part of the model's. `model` and
// `cache` must outlive it; the model has to be prepared for one more row a sequence than a step
// has. `vocabulary`: tokens that may be guessed.
std::unique_ptr<Drafter> make_mtp_drafter(Model& model, KvArena& cache, int32_t vocabulary,
                                          const Clock& clock);

// By another, smaller model of the same vocabulary, prepared for `rows_max` rows and
// `sequences_max` of logits, with a cache of its own. Sequences are taken in as they ask for
// guesses, `rows_max` rows a step; those that find no room get none.
std::unique_ptr<Drafter> make_model_drafter(std::unique_ptr<Model> model, KvArena cache,
                                            int32_t rows_max, int32_t vocabulary,
                                            const Clock& clock);

}  // namespace hadal
