#include "hadal/gateway/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace hadal::gateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

BackendRules backend(const std::string& name, bool backup = false, int32_t max_in_flight = 100) {
  BackendRules rules;
  rules.name = name;
  rules.backup = backup;
  rules.max_in_flight = max_in_flight;
  rules.models = {"m"};
  return rules;
}

class FleetTest : public ::testing::Test {
 protected:
  void configure(std::vector<BackendRules> backends) { fleet_.configure(rules_, backends); }
  // The name of who is asked, "unknown", "down" or "full".
  std::string start(const std::vector<BackendId>& tried = {}) {
    const auto lease = fleet_.start(now_, {"m", 0, 10, &tried});
    if (!lease) {
      constexpr const char* kWords[] = {"unknown", "down", "full"};
      return kWords[static_cast<size_t>(lease.error())];
    }
    leases_.push_back(*lease);
    return fleet_.name(lease->backend);
  }
  void finish(Outcome outcome) {
    fleet_.finish(now_, leases_.back(), outcome);
    leases_.pop_back();
  }
  std::string ask(Outcome outcome) {
    std::string name = start();
    if (!leases_.empty()) finish(outcome);
    return name;
  }
  Condition condition(const std::string& name) {
    for (const Fleet::View& view : fleet_.view(now_)) {
      if (view.name == name) return view.condition;
    }
    ADD_FAILURE() << name;
    return Condition::kUp;
  }
  BackendId id(const std::string& name) { return *fleet_.find(name); }

  FleetRules rules_;
  Fleet fleet_{1};
  Nanos now_ = seconds(100);
  std::vector<Lease> leases_;
};

TEST_F(FleetTest, UnknownDownAndFullAreThreeThings) {
  configure({backend("a", false, 1)});
  EXPECT_EQ(start(), "a");
  EXPECT_EQ(start(), "full");
  finish(Outcome::kGood);
  fleet_.drain(id("a"), true);
  EXPECT_EQ(start(), "down");
  EXPECT_FALSE(fleet_.start(now_, {"other", 0, 1, nullptr}));
  EXPECT_EQ(fleet_.start(now_, {"other", 0, 1, nullptr}).error(), NoBackend::kUnknown);
  fleet_.drain(id("a"), false);
  EXPECT_EQ(start(), "a");
}

TEST_F(FleetTest, OnlyThoseThatAreNamedAreAsked) {
  configure({backend("a"), backend("b"), backend("spare", true)});
  const std::vector<BackendId> only = {id("b"), id("spare")}, none;
  Ask ask{"m", 0, 10, nullptr, &only};
  for (int i = 0; i < 5; ++i) EXPECT_EQ(fleet_.name(fleet_.start(now_, ask)->backend), "b");
  fleet_.drain(id("b"), true);
  EXPECT_EQ(fleet_.name(fleet_.start(now_, ask)->backend), "spare");
  fleet_.drain(id("spare"), true);
  EXPECT_EQ(fleet_.start(now_, ask).error(), NoBackend::kDown);
  ask.only = &none;
  EXPECT_EQ(fleet_.start(now_, ask).error(), NoBackend::kUnknown);
}

TEST_F(FleetTest, BackupsOnlyWhenTheOthersAreDownNotWhenTheyAreFull) {
  configure({backend("a", false, 1), backend("spare", true)});
  EXPECT_EQ(start(), "a");
  EXPECT_EQ(start(), "full");
  for (int i = 0; i < rules_.health.fall; ++i) fleet_.checked(id("a"), false);
  EXPECT_EQ(start(), "spare");
}

