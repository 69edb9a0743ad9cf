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

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "hadal/base/clock.h"

namespace hadal {

// Seconds of a step of decode rows, by their number: of recent steps the lower quartile, since
// what else the machine does can only add, and never less than for fewer rows: otherwise whoever
// looks for the best number finds the luckiest. Numbers not measured lately are inferred from the
// nearest measured ones by the expected curve.
class StepTimes {
 public:
  static constexpr int32_t kRowsMax = 512;

  // `expected`: what a step of so many rows should cost, in any unit; positive, not decreasing.
  // `fresh`: steps for which a measurement counts.
  explicit StepTimes(const std::function<double(int32_t rows)>& expected, int64_t fresh = 256);

  void observe(int32_t rows, double seconds);
  // Measured within the last `fresh` steps.
  bool knows(int32_t rows) const;
  // That many, or nearly, several times: the first step of a kind finds the last kind's data in the
  // caches.
  bool settled(int32_t rows) const;
  // 0 before the first observation.
  double seconds(int32_t rows) const;

 private:
  static constexpr int32_t kSamples = 8;
  static constexpr int32_t kSettled = 4;
  struct Entry {
    std::array<float, kSamples> samples{};
    int32_t count = 0;  // ever
    int64_t step = 0;   // of the last sample
    float seconds = 0;
  };
  template <class Value>
  void draw(const Value& value) const;
  void infer() const;

  std::vector<double> expected_;  // [kRowsMax + 1]
  int64_t fresh_;
  std::vector<Entry> entries_;  // [kRowsMax + 1]
  int64_t steps_ = 0;
  // What follows from all this as of `inferred_` steps: factors of the expected curve; [highest_ +
  // 1].
  mutable std::vector<double> factors_, settled_;  // settled_: by those alone
  mutable int64_t inferred_ = 0;
  int32_t highest_ = 0;  // of the numbers ever observed
};

// Seconds of a call that makes guesses, by its rows: base + rows, times a factor that all calls of
// late tell, whatever their rows (their lower quartile). 0 where nothing is known, so that they are
// tried.
class CallTime {
 public:
  void observe(int32_t rows, double seconds);
  // A step without a call: what was slow may have been the machine's fault, so hope returns; soon
  // after the first few calls, which find nothing in the caches.
  void rest() { factor_ *= count_ < kSamples ? kRestEarly : kRest; }
  double seconds(int32_t rows) const { return factor_ * (kBase + rows); }

 private:
  static constexpr double kBase = 4.0;  // what a call costs besides, in rows
  static constexpr double kRest = 0.998, kRestEarly = 0.95;
  static constexpr int32_t kSamples = 8;
  std::array<double, kSamples> samples_{};
  int32_t count_ = 0;
  double factor_ = 0;
};

struct DraftTimes {
  CallTime first;    // takes in new rows and makes a guess a sequence
  CallTime further;  // makes one more guess a sequence: a row each
};

// The share of guesses of one kind that were right, each given that those before it were.
class Acceptance {
 public:
  // `weight`: of a new observation, once there have been enough; the first ones weigh more, as in a
  // mean, `start` being as good as `sure` of them.
  explicit Acceptance(double start, double weight, double sure)
      : start_(start), rate_(start), weight_(weight), count_(sure) {}
  void observe(bool right) {
    count_ += 1;
    const double weight = std::max(weight_, 1.0 / count_);
    rate_ += weight * ((right ? 1.0 : 0.0) - rate_);
  }
  // Nothing was tried: hope returns, at `pace` of an observation's weight, so that it will be.
  void rest(double pace) { rate_ += pace * weight_ * (start_ - rate_); }
  double rate() const { return rate_; }

 private:
  double start_;
  double rate_;
  double weight_;
  double count_;
};

// What a sequence could run beside its own row.
struct Offer {
  double acceptance = 0;    // of the first guess
  double later = 0;         // of each further guess, given that those before it are right
  int32_t guesses = 0;      // how many there are
  bool by_drafter = false;  // they have yet to be made
};

// `take[i]` of offers[i].guesses for a step that has `rows` rows without them, at most `room` in
// all. All 0 when that is fastest, or when the time of a plain step is not known. `drafting`: what
// making guesses takes; may be null when no offer is by a drafter. Returns the expected tokens a
// second; 0 when the time of a plain step is not known.
double share_out(std::span<const Offer> offers, int32_t rows, int32_t room, const StepTimes& times,
                 const DraftTimes* drafting, std::vector<int32_t>* take);

}  // namespace hadal
