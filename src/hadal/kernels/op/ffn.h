// Feed-forward blocks: dense SwiGLU, and a mixture of experts.
//
//   dense: out += down(silu(gate h) * (up h)),  h = rms_norm(x)
//   moe:   out += sum over chosen e of w_e * expert_e(h)  +  shared(h)
//
// The gate, after DeepSeek's published model code (inference/model.py, class Gate):
//   s = softmax or sigmoid of (router h), in f32
//   choice scores s' = s + bias (bias only chooses)
//   with groups: a group's score is the max of s' (softmax gate) or the sum of its two best (sigmoid gate);
//   the best `groups_used` groups stay
//   the best `experts_used` of s' in them are chosen; w = s of those, divided by their sum when `normalize`,
//   times `scale`. Ties: the lower index wins.
// Contributions are added per row in ascending expert number, shared experts last, so that a row's result
// is the same bits whatever other rows are in the batch.
#pragma once

#include <cstdint>

#include "hadal/kernels/weights.h"
#include "hadal/tensor/view.h"

namespace hadal::kernels {

struct FfnArgs {
  ConstView x;                         // [n, hidden]
  const float* norm_weight = nullptr;  // [hidden]
  float norm_eps = 0.0f;
  const Ffn* ffn = nullptr;            // count 1
  View out;                            // [n, hidden], added to; may be x itself
};

enum class GateFunction : uint8_t { kSoftmax, kSigmoid };

struct GateConfig {
  GateFunction function = GateFunction::kSoftmax;
  int32_t experts_used = 0;
  int32_t groups = 1;       // divides the number of experts
  int32_t groups_used = 1;
  bool normalize = false;   // divide the chosen weights by their sum
  float scale = 1.0f;
};

struct MoeArgs {
  ConstView x;
  const float* norm_weight = nullptr;
  float norm_eps = 0.0f;
  GateConfig gate;
  const float* router = nullptr;       // [experts, hidden] f32: never quantised, it decides
  const float* router_bias = nullptr;  // [experts] or null
  const Ffn* experts = nullptr;        // count = experts
  const Ffn* shared = nullptr;         // count 1, or null
  View out;                            // [n, hidden], added to; may be x itself
  uint64_t* expert_rows = nullptr;     // [experts] or null: += rows that went to each expert
};

}  // namespace hadal::kernels
