// The bound on a step's time, against machines of invented speed: noise, stolen time slices, a
// first step that reads the weights from disk, costs that the model of them cannot express.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "hadal/base/rng.h"
#include "hadal/sched/scheduler.h"

namespace hadal::sched {
namespace {

// Seconds. `panel_rows`: from so many rows on, further ones cost a third less.
struct Machine {
  const char* name;
  double step, experts, expert_share, row, decode_key, prompt_key;
  int32_t panel_rows = 1 << 20;
  double noise = 0.08;
  double slowdown = 1.0;

  double seconds(const StepShape& s) const {
    const double touched = 1.0 - std::pow(1.0 - expert_share, s.rows());
    const double rows = std::min(s.rows(), panel_rows) + std::max(0, s.rows() - panel_rows) / 1.5;
    const double keys = decode_key * static_cast<double>(s.decode_keys) +
                        prompt_key * static_cast<double>(s.prompt_keys);
    return slowdown * (step + experts * touched + row * rows + keys);
  }
  // As a clock would see it: 1 step in 50 loses the core for a while.
  double measured(const StepShape& s, Rng& rng) const {
    const auto uniform = [&] { return static_cast<double>(rng.next() % 1'000'003) / 1'000'003; };
    const double bell = uniform() + uniform() + uniform() - 1.5;  // deviation one half
    const double stolen = rng.next() % 50 == 0 ? 4.0 : 1.0;
    return seconds(s) * std::exp(2.0 * noise * bell) * stolen;
  }
};

const Machine kMachines[] = {
    {"experts on a laptop", 0.022, 0.245, 6.0 / 64, 0.0056, 1.0e-6, 0.5e-6, 24},
    {"experts on a server", 0.004, 0.030, 8.0 / 256, 0.0007, 0.1e-6, 0.05e-6, 64},
    {"dense and small", 0.030, 0.0, 1.0, 0.0021, 0.4e-6, 0.3e-6, 16},
    {"dense and slow", 0.900, 0.0, 1.0, 0.0600, 4.0e-6, 3.0e-6},
    {"compute is free", 0.050, 0.0, 1.0, 0.00001, 0.0, 0.0},
    {"tiny", 0.0001, 0.0, 1.0, 0.00002, 1e-9, 1e-9},
};

struct Round {
  Plan plan;           // without its spans
  double seconds = 0;  // noise-free
  double least = 0;    // the step with only the prompt rows that are always allowed
  bool mixed() const { return plan.shape.decode_rows > 0 && plan.shape.prompt_rows > 0; }
  // The bound on time, not the lack of prompts or the bound on rows, made the step as it is.
  bool bounded() const {
    return mixed() && plan.shape.prompt_rows == plan.prompt_rows_most && plan.rows < 512;
  }
};

// A scheduler on a machine. Clients come back with their next request when an answer is complete.
class World {
 public:
  World(Machine machine, double target, uint64_t seed, SchedulerOptions options = {})
      : machine_(machine),
        rng_(seed),
        pool_({.blocks = 4096, .block_tokens = 32}),
        scheduler_(with_bounds(options, machine, target), pool_) {}

