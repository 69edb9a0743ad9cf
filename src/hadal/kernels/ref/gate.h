// Which experts a row goes to: the rules of op/ffn.h, one step a function.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hadal/kernels/op/ffn.h"

namespace hadal::kernels::ref {

struct Choice {
  int32_t expert = 0;
  float weight = 0;
};

// Softmax over all experts, or the sigmoid of each; rounded to float, because ties are ties of
// floats.
std::vector<float> gate_scores(GateFunction function, std::span<const double> logits);

// scores: [experts]; bias: [experts] or empty. The chosen experts in ascending order.
std::vector<Choice> choose_experts(const GateConfig& config, std::span<const float> scores,
                                   std::span<const float> bias);

}  // namespace hadal::kernels::ref
