#include "hadal/sample/sampler.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "hadal/sample/logprobs.h"

namespace hadal {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("");

using Logits = std::vector<float>;

Sampler make(const SamplingParams& params, const Logits& logits, uint64_t seed = 1,
             const std::vector<TokenId>& prompt = {}, const std::vector<TokenId>& ends = {}) {
  return Sampler(params, seed, prompt, ends, static_cast<int32_t>(logits.size()));
}

TokenId sample(const Sampler& sampler, const Logits& logits) {
  SamplerScratch scratch;
  const auto token = sampler.sample(logits, scratch);
  EXPECT_TRUE(token) << token.error().what;
  return token.value_or(-1);
}

TokenId greedy(const Logits& logits, SamplingParams params = {}) {
  params.temperature = 0.0f;
  return sample(make(params, logits), logits);
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestOfEquals) {
  EXPECT_EQ(greedy({1, 3, 3, 2}), 1);
  EXPECT_EQ(greedy({kNan, -5, kNan}), 1);
  EXPECT_EQ(greedy({1, kInfinity, kInfinity}), 1);
  EXPECT_EQ(greedy({-kInfinity, -1e30f}), 1);
}

// Whoever computed the logits may know the largest; where they are adjusted, it may be another.
TEST(Sampler, AFirstThatIsKnownStandsForLogitsAsTheyAre) {
  const Logits logits = {1, 3, 5, 2};
  const Candidate first = select_first(logits);
  SamplingParams params;
  params.temperature = 0.0f;
  SamplerScratch scratch;
  const Logits not_to_be_read(logits.size(), 0.0f);
  EXPECT_EQ(make(params, logits).sample(not_to_be_read, scratch, first).value(), 2);
  params.logit_bias = {{1, 10.0f}};
  EXPECT_EQ(make(params, logits).sample(logits, scratch, first).value(), 1);
  params.logit_bias = {};
  params.temperature = 1.0f;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    params.seed = seed;
    const Sampler sampler = make(params, logits);
    EXPECT_EQ(sampler.sample(logits, scratch, first).value(),
              sampler.sample(logits, scratch).value());
  }
}

TEST(Sampler, NothingPossibleIsAnError) {
  const struct {
    Logits logits;
    const char* says;
  } cases[] = {{{kNan, kNan, kNan, kNan}, "4 of 4 logits are NaN"},
               {{-kInfinity, -kInfinity}, "every token is excluded"},
               {{kNan, -kInfinity, kNan}, "2 of 3 logits are NaN, the rest excluded"}};
  for (const auto& c : cases) {
    for (const float temperature : {0.0f, 1.0f}) {
      SamplingParams params;
      params.temperature = temperature;
      SamplerScratch scratch;
      const auto token = make(params, c.logits).sample(c.logits, scratch);
      ASSERT_FALSE(token);
      EXPECT_EQ(token.error().code, Code::kInternal);
      EXPECT_NE(token.error().what.find(c.says), std::string::npos) << token.error().what;
    }
  }
}

// Odd logits never give a banned or impossible token, whatever the settings.
TEST(Sampler, OddLogitsGivePossibleTokens) {
  const Logits all[] = {
      {kNan, 1, kNan, 2}, {kInfinity, 1, kInfinity, 0}, {-kInfinity, 3e38f, -3e38f, kNan}};
  for (const Logits& logits : all) {
    for (const int32_t top_k : {0, 2, 3}) {
      for (const float top_p : {1.0f, 0.5f}) {
        SamplingParams params;
        params.top_k = top_k;
        params.top_p = top_p;
        params.temperature = 1e-4f;
        for (uint64_t seed = 0; seed < 50; ++seed) {
          const TokenId token = sample(make(params, logits, seed), logits);
          ASSERT_GE(token, 0);
          ASSERT_FALSE(std::isnan(logits[static_cast<size_t>(token)]));
          ASSERT_NE(logits[static_cast<size_t>(token)], -kInfinity);
        }
      }
    }
  }
}

