#include "hadal/gateway/batch_schedule.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hadal::gateway {
namespace {

using std::chrono::seconds;

class ScheduleTest : public ::testing::Test {
 protected:
  // "-" what is to stop, "+" what is to start, "=" what has ended.
  std::string step(int64_t at, int32_t live = 0, bool in_hours = true) {
    const auto out = schedule_.step(rules_, {seconds(at), at, in_hours, live});
    std::string text;
    for (const LineId& line : out.stop) text += fmt::format("-{}{} ", line.batch, line.line);
    for (const LineId& line : out.start) text += fmt::format("+{}{} ", line.batch, line.line);
    for (const auto& [batch, how] : out.ended) {
      text += fmt::format("={}{} ", batch, static_cast<int>(how));
    }
    if (!text.empty()) text.pop_back();
    return text;
  }
  void add(const std::string& batch, const std::string& owner, size_t lines,
           int64_t expires = 1'000'000) {
    schedule_.add(batch, owner, expires, std::vector<bool>(lines, false));
  }

  BatchRules rules_{2, 1, seconds(10), false};
  BatchSchedule schedule_;
};

TEST_F(ScheduleTest, RunsAsManyAsItMayAndThenEnds) {
  add("a", "x", 3);
  EXPECT_EQ(step(0), "+a0 +a1");
  EXPECT_EQ(step(1), "");
  schedule_.finished({"a", 1});
  EXPECT_EQ(step(2), "+a2");
  schedule_.finished({"a", 2});
  schedule_.finished({"a", 0});
  EXPECT_EQ(step(3), "=a0");
  EXPECT_EQ(step(4), "=a0") << "until it is forgotten";
  schedule_.forget("a");
  EXPECT_EQ(step(5), "");
}

TEST_F(ScheduleTest, WhatIsDoneDoesNotRunAgain) {
  schedule_.add("a", "x", 100, {true, false, true, true, false, true});
  EXPECT_EQ(step(0), "+a1 +a4");
  schedule_.add("b", "x", 100, {true, true});
  EXPECT_EQ(step(0), "=b0");
}

TEST_F(ScheduleTest, OwnersTakeTurnsAndTheOldestBatchGoesFirst) {
  rules_.at_once = 1;
  add("a", "x", 3);
  add("b", "x", 3);
  add("c", "y", 3);
  std::string order;
  for (std::string started = step(0); started.starts_with('+'); started = step(0)) {
    order += started.substr(1, 2) + " ";
    schedule_.finished({started.substr(1, 1), started[2] - '0'});
    // What has ended is told with what starts next.
    for (const char* batch : {"a", "b", "c"}) {
      if (order.find(fmt::format("{}2", batch)) != std::string::npos) schedule_.forget(batch);
    }
  }
  EXPECT_EQ(order, "a0 c0 a1 c1 a2 c2 b0 b1 b2 ");
}

TEST_F(ScheduleTest, ABusyServiceStartsNothingAndTakesItsPlaceBack) {
  add("a", "x", 9);
  EXPECT_EQ(step(0, 2), "");
  EXPECT_EQ(step(1, 1), "+a0 +a1");
  EXPECT_EQ(step(2, 2), "");
  EXPECT_EQ(step(11, 1), "") << "calm again in time";
  EXPECT_EQ(step(12, 2), "");
  EXPECT_EQ(step(21, 2), "");
  EXPECT_EQ(step(22, 2), "-a0 -a1");
  EXPECT_EQ(step(22, 2), "") << "said once";
  schedule_.stopped({"a", 0});
  schedule_.finished({"a", 1});
  EXPECT_EQ(step(23, 5), "");
  EXPECT_EQ(step(24, 0), "+a0 +a2");
  EXPECT_EQ(schedule_.attempts({"a", 0}), 0);
}

TEST_F(ScheduleTest, HoursCloseOrLeaveTheIdleTime) {
  add("a", "x", 9);
  EXPECT_EQ(step(0, 0, false), "");
  rules_.idle_outside_hours = true;
  EXPECT_EQ(step(1, 1, false), "");
  EXPECT_EQ(step(2, 0, false), "+a0 +a1");
  schedule_.finished({"a", 0});
  EXPECT_EQ(step(3, 1, true), "+a2");
}

TEST_F(ScheduleTest, NotNowIsAskedAgainInItsTime) {
  rules_.at_once = 1;
  add("a", "x", 2);
  EXPECT_EQ(step(0), "+a0");
  schedule_.again_at({"a", 0}, seconds(5));
  EXPECT_EQ(schedule_.attempts({"a", 0}), 1);
  EXPECT_EQ(step(1), "+a1");
  schedule_.finished({"a", 1});
  EXPECT_EQ(step(4), "");
  EXPECT_EQ(step(5), "+a0");
  schedule_.again_at({"a", 0}, seconds(9));
  EXPECT_EQ(schedule_.attempts({"a", 0}), 2);
}

TEST_F(ScheduleTest, CancelledAndExpiredBatchesStopAndEnd) {
  add("a", "x", 9);
  add("b", "y", 9, 50);
  EXPECT_EQ(step(0), "+a0 +b0");
  schedule_.cancel("a");
  EXPECT_EQ(step(1), "-a0");
  schedule_.finished({"a", 0});
  EXPECT_EQ(step(2), "+b1 =a2");
  schedule_.forget("a");
  EXPECT_EQ(step(50), "-b0 -b1");
  schedule_.stopped({"b", 0});
  schedule_.stopped({"b", 1});
  EXPECT_EQ(step(51), "=b1");
}

TEST_F(ScheduleTest, ABatchThatIsDoneHasNotExpired) {
  schedule_.add("a", "x", 10, {true, true});
  EXPECT_EQ(step(20), "=a0");
}

}  // namespace
}  // namespace hadal::gateway
