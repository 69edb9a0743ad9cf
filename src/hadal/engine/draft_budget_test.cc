#include "hadal/engine/draft_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace hadal {
namespace {

using ::testing::ElementsAre;

double linear(int32_t rows) { return 1.0 + 0.5 * (rows - 1); }

TEST(StepTimes, QuickOnesOfWhatWasMeasuredAndTheExpectedCurveBetween) {
  StepTimes times(linear);
  EXPECT_EQ(times.seconds(4), 0);
  EXPECT_FALSE(times.knows(1));
  for (const double seconds : {2.2, 9.0, 2.1, 1.8, 9.0}) times.observe(1, seconds);
  EXPECT_TRUE(times.knows(1));
  EXPECT_NEAR(times.seconds(1), 2.1, 1e-6) << "slow steps and the luckiest are left out";
  EXPECT_NEAR(times.seconds(3), 2.1 * 2.0, 1e-6) << "by the curve";
  times.observe(5, 2.1);
  EXPECT_NEAR(times.seconds(5), 2.1, 1e-6);
  // Half way between the factors 2.1 and 2.1 / 3.
  EXPECT_NEAR(times.seconds(3), 2.0 * (2.1 + 0.7) / 2, 1e-6);
  EXPECT_NEAR(times.seconds(9), 0.7 * 5.0, 1e-6) << "beyond the last, by the curve from there";
  times.observe(4, 1.0);
  EXPECT_NEAR(times.seconds(4), 2.1, 1e-6) << "no less than for one row";
  times.observe(3, 50.0);
  EXPECT_NEAR(times.seconds(4), 2.1, 1e-6) << "one slow step says nothing of others";
  for (int i = 0; i < 3; ++i) times.observe(3, 2.5);
  EXPECT_NEAR(times.seconds(4), 2.5, 1e-6);
}

TEST(StepTimes, OldMeasurementsAreForgotten) {
  StepTimes times(linear);
  times.observe(1, 1.0);
  times.observe(2, 50.0);
  for (int i = 0; i < 256; ++i) times.observe(1, 1.0);
  EXPECT_TRUE(times.knows(2));
  times.observe(1, 1.0);
  EXPECT_FALSE(times.knows(2));
  EXPECT_NEAR(times.seconds(2), 1.5, 1e-6);
  times.observe(2, 1.25);
  EXPECT_NEAR(times.seconds(2), 1.25, 1e-6);
}

TEST(StepTimes, RowsOutOfRangeAreTakenForTheNearest) {
  StepTimes times(linear);
  times.observe(0, 1.0);
  times.observe(StepTimes::kRowsMax + 1, 1.0);
  EXPECT_EQ(times.seconds(1), 0);
  times.observe(StepTimes::kRowsMax, 8.0);
  EXPECT_NEAR(times.seconds(100'000), 8.0, 1e-6);
  EXPECT_GT(times.seconds(0), 0);
}

TEST(StepTimes, AreSettledAfterAFew) {
  StepTimes times(linear, 3);
  for (int i = 0; i < 3; ++i) {
    times.observe(2, 1.0);
    EXPECT_FALSE(times.settled(2));
  }
  times.observe(2, 1.0);
  EXPECT_TRUE(times.settled(2));
  for (int i = 0; i < 4; ++i) times.observe(1, 1.0);
  EXPECT_FALSE(times.settled(2)) << "old";
  times.observe(2, 1.0);
  EXPECT_FALSE(times.settled(2)) << "what was before does not count";
}

TEST(StepTimes, NeighboursHelpToSettle) {
  StepTimes times(linear);
  for (const int32_t rows : {9, 10, 11, 12}) times.observe(rows, 1.0);
  EXPECT_TRUE(times.settled(10));
  EXPECT_TRUE(times.settled(11));
  EXPECT_FALSE(times.settled(14)) << "11 to 17: two";
  EXPECT_FALSE(times.settled(1));
}

TEST(StepTimes, WhatWasSlowOnceIsTriedAgain) {
  StepTimes times(linear);
  for (int i = 0; i < 4; ++i) times.observe(1, 1.0);
  times.observe(3, 90.0);
  EXPECT_NEAR(times.seconds(3), 2.0, 1e-6) << "no slower than by the others' measure";
  for (int i = 0; i < 3; ++i) times.observe(3, 90.0);
  EXPECT_NEAR(times.seconds(3), 90.0, 1e-4);
}

TEST(CallTime, IsWhatCallsOfLateTell) {
  CallTime time;
  EXPECT_EQ(time.seconds(3), 0);
  time.observe(4, 800.0);
  EXPECT_NEAR(time.seconds(4), 800.0, 1e-9);
  for (const int32_t rows : {1, 2, 4}) time.observe(rows, 2.0 * (4 + rows));
  EXPECT_NEAR(time.seconds(16), 40.0, 1e-9) << "by others' rows, and the slow one is left out";
  time.rest();
  EXPECT_LT(time.seconds(16), 40.0);
  for (int i = 0; i < 2'000; ++i) time.rest();
  EXPECT_LT(time.seconds(16), 1.0);
  time.observe(4, 16.0);
  EXPECT_NEAR(time.seconds(4), 16.0, 1e-9);
}

std::vector<int32_t> shares(const std::vector<Offer>& offers, int32_t rows, int32_t room,
                            const StepTimes& times, const DraftTimes* drafting = nullptr) {
  std::vector<int32_t> take;
  share_out(offers, rows, room, times, drafting, &take);
  return take;
}

void settle(StepTimes& times, std::initializer_list<std::pair<int32_t, double>> seconds) {
  for (const auto& [rows, time] : seconds) {
    for (int i = 0; i < 5; ++i) times.observe(rows, time);
  }
}

StepTimes measured(std::initializer_list<std::pair<int32_t, double>> seconds) {
  StepTimes times(linear);
  settle(times, seconds);
  return times;
}

Offer known(double rate, int32_t guesses) { return {rate, rate, guesses}; }

TEST(ShareOut, TakesWhatPays) {
  // Rows up to 4 are free, then each costs a whole step.
  const StepTimes cliff = measured({{1, 1.0}, {2, 1.0}, {3, 1.0}, {4, 1.0}, {5, 2.0}, {6, 3.0}});
  EXPECT_THAT(shares({known(0.9, 10)}, 1, 64, cliff), ElementsAre(3));
  EXPECT_THAT(shares({known(0.9, 2)}, 1, 64, cliff), ElementsAre(2));
  EXPECT_THAT(shares({known(0.9, 10)}, 1, 1, cliff), ElementsAre(1));
  EXPECT_THAT(shares({known(0.9, 10)}, 4, 64, cliff), ElementsAre(0));
  EXPECT_THAT(shares({known(0.0, 10)}, 1, 64, cliff), ElementsAre(0));
  EXPECT_THAT(shares({}, 1, 64, cliff), ElementsAre());
  // Better guesses first, wherever they come from: 0.9, 0.81 of the second, 0.8 of the first.
  EXPECT_THAT(shares({known(0.8, 10), known(0.9, 10)}, 1, 64, cliff), ElementsAre(1, 2));
  // A mixture of experts: the second row costs half a step.
  const StepTimes experts = measured({{1, 1.0}, {2, 1.5}, {3, 2.0}, {4, 2.4}});
  EXPECT_THAT(shares({known(0.5, 1)}, 1, 64, experts), ElementsAre(0));
  EXPECT_THAT(shares({known(0.95, 1)}, 1, 64, experts), ElementsAre(1));
  // A step that gets dearer at once and stays so is worth it when enough come.
  const StepTimes step = measured({{1, 1.0}, {2, 1.9}, {3, 1.9}, {4, 1.9}, {5, 1.9}});
  EXPECT_THAT(shares({known(0.9, 1)}, 1, 64, step), ElementsAre(0));
  EXPECT_THAT(shares({known(0.9, 4)}, 1, 64, step), ElementsAre(4));
  // Further guesses of a layer that was trained for one.
  EXPECT_THAT(shares({{0.9, 0.1, 3}, known(0.5, 3)}, 1, 3, cliff), ElementsAre(1, 2));
}

TEST(ShareOut, WhatMakingGuessesTakesCountsToo) {
  const StepTimes free = measured({{1, 1.0}, {2, 1.0}, {3, 1.0}, {4, 1.0}, {5, 1.0}, {6, 1.0}});
  const auto take = [&](double first, double further, const std::vector<Offer>& offers) {
    DraftTimes drafting;
    drafting.first.observe(2, first);
    drafting.further.observe(1, further);
    return shares(offers, static_cast<int32_t>(offers.size()), 64, free, &drafting);
  };
  const Offer made{0.9, 0.9, 4, true};
  EXPECT_THAT(take(0.0, 0.0, {made}), ElementsAre(4));
  EXPECT_THAT(take(0.1, 0.1, {made}), ElementsAre(4));
  EXPECT_THAT(take(0.9, 0.1, {made}), ElementsAre(4)) << "the first is dear, together they pay";
  EXPECT_THAT(take(0.9, 2.0, {made}), ElementsAre(0));
  EXPECT_THAT(take(0.1, 2.0, {made}), ElementsAre(1)) << "one pays, a chain does not";
  EXPECT_THAT(take(9.0, 0.1, {made}), ElementsAre(0));
}

TEST(ShareOut, WithoutAMeasuredPlainStepNothingIsGuessed) {
  EXPECT_THAT(shares({known(0.99, 4)}, 2, 64, measured({{1, 1.0}, {3, 1.0}})), ElementsAre(0));
  EXPECT_THAT(shares({known(0.99, 4)}, 600, 64, measured({{1, 1.0}})), ElementsAre(0));
  // A clock that stands still: rows cost nothing.
  EXPECT_THAT(shares({known(0.4, 4)}, 1, 64, measured({{1, 0.0}})), ElementsAre(4));
}

TEST(ShareOut, APlainStepMeasuredOnceIsNotKnown) {
  StepTimes times(linear);
  times.observe(1, 1.0);
  EXPECT_THAT(shares({known(0.99, 4)}, 1, 64, times), ElementsAre(0));
}

TEST(Acceptance, FollowsWhatHappens) {
  Acceptance acceptance(0.5, 0.25, 4);
  for (int i = 0; i < 20; ++i) acceptance.observe(true);
  EXPECT_GT(acceptance.rate(), 0.99);
  acceptance.observe(false);
  EXPECT_LT(acceptance.rate(), 0.76);
  for (int i = 0; i < 20; ++i) acceptance.observe(false);
  EXPECT_LT(acceptance.rate(), 0.01);
  for (int i = 0; i < 500; ++i) acceptance.rest(1.0 / 16);
  EXPECT_GT(acceptance.rate(), 0.45);
  EXPECT_LT(acceptance.rate(), 0.5);
}

TEST(Acceptance, BeginsAsAMean) {
  Acceptance acceptance(0.9, 1.0 / 64, 2);
  acceptance.observe(false);
  EXPECT_NEAR(acceptance.rate(), 0.9 * 2 / 3, 1e-9);
  acceptance.observe(false);
  EXPECT_NEAR(acceptance.rate(), 0.9 * 2 / 4, 1e-9);
  for (int i = 0; i < 100; ++i) acceptance.observe(false);
  acceptance.observe(true);
  EXPECT_NEAR(acceptance.rate(), 0.9 * 2 / 62 * std::pow(63.0 / 64, 43) + 1.0 / 64, 0.01);
}

}  // namespace
}  // namespace hadal
