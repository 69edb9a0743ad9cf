#include "hadal/sched/scheduler.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace hadal::sched {
namespace {

using testing::HasSubstr;
using Tokens = std::vector<int32_t>;

Tokens text(int32_t count, int32_t from = 0) {
  Tokens tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

// A scheduler with its pool, driven by hand.
struct Desk {
  explicit Desk(const SchedulerOptions& options, int32_t blocks = 64, int32_t block_tokens = 4)
      : pool({.blocks = blocks, .block_tokens = block_tokens}), scheduler(options, pool) {}

  Status submit(uint64_t id, Tokens tokens, int32_t answer, int32_t priority = 0) {
    const auto most = static_cast<int32_t>(tokens.size()) + answer;
    return scheduler.submit(
        {.id = id, .tokens = std::move(tokens), .tokens_max = most, .priority = priority}, now);
  }
  // One round in which every sampled token is 7. Ends those whose answers are complete.
  Plan round() {
    const Plan plan = scheduler.step(now);
    scheduler.advance();
    for (const Segment& segment : plan.segments) {
      if (!segment.samples) continue;
      if (--left.try_emplace(segment.id, 1'000'000).first->second == 0) {
        scheduler.remove(segment.id);
      } else {
        scheduler.append(segment.id, 7);
      }
    }
    EXPECT_EQ(scheduler.audit(), "");
    return plan;
  }

  kv::Pool pool;
  Scheduler scheduler;
  std::map<uint64_t, int> left;  // tokens until the end of an answer
  Nanos now{0};
};

std::map<uint64_t, int32_t> rows_of(const Plan& plan) {
  std::map<uint64_t, int32_t> rows;
  for (const Segment& segment : plan.segments) rows[segment.id] = segment.rows;
  return rows;
}

constexpr SchedulerOptions kSmall{.context = 200,
                                  .running_max = 8,
                                  .queue_max = 4,
                                  .step_rows_max = 32,
                                  .prefill_rows_with_decode = 8,
                                  .step_logits_max = 8};

TEST(Scheduler, RefusesWhatCannotRunOrWait) {
  Desk desk(kSmall, /*blocks=*/10);
  auto status = desk.submit(1, text(190), 11);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kTooLarge);
  EXPECT_THAT(status.error().what, HasSubstr("201"));
  EXPECT_THAT(status.error().what, HasSubstr("200"));
  status = desk.submit(1, text(38), 4);  // 41 positions need 11 blocks
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kTooLarge);
  EXPECT_TRUE(desk.submit(1, text(38), 3));
  for (uint64_t id = 2; id <= 4; ++id) EXPECT_TRUE(desk.submit(id, text(2), 2));
  status = desk.submit(5, text(2), 2);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kExhausted);
  EXPECT_TRUE(desk.scheduler.remove(2));
  EXPECT_TRUE(desk.submit(5, text(2), 2));
}

TEST(Scheduler, ALongPromptComesInChunksBesideOthersTokens) {
  Desk desk(kSmall);
  ASSERT_TRUE(desk.submit(1, text(3), 50));
  EXPECT_THAT(rows_of(desk.round()), testing::ElementsAre(testing::Pair(1, 3)));
  ASSERT_TRUE(desk.submit(2, text(60, 100), 10));
  int steps = 0;
  for (int32_t seen = 0; seen < 60; ++steps) {
    const auto rows = rows_of(desk.round());
    ASSERT_EQ(rows.at(1), 1) << "the generating sequence missed a step";
    ASSERT_LE(rows.at(2), 8);
    seen += rows.at(2);
  }
  EXPECT_EQ(steps, 8);
  EXPECT_EQ(rows_of(desk.round()).at(2), 1);
}

TEST(Scheduler, AloneAPromptFillsTheStep) {
  Desk desk(kSmall);
  ASSERT_TRUE(desk.submit(1, text(60), 10));
  EXPECT_EQ(rows_of(desk.round()).at(1), 32);
  EXPECT_EQ(rows_of(desk.round()).at(1), 28);
}

