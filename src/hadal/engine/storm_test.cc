// Many requests of every kind at once, in a cache that is too small for them, from several threads,
// with cancellations: each gets exactly what it gets alone. The fake model reads every token back
// through the block tables, so this is as much a test of paging and scheduling as of the engine.
#include "hadal/engine/testing/storm.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <thread>

#include "hadal/engine/testing/fake_engine.h"
#include "hadal/obs/registry.h"

namespace hadal {
namespace {

using testing::Answer;
using testing::FakeEngine;
using testing::FakeModel;
using testing::Job;

FakeModel::Options model_options() {
  FakeModel::Options model;
  model.eos = *testing::fake_tokenizer().data().eos;
  return model;
}

struct Crowd {
  int32_t blocks, block_tokens, sequences, rows, prefill_rows;
};

TEST(EngineStorm, EveryRequestGetsTheAnswerItGetsAlone) {
  const Crowd crowds[] = {
      {.blocks = 64, .block_tokens = 8, .sequences = 64, .rows = 128, .prefill_rows = 16},
      {.blocks = 33, .block_tokens = 8, .sequences = 16, .rows = 16, .prefill_rows = 3},
      {.blocks = 300, .block_tokens = 1, .sequences = 32, .rows = 512, .prefill_rows = 64},
      {.blocks = 9, .block_tokens = 32, .sequences = 8, .rows = 64, .prefill_rows = 1},
  };
  uint64_t seed = 1;
  int crowds_with_preemption = 0;
  for (const Crowd& crowd : crowds) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const std::vector<Job> jobs = testing::make_jobs(seed++, 160);
    // Roomy, one at a time, and every prompt in one chunk.
    EngineOptions one = testing::fake_engine_options();
    one.sequences_max = 1;
    FakeEngine quiet(one, model_options());
    const std::vector<Answer> alone = testing::run_alone(jobs, *quiet);

    EngineOptions options = testing::fake_engine_options();
    options.block_tokens = crowd.block_tokens;
    options.kv_bytes = testing::kv_bytes_of_blocks(crowd.blocks, crowd.block_tokens);
    options.context = 256;
    options.sequences_max = crowd.sequences;
    options.step_rows_max = crowd.rows;
    options.prefill_rows_with_decode = crowd.prefill_rows;
    FakeEngine engine(options, model_options());
    const std::vector<Answer> answers = testing::run_together(jobs, *engine);
    for (size_t i = 0; i < jobs.size(); ++i) {
      SCOPED_TRACE(fmt::format("request {}", i));
      testing::expect_same(answers[i], alone[i]);
      if (HasFailure()) return;
    }
    while (!engine->idle()) std::this_thread::yield();
    while (engine->state().running > 0) std::this_thread::yield();
    EXPECT_EQ(engine->state().blocks_used, 0);
    EXPECT_EQ(engine->state().waiting, 0);
    const std::string metrics = exposition(*engine.metrics().registry());
    const std::string none = "vllm:num_preemptions_total{model_name=\"fake\"} 0\n";
    crowds_with_preemption += metrics.find(none) == std::string::npos ? 1 : 0;
  }
  EXPECT_GE(crowds_with_preemption, 3) << "the caches were large enough: this tests nothing";
}

}  // namespace
}  // namespace hadal
