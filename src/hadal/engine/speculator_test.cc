#include "hadal/engine/speculator.h"

#include <gtest/gtest.h>

#include <functional>

#include "hadal/base/rng.h"
#include "hadal/kv/pool.h"

namespace hadal {
namespace {

constexpr int32_t kPrompt = 24;
constexpr int32_t kVocabulary = 50'000;

// What comes at each position of each text, prompts included.
using Texts = std::function<TokenId(uint64_t id, int32_t position)>;

TokenId drawn(uint64_t id, int32_t position) {
  return static_cast<TokenId>(Rng(id, 7).at(static_cast<uint64_t>(position)) % kVocabulary);
}

// Knows the texts, and takes its time.
class AllKnowing final : public Drafter {
 public:
  AllKnowing(Texts texts, Nanos call, FakeClock& clock)
      : texts_(std::move(texts)), call_(call), clock_(clock) {}
  void draft(const sched::Plan& /*plan*/, sched::Scheduler& scheduler,
             std::span<DraftRequest> requests) override {
    const auto rows = static_cast<int32_t>(requests.size());
    clock_.advance(call_);
    times_.first.observe(rows, to_seconds(call_));
    times_.further.observe(rows, 0);
    for (DraftRequest& request : requests) {
      most = std::max(most, request.count);
      guesses += request.count;
      const auto known = static_cast<int32_t>(scheduler.held(request.id)->tokens.size());
      for (int32_t i = 0; i < request.count; ++i) {
        request.guesses.push_back(texts_(request.id, known + i));
      }
    }
  }
  void forget(uint64_t /*id*/) override {}
  int64_t guesses = 0;
  int32_t most = 0;  // asked of one text at once

 private:
  Texts texts_;
  Nanos call_;
  FakeClock& clock_;
};

// Sequences that run side by side for ever, in a time that is what `cost` says of a step's rows.
class Crowd {
 public:
  // `guessed`: what the drafter thinks the texts are; nothing: it knows them.
  Crowd(int32_t sequences, Texts texts, std::function<Nanos(int32_t rows)> cost, Nanos call = {},
        Texts guessed = {})
      : texts_(std::move(texts)), cost_(std::move(cost)) {
    EngineOptions options;
    if (call > Nanos::zero()) {
      auto drafter = std::make_unique<AllKnowing>(guessed ? guessed : texts_, call, clock_);
      drafter_ = drafter.get();
      options.speculate = Speculate::kMtp;
      speculator_.emplace(options, ModelConfig(), false, std::move(drafter), metrics_, clock_);
    } else {
      options.speculate = Speculate::kNgram;
      speculator_.emplace(options, ModelConfig(), false, nullptr, metrics_, clock_);
    }
    for (int32_t i = 0; i < sequences; ++i) {
      sched::Submission submission;
      submission.id = static_cast<uint64_t>(i) + 1;
      submission.tokens_max = kContext;
      for (int32_t p = 0; p < kPrompt; ++p) submission.tokens.push_back(texts_(submission.id, p));
      EXPECT_TRUE(scheduler_.submit(std::move(submission), clock_.now()));
    }
  }

  // Rows of the step, guesses among them.
  int32_t step() {
    const Nanos start = clock_.now();
    const sched::Plan& plan = scheduler_.step(start);
    clock_.advance(cost_(plan.rows));
    scheduler_.advance();
    for (const sched::Segment& segment : plan.segments) {
      if (segment.samples) take(segment);
    }
    speculator_->propose(plan, scheduler_);
    speculator_->ran(plan, to_seconds(clock_.now() - start));
    return plan.rows;
  }
  int64_t guesses() const { return metrics_.guesses(); }
  int64_t right() const { return metrics_.guesses_accepted(); }
  int64_t drafted() const { return drafter_->guesses; }
  int32_t drafted_most() const { return drafter_->most; }

 private:
  static constexpr int32_t kContext = 20'000;

