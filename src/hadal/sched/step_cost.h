// What a step of the model takes, learned from steps that ran: the scheduler asks it how many
// prompt rows fit beside the rows that others wait for.
//
// A step's time is modelled as the sum of
//   step          what every step costs: weights that each row needs, read once, and the barriers
//   experts       reading all routed experts, times the share of them that so many rows touch,
//                 1 - (1 - k/E)^rows when routing is even
//   decode row, prompt row             arithmetic of one row
//   1k decode keys, 1k prompt keys     attention of one row to 1024 cached positions
// with six coefficients > 0. Each step corrects them by a part of the error's logarithm, each in
// proportion to its share of the prediction: they stay positive, the scale of the machine does not
// matter, and what a step says nothing about keeps its value. Errors are cut off, so a step during
// which a neighbour had the core changes little.
//
// No clock here: times come in. Threads: one at a time.
#pragma once

#include <array>
#include <cstdint>

namespace hadal::sched {

struct StepShape {
  int32_t decode_rows = 0;  // of sequences that generate
  int32_t prompt_rows = 0;
  int64_t decode_keys = 0;  // positions that these rows attend to, summed over the rows
  int64_t prompt_keys = 0;
  int32_t rows() const { return decode_rows + prompt_rows; }
};

class StepCost {
 public:
  static constexpr int kTerms = 6;
  static constexpr std::array<const char*, kTerms> kTermNames = {
      "step", "experts", "decode_row", "prompt_row", "decode_1k_keys", "prompt_1k_keys"};

  // `expert_share`: of the routed experts, what one row uses (k/E); in (0, 1], 1 for a dense model.
  explicit StepCost(double expert_share = 1.0);

  // False until the first step was observed; then predict() is 0.
  bool known() const { return observed_ > 0; }
  double predict(const StepShape& shape) const;  // seconds
  // `seconds` > 0: what a step of this shape took.
  void observe(const StepShape& shape, double seconds);
  // Seconds, in the order of kTermNames.
  const std::array<double, kTerms>& terms() const { return terms_; }

 private:
  using Vector = std::array<double, kTerms>;
  Vector features(const StepShape& shape) const;
  void begin(const StepShape& shape, double seconds);

  double untouched_share_;  // of the experts, by one row
  int64_t observed_ = 0;
  Vector terms_{};
};

}  // namespace hadal::sched
