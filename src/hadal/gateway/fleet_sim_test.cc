// A fleet in invented time: replicas that crawl, die, flap and come back, clients that leave, an
// operator who reloads. What must hold holds at every step, whatever the seed. A failing seed is
// printed; `gateway_test --gtest_filter=FleetSimulation.* --gtest_random_seed=SEED` replays it.
#include <gtest/gtest.h>

#include <functional>

#include "hadal/base/rng.h"
#include "hadal/base/testing/event_queue.h"
#include "hadal/gateway/fleet.h"

namespace hadal::gateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class World {
 public:
  explicit World(uint64_t seed) : rng_(seed), fleet_(seed) {
    rules_.strategy = static_cast<Strategy>(below(4));
    rules_.load_bound = 1.0 + 0.5 * rng_.uniform();
    rules_.retries = static_cast<int32_t>(below(4));
    rules_.retry_share = 0.05 + 0.3 * rng_.uniform();
    const size_t count = 1 + below(6);
    for (size_t i = 0; i < count; ++i) {
      BackendRules rules;
      rules.name = "r" + std::to_string(i);
      rules.weight = 1 + static_cast<int32_t>(below(4));
      rules.backup = i > 0 && below(4) == 0;
      rules.max_in_flight = 1 + static_cast<int32_t>(below(20));
      rules.models = {"m"};
      replicas_.push_back({rules, 1.0});
    }
    reconfigure();
  }

  void run() {
    const Nanos end = seconds(120);
    at(Nanos(0), [this] { arrive(); });
    at(random_time(5), [this] { change_fate(); });
    at(random_time(2), [this] { check_all(); });
    at(random_time(30), [this] { reload(); });
    while (!events_.empty() && events_.next() < end && !::testing::Test::HasFailure()) {
      events_.run_next();
      hold();
    }
    stopping_ = true;
    for (auto& replica : replicas_) replica.speed = 1.0;
    while (!events_.empty() && !::testing::Test::HasFailure()) {
      events_.run_next();
    }
    for (const auto& view : fleet_.view(now())) {
      EXPECT_EQ(view.in_flight, 0) << view.name;
      EXPECT_EQ(view.tokens, 0) << view.name;
    }
    EXPECT_EQ(open_, 0);
    EXPECT_LE(retries_, static_cast<double>(requests_) * rules_.retry_share + rules_.retry_burst);
    EXPECT_GT(requests_, 100);
  }
  int64_t requests() const { return requests_; }

 private:
  struct Replica {
    BackendRules rules;
    double speed;  // 0: dead; below 0: answers with errors
    bool configured = true;
  };
  struct Request {
    std::vector<BackendId> tried;
    uint64_t conversation;
    int64_t tokens;
    int32_t attempts = 0;
  };

  uint64_t below(uint64_t bound) { return rng_.next() % bound; }
  Nanos random_time(double mean_seconds) {
    return Nanos(static_cast<int64_t>(2e9 * mean_seconds * rng_.uniform()));
  }
  void at(Nanos after, std::function<void()> run) { events_.at(after, std::move(run)); }
  Nanos now() const { return events_.now(); }

