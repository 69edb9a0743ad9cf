// The gate's rules by hand-made cases, seen through the operation: expert e adds 1 to element e of
// the output and nothing else, so that the output is the weight of every expert.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "hadal/kernels/testing/fixture.h"

namespace hadal::kernels::testing {
namespace {

constexpr int64_t kHidden = 32;
constexpr int64_t kInner = 32;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// A layer whose experts name themselves.
class NamingExperts {
 public:
  NamingExperts(Backend& backend, int64_t experts) {
    std::vector<float> first(kInner * kHidden);
    first[0] = 20;  // silu(20) = 20 (1 - 2e-9)
    std::vector<float> second(kInner * kHidden);
    second[0] = 0.05f;
    MatrixSource gate{DType::kF32, kInner, kHidden, {}, {}};
    MatrixSource up = gate;
    MatrixSource down{DType::kF32, kHidden, kInner, {}, {}};
    downs_.reserve(experts);
    for (int64_t e = 0; e < experts; ++e) {
      downs_.emplace_back(kHidden * kInner);
      downs_.back()[e * kInner] = 1;
      gate.parts.push_back(std::as_bytes(std::span(first)));
      up.parts.push_back(std::as_bytes(std::span(second)));
      down.parts.push_back(std::as_bytes(std::span(downs_.back())));
    }
    ffn_ = std::move(*backend.pack_ffn(gate, up, down));
  }
  const Ffn* get() const { return ffn_.get(); }

 private:
  std::vector<std::vector<float>> downs_;
  std::unique_ptr<Ffn> ffn_;
};

struct Case {
  const char* name;
  GateConfig gate;
  std::vector<float> logits;
  std::vector<float> bias;
  std::vector<double> expected;  // weight of every expert, 0 where not chosen
};

std::vector<double> softmax(const std::vector<float>& logits) {
  double sum = 0;
  std::vector<double> scores;
  for (const float x : logits) sum += std::exp(double{x});
  for (const float x : logits) scores.push_back(std::exp(double{x}) / sum);
  return scores;
}

GateConfig soft(int used, int groups = 1, int groups_used = 1) {
  return {GateFunction::kSoftmax, used, groups, groups_used, false, 1.0f};
}
GateConfig sig(int used, int groups = 1, int groups_used = 1) {
  return {GateFunction::kSigmoid, used, groups, groups_used, false, 1.0f};
}
GateConfig normalised(GateConfig gate, float scale) {
  gate.normalize = true;
  gate.scale = scale;
  return gate;
}

std::vector<Case> softmax_cases() {
  const std::vector<double> plain = softmax({0, 1, 2, 3});
  const std::vector<double> grouped = softmax({3, -2, 2, 2.5f});
  const double both = plain[2] + plain[3];
  return {
      {"the best two keep their share of all",
       soft(2),
       {0, 1, 2, 3},
       {},
       {0, 0, plain[2], plain[3]}},
      {"normalised and scaled",
       normalised(soft(2), 2.5f),
       {0, 1, 2, 3},
       {},
       {0, 0, 2.5 * plain[2] / both, 2.5 * plain[3] / both}},
      {"of equals the lower index", soft(2), {1, 1, 1, 1}, {}, {0.25, 0.25, 0, 0}},
      {"of equals below the best",
       soft(2),
       {0, 3, 0, 0},
       {},
       {softmax({0, 3, 0, 0})[0], softmax({0, 3, 0, 0})[1], 0, 0}},
      {"all of them", soft(4), {0, 1, 2, 3}, {}, plain},
      {"a group counts by its maximum",
       soft(2, 2, 1),
       {3, -2, 2, 2.5f},
       {},
       {grouped[0], grouped[1], 0, 0}},
      {"of equal groups the lower",
       soft(1, 2, 1),
       {0, 2, 2, 1},
       {},
       {0, softmax({0, 2, 2, 1})[1], 0, 0}},
      {"two groups of three",
       soft(2, 3, 2),
       {0, 1, 5, 4.5f, 2, 2},
       {},
       {0, 0, softmax({0, 1, 5, 4.5f, 2, 2})[2], softmax({0, 1, 5, 4.5f, 2, 2})[3], 0, 0}},
      {"large logits do not overflow", soft(1), {500, 499, 0, 0}, {}, {sigmoid(1), 0, 0, 0}},
  };
}

std::vector<Case> sigmoid_cases() {
  const float low = -9;
  return {
      {"each for itself", sig(2), {0, 1, 2, 3}, {}, {0, 0, sigmoid(2), sigmoid(3)}},
      {"normalised and scaled",
       normalised(sig(2), 2.5f),
       {0, 1, 2, 3},
       {},
       {0, 0, 2.5 * sigmoid(2) / (sigmoid(2) + sigmoid(3)),
        2.5 * sigmoid(3) / (sigmoid(2) + sigmoid(3))}},
      {"the bias chooses and does not weigh",
       sig(2),
       {0, 1, 2, 3},
       {2, 0, 0, 0},
       {sigmoid(0), 0, 0, sigmoid(3)}},
      {"a negative bias excludes", sig(1), {0, 1, 2, 3}, {0, 0, 0, -1}, {0, 0, sigmoid(2), 0}},
      {"a group counts by its best two",
       sig(2, 2, 1),
       {3, low, 2, 2},
       {},
       {0, 0, sigmoid(2), sigmoid(2)}},
      {"and not by its three", sig(1, 2, 1), {2, 2, low, 1, 1, 1}, {}, {sigmoid(2), 0, 0, 0, 0, 0}},
      {"the bias counts for the group too",
       sig(2, 2, 1),
       {3, low, 2, 2},
       {0, 2, 0, 0},
       {sigmoid(3), sigmoid(low), 0, 0}},
      {"a better expert of a lost group stays out",
       sig(2, 2, 1),
       {5, low, 2, 2},
       {},
       {0, 0, sigmoid(2), sigmoid(2)}},
      {"of equals the lower index",
       sig(3),
       {2, 2, 2, 2},
       {},
       {sigmoid(2), sigmoid(2), sigmoid(2), 0}},
      {"of equal groups the lower", sig(1, 2, 1), {1, 2, 2, 1}, {}, {0, sigmoid(2), 0, 0}},
      {"groups of one", sig(2, 4, 2), {1, 4, 3, 2}, {}, {0, sigmoid(4), sigmoid(3), 0}},
      {"biased below zero still chooses",
       sig(2),
       {1, 2, 3, 4},
       {-5, -5, -5, -5},
       {0, 0, sigmoid(3), sigmoid(4)}},
  };
}

class Gate : public ::testing::TestWithParam<std::string> {
 protected:
  Gate() : made_(make_implementation(GetParam(), 2)) {}