TEST(Sampler, BiasThenPenaltiesByTheFormula) {
  SamplingParams params;
  params.temperature = 0.0f;
  params.repetition_penalty = 2.0f;
  params.presence_penalty = 0.5f;
  params.frequency_penalty = 0.25f;
  params.logit_bias = {{1, 9.0f}, {1, 1.0f}};          // the last counts
  const std::vector<TokenId> prompt = {0, 0, 77, -3};  // once is enough; foreign ids are ignored
  const auto winner = [&](Logits logits, int outputs_of_1) {
    Sampler sampler = make(params, logits, 1, prompt);
    for (int i = 0; i < outputs_of_1; ++i) sampler.accept(1);
    return sample(sampler, logits);
  };
  // Token 0: 4 / 2 = 2. Token 2 is untouched.
  EXPECT_EQ(winner({4.0f, -9.0f, 1.99f}, 0), 0);
  EXPECT_EQ(winner({4.0f, -9.0f, 2.01f}, 0), 2);
  // Token 1 three times in the output: (5 + 1) / 2 - 3 * 0.25 - 0.5 = 1.75.
  EXPECT_EQ(winner({-9.0f, 5.0f, 1.74f}, 3), 1);
  EXPECT_EQ(winner({-9.0f, 5.0f, 1.76f}, 3), 2);
  // Negative logits are multiplied: -1 * 2 = -2.
  EXPECT_EQ(winner({-1.0f, -9.0f, -1.99f}, 0), 2);
  EXPECT_EQ(winner({-1.0f, -9.0f, -2.01f}, 0), 0);
}

TEST(Sampler, MinTokensBansEndTokens) {
  SamplingParams params;
  params.temperature = 0.0f;
  params.min_tokens = 2;
  const Logits logits = {1, 9, 8, 2};
  Sampler sampler = make(params, logits, 1, {}, {1, 2});
  EXPECT_EQ(sample(sampler, logits), 3);
  sampler.accept(3);
  EXPECT_EQ(sample(sampler, logits), 3);
  sampler.accept(3);
  EXPECT_EQ(sample(sampler, logits), 1);
}

// The definition, with a full sort and no cleverness.
TokenId by_definition(const SamplingParams& params, const Logits& logits, double uniform) {
  const float best = *std::ranges::max_element(logits);
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const bool cuts = (params.top_k > 0 && static_cast<size_t>(params.top_k) < logits.size()) ||
                    params.top_p < 1.0f;
  if (cuts) {
    std::ranges::stable_sort(order, [&](int a, int b) { return logits[a] > logits[b]; });
  }
  const auto weight = [&](int token) {
    return std::exp((logits[static_cast<size_t>(token)] - best) / params.temperature);
  };
  std::erase_if(order, [&](int token) { return weight(token) < params.min_p; });
  if (params.top_k > 0 && order.size() > static_cast<size_t>(params.top_k)) {
    order.resize(static_cast<size_t>(params.top_k));
  }
  double total = 0.0;
  for (const int token : order) total += weight(token);
  if (params.top_p < 1.0f) {
    double before = 0.0;
    size_t keep = 0;
    while (keep < order.size() && before < params.top_p * total) before += weight(order[keep++]);
    order.resize(std::max<size_t>(keep, 1));
    total = before;
  }
  double left = uniform * total;
  for (const int token : order) {
    left -= weight(token);
    if (left < 0.0) return token;
  }
  return order.back();
}

TEST(Sampler, AgreesWithTheDefinition) {
  Rng rng(3);
  std::vector<int> differ;
  for (int round = 0; round < 4'000; ++round) {
    Logits logits(1 + rng.next() % 700);
    const double spread = 0.1 + 10.0 * rng.uniform();
    for (float& logit : logits) {
      logit = static_cast<float>((rng.uniform() - 0.5) * spread);
      if (rng.next() % 4 == 0) logit = std::round(logit);  // ties
    }
    SamplingParams params;
    params.temperature = static_cast<float>(0.2 + rng.uniform());
    if (rng.next() % 2) params.top_k = static_cast<int32_t>(1 + rng.next() % 40);
    if (rng.next() % 2) params.top_p = static_cast<float>(0.01 + 0.99 * rng.uniform());
    if (rng.next() % 3 == 0) params.min_p = static_cast<float>(rng.uniform());
    Sampler sampler = make(params, logits, static_cast<uint64_t>(round));
    for (int32_t i = 0; i < round % 3; ++i) sampler.accept(0);
    const double uniform =
        Rng(static_cast<uint64_t>(round)).uniform_at(static_cast<uint64_t>(round % 3));
    if (sample(sampler, logits) != by_definition(params, logits, uniform)) differ.push_back(round);
  }
  // Sums in another order may move a border by one rounding.
  EXPECT_LE(differ.size(), 2u) << "rounds " << testing::PrintToString(differ);
}

