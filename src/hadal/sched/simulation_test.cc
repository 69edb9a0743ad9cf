// Thousands of random lives of a scheduler against a model whose "cache" is checked slot by slot: a
// token is a hash of what the block tables really lead to, so a wrong table, a lost row or a block
// given to two shows as a wrong answer.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "hadal/base/rng.h"
#include "hadal/sched/scheduler.h"

namespace hadal::sched {
namespace {

constexpr int32_t kVocabulary = 3;  // small, so that prefixes meet

uint64_t mix(uint64_t state, uint64_t value) { return Rng(state, value).at(0); }

struct Request {
  std::string scope;
  std::vector<int32_t> prompt;
  int32_t answer = 0;
  int32_t priority = 0;
  bool prompt_logits = false;
  int cancel_at = -1;  // step
  std::vector<int32_t> out;
  bool done = false;
};

// What the model keeps for each position of `tokens`: all of the past.
std::vector<uint64_t> entries_of(const std::string& scope, std::span<const int32_t> tokens) {
  uint64_t state = std::hash<std::string>{}(scope);
  std::vector<uint64_t> entries;
  for (const int32_t token : tokens) {
    state = mix(state, static_cast<uint64_t>(token));
    entries.push_back(state);
  }
  return entries;
}

int32_t next_token(std::span<const uint64_t> entries) {
  uint64_t all = 0;
  for (const uint64_t entry : entries) all = mix(all, entry);
  return static_cast<int32_t>(all % kVocabulary);
}

std::vector<int32_t> answer_alone(const Request& request) {
  std::vector<int32_t> tokens = request.prompt;
  while (static_cast<int32_t>(tokens.size() - request.prompt.size()) < request.answer) {
    tokens.push_back(next_token(entries_of(request.scope, tokens)));
  }
  return {tokens.begin() + static_cast<ptrdiff_t>(request.prompt.size()), tokens.end()};
}

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : rng_(seed) {
    const int32_t block_tokens = 1 + below(5);
    const int32_t blocks = 4 + below(40);
    options_.context = 2 + below(block_tokens * blocks * 2);
    options_.running_max = 1 + below(8);
    options_.queue_max = 1 + below(12);
    options_.step_rows_max = options_.running_max + below(24);
    options_.prefill_rows_with_decode = 1 + below(8);
    options_.step_logits_max = options_.running_max + below(8);
    options_.target_itl = std::chrono::milliseconds(below(2) * below(40));
    options_.patience = std::chrono::seconds(below(2) * (1 + below(50)));
    const bool prefix_cache = below(8) != 0;
    pool_ = std::make_unique<kv::Pool>(kv::PoolOptions{blocks, block_tokens, prefix_cache});
    Scheduler::CopyBlock copy;
    if (below(3) != 0) {
      copy = [this, block_tokens](kv::BlockId from, kv::BlockId to) {
        ASSERT_NE(from, to);
        std::copy_n(memory_.begin() + from * block_tokens, block_tokens,
                    memory_.begin() + to * block_tokens);
        ++copies_;
      };
    }
    scheduler_ = std::make_unique<Scheduler>(options_, *pool_, std::move(copy));
    memory_.resize(static_cast<size_t>(blocks * block_tokens));
    to_submit_ = 1 + below(40);
    busy_ = 1 + below(4);
  }

