#include "hadal/gateway/fair_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "hadal/base/rng.h"

namespace hadal::gateway {
namespace {

using ::testing::ElementsAre;

using Tickets = std::vector<FairQueue::Ticket>;

Tickets drain(FairQueue& queue) {
  Tickets order;
  while (const auto ticket = queue.pop()) order.push_back(*ticket);
  return order;
}

TEST(FairQueue, OneTenantIsServedInTheOrderOfArrival) {
  FairQueue queue;
  for (const double tokens : {100.0, 1.0, 0.0, 50.0}) queue.push("a", 1, 0, tokens);
  EXPECT_THAT(drain(queue), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(FairQueue, ALongLineDoesNotDelayAnother) {
  FairQueue queue;
  for (int i = 0; i < 100; ++i) queue.push("greedy", 1, 0, 10);
  EXPECT_EQ(*queue.pop(), 1u);
  const auto mine = queue.push("modest", 1, 0, 10);
  EXPECT_EQ(*queue.pop(), mine);
}

TEST(FairQueue, WhoWasAwayHasSavedNothingUp) {
  FairQueue queue;
  for (int i = 0; i < 50; ++i) queue.push("a", 1, 0, 10);
  for (int i = 0; i < 20; ++i) queue.pop();
  Tickets away;
  for (int i = 0; i < 20; ++i) away.push_back(queue.push("b", 1, 0, 10));
  int early = 0;
  for (int i = 0; i < 20; ++i) early += *queue.pop() > 50 ? 1 : 0;
  EXPECT_NEAR(early, 10, 1);
}

TEST(FairQueue, ALowerPriorityNumberGoesFirstAlways) {
  FairQueue queue;
  queue.push("a", 1, 5, 1);
  queue.push("b", 1, -1, 1'000);
  queue.push("a", 1, 0, 1);
  queue.push("b", 1, -1, 1'000);
  EXPECT_THAT(drain(queue), ElementsAre(2, 4, 3, 1));
}

TEST(FairQueue, WhoLeavesIsAsIfHeHadNeverAsked) {
  FairQueue queue;
  const auto huge = queue.push("a", 1, 0, 1'000'000);
  const auto small = queue.push("a", 1, 0, 1);
  for (int i = 0; i < 5; ++i) queue.push("b", 1, 0, 10);
  EXPECT_EQ(queue.waiting("a"), 2u);
  EXPECT_TRUE(queue.remove(huge));
  EXPECT_FALSE(queue.remove(huge));
  EXPECT_EQ(queue.size(), 6u);
  EXPECT_EQ(queue.waiting("a"), 1u);
  EXPECT_EQ(*queue.pop(), small);
  EXPECT_FALSE(queue.remove(small));
  EXPECT_THAT(drain(queue), ElementsAre(3, 4, 5, 6, 7));
}

// The promise of the paper (theorem 1): while two tenants both wait all the time, what they are
// given, divided by their weights, differs by at most one largest request of each.
TEST(FairQueue, SharesFollowWeightsWithinOneRequestEach) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Rng random(seed);
    const auto below = [&](uint64_t bound) { return static_cast<double>(random.next() % bound); };
    FairQueue queue;
    constexpr size_t kTenants = 4;
    std::vector<double> weights, given(kTenants, 0), largest(kTenants, 0);
    std::vector<std::pair<size_t, double>> what = {{0, 0}};  // by ticket
    for (size_t i = 0; i < kTenants; ++i) weights.push_back(0.5 + below(8));
    const auto ask = [&](size_t tenant) {
      const double tokens = 1 + below(tenant == 0 ? 2'000 : 200);
      queue.push(std::to_string(tenant), weights[tenant], 0, tokens);
      what.emplace_back(tenant, tokens);
    };
    for (size_t i = 0; i < kTenants; ++i) {
      for (int n = 0; n < 5; ++n) ask(i);
    }
    for (int step = 0; step < 500; ++step) {
      const auto [tenant, tokens] = what[*queue.pop()];
      given[tenant] += tokens;
      largest[tenant] = std::max(largest[tenant], tokens);
      ask(tenant);
      for (size_t a = 0; a < kTenants; ++a) {
        for (size_t b = 0; b < a; ++b) {
          // The largest asked for, served or not: at most 2000 and 200.
          const double bound =
              (a == 0 ? 2'000 : 200) / weights[a] + (b == 0 ? 2'000 : 200) / weights[b];
          ASSERT_LE(std::abs(given[a] / weights[a] - given[b] / weights[b]), bound + 1e-6);
        }
      }
    }
  }
}

// Requests come and go at random: nobody is lost, nobody comes twice, the count is right.
TEST(FairQueue, EveryTicketLeavesOnce) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    Rng random(seed);
    FairQueue queue;
    std::vector<int> state = {0};  // 1: waits, 2: gone
    size_t waiting = 0;
    for (int step = 0; step < 1'000; ++step) {
      const uint64_t what = random.next() % 10;
      if (what < 5) {
        const auto ticket = queue.push(std::to_string(random.next() % 5), 1 + what % 3,
                                       static_cast<int32_t>(random.next() % 3),
                                       static_cast<double>(random.next() % 100));
        ASSERT_EQ(ticket, state.size());
        state.push_back(1);
        ++waiting;
      } else if (what < 8) {
        const auto ticket = queue.pop();
        ASSERT_EQ(ticket.has_value(), waiting > 0);
        if (!ticket) continue;
        ASSERT_EQ(state[*ticket], 1);
        state[*ticket] = 2;
        --waiting;
      } else {
        const auto ticket = random.next() % state.size();
        const bool there = state[ticket] == 1;
        ASSERT_EQ(queue.remove(ticket), there);
        if (there) --waiting;
        if (there) state[ticket] = 2;
      }
      ASSERT_EQ(queue.size(), waiting);
    }
    ASSERT_EQ(drain(queue).size(), waiting);
  }
}

}  // namespace
}  // namespace hadal::gateway
