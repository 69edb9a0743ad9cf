#include "hadal/engine/draft_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hadal {
namespace {

using ::testing::ElementsAre;

double linear(int32_t rows) { return 1.0 + 0.5 * (rows - 1); }

TEST(StepTimes, MediansOfWhatWasMeasuredAndTheExpectedCurveBetween) {
  StepTimes times(linear);
  EXPECT_EQ(times.seconds(4), 0);
  EXPECT_FALSE(times.knows(1));
  for (const double seconds : {2.0, 9.0, 2.2, 1.8, 2.1}) times.observe(1, seconds);
  EXPECT_TRUE(times.knows(1));
  EXPECT_NEAR(times.seconds(1), 2.1, 1e-6) << "one slow step is forgotten";
  EXPECT_NEAR(times.seconds(3), 2.1 * 2.0, 1e-6) << "by the curve";
  times.observe(5, 2.1);
  EXPECT_NEAR(times.seconds(5), 2.1, 1e-6);
  // Half way between the factors 2.1 and 2.1 / 3.
  EXPECT_NEAR(times.seconds(3), 2.0 * (2.1 + 0.7) / 2, 1e-6);
  EXPECT_NEAR(times.seconds(9), 0.7 * 5.0, 1e-6) << "beyond the last, by the curve from there";
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

std::vector<int32_t> shares(const std::vector<Offer>& offers, int32_t rows, int32_t room,
                            const StepTimes& times) {
  std::vector<int32_t> take;
  share_out(offers, rows, room, times, &take);
  return take;
}

StepTimes measured(std::initializer_list<std::pair<int32_t, double>> seconds) {
  StepTimes times(linear);
  for (const auto& [rows, time] : seconds) times.observe(rows, time);
  return times;
}

TEST(ShareOut, TakesWhatPays) {
  // Rows up to 4 are free, then each costs a whole step.
  const StepTimes cliff = measured({{1, 1.0}, {2, 1.0}, {3, 1.0}, {4, 1.0}, {5, 2.0}, {6, 3.0}});
  EXPECT_THAT(shares({{0.9, 10}}, 1, 64, cliff), ElementsAre(3));
  EXPECT_THAT(shares({{0.9, 2}}, 1, 64, cliff), ElementsAre(2));
  EXPECT_THAT(shares({{0.9, 10}}, 1, 1, cliff), ElementsAre(1));
  EXPECT_THAT(shares({{0.9, 10}}, 4, 64, cliff), ElementsAre(0));
  EXPECT_THAT(shares({{0.0, 10}}, 1, 64, cliff), ElementsAre(0));
  EXPECT_THAT(shares({}, 1, 64, cliff), ElementsAre());
  // Better guesses first, wherever they come from: 0.9, 0.81 of the second, 0.8 of the first.
  EXPECT_THAT(shares({{0.8, 10}, {0.9, 10}}, 1, 64, cliff), ElementsAre(1, 2));
  // A mixture of experts: the second row costs half a step.
  const StepTimes experts = measured({{1, 1.0}, {2, 1.5}, {3, 2.0}, {4, 2.4}});
  EXPECT_THAT(shares({{0.5, 1}}, 1, 64, experts), ElementsAre(0));
  EXPECT_THAT(shares({{0.95, 1}}, 1, 64, experts), ElementsAre(1));
  // A step that gets dearer at once and stays so is worth it when enough come.
  const StepTimes step = measured({{1, 1.0}, {2, 1.9}, {3, 1.9}, {4, 1.9}, {5, 1.9}});
  EXPECT_THAT(shares({{0.9, 1}}, 1, 64, step), ElementsAre(0));
  EXPECT_THAT(shares({{0.9, 4}}, 1, 64, step), ElementsAre(4));
  // Further guesses of a layer that was trained for one.
  EXPECT_THAT(shares({{0.9, 3, 0, 0.1}, {0.5, 3}}, 1, 3, cliff), ElementsAre(1, 2));
  // What making a guess costs counts too.
  EXPECT_THAT(shares({{0.9, 3, 0.1}}, 1, 64, cliff), ElementsAre(3));
  EXPECT_THAT(shares({{0.9, 3, 0.9}}, 1, 64, cliff), ElementsAre(0));
}

TEST(ShareOut, WithoutAMeasuredPlainStepNothingIsGuessed) {
  EXPECT_THAT(shares({{0.99, 4}}, 2, 64, measured({{1, 1.0}, {3, 1.0}})), ElementsAre(0));
  EXPECT_THAT(shares({{0.99, 4}}, 600, 64, measured({{1, 1.0}})), ElementsAre(0));
  // A clock that stands still: rows cost nothing.
  EXPECT_THAT(shares({{0.2, 4}}, 1, 64, measured({{1, 0.0}})), ElementsAre(4));
}

TEST(Acceptance, FollowsWhatHappens) {
  Acceptance acceptance(0.5, 0.25);
  for (int i = 0; i < 20; ++i) acceptance.observe(true);
  EXPECT_GT(acceptance.rate(), 0.99);
  acceptance.observe(false);
  EXPECT_LT(acceptance.rate(), 0.76);
  for (int i = 0; i < 20; ++i) acceptance.observe(false);
  EXPECT_LT(acceptance.rate(), 0.01);
  for (int i = 0; i < 500; ++i) acceptance.rest();
  EXPECT_GT(acceptance.rate(), 0.45);
  EXPECT_LT(acceptance.rate(), 0.5);
}

}  // namespace
}  // namespace hadal
