// Many requests of every kind at once, in a cache that is too small for them, from several threads,
// with cancellations: each gets exactly what it gets alone. The fake model reads every token back
// through the block tables, so this is as much a test of paging and scheduling as of the engine.
#include "hadal/engine/testing/storm.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "hadal/engine/testing/fake_engine.h"
#include "hadal/obs/registry.h"

namespace hadal {
namespace {

using testing::Answer;
using testing::FakeEngine;
using testing::FakeModel;
using testing::Job;

struct Crowd {
  int32_t blocks, block_tokens, sequences, rows, prefill_rows;
};

const Crowd kCrowds[] = {
    {.blocks = 64, .block_tokens = 8, .sequences = 64, .rows = 128, .prefill_rows = 16},
    {.blocks = 33, .block_tokens = 8, .sequences = 16, .rows = 16, .prefill_rows = 3},
    {.blocks = 300, .block_tokens = 1, .sequences = 32, .rows = 512, .prefill_rows = 64},
    {.blocks = 9, .block_tokens = 32, .sequences = 8, .rows = 64, .prefill_rows = 1},
};

double counted(const FakeEngine& engine, const std::string& name) {
  const std::string metrics = exposition(*engine.metrics().registry());
  const std::string series = "\n" + name + "{model_name=\"fake\"} ";
  const size_t at = metrics.find(series);
  EXPECT_NE(at, std::string::npos) << name;
  return at == std::string::npos ? -1 : std::stod(metrics.substr(at + series.size()));
}

struct Reached {
  int crowds_with_preemption = 0;
  double guesses = 0, accepted = 0;

  double wrong() const { return guesses - accepted; }
};

// By this clock everything is free for a while, and then takes anything: what pays changes all the
// time.
class JumpyClock final : public Clock {
 public:
  Nanos now() const override {
    const uint64_t call = calls_.fetch_add(1);
    const bool free = call / 256 % 2 == 0;
    const auto step = free ? 0 : static_cast<int64_t>(Rng(7).at(call) % 1'000'000);
    return Nanos(nanos_.fetch_add(step) + step);
  }
  int64_t unix_seconds() const override { return 0; }

