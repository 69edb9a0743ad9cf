// Rollouts by the thousand, with invented users and answers: how often the machine is wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "hadal/base/rng.h"
#include "hadal/gateway/rollout.h"

namespace hadal::gateway {
namespace {

using std::chrono::minutes;

// How answers of one arm come out.
struct World {
  double errors = 0.005;
  double refusals = 0.01;
  double slowness = 1;  // times the first token, and the time between tokens
  double longer = 1;
};

struct Outcome {
  RolloutPhase phase = RolloutPhase::kRunning;
  int64_t hurt = 0;  // requests that went to the candidate
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : rng_(seed, 4) {}

  Outcome run(const RolloutConfig& config, const World& baseline, const World& candidate) {
    constexpr int kPerMinute = 100;
    Rollout rollout(config, 0);
    Outcome outcome;
    for (int minute = 0; minute < 100'000; ++minute) {
      const RolloutControl& control = rollout.state().control;
      if (control.phase != RolloutPhase::kRunning) break;
      const int64_t epoch = control.epoch;
      for (int i = 0; i < kPerMinute; ++i) {
        const size_t arm = rollout.arm_of(rng_.next());
        outcome.hurt += static_cast<int64_t>(arm);
        rollout.observe(epoch, arm, answer(arm == 0 ? baseline : candidate));
      }
      if (const auto change = rollout.advance(minutes(1))) rollout.apply(*change);
    }
    outcome.phase = rollout.state().control.phase;
    return outcome;
  }

 private:
  // Logarithms of times are spread about normally, as sums of four uniform numbers are.
  double spread(double sigma) {
    const double sum = rng_.uniform() + rng_.uniform() + rng_.uniform() + rng_.uniform();
    return std::exp(sigma * std::sqrt(3.0) * (sum - 2));
  }
  Observation answer(const World& world) {
    if (rng_.uniform() < world.errors) return {true};
    return {false, rng_.uniform() < world.refusals, 0.3 * world.slowness * spread(0.6),
            0.02 * world.slowness * spread(0.3),
            static_cast<int64_t>(900 * world.longer * spread(0.8))};
  }

  Rng rng_;
};

RolloutConfig config() {
  RolloutConfig config;
  config.name = "next";
  config.candidate.model = "r1-next";
  config.steps = {5, 25, 50};
  return config;
}

struct Tally {
  int back = 0, promoted = 0, paused = 0;
  int64_t hurt = 0;
};

// HADAL_ROLLOUTS: how many, for the figures in docs/rollouts.md.
int runs(int usual) {
  const char* asked = std::getenv("HADAL_ROLLOUTS");
  return asked != nullptr ? std::atoi(asked) : usual;
}

Tally simulate(const char* name, int count, const World& baseline, const World& candidate) {
  Tally tally;
  for (int seed = 0; seed < count; ++seed) {
    const Outcome outcome =
        Simulation(static_cast<uint64_t>(seed)).run(config(), baseline, candidate);
    tally.back += outcome.phase == RolloutPhase::kRolledBack;
    tally.promoted += outcome.phase == RolloutPhase::kPromoted;
    tally.paused += outcome.phase == RolloutPhase::kPaused;
    tally.hurt += outcome.hurt;
  }
  printf(
      "%-28s %6d rollouts: rolled back %6.2f %%, promoted %6.2f %%, paused %6.2f %%, requests "
      "at the candidate %.0f\n",
      name, count, 100.0 * tally.back / count, 100.0 * tally.promoted / count,
      100.0 * tally.paused / count, static_cast<double>(tally.hurt) / count);
  return tally;
}

TEST(RolloutSimulation, NoDifferenceIsHardlyEverRolledBackAndMostlyPromoted) {
  const int count = runs(150);
  const Tally tally = simulate("no difference", count, {}, {});
  EXPECT_LE(tally.back, 0.05 * count);
  EXPECT_GE(tally.promoted, 0.8 * count);
}

// The worst that still is no worse than the margins, in all metrics at once: where the stated
// probability is the tightest.
TEST(RolloutSimulation, AtTheMarginsIsRolledBackAsSeldomAsStated) {
  const int count = runs(150);
  const RolloutMargins margins;
  World at_margin;
  at_margin.errors += margins.errors;
  at_margin.refusals += margins.refusals;
  at_margin.slowness = 1 + margins.first_token;
  at_margin.longer = 1 + margins.length;
  const Tally tally = simulate("at every margin", count, {}, at_margin);
  EXPECT_LE(tally.back, 0.05 * count);
  EXPECT_LE(tally.promoted, 0.05 * count);  // nor is it fine
}

TEST(RolloutSimulation, RealRegressionsAreFound) {
  struct {
    const char* name;
    World candidate;
  } const kRegressions[] = {
      {"errors 0.5 to 5 %", {0.05, 0.01, 1, 1}},  {"errors 0.5 to 50 %", {0.5, 0.01, 1, 1}},
      {"refusals 1 to 8 %", {0.005, 0.08, 1, 1}}, {"40 % slower", {0.005, 0.01, 1.4, 1}},
      {"60 % longer", {0.005, 0.01, 1, 1.6}},     {"40 % shorter", {0.005, 0.01, 1, 0.6}}};
  for (const auto& regression : kRegressions) {
    const int count = runs(60);
    const Tally tally = simulate(regression.name, count, {}, regression.candidate);
    EXPECT_GE(tally.back, 0.95 * count) << regression.name;
    EXPECT_EQ(tally.promoted, 0) << regression.name;
  }
}

}  // namespace
}  // namespace hadal::gateway
