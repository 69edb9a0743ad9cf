// Finds the backend that fails more than it should although not in a row: counts over an interval,
// judged at its end.
//
// Pure, on a time that is passed in. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>

#include "hadal/base/clock.h"

namespace hadal::gateway {

struct OutlierRules {
  Nanos interval = std::chrono::seconds(10);
  int32_t requests_min = 10;                   // in an interval, to be judged
  double failure_share = 0.5;                  // above: an outlier. 1: never
  Nanos eject_for = std::chrono::seconds(30);  // times how often in a row, at most 10
  double ejected_max = 0.5;                    // share of a model's backends
  bool operator==(const OutlierRules&) const = default;
};

class OutlierWatch {
 public:
  void count(Nanos now, bool failed, const OutlierRules& rules) {
    roll(now, rules);
    ++requests_;
    if (failed) ++failures_;
  }
  // Whether the interval that just ended, or the one under way, makes it an outlier.
  bool is_outlier(Nanos now, const OutlierRules& rules) {
    roll(now, rules);
    return requests_ >= rules.requests_min &&
           static_cast<double>(failures_) > rules.failure_share * requests_;
  }
  void eject(Nanos now, const OutlierRules& rules) {
    times_ = std::min(times_ + 1, 10);
    until_ = now + rules.eject_for * times_;
    requests_ = failures_ = 0;
  }
  bool is_ejected(Nanos now) const { return now < until_; }
  Nanos ejected_until() const { return until_; }

 private:
  void roll(Nanos now, const OutlierRules& rules) {
    if (now - begin_ < rules.interval) return;
    // A whole interval without too many failures is forgiveness.
    if (requests_ >= rules.requests_min && times_ > 0) --times_;
    begin_ = now;
    requests_ = failures_ = 0;
  }

  Nanos begin_{0};
  Nanos until_{0};
  int32_t requests_ = 0;
  int32_t failures_ = 0;
  int32_t times_ = 0;
};

}  // namespace hadal::gateway