TEST(Scheduler, AShortPromptDoesNotWaitBehindALongOne) {
  Desk desk(kSmall);
  ASSERT_TRUE(desk.submit(1, text(150), 10));
  ASSERT_TRUE(desk.submit(2, text(10, 1000), 10));
  const Plan plan = desk.round();
  EXPECT_EQ(rows_of(plan).at(2), 10);
  EXPECT_EQ(rows_of(plan).at(1), 22);
}

TEST(Scheduler, BehindTheFirstTheShortestGoFirst) {
  Desk desk(kSmall);
  ASSERT_TRUE(desk.submit(1, text(150), 10));
  ASSERT_TRUE(desk.submit(2, text(20, 1000), 10));
  ASSERT_TRUE(desk.submit(3, text(6, 2000), 10));
  const auto rows = rows_of(desk.round());
  EXPECT_EQ(rows.at(1), 16);
  EXPECT_EQ(rows.at(2), 10);
  EXPECT_EQ(rows.at(3), 6);
}

TEST(Scheduler, EqualTextBehindAnotherPrefixIsNotWaitedFor) {
  SchedulerOptions options = kSmall;
  options.step_rows_max = 8;
  Desk desk(options);
  Tokens one(20, 5), other(20, 5);
  other[0] = 6;
  ASSERT_TRUE(desk.submit(1, one, 10));
  ASSERT_TRUE(desk.submit(2, other, 10));
  for (int i = 0; i < 3; ++i) {
    const auto rows = rows_of(desk.round());
    EXPECT_EQ(rows.count(1) + rows.count(2), 2u) << "step " << i;
  }
}

TEST(Scheduler, ALongPromptEndsUnderAStreamOfShortOnes) {
  Desk desk(kSmall, /*blocks=*/200);
  ASSERT_TRUE(desk.submit(1, text(100), 2));
  desk.left[1] = 1;
  int steps = 0;
  for (uint64_t id = 2; desk.left[1] > 0; ++id, ++steps) {
    ASSERT_LT(steps, 30);
    desk.left[id] = 1;
    static_cast<void>(desk.submit(id, text(31, static_cast<int32_t>(1000 * id)), 2));
    desk.round();
  }
  EXPECT_LE(steps, 7);  // at least half of 32 rows a step
}

TEST(Scheduler, PriorityThenArrival) {
  SchedulerOptions options = kSmall;
  options.running_max = 1;
  options.step_logits_max = 1;
  Desk desk(options);
  for (const auto& [id, priority] :
       std::vector<std::pair<uint64_t, int32_t>>{{1, 5}, {2, 0}, {3, -1}, {4, 0}}) {
    ASSERT_TRUE(desk.submit(id, text(2), 2, priority));
    desk.left[id] = 1;
  }
  std::vector<uint64_t> order;
  while (!desk.scheduler.idle()) order.push_back(desk.round().segments.at(0).id);
  EXPECT_THAT(order, testing::ElementsAre(3, 2, 4, 1));
}

TEST(Scheduler, PatienceEndsAndOrdersByArrival) {
  SchedulerOptions options = kSmall;
  options.running_max = 1;
  options.step_logits_max = 1;
  options.patience = std::chrono::seconds(10);
  Desk desk(options);
  ASSERT_TRUE(desk.submit(1, text(2), 2, /*priority=*/9));
  desk.left[1] = 1;
  bool done = false;
  uint64_t id = 2;
  for (int second = 0; second < 12 && !done; ++second, ++id) {
    desk.left[id] = 1;
    ASSERT_TRUE(desk.submit(id, text(2), 2, /*priority=*/0));
    done = desk.round().segments.at(0).id == 1;
    EXPECT_EQ(done, second == 10);
    desk.now += std::chrono::seconds(1);
  }
  EXPECT_TRUE(done);
}

// A prompt of 6 has run, 7 was sampled: the sequence lacks one row, its eighth block is far away.
struct Generating : Desk {
  explicit Generating(const SchedulerOptions& options, int32_t answer = 20, int32_t blocks = 64)
      : Desk(options, blocks) {
    EXPECT_TRUE(submit(1, text(6), answer));
    round();
  }
};

