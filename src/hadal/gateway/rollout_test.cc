#include "hadal/gateway/rollout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "hadal/base/rng.h"
#include "hadal/base/testing/temporary_folder.h"
#include "hadal/gateway/rollout_store.h"

namespace hadal::gateway {
namespace {

using std::chrono::minutes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

RolloutConfig canary() {
  RolloutConfig config;
  config.name = "next";
  config.model = "r1";
  config.candidate.model = "r1-next";
  return config;
}

Observation good() { return {false, false, 0.2, 0.02, 400}; }
Observation bad() { return {true}; }

// Answers of both arms, then so much time. True: something happened, and has been applied.
bool run(Rollout& rollout, int baseline, int candidate, const Observation& seen,
         Millis passed = minutes(31)) {
  const int64_t epoch = rollout.state().control.epoch;
  for (int i = 0; i < baseline; ++i) rollout.observe(epoch, 0, good());
  for (int i = 0; i < candidate; ++i) rollout.observe(epoch, 1, seen);
  const auto change = rollout.advance(passed);
  if (!change) return false;
  rollout.apply(*change);
  return true;
}

void command(Rollout& rollout, RolloutCommand command) {
  const auto change = rollout.command(command);
  ASSERT_TRUE(change) << change.error().what;
  rollout.apply(*change);
}

TEST(Rollout, GoesThroughItsStepsToTheEnd) {
  Rollout rollout(canary(), 0);
  for (const double share : {0.01, 0.05, 0.25, 0.5}) {
    EXPECT_EQ(rollout.state().control.phase, RolloutPhase::kRunning);
    EXPECT_DOUBLE_EQ(rollout.share(1), share);
    EXPECT_FALSE(run(rollout, 0, 0, good()));  // time alone shows nothing
    EXPECT_TRUE(run(rollout, 2'000, 1'000, good()));
  }
  EXPECT_EQ(rollout.state().control.phase, RolloutPhase::kPromoted);
  EXPECT_EQ(rollout.share(1), 1);
  EXPECT_TRUE(rollout.is_active());
  EXPECT_FALSE(run(rollout, 0, 1'000, bad()));  // nobody judges any more
}

TEST(Rollout, ACandidateThatOnlyFailsIsBackAfterEightRequests) {
  Rollout rollout(canary(), 0);
  EXPECT_FALSE(run(rollout, 800, 7, bad(), Millis(10)));
  EXPECT_TRUE(run(rollout, 0, 1, bad(), Millis(10)));
  EXPECT_EQ(rollout.state().control.phase, RolloutPhase::kRolledBack);
  EXPECT_THAT(rollout.state().control.reason, HasSubstr("errors"));
  EXPECT_EQ(rollout.share(1), 0);
  EXPECT_FALSE(rollout.is_active());
}

struct Regression {
  const char* name;
  Observation seen;
};
class Regressions : public ::testing::TestWithParam<Regression> {};
TEST_P(Regressions, AreRolledBackByTheirMetric) {
  Rollout rollout(canary(), 0);
  EXPECT_TRUE(run(rollout, 1'000, 300, GetParam().seen));
  EXPECT_EQ(rollout.state().control.phase, RolloutPhase::kRolledBack);
  EXPECT_THAT(rollout.state().control.reason, HasSubstr(GetParam().name));
}
INSTANTIATE_TEST_SUITE_P(
    All, Regressions,
    ::testing::Values(Regression{"errors", {true}},
                      Regression{"refusals", {false, true, 0.2, 0.02, 400}},
                      Regression{"first_token", {false, false, 0.3, 0.02, 400}},
                      Regression{"between_tokens", {false, false, 0.2, 0.03, 400}},
                      Regression{"length", {false, false, 0.2, 0.02, 700}},
                      Regression{"length", {false, false, 0.2, 0.02, 200}}));

TEST(Rollout, PausesWhenNothingIsShownAndResumesWithAsManyWindowsAgain) {
  RolloutConfig config = canary();
  config.margins.errors = 0.001;  // 1,800 answers cannot show that
  Rollout rollout(config, 0);
  for (int window = 0; window < config.windows; ++window) {
    EXPECT_EQ(rollout.state().control.phase, RolloutPhase::kRunning) << window;
    EXPECT_TRUE(run(rollout, 300, 300, good()));
  }
  EXPECT_EQ(rollout.state().control.phase, RolloutPhase::kPaused);
  EXPECT_THAT(rollout.state().control.reason, HasSubstr("nothing was shown in 6 windows: errors"));
  EXPECT_DOUBLE_EQ(rollout.share(1), 0.01);  // users stay where they are
  EXPECT_FALSE(run(rollout, 100, 100, bad()));
  const int64_t ends = rollout.state().control.ends;
  command(rollout, RolloutCommand::kResume);
  EXPECT_EQ(rollout.state().arms[1].requests, 0);
  EXPECT_EQ(rollout.state().control.windows, 0);
  EXPECT_EQ(rollout.state().control.ends, ends);  // what was spent of alpha stays spent
}

TEST(Rollout, ABetterCandidateIsPromotedToo) {
  Rollout rollout(canary(), 0);
  EXPECT_TRUE(run(rollout, 1'000, 600, {false, false, 0.05, 0.005, 400}));
  EXPECT_EQ(rollout.state().control.step, 1);
}

TEST(Rollout, AMetricThatTheCandidateAloneLacksIsNotFine) {
  Rollout rollout(canary(), 0);
  EXPECT_TRUE(run(rollout, 1'000, 600, {false, false, 0.2, 0, 400}));
  EXPECT_EQ(rollout.state().control.step, 0);
  Rollout unstreamed(canary(), 0);
  const int64_t epoch = unstreamed.state().control.epoch;
  for (int i = 0; i < 1'000; ++i) {
    for (const size_t arm : {0, 1}) unstreamed.observe(epoch, arm, {false, false, 0.2, 0, 400});
  }
  EXPECT_TRUE(run(unstreamed, 0, 0, good()));
  EXPECT_EQ(unstreamed.state().control.step, 1);
}

TEST(Rollout, AnswersToRequestsOfAnEarlierStepAreNotCounted) {
  Rollout rollout(canary(), 0);
  const int64_t epoch = rollout.state().control.epoch;
  EXPECT_TRUE(run(rollout, 1'000, 600, good()));
  rollout.observe(epoch, 1, bad());
  EXPECT_EQ(rollout.state().arms[1].requests, 0);
}

TEST(Rollout, UsersOnlyEverMoveToTheCandidate) {
  Rollout rollout(canary(), 0);
  Rng rng(11);
  std::vector<uint64_t> users(20'000);
  for (uint64_t& user : users) user = rng.next();
  std::vector<size_t> before(users.size(), 0);
  for (const double share : {0.01, 0.05, 0.25, 0.5, 1.0}) {
    size_t there = 0;
    for (size_t i = 0; i < users.size(); ++i) {
      const size_t arm = rollout.arm_of(users[i]);
      EXPECT_GE(arm, before[i]);
      before[i] = arm;
      there += arm;
    }
    const double wanted = share * static_cast<double>(users.size());
    EXPECT_NEAR(static_cast<double>(there), wanted, 4 * std::sqrt(wanted) * (share < 1)) << share;
    run(rollout, 1'000, 600, good());
  }
}

TEST(Rollout, ArmsOfAnExperimentHaveTheirWeights) {
  RolloutConfig config;
  config.kind = "experiment";
  config.arms = {{"a", 1, {}}, {"b", 2, {"other", {}}}, {"none", 0, {"third", {}}}};
  Rollout rollout(config, 0);
  EXPECT_THAT(rollout.arms(), ElementsAre("a", "b", "none"));
  std::vector<int> counts(3);
  Rng rng(5);
  for (int i = 0; i < 30'000; ++i) ++counts[rollout.arm_of(rng.next())];
  EXPECT_NEAR(counts[0], 10'000, 350);
  EXPECT_EQ(counts[2], 0);
  EXPECT_EQ(rollout.arm_of(~0ull), 1u);
  EXPECT_FALSE(run(rollout, 10'000, 10'000, bad()));  // nobody judges
  EXPECT_EQ(rollout.state().arms[1].errors, 10'000);
  EXPECT_FALSE(rollout.command(RolloutCommand::kPromote));
}

TEST(Rollout, BlueGreenSwitchesOnceAndComparesWithBefore) {
  RolloutConfig config = canary();
  config.kind = "blue-green";
  for (const bool works : {true, false}) {
    Rollout rollout(config, 0);
    EXPECT_EQ(rollout.share(1), 0);
    EXPECT_TRUE(run(rollout, 1'000, 0, good()));
    EXPECT_EQ(rollout.share(1), 1);
    EXPECT_EQ(rollout.state().arms[0].requests, 1'000);
    EXPECT_TRUE(run(rollout, 0, 600, works ? good() : bad()));
    EXPECT_EQ(rollout.state().control.phase,
              works ? RolloutPhase::kPromoted : RolloutPhase::kRolledBack);
    EXPECT_EQ(rollout.share(1), works ? 1 : 0);
  }
}

TEST(Rollout, ProbesAreAskedOfBothArmsInEachStepAndCompared) {
  for (const int lost : {0, 1, 12}) {
    Rollout rollout(canary(), 20);
    const int64_t epoch = rollout.state().control.epoch;
    EXPECT_TRUE(run(rollout, 1'000, 600, good()));
    EXPECT_EQ(rollout.state().control.step, 0);  // not before they are answered
    for (int i = 0; i < 20; ++i) {
      ASSERT_EQ(rollout.next_probe(), static_cast<size_t>(i));
      rollout.probed(epoch, 0, static_cast<size_t>(i), true);
      ASSERT_EQ(rollout.next_probe(), static_cast<size_t>(i));
      rollout.probed(epoch, 1, static_cast<size_t>(i), i >= lost);
    }
    EXPECT_FALSE(rollout.next_probe());
    run(rollout, 1'000, 600, good());
    if (lost == 12) {
      EXPECT_EQ(rollout.state().control.phase, RolloutPhase::kRolledBack);
      EXPECT_THAT(rollout.state().control.reason, HasSubstr("score"));
    } else {
      EXPECT_EQ(rollout.state().control.step, 1);
      EXPECT_EQ(rollout.next_probe(), 0u);
    }
  }
}

TEST(Rollout, Commands) {
  RolloutConfig config = canary();
  config.autostart = false;
  Rollout rollout(config, 0);
  EXPECT_FALSE(rollout.is_active());
  for (const auto early : {RolloutCommand::kPause, RolloutCommand::kResume,
                           RolloutCommand::kPromote, RolloutCommand::kNextStep}) {
    EXPECT_FALSE(rollout.command(early));
  }
  command(rollout, RolloutCommand::kStart);
  EXPECT_FALSE(rollout.command(RolloutCommand::kStart));
  command(rollout, RolloutCommand::kPause);
  EXPECT_DOUBLE_EQ(rollout.share(1), 0.01);
  command(rollout, RolloutCommand::kNextStep);
  EXPECT_DOUBLE_EQ(rollout.share(1), 0.05);
  command(rollout, RolloutCommand::kPromote);
  EXPECT_EQ(rollout.share(1), 1);
  command(rollout, RolloutCommand::kAbort);
  EXPECT_EQ(rollout.share(1), 0);
  EXPECT_FALSE(rollout.command(RolloutCommand::kAbort));
  command(rollout, RolloutCommand::kStart);
  EXPECT_DOUBLE_EQ(rollout.share(1), 0.01);
  EXPECT_EQ(rollout.state().control.ends + rollout.state().control.looks, 0);
}

TEST(Rollout, ABaselineOfItsOwnHoldsAlsoAfterItWasRolledBack) {
  RolloutConfig config = canary();
  config.baseline.backends = {"one"};
  Rollout rollout(config, 0);
  command(rollout, RolloutCommand::kAbort);
  EXPECT_TRUE(rollout.is_active());
  EXPECT_EQ(rollout.arm_of(0), 0u);
}

class RolloutStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<RolloutStore> open() {
    auto store = RolloutStore::open(folder_.path() + "/store.db");
    EXPECT_TRUE(store) << store.error().what;
    return std::move(*store);
  }
  const hadal::testing::TemporaryFolder folder_;
};

TEST_F(RolloutStoreTest, AnotherProcessGoesOnWhereThisOneWas) {
  Rollout rollout(canary(), 3);
  const int64_t epoch = rollout.state().control.epoch;
  rollout.probed(epoch, 0, 1, true);
  run(rollout, 1'000, 600, good(), minutes(20));
  const StoredRollout row{"next", "", rollout.config().identity(), rollout.state()};
  ASSERT_TRUE(open()->save(row, "started", 17));
  const auto loaded = open()->load();
  ASSERT_TRUE(loaded) << loaded.error().what;
  ASSERT_THAT(*loaded, ElementsAre(row));
  Rollout other(canary(), 3);
  ASSERT_TRUE(other.restore(loaded->front().state));
  EXPECT_EQ(other.state(), rollout.state());
  Rollout fewer(canary(), 2);  // the file of questions has changed
  ASSERT_TRUE(fewer.restore(loaded->front().state));
  EXPECT_EQ(fewer.state().probes, std::vector<ProbeResults>(2, "??"));
  RolloutConfig shorter = canary();
  shorter.kind = "experiment";
  shorter.arms = {{"a", 1, {}}, {"b", 1, {}}, {"c", 1, {}}};
  EXPECT_FALSE(Rollout(shorter, 0).restore(loaded->front().state));
}

TEST_F(RolloutStoreTest, EventsAreKeptTheNewestFirstAndNotForever) {
  const auto store = open();
  const StoredRollout row{"next", "{model: r1}", "x", Rollout(canary(), 0).state()};
  for (int i = 0; i < 150; ++i) ASSERT_TRUE(store->save(row, "event " + std::to_string(i), i));
  ASSERT_TRUE(store->save(row, "", 1'000));
  ASSERT_TRUE(store->save({"other", "", "y", row.state}, "its own", 5));
  const auto events = store->events("next");
  ASSERT_TRUE(events);
  EXPECT_EQ(events->size(), 100u);
  EXPECT_EQ(events->front(), (RolloutEvent{149, "event 149"}));
  ASSERT_TRUE(store->remove("next"));
  EXPECT_TRUE(store->events("next")->empty());
  EXPECT_EQ(store->load()->size(), 1u);
}

TEST(RolloutSamples, DamagedTextIsRefused) {
  RolloutState state;
  EXPECT_TRUE(read_samples("3 1 1\n5:2\n\n\n?01\n", &state));
  EXPECT_THAT(state.probes, ElementsAre("?01"));
  for (const char* damaged :
       {"3 1\n\n\n\n\n", "3 4 0\n\n\n\n\n", "3 1 3\n\n\n\n\n", "-3 0 0\n\n\n\n\n",
        "3 1 1\nx\n\n\n\n", "3 1 1\n\n\n\n2\n", "x", "1 0 0\n\n\n\n?\n1 0 0\n\n\n\n\n"}) {
    EXPECT_FALSE(read_samples(damaged, &state)) << damaged;
  }
}

}  // namespace
}  // namespace hadal::gateway
