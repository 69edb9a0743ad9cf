#include "hadal/engine/draft_budget.h"

#include <algorithm>
#include <utility>

#include "hadal/base/check.h"

namespace hadal {
namespace {

// Guessing must promise this much more than plain decoding: estimates are noisy, and a wrong guess
// costs others' latency too.
constexpr double kClearly = 1.06;
constexpr double kClearlyMore =
    0.02;  // for every row of the step, up to 16: there it costs more people
constexpr double kValueLeast = 0.001;   // less likely guesses pay nowhere
constexpr double kSecondsLeast = 1e-9;  // a clock that stands still makes rows free

struct Guess {
  double value;  // the chance that it becomes a token
  size_t offer;
};

// Seconds to make the guesses that are taken, as they are taken one after the other.
class DraftCost {
 public:
  explicit DraftCost(const DraftTimes* times) : times_(times) {}

  // Guess number `number` (from 1) of a sequence.
  void add(int32_t number) {
    HADAL_CHECK(times_ != nullptr);
    rows_ += number == 1 ? 2 : 1;  // every row of the step makes an entry, its own row's too
    if (number == 1) return;
    const auto call = static_cast<size_t>(number - 2);
    if (call == sequences_.size()) sequences_.push_back(0);
    const int32_t before = sequences_[call]++;
    further_ +=
        times_->further.seconds(before + 1) - (before > 0 ? times_->further.seconds(before) : 0.0);
  }
  double seconds() const { return rows_ > 0 ? times_->first.seconds(rows_) + further_ : 0.0; }

 private:
  const DraftTimes* times_;
  int32_t rows_ = 0;
  std::vector<int32_t> sequences_;  // of each further call
  double further_ = 0;
};

// Guesses of all offers, the best first. Of equal values the earlier offer's, and within an offer
// in order: so whatever number is taken, it is the beginning of each offer.
class BestFirst {
 public:
  explicit BestFirst(std::span<const Offer> offers) : offers_(offers), taken_(offers.size()) {
    next_.reserve(offers.size());
    for (size_t i = 0; i < offers.size(); ++i) push(offers[i].acceptance, i);
    std::ranges::make_heap(next_, worse);
  }
  bool empty() const { return next_.empty(); }
  // Its number within the offer, from 1, is then taken(offer).
  Guess pop() {
    std::ranges::pop_heap(next_, worse);
    const Guess best = next_.back();
    next_.pop_back();
    ++taken_[best.offer];
    if (push(best.value * offers_[best.offer].later, best.offer)) {
      std::ranges::push_heap(next_, worse);
    }
    return best;
  }
  int32_t taken(size_t offer) const { return taken_[offer]; }

 private:
  static bool worse(const Guess& left, const Guess& right) {
    return left.value != right.value ? left.value < right.value : left.offer > right.offer;
  }
  bool push(double value, size_t offer) {
    if (taken_[offer] >= offers_[offer].guesses || value <= kValueLeast) return false;
    next_.push_back({value, offer});
    return true;
  }