TEST(Scheduler, GuessesAreRowsAndNothingElseUntilTheyAreAccepted) {
  Generating desk(kSmall);
  desk.scheduler.guess(1, Tokens{8, 9, 10});
  const Plan plan = desk.scheduler.step(desk.now);
  const Segment& segment = plan.segments.at(0);
  EXPECT_EQ(segment.first_position, 6);
  EXPECT_EQ(segment.rows, 4);
  EXPECT_EQ(segment.logits, 4);
  EXPECT_EQ(plan.guesses, 3);
  EXPECT_EQ(plan.prompt_rows, 0);
  EXPECT_THAT(segment.guesses, testing::ElementsAre(8, 9, 10));
  EXPECT_EQ(segment.tokens.size(), 7u);
  desk.scheduler.advance();
  EXPECT_EQ(desk.scheduler.audit(), "");
  desk.scheduler.accept(1, 1);
  desk.scheduler.append(1, 5);  // instead of 9
  EXPECT_EQ(desk.scheduler.audit(), "");

  const Plan next = desk.scheduler.step(desk.now);
  EXPECT_EQ(next.segments.at(0).first_position, 8);
  EXPECT_EQ(next.segments.at(0).rows, 1);
  EXPECT_EQ(next.segments.at(0).tokens[7], 8);
  EXPECT_EQ(next.segments.at(0).tokens[8], 5);
  desk.scheduler.advance();
  EXPECT_TRUE(desk.scheduler.remove(1));

  // Positions 0 to 7 were right, so two blocks of 4 are shared now; the guess 9 left no trace.
  Tokens again = text(6);
  for (const int32_t token : {7, 8, 9, 1}) again.push_back(token);
  ASSERT_TRUE(desk.submit(2, again, 1));
  EXPECT_EQ(desk.scheduler.step(desk.now).segments.at(0).reused, 8);
}

TEST(Scheduler, RejectedGuessesEnterNoPrefix) {
  Generating desk(kSmall);
  desk.scheduler.guess(1, Tokens{8, 9, 10});  // would fill the block of positions 4 to 7
  desk.scheduler.step(desk.now);
  desk.scheduler.advance();
  EXPECT_TRUE(desk.scheduler.remove(1));
  Tokens again = text(6);
  for (const int32_t token : {7, 8, 9, 10}) again.push_back(token);
  ASSERT_TRUE(desk.submit(2, again, 1));
  EXPECT_EQ(desk.scheduler.step(desk.now).segments.at(0).reused, 4);
}

TEST(Scheduler, GuessesKeepToTheAnswerAndToWhatIsLeft) {
  struct Case {
    const char* name;
    int32_t answer, blocks, rows_max, logits_max, expected;
  };
  for (const Case& c :
       {Case{"plenty", 20, 64, 32, 16, 10}, Case{"end of the answer", 5, 64, 32, 16, 3},
        Case{"last token", 2, 64, 32, 16, 0}, Case{"blocks", 20, 7, 32, 16, 9},
        Case{"rows", 20, 64, 8, 16, 7}, Case{"logits", 20, 64, 32, 8, 7}}) {
    SCOPED_TRACE(c.name);
    SchedulerOptions options = kSmall;
    options.step_rows_max = c.rows_max;
    options.step_logits_max = c.logits_max;
    Generating desk(options, c.answer, c.blocks);
    kv::Sequence other = desk.pool.open("other", {}, 0);
    // Of 7 blocks 2 are the sequence's, 2 another's, and 1 stays spare.
    EXPECT_TRUE(c.blocks != 7 || other.reserve(2 * 4));
    desk.scheduler.guess(1, Tokens(10, 3));
    const Plan& plan = desk.scheduler.step(desk.now);
    EXPECT_EQ(plan.guesses, c.expected);
    EXPECT_EQ(plan.segments.at(0).rows, 1 + c.expected);
    other.release();
  }
}

TEST(Scheduler, GuessesAreForgotten) {
  Generating desk(kSmall);
  desk.scheduler.guess(1, Tokens{8, 9});
  desk.scheduler.guess(1, Tokens{});  // thought better of
  EXPECT_EQ(desk.round().guesses, 0);
  desk.scheduler.guess(1, Tokens{8, 9});
  EXPECT_EQ(desk.round().guesses, 2);
  EXPECT_EQ(desk.round().guesses, 0);
  ASSERT_TRUE(desk.submit(2, text(9, 50), 5));
  desk.scheduler.guess(2, Tokens{1});  // waits
  EXPECT_EQ(desk.round().guesses, 0);
}

