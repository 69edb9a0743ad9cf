#include <algorithm>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/kernels/ref/gate.h"
#include "hadal/kernels/ref/ops.h"
#include "hadal/kernels/ref/rows.h"

namespace hadal::kernels::ref {
namespace {

struct Member {
  int64_t row;
  float weight;
};

// For every expert, the rows that chose it.
std::vector<std::vector<Member>> route(const MoeArgs& args, const Rows& h) {
  const int64_t experts = args.experts->count();
  std::vector<std::vector<Member>> members(static_cast<size_t>(experts));
  std::vector<double> logits(static_cast<size_t>(experts));
  const std::span<const float> bias(args.router_bias, args.router_bias != nullptr ? experts : 0);
  for (int64_t r = 0; r < h.count; ++r) {
    for (int64_t e = 0; e < experts; ++e) {
      logits[e] = dot(args.router + e * h.cols, h.row(r), h.cols);
    }
    const std::vector<float> scores = gate_scores(args.gate.function, logits);
    for (const Choice& choice : choose_experts(args.gate, scores, bias)) {
      members[choice.expert].push_back({r, choice.weight});
    }
  }
  return members;
}

}  // namespace

void moe(const MoeArgs& args) {
  const RefFfn& experts = of(*args.experts);
  const Rows h = normalised(args.x, args.norm_weight, args.norm_eps);
  HADAL_CHECK(h.cols == experts.hidden());
  Rows total(h.count, h.cols);
  const std::vector<std::vector<Member>> members = route(args, h);
  for (int64_t e = 0; e < experts.count(); ++e) {
    if (args.expert_rows != nullptr) args.expert_rows[e] += members[e].size();
    if (members[e].empty()) continue;
    Rows input(static_cast<int64_t>(members[e].size()), h.cols);
    for (int64_t m = 0; m < input.count; ++m) {
      std::copy_n(h.row(members[e][m].row), h.cols, input.row(m));
    }
    const Rows y = swiglu(experts, e, input);
    for (int64_t m = 0; m < y.count; ++m) {
      double* target = total.row(members[e][m].row);
      for (int64_t c = 0; c < y.cols; ++c) target[c] += members[e][m].weight * y.row(m)[c];
    }
  }
  if (args.shared != nullptr) {
    const Rows y = swiglu(of(*args.shared), 0, h);
    for (size_t i = 0; i < y.values.size(); ++i) total.values[i] += y.values[i];
  }
  add_to(args.out, total);
}

}  // namespace hadal::kernels::ref