  std::span<const Offer> offers_;
  std::vector<int32_t> taken_;
  std::vector<Guess> next_;  // a heap: of each offer that has more, the best of them
};

// Of the last ones; `count`: ever.
template <class Number, size_t kMost>
Number lower_quartile(std::array<Number, kMost> samples, int32_t count) {
  const auto end = samples.begin() + std::min(count, static_cast<int32_t>(kMost));
  const auto wanted = samples.begin() + (end - samples.begin() - 1) / 4;
  std::partial_sort(samples.begin(), wanted + 1, end);
  return *wanted;
}

}  // namespace

StepTimes::StepTimes(const std::function<double(int32_t)>& expected, int64_t fresh)
    : fresh_(fresh), entries_(kRowsMax + 1) {
  for (int32_t rows = 0; rows <= kRowsMax; ++rows) {
    expected_.push_back(expected(std::max(rows, 1)));
  }
}

void StepTimes::observe(int32_t rows, double seconds) {
  if (rows < 1 || rows > kRowsMax) return;
  Entry& entry = entries_[rows];
  ++steps_;
  if (steps_ - entry.step > fresh_) entry.count = 0;
  entry.samples[entry.count++ % kSamples] = static_cast<float>(seconds);
  entry.step = steps_;
  highest_ = std::max(highest_, rows);
  entry.seconds = lower_quartile(entry.samples, entry.count);
}

bool StepTimes::knows(int32_t rows) const {
  if (rows < 1 || rows > kRowsMax) return false;
  const Entry& entry = entries_[rows];
  return entry.count > 0 && steps_ - entry.step <= fresh_;
}

bool StepTimes::settled(int32_t rows) const {
  int32_t count = 0;
  for (int32_t r = rows - rows / 4; r <= std::min(rows + rows / 4, kRowsMax); ++r) {
    if (knows(r)) count += std::min(entries_[r].count, kSettled);
  }
  return count >= kSettled;
}

// Factors between known numbers lie on a line, beyond them they stay. `value`: of a known number;
// 0: it does not count.
template <class Value>
void StepTimes::draw(const Value& value) const {
  int32_t before = 0;  // the last number that counts
  for (int32_t r = 1; r <= highest_; ++r) {
    const double own = knows(r) ? value(r) : 0.0;
    if (own == 0.0) continue;
    const double from = before == 0 ? own : factors_[before];
    for (int32_t i = before + 1; i <= r; ++i) {
      factors_[i] = from + static_cast<double>(i - before) / (r - before) * (own - from);
    }
    before = r;
  }
  for (int32_t i = before + 1; i <= highest_ && before > 0; ++i) factors_[i] = factors_[before];
}

void StepTimes::infer() const {
  inferred_ = steps_;
  factors_.assign(static_cast<size_t>(highest_) + 1, 0.0);
  double most = 0;  // seconds, so far
  draw([&](int32_t r) {
    if (entries_[r].count < kSettled) return 0.0;
    most = std::max(most, double{entries_[r].seconds});
    return most / expected_[r];
  });
  // One slow step says little, and the first of a kind finds nothing in the caches: a number that
  // was measured once or twice is no slower than the others say. So it is tried until it is known;
  // else what looked slow once would not be tried again.
  settled_ = factors_;
  most = 0;
  draw([&](int32_t r) {
    double seconds = entries_[r].seconds;
    const bool few = entries_[r].count < kSettled;
    if (few && settled_[r] > 0) {
      seconds = std::min(seconds, settled_[r] * expected_[r]);
    }
    seconds = std::max(seconds, most);
    if (!few) most = seconds;
    return seconds / expected_[r];
  });
}

double StepTimes::seconds(int32_t rows) const {
  rows = std::clamp(rows, 1, kRowsMax);
  if (inferred_ != steps_) infer();
  return factors_.empty() ? 0.0 : factors_[std::min(rows, highest_)] * expected_[rows];
}

void CallTime::observe(int32_t rows, double seconds) {
  samples_[count_++ % kSamples] = seconds / (kBase + rows);
  factor_ = lower_quartile(samples_, count_);
}

double share_out(std::span<const Offer> offers, int32_t rows, int32_t room, const StepTimes& times,
                 const DraftTimes* drafting, std::vector<int32_t>* take) {
  take->assign(offers.size(), 0);
  if (!times.settled(rows)) return 0;
  BestFirst guesses(offers);
  const int32_t most = std::min(room, StepTimes::kRowsMax - rows);
  DraftCost cost(drafting);
  double tokens = rows;
  const double plain = tokens / std::max(times.seconds(rows), kSecondsLeast);
  double best_rate = (kClearly + kClearlyMore * std::min(rows, 16)) * plain;
  int32_t best = 0;
  std::vector<size_t> taken;  // of which offers, one after the other
  for (int32_t n = 1; n <= most && !guesses.empty(); ++n) {
    const Guess guess = guesses.pop();
    tokens += guess.value;
    taken.push_back(guess.offer);
    if (offers[guess.offer].by_drafter) cost.add(guesses.taken(guess.offer));
    const double seconds = times.seconds(rows + n) + cost.seconds();
    const double rate = tokens / std::max(seconds, kSecondsLeast);
    if (rate <= best_rate) continue;
    best_rate = rate;
    best = n;
  }
  for (int32_t n = 0; n < best; ++n) ++(*take)[taken[static_cast<size_t>(n)]];
  return best > 0 ? best_rate : plain;
}

}  // namespace hadal