  std::vector<float> weights(const Case& c, std::vector<uint64_t>* counts) {
    const auto experts = static_cast<int64_t>(c.logits.size());
    const NamingExperts layer(*made_.backend, experts);
    const std::vector<float> ones(kHidden, 1.0f);
    const std::vector<float> x(kHidden, 1.0f);
    std::vector<float> router(experts * kHidden);
    for (int64_t e = 0; e < experts; ++e) router[e * kHidden] = c.logits[e];
    std::vector<float> out(kHidden);
    MoeArgs args;
    args.x = {x.data(), 1, kHidden, kHidden, Device::kCpu};
    args.norm_weight = ones.data();  // the norm of ones is ones
    args.gate = c.gate;
    args.router = router.data();
    args.router_bias = c.bias.empty() ? nullptr : c.bias.data();
    args.experts = layer.get();
    args.out = {out.data(), 1, kHidden, kHidden, Device::kCpu};
    args.expert_rows = counts != nullptr ? counts->data() : nullptr;
    made_.backend->moe(args);
    return out;
  }

  void check(const Case& c) {
    SCOPED_TRACE(c.name);
    std::vector<uint64_t> counts(c.logits.size());
    const std::vector<float> out = weights(c, &counts);
    for (size_t e = 0; e < c.expected.size(); ++e) {
      // A score, a sum and a quotient in float, silu's own error and 20 * 0.05: a dozen roundings.
      EXPECT_NEAR(out[e], c.expected[e], c.expected[e] * 12 * 0x1p-24) << "expert " << e;
      EXPECT_EQ(counts[e], c.expected[e] > 0 ? 1u : 0u) << "expert " << e;
    }
    for (size_t i = c.expected.size(); i < out.size(); ++i) EXPECT_EQ(out[i], 0.0f) << i;
  }

 private:
  Implementation made_;
};
INSTANTIATE_TEST_SUITE_P(Cpu, Gate, ::testing::ValuesIn(implementations(true)),
                         [](const auto& info) { return info.param; });

TEST_P(Gate, Softmax) {
  for (const Case& c : softmax_cases()) check(c);
}

TEST_P(Gate, Sigmoid) {
  for (const Case& c : sigmoid_cases()) check(c);
}

// Whatever a model computes, the layer returns.
TEST_P(Gate, NanAndInfinityDoNotStopTheProcess) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float odd : {nan, infinity, -infinity}) {
    for (const GateConfig& gate : {soft(2, 2, 1), sig(2, 2, 1), normalised(sig(2), 1)}) {
      std::vector<uint64_t> counts(4);
      weights({"odd", gate, {odd, 1, odd, odd}, {}, {}}, &counts);
      EXPECT_EQ(counts[0] + counts[1] + counts[2] + counts[3], 2u);
    }
  }
}

TEST_P(Gate, SigmoidsThatVanishAreNotDividedByZero) {
  const std::vector<float> out =
      weights({"", normalised(sig(2), 1), {-200, -200, -200, -200}, {}, {}}, nullptr);
  EXPECT_EQ(out[0], 0.0f);
  EXPECT_EQ(out[1], 0.0f);
}

}  // namespace
}  // namespace hadal::kernels::testing