 private:
  mutable std::atomic<uint64_t> calls_{0};
  mutable std::atomic<int64_t> nanos_{0};
};

// `speculate` is for the crowd; whoever is alone does without. By a clock that stands still rows
// take no time, so whatever can be guessed is.
Reached storm(const FakeModel::Options& model, Speculate speculate,
              std::optional<FakeModel::Options> draft = std::nullopt,
              const Clock& clock = FakeClock()) {
  Reached reached;
  uint64_t seed = 1;
  for (const Crowd& crowd : kCrowds) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const std::vector<Job> jobs = testing::make_jobs(seed++, model.drafts || draft ? 60 : 160);
    // Roomy, one at a time, and every prompt in one chunk.
    EngineOptions one = testing::fake_engine_options();
    one.sequences_max = 1;
    one.speculate = Speculate::kOff;
    FakeEngine quiet(one, model);
    const std::vector<Answer> alone = testing::run_alone(jobs, *quiet);

    EngineOptions options = testing::fake_engine_options();
    options.block_tokens = crowd.block_tokens;
    options.kv_bytes = testing::kv_bytes_of_blocks(crowd.blocks, crowd.block_tokens);
    // A fifth stream, and two numbers a block.
    if (model.drafts) options.kv_bytes += options.kv_bytes / 4 + crowd.blocks * 2 * sizeof(float);
    if (draft) options.kv_bytes *= 2;
    options.context = 256;
    options.sequences_max = crowd.sequences;
    options.step_rows_max = crowd.rows;
    options.prefill_rows_with_decode = crowd.prefill_rows;
    options.speculate = speculate;
    // Nobody is served before half of them are there, however slowly they come: there is a crowd.
    std::atomic<size_t> submitted = 0;
    const auto wait_for_crowd = [&](const Batch& /*batch*/) {
      for (size_t n = submitted; n < jobs.size() / 2; n = submitted) submitted.wait(n);
    };
    FakeEngine engine(options, model, wait_for_crowd, &clock, draft);
    const std::vector<Answer> answers = testing::run_together(jobs, *engine, &submitted);
    for (size_t i = 0; i < jobs.size(); ++i) {
      SCOPED_TRACE(fmt::format("request {}", i));
      testing::expect_same(answers[i], alone[i]);
      if (::testing::Test::HasFailure()) return reached;
    }
    while (!engine->idle()) std::this_thread::yield();
    while (engine->state().running > 0) std::this_thread::yield();
    EXPECT_EQ(engine->state().blocks_used, 0);
    EXPECT_EQ(engine->state().waiting, 0);
    reached.crowds_with_preemption += counted(engine, "vllm:num_preemptions_total") > 0 ? 1 : 0;
    reached.guesses += counted(engine, "vllm:spec_decode_num_draft_tokens_total");
    reached.accepted += counted(engine, "vllm:spec_decode_num_accepted_tokens_total");
  }
  return reached;
}

FakeModel::Options model_options() {
  FakeModel::Options model;
  model.eos = *testing::fake_tokenizer().data().eos;
  return model;
}

TEST(EngineStorm, EveryRequestGetsTheAnswerItGetsAlone) {
  const Reached reached = storm(model_options(), Speculate::kOff);
  EXPECT_GE(reached.crowds_with_preemption, 1)
      << "the caches were large enough: this tests nothing";
  EXPECT_EQ(reached.guesses, 0);
}

// Texts that repeat themselves, sampled and penalised in every way: many guesses are right, and
// many wrong. How many are made is a matter of who meets whom, so bounds here and below are a
// fraction of what is usual (1,600 right and 700 wrong).
TEST(EngineStorm, GuessingChangesNoAnswer) {
  FakeModel::Options model = model_options();
  model.memory = 1;
  model.spread = 7.0f;
  model.eos_every = 1'000;
  const Reached reached = storm(model, Speculate::kAuto);
  EXPECT_GE(reached.crowds_with_preemption, 1);
  EXPECT_GT(reached.accepted, 100);
  EXPECT_GT(reached.wrong(), 50);
}

// The fake next-token layer checks each of its entries against the tokens before it, those that
// came with blocks from the prefix tree and those recomputed after a pre-emption included.
TEST(EngineStorm, GuessingByTheModelsOwnLayerChangesNoAnswer) {
  FakeModel::Options model = model_options();
  model.drafts = true;
  model.spread = 20.0f;
  const Reached reached = storm(model, Speculate::kMtp);
  EXPECT_GE(reached.crowds_with_preemption, 1);
  EXPECT_GT(reached.accepted, 20);
  EXPECT_GT(reached.wrong(), 100);
}

// What the layer keeps of a sequence is kept and let go all the time, and blocks with and without
// its entries meet in the prefix tree.
TEST(EngineStorm, KeepingUpNowAndThenChangesNoAnswer) {
  for (const Speculate speculate : {Speculate::kMtp, Speculate::kAuto}) {
    FakeModel::Options model = model_options();
    model.drafts = true;
    model.spread = 20.0f;
    model.eos_every = 1'000;
    model.memory = speculate == Speculate::kAuto ? 1 : 0;
    const Reached reached = storm(model, speculate, std::nullopt, JumpyClock());
    EXPECT_GT(reached.accepted, 0);
    EXPECT_GT(reached.wrong(), 0);
  }
}

TEST(EngineStorm, GuessingByAnotherModelChangesNoAnswer) {
  FakeModel::Options model = model_options();
  model.spread = 20.0f;
  FakeModel::Options draft = model;
  draft.lie_every = 3;
  const Reached reached = storm(model, Speculate::kDraft, draft);
  EXPECT_GT(reached.accepted, 20);
  EXPECT_GT(reached.wrong(), 100);
}

TEST(EngineStorm, OffIsOff) {
  FakeModel::Options model = model_options();
  model.memory = 1;
  model.drafts = true;
  EXPECT_EQ(storm(model, Speculate::kOff, model_options()).guesses, 0);
}

}  // namespace
}  // namespace hadal
