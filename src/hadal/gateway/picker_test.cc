#include "hadal/gateway/picker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "hadal/base/hash.h"

namespace hadal::gateway {
namespace {

using ::testing::ElementsAre;

std::vector<Candidate> fleet(std::vector<int32_t> weights) {
  std::vector<Candidate> all;
  for (size_t i = 0; i < weights.size(); ++i) {
    const std::string name = "backend-" + std::to_string(i);
    all.push_back(
        {static_cast<BackendId>(i), weights[i], 0, 0, hash64(std::as_bytes(std::span(name)))});
  }
  return all;
}

TEST(Picker, Names) {
  EXPECT_EQ(strategy_from_name("prefix"), Strategy::kPrefix);
  EXPECT_EQ(strategy_from_name("random"), std::nullopt);
}

TEST(Picker, RoundRobinGivesExactSharesSpreadOut) {
  Picker picker(1);
  const auto all = fleet({5, 1, 1});
  std::string order;
  for (int i = 0; i < 14; ++i) {
    order += std::to_string(picker.pick(Strategy::kRoundRobin, all, 0, 1));
  }
  EXPECT_EQ(order.substr(0, 7), order.substr(7));
  EXPECT_EQ(std::count(order.begin(), order.end(), '0'), 10);
  EXPECT_EQ(std::count(order.begin(), order.end(), '1'), 2);
  EXPECT_EQ(order.find("00000"), std::string::npos) << order;
}

TEST(Picker, RoundRobinAfterAnAbsenceIsNotAFlood) {
  Picker picker(1);
  const auto all = fleet({1, 1});
  for (int i = 0; i < 100; ++i) picker.pick(Strategy::kRoundRobin, {all.data(), 1}, 0, 1);
  int second = 0;
  for (int i = 0; i < 10; ++i) second += picker.pick(Strategy::kRoundRobin, all, 0, 1) == 1;
  EXPECT_GE(second, 5);
  EXPECT_LE(second, 7);
}

TEST(Picker, LeastTokensPerWeight) {
  Picker picker(1);
  auto all = fleet({1, 4, 1});
  all[0].tokens = 100;
  all[1].tokens = 300;
  all[2].tokens = 90;
  EXPECT_EQ(picker.pick(Strategy::kLeastTokens, all, 0, 1), 1u);
  all[1].tokens = 400;
  EXPECT_EQ(picker.pick(Strategy::kLeastTokens, all, 0, 1), 2u);
  std::set<BackendId> idle;
  for (int i = 0; i < 3; ++i)
    idle.insert(picker.pick(Strategy::kLeastTokens, fleet({1, 1, 1}), 0, 1));
  EXPECT_EQ(idle.size(), 3u);  // idle ones take turns
}

TEST(Picker, TwoChoicesAvoidsTheBusiestAndFollowsWeights) {
  Picker picker(3);
  auto all = fleet({1, 1, 1, 1});
  all[2].tokens = 1'000;
  std::vector<int> count(4);
  for (int i = 0; i < 4'000; ++i) ++count[picker.pick(Strategy::kTwoChoices, all, 0, 1)];
  EXPECT_EQ(count[2], 0);  // loses to any other
  EXPECT_GT(*std::min_element(count.begin(), count.begin() + 2), 1'000);
  EXPECT_EQ(picker.pick(Strategy::kTwoChoices, {all.data() + 2, 1}, 0, 1), 2u);
}

TEST(Picker, PrefixReturnsToTheSameBackendWhoeverElseComesAndGoes) {
  Picker picker(1), other(2);
  const auto all = fleet({1, 1, 1, 1, 1});
  const std::vector<Candidate> fewer(all.begin(), all.begin() + 4);
  int moved = 0;
  std::vector<int> count(5);
  for (uint64_t key = 0; key < 5'000; ++key) {
    const BackendId home = picker.pick(Strategy::kPrefix, all, key, 1.25);
    ++count[home];
    EXPECT_EQ(other.pick(Strategy::kPrefix, all, key, 1.25), home);  // another gateway agrees
    const BackendId now = picker.pick(Strategy::kPrefix, fewer, key, 1.25);
    EXPECT_TRUE(home == 4 || now == home) << key;
    moved += now != home;
  }
  EXPECT_EQ(moved, count[4]);  // only who lived there
  for (const int one : count) EXPECT_NEAR(one, 1'000, 150);
}

TEST(Picker, PrefixHonoursWeights) {
  Picker picker(1);
  const auto all = fleet({1, 3});
  int second = 0;
  for (uint64_t key = 0; key < 4'000; ++key) {
    second += picker.pick(Strategy::kPrefix, all, key, 100) == 1;
  }
  EXPECT_NEAR(second, 3'000, 150);
}

TEST(Picker, PrefixIsBoundByLoad) {
  Picker picker(1);
  for (const double bound : {1.0, 1.25, 2.0}) {
    auto all = fleet({1, 1, 1, 1});
    for (int i = 0; i < 400; ++i) {  // one conversation that everybody wants
      const BackendId id = picker.pick(Strategy::kPrefix, all, 42, bound);
      ++all[id].in_flight;
      for (const Candidate& one : all) {
        EXPECT_LE(one.in_flight, std::ceil(bound * (i + 1) / 4.0)) << bound;
      }
    }
  }
}

}  // namespace
}  // namespace hadal::gateway
