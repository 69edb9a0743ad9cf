// The gate without memory of its own, against the one in plain words: the same bits.
#include "hadal/kernels/cpu/gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "hadal/base/rng.h"

namespace hadal::kernels::cpu {
namespace {

// Logits of few different values, so that scores tie; now and then none, or too large ones.
std::vector<float> draw_logits(int32_t experts, Rng& rng) {
  const float odd[] = {std::nanf(""), std::numeric_limits<float>::infinity(), -1e30f, -200.0f};
  const uint64_t kinds = 2 + rng.next() % 20;
  std::vector<float> logits;
  for (int32_t e = 0; e < experts; ++e) {
    logits.push_back(rng.next() % 50 == 0 ? odd[rng.next() % 4]
                                          : static_cast<float>(rng.next() % kinds) * 0.5f - 2.0f);
  }
  return logits;
}

struct Case {
  int32_t experts;
  GateConfig gate;
  bool bias;
};

class CpuGate : public ::testing::TestWithParam<Case> {};

TEST_P(CpuGate, ChoosesAsTheReferenceDoes) {
  const auto& [experts, gate, biased] = GetParam();
  Rng rng(17);
  Scratch scratch;
  for (int round = 0; round < 2'000; ++round) {
    const std::vector<float> logits = draw_logits(experts, rng);
    const std::vector<float> bias = biased ? draw_logits(experts, rng) : std::vector<float>();
    const std::vector<double> wide(logits.begin(), logits.end());
    const auto expected = ref::choose_experts(gate, ref::gate_scores(gate.function, wide), bias);
    std::vector<ref::Choice> found(static_cast<size_t>(gate.experts_used));
    choose_experts(gate, logits, bias, scratch, found.data());
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].expert, expected[i].expert) << "round " << round;
      if (std::isnan(expected[i].weight)) {
        ASSERT_TRUE(std::isnan(found[i].weight)) << "round " << round;
      } else {
        ASSERT_EQ(found[i].weight, expected[i].weight) << "round " << round;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CpuGate,
    ::testing::Values(Case{1, {GateFunction::kSigmoid, 1, 1, 1, true, 1.0f}, false},
                      Case{7, {GateFunction::kSoftmax, 7, 1, 1, false, 1.0f}, false},
                      Case{16, {GateFunction::kSigmoid, 2, 4, 2, true, 2.5f}, true},
                      Case{16, {GateFunction::kSoftmax, 3, 8, 3, false, 16.0f}, false},
                      Case{6, {GateFunction::kSigmoid, 2, 6, 2, true, 1.0f}, true},
                      Case{64, {GateFunction::kSoftmax, 6, 1, 1, false, 1.0f}, false},
                      Case{256, {GateFunction::kSigmoid, 8, 8, 4, true, 2.5f}, true}));

}  // namespace
}  // namespace hadal::kernels::cpu