TEST(Scheduler, TheLastInOrderMakesRoom) {
  Desk desk(kSmall, /*blocks=*/8);
  ASSERT_TRUE(desk.submit(1, text(8), 20));
  ASSERT_TRUE(desk.submit(2, text(8, 100), 20));
  desk.left[1] = 20;
  desk.left[2] = 20;
  bool preempted = false;
  std::vector<uint64_t> ended;
  for (int i = 0; i < 100 && !desk.scheduler.idle(); ++i) {
    const Plan plan = desk.round();
    if (plan.preempted > 0) {
      preempted = true;
      EXPECT_EQ(rows_of(plan).count(1), 1u);
      EXPECT_EQ(rows_of(plan).count(2), 0u);
      EXPECT_EQ(desk.scheduler.waiting(), 1);
      EXPECT_EQ(desk.scheduler.queued(), 0) << "it was admitted before";
    }
    for (uint64_t id : {1, 2}) {
      if (desk.left[id] == 0 && !std::ranges::count(ended, id)) ended.push_back(id);
    }
  }
  EXPECT_TRUE(preempted);
  EXPECT_THAT(ended, testing::ElementsAre(1, 2));
}

TEST(Scheduler, RemoveFreesBlocksAtOnce) {
  Desk desk(kSmall);
  ASSERT_TRUE(desk.submit(1, text(30), 20));
  desk.round();
  EXPECT_GT(desk.pool.referenced_blocks(), 0);
  EXPECT_TRUE(desk.scheduler.remove(1));
  EXPECT_EQ(desk.pool.referenced_blocks(), 0);
  EXPECT_FALSE(desk.scheduler.remove(1));
  EXPECT_TRUE(desk.scheduler.step(desk.now).segments.empty());
}

TEST(Scheduler, ACachedPromptStillRunsItsLastToken) {
  Desk desk(kSmall);
  for (uint64_t id : {1, 2}) {
    ASSERT_TRUE(desk.submit(id, text(16), 5));
    desk.left[id] = 1;
    const Plan plan = desk.round();
    ASSERT_EQ(plan.segments.size(), 1u);
    EXPECT_EQ(plan.segments[0].reused, id == 1 ? 0 : 12);
    EXPECT_EQ(plan.segments[0].rows, id == 1 ? 16 : 4);
    EXPECT_TRUE(plan.segments[0].samples);
    EXPECT_EQ(plan.segments[0].logits, 1);
  }
}

TEST(Scheduler, EqualPromptsAreComputedOnce) {
  SchedulerOptions options = kSmall;
  options.prefill_rows_with_decode = 32;
  Desk desk(options);
  int32_t rows = 0;
  for (uint64_t id = 1; id <= 4; ++id) {
    ASSERT_TRUE(desk.submit(id, text(66), 5));
    desk.left[id] = 2;
  }
  while (!desk.scheduler.idle()) rows += desk.round().prompt_rows;
  EXPECT_LE(rows, 66 + 3 * 2 + 4) << "66 rows once, two rows each for the others";
}

TEST(Scheduler, PromptLogitsStayWithinTheStepsLogits) {
  Desk desk(kSmall);
  ASSERT_TRUE(desk.submit(1, text(20), 5));
  desk.left[1] = 1;
  desk.round();
  ASSERT_TRUE(desk.scheduler.submit(
      {.id = 2, .tokens = text(20), .tokens_max = 25, .prompt_logits = true}, desk.now));
  ASSERT_TRUE(desk.submit(3, text(3, 500), 5));
  desk.left[2] = 2;
  int32_t logits = 0;
  for (int i = 0; i < 20 && logits < 20; ++i) {
    const Plan plan = desk.round();
    EXPECT_LE(plan.logits, 8);
    for (const Segment& segment : plan.segments) {
      if (segment.id != 2) continue;
      EXPECT_EQ(segment.reused, 0);
      EXPECT_EQ(segment.logits, segment.rows);
      EXPECT_EQ(segment.first_position, logits);
      logits += segment.logits;
    }
  }
  EXPECT_EQ(logits, 20);
}

}  // namespace
}  // namespace hadal::sched
