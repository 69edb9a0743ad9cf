// Sequences whose prefix a slower store has: who waits, who goes on, and what the store is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "hadal/sched/scheduler.h"

namespace hadal::sched {
namespace {

using Tokens = std::vector<int32_t>;
using testing::ElementsAre;

Tokens text(int32_t count, int32_t from = 0) {
  Tokens tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

// A store that has what it is told to have, and writes down what it hears.
class Store final : public kv::LowerTier {
 public:
  int32_t find(std::string_view, std::span<const int32_t> tokens) override {
    return std::min(has, static_cast<int32_t>(tokens.size()) / 4 * 4);
  }
  int32_t save(std::string_view, std::span<const int32_t> tokens,
               std::span<const kv::BlockId> blocks, bool last) override {
    EXPECT_GE(blocks.size() * 4, tokens.size());
    offers.push_back(static_cast<int32_t>(tokens.size()));
    lasts.push_back(last);
    return std::min(takes, static_cast<int32_t>(tokens.size()));
  }
  void lost(uint64_t ticket) override { gone.push_back(ticket); }

  int32_t has = 0;
  int32_t takes = 1'000;
  std::vector<int32_t> offers;
  std::vector<bool> lasts;
  std::vector<uint64_t> gone;
};

struct Desk {
  explicit Desk(int32_t blocks = 64)
      : pool({.blocks = blocks, .block_tokens = 4}),
        scheduler({.context = 200,
                   .running_max = 8,
                   .queue_max = 8,
                   .step_rows_max = 32,
                   .prefill_rows_with_decode = 8,
                   .step_logits_max = 8},
                  pool) {
    scheduler.set_lower_tier(store);
  }
  void submit(uint64_t id, Tokens tokens, int32_t answer = 20) {
    const auto most = static_cast<int32_t>(tokens.size()) + answer;
    ASSERT_TRUE(scheduler.submit({.id = id, .tokens = std::move(tokens), .tokens_max = most}, now));
  }
  std::map<uint64_t, int32_t> round() {
    std::map<uint64_t, int32_t> rows;
    const Plan plan = scheduler.step(now);
    scheduler.advance();
    for (const Segment& segment : plan.segments) {
      rows[segment.id] = segment.rows;
      reused[segment.id] = segment.reused;
      if (segment.samples) scheduler.append(segment.id, 7);
    }
    EXPECT_EQ(scheduler.audit(), "");
    return rows;
  }

  Store store;
  kv::Pool pool;
  Scheduler scheduler;
  std::map<uint64_t, int32_t> reused;
  Nanos now{0};
};

using Rows = std::map<uint64_t, int32_t>;

TEST(Restoring, WaitsWhileOthersGoOn) {
  Desk desk;
  desk.submit(1, text(10, 500));
  EXPECT_EQ(desk.round(), (Rows{{1, 10}}));
  desk.store.has = 16;
  desk.submit(2, text(21));
  EXPECT_EQ(desk.round(), (Rows{{1, 1}}));
  auto waits = desk.scheduler.restoring(0);
  ASSERT_TRUE(waits);
  EXPECT_EQ(waits->have, 0);
  EXPECT_EQ(waits->until, 16);
  EXPECT_EQ(waits->tokens.size(), 21u);
  EXPECT_EQ(waits->blocks.size(), 6u);
  EXPECT_EQ(desk.round(), (Rows{{1, 1}}));
  desk.scheduler.restored(waits->ticket, 8);
  EXPECT_EQ(desk.scheduler.restoring(waits->ticket)->have, 8);
  EXPECT_EQ(desk.round(), (Rows{{1, 1}}));
  desk.scheduler.restored(waits->ticket, 16);
  EXPECT_FALSE(desk.scheduler.restoring(waits->ticket));
  EXPECT_EQ(desk.round(), (Rows{{1, 1}, {2, 5}}));
  EXPECT_EQ(desk.reused[2], 16);
}

TEST(Restoring, AloneLeavesThePlanEmpty) {
  Desk desk;
  desk.store.has = 8;
  desk.submit(1, text(9));
  EXPECT_EQ(desk.round(), Rows{});
  EXPECT_FALSE(desk.scheduler.idle());
  EXPECT_EQ(desk.round(), Rows{});
  // Given up after a part: the rest is computed.
  const uint64_t ticket = desk.scheduler.restoring(0)->ticket;
  desk.scheduler.restored(ticket, 4);
  desk.scheduler.end_restoring(ticket);
  EXPECT_EQ(desk.round(), (Rows{{1, 5}}));
  EXPECT_EQ(desk.reused[1], 4);
}

TEST(Restoring, TheLastTokensRowAlwaysRuns) {
  Desk desk;
  desk.store.has = 1'000;
  desk.submit(1, text(8));  // two whole blocks: only the first may come back
  EXPECT_EQ(desk.round(), Rows{});
  const auto waits = desk.scheduler.restoring(0);
  EXPECT_EQ(waits->until, 4);
  desk.scheduler.restored(waits->ticket, 4);
  EXPECT_EQ(desk.round(), (Rows{{1, 4}}));
}

TEST(Restoring, MemoryIsEnoughWhereItHasAsMuch) {
  Desk desk;
  desk.submit(1, text(16));
  EXPECT_EQ(desk.round(), (Rows{{1, 16}}));
  desk.store.has = 12;
  desk.submit(2, text(16));
  EXPECT_EQ(desk.round(), (Rows{{1, 1}, {2, 4}}));
  EXPECT_FALSE(desk.scheduler.restoring(0));
}

TEST(Restoring, WhatTheFirstBringsBackTheSecondHas) {
  Desk desk;
  desk.store.has = 12;
  desk.submit(1, text(14));
  desk.submit(2, text(15));
  EXPECT_EQ(desk.round(), Rows{});
  const uint64_t first = desk.scheduler.restoring(0)->ticket;
  desk.scheduler.restored(first, 12);
  EXPECT_FALSE(desk.scheduler.restoring(0));  // the second followed
  EXPECT_EQ(desk.round(), (Rows{{1, 2}, {2, 3}}));
  EXPECT_EQ(desk.reused[2], 12);
  EXPECT_EQ(desk.pool.referenced_blocks(), 3 + 1 + 1);
}

TEST(Restoring, TheStoreHearsOfLostBlocks) {
  Desk desk;
  desk.store.has = 8;
  desk.submit(1, text(12));
  EXPECT_EQ(desk.round(), Rows{});
  const uint64_t ticket = desk.scheduler.restoring(0)->ticket;
  EXPECT_TRUE(desk.scheduler.remove(1));
  EXPECT_THAT(desk.store.gone, ElementsAre(ticket));
  EXPECT_FALSE(desk.scheduler.restoring(ticket));
  EXPECT_EQ(desk.pool.referenced_blocks(), 0);

  Desk tight(8);
  tight.submit(1, text(15, 500), 15);
  EXPECT_EQ(tight.round(), (Rows{{1, 15}}));
  tight.store.has = 8;
  tight.submit(2, text(12));
  while (tight.store.gone.empty()) ASSERT_EQ(tight.round(), (Rows{{1, 1}}));
  EXPECT_FALSE(tight.scheduler.restoring(0));
  EXPECT_EQ(tight.scheduler.waiting(), 1);
}

TEST(Restoring, OffersWholeBlocksOneStepLateAndAgainWhatWasNotTaken) {
  Desk desk;
  desk.store.takes = 4;
  desk.submit(1, text(9));
  desk.round();
  EXPECT_THAT(desk.store.offers, ElementsAre());
  desk.round();
  desk.round();
  EXPECT_THAT(desk.store.offers, ElementsAre(8, 8));
  desk.store.takes = 8;
  desk.round();
  EXPECT_THAT(desk.store.offers, ElementsAre(8, 8, 8));
  desk.scheduler.remove(1);  // the third block is complete by now
  EXPECT_THAT(desk.store.offers, ElementsAre(8, 8, 8, 12));
  EXPECT_THAT(desk.store.lasts, ElementsAre(false, false, false, true));
}

}  // namespace
}  // namespace hadal::sched
