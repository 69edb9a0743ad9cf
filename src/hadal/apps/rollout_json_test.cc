#include "hadal/apps/rollout_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hadal::apps {
namespace {

using ::testing::HasSubstr;

gateway::RolloutView view() {
  gateway::RolloutView view;
  view.config.name = "next";
  view.config.model = "r1";
  view.config.candidate = {"r2", {"one"}};
  view.arms = {"baseline", "candidate"};
  view.shares = {0.95, 0.05};
  view.state.control.phase = gateway::RolloutPhase::kRunning;
  view.state.control.step = 1;
  view.state.control.reason = "a \"quoted\" reason";
  view.state.arms.resize(2);
  for (int i = 0; i < 100; ++i) view.state.arms[0].add({i < 3, false, 0.25, 0.02, 400});
  view.state.probes = {"1?", "10"};
  // Smaller than any normal number.
  view.verdict.compared = {{gateway::Metric::kErrors, 0.03, 0, 1, 1e-320}};
  view.verdict.reason = "not enough answers";
  view.events = {{1'700'000'000, "began"}};
  return view;
}

TEST(RolloutJson, IsReadBackForPeople) {
  const auto text = rollout_text(rollout_json(view()));
  ASSERT_TRUE(text) << text.error().what;
  EXPECT_THAT(*text, HasSubstr("next: canary of 'r1', running (a \"quoted\" reason)\nstep 2 of 4"));
  EXPECT_THAT(
      *text,
      HasSubstr("baseline, 95 % of users, 100 answers\n  errors          3.00 % (0.62 to 8.52)"));
  EXPECT_THAT(*text, HasSubstr("  first token     2"));
  EXPECT_THAT(*text, HasSubstr("candidate, 5 % of users, 0 answers"));
  EXPECT_THAT(*text, HasSubstr("1 of 2 passed, 2 in all"));
  EXPECT_THAT(*text, HasSubstr("so far: not enough answers\n2023-11-14T22:13:20Z  began\n"));
}

TEST(RolloutJson, List) {
  const auto text = rollouts_text(rollouts_json({view(), view()}));
  ASSERT_TRUE(text) << text.error().what;
  EXPECT_THAT(
      *text,
      HasSubstr(
          "next                  canary       r1                running       2/4       5 %"));
  EXPECT_TRUE(rollouts_text(rollouts_json({})));
}

TEST(RolloutJson, WhatIsSomethingElseIsRefused) {
  for (const char* other : {"", "[]", "{}", R"({"data":[{}]})", "<html>"}) {
    EXPECT_FALSE(rollouts_text(other)) << other;
    EXPECT_FALSE(rollout_text(other)) << other;
  }
}

}  // namespace
}  // namespace hadal::apps