TEST(Sampler, DrawsFollowTheDistribution) {
  const Logits logits = {std::log(1.0f), std::log(2.0f), std::log(5.0f), std::log(2.0f)};
  Sampler sampler = make({}, logits, 99);
  std::vector<int> counts(4, 0);
  constexpr int kDraws = 40'000;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[static_cast<size_t>(sample(sampler, logits))];
    sampler.accept(0);
  }
  const double expected[] = {0.1, 0.2, 0.5, 0.2};
  double chi_squared = 0.0;
  for (size_t i = 0; i < 4; ++i) {
    const double mean = expected[i] * kDraws;
    chi_squared += (counts[i] - mean) * (counts[i] - mean) / mean;
  }
  EXPECT_LT(chi_squared, 16.3);  // 3 degrees of freedom, p = 0.001
}

TEST(Sampler, ADrawDependsOnSeedAndNumberAlone) {
  const Logits flat(1000, 0.0f);
  Sampler first = make({}, flat, 7);
  const TokenId at_0 = sample(first, flat);
  EXPECT_EQ(sample(first, flat), at_0);
  first.accept(at_0);
  const TokenId at_1 = sample(first, flat);
  Sampler again = make({}, flat, 7, {1, 2, 3});
  again.accept(5);
  EXPECT_EQ(sample(again, flat), at_1);
  EXPECT_NE(sample(make({}, flat, 8), flat), at_0);
}

TEST(Logprobs, AreTheLogSoftmaxOfRawLogits) {
  const Logits logits = {1.0f, 2.0f, 3.0f, 2.0f};
  const double sum = std::exp(1.0) + 2 * std::exp(2.0) + std::exp(3.0);
  const TokenLogprob result = token_logprob(logits, 0, 3);
  EXPECT_EQ(result.token, 0);
  EXPECT_NEAR(result.logprob, 1.0 - std::log(sum), 1e-6);
  ASSERT_EQ(result.top.size(), 3u);
  EXPECT_EQ(result.top[0].first, 2);
  EXPECT_EQ(result.top[1].first, 1) << "ties by id";
  EXPECT_EQ(result.top[2].first, 3);
  EXPECT_NEAR(result.top[0].second, 3.0 - std::log(sum), 1e-6);
  EXPECT_EQ(token_logprob(logits, 0, 9).top.size(), 4u);
}

TEST(Logprobs, AreFiniteForOddLogits) {
  const Logits all[] = {{kNan, 1.0f}, {-kInfinity, 1.0f}, {kInfinity, 1.0f}, {kNan, kNan}};
  for (const Logits& logits : all) {
    for (const TokenId token : {0, 1}) {
      const TokenLogprob result = token_logprob(logits, token, 2);
      EXPECT_TRUE(std::isfinite(result.logprob)) << result.logprob;
      EXPECT_LE(result.logprob, 0.0f);
      for (const auto& [id, logprob] : result.top) EXPECT_TRUE(std::isfinite(logprob));
    }
  }
}

TEST(Select, AgreesWithASort) {
  Rng rng(5);
  for (int round = 0; round < 300; ++round) {
    Logits logits(rng.next() % 300);
    for (float& logit : logits) logit = static_cast<float>(rng.next() % 50);
    std::vector<Candidate> all, best;
    for (size_t i = 0; i < logits.size(); ++i) all.push_back({logits[i], static_cast<TokenId>(i)});
    std::ranges::sort(all, is_better);
    const size_t count = rng.next() % 310;
    select_best(logits, count, best);
    ASSERT_EQ(best.size(), std::min(count, logits.size()));
    for (size_t i = 0; i < best.size(); ++i) ASSERT_EQ(best[i].token, all[i].token);
    ASSERT_EQ(select_first(logits).token, all.empty() ? -1 : all[0].token);
  }
}

TEST(Select, TheFirstOfManyIsWhatALoopFinds) {
  Rng rng(6);
  for (int round = 0; round < 2'000; ++round) {
    Logits logits(rng.next() % 1'200);
    const uint64_t odd = rng.next() % 8;  // of ten, how many are no numbers
    for (float& logit : logits) {
      logit = static_cast<float>(rng.next() % 400) - 200.0f;
      if (rng.next() % 10 < odd) logit = rng.next() % 2 == 0 ? kNan : -kInfinity;
      if (rng.next() % 1'000 == 0) logit = rng.next() % 2 == 0 ? kInfinity : -0.0f;
    }
    Candidate expected{-kInfinity, -1};
    for (size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] > expected.logit) expected = {logits[i], static_cast<TokenId>(i)};
    }
    const Candidate found = select_first(logits);
    ASSERT_EQ(found.token, expected.token) << logits.size();
    ASSERT_EQ(found.logit, expected.logit);
  }
}

}  // namespace
}  // namespace hadal