  void run() {
    uint64_t rows = 0;
    int step = 0;
    for (; to_submit_ > 0 || !scheduler_->idle(); ++step) {
      ASSERT_LT(step, 50'000) << "does not end";
      while (to_submit_ > 0 && below(busy_) == 0) submit(step);
      cancel(step);
      generating_ = generating();
      const Plan& plan = scheduler_->step(std::chrono::seconds(step));
      check(plan);
      if (testing::Test::HasFatalFailure()) return;
      rows += static_cast<uint64_t>(plan.rows);
      execute(plan);
      scheduler_->took(std::chrono::microseconds(below(5) * below(20'000)));
      if (testing::Test::HasFatalFailure()) return;
      ASSERT_EQ(scheduler_->audit(), "");
    }
    ASSERT_EQ(pool_->available_blocks(), pool_->blocks());
    for (const auto& [id, request] : requests_) {
      ASSERT_TRUE(request.done) << "request " << id << " was lost";
      if (request.cancel_at >= 0) continue;
      ASSERT_EQ(request.out, answer_alone(request)) << "request " << id;
    }
  }

  int preemptions() const { return preemptions_; }
  int reused() const { return reused_; }
  int ended() const { return ended_; }
  int copies() const { return copies_; }
  int accepted() const { return accepted_; }

 private:
  int32_t below(int32_t bound) { return static_cast<int32_t>(rng_.next() % bound); }

  void submit(int step) {
    --to_submit_;
    Request request;
    request.scope = below(4) == 0 ? "b" : "";
    const int32_t length = 1 + below(below(4) == 0 ? 80 : 12);
    const bool plain = below(3) == 0;
    for (int32_t i = 0; i < length; ++i) request.prompt.push_back(plain ? 0 : below(kVocabulary));
    request.answer = 1 + below(30);
    request.priority = below(3) - 1;
    request.prompt_logits = below(10) == 0;
    if (below(6) == 0) request.cancel_at = step + below(20);
    const uint64_t id = next_id_++;
    const auto status = scheduler_->submit({.id = id,
                                            .tokens = request.prompt,
                                            .tokens_max = length + request.answer,
                                            .priority = request.priority,
                                            .scope = request.scope,
                                            .prompt_logits = request.prompt_logits},
                                           std::chrono::seconds(step));
    if (status) {
      requests_[id] = std::move(request);
      return;
    }
    const int32_t positions = length + request.answer - 1;
    const bool fits =
        positions + 1 <= options_.context && pool_->blocks_for(positions) <= pool_->blocks();
    ASSERT_EQ(status.error().code, fits ? Code::kExhausted : Code::kTooLarge);
    ASSERT_TRUE(!fits || scheduler_->queued() == options_.queue_max);
  }
  void cancel(int step) {
    for (auto& [id, request] : requests_) {
      if (request.done || request.cancel_at < 0 || step < request.cancel_at) continue;
      ASSERT_TRUE(scheduler_->remove(id));
      request.done = true;
      running_.erase(id);
    }
  }

  // Those that lack one row: they ran to the end of their tokens in the last step.
  std::vector<uint64_t> generating() const {
    std::vector<uint64_t> ids;
    for (const auto& [id, lacks] : running_) {
      if (lacks == 1) ids.push_back(id);
    }
    return ids;
  }

  void check(const Plan& plan) {
    std::map<uint64_t, int32_t> rows;
    int32_t all = 0, logits = 0, prompt_rows = 0, all_guesses = 0;
    for (const Segment& segment : plan.segments) {
      ASSERT_TRUE(rows.emplace(segment.id, segment.rows).second) << "twice in a step";
      ASSERT_GE(segment.rows, 1);
      const auto guesses = static_cast<int32_t>(segment.guesses.size());
      const int32_t known = segment.rows - guesses;
      const auto end = static_cast<size_t>(segment.first_position + known);
      ASSERT_GE(known, 1);
      ASSERT_LE(end, segment.tokens.size());
      ASSERT_EQ(segment.samples, end == segment.tokens.size());
      ASSERT_LE(end + segment.guesses.size(), segment.blocks.size() * pool_->block_tokens());
      ASSERT_TRUE(guesses == 0 || (segment.samples && segment.logits > guesses));
      const Request& request = requests_.at(segment.id);
      ASSERT_FALSE(request.done);
      ASSERT_GE(segment.logits, segment.samples ? 1 : 0);
      all_guesses += guesses;
      all += segment.rows;
      logits += segment.logits;
      if (known > 1 || !segment.samples) prompt_rows += known;
    }
    ASSERT_EQ(all_guesses, plan.guesses);
    ASSERT_EQ(all, plan.rows);
    ASSERT_EQ(logits, plan.logits);
    ASSERT_LE(plan.rows, options_.step_rows_max);
    ASSERT_LE(plan.logits, options_.step_logits_max);
    int32_t kept = 0;
    for (const uint64_t id : generating_) kept += static_cast<int32_t>(rows.count(id));
    ASSERT_GE(kept + plan.preempted, static_cast<int32_t>(generating_.size()))
        << "a generating sequence missed a step";
    for (const uint64_t id : generating_) {
      if (!rows.contains(id)) running_.erase(id);  // pre-empted
    }
    if (kept > 0) {
      ASSERT_LE(prompt_rows, options_.prefill_rows_with_decode);
    }
    ASSERT_TRUE(plan.rows > 0 || scheduler_->idle());
    preemptions_ += plan.preempted;
  }

  void execute(const Plan& plan) {
    const int32_t block_tokens = pool_->block_tokens();
    std::map<uint64_t, std::vector<int32_t>> sampled;
    const auto slot = [&](const Segment& segment, int32_t position) -> uint64_t& {
      const auto block = segment.blocks[static_cast<size_t>(position / block_tokens)];
      return memory_[static_cast<size_t>(block * block_tokens + position % block_tokens)];
    };
    for (const Segment& segment : plan.segments) {
      std::vector<int32_t> tokens(segment.tokens.begin(), segment.tokens.end());
      tokens.insert(tokens.end(), segment.guesses.begin(), segment.guesses.end());
      const auto entries = entries_of(requests_.at(segment.id).scope, tokens);
      const int32_t end = segment.first_position + segment.rows;
      for (int32_t p = segment.first_position; p < end; ++p) {
        slot(segment, p) = entries[static_cast<size_t>(p)];
      }
    }
    for (const Segment& segment : plan.segments) {
      const auto guesses = static_cast<int32_t>(segment.guesses.size());
      const int32_t end = segment.first_position + segment.rows - guesses;
      std::vector<uint64_t> seen;
      for (int32_t p = 0; p < end; ++p) seen.push_back(slot(segment, p));
      for (int32_t g = 0; segment.samples && g <= guesses; ++g) {
        std::vector<int32_t>& tokens = sampled[segment.id];
        tokens.push_back(next_token(seen));
        if (g == guesses || tokens.back() != segment.guesses[static_cast<size_t>(g)]) break;
        seen.push_back(slot(segment, end + g));
      }
      running_[segment.id] = static_cast<int32_t>(segment.tokens.size()) - end;
      reused_ += segment.samples && requests_.at(segment.id).out.empty() ? segment.reused : 0;
    }
    scheduler_->advance();
    for (const auto& [id, tokens] : sampled) take(id, tokens);
  }

  // All but the last of `tokens` were guessed. An answer may end in their midst.
  void take(uint64_t id, const std::vector<int32_t>& tokens) {
    Request& request = requests_.at(id);
    const auto room = static_cast<size_t>(request.answer) - request.out.size();
    const size_t count = std::min(tokens.size(), room);
    request.out.insert(request.out.end(), tokens.begin(), tokens.begin() + count);
    scheduler_->accept(id, static_cast<int32_t>(count) - 1);
    accepted_ += static_cast<int>(count) - 1;
    if (static_cast<int32_t>(request.out.size()) == request.answer) {
      ASSERT_TRUE(scheduler_->remove(id));
      request.done = true;
      running_.erase(id);
      ++ended_;
      return;
    }
    scheduler_->append(id, tokens[count - 1]);
    running_[id] = 1;
    if (below(2) == 0) scheduler_->guess(id, guesses_for(request));
  }

  // What will come, wrong from somewhere on.
  std::vector<int32_t> guesses_for(const Request& request) {
    std::vector<int32_t> tokens = request.prompt;
    tokens.insert(tokens.end(), request.out.begin(), request.out.end());
    std::vector<int32_t> guesses;
    const int32_t right = below(4), count = below(8);
    while (static_cast<int32_t>(guesses.size()) < count) {
      const int32_t next = next_token(entries_of(request.scope, tokens));
      const bool wrong = static_cast<int32_t>(guesses.size()) >= right;
      guesses.push_back(wrong ? (next + 1) % kVocabulary : next);
      tokens.push_back(guesses.back());
    }
    return guesses;
  }

  Rng rng_;
  SchedulerOptions options_;
  std::unique_ptr<kv::Pool> pool_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<uint64_t> memory_;  // what each slot of the cache holds
  std::map<uint64_t, Request> requests_;
  std::map<uint64_t, int32_t> running_;  // rows they lack, as of their last step
  std::vector<uint64_t> generating_;
  uint64_t next_id_ = 1;
  int32_t to_submit_ = 0, busy_ = 1;
  int preemptions_ = 0, reused_ = 0, ended_ = 0, accepted_ = 0, copies_ = 0;
};

TEST(SchedulerSimulation, EveryRequestGetsTheAnswerItGetsAlone) {
  int preemptions = 0, reused = 0, ended = 0, accepted = 0, copies = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Simulation simulation(seed);
    simulation.run();
    if (HasFailure()) return;
    preemptions += simulation.preemptions();
    reused += simulation.reused();
    ended += simulation.ended();
    copies += simulation.copies();
    accepted += simulation.accepted();
  }
  // The scenarios must reach what they are for.
  EXPECT_GT(ended, 10'000);
  EXPECT_GT(preemptions, 1'000);
  EXPECT_GT(reused, 1'000);
  EXPECT_GT(copies, 1'000);
  EXPECT_GT(accepted, 10'000);
}

}  // namespace
}  // namespace hadal::sched
