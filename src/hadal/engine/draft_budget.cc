#include "hadal/engine/draft_budget.h"

#include <algorithm>
#include <utility>

#include "hadal/base/check.h"

namespace hadal {
namespace {

// Guessing must promise this much more than plain decoding: estimates are noisy, and a wrong guess
// costs others' latency too.
constexpr double kClearly = 1.04;
constexpr double kSecondsLeast = 1e-9;  // a clock that stands still makes rows free

struct Guess {
  double value;  // the chance that it becomes a token
  size_t offer;
};

}  // namespace

StepTimes::StepTimes(std::function<double(int32_t)> expected)
    : expected_(std::move(expected)), entries_(kRowsMax + 1) {}

void StepTimes::observe(int32_t rows, double seconds) {
  if (rows < 1 || rows > kRowsMax) return;
  Entry& entry = entries_[rows];
  ++steps_;
  if (steps_ - entry.step > kFresh) entry.count = 0;
  entry.samples[entry.count++ % kSamples] = static_cast<float>(seconds);
  entry.step = steps_;
  std::vector<float> sorted(entry.samples.begin(),
                            entry.samples.begin() + std::min(entry.count, kSamples));
  std::ranges::sort(sorted);
  entry.median = sorted[(sorted.size() - 1) / 2];
}

bool StepTimes::knows(int32_t rows) const {
  if (rows < 1 || rows > kRowsMax) return false;
  const Entry& entry = entries_[rows];
  return entry.count > 0 && steps_ - entry.step <= kFresh;
}

int32_t StepTimes::nearest(int32_t rows, int32_t direction) const {
  for (int32_t r = rows; r >= 1 && r <= kRowsMax; r += direction) {
    if (knows(r)) return r;
  }
  return 0;
}

double StepTimes::seconds(int32_t rows) const {
  rows = std::clamp(rows, 1, kRowsMax);
  const int32_t below = nearest(rows, -1);
  const int32_t above = nearest(rows, +1);
  if (below == 0 && above == 0) return 0;
  const auto ratio = [this](int32_t r) { return entries_[r].median / expected_(r); };
  double factor = ratio(below == 0 ? above : below);
  if (below != 0 && above > below) {
    const double along = static_cast<double>(rows - below) / (above - below);
    factor += along * (ratio(above) - factor);
  }
  return factor * expected_(rows);
}

void share_out(std::span<const Offer> offers, int32_t rows, int32_t room, const StepTimes& times,
               std::vector<int32_t>* take) {
  take->assign(offers.size(), 0);
  if (!times.knows(rows)) return;
  std::vector<Guess> guesses;
  for (size_t i = 0; i < offers.size(); ++i) {
    double value = offers[i].acceptance;
    const double later = offers[i].later < 0 ? offers[i].acceptance : offers[i].later;
    for (int32_t g = 0; g < offers[i].guesses; ++g, value *= later) {
      guesses.push_back({value, i});
    }
  }
  // Of equal values the earlier offer's, and within an offer in order: a prefix of this list takes
  // a prefix of each offer.
  std::ranges::stable_sort(guesses, std::greater(), &Guess::value);
  const auto most =
      std::min({static_cast<int32_t>(guesses.size()), room, StepTimes::kRowsMax - rows});
  double tokens = rows;
  double extra = 0;
  double best_rate = kClearly * tokens / std::max(times.seconds(rows), kSecondsLeast);
  int32_t best = 0;
  for (int32_t n = 1; n <= most; ++n) {
    const Guess& guess = guesses[n - 1];
    tokens += guess.value;
    extra += offers[guess.offer].extra;
    const double rate = tokens / (std::max(times.seconds(rows + n), kSecondsLeast) + extra);
    if (rate <= best_rate) continue;
    best_rate = rate;
    best = n;
  }
  for (int32_t n = 0; n < best; ++n) ++(*take)[guesses[n].offer];
}

}  // namespace hadal