  void reconfigure() {
    std::vector<BackendRules> wanted;
    for (const Replica& replica : replicas_) {
      if (replica.configured) wanted.push_back(replica.rules);
    }
    fleet_.configure(rules_, wanted);
  }
  void reload() {
    if (stopping_) return;
    Replica& replica = replicas_[below(replicas_.size())];
    replica.configured = !replica.configured;
    replica.rules.weight = 1 + static_cast<int32_t>(below(4));
    bool any = false;
    for (const Replica& one : replicas_) any |= one.configured;
    if (!any) replica.configured = true;
    reconfigure();
    at(random_time(30), [this] { reload(); });
  }
  void change_fate() {
    if (stopping_) return;
    constexpr double kFates[] = {1.0, 1.0, 1.0, 0.1, 0.0, -1.0};
    replicas_[below(replicas_.size())].speed = kFates[below(6)];
    at(random_time(5), [this] { change_fate(); });
  }
  void check_all() {
    if (stopping_) return;
    for (const Replica& replica : replicas_) {
      if (const BackendId* id = fleet_.find(replica.rules.name)) {
        fleet_.checked(*id, replica.speed != 0);
      }
    }
    at(seconds(1), [this] { check_all(); });
  }
  void arrive() {
    if (stopping_) return;
    ++requests_;
    ++open_;
    fleet_.on_request();
    attempt({{}, below(50), 1 + static_cast<int64_t>(below(1'000)), 0});
    at(random_time(0.05), [this] { arrive(); });
  }
  void attempt(Request request) {
    const auto lease =
        fleet_.start(now(), {"m", request.conversation, request.tokens, &request.tried});
    if (!lease) {
      --open_;
      // Never "down" while somebody healthy and configured has no mark against it.
      for (const auto& view : fleet_.view(now())) {
        EXPECT_TRUE(lease.error() != NoBackend::kDown || view.condition != Condition::kUp);
      }
      return;
    }
    ++request.attempts;
    const Replica& replica = replica_of(lease->backend);
    const double speed = replica.speed;
    const bool leaves = below(20) == 0;
    Nanos takes = milliseconds(1);  // a refusal
    if (speed > 0)
      takes = Nanos(static_cast<int64_t>(1e6 * static_cast<double>(request.tokens) / speed));
    if (leaves) takes = std::min(takes, random_time(0.2));
    const Outcome outcome = leaves      ? Outcome::kCancelled
                            : speed > 0 ? (below(50) == 0 ? Outcome::kBusy : Outcome::kGood)
                                        : Outcome::kFailed;
    at(takes, [this, lease = *lease, outcome, request]() mutable {
      fleet_.finish(now(), lease, outcome);
      const bool again = outcome == Outcome::kFailed || outcome == Outcome::kBusy;
      request.tried.push_back(lease.backend);
      if (again && fleet_.take_retry(request.attempts)) {
        EXPECT_LE(request.attempts, rules_.retries);
        ++retries_;
        return attempt(std::move(request));
      }
      --open_;
    });
  }
  const Replica& replica_of(BackendId id) {
    for (const Replica& replica : replicas_) {
      if (replica.rules.name == fleet_.name(id)) return replica;
    }
    return replicas_.front();
  }
  // At every moment.
  void hold() {
    int64_t in_flight = 0;
    for (const auto& view : fleet_.view(now())) {
      const Replica* replica = nullptr;
      for (const Replica& one : replicas_) {
        if (one.rules.name == view.name) replica = &one;
      }
      ASSERT_NE(replica, nullptr);
      ASSERT_LE(view.in_flight, replica->rules.max_in_flight) << view.name;
      ASSERT_GE(view.in_flight, 0);
      ASSERT_GE(view.tokens, view.in_flight);
      in_flight += view.in_flight;
    }
    ASSERT_EQ(in_flight, open_);
  }

  Rng rng_;
  FleetRules rules_;
  Fleet fleet_;
  std::vector<Replica> replicas_;
  hadal::testing::EventQueue events_;
  int64_t requests_ = 0;
  int64_t retries_ = 0;
  int64_t open_ = 0;
  bool stopping_ = false;
};

TEST(FleetSimulation, WhatMustHoldHoldsForEverySeed) {
  const int only = GTEST_FLAG_GET(random_seed);
  int64_t requests = 0;
  for (int seed = only > 0 ? only : 1; seed <= (only > 0 ? only : 150); ++seed) {
    SCOPED_TRACE("--gtest_random_seed=" + std::to_string(seed));
    World world(static_cast<uint64_t>(seed));
    world.run();
    requests += world.requests();
    if (HasFailure()) return;
  }
  RecordProperty("requests", static_cast<int>(requests));
}

// "0" to "3", which all run "m".
std::vector<BackendRules> four_backends() {
  std::vector<BackendRules> backends(4);
  for (size_t i = 0; i < 4; ++i) {
    backends[i].name = std::to_string(i);
    backends[i].models = {"m"};
  }
  return backends;
}

// One of four replicas refuses everything, from the first second on.
TEST(FleetSimulation, ADeadReplicaCostsClientsNothing) {
  for (const Strategy strategy :
       {Strategy::kRoundRobin, Strategy::kLeastTokens, Strategy::kTwoChoices, Strategy::kPrefix}) {
    FleetRules rules;
    rules.strategy = strategy;
    Fleet fleet(1);
    fleet.configure(rules, four_backends());
    const BackendId dead = *fleet.find("2");
    int failed = 0, wasted = 0;
    Nanos now{0};
    for (uint64_t i = 0; i < 2'000; ++i, now += milliseconds(10)) {
      fleet.on_request();
      std::vector<BackendId> tried;
      bool good = false;
      for (int32_t attempts = 1;; ++attempts) {
        const auto lease = fleet.start(now, {"m", i, 1, &tried});
        ASSERT_TRUE(lease);
        good = lease->backend != dead;
        wasted += !good;
        fleet.finish(now, *lease, good ? Outcome::kGood : Outcome::kFailed);
        if (good || !fleet.take_retry(attempts)) break;
        tried.push_back(lease->backend);
      }
      failed += !good;
    }
    EXPECT_EQ(failed, 0);
    EXPECT_LT(wasted, 20);  // five until the breaker opens, then probes in 20 seconds
  }
}

// Conversations of many turns stay where their cache is while nothing fails.
TEST(FleetSimulation, ConversationsStayWhereTheirCacheIs) {
  FleetRules rules;
  rules.strategy = Strategy::kPrefix;
  Fleet fleet(1);
  fleet.configure(rules, four_backends());
  const Rng rng(5);
  std::map<uint64_t, BackendId> home;
  std::vector<Lease> running;
  int turns = 0, returned = 0;
  for (uint64_t i = 0; i < 10'000; ++i) {
    const uint64_t conversation = rng.at(2 * i) % 200;
    const auto lease = fleet.start(Nanos(i), {"m", conversation, 1, nullptr});
    ASSERT_TRUE(lease);
    if (const auto known = home.find(conversation); known != home.end()) {
      ++turns;
      returned += known->second == lease->backend;
    }
    home[conversation] = lease->backend;
    running.push_back(*lease);
    if (running.size() > 40) {
      const size_t done = rng.at(2 * i + 1) % running.size();
      fleet.finish(Nanos(i), running[done], Outcome::kGood);
      running.erase(running.begin() + static_cast<ptrdiff_t>(done));
    }
  }
  EXPECT_GT(returned, turns * 8 / 10) << returned << " of " << turns;
}

}  // namespace
}  // namespace hadal::gateway