TEST_F(FleetTest, ARetryGoesElsewhereThenToTheBackupThenToTheSame) {
  configure({backend("a"), backend("b"), backend("spare", true)});
  const std::string first = start();
  const std::string second = start({id(first)});
  EXPECT_EQ((std::set<std::string>{first, second}), (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(start({id("a"), id("b")}), "spare");
  configure({backend("a")});
  EXPECT_EQ(start({id("a")}), "a");
}

TEST_F(FleetTest, ActiveChecksNeedSeveralInARowEachWay) {
  configure({backend("a")});
  fleet_.checked(id("a"), false);
  fleet_.checked(id("a"), false);
  fleet_.checked(id("a"), true);
  fleet_.checked(id("a"), false);
  fleet_.checked(id("a"), false);
  EXPECT_EQ(condition("a"), Condition::kUp);
  fleet_.checked(id("a"), false);
  EXPECT_EQ(condition("a"), Condition::kUnhealthy);
  fleet_.checked(id("a"), true);
  EXPECT_EQ(condition("a"), Condition::kUnhealthy);
  fleet_.checked(id("a"), true);
  EXPECT_EQ(condition("a"), Condition::kUp);
}

TEST_F(FleetTest, TheBreakerOpensProbesOnceAndCloses) {
  configure({backend("a")});
  for (int i = 0; i < rules_.breaker.failures; ++i) EXPECT_EQ(ask(Outcome::kFailed), "a");
  EXPECT_EQ(condition("a"), Condition::kOpen);
  EXPECT_EQ(start(), "down");
  EXPECT_EQ(fleet_.back_after(now_, "m"), rules_.breaker.open_for);
  now_ += rules_.breaker.open_for;
  EXPECT_EQ(condition("a"), Condition::kHalfOpen);
  EXPECT_EQ(start(), "a");     // the probe
  EXPECT_EQ(start(), "down");  // and no other with it
  finish(Outcome::kFailed);
  EXPECT_EQ(condition("a"), Condition::kOpen);
  now_ += rules_.breaker.open_for;
  EXPECT_EQ(condition("a"), Condition::kOpen);  // twice as long now
  now_ += rules_.breaker.open_for;
  EXPECT_EQ(start(), "a");
  finish(Outcome::kCancelled);  // told nothing: another may probe
  EXPECT_EQ(ask(Outcome::kGood), "a");
  EXPECT_EQ(condition("a"), Condition::kUp);
}

TEST_F(FleetTest, WhatBeganBeforeTheBreakerOpenedDoesNotCloseIt) {
  configure({backend("a")});
  start();  // a long stream
  for (int i = 0; i < rules_.breaker.failures; ++i) ask(Outcome::kFailed);
  now_ += rules_.breaker.open_for;
  EXPECT_EQ(condition("a"), Condition::kHalfOpen);
  finish(Outcome::kGood);
  EXPECT_EQ(condition("a"), Condition::kHalfOpen);
}

TEST_F(FleetTest, BusyAndCancelledAreNoFaults) {
  configure({backend("a")});
  for (int i = 0; i < 50; ++i) {
    ask(Outcome::kBusy);
    ask(Outcome::kCancelled);
  }
  EXPECT_EQ(condition("a"), Condition::kUp);
}

TEST_F(FleetTest, AnOutlierIsEjectedThoughItNeverFailsInARow) {
  rules_.strategy = Strategy::kRoundRobin;
  configure({backend("a"), backend("b")});
  for (int i = 0; i < 200 && condition("b") == Condition::kUp; ++i) {
    const std::string name = start();
    finish(name == "b" && i % 8 != 1 ? Outcome::kFailed : Outcome::kGood);
  }
  EXPECT_EQ(condition("b"), Condition::kEjected);
  EXPECT_EQ(condition("a"), Condition::kUp);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(Outcome::kGood), "a");
  now_ += rules_.outlier.eject_for;
  EXPECT_EQ(condition("b"), Condition::kUp);
}

TEST_F(FleetTest, NotMoreThanHalfAreEjected) {
  rules_.strategy = Strategy::kRoundRobin;
  rules_.breaker.failures = 0;
  configure({backend("a"), backend("b"), backend("c")});
  for (int i = 0; i < 500; ++i) ask(Outcome::kFailed);
  int ejected = 0;
  for (const auto& view : fleet_.view(now_)) ejected += view.condition == Condition::kEjected;
  EXPECT_EQ(ejected, 1);
}

TEST_F(FleetTest, RetriesHaveABudget) {
  rules_.retries = 2;
  rules_.retry_share = 0.1;
  rules_.retry_burst = 5;
  configure({backend("a")});
  EXPECT_FALSE(fleet_.take_retry(3));  // of one request
  int retries = 0;
  for (int i = 0; i < 1'000; ++i) {
    fleet_.on_request();
    retries += fleet_.take_retry(1);
    retries += fleet_.take_retry(2);
  }
  EXPECT_LE(retries, 1'000 * 0.1 + 5);
  EXPECT_GE(retries, 100);
}

TEST_F(FleetTest, AReloadKeepsWhatIsKnownAndDrainsWhatIsGone) {
  configure({backend("a", false, 1), backend("b")});
  for (int i = 0; i < rules_.health.fall; ++i) fleet_.checked(id("b"), false);
  EXPECT_EQ(start(), "a");
  const BackendId a = id("a");
  configure({backend("b"), backend("c")});
  EXPECT_EQ(condition("b"), Condition::kUnhealthy);
  EXPECT_EQ(condition("a"), Condition::kDraining);
  EXPECT_EQ(start(), "c");
  finish(Outcome::kGood);
  configure({backend("a", false, 1), backend("b")});  // and back, still with its request
  EXPECT_EQ(id("a"), a);
  EXPECT_EQ(start(), "full");
  configure({backend("b")});
  finish(Outcome::kGood);
  EXPECT_EQ(fleet_.find("a"), nullptr);
  EXPECT_EQ(fleet_.view(now_).size(), 1u);
}

TEST_F(FleetTest, WeightZeroGetsNothing) {
  auto none = backend("b");
  none.weight = 0;
  configure({backend("a"), none});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(Outcome::kGood), "a");
}

}  // namespace
}  // namespace hadal::gateway