  void take(const sched::Segment& segment) {
    const auto known = static_cast<int32_t>(segment.tokens.size());
    std::vector<TokenId> tokens;
    size_t right = 0;
    do {
      tokens.push_back(texts_(segment.id, known + static_cast<int32_t>(right)));
    } while (right < segment.guesses.size() && tokens[right] == segment.guesses[right] && ++right);
    speculator_->took(segment, tokens, static_cast<int32_t>(right));
    scheduler_.accept(segment.id, static_cast<int32_t>(right));
    scheduler_.append(segment.id, tokens.back());
  }

  Texts texts_;
  std::function<Nanos(int32_t rows)> cost_;
  FakeClock clock_;
  EngineMetrics metrics_{"crowd"};
  kv::Pool pool_{{.blocks = 32 * kContext / 16, .block_tokens = 16}};
  sched::Scheduler scheduler_{
      {.context = kContext, .running_max = 32, .step_rows_max = 1024, .step_logits_max = 128},
      pool_};
  AllKnowing* drafter_ = nullptr;
  std::optional<Speculator> speculator_;
};

// While nothing repeats, texts of a crowd are learned now and then, and not one token less.
TEST(Speculator, NoticesWhenManyTextsBeginToRepeatThemselves) {
  constexpr int32_t kNew = 300;
  for (const int32_t sequences : {1, 3, 16, 31}) {
    SCOPED_TRACE(sequences);
    Crowd crowd(
        sequences, [](uint64_t id, int32_t p) { return drawn(id, p % kNew); },
        [](int32_t) { return std::chrono::microseconds(100); });
    int32_t rows = 0;
    for (int32_t p = kPrompt; p < kNew; ++p) rows += crowd.step();
    EXPECT_EQ(crowd.guesses(), 0);
    EXPECT_EQ(rows, sequences * (kNew - 1));
    // Three tokens make a match, short ones are not trusted, and a crowd is asked every few steps.
    for (int32_t i = 0; i < 32; ++i) crowd.step();
    EXPECT_GT(crowd.guesses(), 0);
    for (int32_t i = 0; i < 32; ++i) crowd.step();
    EXPECT_GT(crowd.right(), 32 * 2 * std::min(sequences, 8));
    EXPECT_GE(crowd.right() * 10, crowd.guesses() * 9);
  }
}

TEST(Speculator, WhatDoesNotPayUnderLoadIsSeldomTried) {
  // Each row costs its full share: even right guesses only lose.
  const auto full_share = [](int32_t rows) { return std::chrono::microseconds(100) * rows; };
  Crowd crowd(16, drawn, full_share, std::chrono::microseconds(1));
  for (int32_t i = 0; i < 2'000; ++i) crowd.step();
  EXPECT_GT(crowd.drafted(), 0) << "nobody knew";
  EXPECT_LT(crowd.drafted(), 2'000 * 16 / 5);
}

// How far a drafter is asked to look ahead follows how far it was right.
TEST(Speculator, LooksFartherAheadOnlyAfterWhatWasRight) {
  const auto free = [](int32_t) { return std::chrono::microseconds(100); };
  const auto wrong = [](uint64_t id, int32_t p) { return drawn(id, p) + 1; };
  Crowd mistaken(1, drawn, free, std::chrono::microseconds(1), wrong);
  for (int32_t i = 0; i < 1'000; ++i) mistaken.step();
  EXPECT_GT(mistaken.drafted(), 0);
  EXPECT_EQ(mistaken.drafted_most(), 1);

  Crowd knowing(1, drawn, free, std::chrono::microseconds(1));
  int32_t before = 0;
  for (int32_t i = 0; i < 50; ++i) {
    knowing.step();
    EXPECT_LE(knowing.drafted_most(), 2 * before + 1);
    before = knowing.drafted_most();
  }
  EXPECT_EQ(before, 15);
}

TEST(Speculator, WhatPaysUnderLoadGoesOn) {
  const auto free = [](int32_t) { return std::chrono::microseconds(100); };
  Crowd crowd(16, drawn, free, std::chrono::microseconds(1));
  for (int32_t i = 0; i < 1'500; ++i) crowd.step();
  EXPECT_GT(crowd.right(), 1'000 * 16 * 2);
  EXPECT_EQ(crowd.right(), crowd.guesses());
}

}  // namespace
}  // namespace hadal