  void submit(int32_t prompt, int32_t answer) {
    const uint64_t id = next_++;
    std::vector<int32_t> tokens(static_cast<size_t>(prompt));
    for (auto& token : tokens) token = static_cast<int32_t>(rng_.next() % 100'000);
    answers_[id] = answer;
    const auto status = scheduler_.submit(
        {.id = id, .tokens = std::move(tokens), .tokens_max = prompt + answer + 1}, now_);
    ASSERT_TRUE(status) << status.error().what;
  }

  Round round(double stretch = 1.0) {
    Round round{scheduler_.step(now_)};
    Plan& plan = round.plan;
    round.seconds = machine_.seconds(plan.shape);
    StepShape least = plan.shape;
    least.prompt_rows = std::min(plan.shape.prompt_rows, plan.shape.decode_rows);
    least.prompt_keys = plan.shape.prompt_keys / plan.shape.rows() * least.prompt_rows;
    round.least = machine_.seconds(least);
    const auto elapsed = std::chrono::duration_cast<Nanos>(
        std::chrono::duration<double>(stretch * machine_.measured(plan.shape, rng_)));
    scheduler_.advance();
    for (Segment& segment : plan.segments) {
      if (segment.samples) {
        if (--answers_.at(segment.id) == 0) {
          scheduler_.remove(segment.id);
          ++ended_;
        } else {
          scheduler_.append(segment.id, 7);
        }
      }
      segment.tokens = {};
      segment.blocks = {};
    }
    scheduler_.took(elapsed);
    now_ += elapsed;
    return round;
  }

  Machine& machine() { return machine_; }
  Scheduler& scheduler() { return scheduler_; }
  double seconds() const { return to_seconds(now_); }
  int ended() const { return ended_; }

 private:
  static SchedulerOptions with_bounds(SchedulerOptions options, const Machine& machine,
                                      double target) {
    options.context = 32'768;
    options.prefill_rows_with_decode = options.step_rows_max;
    options.target_itl = Nanos(static_cast<int64_t>(target * 1e9));
    options.expert_share = machine.expert_share;
    return options;
  }

  Machine machine_;
  Rng rng_;
  kv::Pool pool_;
  Scheduler scheduler_;
  std::map<uint64_t, int32_t> answers_;
  Nanos now_{0};
  uint64_t next_ = 1;
  int ended_ = 0;
};

class StepBudget : public testing::TestWithParam<Machine> {};
INSTANTIATE_TEST_SUITE_P(Machines, StepBudget, testing::ValuesIn(kMachines), [](const auto& info) {
  std::string name = info.param.name;
  std::erase(name, ' ');
  return name;
});

double share(const std::vector<double>& values, double above) {
  const auto more = std::ranges::count_if(values, [above](double v) { return v > above; });
  return static_cast<double>(more) / static_cast<double>(values.size());
}
double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Streams of any number and a long prompt at a time: no step takes much longer than it may, and
// steps use the time that they may take.
TEST_P(StepBudget, MixedStepsTakeWhatTheyMayAndNoMore) {
  for (const double target : {0.02, 0.1, 0.5, 3.0}) {
    for (const int streams : {1, 4, 16, 48}) {
      SCOPED_TRACE(fmt::format("target {} s, {} streams", target, streams));
      World world(GetParam(), target, static_cast<uint64_t>(streams));
      for (int i = 0; i < streams; ++i) world.submit(20, 10'000);
      std::vector<double> of_allowed;  // time taken over time allowed
      std::vector<double> of_bounded;
      for (int i = 0; i < 400; ++i) {
        if (i % 20 == 3) world.submit(3'000, 1);
        const Round round = world.round(i == 0 ? 15.0 : 1.0);  // weights come from the disk
        if (!round.mixed() || i < 20) continue;
        of_allowed.push_back(round.seconds / std::max(target, round.least));
        if (round.bounded()) of_bounded.push_back(of_allowed.back());
      }
      ASSERT_GT(of_allowed.size(), 50u);
      EXPECT_LT(share(of_allowed, 1.3), 0.05) << "too slow, mean " << mean(of_allowed);
      if (of_bounded.size() > 10) {
        EXPECT_GT(mean(of_bounded), 0.5);
      }
    }
  }
}

TEST_P(StepBudget, NobodyGeneratesThenChunksAreFull) {
  World world(GetParam(), 0.001, 1);
  world.submit(2'000, 2);
  for (const int32_t rows : {512, 512, 512, 464, 1}) EXPECT_EQ(world.round().plan.rows, rows);
}

// The whole of a busy hour takes little longer than with chunks of any size.
TEST_P(StepBudget, ThroughputDoesNotCollapse) {
  const auto seconds_for = [&](double target) {
    World world(GetParam(), target, 5);
    int submitted = 0;
    const auto more = [&] { world.submit(++submitted % 8 == 0 ? 2'000 : 60, 32); };
    for (int i = 0; i < 16; ++i) more();
    for (int ended = 0; ended < 150;) {
      world.round();
      for (; ended < world.ended(); ++ended) more();
    }
    return world.seconds();
  };
  const double unbounded = seconds_for(0.0);
  const double decode = GetParam().seconds({.decode_rows = 16, .decode_keys = 16 * 100});
  for (const double times : {1.5, 3.0, 10.0}) {
    EXPECT_LT(seconds_for(times * decode), 1.4 * unbounded) << times << " decode steps";
  }
}

// Half the cores go to somebody else, and come back.
TEST_P(StepBudget, FollowsAMachineThatChanges) {
  const double target = 0.3;
  World world(GetParam(), target, 9);
  for (int i = 0; i < 4; ++i) world.submit(20, 10'000);
  for (const double slowdown : {1.0, 3.0, 1.0, 0.5}) {
    SCOPED_TRACE(slowdown);
    world.machine().slowdown = slowdown;
    std::vector<double> of_allowed;
    std::vector<double> of_bounded;
    for (int i = 0; i < 60; ++i) {
      if (i % 10 == 0) world.submit(3'000, 1);
      const Round round = world.round();
      if (!round.mixed() || i < 20) continue;
      of_allowed.push_back(round.seconds / std::max(target, round.least));
      if (round.bounded()) of_bounded.push_back(of_allowed.back());
    }
    EXPECT_LT(share(of_allowed, 1.35), 0.1) << "too slow";
    if (of_bounded.size() > 10) {
      EXPECT_GT(mean(of_bounded), 0.5);
    }
  }
}

// A neighbour that steals half of one step in fifty is no reason to halve the chunks.
TEST(StepCost, OneDisturbedStepChangesLittle) {
  const Machine machine = kMachines[0];
  StepCost cost(machine.expert_share);
  EXPECT_FALSE(cost.known());
  EXPECT_EQ(cost.predict({.decode_rows = 5}), 0.0);
  Rng rng(3);
  const auto shape = [&] {
    const auto decode = static_cast<int32_t>(rng.next() % 16);
    const auto prompt = static_cast<int32_t>(1 + rng.next() % 64);
    return StepShape{decode, prompt, decode * 100, prompt * 50};
  };
  for (int i = 0; i < 100; ++i) {
    const StepShape s = shape();
    cost.observe(s, machine.seconds(s) * (0.95 + 0.001 * static_cast<double>(rng.next() % 100)));
  }
  const StepShape probe{8, 40, 800, 2'000};
  const double before = cost.predict(probe);
  EXPECT_NEAR(before, machine.seconds(probe), 0.15 * machine.seconds(probe));
  cost.observe(probe, 50.0 * before);
  EXPECT_NEAR(cost.predict(probe), before, 0.35 * before);
  for (const double term : cost.terms()) EXPECT_GE(term, 0.0);
}

// Terms that a long quiet time does not exercise keep their values.
TEST(StepCost, AnHourOfOneStreamForgetsNothing) {
  const Machine machine = kMachines[0];
  StepCost cost(machine.expert_share);
  Rng rng(4);
  for (int i = 0; i < 60; ++i) {
    const StepShape s{i % 16, 8 * (1 + i % 12), 200 * (i % 16), 2'000};
    cost.observe(s, machine.measured(s, rng));
  }
  const StepShape probe{8, 64, 1'600, 5'000};
  EXPECT_NEAR(cost.predict(probe), machine.seconds(probe), 0.25 * machine.seconds(probe));
  for (int i = 0; i < 20'000; ++i) {
    const StepShape s{1, 0, 300 + i % 1'000, 0};
    cost.observe(s, machine.measured(s, rng));
  }
  EXPECT_NEAR(cost.predict(probe), machine.seconds(probe), 0.5 * machine.seconds(probe));
}

}  // namespace
}  // namespace hadal::sched
