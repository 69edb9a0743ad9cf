#include "hadal/engine/steering.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

constexpr TokenId kEnd = 9;

// The answer that comes of `drawn`, tokens put in among them.
std::vector<TokenId> answer(const Steering& plan, const std::vector<TokenId>& drawn) {
  Steer steer(plan);
  std::vector<TokenId> out;
  size_t at = 0;
  for (;;) {
    const auto put_in = steer.next();
    if (!put_in && at == drawn.size()) return out;
    out.push_back(put_in ? *put_in : drawn[at++]);
    steer.took(out.back());
  }
}

using Tokens = std::vector<TokenId>;

TEST(Steer, WithoutAPlanNothingIsPutIn) {
  EXPECT_EQ(answer({}, {1, kEnd, 2}), (Tokens{1, kEnd, 2}));
}

TEST(Steer, ABudgetClosesTheThinking) {
  const Steering plan{.thinking_end = kEnd, .thinking_budget = 2, .close = {7, kEnd}, .then = {}};
  EXPECT_EQ(answer(plan, {1, 2, 3, 4}), (Tokens{1, 2, 7, kEnd, 3, 4}));
  EXPECT_EQ(answer(plan, {1, kEnd, 3, 4}), (Tokens{1, kEnd, 3, 4})) << "it ended by itself";
}

TEST(Steer, ABudgetOfNothing) {
  const Steering plan{.thinking_end = kEnd, .thinking_budget = 0, .close = {kEnd}, .then = {5}};
  EXPECT_EQ(answer(plan, {1}), (Tokens{kEnd, 5, 1}));
}

TEST(Steer, WhatComesBehindTheThinkingComesOnce) {
  const Steering plan{.thinking_end = kEnd, .thinking_budget = -1, .close = {}, .then = {5, 6}};
  EXPECT_EQ(answer(plan, {1, kEnd, 2, kEnd, 3}), (Tokens{1, kEnd, 5, 6, 2, kEnd, 3}));
}

}  // namespace
}  // namespace hadal
