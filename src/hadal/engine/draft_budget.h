// How many guesses a step should carry, decided by measurement: what steps of so many rows take on
// this machine, and how often guesses like these were right.
//
// A guess that is right saves a row of a later step; a guess costs a row of this one. Where a step
// is bound by reading weights, rows are nearly free (dense models, few rows) or cost the experts
// that they touch (mixtures); where it is bound by arithmetic, a row costs its full share and
// guessing can only lose. Neither is assumed: the rate of a step, expected tokens over seconds, is
// compared for every number of guesses, and plain decoding wins unless another is clearly faster.
//
// Pure but for the state that observe() feeds; one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "hadal/base/clock.h"

namespace hadal {

// Seconds of a step of decode rows, by their number: medians of recent steps. Numbers not measured
// lately are inferred from the nearest measured ones by the expected curve.
class StepTimes {
 public:
  static constexpr int32_t kRowsMax = 512;

  // `expected`: what a step of so many rows should cost, in any unit; positive, not decreasing.
  explicit StepTimes(std::function<double(int32_t rows)> expected);

  void observe(int32_t rows, double seconds);
  // Measured within the last kFresh steps.
  bool knows(int32_t rows) const;
  // 0 before the first observation.
  double seconds(int32_t rows) const;

 private:
  static constexpr int64_t kFresh = 256;
  static constexpr int32_t kSamples = 5;
  struct Entry {
    std::array<float, kSamples> samples{};
    int32_t count = 0;  // ever
    int64_t step = 0;   // of the last sample
    float median = 0;
  };
  int32_t nearest(int32_t rows, int32_t direction) const;

  std::function<double(int32_t)> expected_;
  std::vector<Entry> entries_;  // [kRowsMax + 1]
  int64_t steps_ = 0;
};

// The share of guesses of one kind that were right, each given that those before it were.
class Acceptance {
 public:
  explicit Acceptance(double start, double weight) : start_(start), rate_(start), weight_(weight) {}
  void observe(bool right) { rate_ += weight_ * ((right ? 1.0 : 0.0) - rate_); }
  // Nothing was tried: hope returns slowly, so that it will be tried again.
  void rest() { rate_ += weight_ / 16 * (start_ - rate_); }
  double rate() const { return rate_; }

 private:
  double start_;
  double rate_;
  double weight_;  // of a new observation
};

// What a sequence could run beside its own row.
struct Offer {
  double acceptance = 0;  // of the first guess
  int32_t guesses = 0;    // how many there are
  double extra = 0;       // seconds that each costs beside its row (a draft model's)
  double later =
      -1;  // of each further guess, given that those before it are right; -1: as the first
};

// `take[i]` of offers[i].guesses for a step that has `rows` rows without them, at most `room` in
// all. All 0 when that is fastest, or when the time of a plain step is not known.
void share_out(std::span<const Offer> offers, int32_t rows, int32_t room, const StepTimes& times,
               std::vector<int32_t>* take);

}  // namespace hadal
