#include "hadal/model/row_shares.h"

#include <algorithm>
#include <cmath>

#include "hadal/base/check.h"

namespace hadal {
namespace {

// What a share costs besides, in rows: it reads most weights however few its rows are.
constexpr double kBase = 3.0;
constexpr double kNew = 1.0 / 8;    // the weight of a measurement
constexpr double kClearly = 0.94;   // measurements are noisy, and a wrong cut costs too
constexpr double kApartMost = 3.0;  // one that was stopped for a while is not so slow for long

}  // namespace

double RowShares::pace(int32_t number) const {
  const auto at = static_cast<size_t>(number);
  return at < pace_.size() ? pace_[at] : 0.0;
}

double RowShares::slowest(const std::vector<int32_t>& ends) const {
  double most = 0;
  int32_t begin = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    most = std::max(most, pace(static_cast<int32_t>(i)) * (kBase + ends[i] - begin));
    begin = ends[i];
  }
  return most;
}

std::vector<int32_t> RowShares::ends(int32_t rows, int32_t count) const {
  HADAL_CHECK(count >= 1 && rows >= count);
  std::vector<int32_t> even, cut;
  double speeds = 0;  // rows a second, all threads
  bool known = true;
  for (int32_t i = 0; i < count; ++i) {
    even.push_back(static_cast<int32_t>(int64_t{rows} * (i + 1) / count));
    known &= pace(i) > 0;
    if (known) speeds += 1 / pace(i);
  }
  if (!known) return even;
  // All end together when each has its part of the rows and of what they cost besides.
  const double all = rows + kBase * count;
  double done = 0;
  for (int32_t i = 0; i < count; ++i) {
    done += all / (pace(i) * speeds) - kBase;
    const int32_t least = (cut.empty() ? 0 : cut.back()) + 1;
    cut.push_back(
        std::clamp(static_cast<int32_t>(std::lround(done)), least, rows - (count - 1 - i)));
  }
  return slowest(cut) < kClearly * slowest(even) ? cut : even;
}

void RowShares::took(int32_t number, int32_t rows, double seconds) {
  HADAL_CHECK(number >= 0 && rows >= 1);
  const auto at = static_cast<size_t>(number);
  if (at >= pace_.size()) pace_.resize(at + 1);
  const double now = seconds / (kBase + rows);
  double& pace = pace_[at];
  const double bounded = std::min(now, kApartMost * pace);
  pace = pace == 0 ? now : pace + kNew * (bounded - pace);
}

}  // namespace hadal
